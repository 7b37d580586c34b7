"""K-Means clusters: numbered from the largest down, seeded, and chosen where none are given."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.cluster import KMeans

from projector_export.analysis import clusters as module
from projector_export.analysis.clusters import (
    Clusters,
    add_clusters,
    find_clusters,
    follow_clusters,
)
from projector_export.errors import DataError, OptionError
from projector_export.points import Points

# Three heaps, of 2, 4 and 3 points.
HEAPS = np.array(
    [[0, 0], [0, 1], [9, 9], [9, 10], [10, 9], [10, 10], [-9, 5], [-9, 6], [-9, 7]],
    dtype=np.float32,
)


def _blobs(sizes: list[int], dims: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return well separated heaps of these sizes, shuffled, and the heap of each row."""
    rng = np.random.default_rng(seed)
    heap = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centres = 20 * np.eye(len(sizes), dims)
    vectors = centres[heap] + rng.standard_normal((len(heap), dims))
    return vectors.astype(np.float32), heap


def _inertia(vectors: np.ndarray, clusters: Clusters) -> float:
    difference = vectors.astype(np.float64) - clusters.centroids[clusters.labels]
    return float(np.square(difference).sum())


def test_literal_heaps_are_found_and_numbered_from_the_largest() -> None:
    """`labels`: 0 is the largest cluster; centroids and distances fit them."""
    found = find_clusters(HEAPS, n_clusters=3)
    assert found.labels.tolist() == [2, 2, 0, 0, 0, 0, 1, 1, 1]
    assert found.labels.dtype == np.int32
    assert found.sizes.tolist() == [4, 3, 2]
    np.testing.assert_allclose(found.centroids, [[9.5, 9.5], [-9, 6], [0, 0.5]], atol=1e-6)
    half = 0.5**0.5
    expected = [0.5, 0.5, half, half, half, half, 1, 0, 1]
    np.testing.assert_allclose(found.distances, expected, atol=1e-6)
    assert found.silhouette is None


def test_permuting_points_permutes_the_labels() -> None:
    """Permuting the items permutes every output."""
    vectors, _ = _blobs([50, 40, 30, 20])
    order = np.random.default_rng(5).permutation(140)
    whole, moved = find_clusters(vectors, n_clusters=4), find_clusters(vectors[order], n_clusters=4)
    np.testing.assert_array_equal(moved.labels, whole.labels[order])
    np.testing.assert_allclose(moved.distances, whole.distances[order], rtol=1e-4)


@pytest.mark.parametrize("n_clusters", [7, "auto"])
def test_the_same_seed_gives_the_same_bytes(n_clusters: int) -> None:
    """Same seed and vectors give the same clusters."""
    vectors = np.random.default_rng(0).standard_normal((400, 6)).astype(np.float32)
    first, second = (find_clusters(vectors, n_clusters=n_clusters, seed=4) for _ in range(2))
    assert first.labels.tobytes() == second.labels.tobytes()
    assert first.centroids.tobytes() == second.centroids.tobytes()
    assert first.distances.tobytes() == second.distances.tobytes()
    assert first.silhouette == second.silhouette


def test_auto_finds_four_of_four_clear_blobs() -> None:
    """'auto': the K with the best mean silhouette (Rousseeuw 1987)."""
    vectors, heap = _blobs([60, 50, 40, 30])
    found = find_clusters(vectors)
    assert found.sizes.tolist() == [60, 50, 40, 30]
    np.testing.assert_array_equal(found.labels, heap)
    assert found.silhouette is not None
    assert 0.7 < found.silhouette < 1


@pytest.mark.parametrize(
    ("vectors", "n_clusters", "sizes"),
    [
        ([[1, 1], [1, 1], [2, 2], [1, 1], [3, 3]], 5, [3, 1, 1]),
        ([[0.0, 1], [-0.0, 1], [2, 2]], 3, [2, 1]),
        ([[1, 1]] * 5, 3, [5]),
        ([[1, 1]] * 5, 1, [5]),
        ([[1, 1]] * 5, "auto", [5]),
        ([[0, 0]] * 5, "auto", [5]),
        ([[1, 0], [0, 1]], "auto", [2]),
        ([[1, 0], [0, 1]], 2, [1, 1]),
        ([[1, 0], [0, 1]], 1, [2]),
        ([[1, 0], [9, 9], [0, 1]], "auto", [2, 1]),
    ],
)
def test_few_distinct_points_give_fewer_clusters(
    vectors: list[list[float]], n_clusters: int, sizes: list[int]
) -> None:
    """At most `n_clusters` clusters; fewer when there are fewer distinct vectors."""
    found = find_clusters(np.array(vectors, dtype=np.float32), n_clusters=n_clusters)
    assert found.sizes.tolist() == sizes
    assert len(found.centroids) == len(sizes)
    assert np.isfinite(found.distances).all()


@pytest.mark.parametrize("n_clusters", [0, -1, 10, 500])
def test_a_number_out_of_range_is_refused(n_clusters: int) -> None:
    """OptionError: n_clusters is out of range; says which range."""
    with pytest.raises(
        OptionError, match=rf"clusters is {n_clusters} but there are 9 points; expected 1 to 9"
    ):
        find_clusters(HEAPS, n_clusters=n_clusters)


def test_a_sample_loses_less_than_one_percent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above `SAMPLE_ROWS` the best of several starts is found on a sample, refined on all rows."""
    rng = np.random.default_rng(4)  # a single start on all rows misses the best by 17 % here
    centres = 8 * rng.standard_normal((20, 6))
    vectors = (centres[rng.integers(0, 20, 3_000)] + rng.standard_normal((3_000, 6))).astype("f4")
    monkeypatch.setattr(module, "SAMPLE_ROWS", 1_000)
    found = find_clusters(vectors, n_clusters=20)
    best = KMeans(20, n_init=10, random_state=0).fit(vectors).inertia_
    assert _inertia(vectors, found) <= 1.01 * best
    assert len(found.labels) == 3_000
    assert found.sizes.tolist() == sorted(found.sizes.tolist(), reverse=True)


def test_every_point_is_in_the_cluster_of_its_nearest_centroid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`distances`: to the own centroid, which is the nearest one."""
    monkeypatch.setattr(module, "SAMPLE_ROWS", 200)
    vectors, _ = _blobs([300, 200, 100])
    found = find_clusters(vectors, n_clusters=3)
    to_all = np.linalg.norm(vectors[:, None] - found.centroids[None], axis=2)
    np.testing.assert_array_equal(found.labels, to_all.argmin(axis=1))
    np.testing.assert_allclose(found.distances, to_all.min(axis=1), rtol=1e-4)


def test_a_sample_with_few_distinct_points_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Distinct vectors count in all rows; a sample may hold fewer of them than K."""
    monkeypatch.setattr(module, "SAMPLE_ROWS", 100)
    vectors = np.zeros((300, 2), dtype=np.float32)
    vectors[:10] = np.arange(20).reshape(10, 2) + 1
    found = find_clusters(vectors, n_clusters=11)
    assert found.sizes.sum() == 300
    assert found.sizes[0] >= 290
    assert len(found.sizes) <= 11


def test_more_clusters_than_sampled_rows_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """`n_clusters`: 1 to N, also above the size of the sample."""
    monkeypatch.setattr(module, "SAMPLE_ROWS", 50)
    vectors = np.random.default_rng(0).standard_normal((120, 2)).astype(np.float32)
    found = find_clusters(vectors, n_clusters=80)
    assert found.sizes.sum() == 120
    assert 2 <= len(found.sizes) <= 80


def test_columns_name_the_clusters() -> None:
    """`cluster`: cluster_00 ..., largest first, text; `cluster_distance`: to the own centroid."""
    points = add_clusters(Points(HEAPS), find_clusters(HEAPS, n_clusters=3))
    names = ["cluster_02"] * 2 + ["cluster_00"] * 4 + ["cluster_01"] * 3
    assert points.columns["cluster"].to_list() == names
    assert points.columns["cluster_distance"][:2].to_list() == [0.5, 0.5]
    assert points.columns["cluster_distance"].dtype == pl.Float32
    assert points.columns.columns == ["label", "cluster", "cluster_distance"]


def _clusters(labels: list[int]) -> Clusters:
    n_clusters = max(labels) + 1
    centroids = np.zeros((n_clusters, 2), dtype=np.float32)
    distances = np.zeros(len(labels), dtype=np.float32)
    return Clusters(np.array(labels, dtype=np.int32), centroids, distances)


def _names(clusters: Clusters) -> list[str]:
    """Return the last digits of each point's name."""
    return [clusters.names[c].removeprefix("cluster_") for c in clusters.labels]


def _earlier(digits: str) -> pl.Series:
    return pl.Series("cluster", [f"cluster_{name}" for name in digits.split()])


def test_names_are_numbers_by_default() -> None:
    """`names`: by default cluster_00, cluster_01, ..."""
    assert _clusters([1, 0, 2]).names == ("cluster_00", "cluster_01", "cluster_02")
    assert _clusters(list(range(101))).names[100] == "cluster_100"


def test_the_column_holds_the_names() -> None:
    """`cluster` is the name of each point's cluster."""
    points = add_clusters(
        Points(HEAPS[:3]), follow_clusters(_clusters([1, 0, 0]), _earlier("03 07 07"))
    )
    assert points.columns["cluster"].to_list() == ["cluster_03", "cluster_07", "cluster_07"]


@pytest.mark.parametrize(
    ("labels", "earlier", "expected"),
    [
        pytest.param(
            [2, 2, 0, 0, 1], "00 00 01 01 02", "00 00 01 01 02", id="renumbered by K-Means"
        ),
        pytest.param(
            [0, 0, 0, 1, 1, 2], "05 05 05 05 05 00", "05 05 05 01 01 00", id="split: larger keeps"
        ),
        pytest.param(
            [1, 1, 0, 0, 0], "00 00 00 00 00", "01 01 00 00 00", id="split: not the first number"
        ),
        pytest.param([0, 0, 0, 1], "00 01 01 02", "01 01 01 02", id="merge: larger's name"),
        pytest.param([0, 0, 0, 0], "00 01 01 02", "01 01 01 01", id="all merge"),
        pytest.param([0, 0, 1, 1], "04 04 02 02", "04 04 02 02", id="a name disappeared"),
        pytest.param(
            # 3 + 3 points keep their names; matched by the largest overlap first, 4 would.
            [0, 0, 0, 0, 0, 0, 0, 1, 1, 1],
            "00 00 00 00 01 01 01 00 00 00", "01 01 01 01 01 01 01 00 00 00",
            id="most points in all",
        ),
        pytest.param([0, 1, 2], "07 07 07", "07 00 01", id="lowest free numbers"),
        pytest.param([0, 0, 1], "00 00 00", "00 00 01", id="a new one"),
    ],
)  # fmt: skip
def test_names_follow_the_members(labels: list[int], earlier: str, expected: str) -> None:
    """Matched one to one so that as many points as possible keep their name."""
    followed = follow_clusters(_clusters(labels), _earlier(earlier))
    assert _names(followed) == expected.split()
    assert len(set(followed.names)) == len(followed.names)


def test_a_new_cluster_takes_no_name_of_the_earlier_step() -> None:
    """The rest take the lowest numbers that no earlier cluster has, also of one that is gone."""
    earlier = pl.Series(["cluster_00", "cluster_01", None, "cluster_00"])
    # Cluster 1's only member had no name; cluster_01 lost its member to cluster_00.
    followed = follow_clusters(_clusters([0, 0, 1, 0]), earlier)
    assert _names(followed) == ["00", "00", "02", "00"]


def test_a_pair_without_a_common_member_is_no_match() -> None:
    """The assignment pairs all it can; a pair that shares no point keeps no name."""
    followed = follow_clusters(_clusters([0, 1]), pl.Series(["cluster_05", None], dtype=pl.String))
    assert _names(followed) == ["05", "00"]
    followed = follow_clusters(_clusters([0, 0, 1]), _earlier("01 02 02"))
    assert _names(followed) == ["01", "01", "02"]


def test_following_changes_names_alone() -> None:
    """The same clusters."""
    before = find_clusters(HEAPS, n_clusters=3)
    after = follow_clusters(before, _earlier("01 01 02 02 02 02 00 00 00"))
    assert after.names == ("cluster_02", "cluster_00", "cluster_01")
    assert after.labels is before.labels
    assert after.centroids is before.centroids
    assert after.distances is before.distances


def test_following_does_not_depend_on_the_order_of_points() -> None:
    """Permuting the items permutes every output."""
    rng = np.random.default_rng(2)
    labels = np.sort(rng.integers(0, 6, 90)).tolist()
    earlier = pl.Series([f"cluster_{c:02d}" for c in rng.integers(0, 8, 90)])
    order = rng.permutation(90)
    whole = _names(follow_clusters(_clusters(labels), earlier))
    moved = follow_clusters(_clusters([labels[i] for i in order]), earlier.gather(order.tolist()))
    assert _names(moved) == [whole[i] for i in order]
    for tie in ("01 00", "00 01"):
        assert _names(follow_clusters(_clusters([0, 0]), _earlier(tie))) == ["00", "00"]


def test_names_of_other_points_are_refused() -> None:
    """DataError: the numbers of points differ."""
    with pytest.raises(DataError, match="there are 2 points but 3 earlier cluster names"):
        follow_clusters(_clusters([0, 1]), _earlier("00 00 01"))
