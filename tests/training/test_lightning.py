"""The callback of PyTorch Lightning, with the real library."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import need
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from training.recorder_double import RecorderDouble, check_series, make_real

from projector_export.errors import MissingExtraError, OptionError

pytestmark = [
    # Advice of Lightning's on how to load data; these data are tiny.
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    # Lightning 2.6 asks torch 2.14 in an old way.
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
]
N = 12
PROBE = torch.randn(N, 3, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def pl() -> Any:
    """The library."""
    need("lightning")
    return importlib.import_module("lightning.pytorch")


def _module(pl: Any, *, fails_at: int | str = -1) -> Any:
    class Small(pl.LightningModule):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5))
            self.head = nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> Any:
            return self.head(self.encoder(x))

        def training_step(self, batch: Any, number: int) -> Any:
            if self.global_step == fails_at:
                raise RuntimeError("the training itself fails")
            return (self(batch[0]) - batch[0]).square().mean()

        def validation_step(self, batch: Any, number: int) -> None:
            if fails_at == "validation":
                raise RuntimeError("the validation fails")
            self(batch[0])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.5)

    torch.manual_seed(0)
    return Small()


def _train(pl: Any, module: Any, folder: Path, callbacks: list[Any], **options: Any) -> None:
    """Train two epochs of three batches, after a sanity check; options go to the Trainer."""
    torch.manual_seed(1)
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", devices=1, callbacks=callbacks,
        default_root_dir=str(folder), enable_progress_bar=False, enable_checkpointing=False,
        enable_model_summary=False, log_every_n_steps=1, **{"logger": False, **options},
    )  # fmt: skip
    data = TensorDataset(PROBE)
    trainer.fit(module, DataLoader(data, batch_size=4, shuffle=True), DataLoader(data, 4))


def _vectors(module: Any) -> np.ndarray:
    with torch.no_grad():
        return module.encoder[0](PROBE).numpy().copy()


@pytest.mark.parametrize(
    ("when", "options", "steps"),
    [
        ("epoch", {}, [0, 3, 6]),
        ("step", {}, [0, 1, 2, 3, 4, 5, 6]),
        ("step", {"accumulate_grad_batches": 2}, [0, 1, 2, 3, 4]),
    ],
)
def test_the_trainer_records_at_its_global_step(
    pl: Any, tmp_path: Path, when: Any, options: dict[str, Any], steps: list[int]
) -> None:
    """At the start and after each epoch or step, at trainer.global_step, each once; then finish."""
    from projector_export.training.lightning import EmbeddingCallback

    module, recorder = _module(pl), RecorderDouble()
    untrained = _vectors(module)
    _train(
        pl, module, tmp_path, [EmbeddingCallback("encoder", PROBE, recorder, when=when)], **options
    )
    assert recorder.asked == steps
    assert recorder.finished == ["classes"]
    np.testing.assert_array_equal(recorder.steps[0], untrained)
    np.testing.assert_array_equal(recorder.steps[steps[-1]], _vectors(module))
    assert np.abs(recorder.steps[steps[-1]] - untrained).max() > 0.01


def test_the_training_is_the_one_without(pl: Any, tmp_path: Path) -> None:
    """Dropout and shuffling draw the same numbers with and without recording."""
    from projector_export.training.lightning import EmbeddingCallback

    weights = []
    for recording in (False, True):
        module, loader = _module(pl), DataLoader(TensorDataset(PROBE), batch_size=5)
        callback = EmbeddingCallback("encoder", loader, RecorderDouble(), when="step")
        _train(pl, module, tmp_path, [callback] if recording else [])
        weights.append(module.state_dict())
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


def test_a_wrong_layer_is_told_at_the_start(pl: Any, tmp_path: Path) -> None:
    """The recorder's rule decides: training goes on, or strict raises before the first step."""
    from projector_export.training.lightning import EmbeddingCallback

    lax, strict = RecorderDouble(strict=False), RecorderDouble(strict=True)
    _train(pl, _module(pl), tmp_path, [EmbeddingCallback("encode", PROBE, lax)])
    assert lax.asked == [0, 3, 6]
    assert "'encoder'" in str(lax.errors[0])
    with pytest.raises(OptionError, match="no layer 'encode'"):
        _train(pl, _module(pl), tmp_path, [EmbeddingCallback("encode", PROBE, strict)])
    assert strict.asked == [0]
    with pytest.raises(OptionError, match="when is 'batch'"):
        EmbeddingCallback("encoder", PROBE, lax, when="batch")  # type: ignore[arg-type]


def test_a_failed_training_ends_the_recorder_without_a_trajectory(pl: Any, tmp_path: Path) -> None:
    """On an exception of the training, what was recorded is finished."""
    from projector_export.training.lightning import EmbeddingCallback

    recorder = RecorderDouble()
    callback = EmbeddingCallback("encoder", PROBE, recorder)
    with pytest.raises(RuntimeError, match="the training itself fails"):
        _train(pl, _module(pl, fails_at=4), tmp_path, [callback])
    assert sorted(recorder.steps) == [0, 3]
    assert recorder.finished == [None]


def test_a_failure_before_the_start_leaves_the_recorder_alone(pl: Any, tmp_path: Path) -> None:
    """A recorder that is not made yet cannot be finished."""
    from projector_export.training.lightning import EmbeddingCallback

    made: list[str] = []
    callback = EmbeddingCallback("encoder", PROBE, made.append)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="the validation fails"):
        _train(pl, _module(pl, fails_at="validation"), tmp_path, [callback])
    assert made == []


def test_a_function_makes_the_recorder_for_the_log_directory(pl: Any, tmp_path: Path) -> None:
    """Lightning knows its log directory when the training starts; each step on disk is right."""
    from lightning.pytorch.loggers import CSVLogger

    from projector_export.training.lightning import EmbeddingCallback

    seen, folders = RecorderDouble(), []

    def make(folder: str) -> Any:
        folders.append(folder)
        return make_real(Path(folder), N)

    callbacks = [
        EmbeddingCallback(lambda module, batch: module.encoder(batch), PROBE, one)
        for one in (make, seen)
    ]
    logger = CSVLogger(tmp_path, name="small", version="first")
    _train(pl, _module(pl), tmp_path, callbacks, logger=logger)
    assert folders == [str(tmp_path / "small" / "first")]
    assert sorted(seen.steps) == [0, 3, 6]
    check_series(tmp_path / "small" / "first", seen.steps)


def test_without_a_logger_the_root_is_the_run(pl: Any, tmp_path: Path) -> None:
    """`trainer.log_dir` is the root directory where nothing logs."""
    from projector_export.training.lightning import EmbeddingCallback

    folders: list[str] = []

    def make(folder: str) -> Any:
        folders.append(folder)
        return RecorderDouble()

    _train(pl, _module(pl), tmp_path, [EmbeddingCallback("encoder", PROBE, make)])
    assert folders == [str(tmp_path)]


def _hide(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    monkeypatch.setitem(sys.modules, "projector_export.training.lightning", None)
    del sys.modules[
        "projector_export.training.lightning"
    ]  # imported anew, and as it was after the test
    for package in packages:
        monkeypatch.setitem(sys.modules, package, None)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a library missing, the message names the extra."""
    _hide(monkeypatch, "lightning", "lightning.pytorch", "pytorch_lightning")
    with pytest.raises(MissingExtraError, match=r"pip install 'projector-export\[lightning\]'"):
        importlib.import_module("projector_export.training.lightning")


def test_the_older_package_does_as_well(pl: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both `lightning.pytorch` and `pytorch_lightning` are accepted; the one in use counts."""
    _hide(monkeypatch, "lightning.pytorch")
    stand_in = type(sys)("pytorch_lightning")
    stand_in.Callback = type("Callback", (), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pytorch_lightning", stand_in)
    module = importlib.import_module("projector_export.training.lightning")
    assert issubclass(module.EmbeddingCallback, stand_in.Callback)  # type: ignore[attr-defined]
