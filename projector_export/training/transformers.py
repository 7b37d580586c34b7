"""Record a layer's vectors while a Hugging Face Trainer runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from projector_export.errors import MissingExtraError, OptionError

try:
    from transformers import TrainerCallback

    from projector_export.training.probe import Layer, Reduce
    from projector_export.training.torch_layer import record_layer
except ImportError as err:
    raise MissingExtraError(
        f"transformers or torch cannot be imported ({err}): "
        "pip install 'projector-export[transformers]'"
    ) from err

if TYPE_CHECKING:
    from projector_export.training.recorder import EmbeddingRecorder


class EmbeddingCallback(TrainerCallback):  # type: ignore[misc]
    """Records the untrained model, and then after each epoch or optimizer step.

        recorder = EmbeddingRecorder("logs/run1", labels=labels)
        trainer.add_callback(EmbeddingCallback("bert.encoder.layer.1", batch, recorder))

    Args:
        layer: a submodule's name, or a function `(model, batch) -> (N, D)`.
        batch: the probe set: one batch (what a tokenizer returns with `return_tensors="pt"`), or a
            loader that does not shuffle; as in `torch_layer.layer_vectors`.
        recorder: gets the vectors at the Trainer's `global_step`, as its logs do.
        when: after each "epoch" or each optimizer "step"; `every` of the recorder thins them.
        reduce: makes (N, D) of the layer's output.

    Raises:
        OptionError: another `when`.
    """

    def __init__(
        self,
        layer: Layer,
        batch: Any,
        recorder: EmbeddingRecorder,
        *,
        when: Literal["epoch", "step"] = "epoch",
        reduce: Reduce | None = None,
    ) -> None:
        if when not in ("epoch", "step"):
            raise OptionError(f"when is {when!r}; expected 'epoch' or 'step'")
        self._layer, self._batch, self._recorder = layer, batch, recorder
        self._when, self._reduce = when, reduce

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Record the model as it is before training, or where it resumes."""
        self._record(state, kwargs["model"])

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Record after an epoch."""
        if self._when == "epoch":
            self._record(state, kwargs["model"])

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Record after an optimizer step."""
        if self._when == "step":
            self._record(state, kwargs["model"])

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Wait for what is being written, and add the trajectory."""
        self._recorder.finish()

    def _record(self, state: Any, model: Any) -> None:
        record_layer(
            model, self._layer, self._recorder, self._batch,
            step=state.global_step, reduce=self._reduce,
        )  # fmt: skip
