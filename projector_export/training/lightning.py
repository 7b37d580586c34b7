"""Record a layer's vectors while a PyTorch Lightning Trainer runs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from projector_export.errors import MissingExtraError, OptionError

if TYPE_CHECKING:
    from projector_export.training.recorder import EmbeddingRecorder


def _callback_class() -> type:
    """Return the base class of callbacks, of the package in use where both are installed."""
    reasons = []
    packages = ("lightning.pytorch", "pytorch_lightning")
    for package in sorted(packages, key=lambda name: name not in sys.modules):
        try:
            return importlib.import_module(package).Callback  # type: ignore[no-any-return]
        except ImportError as error:
            reasons.append(str(error))
    raise MissingExtraError(
        f"lightning cannot be imported ({'; '.join(reasons)}): "
        "pip install 'projector-export[lightning]'"
    )


_Callback: Any = _callback_class()

from projector_export.training.probe import Layer, Reduce  # noqa: E402
from projector_export.training.torch_layer import record_layer  # noqa: E402


class EmbeddingCallback(_Callback):  # type: ignore[misc]
    """Records the untrained model, and then after each epoch or optimizer step.

        callback = EmbeddingCallback("encoder", batch, lambda folder: EmbeddingRecorder(folder))

    Args:
        layer: a submodule's name, or a function `(module, batch) -> (N, D)`.
        batch: the probe set: one batch, or a loader that does not shuffle, as in
            `torch_layer.layer_vectors`.
        recorder: gets the vectors at the Trainer's `global_step`, the number of optimizer steps so
            far (0 is untrained; Lightning's loggers give the last step's scalars one less). Or a
            function that makes a recorder for `trainer.log_dir`, known when the training starts.
        when: after each "epoch" or each optimizer "step"; `every` of the recorder thins them.
        reduce: makes (N, D) of the layer's output.

    Raises:
        OptionError: another `when`.
    """

    def __init__(
        self,
        layer: Layer,
        batch: Any,
        recorder: EmbeddingRecorder | Callable[[str], EmbeddingRecorder],
        *,
        when: Literal["epoch", "step"] = "epoch",
        reduce: Reduce | None = None,
    ) -> None:
        if when not in ("epoch", "step"):
            raise OptionError(f"when is {when!r}; expected 'epoch' or 'step'")
        self._layer, self._batch, self._given = layer, batch, recorder
        self._when, self._reduce = when, reduce
        self._recorder: EmbeddingRecorder | None = None
        self._last = -1

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Record the model as it is before training, or where it resumes."""
        # log_dir is a collective: all processes must ask.
        folder = trainer.log_dir or trainer.default_root_dir
        self._recorder = self._given(folder) if callable(self._given) else self._given
        self._last = -1
        self._record(trainer, pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        """Record after an optimizer step; an accumulating batch makes none."""
        if self._when == "step" and trainer.global_step != self._last:
            self._record(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Record after an epoch."""
        if self._when == "epoch":
            self._record(trainer, pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Wait for what is being written, and add the trajectory."""
        if self._recorder is not None:
            self._recorder.finish()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Wait for what is being written, without a trajectory."""
        if self._recorder is not None:
            self._recorder.finish(trajectory=None)

    def _record(self, trainer: Any, module: Any) -> None:
        self._last = step = trainer.global_step
        if self._recorder is not None:
            record_layer(
                module, self._layer, self._recorder, self._batch, step=step, reduce=self._reduce
            )
