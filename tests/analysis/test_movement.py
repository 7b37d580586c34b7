"""Movement of points between two steps: angles, distances and neighbours kept."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from projector_export.analysis import movement as module
from projector_export.analysis.movement import (
    add_movement,
    measure_movement,
    measure_neighbours_kept,
)
from projector_export.analysis.neighbors import (
    Metric,
    NeighborGraph,
    build_graph,
    prepare_vectors,
)
from projector_export.analysis.snapshot import Snapshot
from projector_export.errors import DataError
from projector_export.points import OUR_COLUMNS, Points


def _random(n: int, dims: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, dims)).astype(np.float32)


def _graph(indices: list[list[int]]) -> NeighborGraph:
    rows = np.array(indices, dtype=np.int32)
    return NeighborGraph(rows, np.ones(rows.shape, dtype=np.float32), "cosine", 1.0)


def _snapshot(prepared: np.ndarray, graph: NeighborGraph) -> Snapshot:
    return Snapshot(prepared, graph, {}, None)


def test_angles_in_numbers() -> None:
    """For cosine, angles in degrees, 0 to 180."""
    half = 0.5**0.5
    before = np.array([[1, 0], [1, 0], [1, 0], [1, 0], [0, 1]], dtype=np.float32)
    now = np.array([[1, 0], [half, half], [0, 1], [-1, 0], [half, half]], dtype=np.float32)
    angles = measure_movement(now, before, "cosine")
    assert angles.dtype == np.float32
    np.testing.assert_allclose(angles, [0, 45, 90, 180, 45], atol=1e-5)


@pytest.mark.parametrize("angle_deg", [1e-4, 1e-3, 0.02, 1, 179.999])
def test_tiny_angles_are_accurate(angle_deg: float) -> None:
    """An arc cosine of float32 products sees nothing below 0.03 degrees."""
    angle = np.radians(angle_deg)
    before = np.array([[1, 0], [3, 0]], dtype=np.float32)
    now = np.array([[np.cos(angle), np.sin(angle)]] * 2, dtype=np.float32)
    np.testing.assert_allclose(measure_movement(now, before, "cosine"), angle_deg, rtol=1e-3)


def test_lengths_mean_nothing_to_angles() -> None:
    """Prepared rows are of unit length only within float32; an angle does not see it."""
    vectors = _random(200, 64)
    longer = vectors * np.float32(1 + 2**-20)
    np.testing.assert_allclose(measure_movement(longer, vectors, "cosine"), 0, atol=4e-6)


def test_zero_vectors() -> None:
    """0 between two zero vectors, 90 where just one is zero, as for `nearest_angle`."""
    before = np.array([[0, 0], [1, 0], [0, 0]], dtype=np.float32)
    now = np.array([[0, 0], [0, 0], [0, 1]], dtype=np.float32)
    assert measure_movement(now, before, "cosine").tolist() == [0, 90, 90]


def test_distances_in_numbers() -> None:
    """For euclidean, Euclidean distances."""
    before = np.array([[0, 0], [1, 1], [1e6, 0]], dtype=np.float32)
    now = np.array([[3, 4], [1, 1], [1e6 + 0.5, 0]], dtype=np.float32)
    assert measure_movement(now, before, "euclidean").tolist() == [5, 0, 0.5]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_parts_of_the_rows_give_the_same(monkeypatch: pytest.MonkeyPatch, metric: Metric) -> None:
    """Rows are measured a part at a time; the size of a part changes nothing."""
    now, before = _random(30, 4), _random(30, 4, seed=1)
    graph, earlier = build_graph(now, k=5), build_graph(before, k=5)
    whole = measure_movement(now, before, metric), measure_neighbours_kept(graph, earlier)
    monkeypatch.setattr(module, "_CHUNK_VALUES", 28)
    np.testing.assert_array_equal(measure_movement(now, before, metric), whole[0])
    np.testing.assert_array_equal(measure_neighbours_kept(graph, earlier), whole[1])


def test_neighbours_kept_in_numbers() -> None:
    """The share of the earlier neighbours that are neighbours now, in whatever order."""
    earlier = _graph([[1, 2], [0, 2], [0, 1], [0, 1]])
    now = _graph([[2, 1], [3, 2], [3, 1], [2, 2]])
    kept = measure_neighbours_kept(now, earlier)
    assert kept.tolist() == [1, 0.5, 0.5, 0]
    assert kept.dtype == np.float32


def test_the_share_is_of_the_earlier_neighbours() -> None:
    """The number of neighbours may differ: the share is of the earlier ones."""
    earlier, now = _graph([[1, 2, 3, 4]] * 5), _graph([[1]] * 5)
    assert measure_neighbours_kept(now, earlier).tolist() == [0.25] * 5
    assert measure_neighbours_kept(earlier, now).tolist() == [1] * 5


def test_permuting_points_permutes_the_columns() -> None:
    """Permuting the items permutes every output: rows never slip."""
    order = np.random.default_rng(9).permutation(60)
    tables = []
    for rows in (np.arange(60), order):
        states = [prepare_vectors(_random(60, 5, seed)[rows], "cosine") for seed in (0, 1, 2)]
        first, last, now = states
        points = Points(now, pl.DataFrame({"label": [f"{i}" for i in rows]}))
        snapshot = _snapshot(last, build_graph(last, k=15))
        graph = build_graph(now, k=15)
        tables.append(
            add_movement(
                points, prepared=now, graph=graph, last=snapshot, first_prepared=first
            ).columns
        )
    assert tables[0]["neighbours_kept"].n_unique() > 3
    assert tables[0][order.tolist()].equals(tables[1])


def test_columns_compare_with_the_last_and_the_first_step() -> None:
    """`movement` since the last kept step, `movement_since_first` since the first."""
    first = np.array([[1, 0], [1, 0], [1, 0]], dtype=np.float32)
    last = np.array([[1, 0], [0, 1], [0, 1]], dtype=np.float32)
    now = np.array([[1, 0], [0, 1], [-1, 0]], dtype=np.float32)
    points = add_movement(
        Points(now),
        prepared=now,
        graph=_graph([[1], [2], [0]]),
        last=_snapshot(last, _graph([[1], [0], [0]])),
        first_prepared=first,
    )
    assert points.columns.columns[1:] == ["movement", "movement_since_first", "neighbours_kept"]
    np.testing.assert_allclose(points.columns["movement"], [0, 0, 90], atol=1e-5)
    np.testing.assert_allclose(points.columns["movement_since_first"], [0, 90, 180], atol=1e-5)
    assert points.columns["neighbours_kept"].to_list() == [1, 0, 1]
    assert set(points.columns.dtypes[1:]) == {pl.Float32}


def test_the_first_step_has_not_moved() -> None:
    """0, 0 and 1 at the first step."""
    vectors = _random(4, 3)
    points = add_movement(
        Points(vectors), prepared=vectors, graph=build_graph(vectors, k=2), last=None,
        first_prepared=None,
    )  # fmt: skip
    assert points.columns.drop("label").unique().to_dicts() == [
        {"movement": 0, "movement_since_first": 0, "neighbours_kept": 1}
    ]


def test_the_second_step_moved_since_the_first_as_since_the_last() -> None:
    """`first_prepared`: None where the last step was the first."""
    last, now = _random(9, 3), _random(9, 3, seed=1)
    graph = build_graph(now, k=2, metric="euclidean")
    columns = add_movement(
        Points(now), prepared=now, graph=graph, last=_snapshot(last, graph), first_prepared=None
    ).columns
    distances = np.sqrt(np.square(now - last).sum(axis=1))  # the graph's metric
    np.testing.assert_allclose(columns["movement"], distances, rtol=1e-6)
    np.testing.assert_allclose(columns["movement_since_first"], distances, rtol=1e-6)


def test_another_width_is_refused() -> None:
    """DataError names both widths and says what to do."""
    expected = r"have 3 columns but those of the earlier step have 5; .* under another name"
    with pytest.raises(DataError, match=expected):
        measure_movement(_random(4, 3), _random(4, 5), "cosine")


def test_other_points_are_refused() -> None:
    """DataError: the numbers of points differ."""
    expected = "there are 4 points but the earlier step has 6; record the same examples"
    with pytest.raises(DataError, match=expected):
        measure_movement(_random(4, 3), _random(6, 3), "euclidean")
    with pytest.raises(DataError, match=expected):
        measure_neighbours_kept(_graph([[1]] * 4), _graph([[1]] * 6))


def test_the_columns_are_ours() -> None:
    """A user's column of the same name is renamed, not overwritten."""
    assert {"movement", "movement_since_first", "neighbours_kept"} <= OUR_COLUMNS
