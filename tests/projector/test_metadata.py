"""metadata.tsv: exactly one line a point, whatever people's cells hold."""

from __future__ import annotations

import random
import re
from datetime import UTC, date, datetime, time, timedelta

import polars as pl
import pytest

from projector_export.projector.metadata import render_metadata

# What JavaScript's trim() takes off and its Number() overlooks (ECMA-262, WhiteSpace and
# LineTerminator). Python's strip() differs: it leaves U+FEFF.
JS_WHITE = "\t\n\v\f\r \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff" + "".join(
    chr(code) for code in range(0x2000, 0x200B)
)
JS_NUMBER = re.compile(
    r"[+-]?(Infinity|([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?)"
    r"|0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+"
)


def _js_is_number(text: str) -> bool:
    return JS_NUMBER.fullmatch(text.strip(JS_WHITE)) is not None


def _render(columns: dict[str, object]) -> str:
    return render_metadata(pl.DataFrame(columns)).decode("utf-8")


def test_two_columns_have_a_header() -> None:
    """One column: no header. Two or more: a header."""
    assert _render({"label": ["a", "b"], "n": [1, -2]}) == "label\tn\na\t1\nb\t-2\n"
    assert _render({"label": ["a", "b"]}) == "a\nb\n"


@pytest.mark.parametrize(
    ("cell", "line"),
    [
        ("plain", "plain"),
        ("with space", "with space"),
        ("a\tb", "a b"),
        ("a\nb", "a b"),
        ("a\r\nb", "a b"),
        ("a\rb", "a b"),
        ("\n\na\n", "a"),
        ("a\u2028b\u2029c", "a b c"),
        ("a\u0085b", "a b"),
        ("a\x0bb\x0cc\x1cd\x00e\x7ff", "a b c d e f"),
        ("😀 🐟", "😀 🐟"),
        ("アジ", "アジ"),
        ('say "hi"', 'say "hi"'),
        ("a,b;c", "a,b;c"),
        ("<b>&amp;", "<b>&amp;"),
        ("", "(empty)"),
        (None, "(empty)"),
        ("   ", "(empty)"),
        ("\t\n", "(empty)"),
        ("\u3000\u00a0", "(empty)"),
        ("\ufeff", "(empty)"),
        ("nan", "nan"),
        ("null", "null"),
        ("(empty)", "(empty)"),
    ],
)
def test_text_cell_is_shown_on_one_line(cell: str | None, line: str) -> None:
    """Tabs, line breaks and control characters may not be in a cell; no text cell is empty."""
    assert _render({"label": [cell]}) == f"{line}\n"
    assert _render({"label": ["x"], "note": [cell]}) == f"label\tnote\nx\t{line}\n"


@pytest.mark.parametrize(
    "cell",
    [
        *["007", "7", "-7", "+7", "1.5", ".5", "5.", "1e5", "1E-5", "-.5e+3"],
        *["0x1F", "0Xff", "0o17", "0b101", "Infinity", "-Infinity", "+Infinity", "1e999"],
    ],
)
def test_text_that_javascript_reads_as_a_number_is_marked(cell: str) -> None:
    """Text that looks like a number becomes one: 007 would show as 7. U+2060 is not seen."""
    assert _js_is_number(cell)
    assert _render({"label": [cell, "x"]}) == f"{cell}\u2060\nx\n"
    assert not _js_is_number(f"{cell}\u2060")


@pytest.mark.parametrize("white", [" ", "\u3000", "\u00a0", "\ufeff"])
def test_white_space_around_a_number_does_not_hide_it(white: str) -> None:
    """JavaScript's Number() overlooks white space, U+FEFF too."""
    lines = _render({"label": [f"{white}007{white}", "x"]}).split("\n")
    assert not _js_is_number(lines[0])
    assert "007" in lines[0]


@pytest.mark.parametrize(
    "cell",
    [
        "1_000",
        "1,5",
        "-0x10",
        "0x",
        "infinity",
        "NaN",
        "1e",
        "e5",
        ".",
        "1.2.3",
        "12a",
        "1 2",
        "٣a",
    ],
)
def test_text_that_javascript_does_not_read_as_a_number_is_left_alone(cell: str) -> None:
    """The mark is only for what would change."""
    assert not _js_is_number(cell)
    assert _render({"label": [cell, "x"]}) == f"{cell}\nx\n"


def test_numbers_stay_numbers() -> None:
    """Numbers keep their values: floats to 6 significant digits or more."""
    text = _render(
        {
            "label": ["a", "b", "c", "d"],
            "i": [1, -20, 0, 9007199254740991],
            "f": [0.1, 1e-7, 123456.0, -1e20],
        }
    )
    rows = [line.split("\t") for line in text.split("\n")[1:-1]]
    assert [row[1] for row in rows] == ["1", "-20", "0", "9007199254740991"]
    assert [float(row[2]) for row in rows] == [0.1, 1e-7, 123456.0, -1e20]
    assert all(_js_is_number(cell) for row in rows for cell in row[1:])


def test_float32_is_not_shown_with_noise() -> None:
    """A float32 of 0.1 is 0.1, not 0.10000000149."""
    columns = pl.DataFrame({"label": ["a", "b"], "f": pl.Series([0.1, 0.7], dtype=pl.Float32)})
    assert render_metadata(columns) == b"label\tf\na\t0.1\nb\t0.7\n"


def test_nan_and_infinity_become_empty_cells() -> None:
    """The text nan (or inf) makes a numeric column text; an empty cell keeps the gradient."""
    values = [1.5, float("nan"), float("inf"), float("-inf"), None]
    text = _render({"label": list("abcde"), "f": values})
    assert text == "label\tf\na\t1.5\nb\t\nc\t\nd\t\ne\t\n"


def test_missing_integers_become_empty_cells() -> None:
    """In numeric columns empty cells are the lesser evil."""
    assert _render({"label": ["a", "b"], "i": [None, 3]}) == "label\ti\na\t\nb\t3\n"


def test_booleans_are_words() -> None:
    """Booleans keep their values; a missing one is a text that is missing."""
    text = _render({"label": ["a", "b", "c"], "b": [True, False, None]})
    assert text == "label\tb\na\ttrue\nb\tfalse\nc\t(empty)\n"


@pytest.mark.parametrize(
    ("series", "cells"),
    [
        (pl.Series([date(2024, 1, 2), None]), ["2024-01-02", "(empty)"]),
        (pl.Series([datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), None]), None),
        (pl.Series([time(3, 4, 5), None]), ["03:04:05", "(empty)"]),
        (pl.Series([timedelta(days=1), None]), None),
        (pl.Series(["x", None], dtype=pl.Categorical), ["x", "(empty)"]),
        (pl.Series(["x", None], dtype=pl.Enum(["x"])), ["x", "(empty)"]),
        (pl.Series([[1, 2], None]), ["[1, 2]", "(empty)"]),
        (pl.Series([{"a": "b\nc"}, {"a": None}]), None),
        (pl.Series([b"a\n\xff", None]), None),
        (pl.Series([None, None], dtype=pl.Null), ["(empty)", "(empty)"]),
        (pl.Series([1 + 2j, None], dtype=pl.Object), ["(1+2j)", "(empty)"]),
        (pl.Series(["1.10", None]).cast(pl.Decimal(10, 2)), ["1.1", ""]),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, pl.Series) else "",
)
def test_a_column_of_any_type_is_one_cell_a_row(series: pl.Series, cells: list[str] | None) -> None:
    """Everything else is shown as text on one line."""
    columns = pl.DataFrame({"label": ["a", "b"]}).with_columns(series.alias("any"))
    lines = render_metadata(columns).decode("utf-8").split("\n")
    assert [len(line.split("\t")) for line in lines] == [2, 2, 2, 1]
    if cells is not None:
        assert [line.split("\t")[1] for line in lines[1:3]] == cells
    assert lines[1].split("\t")[1].strip() or series[0] is None


def test_no_row_is_blank() -> None:
    """A row that is blank after trimming is skipped, and every later label slides up by one."""
    assert _render({"n": [1.5, None, 2.5]}) == "1.5\n(empty)\n2.5\n"
    assert _render({"n": [1, None], "m": [None, None]}).split("\n")[2].strip() != ""
    text = _render({"n": [1, None, 3], "m": [1.0, float("nan"), None]})
    assert text == "n\tm\n1\t1.0\n(empty)\t\n3\t\n"


@pytest.mark.parametrize(
    ("names", "header"),
    [
        (["label", "a\tb"], "label\ta b"),
        (["label", "a\nb"], "label\ta b"),
        (["label", ""], "label\tcolumn"),
        (["label", " label "], "label\tlabel_2"),
        (["a b", "a\tb", "a\nb"], "a b\ta b_2\ta b_3"),
        (["a", "a ", "a_2"], "a\ta_2\ta_2_2"),
        (["", " ", "column"], "column\tcolumn_2\tcolumn_3"),
        (["名前", "種 類"], "名前\t種 類"),
        (["label", "007"], "label\t007"),
    ],
)
def test_column_names_are_clean_and_unique(names: list[str], header: str) -> None:
    """Column names must be unique, and the header is one line."""
    columns = pl.DataFrame({name: ["x"] for name in names})
    lines = render_metadata(columns).decode("utf-8").split("\n")
    assert lines[0] == header
    assert lines[1:] == ["\t".join(["x"] * len(names)), ""]


def test_rows_keep_their_order() -> None:
    """Line i is point i."""
    labels = [f"point {i}" for i in range(1000)]
    assert _render({"label": labels}) == "".join(f"point {i}\n" for i in range(1000))


NASTY = [
    *["", " ", "\t", "\n", "\r", "\r\n", "\u2028", "\u2029", "\u0085", "\v", "\f", "\x1c", "\x1d"],
    *["\x1e", "\x1f", "\x00", "\x7f", "\u00a0", "\u3000", "\ufeff", "\u200b", "\u2060", "\u1680"],
    *[
        "007",
        "1e5",
        "nan",
        "-inf",
        "a",
        "魚",
        "😀",
        "e\u0301",
        '"',
        "'",
        "\\",
        "\\n",
        "#",
        "\u202e",
    ],
]


@pytest.mark.parametrize("seed", range(20))
def test_any_text_gives_one_line_a_point_for_every_reader(seed: int) -> None:
    """N lines, and a header before them, for TensorBoard (line feeds), Python and the browser."""
    dice = random.Random(seed)
    n_rows, n_columns = dice.randint(1, 20), dice.randint(1, 4)
    columns = {
        f"{dice.choice(NASTY)}{c}": pl.Series(
            [
                dice.choice([None, "".join(dice.choices(NASTY, k=dice.randint(0, 4)))])
                for _ in range(n_rows)
            ],
            dtype=pl.String,
        )
        for c in range(n_columns)
    }
    text = _render(columns)
    expected = n_rows + (n_columns > 1)
    lines = text.split("\n")
    assert lines.pop() == ""
    assert len(lines) == expected
    assert len(text.splitlines()) == expected
    assert len([line for line in lines if line.strip(JS_WHITE)]) == expected
    for line in lines:
        cells = line.split("\t")
        assert len(cells) == n_columns
        assert all(cell.strip(JS_WHITE) for cell in cells)
    for line in lines[n_columns > 1 :]:
        assert not any(_js_is_number(cell) for cell in line.split("\t"))


@pytest.mark.parametrize("shift", [1, 2, 3, 4, 5, 6])
def test_padding_never_stands_in_an_empty_cell(shift: int) -> None:
    """A missing number stays missing: JavaScript reads spaces as 0 (slices are a million bytes)."""
    n = 60_000
    labels = ["x" * shift, *("アジサバイワシ" * 2 + "x" * (i % 3) for i in range(1, n))]
    numbers = [0.5 if i % 7 == 0 else None for i in range(n)]
    text = render_metadata(pl.DataFrame({"label": labels, "w": numbers}))
    assert len(text) > 2_500_000
    shown = "".join(
        text[start : start + 1_000_000].decode("utf-8", "replace")
        for start in range(0, len(text), 1_000_000)
    )
    lines = shown.rstrip("\n").split("\n")[1:]
    cells = [line.split("\t") for line in lines]
    assert [cell[0] for cell in cells] == labels
    assert [cell[1].rstrip(" ") for cell in cells] == ["0.5" if v else "" for v in numbers]
    assert any(cell[1].endswith(" ") for cell in cells) or shift in (3, 6)
    assert not [cell for cell in cells if cell[1].isspace()]
