"""K-Means clusters, numbered from the largest down.

K-Means numbers its clusters anew each time; `follow_clusters` gives them the names that their
members had at an earlier time, so that a name, and its colour, stays with a group.

Above `SAMPLE_ROWS` the best of several starts is found on a seeded sample and refined on all rows.
Runs on one BLAS/OpenMP thread: with more, scikit-learn adds its partial sums in the order in which
threads finish, and the same seed can give other bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from projector_export.errors import DataError, OptionError
from projector_export.points import Points

if TYPE_CHECKING:
    from sklearn.cluster import KMeans

SAMPLE_ROWS = 10_000
N_STARTS = 10
AUTO_RANGE = (2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30)
AUTO_SAMPLE_ROWS = 3_000


@dataclass(frozen=True, eq=False)
class Clusters:
    """A partition of N points.

    Attributes:
        labels: (N,) int32, 0 is the largest cluster.
        centroids: (K, D) float32, in the prepared space.
        distances: (N,) float32 Euclidean distance to the own centroid, in the prepared space.
        silhouette: mean silhouette of the sample that chose K, or None when K was given.
        names: K different ones; by default cluster_00, cluster_01, ...
    """

    labels: np.ndarray
    centroids: np.ndarray
    distances: np.ndarray
    silhouette: float | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.names:
            names = tuple(_numbered_name(c) for c in range(len(self.centroids)))
            object.__setattr__(self, "names", names)

    @property
    def sizes(self) -> np.ndarray:
        """(K,) members of each cluster."""
        return np.bincount(self.labels, minlength=len(self.centroids))


def find_clusters(
    prepared: np.ndarray, *, n_clusters: int | Literal["auto"] = "auto", seed: int = 0
) -> Clusters:
    """Cluster prepared vectors with K-Means.

    Args:
        prepared: (N, D) float32 from `prepare_vectors`.
        n_clusters: 1 to N, or "auto": the K in `AUTO_RANGE` with the best mean silhouette on a
            sample (Rousseeuw 1987).
        seed: same seed and vectors give the same clusters.

    Returns:
        At most `n_clusters` clusters; fewer when there are fewer distinct vectors.

    Raises:
        OptionError: n_clusters is out of range.
    """
    from threadpoolctl import threadpool_limits

    n = len(prepared)
    if n_clusters != "auto" and not 1 <= n_clusters <= n:
        raise OptionError(
            f"clusters is {n_clusters} but there are {n} points; expected 1 to {n}, "
            "'auto' or 'none'"
        )
    with threadpool_limits(1):
        if n_clusters == "auto":
            wanted, silhouette = _choose_n_clusters(prepared, seed)
        else:
            wanted, silhouette = n_clusters, None
        k = min(wanted, _count_distinct(prepared, wanted))
        labels, centroids = _fit(prepared, k, seed)
    order = np.argsort(-np.bincount(labels, minlength=k), kind="stable")
    rank = np.empty(k, dtype=np.int32)
    rank[order] = np.arange(k, dtype=np.int32)
    labels, centroids = rank[labels], np.ascontiguousarray(centroids[order], dtype=np.float32)
    return Clusters(labels, centroids, _own_distances(prepared, labels, centroids), silhouette)


def follow_clusters(clusters: Clusters, earlier: pl.Series) -> Clusters:
    """Return the same clusters, called as their members were called before.

    Clusters and earlier names are matched one to one so that as many points as possible keep
    theirs; the rest take the lowest numbers that no earlier cluster has.

    Args:
        clusters: of N points.
        earlier: (N,) text, the column `cluster` of the same points at an earlier time; null where
            a point had none.

    Raises:
        DataError: the numbers of points differ.
    """
    from scipy.optimize import linear_sum_assignment

    if len(earlier) != len(clusters.labels):
        raise DataError(
            f"there are {len(clusters.labels)} points but {len(earlier)} earlier cluster names; "
            "give the names of the same points, in the same order"
        )
    old_names = sorted(earlier.drop_nulls().unique())
    numbers = {name: number for number, name in enumerate(old_names)}
    shared = np.zeros((len(clusters.names), len(old_names)), dtype=np.int64)
    for label, name in zip(clusters.labels, earlier, strict=True):
        if name is not None:
            shared[label, numbers[name]] += 1
    pairs = zip(*linear_sum_assignment(shared, maximize=True), strict=True)
    followed = {new: old_names[old] for new, old in pairs if shared[new, old]}
    free = (name for name in map(_numbered_name, count()) if name not in numbers)
    names = [followed.get(c) or next(free) for c in range(len(clusters.names))]
    return replace(clusters, names=tuple(names))


def _numbered_name(number: int) -> str:
    return f"cluster_{number:02d}"


def add_clusters(points: Points, clusters: Clusters) -> Points:
    """Add the columns `cluster` (text) and `cluster_distance` (in the analysis metric)."""
    return points.with_columns(
        pl.DataFrame(
            {
                "cluster": [clusters.names[c] for c in clusters.labels],
                "cluster_distance": clusters.distances,
            }
        )
    )


def _choose_n_clusters(prepared: np.ndarray, seed: int) -> tuple[int, float | None]:
    from sklearn.metrics import pairwise_distances, silhouette_score

    sample = _sample_rows(prepared, AUTO_SAMPLE_ROWS, seed)
    distinct = _count_distinct(sample, AUTO_RANGE[-1] + 1)
    distances = pairwise_distances(sample)
    np.fill_diagonal(distances, 0)
    scores: dict[int, float] = {}
    for n_clusters in AUTO_RANGE:
        # Silhouette needs a cluster fewer than there are distinct points.
        if n_clusters > min(distinct, len(sample) - 1):
            break
        labels = _kmeans(n_clusters, 3, seed).fit(sample).labels_
        scores[n_clusters] = float(silhouette_score(distances, labels, metric="precomputed"))
    if not scores:
        return 1, None
    best = max(scores, key=scores.__getitem__)
    return best, scores[best]


def _fit(prepared: np.ndarray, n_clusters: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    sample = _sample_rows(prepared, SAMPLE_ROWS, seed)
    if _count_distinct(sample, n_clusters) < n_clusters:
        sample = prepared
    best = _kmeans(n_clusters, N_STARTS, seed).fit(sample)
    if len(sample) < len(prepared):
        best = _kmeans(n_clusters, 1, seed, init=best.cluster_centers_).fit(prepared)
    return best.labels_, best.cluster_centers_


def _kmeans(n_clusters: int, starts: int, seed: int, init: np.ndarray | None = None) -> KMeans:
    from sklearn.cluster import KMeans

    return KMeans(
        n_clusters, init="k-means++" if init is None else init, n_init=starts, random_state=seed
    )


def _sample_rows(prepared: np.ndarray, most: int, seed: int) -> np.ndarray:
    if len(prepared) <= most:
        return prepared
    rows = np.random.default_rng(seed).choice(len(prepared), most, replace=False)
    return prepared[np.sort(rows)]


def _count_distinct(vectors: np.ndarray, enough: int) -> int:
    """Count distinct rows, stopping at `enough`."""
    seen: set[bytes] = set()
    for row in vectors:
        seen.add((row + 0.0).tobytes())  # -0.0 becomes 0.0
        if len(seen) >= enough:
            break
    return len(seen)


def _own_distances(prepared: np.ndarray, labels: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    distances = np.empty(len(prepared), dtype=np.float32)
    for start in range(0, len(prepared), 8192):
        rows = slice(start, start + 8192)
        difference = prepared[rows] - centroids[labels[rows]]
        distances[rows] = np.sqrt(np.einsum("nd,nd->n", difference, difference))
    return distances
