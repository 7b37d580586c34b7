"""The k-nearest-neighbour graph, computed once and read by every analysis.

Exact up to `EXACT_ROWS`. Above, every point is compared with the members of the cells nearest to
it (an inverted file) — one matrix product a cell instead of one scan a query, which is several
times faster on a CPU and does not depend on the number of threads — and the recall is measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from projector_export.errors import DataError, OptionError

Metric = Literal["cosine", "euclidean"]

EXACT_ROWS = 20_000
N_PROBES = 8
RECALL_SAMPLE = 500
MAX_CAREFUL_ROWS = 4_000
_FAR = 16
_BLUR = 1e-3
LARGEST_VALUE = 1e15
"""Squares of larger values, summed over thousands of columns, come near float32's 3e38."""


@dataclass(frozen=True, eq=False)
class NeighborGraph:
    """The k nearest other points of each of N points, nearest first.

    Attributes:
        indices: (N, k) int32 row numbers; never the row itself.
        distances: (N, k) float32 Euclidean distances between prepared vectors (for the cosine
            metric these are chords of the unit sphere, 0 to 2).
        metric: what the distances mean.
        recall: share of the true neighbours found; 1.0 when exact, else measured on a sample.
    """

    indices: np.ndarray
    distances: np.ndarray
    metric: Metric
    recall: float

    @property
    def k(self) -> int:
        """Neighbours of a point."""
        return int(self.indices.shape[1])

    def first(self, k: int) -> NeighborGraph:
        """Return the graph of the k nearest only; the graph itself when it has no more."""
        if k >= self.k:
            return self
        nearest = np.ascontiguousarray(self.indices[:, :k])
        return replace(self, indices=nearest, distances=self.distances[:, :k].copy())

    def metric_distances(self) -> np.ndarray:
        """(N, k) float32: 1 - cosine for the cosine metric, Euclidean distances otherwise."""
        if self.metric == "cosine":
            return np.asarray(np.square(self.distances) / np.float32(2))
        return self.distances


def prepare_vectors(vectors: np.ndarray, metric: Metric) -> np.ndarray:
    """Return (N, D) float32 in which Euclidean distance means `metric`.

    For cosine: each row at unit length (zero rows stay zero); the input itself when it is so
    already. For euclidean: the input itself.

    Raises:
        OptionError: an unknown metric.
        DataError: euclidean, with values whose squares overflow float32.
    """
    if metric == "euclidean":
        largest = max(abs(float(vectors.min())), abs(float(vectors.max())))
        if largest > LARGEST_VALUE:
            raise DataError(
                f"the vectors have a value of {largest:.3g}; Euclidean distances in float32 hold "
                f"up to {LARGEST_VALUE:.0g}: divide all vectors by the same number"
            )
        return vectors
    if metric != "cosine":
        raise OptionError(f"metric is {metric!r}; expected 'cosine' or 'euclidean'")
    # Large finite values overflow a float32 sum of squares; the row's own maximum does not.
    norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    if np.isfinite(norms).all() and np.abs(norms - 1).max() < 1e-6:
        return vectors
    peaks = np.abs(vectors).max(axis=1, keepdims=True)
    scaled = vectors / np.where(peaks > 0, peaks, 1)
    norms = np.sqrt(np.einsum("nd,nd->n", scaled, scaled))[:, None]
    scaled /= np.where(norms > 0, norms, 1)
    return scaled


def build_graph(
    prepared: np.ndarray, *, k: int, metric: Metric = "cosine", seed: int = 0
) -> NeighborGraph:
    """Find the k nearest other points of each point.

    Args:
        prepared: (N, D) float32 from `prepare_vectors`.
        k: neighbours a point; lowered to N - 1.
        metric: noted in the graph; the search itself is Euclidean.
        seed: of the cells and the recall sample.
    """
    n = len(prepared)
    k = min(k, n - 1)
    exact = n <= EXACT_ROWS
    offset = far_offset(prepared)
    near = prepared - offset if offset.any() else prepared
    indices = _search_exact(near, k) if exact else _search_cells(near, k, seed)
    distances = _distances(prepared, indices)
    blurred = _blurred_rows(near, distances)
    if len(blurred) and (exact or len(blurred) <= MAX_CAREFUL_ROWS):
        indices[blurred] = _drop_self(_search_float64(near, blurred, k + 1), blurred, k)
        distances[blurred] = _distances(prepared, indices[blurred], blurred)
    order = np.lexsort((indices, distances))
    indices = np.take_along_axis(indices, order, axis=1)
    distances = np.take_along_axis(distances, order, axis=1)
    recall = 1.0 if exact else _measure_recall(near, indices, seed)
    return NeighborGraph(indices, distances, metric, recall)


def far_offset(vectors: np.ndarray) -> np.ndarray | np.float32:
    """Return what to subtract before a search: the mean where it is far beyond the spread, else 0.

    faiss compares expanded squares, whose float32 digits the offset would use up.
    """
    sample = vectors[:: max(1, len(vectors) // 10_000)]
    mean = sample.mean(axis=0, dtype=np.float64)
    spread = float(np.square(sample - mean).sum(axis=1).mean())
    far = float(np.square(mean).sum()) > _FAR * spread
    return mean.astype(np.float32) if far else np.float32(0)


def _blurred_rows(vectors: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Rows whose neighbours are too near for the float32 digits of expanded squares."""
    size = float(np.einsum("nd,nd->n", vectors, vectors).mean())
    return np.flatnonzero(np.square(distances[:, -1]) < _BLUR * size)


def _search_float64(vectors: np.ndarray, rows: np.ndarray, width: int) -> np.ndarray:
    """Return the `width` nearest rows of each of `rows`, compared with all, in float64."""
    found = np.empty((len(rows), width), dtype=np.int64)
    for first in range(0, len(rows), 2048):
        queries = vectors[rows[first : first + 2048]].astype(np.float64)
        best = np.full((len(queries), width), np.inf)
        where = np.full((len(queries), width), -1)
        for start in range(0, len(vectors), 4096):
            block = vectors[start : start + 4096].astype(np.float64)
            squared = np.square(block).sum(axis=1) - 2 * (queries @ block.T)
            both = np.hstack([best, squared])
            keep = np.argpartition(both, width - 1, axis=1)[:, :width]
            numbers = np.broadcast_to(np.arange(start, start + len(block)), squared.shape)
            where = np.take_along_axis(np.hstack([where, numbers]), keep, axis=1)
            best = np.take_along_axis(both, keep, axis=1)
        found[first : first + 2048] = where
    return found


def _search_exact(prepared: np.ndarray, k: int) -> np.ndarray:
    import faiss

    _, found = faiss.knn(prepared, prepared, k + 1)
    return _drop_self(found, np.arange(len(prepared)), k)


def _search_cells(prepared: np.ndarray, k: int, seed: int) -> np.ndarray:
    import faiss

    n, dims = prepared.shape
    n_cells = int(np.sqrt(n))
    rng = np.random.default_rng(seed)
    sample = np.sort(rng.choice(n, min(n, 64 * n_cells), replace=False))
    kmeans = faiss.Kmeans(dims, n_cells, niter=8, seed=seed, min_points_per_centroid=1)
    kmeans.train(prepared[sample])
    centres = np.asarray(kmeans.centroids)
    _, probes = faiss.knn(prepared, centres, N_PROBES)  # (N, N_PROBES), nearest first
    members = _rows_by_cell(probes[:, :1], n_cells)
    visitors = _rows_by_cell(probes, n_cells)

    width = k + 1
    best = np.full((n, N_PROBES, width), np.inf, dtype=np.float32)
    found = np.full((n, N_PROBES, width), -1, dtype=np.int32)
    slot = np.zeros(n, dtype=np.int64)
    for centre, own, asking in zip(centres, members, visitors, strict=True):
        if len(own) == 0:
            continue
        take = min(width, len(own))
        # Seen from the cell's centre, squares are small and keep their digits.
        squared, local = faiss.knn(prepared[asking] - centre, prepared[own] - centre, take)
        best[asking, slot[asking], :take] = squared
        found[asking, slot[asking], :take] = own[local]
        slot[asking] += 1
    order = np.argsort(best.reshape(n, -1), axis=1, kind="stable")[:, :width]
    nearest = np.take_along_axis(found.reshape(n, -1), order, axis=1)
    short = np.flatnonzero((nearest < 0).any(axis=1))  # cells too small to give k + 1 rows
    if len(short):
        nearest[short] = faiss.knn(prepared[short], prepared, width)[1]
    return _drop_self(nearest, np.arange(n), k)


def _rows_by_cell(probes: np.ndarray, n_cells: int) -> list[np.ndarray]:
    cells = probes.ravel()
    order = np.argsort(cells, kind="stable")
    rows = (order // probes.shape[1]).astype(np.int32)
    return np.split(rows, np.searchsorted(cells[order], np.arange(1, n_cells)))


def _drop_self(found: np.ndarray, rows: np.ndarray, k: int) -> np.ndarray:
    # Among exact duplicates a point need not be its own first hit, or a hit at all.
    is_self = found == rows[:, None]
    is_self[~is_self.any(axis=1), -1] = True
    return np.ascontiguousarray(found[~is_self].reshape(len(rows), k), dtype=np.int32)


def _distances(
    prepared: np.ndarray, indices: np.ndarray, sources: np.ndarray | None = None
) -> np.ndarray:
    """Distances from each row (of `sources`) to its neighbours; equal rows give 0 exactly."""
    n, k = indices.shape
    sources = np.arange(n) if sources is None else sources
    distances = np.empty((n, k), dtype=np.float32)
    step = max(1, 4_000_000 // (k * prepared.shape[1]))
    for start in range(0, n, step):
        rows = slice(start, start + step)
        difference = prepared[indices[rows]]
        difference -= prepared[sources[rows], None]
        distances[rows] = np.sqrt(np.einsum("nkd,nkd->nk", difference, difference))
    return distances


def _measure_recall(prepared: np.ndarray, indices: np.ndarray, seed: int) -> float:
    k = indices.shape[1]
    rows = np.random.default_rng(seed).choice(len(prepared), RECALL_SAMPLE, replace=False)
    truth = _drop_self(_search_float64(prepared, rows, k + 1), rows, k)
    hits = sum(len(np.intersect1d(truth[i], indices[row])) for i, row in enumerate(rows))
    return hits / float(RECALL_SAMPLE * k)
