"""metadata-edited.tsv, as the viewer's JavaScript writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from projector_export.errors import DataError, InputNotFoundError
from projector_export.projector.edited_metadata import (
    changed_cells,
    js_number,
    read_edited,
    read_viewer_cells,
)


def write(folder: Path, text: str) -> Path:
    """Write the file, bytes as given."""
    file = folder / "metadata-edited.tsv"
    file.write_bytes(text.encode("utf-8"))
    return file


@pytest.mark.parametrize(
    "text",
    [
        "label\tn\nアジ\t1\nb\t",  # as the viewer writes it: no last line end
        "label\tn\nアジ\t1\nb\t\n",
        "\ufefflabel\tn\r\nアジ\t1\r\nb\t\r\n",
        "n\tlabel\n1\tアジ\n\tb",
    ],
)
def test_cells_are_read_by_column(tmp_path: Path, text: str) -> None:
    """Header = column names; rows in the tensor's order; nulls become empty."""
    cells = read_edited(write(tmp_path, text), known=["label", "n"], rows=2)
    assert cells == {"label": ["アジ", "b"], "n": ["1", ""]}


def test_a_single_column_has_a_header(tmp_path: Path) -> None:
    """The viewer's download has one, though metadata.tsv of one column has none."""
    file = write(tmp_path, "label\na\nb")
    assert read_edited(file, known=["label"], rows=2) == {"label": ["a", "b"]}
    assert read_viewer_cells(b"a\nb\n") == {"label": ["a", "b"]}
    assert read_viewer_cells(b"label\tx\na\t1\nb\t\n") == {"label": ["a", "b"], "x": ["1", ""]}


def test_columns_called_by_numbers_come_first_in_each_line(tmp_path: Path) -> None:
    """JavaScript lists properties named 0, 1, ... 10 before all others, ascending."""
    known = ["label", "10", "x", "2", "007", "4294967295", "4294967294"]
    line = "two\tten\tlast\tlabel\tx\t007\ttoo large"
    file = write(tmp_path, "\t".join([*known, "added"]) + f"\n{line}\tnew")
    assert read_edited(file, known=known, rows=1) == {
        "2": ["two"], "10": ["ten"], "4294967294": ["last"], "label": ["label"], "x": ["x"],
        "007": ["007"], "4294967295": ["too large"], "added": ["new"],
    }  # fmt: skip
    file = write(tmp_path, "2\tlabel\na\tb")
    with pytest.raises(DataError, match="in another order"):
        read_edited(file, known=["label", "2"], rows=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label\na\nb", "lacks 'n'"),
        ("label\tn\ta\ta\n1\t2\t3\t4\n1\t2\t3\t4", "has 'a' twice"),
        ("label\tn\na\t1", "has 1 lines below its header, but there are 2 points"),
        ("label\tn\na\t1\nb\t2\nc\t3", "has 3 lines"),
        ("label\tn\na\t1\nb\tx\t2", "line 3, has 3 cells but there are 2 columns"),
        ("label\tn\na\t1\nb", "line 3, has 1 cells"),
        ("", "lacks 'label', 'n'"),
    ],
)
def test_another_shape_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """Removed columns or another row count: a clear error."""
    with pytest.raises(DataError, match=message):
        read_edited(write(tmp_path, text), known=["label", "n"], rows=2)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """Not UTF-8, a folder, nothing there."""
    (tmp_path / "l.tsv").write_bytes("label\n\xe9".encode("latin-1"))
    with pytest.raises(DataError, match="in UTF-8"):
        read_edited(tmp_path / "l.tsv", known=["label"], rows=1)
    with pytest.raises(DataError, match="cannot be read"):
        read_edited(tmp_path, known=["label"], rows=1)
    with pytest.raises(InputNotFoundError, match="does not exist"):
        read_edited(tmp_path / "none.tsv", known=["label"], rows=1)


def test_numbers_are_compared_as_numbers() -> None:
    """Numbers are written anew by JavaScript; text is compared as it is."""
    same = [
        ("1e-7", "1e-7"), ("0.00001", "0.00001"), ("1.50", "1.5"), ("1e+25", "1e25"),
        ("9007199254740993", "9007199254740992"), ("-0.0", "0"), ("1.5    ", "1.5"), ("   ", "0"),
        ("", ""), ("007\u2060", "007\u2060"), ("nan", "nan"), ("(empty)", "(empty)"),
        ("(empty)", ""), ("アジ", "アジ"), ("123456789012345680000", "123456789012345680000"),
    ]  # fmt: skip
    assert changed_cells([a for a, _ in same], [b for _, b in same]) == {}
    other = [("007\u2060", "7"), ("a", "A"), ("1", ""), ("", "0"), ("x", "x "), ("0.1", "0.10001")]
    assert changed_cells(["same", *(a for a, _ in other)], ["same", *(b for _, b in other)]) == {
        1: "7", 2: "A", 3: "", 4: "0", 5: "x ", 6: "0.10001"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", 0), (" 12 ", 12), ("\u30001e3", 1000), (".5", 0.5), ("5.", 5), ("0x1F", 31),
        ("0b11", 3), ("0o17", 15), ("-Infinity", float("-inf")), ("0x" + "f" * 400, float("inf")),
        ("1_000", None), ("nan", None), ("inf", None), ("-0x1", None), ("٣", None), ("1,5", None),
    ],
)  # fmt: skip
def test_numbers_are_javascript_s(text: str, number: float | None) -> None:
    """What Number() takes, and nothing else that Python would."""
    assert js_number(text) == number
