"""A series: steps as runs of their own, made, compared, replaced, thinned and resumed."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from google.protobuf import text_format
from PIL import Image
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from projector_export.errors import DataError, OptionError, OutputError
from projector_export.points import Points
from projector_export.projector.views import View
from projector_export.settings import Settings
from projector_export.training.series import RecordedStep, Series
from projector_export.training.step_folders import list_steps, next_to_thin, remove_step

N = 60
PLAIN = Settings(clusters=None, umap_dims=(), anomalies=False)
WHOLE = Settings(clusters=3, umap_dims=(2,))
TILE = 4


def _vectors(step: int, *, n: int = N, dims: int = 8) -> np.ndarray:
    """The same examples, further along with each step."""
    start = np.random.default_rng(1).standard_normal((n, dims))
    way = np.random.default_rng(2).standard_normal((n, dims))
    return (start + 0.05 * step * way).astype(np.float32)


def _tiles(n: int = N, *, blue: int = 0) -> np.ndarray:
    """Tile i is of one colour, whose red is i."""
    tiles = np.full((n, TILE, TILE, 4), 255, dtype=np.uint8)
    tiles[..., 0], tiles[..., 1] = np.arange(n)[:, None, None], 7
    tiles[..., 2] = blue
    return tiles


def _points(step: int, *, n: int = N, dims: int = 8, tiles: np.ndarray | None = None) -> Points:
    labels = pl.DataFrame({"label": [f"item {i}" for i in range(n)], "size": np.arange(n) * 10})
    return Points(_vectors(step, n=n, dims=dims), labels, thumbnails=tiles)


def _series(run: Path, settings: Settings = PLAIN, **options: Any) -> Series:
    return Series(run, "emb", settings, **options)


def _record(run: Path, steps: list[int], settings: Settings = PLAIN, **options: Any) -> None:
    with _series(run, settings, **options) as series:
        for step in steps:
            series.write(_points(step), step)


def _file(run: Path, step: int, file: str) -> Path:
    return run / "emb" / f"step_{step:08d}" / "emb" / file


def _table(run: Path, step: int) -> pl.DataFrame:
    return pl.read_csv(_file(run, step, "metadata.tsv"), separator="\t")


def _tensor(run: Path, step: int, n: int = N) -> np.ndarray:
    return np.fromfile(_file(run, step, "tensor.bytes"), "<f4").reshape(n, -1)


def _tree(folder: Path) -> dict[str, bytes]:
    """Every file but locks, which come and go."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def _angles_deg(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    one, other = one.astype(np.float64), other.astype(np.float64)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    cosines = np.clip((one * other).sum(axis=1) / lengths, -1, 1)
    return np.asarray(np.degrees(np.arccos(cosines)))


def _check_configs(run: Path) -> None:
    """No config below the run names a missing file."""
    for path in run.rglob("projector_config.pbtxt"):
        config = text_format.Parse(path.read_text(encoding="utf-8"), ProjectorConfig())
        assert config.embeddings
        for entry in config.embeddings:
            names = [entry.tensor_path, entry.metadata_path, entry.bookmarks_path]
            names += [entry.sprite.image_path] if entry.sprite.image_path else []
            for name in names:
                assert (path.parent / name).is_file(), f"{path} names {name}"


# A step


def test_a_step_is_a_run_of_its_own(tmp_path: Path) -> None:
    """`step_00000010/`: a TensorBoard run of its own, with an export in <name>/."""
    _record(tmp_path / "run", [10])
    run = tmp_path / "run" / "emb" / "step_00000010"
    assert sorted(path.name for path in tmp_path.joinpath("run").iterdir()) == ["emb"]
    assert len(list(run.glob("events.out.tfevents.*"))) == 1
    config = text_format.Parse((run / "projector_config.pbtxt").read_text(), ProjectorConfig())
    (entry,) = config.embeddings
    assert entry.tensor_name == "emb"
    assert entry.tensor_path == "emb/tensor.bytes"
    assert list(entry.tensor_shape) == [60, 8]
    np.testing.assert_array_equal(_tensor(tmp_path / "run", 10), _vectors(10))
    manifest = json.loads((run / "emb" / "manifest.json").read_text())
    assert (manifest["series"], manifest["step"]) == ("emb", 10)


def test_the_first_step_has_not_moved(tmp_path: Path) -> None:
    """At the first step: 0, 0, 1."""
    with _series(tmp_path) as series:
        recorded = series.write(_points(0), 0)
    assert recorded.is_first
    table = _table(tmp_path, 0)
    for column, value in (("movement", 0), ("movement_since_first", 0), ("neighbours_kept", 1)):
        assert table[column].to_list() == [value] * N


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_movement_is_since_the_last_step_and_the_first(metric: Any, tmp_path: Path) -> None:
    """`movement` since the last kept step, `movement_since_first` from the first; 15 neighbours."""
    _record(tmp_path, [0, 3, 7], replace(PLAIN, metric=metric))
    table = _table(tmp_path, 7)
    if metric == "cosine":
        last, first = _angles_deg(_vectors(7), _vectors(3)), _angles_deg(_vectors(7), _vectors(0))
    else:
        last = np.linalg.norm(_vectors(7).astype(float) - _vectors(3), axis=1)
        first = np.linalg.norm(_vectors(7).astype(float) - _vectors(0), axis=1)
    np.testing.assert_allclose(table["movement"], last, rtol=1e-4)
    np.testing.assert_allclose(table["movement_since_first"], first, rtol=1e-4)

    def near(step: int) -> np.ndarray:
        vectors = _vectors(step).astype(float)
        if metric == "cosine":
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        apart = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
        np.fill_diagonal(apart, np.inf)
        return np.argsort(apart, axis=1)[:, :15]

    kept = [len(set(a) & set(b)) / 15 for a, b in zip(near(7), near(3), strict=True)]
    np.testing.assert_allclose(table["neighbours_kept"], kept, atol=1e-6)
    assert 0.3 < np.mean(kept) < 1


def test_permuting_the_examples_permutes_everything(tmp_path: Path) -> None:
    """Row i describes example i in tensor, metadata, sprite, movement and vectors.npy."""
    order = np.random.default_rng(5).permutation(N)
    settings = replace(PLAIN, view_dims=8)
    runs = []
    for name, rows in (("plain", np.arange(N)), ("permuted", order)):
        runs.append(tmp_path / name)
        with _series(tmp_path / name, settings) as series:
            for step in (0, 1, 2):
                series.write(_points(step, dims=12, tiles=_tiles()).take(rows), step)
    plain, permuted = runs
    for step in (0, 1, 2):
        one, other = _table(plain, step)[order], _table(permuted, step)
        assert other["label"].to_list() == [f"item {i}" for i in order]
        assert other["size"].to_list() == [10 * i for i in order]
        for column in ("nearest", "duplicate_group"):
            assert one[column].to_list() == other[column].to_list()
        for column in ("movement", "movement_since_first", "neighbours_kept", "nearest_angle"):
            np.testing.assert_allclose(one[column], other[column], atol=1e-4)
        full = np.load(_file(permuted, step, "vectors.npy"))
        np.testing.assert_array_equal(full, _vectors(step, dims=12)[order])
        dots = [_tensor(run, step) for run in (plain, permuted)]
        grams = [tensor @ tensor.T for tensor in dots]  # components may come with another sign
        np.testing.assert_allclose(grams[0][order][:, order], grams[1], atol=1e-4)
        sheet = np.asarray(Image.open(_file(permuted, step, "sprite.png")).convert("RGBA"))
        reds = sheet[TILE // 2 :: TILE, TILE // 2 :: TILE, 0].ravel()[:N]
        assert reds.tolist() == order.tolist()


@pytest.mark.parametrize(
    "settings",
    [
        PLAIN,
        replace(PLAIN, metric="euclidean"),
        Settings(clusters=3, umap_dims=(), anomalies=False),
        Settings(clusters=None, umap_dims=(2,), anomalies=False),
        Settings(clusters=None, umap_dims=(), anomalies=True),
    ],
    ids=["nothing", "euclidean", "clusters", "umap", "anomalies"],
)
def test_any_analysis_may_be_switched_off(settings: Settings, tmp_path: Path) -> None:
    """`settings`: of analysis and output, the same at every step."""
    _record(tmp_path, [0], settings)
    _record(tmp_path, [1], settings)
    columns = _table(tmp_path, 1).columns
    assert ("cluster" in columns) == (settings.clusters is not None)
    assert ("umap2d_x" in columns) == bool(settings.umap_dims)
    assert ("anomaly" in columns) == settings.anomalies
    assert {"movement", "movement_since_first", "neighbours_kept"} <= set(columns)


def test_the_bookmarks_are_the_same_at_every_step(tmp_path: Path) -> None:
    """Bookmarks are the same views at every step, the user's own among them."""
    _record(tmp_path, [0, 1], WHOLE, views=[View("Mine", "umap2d", "size")])
    titles = [
        [
            state["label"]
            for state in json.loads(_file(tmp_path, step, "bookmarks.json").read_text())
        ]
        for step in (0, 1)
    ]
    assert titles[0] == titles[1]
    assert titles[0] == [
        "Mine",
        "UMAP 2D by cluster",
        "Most unusual points",
        "Anomaly score",
        "Moved most",
        "Neighbours changed most",
    ]


def test_a_layout_starts_from_the_one_before(tmp_path: Path) -> None:
    """Every step's UMAP starts from the previous kept one: a point stays where it was."""
    with _series(tmp_path / "one", WHOLE) as series:
        first, second = (series.write(_points(step), step) for step in (0, 1))
    with _series(tmp_path / "other", WHOLE) as series:
        alone = series.write(_points(1), 1)
    before, after, independent = (r.analysis.snapshot.layouts[2] for r in (first, second, alone))
    width = float(np.ptp(before, axis=0).max())
    assert np.median(np.linalg.norm(after - before, axis=1)) < 0.15 * width
    assert np.median(np.linalg.norm(independent - before, axis=1)) > 0.3 * width


def test_a_numpy_step_is_a_number(tmp_path: Path) -> None:
    """`step`: of the training, from 0."""
    with _series(tmp_path) as series:
        recorded = series.write(_points(0), np.int64(4))  # type: ignore[arg-type]
    assert recorded.step == 4
    assert json.loads(_file(tmp_path, 4, "manifest.json").read_text())["step"] == 4


def test_a_users_columns_keep_their_values_under_another_name(tmp_path: Path) -> None:
    """A user's column with one of our names becomes `user_<name>`."""
    points = _points(0).with_columns(
        pl.DataFrame({"movement": np.arange(N), "recorded_row": np.arange(N) * 2})
    )
    with _series(tmp_path, replace(PLAIN, max_points=30)) as series:
        said = series.write(points, 0).result.warnings
    table = _table(tmp_path, 0)
    assert table["user_movement"].to_list() == table["recorded_row"].to_list()
    assert table["user_recorded_row"].to_list() == [2 * i for i in table["recorded_row"]]
    assert any("user_movement" in line for line in said)


# Sprite


def test_a_sprite_is_a_link_to_the_one_before(tmp_path: Path) -> None:
    """Each step has its own sprite: a hard link to the one before."""
    with _series(tmp_path) as series:
        for step in (0, 1, 2):
            series.write(_points(step, tiles=_tiles()), step)
    sprites = [_file(tmp_path, step, "sprite.png") for step in (0, 1, 2)]
    assert all(sprites[0].samefile(sprite) for sprite in sprites)
    assert sprites[2].stat().st_nlink == 3
    assert not any(sprite.is_symlink() for sprite in sprites)
    remove_step(sprites[0].parent.parent)
    sheet = np.asarray(Image.open(sprites[2]).convert("RGBA"))
    assert sheet.shape == (8 * TILE, 8 * TILE, 4)
    assert sheet[1::TILE, 1::TILE, 0].ravel()[:N].tolist() == list(range(N))


def test_a_sprite_is_a_copy_where_links_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hard links where the file system has them, copies elsewhere."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(1, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    with _series(tmp_path) as series:
        for step in (0, 1):
            series.write(_points(step, tiles=_tiles()), step)
    one, other = (_file(tmp_path, step, "sprite.png") for step in (0, 1))
    assert not one.samefile(other)
    assert one.read_bytes() == other.read_bytes()
    assert other.stat().st_nlink == 1


def test_a_sprite_of_other_thumbnails_is_made_anew(tmp_path: Path) -> None:
    """Only unchanging files are shared: other thumbnails are another sprite, also on a resume."""
    for step, blue in ((0, 0), (1, 99), (2, 99)):
        with _series(tmp_path) as series:
            series.write(_points(step, tiles=_tiles(blue=blue)), step)
    sprites = [_file(tmp_path, step, "sprite.png") for step in (0, 1, 2)]
    assert [int(np.asarray(Image.open(s).convert("RGBA"))[0, 0, 2]) for s in sprites] == [0, 99, 99]
    assert sprites[1].samefile(sprites[2])
    assert not sprites[0].samefile(sprites[1])


def test_thumbnails_may_come_and_go(tmp_path: Path) -> None:
    """A step without thumbnails has no sprite, the next one makes it."""
    with _series(tmp_path) as series:
        series.write(_points(0, tiles=_tiles()), 0)
        series.write(_points(1), 1)
        series.write(_points(2, tiles=_tiles()), 2)
    assert not _file(tmp_path, 1, "sprite.png").exists()
    sprites = [_file(tmp_path, step, "sprite.png").read_bytes() for step in (0, 2)]
    assert sprites[0] == sprites[1]


# Replacing, resuming


def test_the_same_step_twice_replaces_that_step_alone(tmp_path: Path) -> None:
    """The same step twice replaces."""
    _record(tmp_path, [0, 1, 2])
    before = _tree(tmp_path)
    with _series(tmp_path) as series:
        series.write(_points(9), 1)
        assert series.steps() == [0, 1, 2]
    np.testing.assert_array_equal(_tensor(tmp_path, 1), _vectors(9))
    moved = _angles_deg(_vectors(9), _vectors(0))
    np.testing.assert_allclose(_table(tmp_path, 1)["movement"], moved, rtol=1e-4)
    after = _tree(tmp_path)
    assert after.keys() == before.keys()
    changed = {path for path in after if after[path] != before[path]}
    assert changed
    assert all(path.startswith("emb/step_00000001/") for path in changed)
    _check_configs(tmp_path)


def test_the_only_step_may_become_one_of_other_examples(tmp_path: Path) -> None:
    """A step is compared with the others: where there are none, it may be anything."""
    with _series(tmp_path) as series:
        series.write(_points(0), 5)
        series.write(_points(0, n=20, dims=5), 5)
        series.write(_points(1, n=20, dims=5), 6)
    assert _tensor(tmp_path, 6, 20).shape == (20, 5)


@pytest.mark.parametrize(
    "settings",
    [
        WHOLE,
        replace(PLAIN, metric="euclidean"),
        replace(PLAIN, tensor_format="tsv"),
        replace(PLAIN, view_dims=4),
        Settings(clusters=4, umap_dims=(2,), umap_neighbors=30, view_dims=4, metric="euclidean"),
    ],
    ids=["whole", "euclidean", "tsv", "reduced", "all at once"],
)
def test_resuming_gives_the_same_step_as_going_on(settings: Settings, tmp_path: Path) -> None:
    """Resuming a training continues the series: the same bytes."""
    steps = [0, 1, 2, 3]
    _record(tmp_path / "one", steps, settings)
    for step in steps:
        _record(tmp_path / "other", [step], settings)
    tensor = f"tensor.{settings.tensor_format}"
    more = ["vectors.npy"] if settings.view_dims == 4 else []
    for step in steps:
        for file in (tensor, "metadata.tsv", "bookmarks.json", *more):
            one, other = (_file(tmp_path / run, step, file) for run in ("one", "other"))
            assert one.read_bytes() == other.read_bytes(), (step, file)


def test_a_step_before_existing_ones_is_compared_with_the_one_below(tmp_path: Path) -> None:
    """The last step is the one below it, not the one recorded last."""
    _record(tmp_path, [0, 10])
    _record(tmp_path, [5])
    _record(tmp_path, [2, 7])
    for step, below in ((5, 0), (2, 0), (7, 5)):
        moved = _angles_deg(_vectors(step), _vectors(below))
        np.testing.assert_allclose(_table(tmp_path, step)["movement"], moved, rtol=1e-4)
    with _series(tmp_path) as series:
        assert series.steps() == [0, 2, 5, 7, 10]


def test_a_new_first_step_has_not_moved(tmp_path: Path) -> None:
    """A step below all others is the first; the next compares with it."""
    with _series(tmp_path) as series:
        series.write(_points(5), 5)
        assert series.write(_points(1), 1).is_first
        assert not series.write(_points(7), 7).is_first
    assert _table(tmp_path, 1)["movement"].to_list() == [0] * N
    since = _angles_deg(_vectors(7), _vectors(1))
    np.testing.assert_allclose(_table(tmp_path, 7)["movement_since_first"], since, rtol=1e-4)


def test_a_reduced_step_keeps_its_vectors(tmp_path: Path) -> None:
    """vectors.npy: a step's vectors, where the browser gets their principal components only."""
    settings = replace(PLAIN, view_dims=3)
    _record(tmp_path, [0], settings)
    _record(tmp_path, [4], settings)
    assert _tensor(tmp_path, 4).shape == (N, 3)
    vectors = np.load(_file(tmp_path, 4, "vectors.npy"), allow_pickle=False)
    np.testing.assert_array_equal(vectors, _vectors(4))
    moved = _angles_deg(_vectors(4), _vectors(0))
    np.testing.assert_allclose(_table(tmp_path, 4)["movement"], moved, rtol=1e-4)
    files = json.loads(_file(tmp_path, 4, "manifest.json").read_text())["files"]
    assert "vectors.npy" in files


def test_damaged_vectors_are_told(tmp_path: Path) -> None:
    """A step that cannot be read is our error, which names the file; nothing is unpickled."""
    settings = replace(PLAIN, view_dims=3)
    _record(tmp_path, [0], settings)
    path = _file(tmp_path, 0, "vectors.npy")
    for content in (b"", path.read_bytes()[:50], _pickled()):
        path.write_bytes(content)
        with _series(tmp_path, settings) as series, pytest.raises(DataError, match="damaged"):
            series.write(_points(1), 1)
    assert list_steps(tmp_path / "emb") == [0]


def _pickled() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    return buffer.getvalue()


# Other points


def _relabelled(points: Points) -> Points:
    return replace(points, columns=points.columns.with_columns(label=pl.col("label").reverse()))


REFUSED: dict[str, tuple[Callable[[], Points], list[str]]] = {
    "labels": (lambda: _relabelled(_points(1)), ["row 0", "'item 59'", "'item 0'"]),
    "number": (lambda: _points(1, n=59), ["59 vectors", "60"]),
    "width": (lambda: _points(1, dims=9), ["9 columns", "8"]),
}


@pytest.mark.parametrize("what", list(REFUSED))
def test_other_points_are_refused(what: str, tmp_path: Path) -> None:
    """DataError: not the points of the other steps, known or read from files; nothing changes."""
    make, fragments = REFUSED[what]
    with _series(tmp_path) as series:
        series.write(_points(0), 0)
        series.write(_points(2), 2)
        before = _tree(tmp_path)
        for step in range(4):
            _refuse(series, make(), step, fragments)
    for step in range(4):
        with _series(tmp_path) as series:
            _refuse(series, make(), step, fragments)
    assert _tree(tmp_path) == before
    with _series(tmp_path) as series:
        assert series.write(_points(1), 1).step == 1


def _refuse(series: Series, points: Points, step: int, fragments: list[str]) -> None:
    with pytest.raises(DataError) as raised:
        series.write(points, step)
    for fragment in [*fragments, str(series.folder), "choose another name"]:
        assert fragment in str(raised.value)


def test_missing_labels_stay_the_same_examples(tmp_path: Path) -> None:
    """Labels of any type are compared as text: what was missing is so after a resume."""
    labels = pl.DataFrame({"label": pl.Series([None, *range(1, N)], dtype=pl.Int64)})
    for step in (0, 1):
        with _series(tmp_path) as series:
            series.write(Points(_vectors(step), labels), step)
    assert list_steps(tmp_path / "emb") == [0, 1]


@pytest.mark.parametrize("step", [-1, -10])
def test_a_negative_step_is_refused(step: int, tmp_path: Path) -> None:
    """`step`: from 0."""
    with _series(tmp_path) as series, pytest.raises(OptionError, match=f"step is {step}"):
        series.write(_points(0), step)


def test_a_failed_step_leaves_the_series_going(tmp_path: Path) -> None:
    """All other steps are as before, and the next one is recorded."""
    with _series(tmp_path) as series:
        series.write(_points(0), 0)
        before = _tree(tmp_path)
        series.settings = replace(series.settings, clusters=N + 1)
        with pytest.raises(OptionError):
            series.write(_points(1), 1)
        assert _tree(tmp_path) == before
        series.settings = replace(PLAIN, force=True)
        series.write(_points(2), 2)
    moved = _angles_deg(_vectors(2), _vectors(0))
    np.testing.assert_allclose(_table(tmp_path, 2)["movement"], moved, rtol=1e-4)


# Thinning


@pytest.mark.parametrize(
    ("steps", "victim"),
    [
        ([0, 1, 2], 1),
        ([0, 1, 2, 3], 1),
        ([0, 2, 3, 4], 3),
        ([0, 1, 10, 12], 1),
        ([0, 8, 10, 12], 10),
        ([0, 10, 20, 21], 20),
        ([5, 100, 101, 1000], 100),
        ([0, 4, 8, 10, 12], 10),
        ([0, 1, 1_000_000_000], 1),
    ],
)
def test_what_leaves_the_smallest_gap_goes_first(steps: list[int], victim: int) -> None:
    """Which of at least three ascending steps leaves the smallest gap; never an end."""
    assert next_to_thin(steps) == victim


def test_keep_thins_evenly(tmp_path: Path) -> None:
    """`keep=N` bounds disk by thinning old steps, first and last always kept."""
    seen = {}
    with _series(tmp_path, keep=4) as series:
        for step in range(10):
            series.write(_points(step, tiles=_tiles()), step)
            seen[step] = series.steps()
            _check_configs(tmp_path)
            assert len(list((tmp_path / "emb").glob("step_*"))) == len(seen[step])
            moved = _table(tmp_path, step)["movement"].to_numpy()
            if step:
                # Since the last kept step, which is always the one before.
                angles = _angles_deg(_vectors(step), _vectors(step - 1))
                np.testing.assert_allclose(moved, angles, rtol=1e-4)
    assert seen == {
        0: [0],
        1: [0, 1],
        2: [0, 1, 2],
        3: [0, 1, 2, 3],
        4: [0, 2, 3, 4],
        5: [0, 2, 4, 5],
        6: [0, 2, 4, 6],
        7: [0, 2, 4, 7],
        8: [0, 4, 7, 8],
        9: [0, 4, 7, 9],
    }


def test_a_long_training_is_thinned_evenly() -> None:
    """No gap is more than twice the even one, at any time; all but the last step's."""
    kept: list[int] = []
    for step in range(1000):
        kept.append(step)
        if len(kept) > 10:
            kept.remove(next_to_thin(kept))
            assert max(np.diff(kept)) < 2 * step / 9
    assert (kept[0], kept[-1], len(kept)) == (0, 999, 10)


def test_keep_holds_for_a_series_that_has_more(tmp_path: Path) -> None:
    """A resumed series with a smaller `keep` is thinned by the next step."""
    _record(tmp_path, [0, 1, 2, 3])
    _record(tmp_path, [4], keep=2)
    assert list_steps(tmp_path / "emb") == [0, 4]
    assert sorted(path.name for path in (tmp_path / "emb").glob("step_*")) == [
        "step_00000000",
        "step_00000004",
    ]


def test_keep_needs_the_first_and_the_last(tmp_path: Path) -> None:
    """`keep`: at least 2; None for all."""
    with pytest.raises(OptionError, match="keep is 1"):
        _series(tmp_path, keep=1)


class _Failing:
    """Lets the first removals of files and folders happen, and then none."""

    def __init__(self, allowed: int) -> None:
        self.left = allowed
        self.refused = False

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("unlink", "rmdir"):
            monkeypatch.setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, real: Callable[..., None]) -> Callable[..., None]:
        def call(*args: Any, **options: Any) -> None:
            if self.left <= 0:
                self.refused = True
                raise PermissionError(13, "refused")
            real(*args, **options)
            self.left -= 1

        return call


@pytest.fixture(scope="module")
def three_steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with steps 0, 1 and 2, of reduced vectors and with sprites."""
    run = tmp_path_factory.mktemp("three")
    with _series(run, replace(PLAIN, view_dims=3)) as series:
        for step in (0, 1, 2):
            series.write(_points(step, tiles=_tiles()), step)
    return run


@pytest.mark.parametrize("allowed", range(14))
def test_a_removal_cut_short_leaves_no_config_that_names_a_missing_file(
    allowed: int, three_steps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its config first, so that none names a missing file; what is left is ours to remove."""
    shutil.copytree(three_steps / "emb", tmp_path / "emb")
    folder = tmp_path / "emb" / "step_00000001"
    failing = _Failing(allowed)
    with monkeypatch.context() as patch:
        failing.install(patch)
        try:
            remove_step(folder)
        except OSError:
            assert failing.refused
    assert failing.refused == folder.exists()
    _check_configs(tmp_path)
    listed = [0, 1, 2] if allowed == 0 else [0, 2]
    assert list_steps(tmp_path / "emb") == listed
    with _series(tmp_path, replace(PLAIN, view_dims=3)) as series:
        assert series.steps() == listed
        # A folder that has become empty tells nothing of its owner.
        assert allowed == 0 or not folder.exists() or not any(folder.iterdir())
        series.write(_points(1, tiles=_tiles()), 1)
        assert series.steps() == [0, 1, 2]
    _check_configs(tmp_path)


def test_a_step_that_cannot_be_removed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OutputError: the disk refuses; the new step is there."""
    _record(tmp_path, [0, 1])
    real = Path.unlink

    def refuse(path: Path, *args: Any, **options: Any) -> None:
        if path.parent.name == "step_00000001":
            raise PermissionError(13, "refused")
        real(path, *args, **options)

    monkeypatch.setattr(Path, "unlink", refuse)
    with (
        _series(tmp_path, keep=2) as series,
        pytest.raises(OutputError, match=r"step_00000001 cannot be removed \(refused\)"),
    ):
        series.write(_points(2), 2)
    assert list_steps(tmp_path / "emb") == [0, 1, 2]


# Other people's files


def _foreign(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"precious")
    return path


@pytest.mark.parametrize(
    "file",
    [
        "step_00000001/model.pt",
        "step_00000001/emb/model.pt",
        "step_00000001/events.out.tfevents.1.host",
        "step_00000001/projector_config.pbtxt",
        "step_00000001/.projector_export.lock/x",
        "step_00000001",
        "step_000000001/model.pt",
        "step_1/model.pt",
        "step_00000001.pt",
    ],
)
def test_foreign_folders_named_like_steps_stay(file: str, tmp_path: Path) -> None:
    """Somebody's checkpoints beside the steps are neither removed nor written into."""
    precious = [_foreign(tmp_path / "emb" / file)]
    if ".lock" in file:
        precious.append(_foreign(tmp_path / "emb" / "step_00000001" / "model.pt"))
    taken = tmp_path / "emb" / "step_00000001"
    there = _tree(taken) if taken.is_dir() else None
    with _series(tmp_path, keep=2) as series:
        assert series.steps() == []
        if taken.exists():
            with pytest.raises(OutputError, match="step_00000001 exists and is not a step"):
                series.write(_points(1), 1)
        for step in (0, 2, 3, 4):
            series.write(_points(step), step)
        assert series.steps() == [0, 4]
    assert [path.read_bytes() for path in precious] == [b"precious"] * len(precious)
    assert there is None or _tree(taken) == there


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    """A folder that a writer made before it was killed is no obstacle."""
    (tmp_path / "emb" / "step_00000001").mkdir(parents=True)
    _record(tmp_path, [1])
    assert list_steps(tmp_path / "emb") == [1]


def test_a_step_with_files_of_somebody_else_is_not_thinned(tmp_path: Path) -> None:
    """A step to which somebody has added files of their own stays, and is not counted."""
    _record(tmp_path, [0, 1, 2])
    precious = _foreign(tmp_path / "emb" / "step_00000001" / "notes" / "mine.txt")
    _record(tmp_path, [3, 4], keep=2)
    assert list_steps(tmp_path / "emb") == [0, 1, 4]
    assert precious.read_bytes() == b"precious"
    _check_configs(tmp_path)


def test_an_export_with_the_name_is_refused(tmp_path: Path) -> None:
    """RUN/<name> is an export: the series needs another name."""
    _record(tmp_path / "other", [0])
    shutil.copytree(tmp_path / "other" / "emb" / "step_00000000", tmp_path / "run")
    before = _tree(tmp_path / "run")
    with pytest.raises(OutputError, match="has an export named 'emb'; choose another name"):
        _series(tmp_path / "run").__enter__()
    assert _tree(tmp_path / "run") == before


@pytest.mark.parametrize("name", ["a&b", "50%", "c#", "x+y"])
def test_a_run_that_tensorboard_cannot_open_is_refused(name: str, tmp_path: Path) -> None:
    """OutputError when TensorBoard cannot open a run of that name."""
    with pytest.raises(OutputError, match="which TensorBoard cannot open as a run"):
        _series(tmp_path / name).__enter__()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OptionError):
        Series(tmp_path, name)


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    """OutputError: the folder cannot be written to."""
    _foreign(tmp_path / "emb")
    with pytest.raises(OutputError):
        _series(tmp_path).__enter__()


# Killed writers


def _kill_during(run: Path, step: int) -> None:
    """Leave what a writer leaves that is killed before the config is there."""
    _record(run, [step])
    folder = run / "emb" / f"step_{step:08d}"
    (folder / "projector_config.pbtxt").unlink()
    for path in folder.glob("*tfevents*"):
        path.unlink()


def _kill_staged(run: Path, step: int) -> None:
    """Leave what a writer leaves that is killed before its export is whole."""
    folder = run / "emb" / f"step_{step:08d}"
    _foreign(folder / ".staging-abc" / "emb" / "tensor.bytes")
    (folder / ".projector_export.lock").touch()


@pytest.mark.parametrize("kill", [_kill_during, _kill_staged])
def test_what_a_killed_writer_leaves_is_removed(
    kill: Callable[[Path, int], None], tmp_path: Path
) -> None:
    """A killed training leaves readable steps; what is unfinished goes when it is resumed."""
    _record(tmp_path, [0, 1])
    kill(tmp_path, 2)
    assert list_steps(tmp_path / "emb") == [0, 1]
    before = {path: data for path, data in _tree(tmp_path).items() if "00000002" not in path}
    with _series(tmp_path) as series:
        assert series.steps() == [0, 1]
    assert not (tmp_path / "emb" / "step_00000002").exists()
    assert _tree(tmp_path) == before


def test_a_whole_step_without_an_event_file_gets_one(tmp_path: Path) -> None:
    """List what a killed writer finished: its event file is made last."""
    _record(tmp_path, [0, 1])
    folder = tmp_path / "emb" / "step_00000001"
    (event,) = folder.glob("*tfevents*")
    event.unlink()
    before = _tree(tmp_path)
    with _series(tmp_path) as series:
        assert series.steps() == [0, 1]
    (made,) = folder.glob("*tfevents*")
    assert {k: v for k, v in _tree(tmp_path).items() if not k.endswith(made.name)} == before
    with _series(tmp_path):
        assert list(folder.glob("*tfevents*")) == [made]


def test_a_series_that_cannot_be_mended_is_free_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OutputError: the disk refuses; the folder is not locked afterwards."""
    _kill_during(tmp_path, 0)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "refused")

    with monkeypatch.context() as patch:
        patch.setattr("projector_export.training.series.remove_step", refuse)
        series = _series(tmp_path)
        with pytest.raises(OutputError, match="cannot be written to"):
            series.__enter__()
    with _series(tmp_path) as another:
        assert another.steps() == []


# Locking


def test_a_second_writer_of_a_series_is_refused(tmp_path: Path) -> None:
    """A context manager, within which nobody else can write to it."""
    with _series(tmp_path) as series:
        series.write(_points(0), 0)
        with pytest.raises(OutputError, match="being written to by another recorder"):
            _series(tmp_path).__enter__()
        series.write(_points(1), 1)
    with _series(tmp_path) as again:
        assert again.steps() == [0, 1]


def test_two_series_of_a_run_leave_each_other_and_the_run_alone(tmp_path: Path) -> None:
    """Several series lie beside one another; the training's own directory is left alone."""
    event = _foreign(tmp_path / "events.out.tfevents.1.host")
    config = tmp_path / "projector_config.pbtxt"
    config.write_text('embeddings { tensor_name: "w" tensor_path: "w.tsv" }\n')
    untouched = {path.name: path.read_bytes() for path in (event, config)}
    with _series(tmp_path) as one, Series(tmp_path, "two", PLAIN) as other:
        one.write(_points(0), 0)
        first = _tree(tmp_path / "emb")
        other.write(_points(3, n=30), 0)
        assert _tree(tmp_path / "emb") == first
        one.write(_points(1), 1)
        other.write(_points(4, n=30), 1)
    assert list_steps(tmp_path / "emb") == list_steps(tmp_path / "two") == [0, 1]
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == untouched
    np.testing.assert_array_equal(_tensor(tmp_path, 1), _vectors(1))


# More than the viewer takes


@pytest.mark.parametrize("resumed", [False, True])
def test_the_same_share_is_recorded_at_every_step(resumed: bool, tmp_path: Path) -> None:
    """The same share of the examples at every step, where the viewer does not take all."""
    settings = replace(PLAIN, max_points=40)
    results: list[RecordedStep] = []
    series = _series(tmp_path, settings)
    for step in (0, 1, 2):
        series = _series(tmp_path, settings) if resumed else series
        with series:
            results.append(series.write(_points(step, tiles=_tiles()), step))
    rows = _table(tmp_path, 0)["recorded_row"].to_list()
    assert rows == sorted(set(rows))
    assert len(rows) == 40
    assert max(rows) > 40
    for step in (0, 1, 2):
        table = _table(tmp_path, step)
        assert table["recorded_row"].to_list() == rows
        assert table["label"].to_list() == [f"item {row}" for row in rows]
        np.testing.assert_array_equal(_tensor(tmp_path, step, 40), _vectors(step)[rows])
        sheet = np.asarray(Image.open(_file(tmp_path, step, "sprite.png")).convert("RGBA"))
        assert sheet[1::TILE, 1::TILE, 0].ravel()[:40].tolist() == rows
    moved = _angles_deg(_vectors(2), _vectors(1))[rows]
    np.testing.assert_allclose(_table(tmp_path, 2)["movement"], moved, rtol=1e-4)
    note = "40 of 60 points are recorded (max_points), the same at every step"
    assert all(note in result.result.warnings for result in results)
    sprites = [_file(tmp_path, step, "sprite.png") for step in (0, 2)]
    assert sprites[0].samefile(sprites[1])


def test_another_share_is_refused(tmp_path: Path) -> None:
    """DataError: other rows than at the earlier steps, even where labels are the same."""
    labels = pl.DataFrame({"label": ["same"] * N})
    for seed in (0, 1):
        settings = replace(PLAIN, max_points=40, seed=seed)
        with _series(tmp_path, settings) as series:
            if seed == 0:
                series.write(Points(_vectors(0), labels), 0)
            else:
                with pytest.raises(DataError, match="other rows are recorded"):
                    series.write(Points(_vectors(1), labels), 1)
