"""Steps out of files and checkpoints: the same series that a recorder makes, and nothing lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from projector_export.errors import DataError, InputNotFoundError, OptionError
from projector_export.points import Points
from projector_export.progress import Step
from projector_export.projector.exports import open_export
from projector_export.projector.views import View
from projector_export.settings import Settings
from projector_export.sources.checkpoints import Checkpoint
from projector_export.training.attach import (
    attach_checkpoints,
    attach_vectors,
    list_series,
    open_series,
    read_settings,
)
from projector_export.training.summaries import Numbers

N = 40
PLAIN = Settings(clusters=None, umap_dims=(), anomalies=False)
NOTHING = Numbers(scalars=False, images=False, texts=False)


def _vectors(step: int) -> np.ndarray:
    rng = np.random.default_rng(step)
    return (np.arange(N)[:, None] + rng.standard_normal((N, 6))).astype(np.float32)


def _points(step: int, order: np.ndarray | None = None) -> Points:
    labels = pl.DataFrame({"label": [f"item {i % 4}" for i in range(N)], "n": np.arange(N)})
    points = Points(_vectors(step), labels, "emb")
    return points if order is None else points.take(order)


def _attach(run: Path, step: int, **options: Any) -> Any:
    return attach_vectors(run, _points(step), step, **{"settings": PLAIN, **options})


def _step(run: Path, step: int, name: str = "emb") -> Any:
    return open_export(run / name / f"step_{step:08d}", name)


def _checkpoints(folder: Path, steps: list[int], broken: tuple[int, ...] = ()) -> list[Checkpoint]:
    import torch

    folder.mkdir()
    found = []
    for step in steps:
        path = folder / f"model_{step}.pt"
        torch.save({"net.emb.weight": torch.from_numpy(_vectors(step))}, path)
        if step in broken:
            path.write_bytes(b"cut off")
        found.append(Checkpoint(path, step))
    return found


def test_a_file_becomes_a_step_with_numbers(tmp_path: Path) -> None:
    """Vectors saved by other means become one step, with numbers in the run's events."""
    done = _attach(tmp_path, 3)
    assert (done.steps, done.kept, done.points, done.warnings) == ([3], [3], N, [])
    done = _attach(tmp_path, 7)
    assert (done.steps, done.kept) == ([7], [3, 7])
    np.testing.assert_array_equal(_step(tmp_path, 7).vectors, _vectors(7))
    kept = _step(tmp_path, 7).columns
    unit = [v / np.linalg.norm(v, axis=1)[:, None] for v in map(_vectors, (3, 7))]
    angles = np.degrees(np.arccos(np.clip((unit[0] * unit[1]).sum(axis=1), -1, 1)))
    np.testing.assert_allclose(kept["movement"], angles, atol=0.05)
    events = EventAccumulator(str(tmp_path)).Reload()
    moved = events.Scalars("projector/emb/mean_movement")
    assert [event.step for event in moved] == [7]
    assert moved[0].value == pytest.approx(angles.mean(), abs=0.05)
    accuracy = events.Scalars("projector/emb/label_accuracy")
    assert [event.step for event in accuracy] == [3, 7]


def test_numbers_can_be_left_out(tmp_path: Path) -> None:
    """--no-numbers: the run's own directory gets no event file."""
    _attach(tmp_path, 3, numbers=NOTHING)
    assert [path.name for path in tmp_path.iterdir()] == ["emb"]


def test_the_same_step_replaces(tmp_path: Path) -> None:
    """The same step twice replaces; permuted rows stay together."""
    order = np.random.default_rng(1).permutation(N)
    _attach(tmp_path, 3)
    attach_vectors(tmp_path / "other", _points(5, order), 3, settings=PLAIN)
    export = _step(tmp_path / "other", 3)
    np.testing.assert_array_equal(export.vectors, _vectors(5)[order])
    assert export.columns["n"].to_list() == order.tolist()
    attach_vectors(tmp_path, _points(6), 3, settings=PLAIN)
    np.testing.assert_array_equal(_step(tmp_path, 3).vectors, _vectors(6))


def test_what_differs_from_earlier_steps_is_told(tmp_path: Path) -> None:
    """Other settings, steps in between, and steps thinned out again are said, not guessed at."""
    for step in (0, 10):
        _attach(tmp_path, step, numbers=NOTHING)
    other = Settings(metric="euclidean", clusters=None, umap_dims=(), anomalies=False)
    (told,) = _attach(tmp_path, 20, settings=other, numbers=NOTHING).warnings
    assert told.startswith("step 10 was made with other settings (metric 'cosine' there, 'eucl")
    _attach(tmp_path, 20, numbers=NOTHING)
    between = _attach(tmp_path, 5, numbers=NOTHING)
    (told,) = between.warnings
    assert told.startswith("2 later steps of this series had been recorded before")
    thinned = _attach(tmp_path, 6, keep=3, numbers=NOTHING)
    assert thinned.kept == [0, 10, 20]
    assert thinned.warnings[1] == "thinned out again (keep): steps 6"


def test_nothing_is_thinned_unless_asked_for(tmp_path: Path) -> None:
    """A series that somebody recorded whole stays whole."""
    for step in range(4):
        done = _attach(tmp_path, step, numbers=NOTHING)
    assert done.kept == [0, 1, 2, 3]


def test_checkpoints_become_steps_in_order(tmp_path: Path) -> None:
    """One weight matrix from each of many; one unreadable is skipped, reported and counted."""
    checkpoints = _checkpoints(tmp_path / "ck", [5, 10, 20, 100], broken=(10,))
    columns = pl.DataFrame({"label": [f"word {i}" for i in range(N)]})
    seen: list[Step] = []
    done = attach_checkpoints(
        tmp_path / "run",
        checkpoints,
        "emb.weight",
        columns=columns,
        settings=PLAIN,
        progress=seen.append,
    )
    assert (done.steps, done.kept, done.points) == ([5, 20, 100], [5, 20, 100], N)
    (skipped,) = done.skipped
    assert skipped["path"] == str(tmp_path / "ck/model_10.pt")
    assert "model_10.pt cannot be loaded" in skipped["why"]
    for step in (5, 20, 100):
        export = _step(tmp_path / "run", step, "embedding")
        np.testing.assert_array_equal(export.vectors, _vectors(step))
        assert export.columns["label"].to_list() == columns["label"].to_list()
        assert export.manifest["source"] == f"model_{step}.pt"
        assert export.manifest["tensor"] == "emb.weight"
    assert [(s.name, s.done, s.total, s.skipped) for s in seen] == [
        ("step 5", 0, 4, 0), ("step 10", 1, 4, 0), ("step 20", 2, 4, 1), ("step 100", 3, 4, 1)
    ]  # fmt: skip


def test_checkpoints_can_be_thinned_and_have_views(tmp_path: Path) -> None:
    """keep, views and numbers are those of every step of a series."""
    done = attach_checkpoints(
        tmp_path / "run",
        _checkpoints(tmp_path / "ck", [5, 10, 20]),
        "emb.weight",
        name="emb",
        keep=2,
        settings=PLAIN,
        views=[View("Mine", "pca")],
        numbers=NOTHING,
    )
    assert (done.steps, done.kept) == ([5, 10, 20], [5, 20])
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["emb"]
    assert [state["label"] for state in _step(tmp_path / "run", 20).states] == ["Mine"]


def test_strict_stops_at_the_first_unreadable(tmp_path: Path) -> None:
    """--strict stops; the steps before stay."""
    checkpoints = _checkpoints(tmp_path / "ck", [5, 10, 20], broken=(10,))
    run = tmp_path / "run"
    with pytest.raises(DataError, match=r"model_10\.pt cannot be loaded"):
        attach_checkpoints(run, checkpoints, "emb.weight", strict=True, settings=PLAIN)
    assert open_series(run).steps() == [5]


def test_none_readable_is_an_error(tmp_path: Path) -> None:
    """All unreadable is an error that says the first reason, and nothing is made."""
    checkpoints = _checkpoints(tmp_path / "ck", [5, 10])
    with pytest.raises(DataError, match=r"none of 2 checkpoints .* no tensor 'nix'"):
        attach_checkpoints(tmp_path / "run", checkpoints, "nix")
    columns = pl.DataFrame({"label": ["a", "b", "c"]})
    with pytest.raises(DataError, match="has 40 rows but the metadata has 3; give one row each"):
        attach_checkpoints(tmp_path / "run", checkpoints, "emb.weight", columns=columns)
    assert not (tmp_path / "run").exists()


def test_views_must_fit_every_step(tmp_path: Path) -> None:
    """A layout from a file is of one state only; two views of a title are refused."""
    views = [View("Mine", "places.csv")]
    with pytest.raises(OptionError, match="view 'Mine': each step has a layout of its own"):
        attach_vectors(tmp_path / "run", _points(1), 1, views=views)
    with pytest.raises(OptionError, match="two of this title"):
        attach_checkpoints(tmp_path / "run", [], "x", views=[View("a", "pca"), View("a", "pca")])
    assert not (tmp_path / "run").exists()
    _attach(tmp_path / "run", 1, views=[View("Mine", "pca", "n")])
    assert [state["label"] for state in _step(tmp_path / "run", 1).states] == ["Mine"]


def test_a_series_is_opened_as_it_was_made(tmp_path: Path) -> None:
    """The settings are those of the last step; a run of one series needs no name."""
    made = Settings(
        metric="euclidean", clusters=None, umap_dims=(2,), anomalies=False, seed=5, view_dims=4
    )
    _attach(tmp_path, 1, numbers=NOTHING)
    _attach(tmp_path, 2, settings=made, numbers=NOTHING)
    series = open_series(tmp_path)
    assert (series.name, series.steps(), series.keep) == ("emb", [1, 2], None)
    assert series.settings == Settings(
        metric="euclidean", clusters=None, umap_dims=(2,), anomalies=False, seed=5, view_dims=4,
        force=True,
    )  # fmt: skip
    points = Points(_vectors(1), name="second")
    attach_vectors(tmp_path, points, 1, settings=PLAIN, numbers=NOTHING)
    assert list_series(tmp_path) == ["emb", "second"]
    with pytest.raises(OptionError, match=r"has 2 series \(emb, second\); give --name"):
        open_series(tmp_path)
    assert open_series(tmp_path, "second").steps() == [1]
    with pytest.raises(InputNotFoundError, match="has no series 'x'; it has emb, second"):
        open_series(tmp_path, "x")
    with pytest.raises(InputNotFoundError, match="has no series: expected the directory of a"):
        open_series(tmp_path / "nowhere")


def test_settings_of_a_foreign_manifest(tmp_path: Path) -> None:
    """What a manifest does not say is as by default; what is no setting is refused."""
    _attach(tmp_path, 1, numbers=NOTHING)
    export = _step(tmp_path, 1)
    export.manifest["settings"] = {"metric": "euclidean", "of_the_future": 1}
    assert read_settings(export) == Settings(metric="euclidean")
    export.manifest["settings"] = {"umap_dims": 7}
    with pytest.raises(DataError, match=r"manifest\.json is damaged"):
        read_settings(export)
