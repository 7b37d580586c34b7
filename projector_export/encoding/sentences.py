"""Texts through sentence-transformers (Reimers & Gurevych 2019)."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from projector_export.encoding.clip import choose_device, memory_errors
from projector_export.encoding.weights import hash_folder, hash_tensors
from projector_export.errors import EncoderError, MissingExtraError

# A batch goes through the model in parts of like lengths, so that little is padding.
PART = 32


class SentenceEncoder:
    """Encodes texts with a sentence-transformers model, at unit length.

    Args:
        model: a directory, or a name on the Hugging Face hub (downloaded).
        device: `auto` (CUDA, else Apple's MPS, else CPU) or a torch device.
        prefix: put before each text, for models that want one, such as "query: ".
        truncate_dim: keep so many values of each vector (Matryoshka models); None keeps all.

    The model is loaded when it is first needed: with all vectors in the cache, never.

    Raises:
        MissingExtraError: sentence-transformers is not installed.
        EncoderError: when the model is loaded: no such model, a failed download, a bad device or
            truncate_dim.
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
        if importlib.util.find_spec("sentence_transformers") is None:
            raise MissingExtraError(
                "sentence_transformers is not installed, which sentence-transformers models need: "
                "pip install 'projector-export[text]'"
            )
        self._name, self._device = model, device
        self._prefix, self._truncate_dim = prefix, truncate_dim
        self._lock = threading.Lock()
        self._loaded: Any = None
        self._failure: EncoderError | None = None
        self._texts_cut = 0

    def load(self) -> Any:
        """Load the model, once."""
        with self._lock:
            if self._loaded is None:
                if self._failure is not None:  # another thread has tried
                    raise self._failure
                try:
                    self._loaded = self._load()
                except EncoderError as error:
                    self._failure = error
                    raise
        return self._loaded

    def _load(self) -> Any:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()  # ours tells more, and only on a terminal
        local = Path(self._name).is_dir()
        device = choose_device(self._device)
        logging.disable(logging.ERROR)  # a failing download logs every retry; we say it once
        try:
            model = SentenceTransformer(
                self._name,
                device=device,
                truncate_dim=self._truncate_dim,
                trust_remote_code=False,
                local_files_only=local,
            )
        except Exception as error:  # whatever the loaders raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            what = "cannot be loaded" if local else "cannot be had"
            raise EncoderError(
                f"the sentence-transformers model {self._name} {what} ({reason}); give the "
                "directory of a model that was downloaded elsewhere"
            ) from error
        finally:
            logging.disable(logging.NOTSET)
        full = _full_dimension(model)
        if self._truncate_dim is not None and not 2 <= self._truncate_dim <= full:
            raise EncoderError(f"truncate_dim is {self._truncate_dim}; expected 2 to {full}")
        return model

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return (B, D) float32 of unit length; a text is cut at the model's sequence length."""
        model = self.load()
        texts = [self._prefix + text for text in texts]
        limit = model.max_seq_length
        if limit is not None:
            tokens = model.tokenizer(texts, truncation=False, verbose=False)["input_ids"]
            self._texts_cut += sum(len(ids) > limit for ids in tokens)
        with memory_errors():
            vectors: np.ndarray = model.encode(
                texts,
                batch_size=min(len(texts), PART),
                show_progress_bar=False,
                normalize_embeddings=True,
            )
        return vectors

    @property
    def notes(self) -> list[str]:
        """Say what the user should know about the texts encoded so far."""
        if not self._texts_cut:
            return []
        return [
            f"{self._texts_cut} texts are longer than the {self.load().max_seq_length} tokens that "
            f"{self._shown_name} reads; what comes after is not in their vectors"
        ]

    @property
    def fills_cores(self) -> bool:
        """Return whether the forward pass wants all cores: it does on the CPU."""
        return str(self.load().device.type) == "cpu"

    def describe(self) -> Mapping[str, Any]:
        """Return model, its SHA-256, prefix and truncation."""
        return {
            "encoder": "sentence-transformers",
            "model": self._shown_name,
            **self._sha256,
            "prefix": self._prefix,
            "truncate_dim": self._truncate_dim,
        }

    @property
    def cache_key(self) -> Mapping[str, Any]:
        """Return what the vectors depend on."""
        release = importlib.metadata.version("sentence-transformers")
        return {**self.describe(), "sentence-transformers": release}

    @property
    def _shown_name(self) -> str:
        # A path would tell where its owner keeps things.
        return Path(self._name).resolve().name if Path(self._name).is_dir() else self._name

    @functools.cached_property
    def _sha256(self) -> dict[str, str]:
        """Of the model's files where it is a directory, so that torch need not be loaded."""
        if Path(self._name).is_dir():
            return {"files_sha256": hash_folder(Path(self._name))}
        return {"tensors_sha256": hash_tensors(self.load().state_dict())}


def _full_dimension(model: Any) -> int:
    """The vectors' length before truncation."""
    lengths = [
        module.get_embedding_dimension()
        for module in model
        if hasattr(module, "get_embedding_dimension")
    ]
    return int(max((length for length in lengths if length), default=0))
