"""Texts from the viewer become values of a column's own type."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from projector_export.errors import DataError
from projector_export.projector.edited_metadata import read_viewer_cells
from projector_export.projector.metadata import render_metadata
from projector_export.projector.typed_cells import new_column, set_cells


def edit(values: pl.Series, changes: dict[int, str]) -> pl.Series:
    """Change cells of a column as the viewer shows it."""
    frame = pl.DataFrame({"first": ["x"] * len(values), "c": values})
    return set_cells(values.alias("c"), read_viewer_cells(render_metadata(frame))["c"], changes)


@pytest.mark.parametrize(
    ("values", "changes", "dtype", "expected"),
    [
        (pl.Series([1, 2, None], dtype=pl.UInt8), {0: "200", 1: ""}, pl.UInt8, [200, None, None]),
        (pl.Series([1, 2], dtype=pl.UInt8), {0: "300"}, pl.Int64, [300, 2]),
        (pl.Series([1, 2], dtype=pl.UInt8), {1: "-1"}, pl.Int64, [1, -1]),
        (pl.Series([1, 2]), {0: "1.5"}, pl.Float64, [1.5, 2.0]),
        (pl.Series([1, 2]), {0: "1e3"}, pl.Int64, [1000, 2]),
        (pl.Series([0.1, 2], dtype=pl.Float32), {1: "0.5"}, pl.Float32, [0.10000000149011612, 0.5]),
        (pl.Series([0.1, None]), {1: "1e-7", 0: ""}, pl.Float64, [None, 1e-7]),
        (pl.Series([Decimal("1.50"), Decimal("2.00")]), {1: "3.25"}, pl.Decimal(38, 2),
         [Decimal("1.50"), Decimal("3.25")]),
        (pl.Series([True, None, False]), {0: "false", 1: "TRUE"}, pl.Boolean, [False, True, False]),
        (pl.Series([True, None]), {0: "(empty)"}, pl.Boolean, [None, None]),
        (pl.Series([True, None]), {0: "maybe"}, pl.String, ["maybe", None]),
        (pl.Series([dt.date(2026, 1, 2), None]), {1: "2025-12-31"}, pl.Date,
         [dt.date(2026, 1, 2), dt.date(2025, 12, 31)]),
        (pl.Series([dt.date(2026, 1, 2), None]), {1: "soon"}, pl.String, ["2026-01-02", "soon"]),
        (pl.Series(["a", "b"], dtype=pl.Categorical), {0: "c"}, pl.Categorical, ["c", "b"]),
        (pl.Series(["a", "b"], dtype=pl.Enum(["a", "b", "z"])), {0: "z"},
         pl.Enum(["a", "b", "z"]), ["z", "b"]),
        (pl.Series(["a", "b"], dtype=pl.Enum(["a", "b"])), {0: "c"}, pl.String, ["c", "b"]),
        (pl.Series([[1], [2, 3]]), {0: "[2, 3]"}, pl.List(pl.Int64), [[2, 3], [2, 3]]),
        (pl.Series([[1], [2, 3]]), {0: "none"}, pl.String, ["none", "[2, 3]"]),
    ],
)  # fmt: skip
def test_the_type_stays_where_the_values_allow(
    values: pl.Series, changes: dict[int, str], dtype: pl.DataType, expected: list[Any]
) -> None:
    """Type kept where the new values allow; else the next that holds all of them."""
    after = edit(values, changes)
    assert after.dtype == dtype
    assert after.to_list() == expected
    assert after.name == "c"


def test_texts_are_taken_as_they_are() -> None:
    """Text stays text, empty becomes empty, and the mark of a number goes."""
    values = pl.Series(["a", None, "b", "c"])
    after = edit(values, {0: "", 1: "<i>", 2: "12\u2060", 3: "x\u2060"})
    assert after.to_list() == ["", "<i>", "12", "x\u2060"]


def test_a_shown_text_means_the_value_that_is_shown_so() -> None:
    """Tagged like other points, a point gets their very value, not how it is shown."""
    long = "長い" * 300
    values = pl.Series(["007", "a\tb", long, "x", "y", "z", None, "q"])
    after = edit(values, {3: "007\u2060", 4: "a b", 5: long[:499] + "…", 7: "(empty)"})
    assert after.to_list() == ["007", "a\tb", long, "007", "a\tb", long, None, None]
    # The viewer turned a typed 007 into 7: there is one text of that number.
    assert edit(values, {3: "7"}).to_list()[3] == "007"
    # Two values that are shown alike say nothing: the text as it is.
    assert edit(pl.Series(["a\tb", "a\nb", "x"]), {2: "a b"}).to_list()[2] == "a b"
    assert edit(pl.Series(["07", "007", "x"]), {2: "7"}).to_list()[2] == "7"


def test_a_column_of_numbers_takes_no_text() -> None:
    """Numeric column given text = clear error that says where."""
    with pytest.raises(DataError, match="'c' holds numbers, but the file has 'abc' in line 3"):
        edit(pl.Series([1.0, 2.0]), {1: "abc"})
    with pytest.raises(DataError, match="Int64, which cannot take the new numbers"):
        edit(pl.Series([2**60 + 1, 2]), {1: "0.5"})


def test_labels_with_gaps_are_shown_as_text() -> None:
    """A label of numbers with a missing one is text in the viewer, and takes any."""
    values = pl.Series("label", [1, None, 3])
    cells = read_viewer_cells(render_metadata(pl.DataFrame([values])))["label"]
    assert cells == ["1\u2060", "(empty)", "3\u2060"]
    assert set_cells(values, cells, {1: "3\u2060"}).to_list() == [1, 3, 3]
    assert set_cells(values, cells, {1: "5"}).to_list() == [1, 5, 3]
    assert set_cells(values, cells, {0: "x"}).to_list() == ["x", None, "3"]


def test_rows_that_the_viewer_does_not_have_keep_theirs() -> None:
    """The column may be longer than the viewer's cells."""
    values = pl.Series("c", ["a", "b", "hidden"])
    assert set_cells(values, ["a", "b"], {0: "b"}).to_list() == ["b", "b", "hidden"]
    values = pl.Series("c", [1, 2, 2**40 + 1])
    assert set_cells(values, ["1", "2"], {0: "1.5"}).to_list() == [1.5, 2, 2**40 + 1]


@pytest.mark.parametrize(
    ("cells", "dtype", "expected"),
    [
        (["1", "", "0"], pl.Int64, [1, None, 0, None]),
        (["0", "0", "0"], pl.Int64, [0, 0, 0, None]),
        (["1", "2.5", "(empty)"], pl.Float64, [1.0, 2.5, None, None]),
        (["1", "x", ""], pl.String, ["1", "x", None, None]),
        (["", "", ""], pl.String, [None] * 4),
        (["7\u2060", "x", "y"], pl.String, ["7", "x", "y", None]),
        (["1e300", "1", "1"], pl.Float64, [1e300, 1.0, 1.0, None]),
    ],
)
def test_a_new_column_is_numbers_or_text(
    cells: list[str], dtype: pl.DataType, expected: list[Any]
) -> None:
    """Accepted as text or numbers; rows beyond the viewer's have no value."""
    column = new_column("n", cells, height=4)
    assert (column.name, column.dtype, column.to_list()) == ("n", dtype, expected)
