"""Label accuracy, silhouette and effective rank, against direct computations and literal values."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
import pytest

from projector_export.analysis.naming import names_by_labels
from projector_export.analysis.neighbors import Metric, NeighborGraph, build_graph, prepare_vectors
from projector_export.training import measures
from projector_export.training.measures import (
    anomaly_share,
    effective_rank,
    label_accuracy,
    label_codes,
    label_silhouette,
)


def _graph(neighbors: list[list[int]]) -> NeighborGraph:
    indices = np.array(neighbors, dtype=np.int32)
    return NeighborGraph(indices, np.ones(indices.shape, dtype=np.float32), "cosine", 1.0)


def _blobs(n: int, dims: int, seed: int, spread: float = 1.0) -> tuple[np.ndarray, list[str]]:
    """N points around four centres, and the names of these."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 4, n)
    vectors = rng.standard_normal((4, dims))[kinds] + spread * rng.standard_normal((n, dims))
    return vectors.astype(np.float32), [f"kind {kind}" for kind in kinds]


class TestAccuracy:
    """The share of points whose label is the most frequent among its neighbours."""

    def test_the_most_frequent_label_is_guessed(self) -> None:
        """Three points of six have more neighbours of their own label than of another."""
        labels = pl.Series(["a", "a", "a", "b", "b", "b"])
        neighbors = [[1, 2, 3], [0, 3, 4], [0, 1, 5], [4, 5, 0], [0, 1, 2], [0, 2, 3]]
        #             a a b      a b b      a a b      b b a      a a a      a a b
        assert label_accuracy(labels, _graph(neighbors)) == 3 / 6

    def test_ties_go_to_the_label_whose_nearest_neighbour_is_nearest(self) -> None:
        """Two of each: the nearest neighbour decides, whichever label comes first by name."""
        labels = pl.Series(["a", "a", "b", "b", "a", "b"])
        neighbors = [[1, 2, 3, 4], [2, 3, 0, 4], [3, 0, 1, 5], [0, 2, 5, 1]] + [[0, 1, 2, 3]] * 2
        #             a b b a      b b a a      b a a b      a b b a      a a b b
        right = [True, False, True, False, True, False]
        assert label_accuracy(labels, _graph(neighbors)) == sum(right) / 6

    def test_a_tie_is_not_won_by_a_less_frequent_nearest_label(self) -> None:
        """Once c, the nearest, but twice b and a, of which b is nearer."""
        labels = pl.Series(["b", "c", "b", "b", "a", "a", "c", "b"])
        graph = _graph([[1, 2, 4, 3, 5], *[[2, 3, 4, 5, 0]] * 7])
        #               c b a b a          b b a a b: b is right for rows 2, 3, 7 and for 0
        assert label_accuracy(labels, graph) == 4 / 8

    def test_missing_labels_neither_vote_nor_are_judged(self) -> None:
        """Three blank neighbours do not outvote one; blank points are not counted."""
        labels = pl.Series(["a", "a", "b", "b", None, "", " ", "b"])
        neighbors = [[4, 5, 6, 1], [4, 5, 6, 0], [4, 5, 6, 1], [4, 5, 6, 4], [5, 6, 5, 6]]
        graph = _graph([*neighbors, [0, 1, 2, 3], [4, 5, 4, 5], [4, 2, 5, 6]])
        assert label_accuracy(labels, graph) == 3 / 5  # rows 0, 1 and 7

    @pytest.mark.parametrize("metric", ["cosine", "euclidean"])
    def test_it_equals_a_direct_computation(
        self, metric: Metric, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Leave-one-out over the 15 nearest by float64 distances; in one chunk or in many."""
        vectors, labels = _blobs(300, 6, seed=1, spread=1.5)
        graph = build_graph(prepare_vectors(vectors, metric), k=15, metric=metric)
        exact = vectors.astype(np.float64)
        if metric == "cosine":
            exact /= np.linalg.norm(exact, axis=1, keepdims=True)
        distances = np.linalg.norm(exact[:, None] - exact[None], axis=2)
        np.fill_diagonal(distances, np.inf)
        right = 0
        for row in range(300):
            near = [labels[i] for i in np.argsort(distances[row])[:15]]
            counts = Counter(near)
            most = max(counts.values())
            right += next(name for name in near if counts[name] == most) == labels[row]
        assert 0.5 < right / 300 < 0.95
        assert label_accuracy(pl.Series(labels), graph) == right / 300
        monkeypatch.setattr(measures, "_CHUNK_VALUES", 15 * 15 * 7)
        assert label_accuracy(pl.Series(labels), graph) == right / 300

    def test_permuting_items_changes_nothing(self) -> None:
        """Rows never slip: labels and neighbours belong together."""
        vectors, labels = _blobs(200, 5, seed=2)
        order = np.random.default_rng(0).permutation(200)
        numbers = [
            label_accuracy(pl.Series(labels)[rows], build_graph(vectors[rows], k=15))
            for rows in (np.arange(200), order)
        ]
        assert numbers[0] == numbers[1]
        slipped = label_accuracy(pl.Series(labels)[order], build_graph(vectors, k=15))
        assert slipped != numbers[0]


class TestSilhouette:
    """Equal to a direct `silhouette_score(vectors.astype(float64), labels, metric=...)`."""

    @pytest.mark.parametrize("metric", ["cosine", "euclidean"])
    def test_it_equals_the_direct_computation_within_1e_6(self, metric: Metric) -> None:
        """Within 1e-6, from the vectors as recorded and as prepared."""
        from sklearn.metrics import silhouette_score

        vectors, labels = _blobs(400, 16, seed=3)
        vectors *= np.linspace(0.1, 30, 400, dtype=np.float32)[:, None]
        direct = silhouette_score(vectors.astype(np.float64), labels, metric=metric)
        assert abs(direct) > 0.02
        got = label_silhouette(pl.Series(labels), vectors, metric)
        assert got == pytest.approx(direct, abs=1e-9)
        prepared = prepare_vectors(vectors, metric)
        assert label_silhouette(pl.Series(labels), prepared, metric) == pytest.approx(
            direct, abs=1e-6
        )

    def test_a_literal_value(self) -> None:
        """Points at 0, 1 | 10, 12 on a line: a is the mean within, b the mean to the others."""
        line = np.array([[0, 0], [1, 0], [10, 0], [12, 0]], dtype=np.float32)
        expected = np.mean([1 - 1 / 11, 1 - 1 / 10, 1 - 2 / 9.5, 1 - 2 / 11.5])
        got = label_silhouette(pl.Series([1, 1, 2, 2]), line, "euclidean")
        assert got == pytest.approx(expected, abs=1e-12)

    def test_far_from_the_origin_nothing_is_lost(self) -> None:
        """An offset of a million changes no distance between the points."""
        vectors, labels = _blobs(100, 8, seed=4)
        exact = vectors.astype(np.float64)
        near = label_silhouette(pl.Series(labels), exact, "euclidean")
        far = label_silhouette(pl.Series(labels), exact + 1e6, "euclidean")
        assert far == pytest.approx(near, abs=1e-9)

    def test_points_without_a_label_are_left_out(self) -> None:
        """As if they were not there; a label that one point has counts 0."""
        from sklearn.metrics import silhouette_score

        vectors, labels = _blobs(60, 4, seed=5)
        some = [None if i % 3 == 0 else " " if i == 1 else label for i, label in enumerate(labels)]
        some[2] = "alone"
        rows = [i for i, label in enumerate(some) if label not in (None, " ")]
        direct = silhouette_score(
            vectors[rows].astype(np.float64), [some[i] for i in rows], metric="cosine"
        )
        got = label_silhouette(pl.Series(some), vectors, "cosine")
        assert got == pytest.approx(direct, abs=1e-9)

    def test_above_the_limit_a_seeded_sample_is_taken(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Up to the limit all points; above, near to the whole, the same for the same seed."""
        vectors, labels = _blobs(900, 8, seed=6)
        names = pl.Series(labels)
        whole = label_silhouette(names, vectors, "cosine")
        monkeypatch.setattr(measures, "SILHOUETTE_POINTS", 900)
        assert label_silhouette(names, vectors, "cosine") == whole
        monkeypatch.setattr(measures, "SILHOUETTE_POINTS", 400)
        one, again, other = (
            label_silhouette(names, vectors, "cosine", seed=seed) for seed in (1, 1, 2)
        )
        assert one == again
        assert len({whole, one, other}) == 3
        assert one == pytest.approx(whole, abs=0.03)

    def test_a_sample_without_a_repeated_label_gives_none(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One rare label that the sample misses leaves nothing to compare with."""
        monkeypatch.setattr(measures, "SILHOUETTE_POINTS", 3)
        vectors, _ = _blobs(100, 4, seed=7)
        labels = pl.Series(["a"] * 99 + ["b"])
        assert label_silhouette(labels, vectors, "cosine", seed=0) is None

    def test_permuting_items_changes_nothing(self) -> None:
        """Rows never slip."""
        vectors, labels = _blobs(120, 5, seed=8)
        order = np.random.default_rng(0).permutation(120)
        names = pl.Series(labels)
        one = label_silhouette(names, vectors, "cosine")
        assert label_silhouette(names[order], vectors[order], "cosine") == pytest.approx(one)
        assert label_silhouette(names[order], vectors, "cosine") != pytest.approx(one, abs=0.01)


class TestLabelsThatRepeat:
    """Both None where labels do not repeat: the rule of `names_by_labels`."""

    @pytest.mark.parametrize(
        ("labels", "repeat"),
        [
            ([f"row {i}" for i in range(8)], False),
            (["a"] * 8, False),
            ([None, "", " "] * 3, False),
            (["a", "b"] * 4, True),
            (["a", "b", "c", "d"] * 2, True),
            (["a", "b", "c", "d", "e"] + ["a"] * 3, False),
            ([1, 2, 1, 2], True),
            ([True, False, None, True], True),
            ([1.5, 2.5, 1.5, None], True),
            (["a", "", "a", " a ", "b", ""], True),
        ],
    )
    def test_the_rule_is_the_same(self, labels: list[object], repeat: bool) -> None:
        """2 to N/2 different labels, blank ones not counted."""
        series = pl.Series("label", labels)
        n = len(labels)
        by_naming = names_by_labels(series, pl.Series(["c"] * n), pl.Series([0.0] * n))
        assert (by_naming is not None) == repeat
        assert (label_codes(series) is not None) == repeat
        graph = build_graph(np.random.default_rng(0).standard_normal((n, 3)).astype("f4"), k=2)
        vectors = np.random.default_rng(1).standard_normal((n, 3))
        assert (label_accuracy(series, graph) is not None) == repeat
        assert (label_silhouette(series, vectors, "cosine") is not None) == repeat

    def test_nothing_repeats_among_the_few_that_have_a_label(self) -> None:
        """Two labels on two of four points: no neighbour could ever be right."""
        labels = pl.Series(["a", "b", "", ""])
        assert label_codes(labels) is None
        assert label_accuracy(labels, _graph([[1, 2], [0, 2], [0, 1], [0, 1]])) is None

    def test_equal_labels_have_equal_codes(self) -> None:
        """Surrounding blanks make no other label; missing ones are -1."""
        codes = label_codes(pl.Series(["b", " a", "a ", None, "b", "", "b", "b"]))
        assert codes is not None
        assert codes[0] == codes[4] == codes[6] == codes[7] != codes[1]
        assert codes[1] == codes[2] >= 0
        assert codes[3] == codes[5] == -1


class TestEffectiveRank:
    """Participation ratio (sum l)^2 / sum l^2 of the centred covariance's eigenvalues."""

    @staticmethod
    def _direct(vectors: np.ndarray) -> float:
        centred = vectors.astype(np.float64) - vectors.astype(np.float64).mean(axis=0)
        eigenvalues = np.linalg.svd(centred, compute_uv=False) ** 2
        return float(eigenvalues.sum() ** 2 / np.square(eigenvalues).sum())

    def test_literal_values(self) -> None:
        """A line has 1, a square 2; spreads of 2 : 1 : 1 have 16 / 6."""
        line = np.outer(np.arange(5), [1, 2, 3]).astype(np.float32)
        assert effective_rank(line) == pytest.approx(1, abs=1e-12)
        square = np.array([[0, 0, 7], [1, 0, 7], [0, 1, 7], [1, 1, 7]], dtype=np.float32)
        assert effective_rank(square) == pytest.approx(2, abs=1e-12)
        cross = np.zeros((6, 3))
        for axis, half in enumerate([np.sqrt(2), 1, 1]):
            cross[2 * axis, axis], cross[2 * axis + 1, axis] = half, -half
        assert effective_rank(cross) == pytest.approx(16 / 6, abs=1e-12)

    @pytest.mark.parametrize("shape", [(400, 12), (12, 400), (50, 50)])
    @pytest.mark.parametrize("chunk", [16_000_000, 600])
    def test_it_equals_the_direct_computation(
        self, shape: tuple[int, int], chunk: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By traces of the smaller Gram: more rows than columns or fewer, in chunks or not."""
        monkeypatch.setattr(measures, "_CHUNK_VALUES", chunk)
        rng = np.random.default_rng(0)
        vectors = rng.standard_normal(shape) * np.linspace(0.1, 3, shape[1]) + 2
        assert effective_rank(vectors) == pytest.approx(self._direct(vectors), rel=1e-10)

    @pytest.mark.parametrize("value", [0.0, 0.1, -3.7e8, 1e-30])
    def test_equal_vectors_have_none(self, value: float) -> None:
        """Constant vectors: 0, the collapse that the number warns of."""
        assert effective_rank(np.full((333, 7), value, dtype=np.float32)) == 0.0

    def test_rounding_of_a_collapsed_model_is_no_direction(self) -> None:
        """Vectors that differ in their last digit only have collapsed."""
        rng = np.random.default_rng(0)
        base = np.full((200, 32), 0.7, dtype=np.float32)
        noisy = np.where(rng.random((200, 32)) < 0.5, np.nextafter(base, np.float32(1)), base)
        assert len(np.unique(noisy)) == 2
        assert effective_rank(noisy) == 0.0

    def test_a_far_column_hides_no_other(self) -> None:
        """A constant of a million in one column leaves small differences in others alone."""
        rng = np.random.default_rng(0)
        vectors = rng.standard_normal((500, 4)).astype(np.float32) * np.float32(1e-3)
        alone = effective_rank(vectors)
        assert 3.5 < alone <= 4
        far = np.hstack([vectors, np.full((500, 1), 1e6, dtype=np.float32)])
        assert effective_rank(far) == pytest.approx(alone, rel=1e-9)

    def test_far_from_the_origin_nothing_is_lost(self) -> None:
        """float64 throughout: an offset of a million beside a spread of one."""
        rng = np.random.default_rng(1)
        steps = np.round(rng.standard_normal((300, 6)) * 16).astype(np.float32)
        far = steps + np.float32(2**20)
        assert effective_rank(far) == pytest.approx(self._direct(steps), rel=1e-9)

    @pytest.mark.parametrize("scale", [1e-30, 1e30])
    def test_the_scale_does_not_matter(self, scale: float) -> None:
        """Very large and very small values neither overflow nor vanish."""
        vectors = np.random.default_rng(2).standard_normal((100, 5)).astype(np.float32)
        scaled = (vectors * np.float32(scale)).astype(np.float32)
        assert effective_rank(scaled) == pytest.approx(self._direct(vectors), rel=1e-5)

    def test_permuting_items_changes_nothing(self) -> None:
        """The order of the items means nothing."""
        vectors = np.random.default_rng(3).standard_normal((64, 8)).astype(np.float32)
        order = np.random.default_rng(0).permutation(64)
        assert effective_rank(vectors[order]) == pytest.approx(effective_rank(vectors), rel=1e-12)


def test_the_anomaly_share_counts_all_kinds_but_normal() -> None:
    """Share of anomalies: every kind of them; None where they are switched off."""
    kinds = ["normal", "global", "normal", "local", "group", "unlike_reference", "normal", "normal"]
    assert anomaly_share(pl.DataFrame({"anomaly_kind": kinds})) == 0.5
    assert anomaly_share(pl.DataFrame({"label": ["a"]})) is None


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(("n_dims", "seed"), [(7, 0), (7, 2), (64, 0), (64, 1), (512, 2)])
def test_silhouette_of_collapsed_vectors(metric: Metric, n_dims: int, seed: int) -> None:
    """Points that coincide, within and across labels, count as ones of distance 0."""
    from scipy.spatial.distance import cdist
    from sklearn.metrics import silhouette_score

    rng = np.random.default_rng(seed)
    labels = pl.Series([f"l{i % 5}" for i in range(300)])
    same = np.repeat(rng.standard_normal((1, n_dims)).astype(np.float32), 300, axis=0)
    assert label_silhouette(labels, same, metric) == pytest.approx(0, abs=1e-6)
    partly = rng.standard_normal((300, n_dims)).astype(np.float32)
    partly[(np.arange(300) % 5 < 2)] = partly[0]
    distances = cdist(partly.astype(np.float64), partly.astype(np.float64), metric)
    distances[distances < 1e-12] = 0  # rounding of equal rows
    direct = silhouette_score(distances, labels.to_list(), metric="precomputed")
    # Euclidean ones are scikit-learn's, whose squares leave more rounding.
    within = 1e-6 if metric == "cosine" else 1e-4
    assert label_silhouette(labels, partly, metric) == pytest.approx(direct, abs=within)
