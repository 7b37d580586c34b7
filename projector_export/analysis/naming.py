"""Readable names for clusters: what most members are called, or what the centroid is near to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    named = points.columns
    names = names_by_labels(named[LABEL], named["cluster"], named["cluster_distance"])
    if names is None:
        found = {}
        if candidates is not None and len(candidates.names):
            # For unit vectors the largest product with the centroid is the smallest angle to it.
            nearest = (clusters.centroids @ candidates.vectors.T).argmax(axis=1)
            _, members = np.unique(clusters.labels, return_index=True)
            found = {
                named["cluster"][int(row)]: _short(candidates.names[n])
                for row, n in zip(members, nearest, strict=True)
            }
        names = _name_points(found, named[LABEL], named["cluster"], named["cluster_distance"])
    return points.with_columns(names.to_frame())


def labels_repeat(labels: pl.Series) -> bool:
    """Whether labels name classes: 2 to N/2 of N differ, blank ones not counted."""
    texts = as_text(labels).str.strip_chars()
    return 2 <= texts.filter(texts != "").n_unique() <= len(texts) / 2


def names_by_labels(
    labels: pl.Series, clusters: pl.Series, distances: pl.Series
) -> pl.Series | None:
    """Return each point's `cluster_name` by the labels alone, or None where labels do not repeat.

    Args:
        labels: N, of any type.
        clusters: N names.
        distances: N, to the own centroid.
    """
    texts = as_text(labels).str.strip_chars()
    if not labels_repeat(texts):
        return None
    members = pl.DataFrame({"cluster": clusters, "label": texts})
    counted = (
        members.filter(pl.col("label") != "")
        .group_by("cluster", "label")
        .len()
        .sort("len", "label", descending=[True, False])
        .unique("cluster", keep="first", maintain_order=True)
    )
    sizes = dict(members.group_by("cluster").len().iter_rows())
    # Rounded down, so that 100 % means all.
    found = {
        cluster: f"{_short(label)} ({100 * number // sizes[cluster]} %)"
        for cluster, label, number in counted.iter_rows()
    }
    return _name_points(found, labels, clusters, distances)


def _name_points(
    found: Mapping[str, str], labels: pl.Series, clusters: pl.Series, distances: pl.Series
) -> pl.Series:
    """Return each point's name; a cluster without one is called as its most typical member is."""
    frame = pl.DataFrame({"cluster": clusters, "label": as_text(labels), "distance": distances})
    typical = frame.sort("distance", maintain_order=True).unique("cluster", keep="first")
    labels_of = dict(typical.select("cluster", "label").iter_rows())
    order = sorted(labels_of, key=lambda cluster: (len(cluster), cluster))  # 99 before 100
    names = [
        found.get(cluster) or _short(labels_of[cluster]) or cluster.replace("_", " ")
        for cluster in order
    ]
    by_cluster = dict(zip(order, _tell_apart(names), strict=True))
    return pl.Series("cluster_name", [by_cluster[cluster] for cluster in clusters])


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
