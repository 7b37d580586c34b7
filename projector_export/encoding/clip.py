"""open_clip models (Ilharco et al. 2021): images and texts in one space."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.metadata
import importlib.util
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from projector_export.encoding.class_token import use_class_token_only
from projector_export.encoding.scripts import ADVICE, is_latin
from projector_export.encoding.weights import hash_file, hash_folder, hash_tensors
from projector_export.errors import EncoderError, MissingExtraError, ProjectorExportError
from projector_export.models import DIGITS_CLIP_DIR

if TYPE_CHECKING:
    import torch
    from PIL import Image

DIGITS_CLIP = "digits_clip"
DEFAULT_MODEL = "ViT-B-32"
DEFAULT_WEIGHTS = "laion2b_s34b_b79k"
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
# On the CPU a batch goes through the model in parts of so many: activations of more than 32 MB are
# fetched from the system and given back at each layer, which costs a tenth of the time (glibc's
# DEFAULT_MMAP_THRESHOLD_MAX).
CPU_PART = 8
# Tokenizers and models of open_clip 3 whose text towers were trained on many languages.
MULTILINGUAL = ("xlm", "nllb", "i18n", "siglip2", "multilingual")


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

    The model is loaded when it is first needed: with all vectors in the cache, never.

    Raises:
        MissingExtraError: open_clip is not installed.
        EncoderError: precision is none of these; and, when the model is loaded: unknown model or
            weights, a failed download, a device that cannot be used.
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
        for module in ("open_clip", "torch"):
            if importlib.util.find_spec(module) is None:
                raise MissingExtraError(
                    f"{module} is not installed, which open_clip models need: "
                    "pip install 'projector-export[clip]', or choose --encoder pixels"
                )
        self._model_name, self._weights = model, weights
        self._device_wanted, self._precision_wanted = device, precision
        self._compiled = compiled
        self._lock = threading.Lock()
        self._loaded: _Model | None = None
        self._failure: ProjectorExportError | None = None
        self._texts_cut = 0
        self._foreign: list[str] = []

    def load(self) -> _Model:
        """Load the model, once."""
        with self._lock:
            if self._loaded is None:
                if self._failure is not None:  # another thread has tried
                    raise self._failure
                try:
                    self._loaded = _load(
                        self._model_name,
                        self._weights,
                        self._device_wanted,
                        compiled=self._compiled,
                    )
                except ProjectorExportError as error:
                    self._failure = error
                    raise
        return self._loaded

    @property
    def batch_size(self) -> int:
        """Return what "auto" means on this device."""
        return 256 if self.load().device.type == "cuda" else 64

    @property
    def decode_px(self) -> int | None:
        """Return twice the model's input; None where its preprocessing is not the usual one."""
        return self.load().decode_px

    @property
    def fills_cores(self) -> bool:
        """Return whether the forward pass wants all cores: it does on the CPU."""
        return bool(self.load().device.type == "cpu")

    @property
    def is_multilingual(self) -> bool:
        """Return whether the text tower learned more than English, as the names tell."""
        name = str(getattr(getattr(self.load().tokenize, "tokenizer", None), "name_or_path", ""))
        return any(word in f"{self._model_name} {name}".lower() for word in MULTILINGUAL)

    def prepare(self, image: Image.Image) -> np.ndarray:
        """Return one image in the model's size.

        open_clip's own steps, of which the last two, to a tensor and to the model's mean and
        deviation, are left to `encode`, which does them for a batch: so this is (S, S, 3) uint8, or
        (3, S, S) float32 where the model's preprocessing is not open_clip's usual one. torch
        scales three times as fast as Pillow, and rounds one value in some hundred otherwise.
        """
        import torch
        from torchvision.transforms.v2 import functional

        model = self.load()
        if model.cut is None:
            whole: np.ndarray = model.transform(image).numpy()
            return whole
        resize, *others = model.cut
        image = _central(image) if isinstance(resize.size, int) else image
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        pixels = functional.resize(pixels, resize.size, resize.interpolation, antialias=True)
        for step in others:
            pixels = step(pixels)
        return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())

    def encode(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        """Return (B, D) float32 of unit length."""
        import torch

        model = self.load()

        def forward(part: Sequence[np.ndarray]) -> Any:
            batch = torch.from_numpy(np.stack(part)).to(model.device)
            if model.cut is not None:
                batch = batch.permute(0, 3, 1, 2).float().div_(255)
                mean, std = (
                    torch.tensor(three, device=model.device).view(1, -1, 1, 1)
                    for three in (model.mean, model.std)
                )
                batch = batch.sub_(mean).div_(std).contiguous()
            return model.encode_image(batch)

        return self._in_parts(forward, prepared)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return (B, D) float32 of unit length; a text is cut at the model's context length."""
        model = self.load()

        def forward(part: Sequence[str]) -> Any:
            tokens = model.tokenize(list(part))
            self._texts_cut += int((tokens[:, -1] != model.padding).sum())
            if not self.is_multilingual:
                self._foreign += [text for text in part if not is_latin(text)]
            return model.encode_text(tokens.to(model.device))

        return self._in_parts(forward, texts)

    def _in_parts(
        self, forward: Callable[[Sequence[Any]], Any], batch: Sequence[Any]
    ) -> np.ndarray:
        import torch

        device = self.load().device
        size = CPU_PART if device.type == "cpu" else len(batch)
        autocast = contextlib.nullcontext()
        if self._precision != "float32":
            autocast = torch.autocast(device.type, dtype=getattr(torch, self._precision))
        parts = []
        with torch.inference_mode(), memory_errors(), autocast:
            for start in range(0, len(batch), size):
                features = forward(batch[start : start + size]).float()
                parts.append(torch.nn.functional.normalize(features, dim=-1).cpu().numpy())
        return np.concatenate(parts)

    @property
    def notes(self) -> list[str]:
        """Say what the user should know about the texts encoded so far."""
        notes = []
        if self._texts_cut:
            notes.append(
                f"{self._texts_cut} texts are longer than {self._model_name} reads; what comes "
                "after is not in their vectors"
            )
        if self._foreign:
            first = self._foreign[0][:40]
            notes.append(f"{len(self._foreign)} texts, such as {first}, are {ADVICE}")
        return notes

    @property
    def logit_scale(self) -> float:
        """The factor that this model's training put on cosines before the softmax."""
        return self.load().logit_scale

    def describe(self) -> Mapping[str, Any]:
        """Return model, weights, their SHA-256 and the precision."""
        facts: dict[str, Any] = {"encoder": "open_clip", "model": self._model_name}
        if self._weights is not None:
            # A path would tell where its owner keeps things.
            facts["weights"] = Path(self._weights).name
        elif self._model_name == DEFAULT_MODEL:
            facts["weights"] = DEFAULT_WEIGHTS
        return {**facts, **self._sha256, "precision": self._precision}

    @property
    def cache_key(self) -> Mapping[str, Any]:
        """Return what the vectors depend on; open_clip's release sets the preprocessing."""
        return {**self.describe(), "open_clip": importlib.metadata.version("open_clip_torch")}

    @functools.cached_property
    def _precision(self) -> str:
        if self._precision_wanted != "auto":
            return self._precision_wanted
        return "float16" if _device_type(self._device_wanted) == "cuda" else "float32"

    @functools.cached_property
    def _sha256(self) -> dict[str, str]:
        """Of the weights' file where there is one, so that torch need not be loaded."""
        name = self._model_name
        folder = DIGITS_CLIP_DIR if name == DIGITS_CLIP else Path(name.removeprefix("local-dir:"))
        if name == DIGITS_CLIP or name.startswith("local-dir:"):
            weights = sorted(folder.glob("*.safetensors"))
            own = {"weights_sha256": hash_file(weights[0])} if weights else {}
            return {**own, "files_sha256": hash_folder(folder)}
        if self._weights is not None and os.path.isfile(self._weights):
            return {"weights_sha256": hash_file(Path(self._weights))}
        if name.startswith("hf-hub:"):
            return {"tensors_sha256": hash_tensors(self.load().state())}
        return {"weights_sha256": hash_file(_fetch(name, self._weights))}


@dataclass(frozen=True)
class _Model:
    """A loaded model.

    Attributes:
        cut: steps of the preprocessing that work on pictures, or None where it is not the usual.
        padding: the token that fills up a short text; a long one has no room for it.
    """

    device: torch.device
    encode_image: Callable[[Any], Any]
    encode_text: Callable[[Any], Any]
    tokenize: Callable[[list[str]], Any]
    transform: Callable[[Any], Any]
    cut: list[Any] | None
    mean: Sequence[float]
    std: Sequence[float]
    decode_px: int | None
    padding: int
    logit_scale: float
    state: Callable[[], Mapping[str, Any]]


def _fetch(model: str, weights: str | None) -> Path:
    """Return the file of a tag's weights, downloaded where it was not."""
    import open_clip
    from open_clip.pretrained import download_pretrained, get_pretrained_cfg

    name, tag = _locate(model, weights, open_clip)
    try:
        with _quiet():
            return Path(download_pretrained(get_pretrained_cfg(name, tag)))
    except Exception as error:  # open_clip lets through whatever its loaders raise
        raise EncoderError(_explain(model, str(tag), error)) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the log: a failing download reports every retry; we say it once."""
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _load(model: str, weights: str | None, device_wanted: str, *, compiled: bool) -> _Model:
    import open_clip
    import torch

    device = torch.device(choose_device(device_wanted))
    name, source = _locate(model, weights, open_clip)
    try:
        with _quiet():
            built, _, transform = open_clip.create_model_and_transforms(
                name,
                pretrained=source,
                require_pretrained=True,
                device=device,
                weights_only=True,  # never unpickle
            )
            tokenize = open_clip.get_tokenizer(name)
    except Exception as error:  # open_clip lets through whatever its loaders raise
        if "pip install transformers" in str(error):
            raise MissingExtraError(
                f"transformers is not installed, which the text tower of {model} needs: "
                "pip install 'projector-export[clip,text]'"
            ) from error
        raise EncoderError(_explain(model, source or name, error)) from error
    built.eval()
    steps = list(getattr(transform, "transforms", []))
    kinds = [type(step).__name__ for step in steps]
    # Bytes / 255, minus mean, divided by deviation: `encode` does these two for a batch.
    usual = kinds[-2:] in (["MaybeToTensor", "Normalize"], ["ToTensor", "Normalize"])
    usual = usual and len(steps) > 2 and kinds[0] == "Resize"
    size = getattr(built.visual, "image_size", None)
    if isinstance(size, tuple) and len(set(size)) == 1:
        use_class_token_only(built, size[0], device)
    encode_image, encode_text = built.encode_image, built.encode_text
    if compiled:
        encode_image, encode_text = torch.compile(encode_image), torch.compile(encode_text)
    return _Model(
        device=device,
        encode_image=encode_image,
        encode_text=encode_text,
        tokenize=tokenize,
        transform=transform,
        cut=steps[:-2] if usual else None,
        mean=tuple(map(float, steps[-1].mean)) if usual else (),
        std=tuple(map(float, steps[-1].std)) if usual else (),
        decode_px=_decode_px(steps[0].size) if usual else None,
        padding=int(tokenize([""])[0, -1]),
        logit_scale=float(built.logit_scale.detach().exp()),
        state=built.state_dict,
    )


def _central(image: Image.Image) -> Image.Image:
    """The middle of a very long picture: scaling all of it would take gigabytes.

    The model gets the central square alone, which with what scaling mixes in is well inside.
    """
    short, long = sorted(image.size)
    if long <= 8 * short:
        return image
    half, (x, y) = 4 * short, (image.width // 2, image.height // 2)
    if image.width > image.height:
        return image.crop((x - half, 0, x + half, short))
    return image.crop((0, y - half, short, y + half))


def _decode_px(size: int | Sequence[int]) -> int:
    """Twice the model's input, and no less than a ViT-B's.

    At 1.5 times, the lowest cosine between vectors of 24 photographs so decoded and decoded whole
    was 0.9985 (random weights of ViT-B-32); models of tiny inputs are more sensitive still.
    """
    return max(2 * (size if isinstance(size, int) else max(size)), 448)


@contextlib.contextmanager
def memory_errors() -> Iterator[None]:
    """Turn what torch raises when memory runs out into MemoryError."""
    import torch

    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        if not any(words in str(error).lower() for words in OUT_OF_MEMORY):
            raise
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise MemoryError(str(error)) from error


def _locate(model: str, weights: str | None, open_clip: Any) -> tuple[str, str | None]:
    """Return open_clip's model name and `pretrained` for what the user asked."""
    if model == DIGITS_CLIP or model.startswith(("local-dir:", "hf-hub:")):
        if weights is not None:
            raise EncoderError(f"{model} brings its own weights; leave --weights out")
        return f"local-dir:{DIGITS_CLIP_DIR}" if model == DIGITS_CLIP else model, None
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


def _explain(model: str, source: str, error: Exception) -> str:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    if os.path.isfile(source):
        if "weights_only" in str(error):
            reason = "it holds more than tensors, which is never unpickled"
        return f"{source} does not hold weights for {model} ({reason})"
    return (
        f"the weights {source} of {model} cannot be had ({reason}); give --weights FILE with a "
        "file downloaded elsewhere, or --encoder pixels, which needs no model"
    )


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


def _device_type(device: str) -> str:
    """The type of device that will be used; torch is asked only where there is a GPU's driver."""
    if device != "auto":
        return device.split(":")[0]
    return choose_device(device) if _has_gpu_driver() else "cpu"


def _has_gpu_driver() -> bool:
    for library in ("libcuda.so.1", "libamdhip64.so", "nvcuda.dll"):
        try:
            ctypes.CDLL(library)
        except OSError:
            continue
        return True
    return False
