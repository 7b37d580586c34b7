"""Columns that tell labels: what becomes of `agrees` and `nearest` when labels are corrected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from projector_export.points import LABEL, as_text
from projector_export.projector.angles import angles_to, is_reduced, measure_of
from projector_export.projector.exports import Export

LABEL_COLUMNS = frozenset(["agrees", "nearest", "cluster_name"])
"""Made from labels: an edit of these is no fact, and is not taken over."""

CONFUSION_CLASSES = 50
_ROWS_AT_ONCE = 64
_MOST_PRODUCTS = 2e11  # multiplications, some 20 s
# Between the float32 of the column and float64: rounding, and the lowest byte of the first number
# of the tensor (see `tensor`).
_TOLERANCE_DEG = 5e-3


def has_agreement(export: Export) -> bool:
    """Whether `agrees` is this program's column, and not one of the user's."""
    is_boolean = export.table.schema.get("agrees") == pl.Boolean
    return is_boolean and "classes" in export.manifest.get("zero_shot", {})


def agree_anew(table: pl.DataFrame, zero_shot: Mapping[str, Any]) -> pl.DataFrame:
    """Return the table with `agrees` for its labels, by the rule of the zero-shot classes.

    True or false where the label is a class, ignoring case; missing where it is none, for captions,
    class points and known-normal items.

    Args:
        table: all points, with `label` and `predicted`.
        zero_shot: what the manifest says of the classes.
    """
    classes: list[str] = list(zero_shot["classes"])
    by_name = {name.casefold(): name for name in classes}
    meant = [by_name.get(label.casefold()) for label in as_text(table[LABEL]).to_list()]
    frame = table.select("predicted", pl.Series("meant", meant, dtype=pl.String))
    agrees = pl.when(_can_agree(table)).then(pl.col("meant") == pl.col("predicted"))
    return table.with_columns(frame.select(agrees.alias("agrees")).to_series())


def agreement_facts(table: pl.DataFrame, zero_shot: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the manifest says of the classes, with accuracy and confusion counted anew."""
    facts = {k: v for k, v in zero_shot.items() if k not in ("accuracy", "confusion")}
    known = table.filter(pl.col("agrees").is_not_null())
    if not known.height:
        return facts
    facts["accuracy"] = round(float(known["agrees"].cast(pl.Float64).mean()), 4)  # type: ignore[arg-type]
    classes: list[str] = list(zero_shot["classes"])
    if len(classes) <= CONFUSION_CLASSES:
        by_name = {name.casefold(): name for name in classes}
        true = [by_name[label.casefold()] for label in as_text(known[LABEL]).to_list()]
        counts: dict[str, dict[str, int]] = {}
        for name, predicted in zip(true, known["predicted"].to_list(), strict=True):
            row = counts.setdefault(name, {})
            row[predicted] = row.get(predicted, 0) + 1
        facts["confusion"] = {
            name: {other: counts[name][other] for other in classes if other in counts[name]}
            for name in classes
            if name in counts
        }
    return facts


def follow_nearest(
    export: Export, labels: pl.Series, rows: Sequence[int]
) -> tuple[pl.Series, str | None]:
    """Return `nearest` for new labels, and what of it still tells old ones.

    The nearest other point is known by its label and its angle only. Where one of the points that
    changed has the old label and that angle, it is that one; of several, the one whose angle fits
    best, or whose distance is least where the metric is euclidean.

    Args:
        export: with the old labels.
        labels: all points' new ones.
        rows: of the viewer's points whose label changed.
    """
    nearest = export.table["nearest"]
    n, dims = export.embedding.shape
    if is_reduced(export):
        return nearest, "`nearest`, since the viewer has principal components only"
    too_many = f"`nearest`, since {len(rows)} of {n} new labels are many to look through"
    if float(n) * len(rows) * dims > _MOST_PRODUCTS:
        return nearest, too_many
    known = _Known(export)
    near = known.rows_near(np.array(rows))
    if float(n) * len(near) * dims > _MOST_PRODUCTS:
        return nearest, too_many
    told, new = nearest.to_list(), as_text(labels).to_list()
    for row, found in known.nearest_of(near):
        told[row] = new[found]
    hidden = len(labels) - n
    why = f"`nearest` of the {hidden} points that the viewer does not have" if hidden else None
    return pl.Series("nearest", told, dtype=nearest.dtype), why


class _Known:
    """What an export tells of each point's nearest one: its label, as a number, and its angle."""

    def __init__(self, export: Export) -> None:
        columns = export.columns
        self.vectors = export.vectors
        self.by_distance = measure_of(export) == "distance"
        self.angles = columns["nearest_angle"].to_numpy().astype(np.float64)
        numbers: dict[str, int] = {}
        self.labels, self.told = (
            np.array([numbers.setdefault(text, len(numbers)) for text in as_text(values).to_list()])
            for values in (columns[LABEL], columns["nearest"])
        )

    def rows_near(self, changed: np.ndarray) -> list[int]:
        """Return the rows whose nearest point may be one of those that changed."""
        near: list[int] = []
        start = 0
        for angles in angles_to(self.vectors, changed):
            here = np.arange(start, start + len(angles))[:, None]
            fits = np.abs(angles - self.angles[here]) <= _TOLERANCE_DEG
            fits &= (self.told[here] == self.labels[changed]) & (here != changed)
            near += here[fits.any(axis=1), 0].tolist()
            start += len(angles)
        return near

    def nearest_of(self, rows: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Give each of the rows that has one with the row that fits best."""
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            some = np.array(rows[start : start + _ROWS_AT_ONCE])
            angles = np.concatenate(list(angles_to(self.vectors, some)))
            for row, own in zip(some.tolist(), angles.T, strict=True):
                found = self._best(row, np.abs(own - self.angles[row]))
                if found is not None:
                    yield row, found

    def _best(self, row: int, apart: np.ndarray) -> int | None:
        fits = (apart <= _TOLERANCE_DEG) & (self.labels == self.told[row])
        fits[row] = False
        among = np.flatnonzero(fits)
        if not len(among):
            return None
        if self.by_distance:  # whatever the angle
            here, there = (self.vectors[r].astype(np.float64) for r in (row, among))
            return int(among[np.linalg.norm(there - here, axis=1).argmin()])
        best = self.vectors[among[apart[among].argmin()]]
        # The graph has equal points in the order of their rows.
        return int(among[(self.vectors[among] == best).all(axis=1).argmax()])


def _can_agree(table: pl.DataFrame) -> pl.Expr:
    wanted = pl.lit(value=True)
    if "kind" in table.columns:
        wanted &= pl.Series((table["kind"] == "image").fill_null(value=True))
    if "known_normal" in table.columns:
        wanted &= pl.Series(~table["known_normal"].fill_null(value=False))
    return wanted
