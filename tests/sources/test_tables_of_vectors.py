"""Tables as people really write them: every row a point, every number in the vector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from projector_export import read_vectors
from projector_export.errors import DataError

ROWS = "0.5,1.5,2.5\n3.5,4.5,5.5\n6.5,7.5,8.5\n"
VALUES = [[0.5, 1.5, 2.5], [3.5, 4.5, 5.5], [6.5, 7.5, 8.5]]


def write(tmp_path: Path, text: str) -> Path:
    """Write a csv."""
    path = tmp_path / "v.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("header", ["", "0,1,2\n", "a,b,c\n", "x,0,1\n"])
def test_headers_that_are_numbers_are_no_rows(tmp_path: Path, header: str) -> None:
    """Pandas numbers its columns 0, 1, 2; that line is a header."""
    points = read_vectors(write(tmp_path, header + ROWS))
    np.testing.assert_array_equal(points.vectors, VALUES)


def test_an_unnamed_index_is_not_part_of_the_vector(tmp_path: Path) -> None:
    """Pandas' to_csv writes the row numbers as an unnamed first column."""
    lines = ROWS.strip().split("\n")
    text = ",0,1,2\n" + "".join(f"{i},{line}\n" for i, line in enumerate(lines))
    np.testing.assert_array_equal(read_vectors(write(tmp_path, text)).vectors, VALUES)


@pytest.mark.parametrize("text", ["cat,0.5,1.5\ndog,2.5,3.5\n", "cat,1,2\ndog,3,4\n"])
def test_a_first_line_half_numbers_is_refused(tmp_path: Path, text: str) -> None:
    """Unknown input is refused, not guessed: a headerless file with a column of words."""
    with pytest.raises(DataError, match="neither a header nor a row"):
        read_vectors(write(tmp_path, text))


@pytest.mark.parametrize("cell", ["NA", "null", "1;5", "007"])
def test_one_word_among_numbers_is_refused(tmp_path: Path, cell: str) -> None:
    """No dimension is dropped in silence: names the row, the column and the cell."""
    text = f"a,b,c\n{ROWS}1,{cell},3\n1,2,3\n"
    with pytest.raises(DataError, match=f"has '{cell}' in row 3, column 'b'"):
        read_vectors(write(tmp_path, text))


def test_a_column_of_codes_is_a_label(tmp_path: Path) -> None:
    """007, 008, ... are text, the label, and no part of the vector."""
    points = read_vectors(write(tmp_path, "id,a,b\n007,1,2\n008,3,4\n009,5,6\n"))
    assert points.columns["label"].to_list() == ["007", "008", "009"]
    np.testing.assert_array_equal(points.vectors, [[1, 2], [3, 4], [5, 6]])


def test_columns_of_both_files_are_kept(tmp_path: Path) -> None:
    """A column that both files have is there twice, under two names."""
    frame = pl.DataFrame({"v": [[1.0, 2.0], [3.0, 4.0]], "kind": ["a", "b"]})
    frame.write_parquet(tmp_path / "v.parquet")
    (tmp_path / "m.csv").write_text("kind\nx\ny\n", encoding="utf-8")
    columns = read_vectors(tmp_path / "v.parquet", metadata=tmp_path / "m.csv").columns
    assert columns["kind"].to_list() == ["x", "y"]
    assert columns["kind_vectors"].to_list() == ["a", "b"]


def test_a_categorical_column_can_be_the_label(tmp_path: Path) -> None:
    """Pandas' category type is text."""
    frame = pl.DataFrame({"v": [[1.0, 2.0], [3.0, 4.0]], "kind": ["a", "b"]})
    frame.with_columns(pl.col("kind").cast(pl.Categorical)).write_parquet(tmp_path / "v.parquet")
    assert read_vectors(tmp_path / "v.parquet").columns["label"].to_list() == ["a", "b"]


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    """No rows: one clear message."""
    pl.DataFrame(schema={"v": pl.List(pl.Float32)}).write_parquet(tmp_path / "v.parquet")
    with pytest.raises(DataError, match="has no rows"):
        read_vectors(tmp_path / "v.parquet")


def test_archives_under_the_wrong_name_are_read_or_named(tmp_path: Path) -> None:
    """An .npy named .npz is read; an .npz named .npy is told so."""
    np.save(tmp_path / "v.npy", np.array(VALUES))
    (tmp_path / "v.npy").rename(tmp_path / "v.npz")
    np.testing.assert_array_equal(read_vectors(tmp_path / "v.npz").vectors, VALUES)
    np.savez(tmp_path / "w.npz", np.array(VALUES))
    (tmp_path / "w.npz").rename(tmp_path / "w.npy")
    with pytest.raises(DataError, match=r"rename it to end in \.npz"):
        read_vectors(tmp_path / "w.npy")
