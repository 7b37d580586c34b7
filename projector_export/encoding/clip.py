"""open_clip models (Ilharco et al. 2021): images and texts in one space."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from projector_export.errors import EncoderError, MissingExtraError
from projector_export.models import DIGITS_CLIP_DIR

if TYPE_CHECKING:
    import torch
    from PIL import Image

DIGITS_CLIP = "digits_clip"
DEFAULT_MODEL = "ViT-B-32"
DEFAULT_WEIGHTS = "laion2b_s34b_b79k"


class OpenClipEncoder:
    """Encodes images and texts with an open_clip model, at unit length.

    Args:
        model: an open_clip model name, `local-dir:FOLDER`, `hf-hub:ORG/NAME`, or `digits_clip`,
            the small model of handwritten digits that ships with this package.
        weights: a file, or one of open_clip's tags for that model (downloaded); default the
            LAION-2B weights for ViT-B-32. Not for models that bring their weights.
        device: `auto` (CUDA, else Apple's MPS, else CPU) or a torch device.

    Raises:
        MissingExtraError: open_clip is not installed.
        EncoderError: unknown model or weights, or a failed download.
    """

    def __init__(
        self, model: str = DEFAULT_MODEL, weights: str | None = None, *, device: str = "auto"
    ) -> None:
        try:
            import open_clip
            import torch
        except ImportError as error:
            raise MissingExtraError(
                f"{error.name} is not installed, which open_clip models need: "
                "pip install 'projector-export[clip]'"
            ) from error
        self._torch = torch
        self._model_name, self._weights = model, weights
        self._device = _choose_device(device)
        name, source = _locate(model, weights, open_clip)
        self._tag = source if source is not None and not os.path.isfile(source) else None
        logging.disable(logging.ERROR)  # a failing download logs every retry; we say it once
        try:
            built = open_clip.create_model_and_transforms(
                name, pretrained=source, require_pretrained=True, device=self._device
            )
            self._tokenize = open_clip.get_tokenizer(name)
            self._weights_file = _weights_file(name, source)
        except Exception as error:  # open_clip lets through whatever its loaders raise
            raise EncoderError(_explain(model, source or name, error)) from error
        finally:
            logging.disable(logging.NOTSET)
        self._model, self._transform = built[0].eval(), built[2]

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """Return open_clip's own preprocessing of one image: (3, S, S) float32."""
        tensor: torch.Tensor = self._transform(image)
        return tensor

    def encode_images(self, prepared: Sequence[torch.Tensor]) -> np.ndarray:
        """Return (B, D) float32 of unit length."""
        with self._torch.inference_mode():
            batch = self._torch.stack(list(prepared)).to(self._device)
            return _unit(self._model.encode_image(batch))

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return (B, D) float32 of unit length."""
        with self._torch.inference_mode():
            tokens = self._tokenize(list(texts)).to(self._device)
            return _unit(self._model.encode_text(tokens))

    @property
    def logit_scale(self) -> float:
        """The factor that this model's training put on cosines before the softmax."""
        return float(self._model.logit_scale.detach().exp())

    def describe(self) -> Mapping[str, Any]:
        """Return model, weights and the weights' SHA-256."""
        facts: dict[str, Any] = {"encoder": "open_clip", "model": self._model_name}
        if self._tag is not None or self._weights is not None:
            # A path would tell where its owner keeps things.
            facts["weights"] = self._tag or Path(str(self._weights)).name
        if self._weights_file is not None:
            with open(self._weights_file, "rb") as stream:
                facts["weights_sha256"] = hashlib.file_digest(stream, "sha256").hexdigest()
        return facts


def _locate(model: str, weights: str | None, open_clip: Any) -> tuple[str, str | None]:
    """Return open_clip's model name and `pretrained` for what the user asked."""
    if model == DIGITS_CLIP:
        model = f"local-dir:{DIGITS_CLIP_DIR}"
    if model.startswith(("local-dir:", "hf-hub:")):
        if weights is not None:
            raise EncoderError(f"{model} brings its own weights; leave --weights out")
        return model, None
    if model not in open_clip.list_models():
        raise EncoderError(
            f"open_clip has no model {model!r}; expected one of open_clip.list_models(), "
            f"such as {DEFAULT_MODEL}, or {DIGITS_CLIP}"
        )
    tags = open_clip.list_pretrained_tags_by_model(model)
    if weights is None:
        if model != DEFAULT_MODEL:
            raise EncoderError(
                f"{model} needs --weights: a file, or one of {', '.join(tags) or '(no tags)'}"
            )
        weights = DEFAULT_WEIGHTS
    if weights not in tags and not os.path.isfile(weights):
        raise EncoderError(
            f"weights {weights!r} are neither a file nor a tag of {model}; "
            f"its tags are {', '.join(tags) or '(none)'}"
        )
    return model, weights


def _weights_file(name: str, source: str | None) -> Path | None:
    if name.startswith("local-dir:"):
        files = sorted(Path(name.removeprefix("local-dir:")).glob("*.safetensors"))
        return files[0] if files else None
    if source is None or os.path.isfile(source):
        return Path(source) if source else None
    from open_clip.pretrained import download_pretrained, get_pretrained_cfg

    # Downloaded a moment ago, so this only tells where to.
    return Path(download_pretrained(get_pretrained_cfg(name, source)))


def _explain(model: str, source: str, error: Exception) -> str:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    if os.path.isfile(source):
        return f"{source} does not hold weights for {model} ({reason})"
    return (
        f"the weights {source} of {model} cannot be had ({reason}); give --weights FILE with a "
        f"file downloaded elsewhere, or --model {DIGITS_CLIP} to try the program offline"
    )


def _choose_device(device: str) -> str:
    import torch

    if device != "auto":
        try:
            return str(torch.empty(0, device=device).device)
        except (RuntimeError, AssertionError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise EncoderError(
                f"device {device!r} cannot be used ({reason}); expected auto, cpu, cuda or mps"
            ) from error
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _unit(features: torch.Tensor) -> np.ndarray:
    import torch

    unit: np.ndarray = torch.nn.functional.normalize(features.float(), dim=-1).cpu().numpy()
    return unit
