"""selection, relabel and neighbors: from the viewer back to files and paper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from projector_export.cli.app import app, note
from projector_export.errors import OptionError
from projector_export.points import LABEL, as_text
from projector_export.projector.viewer_points import SOURCE_ROW

if TYPE_CHECKING:
    import polars as pl

    from projector_export.projector.exports import Export
    from projector_export.relabel import Relabeling
    from projector_export.viewing.round_trip.saved_state import SavedState
    from projector_export.viewing.round_trip.selected_items import SelectedItems

Out = Annotated[Path, typer.Argument(help="Run directory.")]
Name = Annotated[str | None, typer.Option(help="Embedding of the run.  [default: its only export]")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the file, if it is there.")]
_MOST_CHANGES = 20


@app.command()
def selection(
    out: Out,
    state: Annotated[Path, typer.Argument(help="Bookmarks that the viewer has downloaded.")],
    target: Annotated[
        Path | None,
        typer.Argument(help="csv, tsv, jsonl, parquet; txt (files); a folder.  [default: print]"),
    ] = None,
    name: Name = None,
    bookmark: Annotated[
        list[str] | None,
        typer.Option(help="Title of a saved one, repeatable.  [default: all but the run's own]"),
    ] = None,
    points: Annotated[
        str, typer.Option(help="Which points: selected, isolated, or both (one or the other).")
    ] = "both",
    files: Annotated[
        str | None, typer.Option(help="Into a folder: copy or link.  [default: copy]")
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(help="Folder of the items' files.  [default: as it was at the export]"),
    ] = None,
    as_views: Annotated[
        bool, typer.Option("--as-views", help="Add the bookmarks to the run, for everybody.")
    ] = False,
    rename: Annotated[
        str | None, typer.Option(help="With --as-views: title of what is added.")
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON line a point, or one of what was written.")
    ] = False,
) -> None:
    """Give the points that were selected or isolated in bookmarks saved in the browser."""
    from projector_export.projector.exports import open_export
    from projector_export.viewing.round_trip.saved_state import choose_states, read_states
    from projector_export.viewing.round_trip.selected_items import take_items
    from projector_export.viewing.written_files import check_outside

    if rename is not None and not as_views:
        raise OptionError("--rename belongs to --as-views, which is not given")
    _check_target(target, files, force=force)
    export = open_export(out, name)
    if target is not None:
        check_outside(target, export)
    states = choose_states(read_states(state, export), bookmark or [])
    if not bookmark:
        states = _leave_out_known(export, states, adding=as_views and target is None, quiet=quiet)
    items = take_items(export, states, which=points, root=root)  # type: ignore[arg-type]
    if as_views:
        _add_states(export, states, rename, quiet=quiet or as_json)
    if target is None:
        if as_json:
            _print_json(items.table)
        elif not as_views and not quiet:
            for one in states:
                own = take_items(export, [one], which=points, root=root)  # type: ignore[arg-type]
                _print_points(one, own.table)
    else:
        _write_items(items, target, files or "copy", quiet=quiet, as_json=as_json)
    if not quiet:
        _tell_files(items)


@app.command()
def relabel(
    out: Out,
    file: Annotated[Path, typer.Argument(help="metadata-edited.tsv as the viewer downloads it.")],
    name: Name = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would change, and change nothing.")
    ] = False,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line.")] = False,
) -> None:
    """Take over what was edited in the viewer's data panel, into the table and the run."""
    from projector_export.projector.exports import open_export
    from projector_export.relabel import apply_relabeling, plan_relabeling

    plan = plan_relabeling(open_export(out, name), file)
    warnings = [] if dry_run or plan.is_empty else apply_relabeling(plan)
    if not quiet:
        for text in (*plan.notes, *warnings):
            note(text)
    if as_json:
        facts = {
            "cells": plan.cells,
            "followed": plan.followed,
            "added": plan.added,
            "notes": plan.notes,
            "written": not (dry_run or plan.is_empty),
        }
        typer.echo(json.dumps(facts, ensure_ascii=False))
    elif not quiet:
        _print_plan(plan, dry_run=dry_run)


@app.command()
def neighbors(
    out: Out,
    items: Annotated[
        list[str],
        typer.Argument(metavar="LABEL_OR_ID...", help="Labels, paths, or row numbers as #12."),
    ],
    k: Annotated[int, typer.Option("-k", help="Neighbours of each point.")] = 5,
    save: Annotated[
        Path | None, typer.Option(help="Write to a file too: txt (lines), csv, jsonl, parquet.")
    ] = None,
    name: Name = None,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON line a neighbour.")] = False,
) -> None:
    """Print the nearest neighbours of points: 'blue: red 47.6°, yellow 51.9°'."""
    from projector_export.projector.angles import is_reduced
    from projector_export.projector.exports import open_export
    from projector_export.viewing.round_trip.item_files import (
        TABLE_SUFFIXES,
        target_kind,
        write_table,
    )
    from projector_export.viewing.round_trip.neighbor_lines import (
        find_neighbors,
        find_rows,
        render_lines,
    )
    from projector_export.viewing.written_files import check_outside, write_file

    if save is not None and (
        save.suffix.lower() not in (".txt", *TABLE_SUFFIXES)
        or target_kind(save, force=force) == "folder"
    ):
        raise OptionError(f"--save is {save}; expected a name in .txt .csv .tsv .jsonl or .parquet")
    export = open_export(out, name)
    if save is not None:
        check_outside(save, export)
    table = find_neighbors(export, find_rows(export, items), k=k)
    lines = render_lines(table, export)
    if is_reduced(export) and not quiet:
        note(
            f"the viewer has {export.embedding.shape[1]} principal components of "
            f"{export.manifest.get('dimensions')} values, so these are approximate"
        )
    if save is not None and save.suffix.lower() == ".txt":
        write_file("".join(f"{line}\n" for line in lines).encode("utf-8"), save)
    elif save is not None:
        write_table(table, save)
    if as_json:
        _print_json(table)
    elif not quiet:
        typer.echo("\n".join(lines))


def _check_target(target: Path | None, files: str | None, *, force: bool) -> None:
    from projector_export.viewing.round_trip.item_files import FILES, target_kind

    kind = None if target is None else target_kind(target, force=force)
    if files is not None and kind != "folder":
        raise OptionError("--files is for a folder as TARGET; a list of files is a .txt")
    if files is not None and files not in FILES:
        raise OptionError(f"--files is {files!r}; expected copy or link")


def _leave_out_known(
    export: Export, states: list[SavedState], *, adding: bool, quiet: bool
) -> list[SavedState]:
    """Return what is not of the run; everything where there is nothing else but to add it."""
    from projector_export.viewing.round_trip.shared_states import leave_out_known

    fresh = leave_out_known(export, states)
    if not fresh and adding:
        return states
    if not fresh:
        listed = ", ".join(repr(state.title) for state in states)
        raise OptionError(
            f"all {len(states)} saved bookmarks are the run's own: {listed}; save a new one in the "
            "viewer, or give --bookmark TITLE to take one of these"
        )
    if (left := len(states) - len(fresh)) and not quiet:
        own = "bookmark of the run is" if left == 1 else "bookmarks of the run are"
        note(f"{left} {own} left out; --bookmark TITLE takes one")
    return fresh


def _add_states(
    export: Export, states: list[SavedState], rename: str | None, *, quiet: bool
) -> None:
    from projector_export.editing import rewrite_export
    from projector_export.projector.bookmarks import render_states
    from projector_export.viewing.round_trip.shared_states import leave_out_known, new_states

    unknown = leave_out_known(export, states)
    there = [state for state in states if state not in unknown]
    fresh = new_states(export, states, rename=rename)
    everything = [*export.states, *fresh]
    if fresh:
        content = {"bookmarks.json": render_states(everything)}
        titles = [state["label"] for state in everything]
        for warning in rewrite_export(export, content, facts={"views": titles}):
            note(warning)
    if quiet:
        return
    if there:
        listed = ", ".join(repr(state.title) for state in there)
        typer.echo(f"already in {export.folder}, and left so: as {listed}")
    if fresh:
        added = ", ".join(repr(state["label"]) for state in fresh)
        typer.echo(f"bookmarks added to {export.folder}: {added}; load the page again")


def _write_items(
    items: SelectedItems, target: Path, files: str, *, quiet: bool, as_json: bool
) -> None:
    from projector_export.viewing.round_trip.item_files import (
        place_files,
        target_kind,
        write_file_list,
        write_table,
    )

    kind = target_kind(target, force=True)
    if kind == "table":
        write_table(items.table, target)
    elif not items.files:
        raise OptionError(
            f"none of {items.table.height} points is a file that exists; "
            + ("give --root, the folder of the files" if items.has_paths else "write a table")
        )
    elif kind == "list":
        write_file_list(items.files, target)
    else:
        place_files(items.files, target, files)  # type: ignore[arg-type]
    n = items.table.height if kind == "table" else len(items.files)
    what = "points" if kind == "table" else "files"
    if as_json:
        facts = {"target": str(target), what: n, "missing": [str(p) for p in items.missing]}
        typer.echo(json.dumps(facts | {"unplaced": items.unplaced}, ensure_ascii=False))
    elif not quiet:
        typer.echo(f"{n} {what}: {target}")


def _tell_files(items: SelectedItems) -> None:
    if items.missing:
        note(
            f"{len(items.missing)} files do not exist, the first being {items.missing[0]}; "
            "if they have moved, give --root"
        )
    if items.unplaced:
        note(
            f"the export does not say where the files of {items.unplaced} points lie; give --root, "
            "the folder that the column `path` is relative to"
        )


def _print_points(state: SavedState, table: pl.DataFrame) -> None:
    isolated = "" if state.isolated is None else f", {len(state.isolated)} isolated"
    typer.echo(f"{_line(state.title)}: {len(state.selected)} selected{isolated}")
    labels, rows = as_text(table[LABEL]).to_list(), table[SOURCE_ROW].to_list()
    paths = as_text(table["path"]).to_list() if "path" in table.columns else [""] * len(rows)
    places = table["absolute_path"].to_list()
    flags = ["selected" if chosen else "isolated" for chosen in table["selected"].to_list()]
    for row, flag, label, place, path in zip(rows, flags, labels, places, paths, strict=True):
        typer.echo(f"  #{row}  {flag}  {_line(label)}  {_line(place or path)}".rstrip())


def _print_plan(plan: Relabeling, *, dry_run: bool) -> None:
    if plan.is_empty:
        typer.echo("no cell differs; nothing to change")
        return
    if dry_run:
        for change in plan.changes[:_MOST_CHANGES]:
            typer.echo(
                f"{_line(change.column)} #{change.row}: {_line(change.before)} -> "
                f"{_line(change.after)}"
            )
        if len(plan.changes) > _MOST_CHANGES:
            typer.echo(f"... and {len(plan.changes) - _MOST_CHANGES} more")
    done = "would change" if dry_run else "changed"
    for column, number in plan.cells.items():
        typer.echo(f"{_line(column)}: {number} cells {done}")
    for column, number in plan.followed.items():
        typer.echo(f"{_line(column)}: {number} cells follow the labels")
    for column in plan.added:
        typer.echo(f"{_line(column)}: {'would be' if dry_run else 'is'} a new column")
    if not dry_run:
        typer.echo(f"{plan.export.folder}: load the page again")


def _print_json(table: pl.DataFrame) -> None:
    from projector_export.viewing.round_trip.item_files import render_jsonl

    typer.echo(render_jsonl(table).decode("utf-8"), nl=False)


def _line(text: str) -> str:
    """Return a text of the data as one line that does nothing to a terminal."""
    return "".join(c if c.isprintable() else " " for c in text)[:200]
