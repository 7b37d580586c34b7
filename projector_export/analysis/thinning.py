"""Which points the browser gets when there are more than it takes. Analyses always use all."""

from __future__ import annotations

import numpy as np
import polars as pl


def choose_rows(columns: pl.DataFrame, most: int, *, seed: int = 0) -> np.ndarray:
    """Return at most `most` row numbers in ascending order.

    Every point of an anomalous kind and of a duplicate group is kept while they fit (the most
    unusual first); the rest are filled up with an even share of each cluster.

    Args:
        columns: N rows; `anomaly`, `anomaly_kind`, `duplicate_group` and `cluster` are used where
            they exist.
        most: at least 1.
        seed: of the choice within the clusters.
    """
    n = columns.height
    if n <= most:
        return np.arange(n)
    order = np.random.default_rng(seed).permutation(n)
    marked = np.zeros(n, dtype=bool)
    for column, plain in (("anomaly_kind", "normal"), ("duplicate_group", "unique")):
        if column in columns.columns:
            marked |= (columns[column] != plain).to_numpy()
    keep = np.flatnonzero(marked)
    if len(keep) > most:
        score = columns["anomaly"].to_numpy() if "anomaly" in columns.columns else np.zeros(n)
        keep = keep[np.argsort(-score[keep], kind="stable")][:most]
        return np.sort(keep)
    others = order[~marked[order]]
    if "cluster" in columns.columns:
        # The place of a point among its cluster's, as a share of the cluster: taking the lowest
        # places takes the same share of each.
        codes = columns["cluster"].rank("dense").to_numpy().astype(np.int64)[others] - 1
        by_cluster = np.argsort(codes, kind="stable")
        sizes = np.bincount(codes)
        starts = np.cumsum(sizes) - sizes
        place = np.empty(len(others))
        place[by_cluster] = np.arange(len(others)) - starts[codes[by_cluster]]
        others = others[np.argsort((place + 0.5) / sizes[codes], kind="stable")]
    return np.sort(np.concatenate([keep, others[: most - len(keep)]]))
