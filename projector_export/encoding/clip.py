"""open_clip models (Ilharco et al. 2021): images and texts in one space."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from projector_export.encoding.weights import hash_file, hash_tensors
from projector_export.errors import EncoderError, MissingExtraError
from projector_export.models import DIGITS_CLIP_DIR

if TYPE_CHECKING:
    import torch
    from PIL import Image

DIGITS_CLIP = "digits_clip"
DEFAULT_MODEL = "ViT-B-32"
DEFAULT_WEIGHTS = "laion2b_s34b_b79k"
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
# Tokenizers and models of open_clip 3 whose text towers were trained on many languages.
MULTILINGUAL = ("xlm", "nllb", "i18n", "siglip2", "multilingual")
MULTILINGUAL_MODEL = "xlm-roberta-base-ViT-B-32"
MULTILINGUAL_WEIGHTS = "laion5b_s13b_b90k"


class OpenClipEncoder:
    """Encodes images and texts with an open_clip model, at unit length.

    Args:
        model: an open_clip model name, `local-dir:FOLDER`, `hf-hub:ORG/NAME`, or `digits_clip`,
            the small model of handwritten digits that ships with this package.
        weights: a file, or one of open_clip's tags for that model (downloaded); default the
            LAION-2B weights for ViT-B-32. Not for models that bring their weights.
        device: `auto` (CUDA, else Apple's MPS, else CPU) or a torch device.
        precision: of the forward pass: `float32`, `bfloat16`, `float16` (by torch.autocast), or
            `auto`, which is float16 on CUDA and float32 elsewhere.
        compiled: run the towers through torch.compile: slow to start, faster on many batches.

    Attributes:
        batch_size: what "auto" means on this device.
        decode_px: 1.5 times the model's input, see `ImageEncoder`; None where the model's
            preprocessing is not known to make pictures smaller.
        is_multilingual: whether the text tower was trained on more than English, as far as its
            tokenizer's name tells.

    Raises:
        MissingExtraError: open_clip is not installed.
        EncoderError: unknown model or weights, a failed download, a device or precision that
            cannot be used.
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        weights: str | None = None,
        *,
        device: str = "auto",
        precision: str = "auto",
        compiled: bool = False,
    ) -> None:
        if precision not in PRECISIONS:
            raise EncoderError(f"precision is {precision!r}; expected {', '.join(PRECISIONS)}")
        try:
            import open_clip
            import torch
        except ImportError as error:
            raise MissingExtraError(
                f"{error.name} is not installed, which open_clip models need: "
                "pip install 'projector-export[clip]', or choose --encoder pixels"
            ) from error
        self._torch = torch
        self._model_name, self._weights = model, weights
        self._device = torch.device(choose_device(device))
        if precision == "auto":
            precision = "float16" if self._device.type == "cuda" else "float32"
        self._precision = precision
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
            if "pip install transformers" in str(error):
                raise MissingExtraError(
                    f"transformers is not installed, which the text tower of {model} needs: "
                    "pip install 'projector-export[clip,text]'"
                ) from error
            raise EncoderError(_explain(model, source or name, error)) from error
        finally:
            logging.disable(logging.NOTSET)
        self._model = built[0].eval()
        self._cut, self._mean, self._std = _split_transform(built[2])
        self._transform = built[2]
        self._encode_image, self._encode_text = self._model.encode_image, self._model.encode_text
        if compiled:
            self._encode_image = torch.compile(self._encode_image)
            self._encode_text = torch.compile(self._encode_text)
        self.batch_size = 256 if self._device.type == "cuda" else 64
        self.decode_px = None if self._cut is None else _decode_px(self._cut)
        # What fills up a short text; a long one has no room for it.
        self._pad, self._texts_cut = int(self._tokenize([""])[0, -1]), 0
        self.is_multilingual = _is_multilingual(f"{name} {_tokenizer_name(self._tokenize)}")

    def prepare(self, image: Image.Image) -> Any:
        """Return one image in the model's size, by open_clip's own steps.

        The last two of these, to a tensor and to the model's mean and deviation, are left to
        `encode`, which does them for a batch: so this is (S, S, 3) uint8, or (3, S, S) float32
        where the model's preprocessing is not open_clip's usual one.
        """
        if self._cut is None:
            return self._transform(image).numpy()
        for step in self._cut:
            image = step(image)
        return np.asarray(image)

    def encode(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        """Return (B, D) float32 of unit length."""
        torch = self._torch
        with torch.inference_mode(), self._memory():
            batch = torch.from_numpy(np.stack(prepared)).to(self._device)
            if self._cut is not None:
                batch = batch.permute(0, 3, 1, 2).float().div_(255)
                mean = torch.tensor(self._mean, device=self._device).view(1, -1, 1, 1)
                std = torch.tensor(self._std, device=self._device).view(1, -1, 1, 1)
                batch = batch.sub_(mean).div_(std).contiguous()
            with self._autocast():
                features = self._encode_image(batch)
            return _unit(features)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return (B, D) float32 of unit length; a text is cut at the model's context length."""
        with self._torch.inference_mode(), self._memory():
            tokens = self._tokenize(list(texts)).to(self._device)
            self._texts_cut += int((tokens[:, -1] != self._pad).sum())
            with self._autocast():
                features = self._encode_text(tokens)
            return _unit(features)

    @property
    def notes(self) -> list[str]:
        """Say what the user should know about the texts encoded so far."""
        if not self._texts_cut:
            return []
        return [
            f"{self._texts_cut} texts are longer than {self._model_name} reads; what comes after "
            "is not in their vectors"
        ]

    @property
    def logit_scale(self) -> float:
        """The factor that this model's training put on cosines before the softmax."""
        return float(self._model.logit_scale.detach().exp())

    def describe(self) -> Mapping[str, Any]:
        """Return model, weights, the weights' SHA-256, device and precision."""
        facts: dict[str, Any] = {"encoder": "open_clip", "model": self._model_name}
        if self._tag is not None or self._weights is not None:
            # A path would tell where its owner keeps things.
            facts["weights"] = self._tag or Path(str(self._weights)).name
        facts |= self._sha256
        return {**facts, "device": self._device.type, "precision": self._precision}

    @property
    def cache_key(self) -> Mapping[str, Any]:
        """Return what the vectors depend on."""
        return {
            "encoder": "open_clip",
            "model": self._model_name,
            **self._sha256,
            "preprocessing": repr(self._transform),
            "precision": self._precision,
        }

    @functools.cached_property
    def _sha256(self) -> dict[str, str]:
        if self._weights_file is not None:
            return {"weights_sha256": hash_file(self._weights_file)}
        return {"tensors_sha256": hash_tensors(self._model.state_dict())}

    def _autocast(self) -> Any:
        if self._precision == "float32":
            return contextlib.nullcontext()
        dtype = getattr(self._torch, self._precision)
        return self._torch.autocast(self._device.type, dtype=dtype)

    @contextlib.contextmanager
    def _memory(self) -> Iterator[None]:
        """Turn what torch raises when memory runs out into MemoryError."""
        try:
            yield
        except RuntimeError as error:  # torch.OutOfMemoryError on CUDA is one
            if not any(words in str(error).lower() for words in OUT_OF_MEMORY):
                raise
            if self._device.type == "cuda":
                self._torch.cuda.empty_cache()
            raise MemoryError(str(error)) from error


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
        "file downloaded elsewhere, or --encoder pixels, which needs no model"
    )


def _split_transform(
    transform: Any,
) -> tuple[list[Callable[[Any], Any]] | None, Sequence[float], Sequence[float]]:
    """Return the steps on pictures, mean and deviation of open_clip's preprocessing, if so built.

    The rest is `MaybeToTensor` (or ToTensor) and `Normalize`: bytes / 255, minus mean, divided by
    deviation.
    """
    steps = list(getattr(transform, "transforms", []))
    names = [type(step).__name__ for step in steps]
    if len(steps) < 3 or names[-2] not in ("MaybeToTensor", "ToTensor") or names[-1] != "Normalize":
        return None, (), ()
    return steps[:-2], tuple(map(float, steps[-1].mean)), tuple(map(float, steps[-1].std))


def _decode_px(cut: Sequence[Any]) -> int | None:
    """1.5 times the size that the first step makes of the shorter side."""
    size = getattr(cut[0], "size", None)
    if isinstance(size, Sequence) and len(size) > 0:
        size = max(size)
    return None if not isinstance(size, int) else size * 3 // 2


def _tokenizer_name(tokenizer: Any) -> str:
    own = getattr(tokenizer, "tokenizer", None)
    return str(getattr(own, "name_or_path", ""))


def _is_multilingual(names: str) -> bool:
    return any(name in names.lower() for name in MULTILINGUAL)


def choose_device(device: str) -> str:
    """Return the torch device for `auto`, or check the one that is named."""
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
