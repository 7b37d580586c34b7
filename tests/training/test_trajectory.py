"""The way through a training: which rows, in which order, linked how, lying where."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from projector_export.errors import DataError, OptionError
from projector_export.points import Points
from projector_export.projector.exports import Export, open_export
from projector_export.settings import Settings
from projector_export.training.series import Series
from projector_export.training.trajectory import trajectory_views, write_trajectory

N = 60
STEPS = [0, 5, 20]
PLAIN = Settings(clusters=None, umap_dims=(), anomalies=False)
CLASSES = ["owl", "cat", "bat"]


def _vectors(step: int, *, n: int = N, dims: int = 6) -> np.ndarray:
    """Three groups, i % 3, which part as the training goes on; of any length."""
    rng = np.random.default_rng(1)
    noise, centers = rng.standard_normal((n, dims)), 3 * rng.standard_normal((3, dims))
    lengths = rng.uniform(0.5, 2, (n, 1))
    return (lengths * (noise + 0.1 * step * centers[np.arange(n) % 3])).astype(np.float32)


def _labels(n: int = N) -> pl.DataFrame:
    return pl.DataFrame({"label": [CLASSES[i % 3] for i in range(n)], "size": np.arange(n) * 10})


def _record(
    run: Path, settings: Settings = PLAIN, columns: pl.DataFrame | None = None, n: int = N
) -> Series:
    series = Series(run, "emb", settings)
    with series:
        for step in STEPS:
            series.write(
                Points(_vectors(step, n=n), _labels(n) if columns is None else columns), step
            )
    return series


def _cells(run: Path) -> list[dict[str, str]]:
    """metadata.tsv as the viewer splits it."""
    path = run / "emb" / "trajectory" / "emb" / "metadata.tsv"
    header, *lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    names = header.split("\t")
    return [dict(zip(names, line.split("\t"), strict=True)) for line in lines]


def _column(run: Path, name: str) -> list[str]:
    return [row[name] for row in _cells(run)]


def _open(run: Path) -> Export:
    return open_export(run / "emb" / "trajectory", "emb")


def _unit(vectors: np.ndarray) -> np.ndarray:
    wide = vectors.astype(np.float64)
    return np.asarray(wide / np.linalg.norm(wide, axis=1, keepdims=True))


def test_classes_take_their_paths_one_after_another(tmp_path: Path) -> None:
    """Thing by thing, step by step; `__seq_next__` is the next row, empty at each path's end."""
    result = write_trajectory(_record(tmp_path))
    assert (result.points, result.shown) == (9, 9)
    assert _column(tmp_path, "label") == ["bat"] * 3 + ["cat"] * 3 + ["owl"] * 3
    assert _column(tmp_path, "step") == ["0", "5", "20"] * 3
    assert _column(tmp_path, "__seq_next__") == ["1", "2", "", "4", "5", "", "7", "8", ""]
    assert _column(tmp_path, "members") == ["20"] * 9
    assert list((tmp_path / "emb" / "trajectory").glob("*tfevents*"))
    manifest = json.loads((result.out / "emb" / "manifest.json").read_text())
    assert (manifest["trajectory_of"], manifest["steps"]) == ("classes", 3)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("view_dims", ["auto", 3])
def test_a_class_is_where_the_mean_of_its_members_is(
    metric: Any, view_dims: Any, tmp_path: Path
) -> None:
    """The centroid of each label: of directions where the metric sees no lengths."""
    settings = replace(PLAIN, metric=metric, view_dims=view_dims)
    series = _record(tmp_path, settings)
    series.settings = replace(settings, view_dims="all", force=True)
    write_trajectory(series)
    expected = []
    for name in ("bat", "cat", "owl"):
        members = np.arange(N) % 3 == CLASSES.index(name)
        for step in STEPS:
            vectors = _unit(_vectors(step)) if metric == "cosine" else _vectors(step)
            expected.append(vectors[members].mean(axis=0))
    np.testing.assert_allclose(_open(tmp_path).vectors, expected, atol=1e-5)


def test_a_class_lies_amid_its_members(tmp_path: Path) -> None:
    """The steps' layouts are one space: a class's place is the mean of its members' places."""
    write_trajectory(_record(tmp_path, Settings(clusters=3, umap_dims=(2, 3))))
    shown = _open(tmp_path).columns
    for n_dims in (2, 3):
        axes = [f"umap{n_dims}d_{axis}" for axis in "xyz"[:n_dims]]
        expected = []
        for name in ("bat", "cat", "owl"):
            for step in STEPS:
                run = tmp_path / "emb" / f"step_{step:08d}" / "emb" / "points.parquet"
                members = pl.read_parquet(run).filter(pl.col("label") == name)
                expected.append(members.select(axes).to_numpy().mean(axis=0, dtype=np.float64))
        np.testing.assert_allclose(shown.select(axes).to_numpy(), expected, atol=1e-4)
    titles = [state["label"] for state in _open(tmp_path).states]
    assert titles == ["Paths", "Paths by step", "Paths in 3D", "Paths in principal components"]


def test_permuting_the_examples_changes_no_class(tmp_path: Path) -> None:
    """A class is its members, in whatever order."""
    order = np.random.default_rng(3).permutation(N)
    write_trajectory(_record(tmp_path / "one"))
    series = Series(tmp_path / "other", "emb", PLAIN)
    with series:
        for step in STEPS:
            series.write(Points(_vectors(step), _labels()).take(order), step)
    write_trajectory(series)
    assert _column(tmp_path / "one", "label") == _column(tmp_path / "other", "label")
    one, other = (_open(tmp_path / name).vectors for name in ("one", "other"))
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_blank_labels_are_no_class(tmp_path: Path) -> None:
    """The centroid of each label; blank and missing ones are none, as is white space around."""
    labels = [None, " ", *[f"{name} " for name in ("a", "b", "a", "b")]] * 10
    write_trajectory(_record(tmp_path, columns=pl.DataFrame({"label": labels})))
    assert _column(tmp_path, "label") == ["a"] * 3 + ["b"] * 3
    assert _column(tmp_path, "members") == ["20"] * 6
    members = np.isin(np.arange(N) % 6, (2, 4))
    expected = _unit(_vectors(0))[members].mean(axis=0)
    np.testing.assert_allclose(_open(tmp_path).vectors[0], expected, atol=1e-5)


def test_labels_that_are_numbers_are_classes(tmp_path: Path) -> None:
    """Labels of any type, in their own order."""
    labels = pl.DataFrame({"label": np.arange(N) % 3 + 8})
    write_trajectory(_record(tmp_path, columns=labels))
    # In the viewer's text a mark tells labels from numbers.
    found = [label.removesuffix("\u2060") for label in _column(tmp_path, "label")]
    assert found == ["8"] * 3 + ["9"] * 3 + ["10"] * 3
    expected = _unit(_vectors(20))[np.arange(N) % 3 == 2].mean(axis=0)
    np.testing.assert_allclose(_open(tmp_path).vectors[8], expected, atol=1e-5)


@pytest.mark.parametrize(
    "labels",
    [[f"item {i}" for i in range(N)], ["all one"] * N, [""] * N],
    ids=["unique", "one class", "blank"],
)
def test_clusters_stand_in_for_classes(labels: list[str], tmp_path: Path) -> None:
    """Where labels name no classes, the centroid of each of the last step's clusters."""
    columns = pl.DataFrame({"label": labels})
    settings = replace(PLAIN, clusters=3)
    write_trajectory(_record(tmp_path, settings, columns))
    last = open_export(tmp_path / "emb" / "step_00000020", "emb").columns["cluster"]
    names = sorted(set(last))
    assert names == ["cluster_00", "cluster_01", "cluster_02"]
    assert _column(tmp_path, "label") == [name for name in names for _ in STEPS]
    expected = [
        _unit(_vectors(step))[(last == name).to_numpy()].mean(axis=0)
        for name in names
        for step in STEPS
    ]
    np.testing.assert_allclose(_open(tmp_path).vectors, expected, atol=1e-5)


def test_one_cluster_is_one_path(tmp_path: Path) -> None:
    """A single thing moves too."""
    columns = pl.DataFrame({"label": ["all one"] * N})
    write_trajectory(_record(tmp_path, replace(PLAIN, clusters=1), columns))
    assert _column(tmp_path, "__seq_next__") == ["1", "2", ""]
    assert _column(tmp_path, "members") == ["60"] * 3


def test_without_classes_and_clusters_it_says_what_to_do(tmp_path: Path) -> None:
    """DataError: no classes."""
    series = _record(tmp_path, columns=pl.DataFrame({"label": [f"i{i}" for i in range(N)]}))
    with pytest.raises(DataError, match="ask for the trajectory of examples"):
        write_trajectory(series)
    assert not (tmp_path / "emb" / "trajectory").exists()


def test_examples_take_paths_of_their_own(tmp_path: Path) -> None:
    """With `of="examples"`: every point, with its own columns and not those of the analyses."""
    columns = _labels().with_columns(step=pl.lit("mine"), members=pl.int_range(pl.len()))
    settings = Settings(clusters=3, umap_dims=(2,))
    result = write_trajectory(_record(tmp_path, settings, columns), of="examples")
    assert result.points == 3 * N
    rows = _cells(tmp_path)
    assert [row["label"] for row in rows] == [CLASSES[i % 3] for i in range(N) for _ in STEPS]
    assert [row["size"] for row in rows] == [str(i * 10) for i in range(N) for _ in STEPS]
    assert [row["members"] for row in rows] == [str(i) for i in range(N) for _ in STEPS]
    assert [row["step"] for row in rows] == ["0", "5", "20"] * N
    assert {row["user_step"] for row in rows} == {"mine"}
    links = [[str(3 * i + 1), str(3 * i + 2), ""] for i in range(N)]
    assert [row["__seq_next__"] for row in rows] == [link for path in links for link in path]
    assert not {"cluster", "anomaly", "movement", "neighbours_kept"} & set(rows[0])
    expected = np.stack([_unit(_vectors(step)) for step in STEPS], axis=1).reshape(3 * N, -1)
    np.testing.assert_allclose(_open(tmp_path).vectors, expected, atol=1e-5)
    places = [
        pl.read_parquet(tmp_path / "emb" / f"step_{step:08d}" / "emb" / "points.parquet")
        .select("umap2d_x", "umap2d_y")
        .to_numpy()
        for step in STEPS
    ]
    shown = _open(tmp_path).columns.select("umap2d_x", "umap2d_y").to_numpy()
    np.testing.assert_allclose(shown, np.stack(places, axis=1).reshape(-1, 2), atol=1e-5)


def test_a_share_of_the_examples_has_whole_paths(tmp_path: Path) -> None:
    """A fixed share of the paths where the viewer does not take them all; paths stay whole."""
    series = _record(tmp_path)
    series.settings = replace(series.settings, max_points=32)
    found = []
    for _ in range(2):
        result = write_trajectory(series, of="examples")
        found.append(_cells(tmp_path))
    assert found[0] == found[1]
    assert (result.points, result.shown) == (30, 30)
    assert "paths of 10 of 60 examples, of 3 steps each (max_points)" in result.warnings
    chosen = [int(row["size"]) // 10 for row in found[0]][::3]
    assert chosen == sorted(set(chosen))
    assert [row["size"] for row in found[0]] == [str(10 * i) for i in chosen for _ in STEPS]
    links = [[str(3 * i + 1), str(3 * i + 2), ""] for i in range(10)]
    assert [row["__seq_next__"] for row in found[0]] == [link for path in links for link in path]
    expected = [_unit(_vectors(step))[i] for i in chosen for step in STEPS]
    np.testing.assert_allclose(_open(tmp_path).vectors, expected, atol=1e-5)


def test_a_share_of_the_classes_has_whole_paths(tmp_path: Path) -> None:
    """Thinned point by point, paths would be torn: so many classes are thinned by paths too."""
    columns = pl.DataFrame({"label": [f"c{i % 20:02d}" for i in range(N)]})
    series = _record(tmp_path, columns=columns)
    series.settings = replace(series.settings, max_points=16)
    result = write_trajectory(series)
    assert (result.points, result.shown) == (15, 15)
    labels = _column(tmp_path, "label")
    assert [labels[i : i + 3] for i in range(0, 15, 3)] == [[name] * 3 for name in labels[::3]]
    assert labels[::3] == sorted(set(labels))
    expected = []
    for name in labels[::3]:
        members = np.arange(N) % 20 == int(name[1:])
        expected += [_unit(_vectors(step))[members].mean(axis=0) for step in STEPS]
    np.testing.assert_allclose(_open(tmp_path).vectors, expected, atol=1e-5)


def test_a_path_longer_than_the_viewer_takes_is_refused(tmp_path: Path) -> None:
    """DataError: paths longer than `max_points`."""
    series = _record(tmp_path)
    series.settings = replace(series.settings, max_points=2)
    for of in ("classes", "examples"):
        with pytest.raises(DataError, match=r"max_points is 2 but a path .* has 3 points"):
            write_trajectory(series, of=of)


@pytest.mark.parametrize("steps", [[], [3]])
def test_fewer_than_two_steps_are_refused(steps: list[int], tmp_path: Path) -> None:
    """DataError: fewer than two steps."""
    with Series(tmp_path, "emb", PLAIN) as series:
        for step in steps:
            series.write(Points(_vectors(step), _labels()), step)
        with pytest.raises(DataError, match=f"has {len(steps)} steps; .* at least 2"):
            write_trajectory(series)
    assert not (tmp_path / "emb" / "trajectory").exists()


def test_vectors_of_several_widths_are_refused(tmp_path: Path) -> None:
    """DataError: vectors of several widths."""
    series = _record(tmp_path)
    with Series(tmp_path / "wide", "emb", PLAIN) as wide:
        wide.write(Points(_vectors(20, dims=9), _labels()), 30)
    (tmp_path / "wide" / "emb" / "step_00000030").rename(tmp_path / "emb" / "step_00000030")
    with pytest.raises(DataError, match="vectors of 6 and 9 columns"):
        write_trajectory(series)


def test_another_kind_is_refused(tmp_path: Path) -> None:
    """OptionError: another `of`."""
    with pytest.raises(OptionError, match="'points'; expected classes or examples"):
        write_trajectory(_record(tmp_path), of="points")  # type: ignore[arg-type]


def test_a_trajectory_is_replaced_and_is_no_step(tmp_path: Path) -> None:
    """One that is there already is replaced; the steps stay as they are."""
    series = _record(tmp_path)
    steps = {p: p.read_bytes() for p in tmp_path.rglob("step_*/**/*") if p.is_file()}
    write_trajectory(series, of="examples")
    assert len(_cells(tmp_path)) == 180
    write_trajectory(series)
    assert len(_cells(tmp_path)) == 9
    assert series.steps() == STEPS
    assert {p: p.read_bytes() for p in tmp_path.rglob("step_*/**/*") if p.is_file()} == steps
    with series:
        series.write(Points(_vectors(30), _labels()), 30)
    write_trajectory(series)
    assert _column(tmp_path, "step") == ["0", "5", "20", "30"] * 3
    assert len(list((tmp_path / "emb" / "trajectory").glob("*tfevents*"))) == 1


@pytest.mark.parametrize(
    ("axes", "views"),
    [
        ([], [("Paths", "pca", "label"), ("Paths by step", "pca", "step")]),
        (
            ["umap2d_x"],
            [
                ("Paths", "umap2d", "label"),
                ("Paths by step", "umap2d", "step"),
                ("Paths in principal components", "pca", "label"),
            ],
        ),
        (
            ["umap3d_x"],
            [
                ("Paths", "umap3d", "label"),
                ("Paths by step", "umap3d", "step"),
                ("Paths in principal components", "pca", "label"),
            ],
        ),
        (
            ["umap3d_x", "umap2d_x"],
            [
                ("Paths", "umap2d", "label"),
                ("Paths by step", "umap2d", "step"),
                ("Paths in 3D", "umap3d", "label"),
                ("Paths in principal components", "pca", "label"),
            ],
        ),
    ],
    ids=["none", "flat", "deep", "both"],
)
def test_views_of_paths(axes: list[str], views: list[tuple[str, str, str]]) -> None:
    """By class and by step, flat, deep, and in principal components."""
    columns = pl.DataFrame({"label": ["a", "b"], "step": [0, 1]}).with_columns(
        pl.Series(axis, [0.0, 1.0]) for axis in axes
    )
    found = trajectory_views(columns)
    assert [(view.title, view.layout, view.color_by) for view in found] == views


@pytest.mark.parametrize(("n", "color"), [(50, "label"), (51, "step")])
def test_more_labels_than_colours_are_coloured_by_step(n: int, color: str) -> None:
    """The viewer colours by at most 50 texts."""
    columns = pl.DataFrame({"label": [f"l{i}" for i in range(n)], "step": range(n)})
    assert trajectory_views(columns)[0].color_by == color
