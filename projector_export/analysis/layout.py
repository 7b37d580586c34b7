"""UMAP layouts from the shared neighbour graph, with PCA initialisation.

The optimiser is umap-learn's own kernel (McInnes et al. 2018, umap/layouts.py). Two things around
it differ, for speed at a fixed seed:

- The fuzzy set is computed with NumPy; umap-learn compiles that for seconds.
- Within an epoch every point moves against where the *others* stood at its start. No result then
  depends on which thread comes first, so all cores work and the same seed still gives the same
  bytes; umap-learn falls back to one core when it is given a seed. As each edge moves one end
  instead of both, half the negative samples keep attraction and repulsion in proportion.

A layout can follow an earlier one of the same points, so that a point stays where it was unless
its neighbours changed. It starts there; after every epoch each point is drawn back, the more of
its neighbours stayed the further (the idea of AlignedUMAP's regularisation); steps are shorter and
fewer where little changed. On digits through ten epochs of training this costs less than 0.01 of
trustworthiness against a layout of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from projector_export.analysis.alignment import align
from projector_export.analysis.neighbors import NeighborGraph
from projector_export.errors import DataError, OptionError
from projector_export.points import Points

NEGATIVE_SAMPLES = 2.5
_SMALL = 10_000  # umap-learn's own rule: 500 epochs up to here, 200 above
_MIN_SCALE = 1e-3
_TOLERANCE = 1e-5
# Found on hidden layers of five small networks in training: a weaker pull or longer steps move
# points twice as far in an epoch that changed little, a stronger pull keeps them in places that
# they have outgrown.
_PULL = 0.3  # of the way back after an epoch, for a point that kept all its neighbours
_PULL_POWER = 4
_EPOCHS_BY_CHANGE = 2  # all epochs where half of the neighbours or more changed
_FEWEST_EPOCHS = 50
_STEP_BY_CHANGE = 3  # no step at all where no neighbour changed


@dataclass(frozen=True, eq=False)
class _Anchors:
    """Where points are held.

    Attributes:
        places: (N, n_dims) float32.
        pull: (N, 1) float32, share of the way back after an epoch of full step length.
    """

    places: np.ndarray
    pull: np.ndarray

    def draw_back(self, layout: np.ndarray, step: float) -> None:
        """Move `layout` in place."""
        layout += np.float32(step) * self.pull * (self.places - layout)


def add_layout(points: Points, layout: np.ndarray) -> Points:
    """Add an (N, 2) layout as `umap2d_x`, `umap2d_y`, or an (N, 3) one as `umap3d_x`, ..."""
    n_dims = layout.shape[1]
    names = [f"umap{n_dims}d_{axis}" for axis in "xyz"[:n_dims]]
    return points.with_columns(pl.DataFrame(layout, schema=names, orient="row"))


def compute_umap(
    graph: NeighborGraph,
    start: np.ndarray | None,
    *,
    n_dims: int,
    n_neighbors: int = 15,
    min_dist: float = 0.1,
    seed: int = 0,
    earlier: np.ndarray | None = None,
    kept: np.ndarray | None = None,
) -> np.ndarray:
    """Return (N, n_dims) float32 UMAP coordinates.

    Args:
        graph: the points' neighbours; the first n_neighbors - 1 are used (umap-learn counts the
            point itself).
        start: (N, n_dims or more) principal components of the vectors; missing axes start as
            noise. Not used with `earlier`.
        n_dims: 2 or 3.
        n_neighbors: as in umap-learn; lowered to what the graph has.
        min_dist: as in umap-learn.
        seed: of the noise on the start and of the negative samples.
        earlier: (N, n_dims) layout of the same points at an earlier time, which this one follows;
            the result is turned, mirrored and shifted to it, never scaled.
        kept: (N,) share of each point's neighbours that stayed since, 0 to 1: how much it is held.

    Raises:
        OptionError: neither `start` nor `earlier`, or one of `earlier` and `kept` alone.
        DataError: `earlier` or `kept` are not of these points.
    """
    if (earlier is None) != (kept is None):
        raise OptionError("a layout that follows another needs both `earlier` and `kept`")
    if earlier is not None and kept is not None:
        return _follow(
            graph, earlier, kept, n_dims=n_dims, n_neighbors=n_neighbors, min_dist=min_dist,
            seed=seed,
        )  # fmt: skip
    if start is None:
        raise OptionError("a layout needs a `start`, or an `earlier` one to follow")
    n = len(graph.indices)
    n_epochs = _most_epochs(n)
    weights = _edge_weights(graph, n_neighbors, n_epochs)
    rng = np.random.RandomState(seed)
    layout = _scale_start(start[:, :n_dims], rng)
    if layout.shape[1] < n_dims:  # fewer vector dimensions than axes
        missing = n_dims - layout.shape[1]
        layout = np.hstack([layout, _scale_start(np.zeros((n, missing)), rng)])
    _optimize(layout, weights, n_epochs, min_dist, rng)
    return layout


def _follow(
    graph: NeighborGraph,
    earlier: np.ndarray,
    kept: np.ndarray,
    *,
    n_dims: int,
    n_neighbors: int,
    min_dist: float,
    seed: int,
) -> np.ndarray:
    n = len(graph.indices)
    if earlier.shape != (n, n_dims) or kept.shape != (n,):
        raise DataError(
            f"the earlier layout is {earlier.shape} with shares of neighbours {kept.shape}; "
            f"expected {(n, n_dims)} and {(n,)}: give those of the same points"
        )
    changed = 1 - float(kept.mean(dtype=np.float64))
    most = _most_epochs(n)
    n_epochs = min(most, max(_FEWEST_EPOCHS, round(most * _EPOCHS_BY_CHANGE * changed)))
    step = min(1.0, _STEP_BY_CHANGE * changed)
    places = np.ascontiguousarray(earlier, dtype=np.float32)
    pull = (_PULL * kept.astype(np.float64) ** _PULL_POWER).astype(np.float32)[:, None]
    weights = _edge_weights(graph, n_neighbors, n_epochs)
    layout = places.copy()
    rng = np.random.RandomState(seed)
    _optimize(layout, weights, n_epochs, min_dist, rng, step=step, anchors=_Anchors(places, pull))
    return align(layout, places, kept)


def _most_epochs(n: int) -> int:
    return 500 if n <= _SMALL else 200


def _edge_weights(graph: NeighborGraph, n_neighbors: int, n_epochs: int) -> Any:
    """Return the fuzzy set as CSR, without the edges too weak to be drawn in so many epochs."""
    k = min(n_neighbors - 1, graph.k)
    weights = fuzzy_set(graph.indices[:, :k], graph.metric_distances()[:, :k])
    weights.data[weights.data < weights.data.max() / n_epochs] = 0
    weights.eliminate_zeros()
    return weights


def load_umap() -> None:
    """Import umap-learn and load its kernel, or compile it: seconds that can pass beside others."""
    from scipy.sparse import csr_array

    weights = csr_array(np.eye(2, dtype=np.float32)[::-1])
    _optimize(np.eye(2, dtype=np.float32), weights, 1, 0.1, np.random.RandomState(0))


def fuzzy_set(indices: np.ndarray, distances: np.ndarray) -> Any:
    """Return umap-learn's fuzzy simplicial set as an (N, N) symmetric float32 CSR matrix.

    Args:
        indices: (N, k) neighbours of each point, nearest first, without itself.
        distances: (N, k) their distances in the metric.
    """
    from scipy.sparse import csr_array

    n, k = indices.shape
    distances = distances.astype(np.float32, copy=False)
    rho = np.where(distances > 0, distances, np.inf).min(axis=1)
    rho[~np.isfinite(rho)] = 0
    excess = np.maximum(distances - rho[:, None], 0)
    sigma = _smooth_sigma(excess, np.log2(k + 1))
    # umap-learn's averages count the point itself at distance 0.
    floor = np.where(rho > 0, distances.sum(axis=1) / (k + 1), distances.sum() / (n * (k + 1)))
    sigma = np.maximum(sigma, _MIN_SCALE * floor)
    with np.errstate(divide="ignore", invalid="ignore"):
        strengths = np.exp(-excess / sigma[:, None])
    strengths[excess == 0] = 1
    indptr = np.arange(0, n * k + 1, k, dtype=np.int32)
    directed = csr_array((strengths.ravel(), indices.ravel(), indptr), shape=(n, n))
    transposed = directed.T.tocsr()
    union = (directed + transposed - directed.multiply(transposed)).tocsr()
    union.sort_indices()
    union.data = union.data.astype(np.float32, copy=False)
    return union


def _smooth_sigma(excess: np.ndarray, target: float) -> np.ndarray:
    """Bisect, for all rows at once, the bandwidths whose memberships add up to `target`."""
    n = len(excess)
    low, high, sigma = np.zeros(n), np.full(n, np.inf), np.ones(n)
    active = np.arange(n)
    for _ in range(64):
        mid = sigma[active]
        total = np.exp(-excess[active] / mid[:, None]).sum(axis=1)
        active_still = np.abs(total - target) >= _TOLERANCE
        if not active_still.any():
            break
        active, mid, over = active[active_still], mid[active_still], total[active_still] > target
        high[active[over]] = mid[over]
        low[active[~over]] = mid[~over]
        unbounded = np.isinf(high[active])
        sigma[active] = np.where(unbounded, mid * 2, (low[active] + high[active]) / 2)
    return sigma


def _scale_start(start: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Scale to a largest coordinate of 10, with umap-learn's small noise, then axes to 0..10."""
    peak = np.abs(start).max()
    scaled = start * (10 / peak) if peak > 0 else start
    noisy = scaled + rng.normal(scale=1e-4, size=start.shape)
    low, high = noisy.min(axis=0), noisy.max(axis=0)
    return np.ascontiguousarray(10 * (noisy - low) / (high - low), dtype=np.float32)


def _optimize(
    layout: np.ndarray,
    edges: Any,
    n_epochs: int,
    min_dist: float,
    rng: np.random.RandomState,
    *,
    step: float = 1.0,
    anchors: _Anchors | None = None,
) -> None:
    """Move `layout` in place; `step` is the first step's length in umap-learn's."""
    from umap.umap_ import find_ab_params

    kernel = _kernel()
    a, b = find_ab_params(1.0, min_dist)
    n, n_dims = layout.shape
    heads = np.repeat(np.arange(n, dtype=np.int32), np.diff(edges.indptr))
    tails, weights = edges.indices, edges.data
    every = weights.max() / weights.astype(np.float64)  # epochs from one sample of an edge to next
    every_negative = every / NEGATIVE_SAMPLES
    next_sample, next_negative = every.copy(), every_negative.copy()
    states = np.tile(rng.randint(-(2**31) + 1, 2**31 - 1, 3).astype(np.int64), (n, 1))
    states += layout[:, :1].astype(np.float64).view(np.int64)
    unused = np.zeros(1, dtype=np.float32)  # densMAP's arguments
    n_threads = os.cpu_count() or 1
    cuts = np.searchsorted(heads, np.linspace(0, n, n_threads + 1).astype(np.int32))
    parts = [slice(*cut) for cut in pairwise(cuts)]
    others = np.empty_like(layout)

    with ThreadPoolExecutor(n_threads) as pool:
        for epoch in range(n_epochs):
            others[:] = layout
            alpha = step * (1.0 - max(epoch - 1, 0) / n_epochs)

            def move(part: slice, epoch: int = epoch, alpha: float = alpha) -> None:
                kernel(
                    layout, others, heads[part], tails[part], n, every[part], a, b, states,
                    1.0, n_dims, False, alpha, every_negative[part], next_negative[part],
                    next_sample[part], epoch, False, unused, unused, 0, 0, 0, 0, unused, unused, 0,
                )  # fmt: skip

            list(pool.map(move, parts))
            if anchors is not None:
                anchors.draw_back(layout, alpha)


@cache
def _kernel() -> Callable[..., None]:
    """umap-learn's kernel for one epoch, compiled to release the GIL and kept on disk."""
    import numba
    from umap import layouts

    epoch = layouts._optimize_layout_euclidean_single_epoch
    function: Callable[..., None]
    try:
        function = numba.njit(epoch, fastmath=True, nogil=True, cache=True)
    except RuntimeError:  # no place on disk to keep it
        function = numba.njit(epoch, fastmath=True, nogil=True)
    return function
