"""Take over what was tagged in the viewer: into points.parquet, metadata.tsv and the manifest."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from projector_export.analysis.naming import names_by_labels
from projector_export.editing import rewrite_export
from projector_export.errors import DataError
from projector_export.points import ENCODING_COLUMNS, LABEL, OUR_COLUMNS, as_text
from projector_export.projector.edited_metadata import (
    changed_cells,
    js_number,
    read_edited,
    read_viewer_cells,
)
from projector_export.projector.exports import Export
from projector_export.projector.label_columns import (
    LABEL_COLUMNS,
    agree_anew,
    agreement_facts,
    follow_nearest,
    has_agreement,
)
from projector_export.projector.metadata import render_metadata, viewer_names
from projector_export.projector.typed_cells import new_column, set_cells
from projector_export.projector.viewer_points import SOURCE_ROW


@dataclass(frozen=True)
class Change:
    """One cell, as text.

    Attributes:
        column: its name.
        row: of the input.
        before: what it said.
        after: what it says.
    """

    column: str
    row: int
    before: str
    after: str


@dataclass(frozen=True, eq=False)
class Relabeling:
    """What an edited file changes; nothing has been changed yet.

    Attributes:
        export: to be changed.
        table: points.parquet as it will be.
        changes: the edited cells.
        added: names of new columns.
        followed: cells of columns made from labels that change with them, by column.
        notes: what the user should know.
        facts: what the manifest says anew, but for the edits.
    """

    export: Export
    table: pl.DataFrame
    changes: list[Change]
    added: list[str]
    followed: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def cells(self) -> dict[str, int]:
        """Number of edited cells by column."""
        counts: dict[str, int] = {}
        for change in self.changes:
            counts[change.column] = counts.get(change.column, 0) + 1
        return counts

    @property
    def is_empty(self) -> bool:
        """Whether the file says what the export says."""
        return not self.changes and not self.added


def plan_relabeling(export: Export, file: str | Path) -> Relabeling:
    """Compare a file that the viewer's data panel downloaded with what metadata.tsv says now.

    Only cells that differ are taken over, and none of the columns that are made from labels; those
    follow the labels.

    Args:
        export: whose metadata was edited.
        file: the download, metadata-edited.tsv; may have columns added behind the viewer's.

    Raises:
        InputNotFoundError: no such file.
        DataError: columns or rows are missing, a column of numbers gets a text, or an added column
            has a name that is taken.
    """
    names = viewer_names(export.columns.drop(SOURCE_ROW))
    cells = read_viewer_cells(export.read("metadata.tsv"))
    if list(cells) != list(names.values()):
        raise DataError(
            f"{export.folder / 'metadata.tsv'} has other columns than points.parquet; export again "
            "with --force"
        )
    edited = read_edited(file, known=list(cells), rows=export.embedding.shape[0])
    table, changes, notes = export.table, [], []
    relabeled: list[int] = []
    for name, shown in names.items():
        changed = changed_cells(cells[shown], edited[shown])
        if changed and _is_made_from_labels(export, name):
            notes.append(f"{len(changed)} cells of {name!r} are left: it is made from the labels")
        elif changed:
            old, new = table[name], set_cells(table[name], cells[shown], changed)
            own = _list_changes(export, old, new, list(changed))
            table = table.with_columns(new)
            changes += own
            notes += _type_notes(old, new, own)
            relabeled += changed if name == LABEL else ()
    added = {name: edited[name] for name in edited if name not in cells}
    table = _with_new_columns(table, added, Path(file))
    plan = Relabeling(export, table, changes, list(added), notes=notes)
    return _follow_labels(plan, relabeled) if relabeled else plan


def apply_relabeling(plan: Relabeling) -> list[str]:
    """Write what was planned, whole or not at all.

    Returns:
        Warnings about other embeddings of the run.

    Raises:
        OutputError: the disk refuses.
        ReadBackError: TensorBoard's plugin does not give back what was written.
    """
    export = plan.export
    buffer = io.BytesIO()
    plan.table.write_parquet(buffer)
    shown = plan.table.head(export.embedding.shape[0]).drop(SOURCE_ROW, "shown", strict=False)
    edit = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cells": plan.cells,
        **({"added": plan.added} if plan.added else {}),
    }
    return rewrite_export(
        export,
        {"points.parquet": buffer.getvalue(), "metadata.tsv": render_metadata(shown)},
        facts={**plan.facts, "edits": [*export.manifest.get("edits", []), edit]},
    )


def _list_changes(export: Export, old: pl.Series, new: pl.Series, rows: list[int]) -> list[Change]:
    source_rows = export.columns[SOURCE_ROW].gather(rows).to_list()
    before, after = (as_text(values.gather(rows)).to_list() for values in (old, new))
    each = zip(source_rows, before, after, strict=True)
    return [Change(old.name, *texts) for texts in each if texts[1] != texts[2]]


def _follow_labels(plan: Relabeling, rows: list[int]) -> Relabeling:
    """Bring the columns that are made from labels up to date, each in its own step."""
    export, table = plan.export, plan.table
    facts: dict[str, Any] = {}
    stale = []
    if has_agreement(export):
        zero_shot = export.manifest["zero_shot"]
        table = agree_anew(table, zero_shot)
        facts["zero_shot"] = agreement_facts(table, zero_shot)
    if "nearest" in table.columns:
        nearest, why = follow_nearest(export, table[LABEL], rows)
        table = table.with_columns(nearest)
        stale += [why] if why else []
    if "cluster_name" in table.columns:
        names = names_by_labels(table[LABEL], table["cluster"], table["cluster_distance"])
        if names is None:
            stale.append("`cluster_name`")
        else:
            table = table.with_columns(names)
    followed = {
        name: int(table[name].ne_missing(export.table[name]).sum())
        for name in sorted(LABEL_COLUMNS)
        if name in table.columns
    }
    notes = [f"these still tell the old labels: {', '.join(stale)}"] if stale else []
    return Relabeling(
        export,
        table,
        plan.changes,
        plan.added,
        {name: number for name, number in followed.items() if number},
        [*plan.notes, *notes],
        facts,
    )


def _is_made_from_labels(export: Export, name: str) -> bool:
    return name in LABEL_COLUMNS and (name != "agrees" or has_agreement(export))


def _with_new_columns(
    table: pl.DataFrame, added: Mapping[str, list[str]], file: Path
) -> pl.DataFrame:
    """Put new columns behind the others that the viewer has."""
    for name, cells in added.items():
        if (
            not name.strip()
            or name.strip() in OUR_COLUMNS | ENCODING_COLUMNS
            or name in table.columns
        ):
            raise DataError(
                f"{file} adds a column {name!r}, a name that this program uses or that is taken; "
                "choose another"
            )
        place = table.columns.index(SOURCE_ROW)
        before, after = table.columns[:place], table.columns[place:]
        table = table.select(*before, new_column(name, cells, height=table.height), *after)
    return table


def _type_notes(before: pl.Series, after: pl.Series, changes: list[Change]) -> list[str]:
    notes = []
    if before.dtype != after.dtype:
        notes.append(f"column {before.name!r} was {before.dtype} and becomes {after.dtype}")
    numbers = {c.after for c in changes if c.after and js_number(c.after) is not None}
    if numbers and after.dtype == pl.String:
        notes.append(
            f"column {before.name!r} gets {min(numbers)!r}: the viewer writes what looks like a "
            "number its own way, so a typed 007 is 7"
        )
    return notes
