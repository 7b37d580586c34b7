"""A fixed probe set goes through a model in the midst of its training, and leaves no trace.

What the adapters share: batches of a loader in its order, on the model's device; the model in eval
mode and then each module as it was; random numbers as if nothing had happened; a vector an example
out of whatever shape a layer gives.
"""

from __future__ import annotations

import contextlib
import difflib
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from projector_export.errors import DataError, OptionError

Layer = str | Callable[[Any, Any], Any]
"""A submodule's name, or a function `(model, batch) -> vectors`."""
Reduce = Callable[[Any], Any]
"""Makes (N, D) of a layer's output."""
LABELS = ("labels", "label", "label_ids")
"""Keys of a batch that a model's vectors do not need, and that make it compute a loss."""
_HALF = (torch.float16, torch.bfloat16)


def vectors_of(
    model: torch.nn.Module, batch: Any, compute: Callable[[Any], np.ndarray]
) -> np.ndarray:
    """Return (N, D): what `compute` gives for each batch of the probe set, in its order.

    Args:
        model: run by `compute`; see `unnoticed`.
        batch: see `iterate`.
        compute: gets a batch on the model's device, returns its (n, D) vectors.
    """
    with unnoticed(model, batch):
        return np.concatenate([compute(to_model(one, model)) for one in iterate(batch)])


def no_layer(model: Any, name: str, names: Sequence[str]) -> OptionError:
    """Return the error that says which layers' names are close."""
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names[:5]
    return OptionError(
        f"{type(model).__name__} has no layer {name!r}; its layers are named like "
        f"{', '.join(map(repr, close))}"
    )


def iterate(batch: Any) -> Iterator[Any]:
    """Yield the batches of a loader in its order, or the one batch itself.

    Args:
        batch: one batch (a tensor, an array, a mapping, or a tuple or list whose first element
            is the model's input), or many of them: a DataLoader, another iterable that can be
            iterated at each step, or a list of tuples, lists or mappings.

    Raises:
        DataError: a Dataset, whose examples are no batches.
        OptionError: a loader that shuffles, or gives each process a part.
    """
    if isinstance(batch, torch.utils.data.Dataset):
        raise DataError(
            f"the probe is a {type(batch).__name__}, which gives single examples; "
            "wrap it: DataLoader(dataset, batch_size=64, shuffle=False)"
        )
    if is_one_batch(batch):
        yield batch
        return
    _check_order(batch)
    count = 0
    for count, one in enumerate(batch, start=1):  # noqa: B007
        yield one
    if not count:
        raise DataError(
            "the probe has no batches; give a batch, a list or a DataLoader: "
            "an iterator that was used once is empty at the next step"
        )


def is_one_batch(batch: Any) -> bool:
    """Whether it is a batch itself, not something that gives batches."""
    if isinstance(batch, (list, tuple)):
        return not all(isinstance(one, (list, tuple, Mapping)) for one in batch)
    if isinstance(batch, (np.ndarray, Mapping)) or hasattr(batch, "to"):
        return True
    return not isinstance(batch, Iterable)


def _check_order(loader: Any) -> None:
    """Row i of every step must be example i."""
    data, sampler = torch.utils.data, getattr(loader, "sampler", None)
    shuffles = (data.RandomSampler, data.SubsetRandomSampler, data.WeightedRandomSampler)
    parts = isinstance(sampler, data.DistributedSampler)
    if isinstance(sampler, shuffles) or (parts and getattr(sampler, "shuffle", False)):
        raise OptionError("the probe's loader shuffles, so rows would change; give shuffle=False")
    if parts and getattr(sampler, "num_replicas", 1) > 1:
        raise OptionError(
            "the probe's loader gives this process a part of the examples; give one without a "
            "DistributedSampler, or bring the parts together with gather_rows"
        )


def model_input(batch: Any) -> Any:
    """Return the first element of a tuple or list (the rest are labels); else the batch."""
    if not isinstance(batch, (list, tuple)):
        return batch
    if not batch or isinstance(batch[0], (list, tuple)):
        raise DataError(
            f"the probe's batch is a {type(batch).__name__} whose first element is no tensor; "
            "give the layer as a function (model, batch) -> vectors"
        )
    return batch[0]


def to_model(batch: Any, model: torch.nn.Module) -> Any:
    """Return a batch on the model's device; floats in its precision where that is a half one."""
    tensors = [*model.parameters(), *model.buffers()]
    device = tensors[0].device if tensors else torch.device("cpu")
    floats = [tensor.dtype for tensor in tensors if tensor.is_floating_point()]
    return _moved(batch, device, floats[0] if floats and floats[0] in _HALF else None)


def _moved(batch: Any, device: torch.device, half: torch.dtype | None) -> Any:
    if isinstance(batch, np.ndarray) and batch.dtype.kind in "fiub":
        batch = torch.from_numpy(batch.astype(np.float32) if batch.dtype.kind == "f" else batch)
    if isinstance(batch, torch.Tensor):
        return batch.to(device, half if batch.is_floating_point() else None)
    if isinstance(batch, Mapping):
        return {key: _moved(value, device, half) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(_moved(value, device, half) for value in batch))
    if type(batch) in (list, tuple):
        return type(batch)(_moved(value, device, half) for value in batch)
    return batch.to(device) if hasattr(batch, "to") else batch


@contextlib.contextmanager
def unnoticed(model: torch.nn.Module, batch: Any = None) -> Iterator[None]:
    """Within, the model is in eval mode and makes no gradients; after it, all is as before.

    Restored are each module's own `training` flag (a frozen BatchNorm stays frozen) and the random
    numbers of torch (the CPU's, those of CUDA devices in use, the loader's own), NumPy and Python,
    so that a training is bit for bit the one without recording. Compiled modules run uncompiled,
    since compiled ones ignore new hooks.
    """
    flags = {module: module.training for module in model.modules()}
    with _random_states(model, batch), _uncompiled(), torch.no_grad():
        # Not inference_mode: a model may keep what it computes here, such as a table of positions,
        # and could not train with it. Not eval(): a module may do work in its own train().
        try:
            for module in flags:
                module.training = False
            yield
        finally:
            for module, flag in flags.items():
                module.training = flag


@contextlib.contextmanager
def _random_states(model: torch.nn.Module, batch: Any) -> Iterator[None]:
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    of_loader = getattr(batch, "generator", None)
    generators = [of_loader] if isinstance(of_loader, torch.Generator) else []
    states = [generator.get_state() for generator in generators]
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=list(devices), device_type="cuda"):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def _uncompiled() -> contextlib.AbstractContextManager[Any]:
    # Importing torch._dynamo takes seconds; without it nothing is compiled.
    if "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance"):
        return torch.compiler.set_stance("force_eager")  # type: ignore[no-any-return]
    return contextlib.nullcontext()


def pool(output: Any, *, mask: Any = None, channels_last: bool = False) -> np.ndarray:
    """Make a vector an example of a layer's output, copied to the CPU.

    Args:
        output: a tensor, a tuple or list (its first element counts) or a Hugging Face ModelOutput
            (likewise): (N, D) as it is; (N, T, D), the mean over the tokens; (N, C, H, W), the
            mean over the picture.
        mask: (N, T), of which zeros mark tokens that do not count.
        channels_last: whether pictures are (N, H, W, C).

    Returns:
        (N, D) float32.

    Raises:
        DataError: another shape, or a mask that does not fit.
    """
    tensor = _first_tensor(output).detach()
    if tensor.ndim not in (2, 3, 4):
        raise DataError(
            f"the layer gives {tuple(tensor.shape)}; expected (N, D), (N, tokens, D) or "
            "(N, channels, height, width): give reduce=, a function that makes (N, D) of it"
        )
    tensor = tensor.to(torch.float32)
    if tensor.ndim == 4:
        tensor = tensor.mean(dim=(1, 2) if channels_last else (2, 3))
    elif tensor.ndim == 3:
        tensor = tensor.mean(dim=1) if mask is None else _masked_mean(tensor, mask)
    return as_rows(tensor)


def as_rows(vectors: Any) -> np.ndarray:
    """Return a copy of (N, D) numbers on the CPU, float32.

    Copied, since the layer after this one may work in place (ReLU(inplace=True)).

    Raises:
        DataError: another shape.
    """
    if isinstance(vectors, torch.Tensor):
        vectors = vectors.detach().to("cpu", torch.float32).numpy()
    rows = np.array(vectors, dtype=np.float32)
    if rows.ndim != 2:
        raise DataError(f"the vectors are {rows.shape}; expected (N, D), one row an example")
    return rows


def _first_tensor(output: Any) -> torch.Tensor:
    if hasattr(output, "to_tuple"):  # a ModelOutput
        output = output.to_tuple()
    if isinstance(output, (list, tuple)) and output:
        output = output[0]
    if not isinstance(output, torch.Tensor):
        raise DataError(
            f"the layer gives a {type(output).__name__}; expected a tensor, or a tuple whose first "
            "element is one: give reduce=, a function that makes (N, D) of it"
        )
    return output


def _masked_mean(tokens: torch.Tensor, mask: Any) -> torch.Tensor:
    if tuple(mask.shape) != tuple(tokens.shape[:2]):
        raise DataError(
            f"the layer gives {tuple(tokens.shape)} but the mask is {tuple(mask.shape)}; expected "
            "one value a token: give reduce=, a function that makes (N, D) of it"
        )
    weights = (torch.as_tensor(mask, device=tokens.device) != 0).to(tokens.dtype)
    counts = weights.sum(dim=1, keepdim=True)
    if (empty := torch.nonzero(counts[:, 0] == 0)).numel():
        raise DataError(f"the mask leaves no token of row {int(empty[0])} of a batch")
    # An unmasked token may be anything, also not a number.
    kept = torch.where(weights[..., None] != 0, tokens, torch.zeros_like(tokens))
    return kept.sum(dim=1) / counts
