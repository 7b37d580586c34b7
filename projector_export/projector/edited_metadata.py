"""metadata-edited.tsv: what the viewer's data panel downloads after points were tagged there.

It has a header, also of a single column, and a line a point in the tensor's order, whatever is
isolated. Missing values are empty, and whatever JavaScript takes for a number is written anew by
it: 1.50 is 1.5, and a typed 007 is 7. A line's cells come in the order of JavaScript's property
names, whole numbers first (vz-projector-data-panel.ts, downloadMetadataClicked), while the header
keeps the columns' order.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from projector_export.errors import DataError, InputNotFoundError
from projector_export.projector.metadata import EMPTY, JS_WHITE

_DECIMAL = re.compile(r"[+-]?(?:Infinity|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)")
_WITH_BASE = re.compile(r"0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+")
_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")
_LARGEST_INDEX = 2**32 - 2


def read_edited(file: str | Path, *, known: Sequence[str], rows: int) -> dict[str, list[str]]:
    """Read the viewer's download, or a table made from it with other columns added.

    Args:
        file: the download.
        known: the viewer's columns, all of which it has to have.
        rows: number of points.

    Returns:
        N cells of each column, by the viewer's name for it; added columns among them.

    Raises:
        InputNotFoundError: no such file.
        DataError: not UTF-8, another number of lines or cells, or a column missing or there twice.
    """
    file = Path(file)
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise InputNotFoundError(
            f"{file} does not exist; expected the metadata-edited.tsv that the viewer downloads"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{file} cannot be read ({error}); expected the metadata-edited.tsv that the viewer "
            "downloads, in UTF-8"
        ) from error
    # No cell can hold a carriage return: these are an editor's line ends, as the last one is.
    header, *lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    names = header.split("\t")
    _check_names(names, known, file)
    if len(lines) != rows:
        raise DataError(
            f"{file} has {len(lines)} lines below its header, but there are {rows} points; "
            "download it again from the page of this embedding"
        )
    cells = [line.split("\t") for line in lines]
    for row, own in enumerate(cells):
        if len(own) != len(names):
            raise DataError(
                f"{file}, line {row + 2}, has {len(own)} cells but there are {len(names)} columns; "
                "a text with a tab in it?"
            )
    order = _cell_order(names, known, file)
    return dict(zip(order, map(list, zip(*cells, strict=True)), strict=True))


def read_viewer_cells(metadata: bytes) -> dict[str, list[str]]:
    """Return the cells of a metadata.tsv of this program, by the columns' names."""
    first, *lines = metadata.decode("utf-8").removesuffix("\n").split("\n")
    if "\t" not in first:
        return {"label": [first, *lines]}  # data-provider.ts, parseMetadata
    cells = [line.split("\t") for line in lines]
    return dict(zip(first.split("\t"), map(list, zip(*cells, strict=True)), strict=True))


def changed_cells(before: Sequence[str], after: Sequence[str]) -> dict[int, str]:
    """Return the cells, by row, that do not say the same as before, as the viewer reads them."""
    frame = pl.DataFrame(
        {"before": before, "after": after}, schema_overrides={"before": pl.String}
    ).with_row_index("row")
    frame = frame.filter(pl.col("before") != pl.col("after"))
    return {row: new for row, old, new in frame.iter_rows() if _as_read(old) != _as_read(new)}


def js_number(text: str) -> float | None:
    """Return what JavaScript's Number() makes of a text; None where that is no number."""
    text = text.strip(JS_WHITE)
    if not text:
        return 0.0
    if _DECIMAL.fullmatch(text):
        return float(text)
    if not _WITH_BASE.fullmatch(text):
        return None
    try:
        return float(int(text, 0))
    except OverflowError:
        return math.inf


def _as_read(cell: str) -> str | float | None:
    if cell in ("", EMPTY):
        return None
    number = js_number(cell)
    return cell if number is None else number


def _check_names(names: Sequence[str], known: Sequence[str], file: Path) -> None:
    lacking = [name for name in known if name not in names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if lacking or twice:
        what = f"lacks {', '.join(map(repr, lacking))}" if lacking else f"has {twice[0]!r} twice"
        raise DataError(
            f"the header of {file} {what}; expected the viewer's columns ({', '.join(known)}), and "
            "perhaps others after them"
        )


def _cell_order(names: list[str], known: Sequence[str], file: Path) -> list[str]:
    """Return the names in the order of a line's cells."""
    numbers = [name for name in known if _is_index(name)]
    if not numbers:
        return names
    if names[: len(known)] != list(known):
        raise DataError(
            f"the header of {file} has the columns in another order than the viewer, which sorts "
            f"those that are called by numbers ({', '.join(numbers)}); leave the order as it was"
        )
    others = [name for name in known if not _is_index(name)]
    return [*sorted(numbers, key=int), *others, *names[len(known) :]]


def _is_index(name: str) -> bool:
    """Whether JavaScript takes a property's name for the index of an array."""
    return _INDEX.fullmatch(name) is not None and int(name) <= _LARGEST_INDEX
