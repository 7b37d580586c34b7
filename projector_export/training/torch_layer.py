"""Record what a layer of a PyTorch model gives for a fixed probe set, with a forward hook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from projector_export.errors import DataError, MissingExtraError, OptionError
from projector_export.training.probe import (
    LABELS,
    Layer,
    Reduce,
    as_rows,
    model_input,
    no_layer,
    pool,
    vectors_of,
)

try:
    import torch
except ImportError as err:
    raise MissingExtraError(
        f"torch cannot be imported ({err}): pip install 'projector-export[training]'"
    ) from err

if TYPE_CHECKING:
    import numpy as np

    from projector_export.training.recorder import EmbeddingRecorder


def record_layer(
    model: torch.nn.Module,
    layer: Layer,
    recorder: EmbeddingRecorder,
    batch: Any,
    *,
    step: int,
    reduce: Reduce | None = None,
) -> None:
    """Record a layer's vectors of the probe set, if the step is due; see `layer_vectors`.

        record_layer(model, "encoder.layer3", recorder, probe_loader, step=epoch)

    Nothing runs when the step is not due, nor in other processes than rank 0. The training is bit
    for bit the one without recording, and errors are the recorder's: it warns once, or raises if
    it is strict.
    """
    recorder.record(lambda: layer_vectors(model, layer, batch, reduce=reduce), step)


def layer_vectors(
    model: torch.nn.Module, layer: Layer, batch: Any, *, reduce: Reduce | None = None
) -> np.ndarray:
    """Return what a layer gives for each example of the probe set, in the probe's order.

    Args:
        model: also wrapped (DistributedDataParallel, DataParallel, torch.compile); runs alone, so
            not one whose weights are spread over processes (FSDP).
        layer: a submodule's name as in `named_modules()`, which must run once a forward pass; or
            a function `(model, batch) -> (N, D)`, which gets the whole batch on the model's device.
        batch: one batch, or a loader of batches that does not shuffle. The model gets a tensor as
            it is; of a tuple or list the first element; a mapping as keywords, without `labels`.
            Examples lie along the first dimension.
        reduce: makes (N, D) of the layer's output. Without it a picture (N, C, H, W) becomes the
            mean over H and W, tokens (N, T, D) the mean over T, where a mapping has an
            `attention_mask` without the padding.

    Returns:
        (N, D) float32.

    Raises:
        OptionError: no such layer; or the loader shuffles.
        DataError: the output is of another shape, or does not have a row an example.
    """
    model = unwrap(model)
    if isinstance(layer, torch.nn.Module):
        layer = _name_of(model, layer)
    if callable(layer):
        return vectors_of(model, batch, lambda one: as_rows(layer(model, one)))
    module = find_layer(model, layer)
    return vectors_of(model, batch, lambda one: _run(model, module, model_input(one), reduce))


def _name_of(model: torch.nn.Module, layer: torch.nn.Module) -> str:
    for name, module in model.named_modules():
        if module is layer:
            return str(name)
    raise OptionError(
        f"{type(layer).__name__} is no layer of {type(model).__name__}; give its name"
    )


def unwrap(model: torch.nn.Module) -> torch.nn.Module:
    """Return the model within DistributedDataParallel, DataParallel and torch.compile.

    Raises:
        OptionError: its weights are spread over processes, of which one cannot run it alone.
    """
    parallel = (torch.nn.parallel.DistributedDataParallel, torch.nn.DataParallel)
    while isinstance(model, parallel) or hasattr(model, "_orig_mod"):
        model = model.module if isinstance(model, parallel) else model._orig_mod
    names = {type(module).__name__ for module in model.modules()}
    names |= {type(parameter).__name__ for parameter in model.parameters()}
    # DeepSpeed ZeRO-3 leaves parameters their type, and marks them.
    is_spread = any(hasattr(parameter, "ds_id") for parameter in model.parameters())
    if is_spread or names & {"FullyShardedDataParallel", "DTensor"}:
        raise OptionError(
            "the model's weights are spread over processes, so that rank 0 cannot run it alone; "
            "compute the vectors in all processes and record them: recorder.record(vectors, step)"
        )
    return model


def find_layer(model: torch.nn.Module, name: str) -> torch.nn.Module:
    """Return the submodule of that name; "" is the model itself.

    Raises:
        OptionError: there is none; the message has close names.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    if name in modules:
        return modules[name]
    raise no_layer(model, name, [other for other in modules if other])


def _run(
    model: torch.nn.Module, module: torch.nn.Module, batch: Any, reduce: Reduce | None
) -> np.ndarray:
    """Return the module's vectors of one batch."""
    keywords = isinstance(batch, dict)
    mask = batch.get("attention_mask") if keywords else None
    rows: list[np.ndarray] = []

    def keep(_: Any, __: Any, output: Any) -> None:
        rows.append(pool(output, mask=mask) if reduce is None else as_rows(reduce(output)))

    handle = module.register_forward_hook(keep)
    try:
        if keywords:
            model(**{key: value for key, value in batch.items() if key not in LABELS})
        else:
            model(batch)
    finally:
        handle.remove()
    if len(rows) != 1:
        raise DataError(
            f"the layer ran {len(rows)} times in one forward pass; expected once: give the layer "
            "as a function (model, batch) -> vectors"
        )
    given = batch.values() if keywords else [batch]
    tensors = [one for one in given if getattr(one, "ndim", 0)]
    if tensors and len(rows[0]) != len(tensors[0]):
        raise DataError(
            f"the layer gives {len(rows[0])} rows for {len(tensors[0])} examples; expected "
            "examples along the first dimension: give reduce=, a function that makes (N, D) of it"
        )
    return rows[0]
