"""Two exports of the same examples side by side: neighbours, layouts, rows, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from projector_export.comparison.compare import compare_exports, comparison_views
from projector_export.comparison.finding import choose_names, describe, find_export
from projector_export.errors import DataError, InputNotFoundError, NameTakenError, OptionError
from projector_export.pipeline import export_points
from projector_export.points import Points
from projector_export.projector.config import Embedding
from projector_export.projector.exports import Export, open_export
from projector_export.projector.views import View
from projector_export.settings import Settings
from projector_export.training.series import Series

N = 60
TILE = 4
FLAT = Settings(clusters=3, umap_dims=(2,), anomalies=False)


def _vectors(model: str) -> np.ndarray:
    """Three groups of 20; model "a" has 8 columns, "b" 5 and other neighbours within groups."""
    rng = np.random.default_rng({"a": 1, "b": 2}[model])
    dims = {"a": 8, "b": 5}[model]
    centres = 4 * np.eye(3, dims)
    return (np.repeat(centres, 20, axis=0) + rng.standard_normal((N, dims))).astype(np.float32)


def _tiles(ids: np.ndarray) -> np.ndarray:
    """Tile i is of one colour, whose red is the example's number."""
    tiles = np.full((len(ids), TILE, TILE, 4), 255, dtype=np.uint8)
    tiles[..., 0] = ids[:, None, None]
    return tiles


def _export(
    out: Path,
    vectors: np.ndarray,
    *,
    ids: np.ndarray | None = None,
    tiles: bool = False,
    settings: Settings = FLAT,
    more: dict[str, Any] | None = None,
    origin: dict[str, Any] | None = None,
) -> Export:
    """Export the rows of the vectors that `ids` names, in that order."""
    ids = np.arange(N) if ids is None else ids
    columns = pl.DataFrame(
        {
            "label": [f"group {i // 20}" for i in ids],
            "id": [f"x{i}" for i in ids],
            "size": ids * 10,
            **{name: [values[i] for i in ids] for name, values in (more or {}).items()},
        }
    )
    points = Points(vectors[ids], columns, "e", _tiles(ids) if tiles else None, origin=origin or {})
    export_points(points, out, settings=settings)
    return open_export(out, "e")


def _nearest(vectors: np.ndarray, k: int = 15, *, cosine: bool = True) -> list[set[int]]:
    """The k nearest others of each row, one by one in float64."""
    wide = vectors.astype(np.float64)
    if cosine:
        wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    found = []
    for i, row in enumerate(wide):
        order = np.argsort(np.linalg.norm(wide - row, axis=1), kind="stable")
        found.append({int(j) for j in order if j != i} & {int(j) for j in order[: k + 1]})
    return found


def _shares(one: list[set[int]], other: list[set[int]]) -> np.ndarray:
    pairs = zip(one, other, strict=True)
    return np.array([len(left & right) / len(left) for left, right in pairs])


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Export, Export]:
    """The exports of models "a" and "b", in one order."""
    base = tmp_path_factory.mktemp("both")
    return _export(base / "a", _vectors("a")), _export(base / "b", _vectors("b"))


def test_the_overlap_is_the_share_of_shared_neighbours(
    both: tuple[Export, Export], tmp_path: Path
) -> None:
    """Share, 0..1, of a point's 15 nearest neighbours that both models agree on; in both."""
    done = compare_exports(*both, tmp_path / "out")
    expected = _shares(_nearest(_vectors("a")), _nearest(_vectors("b")))
    assert 0.2 < expected.mean() < 0.9  # neither nothing nor all
    np.testing.assert_allclose(done.overlap, expected, atol=1e-6)
    assert done.median_overlap == pytest.approx(np.median(expected))
    assert done.mean_overlap == pytest.approx(expected.mean())
    for name in ("a", "b"):
        export = open_export(tmp_path / "out", name)
        np.testing.assert_allclose(export.columns["neighbour_overlap"], expected, atol=1e-6)
        np.testing.assert_array_equal(export.vectors, _vectors(name))
        said = export.manifest["compared"]
        assert said["mean_overlap"] == pytest.approx(expected.mean(), abs=1e-4)
    assert (done.left_out_a, done.left_out_b, done.warnings) == (0, 0, [])


def test_the_first_picture_stays_and_the_second_starts_from_it(tmp_path: Path) -> None:
    """A's layouts and cluster names are those that the user knows; B's are aligned to them."""
    a = _export(tmp_path / "a", _vectors("a"), settings=Settings(clusters=3, anomalies=False))
    # Turned by a random rotation, each coordinate changes and all neighbours stay; the noise makes
    # some of them change.
    turn = np.linalg.qr(np.random.default_rng(5).standard_normal((8, 8)))[0].astype(np.float32)
    noise = 0.2 * np.random.default_rng(6).standard_normal((N, 8)).astype(np.float32)
    b = _export(tmp_path / "b", (_vectors("a") + noise) @ turn, settings=Settings(anomalies=False))
    done = compare_exports(a, b, tmp_path / "out")
    assert 0.7 < done.mean_overlap < 1
    first, second = (open_export(tmp_path / "out", name).columns for name in ("a", "b"))
    for n_dims in (2, 3):
        axes = [f"umap{n_dims}d_{axis}" for axis in "xyz"[:n_dims]]
        known, alone, stayed, moved = (
            columns.select(axes).to_numpy() for columns in (a.columns, b.columns, first, second)
        )
        np.testing.assert_array_equal(stayed, known)
        apart = np.median(np.linalg.norm(moved - known, axis=1))
        assert 0 < apart < 0.1 * np.ptp(known, axis=0).max()
        assert apart < 0.5 * np.median(np.linalg.norm(alone - known, axis=1))
    assert first["cluster"].to_list() == a.columns["cluster"].to_list()
    assert (second["cluster"] == a.columns["cluster"]).sum() > 0.9 * N


def test_layouts_and_names_are_read_and_not_made_again(tmp_path: Path) -> None:
    """A's layouts and cluster names are those on disk, and B's follow them."""
    a = _export(tmp_path / "a", _vectors("a"))
    renamed = {"cluster_00": "cluster_07", "cluster_01": "cluster_00", "cluster_02": "cluster_05"}
    moved = pl.col("umap2d_x") + 100
    table = a.table.with_columns(pl.col("cluster").replace(renamed), moved)
    table.write_parquet(a.folder / "points.parquet")
    a, b = open_export(tmp_path / "a"), _export(tmp_path / "b", _vectors("b"))
    compare_exports(a, b, tmp_path / "out")
    first, second = (open_export(tmp_path / "out", name).columns for name in ("a", "b"))
    assert set(second["cluster"]) == {"cluster_07", "cluster_00", "cluster_05"}
    assert first["cluster"].to_list() == table["cluster"].to_list()
    assert first["umap2d_x"].to_list() == table["umap2d_x"].to_list()
    assert second["umap2d_x"].to_numpy().min() > 50
    assert (first["cluster"] == second["cluster"]).sum() > 0.8 * N


@pytest.mark.parametrize("permuted", ["a", "b", "both"])
def test_rows_never_slip(both: tuple[Export, Export], tmp_path: Path, permuted: str) -> None:
    """--by COLUMN matches whatever the orders; A's order is that of the result."""
    orders = {
        name: np.random.default_rng(seed).permutation(N)
        if permuted in (name, "both")
        else np.arange(N)
        for name, seed in (("a", 7), ("b", 8))
    }
    more = {
        name: {
            "predicted": [f"{name} of {i}" for i in range(N)],
            f"only_{name}": np.arange(N) + 0.5,
        }
        for name in ("a", "b")
    }
    a, b = (
        _export(tmp_path / name, _vectors(name), ids=order, tiles=name == "b", more=more[name])
        for name, order in orders.items()
    )
    done = compare_exports(a, b, tmp_path / "out", by="id")
    ids = orders["a"]
    expected = _shares(_nearest(_vectors("a")), _nearest(_vectors("b")))[ids]
    np.testing.assert_allclose(done.overlap, expected, atol=1e-6)
    for name in ("a", "b"):
        export = open_export(tmp_path / "out", name)
        np.testing.assert_array_equal(export.vectors, _vectors(name)[ids])
        assert export.columns["id"].to_list() == [f"x{i}" for i in ids]
        assert export.columns["size"].to_list() == (ids * 10).tolist()
        assert export.columns["only_a"].to_list() == (ids + 0.5).tolist()
        assert export.columns["only_b"].to_list() == (ids + 0.5).tolist()
        assert export.columns["predicted"].to_list() == [f"{name} of {i}" for i in ids]
        assert export.thumbnails is not None
        assert export.thumbnails[:, 0, 0, 0].tolist() == ids.tolist()
    layout = open_export(tmp_path / "out", "a").columns.select("umap2d_x", "umap2d_y")
    assert layout.equals(a.columns.select("umap2d_x", "umap2d_y"))


def test_what_only_one_has_is_left_out_and_counted(tmp_path: Path) -> None:
    """--by: leaving out what only one has, counted and said; missing values match nothing."""
    ids = [f"x{i}" if i != 5 else None for i in range(N)]
    a = _export(tmp_path / "a", _vectors("a"), tiles=True, more={"key": dict(enumerate(ids))})
    order = np.random.default_rng(3).permutation(N)[:50]
    b = _export(
        tmp_path / "b", _vectors("b"), ids=order, more={"key": {i: f"x{i}" for i in range(N)}}
    )
    done = compare_exports(a, b, tmp_path / "out", by="key")
    kept = [i for i in range(N) if i in order and i != 5]
    assert (done.left_out_a, done.left_out_b) == (N - len(kept), 50 - len(kept))
    assert done.warnings[0] == (
        f"{N - len(kept)} of 60 points of {tmp_path / 'a/e'} are left out: the other has no such "
        "'key'"
    )
    axes = ["umap2d_x", "umap2d_y"]
    first = open_export(tmp_path / "out", "a")
    assert first.columns.select(axes).equals(a.columns.select(axes)[kept])
    second = open_export(tmp_path / "out", "b")
    assert second.columns["size"].to_list() == [10 * i for i in kept]
    np.testing.assert_array_equal(second.vectors, _vectors("b")[kept])
    assert second.thumbnails is not None
    assert second.thumbnails[:, 0, 0, 0].tolist() == kept


@pytest.mark.parametrize(
    ("key_a", "key_b"),
    [
        (pl.Int8, pl.Int64),
        (pl.Float32, pl.Int32),
        (pl.String, pl.Int64),
        (pl.Int64, pl.Int64),
    ],
)
def test_values_match_whatever_their_types(tmp_path: Path, key_a: Any, key_b: Any) -> None:
    """7, 7.0 and "7" are one value: a table may have been read as text."""
    order = np.arange(N)[::-1]
    exports = []
    for name, ids, dtype in (("a", np.arange(N), key_a), ("b", order, key_b)):
        columns = pl.DataFrame({"label": [f"{i}" for i in ids], "n": pl.Series(ids).cast(dtype)})
        settings = Settings(clusters=None, umap_dims=(), anomalies=False)
        export_points(Points(_vectors(name)[ids], columns, "e"), tmp_path / name, settings=settings)
        exports.append(open_export(tmp_path / name))
    done = compare_exports(exports[0], exports[1], tmp_path / "out", by="n")
    assert done.a.points == N
    # Without layouts there would be nothing to compare by eye.
    assert {"umap2d_x", "umap3d_x"} <= set(open_export(tmp_path / "out", "b").columns.columns)
    np.testing.assert_array_equal(open_export(tmp_path / "out", "b").vectors, _vectors("b"))


def test_both_have_the_same_views(both: tuple[Export, Export], tmp_path: Path) -> None:
    """The same bookmarks in both, and the points whose neighbourhoods differ most as one."""
    vectors = _vectors("a")
    vectors[7] = vectors[3]  # a duplicate, which B does not have, nor what A predicted
    a = _export(tmp_path / "a", vectors, more={"predicted": ["cat", "dog"] * 30})
    done = compare_exports(a, both[1], tmp_path / "out", views=[View("Mine", "pca", "size")])
    states = [open_export(tmp_path / "out", name).states for name in ("a", "b")]
    titles = [[state["label"] for state in some] for some in states]
    assert titles[0] == titles[1]
    assert "predicted" not in open_export(tmp_path / "out", "b").columns.columns
    assert titles[0] == ["Mine", "UMAP 2D by cluster", "UMAP 2D by label", "Neighbours differ most"]
    for some in states:
        selected = some[-1]["selectedPoints"]
        assert len(selected) == 30
        rest = np.setdiff1d(np.arange(N), selected)
        assert done.overlap[selected].max() <= done.overlap[rest].min()
        assert some[-1]["selectedColorOptionName"] == "neighbour_overlap"


def test_without_layouts_there_is_still_the_view_of_differences() -> None:
    """Views are chosen by the columns that there are."""
    columns = pl.DataFrame({"label": ["x", "y"], "neighbour_overlap": [0.0, 1.0]})
    assert [view.layout for view in comparison_views(columns)] == ["pca"]


def test_each_keeps_what_its_model_predicted(tmp_path: Path) -> None:
    """User columns are A's, else B's; predictions are each model's own."""
    a = _export(
        tmp_path / "a", _vectors("a"), more={"predicted": ["cat"] * N, "only_a": list(range(N))}
    )
    b = _export(
        tmp_path / "b", _vectors("b"), more={"predicted": ["dog"] * N, "only_b": list(range(N))}
    )
    compare_exports(a, b, tmp_path / "out")
    first, second = (open_export(tmp_path / "out", name).columns for name in ("a", "b"))
    assert set(first["predicted"]) == {"cat"}
    assert set(second["predicted"]) == {"dog"}
    for columns in (first, second):
        assert columns["only_a"].to_list() == columns["only_b"].to_list() == list(range(N))


def test_paths_still_lead_to_the_files(tmp_path: Path) -> None:
    """`path` is relative to the folder that the manifest names, as seen from the new run."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/0.png").touch()
    paths = {"path": [f"{i}.png" for i in range(N)]}
    origin = {"source_folder": str(tmp_path / "pictures")}
    a = _export(tmp_path / "a", _vectors("a"))
    b = _export(tmp_path / "deep/b", _vectors("b"), more=paths, origin=origin)
    compare_exports(a, b, tmp_path / "far/away/out")
    for name in ("a", "b"):
        export = open_export(tmp_path / "far/away/out", name)
        folder = export.out / export.manifest["source_folder"]
        assert (folder / export.columns["path"][0]).is_file()


def test_principal_components_are_compared_as_chords(tmp_path: Path) -> None:
    """Where the browser has principal components, vectors are these, and a note says so."""
    reduced = Settings(clusters=3, umap_dims=(2,), anomalies=False, view_dims=4)
    a = _export(tmp_path / "a", _vectors("a"), settings=reduced)
    b = _export(tmp_path / "b", _vectors("b"))
    assert a.vectors.shape == (N, 4)
    done = compare_exports(a, b, tmp_path / "out")
    expected = _shares(_nearest(a.vectors, cosine=False), _nearest(_vectors("b")))
    np.testing.assert_allclose(done.overlap, expected, atol=1e-6)
    (note,) = done.warnings
    assert note.startswith("a: neighbours are those among the 4 principal components")
    assert "the 8 values themselves are not kept there" in note
    chords = np.linalg.norm(a.vectors[:, None].astype(float) - a.vectors[None], axis=2)
    np.fill_diagonal(chords, np.inf)
    angles = np.degrees(2 * np.arcsin(chords.min(axis=1) / 2))
    found = open_export(tmp_path / "out", "a").columns["nearest_angle"]
    np.testing.assert_allclose(found, angles, rtol=1e-4)
    with pytest.raises(OptionError, match="principal components for the cosine metric only"):
        compare_exports(a, b, tmp_path / "other", metric="euclidean")


def test_each_has_the_metric_that_it_was_made_with(tmp_path: Path) -> None:
    """Neighbours in the export's metric; --metric sets that of both."""
    euclidean = Settings(metric="euclidean", clusters=3, umap_dims=(2,), anomalies=False)
    a = _export(tmp_path / "a", _vectors("a"))
    b = _export(tmp_path / "b", _vectors("b"), settings=euclidean)
    of_a, far = _nearest(_vectors("a")), _nearest(_vectors("b"), cosine=False)
    done = compare_exports(a, b, tmp_path / "out")
    np.testing.assert_allclose(done.overlap, _shares(of_a, far), atol=1e-6)
    assert done.warnings == [
        "neighbours are those in the metric of each export: a in cosine, b in euclidean"
    ]
    forced = compare_exports(a, b, tmp_path / "forced", metric="cosine")
    expected = _shares(of_a, _nearest(_vectors("b")))
    np.testing.assert_allclose(forced.overlap, expected, atol=1e-6)
    assert np.abs(forced.overlap - done.overlap).max() > 0.05


def _record(run: Path, name: str, steps: list[int], settings: Settings = FLAT) -> None:
    columns = pl.DataFrame({"label": [f"group {i // 20}" for i in range(N)]})
    with Series(run, name, settings) as series:
        for step in steps:
            noise = np.random.default_rng(step).standard_normal((N, 8)).astype(np.float32)
            series.write(Points(_vectors("a") + 0.3 * step * noise, columns), step)


def test_steps_have_their_full_vectors_and_one_series_has_movement(tmp_path: Path) -> None:
    """Series steps may have full vectors; only two steps of one training have moved."""
    small = Settings(clusters=3, umap_dims=(2,), anomalies=False, view_dims=2)
    _record(tmp_path / "run", "h", [1, 4], small)
    a, b = find_export(tmp_path / "run/h/step_00000001"), find_export(tmp_path / "run")
    assert b.vectors.shape == (N, 2)
    done = compare_exports(a, b, tmp_path / "out")
    vectors = [
        _vectors("a")
        + 0.3 * step * np.random.default_rng(step).standard_normal((N, 8)).astype(np.float32)
        for step in (1, 4)
    ]
    np.testing.assert_allclose(done.overlap, _shares(*map(_nearest, vectors)), atol=1e-6)
    assert done.warnings == []
    unit = [v.astype(float) / np.linalg.norm(v.astype(float), axis=1)[:, None] for v in vectors]
    angles = np.degrees(np.arccos((unit[0] * unit[1]).sum(axis=1)))
    columns = open_export(tmp_path / "out", "run_step_4").columns
    np.testing.assert_allclose(columns["movement"], angles, rtol=1e-4)
    _record(tmp_path / "other", "h", [4], small)
    compare_exports(a, find_export(tmp_path / "other"), tmp_path / "two")
    columns = open_export(tmp_path / "two", "other_step_4").columns
    assert "movement" not in columns.columns


def test_find_export_takes_runs_steps_and_series(tmp_path: Path) -> None:
    """RUN is the run of an export, a step's directory, or a training run: its last step."""
    _record(tmp_path / "run", "h", [2, 30])
    last = find_export(tmp_path / "run", "h")
    assert last.out.name == "step_00000030"
    assert describe(last) == (f"'h' of {tmp_path / 'run/h/step_00000030'}, step 30, 8 dimensions")
    assert find_export(tmp_path / "run").out == last.out
    assert find_export(tmp_path / "run/h").out == last.out
    assert find_export(tmp_path / "run/h/step_00000002").manifest["step"] == 2
    _export(tmp_path / "run", _vectors("a"))
    assert find_export(tmp_path / "run", "e").out == tmp_path / "run"
    with pytest.raises(OptionError, match=r"has h, the exports of .*config.pbtxt; say which"):
        find_export(tmp_path / "run")
    with pytest.raises(InputNotFoundError, match="no embedding 'x'; its exports are: e"):
        find_export(tmp_path / "run", "x")


def _known(path: str, name: str = "e", step: int | None = None) -> Export:
    manifest = {} if step is None else {"series": name, "step": step}
    return Export(Path(path), Embedding(name, (9, 3), name, "tensor.bytes", None), manifest)


@pytest.mark.parametrize(
    ("a", "b", "names"),
    [
        (_known("/l/raw"), _known("/l/mlp"), ("raw", "mlp")),
        (_known("/l/one/run"), _known("/l/two/run"), ("one_run", "two_run")),
        (_known("/l/one/x/run"), _known("/l/two/x/run"), ("one_x_run", "two_x_run")),
        (_known("/l/Run"), _known("/m/run"), ("l_Run", "m_run")),
        (_known("/l/run", "p"), _known("/l/run", "q"), ("p", "q")),
        (
            _known("/l/r/h/step_00000003", "h", 3),
            _known("/l/r/h/step_00000012", "h", 12),
            ("r_step_3", "r_step_12"),
        ),
        (
            _known("/l/r/h/step_00000003", "h", 3),
            _known("/m/r/h/step_00000003", "h", 3),
            ("l_r_step_3", "m_r_step_3"),
        ),
        (_known("/l/a+b"), _known("/l/c d"), ("a_b", "c d")),
    ],
)
def test_names_are_those_of_the_runs(a: Export, b: Export, names: tuple[str, str]) -> None:
    """Safe names, distinct when A and B have equal last parts: parents are used."""
    assert choose_names(a, b) == names


def test_what_cannot_be_compared_is_refused(both: tuple[Export, Export], tmp_path: Path) -> None:
    """Got, expected, where, what to do; and nothing is written."""
    a, b = both
    out = tmp_path / "out"
    fewer = _export(tmp_path / "fewer", _vectors("b"), ids=np.arange(50))
    order = np.random.default_rng(0).permutation(N)
    mixed = _export(tmp_path / "mixed", _vectors("b"), ids=order)
    ids = {"id": [f"y{i}" for i in range(N)]}
    foreign = _export(tmp_path / "foreign", _vectors("b"), more=ids)
    repeated = {"id": [f"x{3 if i == 9 else i}" for i in range(N)]}
    twice = _export(tmp_path / "twice", _vectors("b"), more=repeated)
    wrong = int(np.flatnonzero(order // 20 != np.arange(N) // 20)[0])
    for other, by, error, says in (
        (fewer, None, DataError, r"shows 50 points but .*a/e 60; .*same order: .*--by"),
        (mixed, None, DataError, f"label 'group {order[wrong] // 20}' in row {wrong} but .* has "
         f"'group {wrong // 20}'"),
        (b, "label", DataError, "a/e has 'group 0' 20 times in column 'label'; expected a column"),
        (twice, "id", DataError, "twice/e has 'x3' 2 times in column 'id'"),
        (b, "nix", OptionError, "has no column 'nix'; both have label, id, size"),
        (foreign, "id", DataError, "0 values of 'id' in common, such as 'x0' and 'y0'"),
        (a, None, OptionError, "both are .*a/e; expected two exports"),
    ):  # fmt: skip
        with pytest.raises(error, match=says):
            compare_exports(a, other, out, by=by)
    assert not out.exists()
    with pytest.raises(OptionError, match="view 'Mine': both have layouts of their own"):
        compare_exports(a, b, out, views=[View("Mine", "places.csv")])
    assert not out.exists()
    with pytest.raises(OptionError, match="is one of the runs compared"):
        compare_exports(a, b, a.out, names=("x", "y"))
    with pytest.raises(OptionError, match="both embeddings would be named 'X'"):
        compare_exports(a, b, out, names=("X", "x"))


def test_thinned_exports_are_not_taken_row_by_row(tmp_path: Path) -> None:
    """Equal labels do not make equal rows: which of the input's rows are shown must be equal."""
    thinned = Settings(clusters=3, umap_dims=(2,), max_points=40)
    a = _export(tmp_path / "a", _vectors("a"), settings=thinned)
    vectors = _vectors("b")
    vectors[:5] *= -1  # unusual: these are kept
    b = _export(tmp_path / "b", vectors, settings=thinned)
    rows = [export.columns["source_row"].to_list() for export in (a, b)]
    assert rows[0] != rows[1]
    with pytest.raises(DataError, match=r"different rows of their inputs .*--by source_row"):
        compare_exports(a, b, tmp_path / "out")
    compare_exports(a, b, tmp_path / "out", by="source_row")
    kept = [row for row in rows[0] if row in rows[1]]
    found = open_export(tmp_path / "out", "b")
    assert found.columns["size"].to_list() == [10 * row for row in kept]
    np.testing.assert_array_equal(found.vectors, vectors[kept])


def test_a_comparison_is_replaced_only_on_demand(
    both: tuple[Export, Export], tmp_path: Path
) -> None:
    """An embedding of that name is replaced only with force, which says so in its own words."""
    out = tmp_path / "out"
    compare_exports(*both, out)
    before = (out / "b/manifest.json").read_bytes()
    with pytest.raises(NameTakenError, match="has an embedding named 'a'; give --force"):
        compare_exports(*both, out)
    assert (out / "b/manifest.json").read_bytes() == before
    forced = Settings(clusters=None, umap_dims=(2,), anomalies=False, force=True, max_points=10)
    done = compare_exports(*both, out, settings=forced)
    # Each would show others of its points.
    assert done.a.shown == done.b.shown == N
    assert json.loads((out / "b/manifest.json").read_text())["settings"]["clusters"] is None
    a = _export(tmp_path / "a", _vectors("a"), settings=replace(FLAT, force=True))
    with pytest.raises(NameTakenError, match="has an embedding named 'a'; give --force"):
        compare_exports(a, both[1], out)


def test_few_points_may_be_left(both: tuple[Export, Export], tmp_path: Path) -> None:
    """As many clusters as the first export has are not wanted of fewer points."""
    two = np.array([41, 7])
    b = _export(tmp_path / "b", _vectors("b"), ids=two, settings=replace(FLAT, clusters=1))
    done = compare_exports(both[0], b, tmp_path / "out", by="id")
    assert (done.a.points, done.left_out_a, done.left_out_b) == (2, 58, 0)
    assert open_export(tmp_path / "out", "b").columns["id"].to_list() == ["x7", "x41"]


def test_lines_between_rows_need_the_rows(tmp_path: Path) -> None:
    """`__seq_next__` holds row numbers: they are kept row by row, and not where rows move."""
    lines = {"__seq_next__": [*range(1, N), 0]}
    a = _export(tmp_path / "a", _vectors("a"), more=lines)
    b = _export(tmp_path / "b", _vectors("b"), more=lines)
    compare_exports(a, b, tmp_path / "plain")
    assert open_export(tmp_path / "plain", "b").columns["__seq_next__"].to_list()[:2] == [1, 2]
    compare_exports(a, b, tmp_path / "matched", by="id")
    assert "__seq_next__" not in open_export(tmp_path / "matched", "b").columns.columns
