"""UMAP layouts: umap-learn's graph weights and quality, with the same bytes for the same seed."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_digits
from sklearn.manifold import trustworthiness

from projector_export.analysis.layout import add_layout, compute_umap, fuzzy_set
from projector_export.analysis.neighbors import build_graph, prepare_vectors
from projector_export.analysis.principal import fit_components
from projector_export.points import Points


def _random(n: int, dims: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, dims)).astype(np.float32)


def _lay_out(
    vectors: np.ndarray, n_dims: int = 2, *, n_neighbors: int = 15, seed: int = 0
) -> np.ndarray:
    graph = build_graph(vectors, k=max(15, n_neighbors - 1), metric="euclidean")
    start = fit_components(vectors, 3).project(vectors, n_dims)
    return compute_umap(graph, start, n_dims=n_dims, n_neighbors=n_neighbors, seed=seed)


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
