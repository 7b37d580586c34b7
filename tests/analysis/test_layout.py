"""UMAP layouts: umap-learn's graph weights and quality, with the same bytes for the same seed."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_digits
from sklearn.manifold import trustworthiness

from projector_export.analysis import layout as module
from projector_export.analysis.alignment import align
from projector_export.analysis.layout import add_layout, compute_umap, fuzzy_set
from projector_export.analysis.movement import measure_neighbours_kept
from projector_export.analysis.neighbors import build_graph, prepare_vectors
from projector_export.analysis.principal import fit_components
from projector_export.errors import DataError, OptionError
from projector_export.points import Points


def _random(n: int, dims: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, dims)).astype(np.float32)


def _lay_out(
    vectors: np.ndarray, n_dims: int = 2, *, n_neighbors: int = 15, seed: int = 0
) -> np.ndarray:
    graph = build_graph(vectors, k=max(15, n_neighbors - 1), metric="euclidean")
    start = fit_components(vectors, 3).project(vectors, n_dims)
    return compute_umap(graph, start, n_dims=n_dims, n_neighbors=n_neighbors, seed=seed)


def _follow(
    vectors: np.ndarray, before: np.ndarray, earlier: np.ndarray, kept: np.ndarray | None = None
) -> np.ndarray:
    """Lay out `vectors` where `earlier`, the layout of the same points' `before`, was."""
    graph = build_graph(vectors, k=15, metric="euclidean")
    if kept is None:
        kept = measure_neighbours_kept(graph, build_graph(before, k=15, metric="euclidean"))
    return compute_umap(graph, None, n_dims=earlier.shape[1], earlier=earlier, kept=kept)


def _moves(layout: np.ndarray, earlier: np.ndarray) -> np.ndarray:
    """Return how far each point is from where it was, in widths of the earlier layout."""
    apart = np.linalg.norm(layout.astype(np.float64) - earlier, axis=1)
    return np.asarray(apart / np.ptp(earlier, axis=0).max())


def _three_heaps() -> np.ndarray:
    return _random(300, 10) + 30 * np.eye(3, 10, dtype=np.float32)[np.arange(300) % 3]


def _network_before_and_after() -> list[np.ndarray]:
    """Return 600 digits in a random layer, and where one has learnt to tell their classes."""
    pixels, classes = load_digits(return_X_y=True)
    pixels, classes = pixels[:600].astype(np.float32), classes[:600]
    before = np.maximum(pixels @ _random(64, 48, seed=3), 0)
    after = np.hstack([pixels, 25 * np.eye(10, dtype=np.float32)[classes]])
    return [before, after]


def _with_duplicates() -> np.ndarray:
    vectors = _random(200, 5)
    vectors[10:14] = vectors[9]  # some of a point's neighbours are at distance 0
    vectors[50:80] = vectors[49]  # all of them are
    return vectors


@pytest.mark.parametrize("vectors", [_random(300, 8), _with_duplicates()], ids=["random", "copies"])
@pytest.mark.parametrize("k", [4, 14])
def test_fuzzy_set_equals_umap_learn(vectors: np.ndarray, k: int) -> None:
    """`fuzzy_set`: umap-learn's fuzzy simplicial set, within float32 rounding."""
    from umap.umap_ import fuzzy_simplicial_set

    graph = build_graph(vectors, k=k, metric="euclidean")
    rows = np.arange(len(vectors), dtype=np.int32)[:, None]
    theirs, _, _ = fuzzy_simplicial_set(
        vectors,
        n_neighbors=k + 1,  # umap-learn counts the point itself
        random_state=np.random.RandomState(0),
        metric="euclidean",
        knn_indices=np.hstack([rows, graph.indices]),
        knn_dists=np.hstack([np.zeros((len(rows), 1), np.float32), graph.distances]),
    )
    ours = fuzzy_set(graph.indices, graph.distances)
    assert ours.shape == (len(vectors), len(vectors))
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours.toarray(), theirs.toarray(), atol=1e-5)


def test_fuzzy_set_is_symmetric_and_between_0_and_1() -> None:
    """The union of memberships: a + b - a b."""
    graph = build_graph(_with_duplicates(), k=14, metric="euclidean")
    weights = fuzzy_set(graph.indices, graph.distances).toarray()
    np.testing.assert_array_equal(weights, weights.T)
    assert weights.min() == 0
    assert 0.9 < weights.max() <= 1
    assert (weights.diagonal() == 0).all()


@pytest.mark.parametrize("n_dims", [2, 3])
def test_the_same_seed_gives_the_same_bytes(n_dims: int) -> None:
    """All cores work and the same seed still gives the same bytes."""
    vectors = _random(300, 8)
    first = _lay_out(vectors, n_dims, seed=1)
    assert first.shape == (300, n_dims)
    assert first.dtype == np.float32
    assert first.tobytes() == _lay_out(vectors, n_dims, seed=1).tobytes()
    assert first.tobytes() != _lay_out(vectors, n_dims, seed=2).tobytes()


def test_the_number_of_threads_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No result depends on which thread comes first, or on how many there are."""
    vectors = _random(300, 8)
    layouts = []
    for cores in (1, 3, 16):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        layouts.append(_lay_out(vectors, 3).tobytes())
    assert layouts[0] == layouts[1] == layouts[2]


def test_clear_blobs_lie_apart() -> None:
    """Points of one blob lie nearer to each other than to any other blob."""
    heap = np.arange(300) % 3
    vectors = _random(300, 10) + 30 * np.eye(3, 10, dtype=np.float32)[heap]
    for n_dims in (2, 3):
        layout = _lay_out(vectors, n_dims)
        centres = np.stack([layout[heap == h].mean(axis=0) for h in range(3)])
        radius = max(np.linalg.norm(layout[heap == h] - centres[h], axis=1).max() for h in range(3))
        gaps = [np.linalg.norm(centres[a] - centres[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
        assert min(gaps) > 2 * radius


@pytest.mark.parametrize("n_dims", [2, 3])
def test_neighbourhoods_of_digits_are_kept(n_dims: int) -> None:
    """Quality is that of UMAP: umap-learn 0.5.12 reaches 0.988 in 2-D, 0.990 in 3-D."""
    vectors = load_digits().data[:500].astype(np.float32)
    layout = _lay_out(vectors, n_dims)
    assert trustworthiness(vectors, layout, n_neighbors=10) >= 0.98


def test_the_cosine_metric_uses_cosine_distances() -> None:
    """The length of a vector means nothing: scaled rows give the same layout."""
    vectors = _random(150, 6)
    factors = np.exp2(np.arange(150) % 5).astype(np.float32)[:, None]
    layouts = []
    for same in (vectors, vectors * factors):
        prepared = prepare_vectors(same, "cosine")
        graph = build_graph(prepared, k=15)
        start = fit_components(prepared, 2).project(prepared, 2)
        layouts.append(compute_umap(graph, start, n_dims=2).tobytes())
    assert layouts[0] == layouts[1]
    chords = replace(graph, metric="euclidean")
    assert compute_umap(chords, start, n_dims=2).tobytes() != layouts[0]


@pytest.mark.parametrize("n_dims", [2, 3])
@pytest.mark.parametrize(
    "vectors",
    [
        pytest.param(np.array([[1, 0], [0, 1]], dtype=np.float32), id="two points"),
        pytest.param(np.array([[1, 1], [1, 1]], dtype=np.float32), id="two equal points"),
        pytest.param(np.ones((30, 4), dtype=np.float32), id="all equal"),
        pytest.param(np.zeros((5, 4), dtype=np.float32), id="all zero"),
        pytest.param(_random(40, 2), id="two dimensions"),
        pytest.param(_random(6, 9), id="fewer points than neighbours"),
        pytest.param(_with_duplicates(), id="copies"),
        pytest.param(_random(50, 4) * np.float32(1e12), id="large"),
        pytest.param(_random(50, 4) * np.float32(1e-12), id="small"),
    ],
)
def test_layouts_are_always_finite(vectors: np.ndarray, n_dims: int) -> None:
    """Whatever the points are, every one has a place that JSON can hold."""
    layout = _lay_out(vectors, n_dims)
    assert layout.shape == (len(vectors), n_dims)
    assert np.isfinite(layout).all()


@pytest.mark.parametrize("n_neighbors", [2, 5, 100])
def test_any_number_of_neighbours_works(n_neighbors: int) -> None:
    """`n_neighbors`: as in umap-learn; lowered to what the graph has."""
    assert np.isfinite(_lay_out(_random(40, 4), n_neighbors=n_neighbors)).all()


def test_equal_points_do_not_fall_onto_one_spot() -> None:
    """Every axis is spread: the viewer stretches each to the cube by itself."""
    layout = _lay_out(np.ones((30, 4), dtype=np.float32))
    assert (layout.std(axis=0) > 0).all()


def test_columns_hold_the_coordinates_row_by_row() -> None:
    """`umap2d_x`, `umap2d_y`, or for (N, 3) `umap3d_x`, ...: row i is point i."""
    points = Points(
        np.array([[1, 0], [0, 1]], dtype=np.float32), pl.DataFrame({"label": ["a", "b"]})
    )
    flat = np.array([[1, 2], [3, 4]], dtype=np.float32)
    deep = np.array([[5, 6, 7], [8, 9, 10]], dtype=np.float32)
    both = add_layout(add_layout(points, flat), deep)
    assert both.columns.to_dicts() == [
        {"label": "a", "umap2d_x": 1, "umap2d_y": 2, "umap3d_x": 5, "umap3d_y": 6, "umap3d_z": 7},
        {"label": "b", "umap2d_x": 3, "umap2d_y": 4, "umap3d_x": 8, "umap3d_y": 9, "umap3d_z": 10},
    ]


@pytest.mark.parametrize("n_dims", [2, 3])
def test_points_stay_where_the_neighbours_are_the_same(n_dims: int) -> None:
    """A point stays where it was unless its neighbours changed."""
    vectors = load_digits().data[:500].astype(np.float32)
    earlier = _lay_out(vectors, n_dims)
    assert _moves(_follow(vectors, vectors, earlier), earlier).max() < 1e-5
    nudged = vectors + _random(500, 64) / 4
    moves = _moves(_follow(nudged, vectors, earlier), earlier)
    assert np.median(moves) < 0.02
    alone = align(_lay_out(nudged, n_dims), earlier)
    assert np.median(_moves(alone, earlier)) > 4 * np.median(moves)


@pytest.mark.parametrize("n_dims", [2, 3])
def test_moved_points_move_and_the_others_stay(n_dims: int) -> None:
    """Points that the model moved to another heap are drawn there; the others are held."""
    before = _three_heaps()
    moved = np.arange(0, 30, 3)  # of heap 0, to heap 1
    after = before.copy()
    after[moved] += (
        30 * np.eye(3, 10, dtype=np.float32)[1] - 30 * np.eye(3, 10, dtype=np.float32)[0]
    )
    earlier = _lay_out(before, n_dims)
    layout = _follow(after, before, earlier)
    others = np.setdiff1d(np.arange(300), moved)
    assert np.median(_moves(layout, earlier)[others]) < 0.03
    heaps = np.arange(300) % 3
    centres = np.stack([layout[others][heaps[others] == h].mean(axis=0) for h in range(3)])
    nearest = np.linalg.norm(layout[moved][:, None] - centres, axis=2).argmin(axis=1)
    assert nearest.tolist() == [1] * 10


def test_the_more_neighbours_stayed_the_more_a_point_is_held() -> None:
    """`kept`: how much each point is held."""
    before, after = _network_before_and_after()
    earlier = _lay_out(before)
    classes = load_digits().target[:600]
    for held in (classes < 5, classes >= 5):
        moves = _moves(_follow(after, before, earlier, held.astype(np.float32)), earlier)
        assert np.median(moves[held]) < 0.06
        assert np.median(moves[~held]) > 3 * np.median(moves[held])


@pytest.mark.parametrize("n_dims", [2, 3])
@pytest.mark.parametrize("share", [1.0, 0.1], ids=["a jump", "a small step"])
def test_a_changed_graph_is_laid_out_as_well_as_alone(share: float, n_dims: int) -> None:
    """Trustworthiness is within 0.01 of that of a layout of its own, also after a jump."""
    before, after = _network_before_and_after()
    if share < 1:
        before, after = after, after + share * 10 * _random(*after.shape)
    layout = _follow(after, before, _lay_out(before, n_dims))
    alone = trustworthiness(after, _lay_out(after, n_dims), n_neighbors=10)
    assert trustworthiness(after, layout, n_neighbors=10) > alone - 0.01
    assert alone > 0.95


def test_quality_is_kept_through_many_steps() -> None:
    """Points are not kept in places that they have outgrown, step after small step."""
    before, after = _network_before_and_after()
    before = np.hstack([before / before.std(), np.zeros((600, 26), dtype=np.float32)])
    after = after / after.std()
    states = [before + share * (after - before) for share in np.linspace(0, 1, 13)]
    layout = _lay_out(states[0].astype(np.float32))
    for last, state in pairwise(states):
        layout = _follow(state.astype(np.float32), last.astype(np.float32), layout)
    alone = trustworthiness(after, _lay_out(after), n_neighbors=10)
    assert trustworthiness(after, layout, n_neighbors=10) > alone - 0.01


def test_a_layout_that_follows_is_aligned() -> None:
    """Turned, mirrored and shifted to the earlier one, so that no better turn is left."""
    before, after = _network_before_and_after()
    earlier = _lay_out(before)
    kept = np.linspace(0, 1, 600).astype(np.float32)
    layout = _follow(after, before, earlier, kept)
    np.testing.assert_allclose(align(layout, earlier, kept), layout, atol=1e-4)


@pytest.mark.parametrize(
    ("kept", "n_epochs"), [(1.0, 50), (0.9, 100), (0.75, 250), (0.5, 500), (0.0, 500)]
)
def test_where_little_changed_fewer_epochs_do(
    kept: float, n_epochs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a tenth of umap-learn's 500 epochs, all where half of the neighbours changed."""
    seen = []
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr(module, "_kernel", lambda: lambda *args: seen.append(args[16]))
    vectors = _random(40, 4)
    _follow(vectors, vectors, _random(40, 2), np.full(40, kept, dtype=np.float32))
    assert seen == list(range(n_epochs))


def test_following_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same seed gives the same bytes, however many threads there are."""
    before, after = _random(300, 8), _random(300, 8, seed=1)
    earlier = _lay_out(before)
    layouts = []
    for cores in (1, 2, 7):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        layouts.append(_follow(after, before, earlier).tobytes())
    assert layouts[0] == layouts[1] == layouts[2]


@pytest.mark.parametrize("n_dims", [2, 3])
def test_permuted_points_follow_to_the_same_places(n_dims: int) -> None:
    """Permuting the items permutes every output, within the noise of negative samples."""
    before = _three_heaps()
    after = before + _random(300, 10, seed=4) / 4
    earlier = _lay_out(before, n_dims)
    order = np.random.default_rng(8).permutation(300)
    whole = _follow(after, before, earlier)
    moved = _follow(after[order], before[order], earlier[order])
    assert np.median(_moves(moved, whole[order])) < 0.05
    assert np.median(_moves(moved, whole)) > 0.2


def test_the_earlier_layout_stays_as_it_is() -> None:
    """A new array, float32 as every layout."""
    vectors = _random(40, 4)
    earlier = _lay_out(vectors).astype(np.float64)
    copy = earlier.copy()
    layout = _follow(vectors, vectors, earlier)
    np.testing.assert_array_equal(earlier, copy)
    assert layout.dtype == np.float32


@pytest.mark.parametrize("n_dims", [2, 3])
@pytest.mark.parametrize(
    "vectors",
    [
        pytest.param(np.array([[1, 1], [1, 1]], dtype=np.float32), id="two equal points"),
        pytest.param(np.ones((30, 4), dtype=np.float32), id="all equal"),
        pytest.param(_with_duplicates(), id="copies"),
    ],
)
def test_layouts_that_follow_are_always_finite(vectors: np.ndarray, n_dims: int) -> None:
    """Whatever the points are and became, every one has a place that JSON can hold."""
    before = _random(*vectors.shape)
    forth = _follow(vectors, before, _lay_out(before, n_dims))
    back = _follow(before, vectors, forth)
    assert np.isfinite(forth).all()
    assert np.isfinite(back).all()


def test_what_a_layout_needs() -> None:
    """OptionError or DataError, which say what is missing or does not fit."""
    graph = build_graph(_random(20, 4), k=5, metric="euclidean")
    flat, kept = _random(20, 2), np.ones(20, dtype=np.float32)
    with pytest.raises(OptionError, match="a layout needs a `start`"):
        compute_umap(graph, None, n_dims=2)
    with pytest.raises(OptionError, match="needs both `earlier` and `kept`"):
        compute_umap(graph, flat, n_dims=2, earlier=flat)
    with pytest.raises(OptionError, match="needs both `earlier` and `kept`"):
        compute_umap(graph, flat, n_dims=2, kept=kept)
    with pytest.raises(DataError, match=r"is \(20, 2\) .* expected \(20, 3\) and \(20,\)"):
        compute_umap(graph, None, n_dims=3, earlier=flat, kept=kept)
    with pytest.raises(DataError, match=r"shares of neighbours \(19,\); expected \(20, 2\)"):
        compute_umap(graph, None, n_dims=2, earlier=flat, kept=kept[1:])
