"""Record a layer's vectors while a Keras 3 model trains on the torch backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from projector_export.errors import MissingExtraError, OptionError

try:
    import keras

    from projector_export.training import probe
except ImportError as err:
    raise MissingExtraError(
        f"keras or torch cannot be imported ({err}): pip install 'projector-export[keras]'"
    ) from err

if TYPE_CHECKING:
    from projector_export.training.recorder import EmbeddingRecorder


class EmbeddingCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Records after each epoch, or the untrained model and after each batch.

        model.fit(x, y, callbacks=[EmbeddingCallback("features", x[:500], recorder)])

    Args:
        layer: a layer's name (functional and sequential models), or a function
            `(model, batch) -> (N, D)`.
        batch: the probe set: one batch (an array or tensor; a tuple or list, whose first element
            counts; a mapping for a model with named inputs), or a loader that does not shuffle.
        recorder: gets the vectors.
        when: "epoch", at the epoch's number from 0 as in Keras' TensorBoard callback (the untrained
            model has none), or "step", at the number of batches so far, 0 for the untrained model.
        reduce: makes (N, D) of the layer's output; without it as in `torch_layer.layer_vectors`,
            pictures by the layer's `data_format`.

    Raises:
        OptionError: another `when`; or Keras runs on another backend.
    """

    def __init__(
        self,
        layer: probe.Layer,
        batch: Any,
        recorder: EmbeddingRecorder,
        *,
        when: Literal["epoch", "step"] = "epoch",
        reduce: probe.Reduce | None = None,
    ) -> None:
        super().__init__()
        if (backend := keras.backend.backend()) != "torch":
            raise OptionError(f"Keras runs on {backend!r}; expected 'torch': set KERAS_BACKEND")
        if when not in ("epoch", "step"):
            raise OptionError(f"when is {when!r}; expected 'epoch' or 'step'")
        self._layer, self._batch, self._recorder = layer, batch, recorder
        self._when, self._reduce = when, reduce

    def on_train_begin(self, logs: Any = None) -> None:
        """Record the untrained model; check the layer's name."""
        self._extractor: Any = None
        if self._when == "step":
            self._record(self._steps())
        elif isinstance(self._layer, str):
            try:
                self._extractor = _extractor(self.model, self._layer)
            except OptionError:
                self._recorder.record(self._vectors, 0)  # meets it again, and says or raises it

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Record after a batch."""
        if self._when == "step":
            self._record(self._steps())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Record after an epoch."""
        if self._when == "epoch":
            self._record(epoch)

    def on_train_end(self, logs: Any = None) -> None:
        """Wait for what is being written, and add the trajectory."""
        self._recorder.finish()

    def _steps(self) -> int:
        return int(self.model.optimizer.iterations.value)

    def _record(self, step: int) -> None:
        self._recorder.record(self._vectors, step)

    def _vectors(self) -> np.ndarray:
        batch, layer = self._batch, self._layer
        if callable(layer):
            return probe.vectors_of(
                self.model, batch, lambda one: probe.as_rows(layer(self.model, one))
            )
        if self._extractor is None:
            self._extractor = _extractor(self.model, layer)
        return probe.vectors_of(self.model, batch, self._run)

    def _run(self, one: Any) -> np.ndarray:
        output = self._extractor(probe.model_input(one), training=False)
        if self._reduce is not None:
            return probe.as_rows(self._reduce(output))
        layer = self.model.get_layer(self._layer)
        order = getattr(layer, "data_format", None) or keras.config.image_data_format()
        mask = getattr(output, "_keras_mask", None)  # of Embedding(mask_zero=True)
        return probe.pool(output, mask=mask, channels_last=order == "channels_last")


def _extractor(model: keras.Model, name: str) -> keras.Model:
    names = [layer.name for layer in model.layers]
    if name not in names:
        raise probe.no_layer(model, name, names)
    try:
        inputs = model.input if hasattr(model, "input") else model.inputs[0]  # Sequential has one
        return keras.Model(inputs, model.get_layer(name).output)
    except (AttributeError, ValueError) as err:  # a subclassed model, a layer that is used twice
        raise OptionError(
            f"layer {name!r} has no output of its own in {type(model).__name__} ({err}); "
            "give the layer as a function (model, batch) -> vectors"
        ) from err
