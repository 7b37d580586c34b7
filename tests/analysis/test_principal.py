"""Principal components: literal small cases, and what a reduction keeps."""

from __future__ import annotations

import numpy as np
import pytest

from projector_export.analysis import principal
from projector_export.analysis.neighbors import NeighborGraph, build_graph
from projector_export.analysis.principal import fit_components, measure_recall


def _exact_axes(vectors: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Axes and shares of variance from the covariance in float64."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    values, axes = np.linalg.eigh(centred.T @ centred)
    return axes.T[::-1][:count], (values[::-1] / values.sum())[:count]


def test_points_on_a_line_have_one_axis() -> None:
    """`axes`: orthonormal, most variance first; `variance`: share along each axis."""
    line = np.array([[0, 1], [1, 3], [2, 5], [3, 7]], dtype=np.float32)
    found = fit_components(line, 2)
    np.testing.assert_allclose(found.mean, [1.5, 4])
    np.testing.assert_allclose(np.abs(found.axes[0]), [0.4472136, 0.8944272], rtol=1e-5)
    np.testing.assert_allclose(np.abs(found.axes[1]), [0.8944272, 0.4472136], rtol=1e-5)
    np.testing.assert_allclose(found.variance, [1, 0], atol=1e-6)
    steps = np.diff(found.project(line, 1)[:, 0])
    np.testing.assert_allclose(np.abs(steps), [5**0.5] * 3, rtol=1e-5)
    assert len(set(np.sign(steps))) == 1


def test_projected_points_are_centred_and_as_far_apart_as_before() -> None:
    """`project`: coordinates along the first axes; all axes together keep every distance."""
    vectors = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32) + 3
    found = fit_components(vectors, 4)
    projected = found.project(vectors, 4)
    assert projected.shape == (50, 4)
    assert projected.dtype == np.float32
    assert projected.flags.c_contiguous
    np.testing.assert_allclose(projected.mean(axis=0), 0, atol=1e-5)
    before = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    after = np.linalg.norm(projected[:, None] - projected[None], axis=2)
    np.testing.assert_allclose(after, before, atol=1e-5)
    spread = projected.std(axis=0)
    assert spread.tolist() == sorted(spread.tolist(), reverse=True)
    np.testing.assert_allclose(found.axes @ found.axes.T, np.eye(4), atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "wanted", "got"), [((5, 3), 10, 3), ((3, 8), 10, 3), ((9, 8), 2, 2), ((2, 2), 3, 2)]
)
def test_there_are_no_more_axes_than_rows_or_columns(
    shape: tuple[int, int], wanted: int, got: int
) -> None:
    """`fit_components`: at most min(N, D) of them; `project` gives at most what there is."""
    vectors = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    found = fit_components(vectors, wanted)
    assert found.axes.shape == (got, shape[1])
    assert found.project(vectors, wanted).shape == (shape[0], got)
    assert found.project(vectors, 1).shape == (shape[0], 1)


@pytest.mark.parametrize("offset", [0, 1_000, 100_000])
def test_axes_are_right_far_from_the_origin(offset: int) -> None:
    """The mean is taken off first: float32 products would lose the digits of far vectors."""
    rng = np.random.default_rng(1)
    spread = np.array([16, 8, 4, 2, 1])
    vectors = (rng.standard_normal((300, 5)) * spread + offset).astype(np.float32)
    axes, variance = _exact_axes(vectors, 3)
    found = fit_components(vectors, 3)
    np.testing.assert_allclose(np.abs(np.sum(found.axes * axes, axis=1)), 1, atol=1e-3)
    np.testing.assert_allclose(found.variance, variance, atol=1e-3)


@pytest.mark.parametrize("offset", [0, 1_000, 10_000])
def test_projections_are_right_far_from_the_origin(offset: int) -> None:
    """The layouts start from these coordinates: they must not drown in rounding."""
    rng = np.random.default_rng(1)
    vectors = (rng.standard_normal((300, 64)) + offset).astype(np.float32)
    found = fit_components(vectors, 2)
    exact = (vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)) @ found.axes.T
    np.testing.assert_allclose(found.project(vectors, 2), exact, atol=0.05)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.5])
def test_equal_points_have_no_variance(value: float) -> None:
    """All vectors equal: every coordinate is 0, and nothing is divided by nothing."""
    vectors = np.full((4, 3), value, dtype=np.float32)
    found = fit_components(vectors, 2)
    assert found.variance.tolist() == [0, 0]
    assert found.axes.tolist() == [[1, 0, 0], [0, 1, 0]]
    np.testing.assert_allclose(found.project(vectors, 2), np.zeros((4, 2)), atol=1e-6)


def test_the_same_seed_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fitted on a seeded sample of at most `SAMPLE_ROWS`."""
    monkeypatch.setattr(principal, "SAMPLE_ROWS", 100)
    vectors = np.random.default_rng(0).standard_normal((400, 6)).astype(np.float32)
    one, same, other = (fit_components(vectors, 3, seed=seed) for seed in (1, 1, 2))
    assert one.axes.tobytes() == same.axes.tobytes()
    assert one.mean.tobytes() == same.mean.tobytes()
    assert one.axes.tobytes() != other.axes.tobytes()


def test_a_sample_gives_nearly_the_axes_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample is enough for axes of clearly different variance."""
    monkeypatch.setattr(principal, "SAMPLE_ROWS", 1_000)
    rng = np.random.default_rng(0)
    vectors = (rng.standard_normal((5_000, 4)) * [9, 5, 2, 1]).astype(np.float32)
    axes, variance = _exact_axes(vectors, 2)
    found = fit_components(vectors, 2)
    assert (np.abs(np.sum(found.axes * axes, axis=1)) > 0.99).all()
    np.testing.assert_allclose(found.variance, variance, atol=0.03)


def _graph(indices: list[list[int]]) -> NeighborGraph:
    rows = np.array(indices, dtype=np.int32)
    return NeighborGraph(rows, np.ones(rows.shape, dtype=np.float32), "euclidean", 1.0)


def test_recall_is_the_share_of_neighbours_kept() -> None:
    """`measure_recall`: share of the graph's neighbours that `reduced` still has."""
    reduced = np.array([[0], [1], [3], [7]], dtype=np.float32)
    assert measure_recall(reduced, _graph([[1], [0], [1], [2]])) == 1.0
    assert measure_recall(reduced, _graph([[1], [0], [3], [0]])) == 0.5
    assert measure_recall(reduced, _graph([[3], [3], [0], [0]])) == 0.0
    assert measure_recall(reduced, _graph([[1, 2], [0, 3], [1, 3], [2, 0]])) == 0.625


def test_recall_of_equal_points_is_never_above_one() -> None:
    """Among copies a point need not be its own first hit."""
    vectors = np.repeat(np.arange(4, dtype=np.float32), 10)[:, None] * np.ones((1, 2), np.float32)
    graph = build_graph(vectors, k=5, metric="euclidean")
    assert 0 <= measure_recall(vectors, graph) <= 1


def test_keeping_all_columns_keeps_all_neighbours() -> None:
    """Nothing reduced, nothing lost; a sample of rows is looked at."""
    vectors = np.random.default_rng(0).standard_normal((800, 6)).astype(np.float32)
    graph = build_graph(vectors, k=8, metric="euclidean")
    assert measure_recall(vectors, graph) == 1.0
    assert measure_recall(vectors[:, :2], graph) < 0.3
