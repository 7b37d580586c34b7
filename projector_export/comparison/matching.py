"""Which rows of two exports show the same examples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from projector_export.errors import DataError, OptionError
from projector_export.points import LABEL, as_text
from projector_export.projector.exports import Export
from projector_export.projector.viewer_points import SOURCE_ROW
from projector_export.training.series import EXAMPLE


@dataclass(frozen=True, eq=False)
class Pairs:
    """Which rows show the same examples, in the first export's order.

    Attributes:
        a: (N,) row numbers of the first.
        b: (N,) row numbers of the second.
        by: the column that told; None for row by row.
        only_a: rows that only the first has.
        only_b: rows that only the second has.
    """

    a: np.ndarray
    b: np.ndarray
    by: str | None = None
    only_a: int = 0
    only_b: int = 0

    def notes(self, a: Export, b: Export) -> list[str]:
        """Say how many were left out."""
        return [
            f"{number} of {export.columns.height} points of {export.folder} are left out: the "
            f"other has no such {self.by!r}"
            for number, export in ((self.only_a, a), (self.only_b, b))
            if number
        ]


def match_rows(a: Export, b: Export, *, by: str | None = None) -> Pairs:
    """Find the rows of two exports that show the same examples.

    Args:
        a: the first.
        b: the second.
        by: see `compare_exports`; missing and blank values match nothing.

    Raises:
        OptionError: a column that is not in both.
        DataError: rows or labels differ, values are not unique, or fewer than two match.
    """
    if by is None:
        _check_same_rows(a, b)
        rows = np.arange(a.columns.height)
        return Pairs(rows, rows)
    both = [name for name in a.columns.columns if name in b.columns.columns]
    for export in (a, b):
        if by not in export.columns.columns:
            raise OptionError(f"{export.folder} has no column {by!r}; both have {', '.join(both)}")
    keys_a, keys_b = _keys(a.columns[by], b.columns[by])
    _check_unique(keys_a, a, by)
    _check_unique(keys_b, b, by)
    matched = keys_a.join(keys_b, on="key", how="inner", suffix="_b").sort("row")
    if matched.height < 2:
        raise DataError(
            f"{a.folder} and {b.folder} have {matched.height} values of {by!r} in common, such as "
            f"{_sample(keys_a)} and {_sample(keys_b)}; expected the same examples in both"
        )
    n = matched.height
    return Pairs(
        matched["row"].to_numpy(),
        matched["row_b"].to_numpy(),
        by,
        a.columns.height - n,
        b.columns.height - n,
    )


def _check_same_rows(a: Export, b: Export) -> None:
    n, other = a.columns.height, b.columns.height
    matching = "to match them by a column of ids, give --by"
    if n != other:
        raise DataError(
            f"{b.folder} shows {other} points but {a.folder} {n}; expected the same examples in "
            f"the same order: {matching}"
        )
    # Where not all are shown: which of the input's rows they are.
    differing = np.flatnonzero(_input_rows(a) != _input_rows(b))
    if len(differing):
        raise DataError(
            f"{a.folder} and {b.folder} show different rows of their inputs (max_points), so they "
            f"cannot be compared row by row: {matching} {SOURCE_ROW}, or another column"
        )
    label_a, label_b = as_text(a.columns[LABEL]), as_text(b.columns[LABEL])
    differing = np.flatnonzero((label_a != label_b).to_numpy())
    if len(differing):
        row = int(differing[0])
        raise DataError(
            f"{b.folder} has label {label_b[row]!r} in row {row} but {a.folder} has "
            f"{label_a[row]!r} ({len(differing)} of {n} differ); expected the same examples in "
            f"the same order: {matching}"
        )


def _input_rows(export: Export) -> np.ndarray:
    rows = export.columns[SOURCE_ROW]
    if EXAMPLE in export.columns.columns and export.columns[EXAMPLE].dtype.is_integer():
        rows = export.columns[EXAMPLE]
    return rows.cast(pl.Int64).to_numpy()


def _keys(a: pl.Series, b: pl.Series) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The values of both in one type, each with its row; missing and blank ones left out."""
    if a.dtype.is_integer() and b.dtype.is_integer():
        a, b = a.cast(pl.Int64), b.cast(pl.Int64)
    elif a.dtype.is_numeric() and b.dtype.is_numeric():
        a, b = a.cast(pl.Float64), b.cast(pl.Float64)
    elif a.dtype != b.dtype or not (a.dtype.is_temporal() or a.dtype == pl.Boolean):
        a, b = as_text(a).str.strip_chars(), as_text(b).str.strip_chars()
    frames = (pl.DataFrame({"key": key}).with_row_index("row") for key in (a, b))
    one, other = (frame.filter(pl.col("key").cast(pl.String) != "") for frame in frames)
    return one, other


def _check_unique(keys: pl.DataFrame, export: Export, by: str) -> None:
    counted = keys["key"].value_counts(sort=True)
    if counted.height and counted["count"][0] > 1:
        raise DataError(
            f"{export.folder} has {str(counted['key'][0])!r} {counted['count'][0]} times in column "
            f"{by!r}; expected a column that has each value once, such as an id or a path"
        )


def _sample(keys: pl.DataFrame) -> str:
    return repr(str(keys["key"][0])) if keys.height else "(nothing)"
