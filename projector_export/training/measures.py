"""Numbers that say in one curve what the pictures of a training show: pure, and read from arrays.

k-nearest-neighbour accuracy and silhouette tell whether labels come apart, the effective rank
whether the vectors collapse onto few directions.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from projector_export.analysis.anomalies import KINDS
from projector_export.analysis.naming import labels_repeat
from projector_export.analysis.neighbors import Metric, NeighborGraph
from projector_export.points import as_text

SILHOUETTE_POINTS = 10_000
"""Silhouettes compare every point with every other: 10,000 x 512 take seconds, 100,000 minutes."""
_ROUNDING = 2 * float(np.finfo(np.float32).eps)
_CHUNK_VALUES = 16_000_000
_COINCIDES = 1e-11
"""Mean cosine distances below are 0: thousands of float64 products are exact to less."""


def label_accuracy(labels: pl.Series, graph: NeighborGraph) -> float | None:
    """Return the leave-one-out accuracy, 0 to 1, of guessing labels from the nearest neighbours.

    The share of points whose label is the most frequent among the graph's k neighbours; of labels
    that are equally frequent, the one with the nearest neighbour is guessed. Points without a
    label are not judged and do not vote; a point none of whose neighbours has a label is guessed
    wrong, and so is one whose label nobody else has.

    Args:
        labels: N, of any type; missing and blank ones are no labels.
        graph: of the same N points.

    Returns:
        None where labels do not repeat (see `label_codes`).
    """
    codes = label_codes(labels)
    if codes is None:
        return None
    right = 0
    step = max(1, _CHUNK_VALUES // graph.k**2)
    for start in range(0, len(codes), step):
        votes = codes[graph.indices[start : start + step]]
        counts = (votes[:, :, None] == votes[:, None, :]).sum(axis=2)
        counts[votes < 0] = 0
        # The first of equal maxima is the nearest neighbour's.
        winner = counts.argmax(axis=1)[:, None]
        guessed = np.take_along_axis(votes, winner, axis=1)[:, 0]
        own = codes[start : start + step]
        right += int(np.count_nonzero((guessed == own) & (own >= 0)))
    return right / int(np.count_nonzero(codes >= 0))


def label_silhouette(
    labels: pl.Series, vectors: np.ndarray, metric: Metric, *, seed: int = 0
) -> float | None:
    """Return the mean silhouette of the labels, -1 to 1 (Rousseeuw 1987), computed in float64.

    Equal to `sklearn.metrics.silhouette_score` over all points with a label, up to
    `SILHOUETTE_POINTS` of them; above, over that many drawn with the seed. As there, a point whose
    label nobody else (of the sample) has counts 0.

    Args:
        labels: N, of any type; points whose label is missing or blank are left out.
        vectors: (N, D), as they were recorded or prepared.
        metric: cosine takes 1 - cosine for distance.
        seed: of the sample.

    Returns:
        None where labels do not repeat (see `label_codes`), or not within the sample.
    """
    codes = label_codes(labels)
    if codes is None:
        return None
    rows = np.flatnonzero(codes >= 0)
    if len(rows) > SILHOUETTE_POINTS:
        rng = np.random.default_rng(seed)
        rows = np.sort(rng.choice(rows, SILHOUETTE_POINTS, replace=False))
    if not 2 <= len(np.unique(codes[rows])) < len(rows):
        return None
    sample = vectors[rows].astype(np.float64)
    if metric == "cosine":
        return _cosine_silhouette(sample, codes[rows])
    from sklearn import config_context
    from sklearn.metrics import silhouette_score

    # Distances are found from squares, whose digits a far offset would use up.
    sample -= sample.mean(axis=0)
    with config_context(working_memory=128):  # MB, at a time
        return float(silhouette_score(sample, codes[rows], metric=metric))


def _cosine_silhouette(vectors: np.ndarray, codes: np.ndarray) -> float:
    """Return the mean silhouette without any pair of points.

    A point's cosines with a whole class add up to its product with the sum of that class's unit
    vectors, so that N x classes products do the work of N x N.
    """
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(norms > 0, norms, 1)
    _, classes, sizes = np.unique(codes, return_inverse=True, return_counts=True)
    order = np.argsort(classes, kind="stable")
    sums = np.add.reduceat(unit[order], np.cumsum(sizes) - sizes)
    total = 0.0
    step = max(1, 4_000_000 // len(sizes))
    for start in range(0, len(unit), step):
        part, own = unit[start : start + step], classes[start : start + step]
        rows = np.arange(len(part))
        distances = sizes - part @ sums.T
        # A point is at distance 0 from itself; one of length 0 is at 1 from all others.
        others = sizes[own] - 1
        itself = 1 - np.einsum("nd,nd->n", part, part)
        within = (distances[rows, own] - itself) / np.maximum(others, 1)
        distances /= sizes
        distances[rows, own] = np.inf
        nearest = distances.min(axis=1)
        # Sums of equal vectors leave rounding where the distance is 0.
        within, nearest = (np.where(d > _COINCIDES, d, 0) for d in (within, nearest))
        largest = np.maximum(within, nearest)
        known = (others > 0) & (largest > 0)
        total += float(((nearest - within)[known] / largest[known]).sum())
    return total / len(unit)


def label_codes(labels: pl.Series) -> np.ndarray | None:
    """Return (N,) int64, equal numbers for equal labels and -1 for none.

    None where labels do not repeat, by the rule of `labels_repeat`, or where no two of the points
    with a label share one.
    """
    texts = as_text(labels).str.strip_chars()
    if not labels_repeat(texts) or texts.filter(texts != "").is_unique().all():
        return None
    codes = texts.rank("dense").cast(pl.Int64).to_numpy().copy()
    codes[(texts == "").to_numpy()] = -1
    return codes


def effective_rank(vectors: np.ndarray) -> float:
    """Return the participation ratio, 0 to D: along how many directions the vectors spread.

    (sum of l)^2 / sum of l^2 over the eigenvalues l of the covariance, which are traces of the
    covariance and its square; 1 when all vectors lie on a line, D when they spread alike in all
    directions, and 0 when all are equal. Columns that vary by no more than rounding in float32
    count as constant, since the noise of a collapsed model looks like many directions.

    Args:
        vectors: (N, D) of any real type, also far from the origin.
    """
    low, high = vectors.min(axis=0).astype(np.float64), vectors.max(axis=0).astype(np.float64)
    varies = high - low > _ROUNDING * np.maximum(np.abs(low), np.abs(high))
    if not varies.any():
        return 0.0
    mean = vectors.mean(axis=0, dtype=np.float64)
    n, n_dims = len(vectors), int(np.count_nonzero(varies))
    gram = np.zeros((min(n, n_dims),) * 2)
    for block in _centred_blocks(vectors, mean, varies):
        gram += block.T @ block if n_dims <= n else block @ block.T
    return float(np.trace(gram) ** 2 / np.square(gram).sum())


def _centred_blocks(
    vectors: np.ndarray, mean: np.ndarray, varies: np.ndarray
) -> Iterator[np.ndarray]:
    """Blocks of rows where these are more, else of columns, so that the smaller Gram sums up."""
    columns = np.flatnonzero(varies)
    n, n_dims = len(vectors), len(columns)
    if n_dims <= n:
        step = max(1, _CHUNK_VALUES // n_dims)
        for start in range(0, n, step):
            yield vectors[start : start + step][:, columns] - mean[columns]
    else:
        step = max(1, _CHUNK_VALUES // n)
        for start in range(0, n_dims, step):
            some = columns[start : start + step]
            yield vectors[:, some] - mean[some]


def anomaly_share(columns: pl.DataFrame) -> float | None:
    """Return the share, 0 to 1, of points whose `anomaly_kind` is not normal; None without it."""
    if "anomaly_kind" not in columns.columns or not columns.height:
        return None
    return float((columns["anomaly_kind"] != KINDS[0]).to_numpy().mean())
