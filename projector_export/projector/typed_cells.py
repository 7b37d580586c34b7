"""Texts from the viewer go into a column of numbers, truth values, dates or texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from projector_export.errors import DataError
from projector_export.points import as_text
from projector_export.projector.edited_metadata import js_number
from projector_export.projector.metadata import EMPTY, TEXT_MARK

_TRUTH = {"true": True, "false": False}
_EXACT = 2**53  # whole numbers above it are not all float64's, which JavaScript's are


def is_number_column(cells: Sequence[str], values: pl.Series) -> bool:
    """Whether the viewer has numbers there: a label with gaps is shown as text."""
    return values.dtype.is_numeric() and not any(
        cell == EMPTY or cell.endswith(TEXT_MARK) for cell in cells
    )


def set_cells(values: pl.Series, cells: Sequence[str], changes: Mapping[int, str]) -> pl.Series:
    """Return a column with some cells changed, of the same type where the new values allow.

    A text that the viewer shows for other points of the column means their very value: `007` for
    one that it shows as a number, a long text for one that it shows cut. An empty cell is a
    missing value.

    Args:
        values: the column; its first N rows are the viewer's points.
        cells: (N,) what the viewer has for these.
        changes: new cells by row.

    Raises:
        DataError: a column of numbers gets a text.
    """
    if is_number_column(cells, values):
        return _set_numbers(values, changes)
    donors = {text: _find_donor(text, values, cells) for text in set(changes.values())}
    sources = list(range(len(values)))
    typed = {}
    for row, text in changes.items():
        donor = donors[text]
        if donor is None:
            typed[row] = text
        else:
            sources[row] = donor
    return _set_texts(values.gather(sources), typed)


def new_column(name: str, cells: Sequence[str], *, height: int) -> pl.Series:
    """Return a column of texts, or of numbers where all cells that are not empty are numbers.

    Args:
        name: of the column.
        cells: (N,) of the viewer's points.
        height: N or more; the rows beyond have no value.
    """
    filled = [None if cell in ("", EMPTY) else cell for cell in cells]
    padding = [None] * (height - len(cells))
    numbers = [js_number(cell) for cell in filled if cell is not None]
    if numbers and None not in numbers:
        dtype = pl.Int64 if all(_fits(n, pl.Int64()) for n in numbers) else pl.Float64
        found = [None if cell is None else js_number(cell) for cell in filled]
        return pl.Series(name, [*found, *padding], dtype=pl.Float64).cast(dtype)
    return pl.Series(name, [*map(_unmarked, filled), *padding], dtype=pl.String)


def _set_numbers(values: pl.Series, changes: Mapping[int, str]) -> pl.Series:
    numbers: dict[int, float | None] = {}
    for row, text in changes.items():
        number = None if text in ("", EMPTY) else js_number(text)
        if number is None and text not in ("", EMPTY):
            raise DataError(
                f"column {values.name!r} holds numbers, but the file has {text!r} in line "
                f"{row + 2}; expected a number or an empty cell"
            )
        numbers[row] = number
    for dtype in (values.dtype, pl.Int64, pl.Float64):
        wider = _widened(values, dtype)
        if wider is not None and all(_fits(number, dtype) for number in numbers.values()):
            return _scatter(wider, numbers)
    raise DataError(
        f"column {values.name!r} holds {values.dtype}, which cannot take the new numbers beside "
        "the old ones; change it in the table that was exported"
    )


def _widened(values: pl.Series, dtype: pl.DataType | type[pl.DataType]) -> pl.Series | None:
    """Return the column as another type, or None where that would change a value."""
    if values.dtype == dtype:
        return values
    if values.dtype.is_float():
        return None
    wider = values.cast(dtype, strict=False)
    return wider if wider.cast(values.dtype, strict=False).equals(values) else None


def _fits(number: float | None, dtype: Any) -> bool:
    if number is None:
        return True
    if dtype.is_float():
        return True
    if dtype.is_integer() and not (number.is_integer() and abs(number) <= _EXACT):
        return False
    held = pl.Series([number], dtype=pl.Float64).cast(dtype, strict=False)
    return held.cast(pl.Float64).to_list() == [number]


def _find_donor(text: str, values: pl.Series, cells: Sequence[str]) -> int | None:
    """Return a row whose cell is shown so, where all that are have one value."""
    rows = [row for row, cell in enumerate(cells) if cell == text]
    number = js_number(text) if text else None
    if not rows and number is not None:
        # The viewer has turned what was typed into a number, whatever its spelling was.
        marked = (row for row, cell in enumerate(cells) if cell.endswith(TEXT_MARK))
        rows = [row for row in marked if js_number(cells[row].removesuffix(TEXT_MARK)) == number]
    found = as_text(values.gather(rows))
    return rows[0] if rows and found.n_unique() == 1 else None


def _set_texts(values: pl.Series, texts: Mapping[int, str]) -> pl.Series:
    """Set cells to what their texts mean in the column's type, or make the column text."""
    if not texts:
        return values
    meant = {row: None if text in ("", EMPTY) else _unmarked(text) for row, text in texts.items()}
    if values.dtype == pl.Boolean:
        truths = [_TRUTH.get(text.lower()) for text in meant.values() if text is not None]
        if None not in truths:
            return _scatter(
                values, {row: _TRUTH.get((text or "").lower()) for row, text in meant.items()}
            )
    elif values.dtype == pl.String:
        return _scatter(values, {row: text or "" for row, text in meant.items()})
    else:
        given = pl.Series(list(meant.values()), dtype=pl.String)
        parsed = _parse(given, values.dtype)
        if parsed is not None:
            return _scatter(values, dict(zip(meant, parsed, strict=True)))
    whole = pl.select(pl.when(values.is_not_null()).then(as_text(values))).to_series()
    return _scatter(whole.alias(values.name), meant)


def _parse(texts: pl.Series, dtype: pl.DataType) -> pl.Series | None:
    try:
        if dtype == pl.Date:
            return texts.str.to_date("%Y-%m-%d")
        return texts.cast(dtype, strict=True)
    except pl.exceptions.PolarsError:
        return None


def _scatter(values: pl.Series, cells: Mapping[int, Any]) -> pl.Series:
    given: list[Any] = [None] * len(values)
    is_given = [False] * len(values)
    for row, value in cells.items():
        given[row], is_given[row] = value, True
    fresh = pl.Series(given, dtype=values.dtype, strict=False)
    chosen = pl.when(pl.Series(is_given)).then(fresh).otherwise(values)
    return pl.select(chosen.alias(values.name)).to_series()


def _unmarked(text: str | None) -> str | None:
    """Return a text without the mark that keeps the viewer from reading it as a number."""
    if text is None or not text.endswith(TEXT_MARK):
        return text
    bare = text.removesuffix(TEXT_MARK)
    return text if js_number(bare) is None else bare
