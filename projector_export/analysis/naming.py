"""Readable names for clusters: what most members are called, or what the centroid is near to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from projector_export.analysis.clusters import Clusters
from projector_export.points import LABEL, Points, as_text

MOST_CHARS = 60


@dataclass(frozen=True, eq=False)
class NamedVectors:
    """Texts with a place among the points: zero-shot classes, or captions.

    Attributes:
        names: M texts.
        vectors: (M, D) float32 of unit length, from the points' own encoder.
    """

    names: Sequence[str]
    vectors: np.ndarray


def add_cluster_names(
    points: Points, clusters: Clusters, *, candidates: NamedVectors | None = None
) -> Points:
    """Add the column `cluster_name`, a different name for each cluster.

    The label that most members have, with the share of the members that have it, where labels
    repeat; else the candidate nearest to the centroid; else the label of the member nearest to it.

    Args:
        points: N points with the clusters' columns.
        clusters: their partition; centroids as (K, D) in the prepared space.
        candidates: texts that clusters may be named after.
    """
    labels = as_text(points.columns[LABEL]).str.strip_chars()
    k = len(clusters.centroids)
    if 2 <= labels.filter(labels != "").n_unique() <= len(points) / 2:
        names = _dominating_labels(labels, clusters)
    elif candidates is not None and len(candidates.names):
        # For unit vectors the largest product with the centroid is the smallest angle to it.
        nearest = (clusters.centroids @ candidates.vectors.T).argmax(axis=1)
        names = [_short(candidates.names[n]) for n in nearest]
    else:
        names = [""] * k
    for c, row in enumerate(_most_typical_rows(clusters)):
        names[c] = names[c] or _short(labels[int(row)]) or f"cluster {c}"
    unique = _tell_apart(names)
    return points.with_columns(pl.DataFrame({"cluster_name": [unique[c] for c in clusters.labels]}))


def _dominating_labels(labels: pl.Series, clusters: Clusters) -> list[str]:
    """Return each cluster's most frequent label with its share; empty where no member has one."""
    members = pl.DataFrame({"cluster": clusters.labels, "label": labels})
    counted = (
        members.filter(pl.col("label") != "")
        .group_by("cluster", "label", maintain_order=True)
        .len()
        .sort("len", "label", descending=[True, False])
        .unique("cluster", keep="first", maintain_order=True)
    )
    names = [""] * len(clusters.centroids)
    for cluster, label, number in counted.iter_rows():
        # Rounded down, so that 100 % means all.
        names[cluster] = f"{_short(label)} ({100 * number // int(clusters.sizes[cluster])} %)"
    return names


def _most_typical_rows(clusters: Clusters) -> np.ndarray:
    """(K,) the row nearest to each centroid."""
    order = np.lexsort((clusters.distances, clusters.labels))
    first = np.searchsorted(clusters.labels[order], np.arange(len(clusters.centroids)))
    return np.asarray(order[first])


def _tell_apart(names: Sequence[str]) -> list[str]:
    """Return the names, those that are there already with a number."""
    taken: set[str] = set()
    unique = []
    for name in names:
        candidate, number = name, 2
        while candidate in taken:
            candidate, number = f"{name} #{number}", number + 1
        taken.add(candidate)
        unique.append(candidate)
    return unique


def _short(text: str) -> str:
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= MOST_CHARS else line[: MOST_CHARS - 1] + "…"
