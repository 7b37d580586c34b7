"""A real training of a small network on the digits, ten recorded epochs, seen from TensorBoard."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import silhouette_score
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_run import EPOCHS, TrainingRun

from projector_export.analysis.layout import compute_umap
from projector_export.analysis.neighbors import build_graph, prepare_vectors
from projector_export.analysis.principal import fit_components

LABELS = [f"digit {label}" for label in load_digits().target]
RUNS = [*(f"digits/hidden/step_{epoch:08d}" for epoch in range(EPOCHS)), "digits/hidden/trajectory"]


def _folder(run: TrainingRun, epoch: int) -> Path:
    return run.run_dir / f"hidden/step_{epoch:08d}/hidden"


def _vectors(run: TrainingRun, epoch: int) -> np.ndarray:
    values = np.fromfile(_folder(run, epoch) / "tensor.bytes", dtype="<f4")
    return values.reshape(len(LABELS), 64)


def _table(run: TrainingRun, epoch: int) -> pl.DataFrame:
    return pl.read_parquet(_folder(run, epoch) / "points.parquet")


def _scalars(run: TrainingRun, tag: str) -> dict[int, float]:
    (file,) = run.run_dir.glob("*projector-export")
    events = EventAccumulator(str(file))
    events.Reload()
    return {event.step: event.value for event in events.Scalars(f"projector/hidden/{tag}")}


def test_steps_are_listed_while_the_training_goes_on(training_run: TrainingRun) -> None:
    """The plugin's /runs lists new steps while training goes on, each within 15 s."""
    assert training_run.listed[0] == []
    numbers = [len(runs) for runs in training_run.listed]
    assert len(set(numbers)) >= 3, numbers
    assert numbers == sorted(numbers)
    assert sorted(training_run.delays_s) == RUNS
    assert max(training_run.delays_s.values()) < 15, training_run.delays_s
    assert "recorded epochs [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]" in training_run.said


def test_the_trainings_own_scalars_stay(training_run: TrainingRun) -> None:
    """The run's own scalars still load in the Scalars data route, beside ours at the same steps."""
    tags = training_run.board.get("scalars/tags")
    assert list(tags) == ["digits"]
    assert {"loss", "projector/hidden/label_accuracy"} <= set(tags["digits"])
    loss = training_run.board.get("scalars/scalars?run=digits&tag=loss")
    assert [step for _, step, _ in loss] == list(range(EPOCHS))
    assert loss[-1][2] < 0.3 * loss[0][2]
    ours = training_run.board.get("scalars/scalars?run=digits&tag=projector/hidden/label_accuracy")
    assert [step for _, step, _ in ours] == list(range(EPOCHS))


def test_rows_are_the_same_digits_at_every_step(training_run: TrainingRun) -> None:
    """Row i of every step's table is example i, and its vector that of the trained network."""
    for epoch in range(EPOCHS):
        assert _table(training_run, epoch)["label"].to_list() == LABELS
        metadata = (_folder(training_run, epoch) / "metadata.tsv").read_text(encoding="utf-8")
        assert [line.split("\t")[0] for line in metadata.splitlines()[1:]] == LABELS
    # A trained network's vectors tell the digits apart: slipped rows would not.
    last = _vectors(training_run, EPOCHS - 1).astype(np.float64)
    labels = np.array(LABELS)
    centres = np.stack([last[labels == name].mean(axis=0) for name in sorted(set(LABELS))])
    nearest = ((last[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    assert (np.array(sorted(set(LABELS)))[nearest] == labels).mean() > 0.93


def test_thumbnails_are_stored_once(training_run: TrainingRun) -> None:
    """Each run's files lie in its own directory; the unchanging sprite is a hard link."""
    sprites = [_folder(training_run, epoch) / "sprite.png" for epoch in range(EPOCHS)]
    assert len({sprite.stat().st_ino for sprite in sprites}) == 1


def _accuracy(vectors: np.ndarray) -> float:
    """Leave-one-out 15-nearest-neighbour accuracy by cosine, in float64, by brute force."""
    unit = vectors.astype(np.float64)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-300)
    similar = unit @ unit.T
    np.fill_diagonal(similar, -np.inf)
    nearest = np.argsort(-similar, axis=1, kind="stable")[:, :15]
    right = 0
    for row, found in enumerate(nearest):
        names = [LABELS[i] for i in found]
        # Among equally frequent labels, the one whose nearest member is nearest.
        best = max(dict.fromkeys(names), key=lambda name: (names.count(name), -names.index(name)))
        right += best == LABELS[row]
    return right / len(LABELS)


def test_numbers_rise_and_are_right(training_run: TrainingRun) -> None:
    """Accuracy and silhouette in the event file rise and equal a direct computation to 1e-6."""
    accuracy, silhouette = (
        _scalars(training_run, tag) for tag in ("label_accuracy", "label_silhouette")
    )
    assert list(accuracy) == list(silhouette) == list(range(EPOCHS))
    for values in (accuracy, silhouette):
        assert values[EPOCHS - 1] > values[0] + 0.02
        assert np.corrcoef(list(values), list(values.values()))[0, 1] > 0.7
    for epoch in (0, 4, EPOCHS - 1):
        vectors = _vectors(training_run, epoch)
        assert accuracy[epoch] == pytest.approx(_accuracy(vectors), abs=1e-6)
        direct = silhouette_score(vectors.astype(np.float64), LABELS, metric="cosine")
        assert silhouette[epoch] == pytest.approx(direct, abs=1e-6)


def _move(one: np.ndarray, other: np.ndarray) -> float:
    """Median move as a share of the first layout's width."""
    return float(np.median(np.linalg.norm(other - one, axis=1)) / np.ptp(one, axis=0).max())


def _independent(vectors: np.ndarray, n_dims: int) -> np.ndarray:
    prepared = prepare_vectors(vectors, "cosine")
    graph = build_graph(prepared, k=15)
    start = fit_components(prepared, 3).project(prepared, n_dims)
    return compute_umap(graph, start, n_dims=n_dims)


@pytest.mark.parametrize("n_dims", [2, 3])
def test_layouts_stay_where_they_were(
    training_run: TrainingRun, n_dims: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Late in training the median point moves less than 5 % of the layout's width from epoch to
    epoch; the same layouts made independently move more than 4 times as much.
    """  # noqa: D205
    axes = [f"umap{n_dims}d_{axis}" for axis in "xyz"[:n_dims]]
    late = range(6, EPOCHS)
    ours = [_table(training_run, epoch).select(axes).to_numpy() for epoch in late]
    alone = [_independent(_vectors(training_run, epoch), n_dims) for epoch in late]
    moves = [_move(*pair) for pair in pairwise(ours)]
    moves_alone = [_move(*pair) for pair in pairwise(alone)]
    with capsys.disabled():
        print(
            f"\nmedian move in {n_dims}-D, share of the width: "
            f"{', '.join(f'{move:.4f}' for move in moves)}; made independently: "
            f"{', '.join(f'{move:.4f}' for move in moves_alone)}"
        )
    assert max(moves) < 0.05
    assert np.median(moves_alone) > 4 * np.median(moves)
