"""Nearest neighbours on paper: `blue: red 47.6°, yellow 51.9°, purple 52.4°`."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
import polars as pl

from projector_export.errors import DataError, OptionError
from projector_export.points import LABEL, as_text
from projector_export.projector.angles import find_nearest, measure_of
from projector_export.projector.exports import Export
from projector_export.projector.metadata import EMPTY, one_line
from projector_export.projector.viewer_points import SOURCE_ROW

_MOST_SUGGESTED = 5


def find_rows(export: Export, wanted: Sequence[str]) -> list[int]:
    """Return the rows that labels, paths and row numbers name, each once, in their order.

    Args:
        export: where to look.
        wanted: each the label of one or more points, else the value of the column `path`, else a
            row number of the input, `#12`.

    Raises:
        DataError: there is none such; names the labels that are spelled nearly so.
    """
    columns = export.columns
    labels = as_text(columns[LABEL])
    rows: list[int] = []
    for name in wanted:
        found = (labels == name).arg_true()
        if not len(found) and "path" in columns.columns:
            found = (as_text(columns["path"]) == name).arg_true()
        if not len(found) and name.startswith("#") and name[1:].isdecimal():
            row = int(name[1:]) if len(name) < 12 else export.table.height
            if row < export.table.height:
                found = (columns[SOURCE_ROW] == row).arg_true()
            if not len(found):
                raise DataError(
                    f"the viewer has no row {name}; expected #0 to #{export.table.height - 1}, of "
                    f"which it has {columns.height}"
                )
        if not len(found):
            raise DataError(f"no point is labelled {name!r}{_hint(name, labels)}")
        rows += found.to_list()
    return list(dict.fromkeys(rows))


def find_neighbors(export: Export, rows: Sequence[int], *, k: int = 5) -> pl.DataFrame:
    """Return the k nearest other points of some, nearest first, in the export's metric.

    Args:
        export: whose vectors are compared, in float64.
        rows: of the viewer's points.
        k: at least 1, less than the number of points.

    Returns:
        A row a neighbour: `item` and `neighbor` (labels), `row` and `neighbor_row` (of the input),
        `path` and `neighbor_path` where the export has paths, `rank` from 1, and `angle_deg` (to
        four decimals), or `distance` for the euclidean metric.

    Raises:
        OptionError: k is out of range.
    """
    n = export.embedding.shape[0]
    if not 1 <= k < n:
        raise OptionError(f"k is {k}; expected 1 to {n - 1}, since there are {n} points")
    measure = measure_of(export)
    nearest = find_nearest(export.vectors, np.array(rows, dtype=np.int64), k=k, measure=measure)
    columns = export.columns.select(
        as_text(export.columns[LABEL]).alias("item"),
        pl.col(SOURCE_ROW).alias("row"),
        *(["path"] if "path" in export.columns.columns else []),
    )
    items = np.repeat(np.array(rows, dtype=np.int64), k)
    measured = pl.Series("distance", nearest.values.ravel())
    if measure != "distance":
        measured = measured.alias("angle_deg").round(4)
    ranks = pl.Series("rank", np.tile(np.arange(1, k + 1), len(rows)))
    found = columns[nearest.rows.ravel()].rename(
        lambda name: "neighbor" if name == "item" else f"neighbor_{name}"
    )
    return columns[items].with_columns(ranks, *found.get_columns(), measured)


def render_lines(neighbors: pl.DataFrame, export: Export) -> list[str]:
    """Return a line an item: `blue: red 47.6°, yellow 51.9°`.

    Where points of the export look alike by their labels, row numbers tell them apart:
    `blue (#12): red (#3) 47.6°`. Distances have no unit, and four digits.
    """
    labels = export.columns.select(_shown(pl.lit(as_text(export.columns[LABEL])))).to_series()
    shared = set(labels.filter(labels.is_duplicated()))
    table = neighbors.with_columns(_shown(pl.col("item", "neighbor")))
    lines = []
    for (row,), own in table.group_by("row", maintain_order=True):
        pairs = zip(own["neighbor"], own["neighbor_row"], _values(own), strict=True)
        near = ", ".join(f"{_named(label, at, shared)} {value}" for label, at, value in pairs)
        lines.append(f"{_named(own['item'][0], row, shared)}: {near}")
    return lines


def _shown(labels: pl.Expr) -> pl.Expr:
    return one_line(labels).replace("", EMPTY)


def _named(label: str, row: object, shared: set[str]) -> str:
    return f"{label} (#{row})" if label in shared else label


def _values(own: pl.DataFrame) -> list[str]:
    if "angle_deg" in own.columns:
        return [f"{angle:.1f}°" for angle in own["angle_deg"]]
    return [f"{distance:.4g}" for distance in own["distance"]]


def _hint(name: str, labels: pl.Series) -> str:
    known = labels.unique(maintain_order=True).to_list()
    by_spelling = {label.casefold(): label for label in known}
    close = difflib.get_close_matches(name.casefold(), by_spelling, n=_MOST_SUGGESTED, cutoff=0.5)
    if not close:
        first = ", ".join(map(repr, known[:_MOST_SUGGESTED]))
        return f"; there are {first}{', ...' if len(known) > _MOST_SUGGESTED else ''}"
    return f"; did you mean {', '.join(repr(by_spelling[one]) for one in close)}?"
