"""Selections: which points, said in words."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from projector_export.errors import OptionError
from projector_export.projector.selection import parse_selection, select_rows
from projector_export.projector.viewer_points import ViewerPoints

COLUMNS = pl.DataFrame(
    {
        "label": ["red", "アジ", "red", "blue", "007", None],
        "cluster": ["cluster_00", "cluster_01", "cluster_00", "cluster_01", "cluster_01", "a or b"],
        "w": [0.5, 2.0, None, -1.0, 2.0, float("nan")],
        "n": [1, 2, 3, 4, 5, 6],
        "agrees": [True, False, None, False, True, True],
        "my column": ["x;y", 'say "hi"', "(a)", "and", "it's", "==" ],
        "top": [6, 5, 4, 3, 2, 1],
        "source_row": [0, 2, 4, 6, 8, 10],
        "day": [date(2024, 1, 9), date(2024, 10, 1), None, date(2023, 5, 5), date(2024, 1, 10),
                date(2025, 1, 1)],
        "price": [Decimal("0.10"), Decimal("2.50"), None, Decimal("99"), Decimal("0.1"),
                  Decimal("7")],
        "big": [2**53, 2**53 + 1, 1, 2, 3, 4],
    },
    schema_overrides={"price": pl.Decimal(38, 2)},
)  # fmt: skip
VECTORS = np.array([[0, 0], [1, 0], [2, 0], [10, 0], [11, 0], [30, 0]], dtype=np.float32)
POINTS = ViewerPoints(COLUMNS, VECTORS)


def _rows(text: str) -> list[int]:
    return select_rows(parse_selection(text), POINTS, what=text).tolist()


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("cluster == cluster_00", [0, 2]),
        ("cluster==cluster_00", [0, 2]),
        ("cluster != cluster_00", [1, 3, 4, 5]),
        ("label == アジ", [1]),
        ("label == 007", [4]),
        ("label != red", [1, 3, 4]),
        ("label contains RE", [0, 2]),
        ("w > 0.5", [1, 4]),
        ("w >= 0.5", [0, 1, 4]),
        ("w < 0", [3]),
        ("w <= 0.5", [0, 3]),
        ("w == 2", [1, 4]),
        ("w != 2", [0, 3]),
        ("w > -1e3", [0, 1, 3, 4]),
        ("n==3", [2]),
        ("agrees == false", [1, 3]),
        ("agrees == True", [0, 4, 5]),
        ("agrees != true", [1, 3]),
        ("cluster == cluster_01 and w > 0", [1, 4]),
        ("n == 1 or n == 6", [0, 5]),
        ("n == 6 or n == 1", [5, 0]),
        ("n == 1 or n == 2 and w > 100 or n == 3", [0, 2]),
        ("(n == 1 or n == 2) and w > 1", [1]),
        ("((n == 1))", [0]),
        ('cluster == "a or b"', [5]),
        ("`my column` == 'x;y'", [0]),
        ("'my column' == `say \"hi\"`", [1]),
        ('"my column" == (a)', None),
        ('"my column" == "(a)"', [2]),
        ('"my column" == and', [3]),
        ('"my column" == "it\'s"', [4]),
        ('"my column" == "=="', [5]),
        ("top 2 by w", [1, 4]),
        ("top 9 by w", [1, 4, 0, 3]),
        ("bottom 2 by w", [3, 0]),
        ("top 2 by n where cluster == cluster_01", [4, 3]),
        ("top 1 by n where n < 3 or n == 4", [3]),
        ("(top 1 by n where n < 3) or n == 6", [1, 5]),
        ("top 3 by n and w > 0", [4]),
        ("n > 3 and top 4 by n", [3, 4, 5]),
        ("top == 6", [0]),
        ("top > 4 and n > 1", [1]),
        ("nearest 2 to blue", [3, 4, 2]),
        ("nearest 1 to 007", [4, 3]),
        ("nearest 3 to red", [1, 0, 2]),
        ("source_row > 6", [4, 5]),
        ("day >= 2024-01-10", [1, 4, 5]),
        ("day == 2024-10-01", [1]),
        ("day contains 2024-1", [1]),
        ("price > 0.1", [1, 3, 5]),
        ("price == 0.1", [0, 4]),
        ("top 1 by price", [3]),
        ("big == 9007199254740993", [1]),
    ],
)
def test_a_selection_gives_its_rows(text: str, rows: list[int] | None) -> None:
    """`column op value` joined by and/or, `top N by column`, `nearest N to LABEL`; a missing value
    meets no condition; `and` binds closer; rankings keep their order.
    """  # noqa: D205
    if rows is None:
        with pytest.raises(OptionError):
            _rows(text)
    else:
        assert _rows(text) == rows


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("clustr == x", "there is no column 'clustr'; did you mean 'cluster'?"),
        ("cluster == cluster_99", "no point has cluster 'cluster_99'; did you mean"),
        ("cluster != cluster_99", "no point has cluster 'cluster_99'; did you mean"),
        ("label == green", "no point has label 'green'"),
        ("w > big", "column 'w' holds numbers; expected == != < <= > or >= and a number"),
        ("w == nan", "column 'w' holds numbers"),
        ("w contains 2", "column 'w' holds numbers"),
        ("label > b", "column 'label' holds texts; expected ==, != or contains, got >"),
        ("top 3 by label", "column 'label' holds no numbers, so it has no top or bottom"),
        ("nearest 3 to green", "no point is labelled 'green'; there are "),
        ("nearest 3 to bule", "no point is labelled 'bule'; did you mean 'blue'?"),
        ("w > 100", "'w > 100' selects none of 6 points; loosen it"),
        ("n == 1 and n == 2", "selects none of 6 points"),
        ("", "expected a condition, got the end"),
        ("n", "expected == != <= >= < > contains, got the end"),
        ("n = 3", "cannot be read from '= 3' on"),
        ("n == 3 n == 4", "expected 'and', 'or' or the end, got n"),
        ("(n == 3", "expected ')', got the end"),
        ("n == 3)", "expected 'and', 'or' or the end, got )"),
        ("n == and", "column 'n' holds numbers"),
        ("and n == 3", "expected == != <= >= < > contains, got n"),
        ("top x by n", "expected a number from 1, got x"),
        ("top 0 by n", "expected a number from 1, got 0"),
        ("top 3 n", "expected 'by' and a column, got n"),
        ("nearest 3 blue", "expected 'to' and a label, got blue"),
        ('label == "open', "cannot be read from '\"open' on"),
        ("rows", "expected a file, got the end"),
    ],
)
def test_a_wrong_selection_is_told(text: str, said: str) -> None:
    """A wrong column, value or empty selection is a clear error."""
    with pytest.raises(OptionError) as error:
        _rows(text)
    assert said in str(error.value)


@pytest.mark.parametrize("content", ["4\n0\n", "[4, 0]", "\ufeff4 0", "4\n0\n4\n2000\n"])
def test_rows_of_a_file_are_those_of_the_input(tmp_path: Path, content: str) -> None:
    """Row ids from a file: counted in the input, before thinning; rows not shown are left out."""
    (tmp_path / "ids.txt").write_text(content, encoding="utf-8")
    selection = parse_selection("rows ids.txt", folder=tmp_path)
    assert selection.rows(POINTS).tolist() == [0, 2]


@pytest.mark.parametrize(
    "content", ["a\n", "1.5\n", "[1, null]", "[1", "{}", "-5", "[1.0]", "[true]"]
)
def test_a_file_of_something_else_is_told(tmp_path: Path, content: str) -> None:
    """got, expected, where."""
    (tmp_path / "ids.txt").write_text(content)
    selection = parse_selection("rows ids.txt", folder=tmp_path)
    with pytest.raises(OptionError, match=r"ids\.txt is no list of row numbers"):
        selection.rows(POINTS)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """got, expected, where."""
    with pytest.raises(OptionError, match=r"none\.txt cannot be read"):
        parse_selection("rows none.txt", folder=tmp_path).rows(POINTS)


def test_names_are_all_columns_that_are_read() -> None:
    """Unknown columns can be found before any work is done."""
    text = "a > 1 and (b == x or top 3 by c where d < 1) or nearest 3 to e"
    assert parse_selection(text).names() == {"a", "b", "c", "d", "label"}


def test_permuting_the_points_permutes_the_rows() -> None:
    """Rows never slip: the same items are selected, whatever their order."""
    order = np.array([3, 5, 0, 4, 1, 2])
    permuted = ViewerPoints(COLUMNS[order], VECTORS[order])
    for text in ("cluster == cluster_01 and w > 0", "top 3 by n", "nearest 2 to blue"):
        rows = parse_selection(text).rows(permuted)
        assert sorted(order[rows].tolist()) == sorted(_rows(text))
