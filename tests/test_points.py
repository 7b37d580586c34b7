"""Items and Points: the row invariants that every stage relies on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from projector_export.errors import DataError
from projector_export.points import Items, Points, as_vectors

VALUES = [[1, 0], [0, 1], [1, 1]]


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", ">f4", "int8", "uint8", "int64", "bool"]
)
def test_any_real_dtype_becomes_float32_in_row_order(dtype: str) -> None:
    """`as_vectors`: any integer, boolean or real floating dtype -> (N, D) float32."""
    vectors = as_vectors(np.array(VALUES, dtype=dtype), where="x")
    assert vectors.dtype == np.dtype("float32")
    assert vectors.tolist() == [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]


def test_float32_values_keep_every_bit() -> None:
    """Vectors are float32; what is float32 already is not rounded again."""
    values = np.array([[0.1, -0.0], [3.4e38, 1e-45]], dtype=np.float32)
    assert as_vectors(values, where="x").tobytes() == bytes.fromhex(
        "cdcccc3d 00000080 9ec97f7f 01000000"
    )


def test_fortran_order_becomes_c_contiguous_with_the_same_rows() -> None:
    """Vectors are C-contiguous, because files are written from their memory."""
    vectors = as_vectors(np.asfortranarray(np.array(VALUES, dtype=np.float32)), where="x")
    assert vectors.flags.c_contiguous
    assert vectors.tolist() == VALUES


def test_float32_memmap_is_not_copied(tmp_path: Path) -> None:
    """`as_vectors` copies only when needed: a file larger than memory must work."""
    np.save(tmp_path / "v.npy", np.array(VALUES, dtype=np.float32))
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")
    vectors = Points(mapped).vectors
    assert np.shares_memory(vectors, mapped)
    assert vectors.tolist() == VALUES


def test_values_of_the_caller_are_never_changed() -> None:
    """A stage returns a new value; its input stays as it is."""
    values = np.array(VALUES, dtype=np.float64)
    as_vectors(values, where="x")
    assert values.dtype == np.dtype("float64")
    assert values.tolist() == VALUES


def _bad(row: int, column: int, value: float, dtype: str = "float32") -> np.ndarray:
    values = np.ones((20, 4), dtype=dtype)
    values[row, column] = value
    return values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(5), r"of shape \(5,\); expected 2 dimensions"),
        (np.zeros((2, 2, 2)), r"of shape \(2, 2, 2\); expected 2 dimensions"),
        (np.float32(3), r"of shape \(\); expected 2 dimensions"),
        (np.zeros((3, 3), dtype=complex), "of type complex128; expected real numbers"),
        (np.full((3, 3), None), "of type object; expected real numbers"),
        (np.full((3, 3), "a"), "of type <U1; expected real numbers"),
        (np.zeros((1, 3)), "holds 1 vectors of 3 values; .* at least 2 vectors of 2 values"),
        (np.zeros((3, 1)), "holds 3 vectors of 1 values; .* at least 2 vectors of 2 values"),
        (np.zeros((0, 3)), "holds 0 vectors of 3 values"),
        (_bad(17, 2, np.nan), "has nan in row 17, column 2; expected numbers that are finite"),
        (_bad(0, 3, np.inf), "has inf in row 0, column 3;"),
        (_bad(19, 0, -np.inf, "float16"), "has -inf in row 19, column 0;"),
        (_bad(4, 1, 1e39, "float64"), r"has 1e\+39 in row 4, column 1;"),
    ],
)
def test_refused_values_are_named_with_their_place(values: np.ndarray, message: str) -> None:
    """DataError: not 2-D, too small, not numeric, or not finite; says got, expected, where."""
    with pytest.raises(DataError, match=f"^file.npy .*{message}"):
        as_vectors(values, where="file.npy")


def test_finite_values_whose_sum_overflows_are_accepted() -> None:
    """Only values that are not finite in float32 are refused, however large the others are."""
    values = np.full((2, 4), 3e38, dtype=np.float32)
    assert as_vectors(values, where="x").tolist() == values.tolist()


def test_the_first_bad_row_is_named_even_when_an_earlier_sum_overflows() -> None:
    """A sum that overflows without a bad value must not hide a later NaN."""
    values = np.full((3, 4), 3e38, dtype=np.float32)
    values[2, 1] = np.nan
    with pytest.raises(DataError, match="nan in row 2, column 1"):
        as_vectors(values, where="x")


def test_label_is_added_first_when_missing() -> None:
    """`columns`: the first is `label`, which is added (`row 0`, ...) when missing."""
    vectors = np.array(VALUES, dtype=np.float32)
    bare = Points(vectors)
    assert bare.columns.to_dict(as_series=False) == {"label": ["row 0", "row 1", "row 2"]}
    some = Points(vectors, pl.DataFrame({"n": [7, 8, 9]}))
    assert some.columns.rows() == [("row 0", 7), ("row 1", 8), ("row 2", 9)]
    assert some.columns.columns == ["label", "n"]


def test_label_is_moved_to_the_front() -> None:
    """`columns`: its first column is `label`."""
    columns = pl.DataFrame({"n": [7, 8, 9], "label": ["a", "b", "c"], "m": [1, 2, 3]})
    points = Points(np.array(VALUES, dtype=np.float32), columns)
    assert points.columns.columns == ["label", "n", "m"]
    assert points.columns["label"].to_list() == ["a", "b", "c"]


def test_columns_of_another_height_are_refused() -> None:
    """Row i of every member describes item i, so all have N rows."""
    vectors = np.array(VALUES, dtype=np.float32)
    two_rows = pl.DataFrame({"label": ["a", "b"]})
    with pytest.raises(DataError, match="birds has 3 vectors but its columns have 2 rows"):
        Points(vectors, two_rows, name="birds")
    with pytest.raises(DataError, match="has 3 vectors but its columns have 2 rows"):
        Points(vectors).with_columns(two_rows)
    with pytest.raises(DataError, match="birds has 1 contents but its columns have 2 rows"):
        Items((Path("a.png"),), two_rows, "birds")


@pytest.mark.parametrize(
    ("thumbnails", "message"),
    [
        (np.zeros((2, 4, 4, 4), np.uint8), r"shape \(2, 4, 4, 4\).*expected \(3, T, T, 4\)"),
        (np.zeros((3, 4, 4, 3), np.uint8), r"shape \(3, 4, 4, 3\)"),
        (np.zeros((3, 4, 4), np.uint8), r"shape \(3, 4, 4\)"),
        (np.zeros((3, 4, 4, 4), np.float32), "type float32"),
        (np.zeros((3, 4, 5, 4), np.uint8), "4 x 5 px; expected squares"),
    ],
)
def test_thumbnails_of_another_shape_are_refused(thumbnails: np.ndarray, message: str) -> None:
    """`thumbnails`: (N, T, T, 4) uint8 RGBA, or None."""
    with pytest.raises(DataError, match=message):
        Points(np.array(VALUES, dtype=np.float32), thumbnails=thumbnails)


def _points() -> Points:
    thumbnails = np.zeros((4, 1, 1, 4), dtype=np.uint8)
    thumbnails[:, 0, 0, 0] = [10, 20, 30, 40]
    return Points(
        np.array([[1, 1], [2, 2], [3, 3], [4, 4]], dtype=np.float32),
        pl.DataFrame({"label": ["a", "b", "c", "d"], "n": [1, 2, 3, 4]}),
        name="letters",
        thumbnails=thumbnails,
        origin={"source": "here"},
    )


def test_with_columns_adds_and_replaces_without_moving_rows() -> None:
    """`with_columns`: N-row columns are added; one of the same name is replaced."""
    before = _points()
    after = before.with_columns(pl.DataFrame({"m": [5, 6, 7, 8], "n": [0, 0, 0, 9]}))
    assert after.columns.columns == ["label", "n", "m"]
    assert after.columns.rows() == [("a", 0, 5), ("b", 0, 6), ("c", 0, 7), ("d", 9, 8)]
    assert before.columns.rows() == [("a", 1), ("b", 2), ("c", 3), ("d", 4)]
    assert after.vectors is before.vectors


def test_take_keeps_all_members_of_a_row_together() -> None:
    """`take`: new points with just these row numbers, in that order."""
    taken = _points().take(np.array([3, 0, 2]))
    assert taken.vectors.tolist() == [[4, 4], [1, 1], [3, 3]]
    assert taken.columns.rows() == [("d", 4), ("a", 1), ("c", 3)]
    assert taken.thumbnails is not None
    assert taken.thumbnails[:, 0, 0, 0].tolist() == [40, 10, 30]
    assert (taken.name, taken.origin) == ("letters", {"source": "here"})
    assert len(taken) == 3
