"""How unusual each point is, in which way, and how it ranks among the others.

Three scores look at a point as one of all the data, by the size of its cluster, and as one of its
cluster. All have the same unit: 0 is a typical point, 1 is the threshold above which the point
gets that kind. Everything is read from the one neighbour graph and the one clustering; nothing is
trained, nothing is tuned to a data set.

Limits: a cluster that K-Means does not separate is no group here; a tight group of more than k
points inside a larger cluster looks as dense as any other place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from projector_export.analysis.clusters import Clusters
from projector_export.analysis.neighbors import NeighborGraph, build_graph, far_offset
from projector_export.errors import DataError, OptionError
from projector_export.points import Points

# Tukey's "far out" fence, Q3 + 3 IQR (Exploratory Data Analysis, 1977), is median + 7 (Q3 - median)
# on symmetric data. Only the upper half is measured: distances are skewed, and only a large one is
# unusual.
FENCE = 7.0
# A cluster is small when it holds less than this share of an even split. So fewer than a quarter
# of all points can ever be in small clusters.
SMALL_SHARE = 0.25
# K-Means gives a lone far point a cluster of its own; one or two points are no group.
MIN_GROUP = 3
# Rounding in float32, relative to the length of the vectors: less than this is no difference.
ROUNDING = 1e-6
# Quartile deviation over mean deviation of a normal distribution. The mean deviation stands in
# when half of the points are equal (Iglewicz & Hoaglin 1993).
QUARTILE_PER_MEAN_DEVIATION = 0.8453

# In order of priority: a point above several thresholds has the last of these kinds.
KINDS = ("normal", "local", "global", "group", "unlike_reference")


@dataclass(frozen=True, eq=False)
class Reference:
    """Known-normal items.

    Attributes:
        vectors: (M, D) float32, M >= 2.
        rows: (N,) bool: the points that are these very items, in the same order; None for none.
    """

    vectors: np.ndarray
    rows: np.ndarray | None = None


def add_anomalies(
    points: Points,
    prepared: np.ndarray,
    graph: NeighborGraph,
    clusters: Clusters | None,
    *,
    reference: Reference | None = None,
    reference_quantile: float = 0.99,
) -> Points:
    """Add `anomaly`, `anomaly_kind` and the scores behind them; higher is more unusual.

    The quantity behind `anomaly` and `anomaly_local` is sparsity: a point's mean reachability
    distance to its k nearest neighbours, the inverse of the local reachability density of LOF
    (Breunig et al. 2000).

    * `anomaly_global`: distance to the nearest centroid that is not of a small cluster. 0 is the
      median of that cluster's members, 1 the widest fence of any cluster.
    * `anomaly_group`: how much smaller the own cluster is than an even split: 0 for an even split,
      1 for a quarter of it (`SMALL_SHARE`); 0 for clusters of fewer than `MIN_GROUP`.
    * `anomaly_local`: sparsity. 0 is the median of the same cluster's members, 1 their fence.
      Points of a small cluster are measured by the nearest cluster that is not.
    * `anomaly_reference`, when a reference is given: mean distance to the k nearest reference
      vectors, divided by the threshold, which is the `reference_quantile` quantile of the
      reference vectors' own such distances, each without itself. So are points measured that are
      themselves reference items.
    * `anomaly`: 0 to 1, the share of the other points that are less unusual; equal points share a
      value. How unusual is the higher of a point's two ranks: by the largest of its global, group
      and local scores, and by sparsity among all points. A reference replaces that guess: with
      one, how unusual is `anomaly_reference`.
    * `anomaly_kind`: the first of unlike_reference, group, global, local whose score exceeds 1,
      otherwise normal.

    Without clusters, all points count as one cluster for `anomaly_global`, `anomaly_group` is 0,
    and `anomaly_local` compares sparsity with that of the point's own neighbours.

    Args:
        points: N points.
        prepared: (N, D) float32 from `prepare_vectors`.
        graph: of the prepared vectors.
        clusters: of the prepared vectors, or None.
        reference: known-normal items, prepared with the same metric.
        reference_quantile: above 0, at most 1.

    Returns:
        New points; row i still describes item i. All scores are finite.

    Raises:
        DataError: the reference has another width, or fewer than two vectors.
        OptionError: reference_quantile is out of range.
    """
    rounding = ROUNDING * _mean_length(prepared)
    half = _nearer_half(graph)
    sparsity = _sparsity(half)
    if clusters is None:
        scores = _scores_without_clusters(prepared, half, sparsity, rounding)
    else:
        scores = _scores(prepared, clusters, sparsity, rounding)
    if reference is None:
        largest = np.max(list(scores.values()), axis=0)
        unusual = np.maximum(_share_below(largest), _share_below(sparsity))
    else:
        unusual = scores["anomaly_reference"] = _reference_scores(
            prepared, reference, k=graph.k, quantile=reference_quantile
        )
    columns = {"anomaly": _share_below(unusual), "anomaly_kind": _kinds(scores), **scores}
    return points.with_columns(pl.DataFrame(columns))


def _scores(
    prepared: np.ndarray, clusters: Clusters, sparsity: np.ndarray, rounding: float
) -> dict[str, np.ndarray]:
    near, around = _nearest_centroids(prepared, clusters)
    members = around == clusters.labels
    median, fence = _medians_and_fences(near, around, members, rounding)
    # The widest cluster sets the fence for all: a point a little off a dense one is not far from
    # everything, it is unusual for that cluster.
    global_ = _scale(near, median[around], fence.max(), rounding)
    median, fence = _medians_and_fences(sparsity, around, members, rounding)
    local = _scale(sparsity, median[around], fence[around], rounding)
    return {
        "anomaly_global": global_,
        "anomaly_group": _group_scores(clusters),
        "anomaly_local": local,
    }


def _scores_without_clusters(
    prepared: np.ndarray, graph: NeighborGraph, sparsity: np.ndarray, rounding: float
) -> dict[str, np.ndarray]:
    n = len(prepared)
    one, members = np.zeros(n, dtype=np.int32), np.ones(n, dtype=bool)
    far = _distances_to_mean(prepared)
    relative = _relative_sparsity(sparsity, graph, rounding)
    return {
        "anomaly_global": _scale(far, *_medians_and_fences(far, one, members, rounding), rounding),
        "anomaly_group": np.zeros(n),
        "anomaly_local": _scale(
            relative, *_medians_and_fences(relative, one, members, ROUNDING), ROUNDING
        ),
    }


def _kinds(scores: dict[str, np.ndarray]) -> pl.Series:
    codes = np.zeros(len(scores["anomaly_global"]), dtype=np.uint32)
    for code, kind in enumerate(KINDS):
        score = scores.get(f"anomaly_{kind.removeprefix('unlike_')}")
        if score is not None:
            codes[score > 1] = code
    return pl.Series(KINDS).gather(codes)


def _nearer_half(graph: NeighborGraph) -> NeighborGraph:
    """No more neighbours than half of the other points.

    With nearly all of them, the kth neighbour of every point would be the outlier.
    """
    k = max(1, min(graph.k, (len(graph.indices) - 1) // 2))
    return replace(graph, indices=graph.indices[:, :k], distances=graph.distances[:, :k])


def _sparsity(graph: NeighborGraph) -> np.ndarray:
    """(N,) mean reachability distance: to a neighbour, but no less than the neighbour's own kth.

    That maximum makes a group of up to k points as sparse as its surroundings, and evens out the
    chance closeness of pairs.
    """
    reach = np.maximum(graph.distances, graph.distances[:, -1][graph.indices])
    # Sums of float32 in float64 do not depend on their order, so ties stay ties.
    means = reach.mean(axis=1, dtype=np.float64).astype(np.float32)
    return np.asarray(means, dtype=np.float64)


def _relative_sparsity(sparsity: np.ndarray, graph: NeighborGraph, rounding: float) -> np.ndarray:
    """(N,) sparsity divided by the mean of the neighbours' (LOF, with its two means swapped)."""
    usual = np.maximum(sparsity[graph.indices].mean(axis=1), rounding)
    return np.asarray(sparsity / np.where(usual > 0, usual, 1))  # 0 only if all points are 0


def _nearest_centroids(prepared: np.ndarray, clusters: Clusters) -> tuple[np.ndarray, np.ndarray]:
    """(N,) distance to the nearest centroid of a cluster that is not small, and (N,) its number."""
    import faiss

    near = clusters.distances.astype(np.float64)
    around = clusters.labels.copy()
    small = _is_small(clusters.sizes)
    rows = np.flatnonzero(small[clusters.labels])
    if len(rows):
        others = np.flatnonzero(~small)  # never empty: the largest cluster has an even share
        _, found = faiss.knn(prepared[rows], clusters.centroids[others], 1)
        around[rows] = others[found[:, 0]]
        near[rows] = _lengths(prepared[rows] - clusters.centroids[around[rows]])
    return near, around


def _is_small(sizes: np.ndarray) -> np.ndarray:
    return np.asarray(sizes < SMALL_SHARE * sizes.sum() / len(sizes))


def _group_scores(clusters: Clusters) -> np.ndarray:
    sizes = clusters.sizes
    even = sizes.sum() / len(sizes)
    scores = (even / np.maximum(sizes, 1) - 1) / (1 / SMALL_SHARE - 1)
    scores[sizes < MIN_GROUP] = 0
    return np.asarray(scores[clusters.labels])


def _distances_to_mean(prepared: np.ndarray) -> np.ndarray:
    center = prepared.mean(axis=0, dtype=np.float64).astype(np.float32)
    return _lengths(prepared - center)


def _medians_and_fences(
    values: np.ndarray, groups: np.ndarray, members: np.ndarray, rounding: float
) -> tuple[np.ndarray, np.ndarray]:
    """Of the members' values in each group; (K,) each, -inf for a group without members.

    The fence is the median where the values differ by no more than rounding.
    """
    sizes = np.bincount(groups[members], minlength=groups.max() + 1)
    starts = np.cumsum(sizes) - sizes
    ordered = values[members][np.lexsort((values[members], groups[members]))]
    medians = _quantiles(ordered, starts, sizes, 0.5)
    spreads = _quantiles(ordered, starts, sizes, 0.75) - medians
    counts = np.bincount(groups, minlength=len(sizes))
    totals = np.bincount(groups, np.abs(values - medians[groups]), minlength=len(sizes))
    deviations = totals / np.maximum(counts, 1)
    spreads = np.where(spreads > rounding, spreads, QUARTILE_PER_MEAN_DEVIATION * deviations)
    spreads[spreads <= rounding] = 0
    medians[sizes == 0] = -np.inf
    return medians, medians + FENCE * spreads


def _scale(values: np.ndarray, zero: np.ndarray, one: np.ndarray, rounding: float) -> np.ndarray:
    """(N,) values moved and stretched to be 0 at `zero` and 1 at `one`; 0 where those are equal."""
    unit = one - zero
    return np.asarray((values - zero) / np.where(unit > rounding, unit, np.inf))


def _quantiles(
    ordered: np.ndarray, starts: np.ndarray, sizes: np.ndarray, share: float
) -> np.ndarray:
    """Quantile of each run `ordered[start : start + size]`, linear between neighbours."""
    position = share * np.maximum(sizes - 1, 0)
    low = np.floor(position).astype(np.int64)
    last = len(ordered) - 1  # an empty group may start past the end
    left = ordered[np.minimum(starts + low, last)]
    right = ordered[np.minimum(starts + np.minimum(low + 1, np.maximum(sizes - 1, 0)), last)]
    return np.asarray(left + (position - low) * (right - left))


def _share_below(values: np.ndarray) -> np.ndarray:
    """(N,) share of the other points whose value is smaller."""
    return np.searchsorted(np.sort(values), values) / (len(values) - 1)


def _reference_scores(
    prepared: np.ndarray, known: Reference, *, k: int, quantile: float
) -> np.ndarray:
    import faiss

    reference = known.vectors
    _check_reference(prepared, known, quantile)
    # As many neighbours on both sides: a reference vector has one fewer, not being its own.
    own = build_graph(reference, k=k, metric="euclidean")
    own_means = own.distances.mean(axis=1, dtype=np.float64)
    threshold = float(np.quantile(own_means, quantile))
    # Equal reference vectors give 0; then any difference above rounding counts.
    rounding = ROUNDING * max(_mean_length(reference), _mean_length(prepared))
    threshold = max(threshold, rounding) or 1.0  # all zero: no distance to divide
    offset = far_offset(reference)
    near, far = (prepared - offset, reference - offset) if offset.any() else (prepared, reference)
    _, found = faiss.knn(near, far, own.k)
    means = np.empty(len(prepared))
    step = max(1, 4_000_000 // (own.k * prepared.shape[1]))
    for start in range(0, len(prepared), step):
        rows = slice(start, start + step)
        # faiss subtracts squares, which loses small distances; differences keep them.
        difference = reference[found[rows]] - prepared[rows, None]
        squared = np.einsum("nkd,nkd->nk", difference, difference)
        means[rows] = np.sqrt(squared).mean(axis=1, dtype=np.float64)
    if known.rows is not None:
        means[known.rows] = own_means
    return means / threshold


def _check_reference(prepared: np.ndarray, known: Reference, quantile: float) -> None:
    reference, rows = known.vectors, known.rows
    if not 0 < quantile <= 1:
        raise OptionError(f"reference_quantile is {quantile}; expected above 0 and at most 1")
    if reference.ndim != 2 or reference.shape[1] != prepared.shape[1]:
        raise DataError(
            f"the reference has shape {reference.shape} but the points have "
            f"{prepared.shape[1]} values each; encode both in the same way"
        )
    if len(reference) < 2:
        raise DataError(
            f"the reference has {len(reference)} vectors; expected at least 2, better hundreds: "
            "give it more known normal items"
        )
    if rows is not None and (rows.shape != (len(prepared),) or rows.sum() != len(reference)):
        raise DataError(
            f"{int(rows.sum())} of {rows.shape} points are said to be the {len(reference)} "
            f"reference items; expected a mask over {len(prepared)} points with as many"
        )


def _mean_length(vectors: np.ndarray) -> float:
    return float(_lengths(vectors).mean())


def _lengths(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(np.einsum("nd,nd->n", vectors, vectors)), dtype=np.float64)
