"""Texts through sentence-transformers (Reimers & Gurevych 2019)."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from projector_export.encoding.clip import choose_device
from projector_export.encoding.weights import hash_tensors
from projector_export.errors import EncoderError, MissingExtraError


class SentenceEncoder:
    """Encodes texts with a sentence-transformers model, at unit length.

    Args:
        model: a directory, or a name on the Hugging Face hub (downloaded).
        device: `auto` (CUDA, else Apple's MPS, else CPU) or a torch device.
        prefix: put before each text, for models that want one, such as "query: ".
        truncate_dim: keep so many values of each vector (Matryoshka models); None keeps all.

    Raises:
        MissingExtraError: sentence-transformers is not installed.
        EncoderError: no such model, or a failed download; a bad device or truncate_dim.
    """

    batch_size = 256

    def __init__(
        self,
        model: str,
        *,
        device: str = "auto",
        prefix: str = "",
        truncate_dim: int | None = None,
    ) -> None:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise MissingExtraError(
                f"{error.name} is not installed, which sentence-transformers models need: "
                "pip install 'projector-export[text]'"
            ) from error
        self._name, self._prefix, self._truncate_dim = model, prefix, truncate_dim
        local = Path(model).is_dir()
        logging.disable(logging.ERROR)  # a failing download logs every retry; we say it once
        try:
            self._model: Any = SentenceTransformer(
                model,
                device=choose_device(device),
                truncate_dim=truncate_dim,
                trust_remote_code=False,
                local_files_only=local,
            )
        except EncoderError:
            raise
        except Exception as error:  # whatever the loaders raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            where = "cannot be loaded" if local else "cannot be had"
            raise EncoderError(
                f"the sentence-transformers model {model} {where} ({reason}); give the directory "
                "of a model that was downloaded elsewhere"
            ) from error
        finally:
            logging.disable(logging.NOTSET)
        full = int(self._model.get_embedding_dimension() or 0)
        if truncate_dim is not None and not 2 <= truncate_dim <= full:
            raise EncoderError(f"truncate_dim is {truncate_dim}; expected 2 to {full}")
        self._texts_cut = 0

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return (B, D) float32 of unit length; a text is cut at the model's sequence length."""
        texts = [self._prefix + text for text in texts]
        limit = self._model.max_seq_length
        if limit is not None:
            tokens = self._model.tokenizer(texts, truncation=False, verbose=False)["input_ids"]
            self._texts_cut += sum(len(ids) > limit for ids in tokens)
        vectors: np.ndarray = self._model.encode(
            texts, batch_size=32, show_progress_bar=False, normalize_embeddings=True
        )
        return vectors

    @property
    def notes(self) -> list[str]:
        """Say what the user should know about the texts encoded so far."""
        if not self._texts_cut:
            return []
        return [
            f"{self._texts_cut} texts are longer than the {self._model.max_seq_length} tokens that "
            f"{self._shown_name} reads; what comes after is not in their vectors"
        ]

    def describe(self) -> Mapping[str, Any]:
        """Return model, the tensors' SHA-256, prefix and truncation."""
        return {
            "encoder": "sentence-transformers",
            "model": self._shown_name,
            "tensors_sha256": self._sha256,
            "prefix": self._prefix,
            "truncate_dim": self._truncate_dim,
            "max_tokens": self._model.max_seq_length,
        }

    @property
    def cache_key(self) -> Mapping[str, Any]:
        """Return what the vectors depend on."""
        return {**self.describe(), "modules": str(self._model)}

    @property
    def _shown_name(self) -> str:
        # A path would tell where its owner keeps things.
        return Path(self._name).resolve().name if Path(self._name).is_dir() else self._name

    @functools.cached_property
    def _sha256(self) -> str:
        return hash_tensors(self._model.state_dict())
