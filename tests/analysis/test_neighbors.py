"""The one neighbour graph: exact up to a size, nearly so above, never a row's own neighbour."""

from __future__ import annotations

import numpy as np
import pytest

from projector_export.analysis import neighbors
from projector_export.analysis.neighbors import NeighborGraph, build_graph, prepare_vectors
from projector_export.errors import DataError, OptionError


def _true_distances(vectors: np.ndarray) -> np.ndarray:
    """(N, N) Euclidean distances in float64, centred first; infinite to itself."""
    exact = vectors - vectors.mean(axis=0, dtype=np.float64)
    norms = np.square(exact).sum(axis=1)
    squared = norms[:, None] + norms[None, :] - 2 * exact @ exact.T
    np.fill_diagonal(squared, np.inf)
    return np.sqrt(np.maximum(squared, 0))


def _true_recall(graph: NeighborGraph, vectors: np.ndarray) -> float:
    truth = np.argsort(_true_distances(vectors), axis=1, kind="stable")[:, : graph.k]
    hits = [len(np.intersect1d(a, b)) for a, b in zip(truth, graph.indices, strict=True)]
    return sum(hits) / truth.size


def _random(n: int, dims: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, dims)).astype(np.float32)


def _clustered(n: int = 3_000, dims: int = 12) -> np.ndarray:
    rng = np.random.default_rng(1)
    centres = 1.5 * rng.standard_normal((20, dims))
    vectors = centres[rng.integers(0, 20, n)] + rng.standard_normal((n, dims))
    return vectors.astype(np.float32)


# --- prepare_vectors ------------------------------------------------------------------------------


def test_cosine_gives_unit_length_and_leaves_zero_rows() -> None:
    """For cosine: each row at unit length (zero rows stay zero)."""
    vectors = np.array([[3, 4], [0, 0], [-0.0, 2], [0.6, -0.8]], dtype=np.float32)
    prepared = prepare_vectors(vectors, "cosine")
    np.testing.assert_allclose(prepared, [[0.6, 0.8], [0, 0], [0, 1], [0.6, -0.8]], atol=1e-7)
    assert prepared.dtype == np.dtype("float32")
    assert vectors.tolist()[0] == [3, 4]


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e-10, 1.0, 1e10, 1e30, 8e37])
def test_unit_length_does_not_depend_on_the_scale(scale: float) -> None:
    """Large finite values overflow a float32 sum of squares, small ones vanish from it."""
    vectors = (np.array([[3, 4], [-1, 0], [1, 1]]) * scale).astype(np.float32)
    assert np.isfinite(vectors).all()
    prepared = prepare_vectors(vectors, "cosine")
    expected = [[0.6, 0.8], [-1, 0], [0.7071068, 0.7071068]]
    np.testing.assert_allclose(prepared, expected, atol=2e-3 if scale < 1e-38 else 1e-6)


def test_unit_vectors_and_euclidean_input_are_not_copied() -> None:
    """For cosine the input itself when it is of unit length; for euclidean the input itself."""
    unit = np.array([[0.6, 0.8], [1, 0]], dtype=np.float32)
    assert prepare_vectors(unit, "cosine") is unit
    other = np.array([[3, 4], [1, 0]], dtype=np.float32)
    assert prepare_vectors(other, "euclidean") is other


def test_an_unknown_metric_is_refused() -> None:
    """OptionError: an unknown metric."""
    with pytest.raises(OptionError, match="metric is 'dot'; expected 'cosine' or 'euclidean'"):
        prepare_vectors(np.eye(2, dtype=np.float32), "dot")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [1e30, -1e30])
def test_euclidean_values_that_overflow_are_refused(value: float) -> None:
    """DataError: euclidean, with values whose squares overflow float32."""
    vectors = np.array([[value, 0], [0, 1], [1, 1]], dtype=np.float32)
    with pytest.raises(DataError, match=r"a value of 1e\+30; .* divide all vectors"):
        prepare_vectors(vectors, "euclidean")
    assert np.isfinite(prepare_vectors(vectors, "cosine")).all()


# --- exact ----------------------------------------------------------------------------------------


def test_a_small_graph_is_literal() -> None:
    """The k nearest other points, nearest first, with Euclidean distances."""
    line = np.array([[0, 0], [1, 0], [3, 0], [7, 0]], dtype=np.float32)
    graph = build_graph(line, k=2, metric="euclidean")
    assert graph.indices.tolist() == [[1, 2], [0, 2], [1, 0], [2, 1]]
    assert graph.distances.tolist() == [[1, 3], [1, 2], [2, 3], [4, 6]]
    assert (graph.k, graph.metric, graph.recall) == (2, "euclidean", 1.0)
    assert (graph.indices.dtype, graph.distances.dtype) == (np.int32, np.float32)


def test_cosine_distances_are_chords() -> None:
    """For the cosine metric these are chords of the unit sphere, 0 to 2."""
    vectors = np.array([[1, 0], [0, 5], [-2, 0]], dtype=np.float32)
    graph = build_graph(prepare_vectors(vectors, "cosine"), k=2)
    root = np.float32(2**0.5)
    assert graph.indices.tolist() == [[1, 2], [0, 2], [1, 0]]
    np.testing.assert_allclose(graph.distances, [[root, 2], [root, root], [root, 2]], rtol=1e-6)
    # 1 - cosine: a right angle is 1, opposite is 2.
    np.testing.assert_allclose(graph.metric_distances(), [[1, 2], [1, 1], [1, 2]], rtol=1e-6)


def test_euclidean_metric_distances_are_the_distances() -> None:
    """`metric_distances`: 1 - cosine for the cosine metric, Euclidean distances otherwise."""
    graph = build_graph(np.array([[0, 0], [0, 5]], dtype=np.float32), k=1, metric="euclidean")
    assert graph.metric_distances().tolist() == [[5], [5]]


def test_equal_distances_are_in_row_order() -> None:
    """The same vectors give the same graph, ties too."""
    square = np.array([[0, 0], [1, 0], [0, 1], [-1, 0], [0, -1]], dtype=np.float32)
    assert build_graph(square, k=4, metric="euclidean").indices[0].tolist() == [1, 2, 3, 4]
    side = 40
    grid = np.stack(np.divmod(np.arange(side * side), side), axis=1).astype(np.float32)
    shuffled = np.random.default_rng(0).permutation(side * side)
    graph = build_graph(grid[shuffled], k=8, metric="euclidean")
    inner = ((grid[shuffled] > 0) & (grid[shuffled] < side - 1)).all(axis=1)
    nearest, diagonal = graph.indices[inner, :4], graph.indices[inner, 4:]
    assert (graph.distances[inner, :4] == 1).all()
    assert (np.diff(nearest, axis=1) > 0).all()
    assert (np.diff(diagonal, axis=1) > 0).all()


@pytest.mark.parametrize(("n", "dims"), [(30, 2), (400, 8), (1_500, 64)])
def test_an_exact_graph_equals_brute_force(n: int, dims: int) -> None:
    """Exact up to `EXACT_ROWS`."""
    vectors = _random(n, dims)
    graph = build_graph(vectors, k=10, metric="euclidean")
    truth = _true_distances(vectors)
    np.testing.assert_array_equal(graph.indices, np.argsort(truth, axis=1)[:, :10])
    np.testing.assert_allclose(graph.distances, np.sort(truth, axis=1)[:, :10], rtol=1e-5)
    assert graph.recall == 1.0


@pytest.mark.parametrize("offset", [0, 100, 1_000])
def test_an_exact_graph_is_exact_far_from_the_origin(offset: int) -> None:
    """A recall of 1.0 is promised: moving all points together changes no neighbour."""
    vectors = _random(2_000, 128) + np.float32(offset)
    graph = build_graph(vectors, k=10, metric="euclidean")
    assert graph.recall == 1.0
    assert (np.diff(graph.distances, axis=1) >= 0).all()
    assert _true_recall(graph, vectors) > 0.999


def test_a_point_is_never_its_own_neighbour_even_among_many_copies() -> None:
    """`indices`: row numbers; never the row itself. Exact duplicates are at distance 0 exactly."""
    copies = np.tile(np.array([[0.1, 0.7, 0.3]], dtype=np.float32), (40, 1))
    others = _random(60, 3)
    vectors = prepare_vectors(np.concatenate([copies, others]), "cosine")
    graph = build_graph(vectors, k=15)
    assert not (graph.indices == np.arange(100)[:, None]).any()
    assert (graph.distances[:40] == 0).all()
    assert (graph.indices[:40] < 40).all()
    assert (graph.distances[40:] > 0).all()
    assert all(len(set(row)) == 15 for row in graph.indices.tolist())


def test_a_pair_of_duplicates_far_out_is_found() -> None:
    """Exact duplicates are at distance 0 exactly, whatever their size."""
    vectors = _random(200, 64) * np.float32(1000)
    vectors[150] = vectors[7]
    graph = build_graph(vectors, k=3, metric="euclidean")
    assert (graph.indices[7, 0], graph.distances[7, 0]) == (150, 0)
    assert (graph.indices[150, 0], graph.distances[150, 0]) == (7, 0)


@pytest.mark.parametrize("n", [2, 3, 10])
def test_k_is_lowered_to_all_other_points(n: int) -> None:
    """`k`: neighbours a point; lowered to N - 1."""
    graph = build_graph(_random(n, 4), k=15, metric="euclidean")
    assert graph.k == n - 1
    expected = [[j for j in range(n) if j != i] for i in range(n)]
    assert np.sort(graph.indices, axis=1).tolist() == expected


def test_zero_rows_are_neighbours_of_each_other() -> None:
    """A zero row has no direction; it stays zero, and finite."""
    vectors = np.array([[1, 0], [0, 0], [0.9, 0.1], [0, 0]], dtype=np.float32)
    graph = build_graph(prepare_vectors(vectors, "cosine"), k=3)
    assert np.isfinite(graph.distances).all()
    assert graph.indices[1, 0] == 3
    assert graph.indices[3, 0] == 1
    assert graph.distances[1].tolist() == pytest.approx([0, 1, 1])


def test_permuting_points_permutes_the_graph() -> None:
    """Permuting the items permutes every output."""
    vectors = _random(300, 6)
    order = np.random.default_rng(2).permutation(300)
    graph = build_graph(vectors, k=7, metric="euclidean")
    moved = build_graph(vectors[order], k=7, metric="euclidean")
    np.testing.assert_array_equal(order[moved.indices], graph.indices[order])
    np.testing.assert_array_equal(moved.distances, graph.distances[order])


# --- approximate ----------------------------------------------------------------------------------


@pytest.fixture
def few_exact_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "EXACT_ROWS", 1_000)


@pytest.mark.usefixtures("few_exact_rows")
def test_above_the_limit_most_neighbours_are_found_and_the_share_is_told() -> None:
    """`recall`: share of the true neighbours found, measured on a sample."""
    vectors = _clustered()
    graph = build_graph(vectors, k=15, metric="euclidean")
    real = _true_recall(graph, vectors)
    assert real >= 0.95
    assert graph.recall < 1.0
    assert graph.recall == pytest.approx(real, abs=0.01)


@pytest.mark.usefixtures("few_exact_rows")
def test_a_bad_search_is_told_honestly(monkeypatch: pytest.MonkeyPatch) -> None:
    """`recall` is measured, not assumed: fewer cells looked at, fewer neighbours found."""
    monkeypatch.setattr(neighbors, "N_PROBES", 1)
    vectors = _random(3_000, 16)
    graph = build_graph(vectors, k=15, metric="euclidean")
    real = _true_recall(graph, vectors)
    assert real < 0.6
    assert graph.recall == pytest.approx(real, abs=0.03)


@pytest.mark.usefixtures("few_exact_rows")
def test_an_approximate_graph_keeps_all_other_promises() -> None:
    """Nearest first, never the row itself, no neighbour twice, duplicates at 0 exactly."""
    vectors = _clustered()
    vectors[100:130] = vectors[99]
    graph = build_graph(vectors, k=15, metric="euclidean")
    assert not (graph.indices == np.arange(3_000)[:, None]).any()
    assert (graph.indices >= 0).all()
    assert (np.diff(graph.distances, axis=1) >= 0).all()
    assert all(len(set(row)) == 15 for row in graph.indices.tolist())
    assert (graph.distances[99:130] == 0).all()
    rows = np.arange(3_000)[:, None]
    true = np.linalg.norm(vectors[graph.indices].astype(np.float64) - vectors[rows], axis=2)
    np.testing.assert_allclose(graph.distances, true, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("few_exact_rows")
def test_the_same_seed_gives_the_same_graph() -> None:
    """Same seed and vectors, same bytes."""
    vectors = _clustered(2_000)
    first, second = (build_graph(vectors, k=15, seed=3) for _ in range(2))
    assert first.indices.tobytes() == second.indices.tobytes()
    assert first.distances.tobytes() == second.distances.tobytes()
    assert first.recall == second.recall


@pytest.mark.usefixtures("few_exact_rows")
@pytest.mark.parametrize("distinct", [1, 5])
def test_many_equal_points_have_full_lists_above_the_limit(distinct: int) -> None:
    """Cells that are empty or too small leave no row short of neighbours."""
    vectors = np.tile(_random(distinct, 4), (1_200 // distinct, 1))
    graph = build_graph(vectors, k=15, metric="euclidean")
    assert graph.indices.shape == (1_200, 15)
    assert (graph.distances == 0).all()
    assert not (graph.indices == np.arange(1_200)[:, None]).any()
