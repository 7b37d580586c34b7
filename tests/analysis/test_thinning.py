"""Which points the browser gets: all that are marked, and an even share of each cluster."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from projector_export.analysis.thinning import choose_rows


def _labels(n: int) -> pl.DataFrame:
    return pl.DataFrame({"label": [f"l{i}" for i in range(n)]})


@pytest.mark.parametrize("most", [4, 5, 100_000])
def test_all_rows_are_kept_while_they_fit(most: int) -> None:
    """`choose_rows`: at most `most` row numbers in ascending order."""
    assert choose_rows(_labels(4), most).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("most", [1, 2, 50, 99])
def test_rows_are_ascending_distinct_and_as_many_as_fit(most: int) -> None:
    """`choose_rows`: at most `most` row numbers in ascending order; the rest are filled up."""
    rows = choose_rows(_labels(100), most).tolist()
    assert len(rows) == most
    assert rows == sorted(set(rows))
    assert set(rows) <= set(range(100))


def test_the_seed_chooses() -> None:
    """`seed`: of the choice; the same one gives the same rows."""
    first = choose_rows(_labels(1_000), 10, seed=1).tolist()
    assert first == choose_rows(_labels(1_000), 10, seed=1).tolist()
    assert first != choose_rows(_labels(1_000), 10, seed=2).tolist()


def test_a_choice_without_marks_is_spread_over_all_rows() -> None:
    """The first rows are no better than the last."""
    rows = choose_rows(_labels(10_000), 1_000)
    assert 4_500 < rows.mean() < 5_500


def test_anomalies_and_duplicates_are_all_kept() -> None:
    """Every point of an anomalous kind and of a duplicate group is kept while they fit."""
    columns = _labels(100).with_columns(
        anomaly_kind=pl.Series(["global" if i in (3, 97) else "normal" for i in range(100)]),
        duplicate_group=pl.Series(["dup_00" if i in (40, 41) else "unique" for i in range(100)]),
    )
    rows = choose_rows(columns, 10).tolist()
    assert len(rows) == 10
    assert {3, 40, 41, 97} <= set(rows)
    assert choose_rows(columns, 4).tolist() == [3, 40, 41, 97]


def test_the_most_unusual_are_kept_when_not_all_marked_fit() -> None:
    """The most unusual first; equal scores in row order."""
    columns = _labels(6).with_columns(
        anomaly_kind=pl.Series(["global"] * 5 + ["normal"]),
        anomaly=pl.Series([0.2, 0.9, 0.5, 0.9, 0.5, 1.0]),
    )
    assert choose_rows(columns, 3).tolist() == [1, 2, 3]
    assert choose_rows(columns, 1).tolist() == [1]


def test_duplicates_alone_fit_without_a_score() -> None:
    """Columns are used where they exist."""
    columns = _labels(6).with_columns(
        duplicate_group=pl.Series(["dup_00", "unique", "dup_00", "dup_01", "unique", "dup_01"])
    )
    assert choose_rows(columns, 2).tolist() == [0, 2]
    assert choose_rows(columns, 4).tolist() == [0, 2, 3, 5]


@pytest.mark.parametrize(
    ("most", "of_a", "of_b", "of_c"),
    [(60, 40, 16, 4), (30, 20, 8, 2), (15, 10, 4, 1)],
)
def test_each_cluster_gives_an_even_share(most: int, of_a: int, of_b: int, of_c: int) -> None:
    """The rest are filled up with an even share of each cluster."""
    names = ["a"] * 80 + ["b"] * 32 + ["c"] * 8
    shuffled = np.random.default_rng(0).permutation(120)
    columns = _labels(120).with_columns(cluster=pl.Series(names)[shuffled])
    rows = choose_rows(columns, most)
    counts = columns["cluster"][rows].value_counts().rows()
    assert dict(counts) == {"a": of_a, "b": of_b, "c": of_c}


def test_marked_points_do_not_count_against_their_clusters_share() -> None:
    """The even share is one of the points that are not marked."""
    columns = _labels(40).with_columns(
        cluster=pl.Series(["a"] * 20 + ["b"] * 20),
        anomaly_kind=pl.Series(["local"] * 4 + ["normal"] * 36),
    )
    rows = choose_rows(columns, 4 + 18).tolist()
    assert rows[:4] == [0, 1, 2, 3]
    assert sum(row < 20 for row in rows) == 4 + 8
    assert sum(row >= 20 for row in rows) == 10
