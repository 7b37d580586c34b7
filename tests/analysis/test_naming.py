"""Cluster names: what members are called, what the centroid is near to, or its nearest member."""

from __future__ import annotations

import numpy as np
import polars as pl

from projector_export.analysis.clusters import Clusters, add_clusters
from projector_export.analysis.naming import NamedVectors, add_cluster_names
from projector_export.points import Points

LABELS = np.array([0, 0, 0, 1, 1, 1, 2, 2], dtype=np.int32)
DISTANCES = np.array([3, 1, 2, 0.5, 2, 1, 1, 1], dtype=np.float32)
CENTROIDS = np.array([[1, 0], [0, 1], [-1, 0]], dtype=np.float32)
CLUSTERS = Clusters(LABELS, CENTROIDS, DISTANCES)


def _names(labels: list[str | None], candidates: NamedVectors | None = None) -> list[str]:
    points = Points(CENTROIDS[LABELS], pl.DataFrame({"label": labels}))
    named = add_cluster_names(add_clusters(points, CLUSTERS), CLUSTERS, candidates=candidates)
    assert named.columns.columns == ["label", "cluster", "cluster_distance", "cluster_name"]
    return named.columns["cluster_name"].to_list()


def test_the_dominating_label_is_named_with_its_share() -> None:
    """Its dominating label with purity where labels exist; the share is rounded down."""
    names = _names(["cat", "cat", "dog", "アジ", "アジ", "アジ", "dog", "cat"])
    assert names == ["cat (66 %)"] * 3 + ["アジ (100 %)"] * 3 + ["cat (50 %)"] * 2


def test_missing_labels_count_against_the_share() -> None:
    """A label that a third of the members have is not 100 %."""
    names = _names(["cat", "", None, "cat", "cat", "dog", "", " "])
    assert names[0] == "cat (33 %)"
    assert names[3] == "cat (66 %)"
    assert names[6] == "cluster 02"  # no member has a label


def test_two_clusters_of_one_label_have_different_names() -> None:
    """The column is coloured by: one name for two clusters would merge them."""
    names = _names(["cat", "cat", "cat", "cat", "cat", "cat", "dog", "dog"])
    assert [names[0], names[3], names[6]] == ["cat (100 %)", "cat (100 %) #2", "dog (100 %)"]


def test_without_repeated_labels_the_nearest_class_names_the_cluster() -> None:
    """Else the zero-shot class or text prompt nearest to its centroid."""
    candidates = NamedVectors(
        ["up", "left", "right"], np.array([[0, 1], [-1, 0], [1, 0]], dtype=np.float32)
    )
    names = _names([f"item {i}" for i in range(8)], candidates)
    assert [names[0], names[3], names[6]] == ["right", "up", "left"]


def test_without_any_names_the_most_typical_member_does() -> None:
    """Else its most typical item's label: the member nearest to the centroid."""
    names = _names([f"item {i}" for i in range(8)])
    assert [names[0], names[3], names[6]] == ["item 1", "item 3", "item 6"]


def test_one_label_for_all_says_nothing() -> None:
    """A label that every point has tells no cluster from another."""
    candidates = NamedVectors(["up", "right"], np.array([[0, 1], [1, 0]], dtype=np.float32))
    assert _names(["fish"] * 8, candidates)[0] == "right"


def test_a_name_is_one_short_line() -> None:
    """Names become titles and file names."""
    names = _names(["a\n\tb " + "x" * 100, *(f"i{n}\n" for n in range(7))])
    assert all(name.isprintable() and len(name) <= 60 for name in names)


def test_permuting_the_items_permutes_the_names() -> None:
    """Rows never slip."""
    labels = ["cat", "cat", "dog", "eel", "eel", "eel", "dog", "cat"]
    order = np.array([5, 2, 7, 0, 1, 6, 3, 4])
    points = Points(CENTROIDS[LABELS[order]], pl.DataFrame({"label": labels})[order])
    clusters = Clusters(LABELS[order], CENTROIDS, DISTANCES[order])
    named = add_cluster_names(add_clusters(points, clusters), clusters)
    expected = _names(labels)
    assert named.columns["cluster_name"].to_list() == [expected[i] for i in order]
