from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from projector_export.analysis.duplicates import add_nearest
from projector_export.analysis.neighbors import Metric, build_graph, prepare_vectors
from projector_export.errors import OptionError
from projector_export.points import Points


def analyse(
    vectors: np.ndarray | list[tuple[float, ...]],
    *,
    metric: Metric = "cosine",
    labels: list[object] | None = None,
    k: int = 15,
    angle_deg: float = 3.0,
) -> pl.DataFrame:
    vectors = np.array(vectors, dtype=np.float32)
    columns = pl.DataFrame() if labels is None else pl.DataFrame({"label": labels})
    points = Points(vectors, columns)
    prepared = prepare_vectors(points.vectors, metric)
    graph = build_graph(prepared, k=k, metric=metric)
    return add_nearest(points, prepared, graph, duplicate_angle_deg=angle_deg).columns


def directions(*degrees: float) -> np.ndarray:
    turns = np.radians(degrees)
    return np.stack([np.cos(turns), np.sin(turns)], axis=1)


class TestNearest:
    """`nearest` is the label of the nearest other point, `nearest_angle` the angle in degrees."""

    def test_label_and_angle(self):
        """Directions at 0, 45 and 135 degrees: the one at 45 is nearest to both others."""
        columns = analyse(directions(0, 45, 135), labels=["a", "b", "c"])
        assert columns["nearest"].to_list() == ["b", "a", "b"]
        assert columns["nearest_angle"].to_list() == pytest.approx([45, 45, 90], abs=1e-4)

    @pytest.mark.parametrize("metric", ["cosine", "euclidean"])
    @pytest.mark.parametrize("angle", [0, 0.001, 3, 45, 90, 179.9, 180])
    def test_angles_are_exact_at_both_ends(self, angle, metric):
        """0 to 180 degrees, of vectors of any length."""
        vectors = directions(0, angle) * [[3], [5]]
        columns = analyse(vectors, metric=metric)
        assert columns["nearest_angle"].to_list() == pytest.approx([angle] * 2, abs=2e-5)

    def test_labels_of_any_type_become_text(self):
        """The label is cast to text."""
        columns = analyse(directions(0, 10, 90), labels=[7, 8, 9])
        assert columns["nearest"].to_list() == ["8", "7", "8"]

    def test_the_euclidean_neighbour_is_not_the_one_with_the_smallest_angle(self):
        """Neighbours by distance, angle between the two vectors as given."""
        columns = analyse([(1, 0), (100, 0), (0, 1)], metric="euclidean", labels=["a", "b", "c"])
        assert columns["nearest"].to_list() == ["c", "a", "a"]
        assert columns["nearest_angle"].to_list() == pytest.approx([90, 0, 90])

    @pytest.mark.parametrize("metric", ["cosine", "euclidean"])
    def test_a_zero_vector_is_at_0_to_another_and_at_90_to_all_else(self, metric):
        """A zero vector has no direction."""
        columns = analyse([(0, 0), (0, -0.0), (1, 1), (1, 1.5)], metric=metric)
        assert columns["nearest_angle"].to_list()[:2] == [0, 0]
        columns = analyse([(0, 0), (3, 4)], metric=metric)
        assert columns["nearest_angle"].to_list() == [90, 90]


class TestDuplicateGroups:
    """`dup_00` and on, the largest group first; `unique` for all that are in none."""

    def test_points_within_the_angle_are_a_group(self):
        """The duplicate angle is 3 degrees by default."""
        columns = analyse(directions(0, 2.9, 90, 93.1, 180))
        assert columns["duplicate_group"].to_list() == ["dup_00", "dup_00", *["unique"] * 3]

    def test_the_angle_can_be_set(self):
        """At most that angle."""
        vectors = directions(0, 4, 90)
        assert analyse(vectors, angle_deg=3.9)["duplicate_group"][0] == "unique"
        assert analyse(vectors, angle_deg=4.1)["duplicate_group"][0] == "dup_00"

    def test_largest_first_then_by_first_row(self):
        """Groups of 2, 3 and 2 points."""
        columns = analyse(directions(200, 0, 90, 91, 1, 92, 201, 300))
        assert columns["duplicate_group"].to_list() == [
            "dup_01",
            "dup_02",
            "dup_00",
            "dup_00",
            "dup_02",
            "dup_00",
            "dup_01",
            "unique",
        ]

    def test_a_chain_is_one_group(self):
        """Each member has another within the angle; the ends may be further apart."""
        columns = analyse(directions(0, 2, 4, 6, 8, 90))
        assert columns["duplicate_group"].to_list() == ["dup_00"] * 5 + ["unique"]

    def test_no_duplicates(self):
        """All unique."""
        columns = analyse(directions(0, 90, 180))
        assert columns["duplicate_group"].to_list() == ["unique"] * 3

    @pytest.mark.parametrize("metric", ["cosine", "euclidean"])
    def test_a_thousand_equal_rows_are_one_group(self, metric):
        """More equal rows than neighbours are joined by value; -0.0 equals 0.0."""
        heap = np.tile([1.0, 0.0, 2.0], (1000, 1))
        heap[::2, 1] = -0.0
        others = 5 * np.random.default_rng(0).normal(size=(9, 3))
        columns = analyse(np.vstack([others, heap]), metric=metric)
        assert columns["duplicate_group"].to_list()[9:] == ["dup_00"] * 1000

    def test_two_heaps_of_equal_rows_within_the_angle_are_one_group(self):
        """One row of each heap looks for its neighbours again."""
        vectors = np.repeat(directions(0, 2, 90), [100, 100, 1], axis=0)
        columns = analyse(vectors)
        assert columns["duplicate_group"].to_list() == ["dup_00"] * 200 + ["unique"]

    def test_more_than_a_hundred_groups_get_names_that_sort(self):
        """Enough digits for the last group."""
        vectors = np.repeat(directions(*range(0, 330, 3)), 2, axis=0)  # 110 pairs
        groups = analyse(vectors, angle_deg=1)["duplicate_group"].to_list()
        assert groups[:2] == ["dup_000", "dup_000"]
        assert groups[-2:] == ["dup_109", "dup_109"]
        assert groups == sorted(groups)

    def test_the_euclidean_limit_is_the_chord_at_the_rms_radius(self):
        """At radius 10, 60 degrees have the chord 10; the mean does not matter."""
        square = 1000 + np.array([(10, 0), (-10, 0), (0, 10), (0, -10)])
        # Distances of 14.1 and 20; 90 degrees have the chord 14.14, 89 degrees 14.02.
        same = analyse(square, metric="euclidean", angle_deg=90.1)["duplicate_group"]
        assert same.to_list() == ["dup_00"] * 4
        apart = analyse(square, metric="euclidean", angle_deg=89)["duplicate_group"]
        assert apart.to_list() == ["unique"] * 4

    def test_only_equal_points_at_angle_0(self):
        """0 degrees leaves no difference."""
        columns = analyse([(1, 2), (1, 2), (1, 2.001), (5, 1)], metric="euclidean", angle_deg=0)
        assert columns["duplicate_group"].to_list() == ["dup_00", "dup_00", "unique", "unique"]

    @pytest.mark.parametrize("metric", ["cosine", "euclidean"])
    @pytest.mark.parametrize("vector", [(0.0, 0.0), (0.1, 0.7)])
    def test_all_equal(self, vector, metric):
        """One group of all, at angle 0."""
        columns = analyse(np.tile(vector, (40, 1)), metric=metric)
        assert set(columns["duplicate_group"]) == {"dup_00"}
        assert columns["nearest_angle"].to_list() == [0] * 40

    def test_zero_vectors_are_duplicates_of_each_other_only(self):
        """A zero vector is at 90 degrees to all else, though at chord 1 of unit vectors."""
        vectors = [(0, 0), (0, 0), (1, 0), (-1, 0)]
        columns = analyse(vectors, angle_deg=70)
        assert columns["duplicate_group"].to_list() == ["dup_00", "dup_00", "unique", "unique"]

    def test_permuting_the_items_permutes_every_output(self):
        """Row i describes item i; names follow sizes, which are all different here."""
        vectors = np.repeat(directions(0, 50, 100, 150), [30, 20, 3, 1], axis=0)
        labels = ["a"] * 30 + ["b"] * 20 + ["c"] * 3 + ["d"]
        order = np.random.default_rng(1).permutation(54)
        straight = analyse(vectors, labels=labels)
        permuted = analyse(vectors[order], labels=[labels[i] for i in order])
        assert straight["duplicate_group"].to_list() == (
            ["dup_00"] * 30 + ["dup_01"] * 20 + ["dup_02"] * 3 + ["unique"]
        )
        assert permuted.equals(straight[order])

    @pytest.mark.parametrize("angle", [-1, 180, float("nan")])
    def test_an_angle_out_of_range_is_refused(self, angle):
        """At least 0, less than 180."""
        with pytest.raises(OptionError, match="expected 0 up to but below 180"):
            analyse(directions(0, 1), angle_deg=angle)
