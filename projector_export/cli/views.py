"""views: list, add, remove and order the bookmarks of an export."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from projector_export.cli.app import app, note
from projector_export.errors import OptionError
from projector_export.points import LABEL
from projector_export.projector.bookmarks import described_view
from projector_export.projector.exports import Export, open_export
from projector_export.projector.views import (
    View,
    parse_camera,
    read_views,
    render_views,
    view_from_dict,
)

views_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(views_app, name="views")

Name = Annotated[str | None, typer.Option(help="Embedding of the run.  [default: its only export]")]
Titles = Annotated[list[str], typer.Argument(help="Titles of bookmarks.")]


@views_app.callback()
def views(
    context: typer.Context,
    out: Annotated[Path, typer.Argument(help="Run directory.")],
) -> None:
    """List, add, remove or order the bookmarks of an export: views OUT add ..."""
    context.obj = out


@views_app.command("list")
def list_views(
    context: typer.Context,
    name: Name = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line a view.")] = False,
    as_toml: Annotated[
        bool, typer.Option("--toml", help="Print a file that 'add --from' and --view take.")
    ] = False,
) -> None:
    """Print the titles of the bookmarks and what they show."""
    export = open_export(context.obj, name)
    described = [described_view(state) for state in export.states]
    if as_toml:
        typer.echo(render_views(view for view in described if view is not None), nl=False)
        others = sum(view is None for view in described)
        if others:
            note(f"{others} bookmarks were saved in a browser; they stay with their run")
        return
    for state, view in zip(export.states, described, strict=True):
        shown = state.get("filteredPoints")
        counts = {
            "selected": len(state.get("selectedPoints") or ()),
            "isolated": len(shown) if shown else None,
        }
        if as_json:
            facts = {"title": state["label"]} | (view.as_dict() if view else {}) | counts
            typer.echo(json.dumps(facts, ensure_ascii=False))
        else:
            typer.echo(_line(str(state["label"]), view, counts))


@views_app.command()
def add(
    context: typer.Context,
    title: Annotated[str | None, typer.Argument(help="Title of the new bookmark.")] = None,
    layout: Annotated[
        str | None,
        typer.Option(help="umap3d, umap2d, pca or a file of coordinates.  [default: the first]"),
    ] = None,
    color_by: Annotated[
        str | None, typer.Option(help="Column, or none.  [default: cluster, else label]")
    ] = None,
    label_by: Annotated[str, typer.Option(help="Column to label points with.")] = LABEL,
    select: Annotated[
        str, typer.Option(help="Points to select: 'cluster == cluster_03 and anomaly > 0.95'.")
    ] = "",
    isolate: Annotated[str, typer.Option(help="Points to show alone.")] = "",
    camera: Annotated[
        str | None, typer.Option(help="Where to look from: X,Y,Z or X,Y,Z,ZOOM.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--from", help="TOML file of views to add, instead of a title.")
    ] = None,
    name: Name = None,
) -> None:
    """Add a bookmark, or all of a file."""
    if (title is None) == (file is None):
        raise OptionError("expected the title of a view, or --from FILE: one of the two")
    if file is not None:
        new = read_views(file)
    else:
        view = View(str(title), layout, color_by, label_by, select, isolate)
        if camera is not None:
            about = {"title": view.title, "camera": parse_camera(camera)}
            view = replace(view, camera=view_from_dict(about).camera)
        new = [view]
    from projector_export.editing import add_views

    export = open_export(context.obj, name)
    _tell(export, add_views(export, new), f"{len(new)} added")


@views_app.command()
def remove(context: typer.Context, titles: Titles, name: Name = None) -> None:
    """Remove bookmarks."""
    from projector_export.editing import remove_views

    export = open_export(context.obj, name)
    _tell(export, remove_views(export, titles), f"{len(set(titles))} removed")


@views_app.command()
def order(context: typer.Context, titles: Titles, name: Name = None) -> None:
    """Put these bookmarks first, in this order."""
    from projector_export.editing import order_views

    export = open_export(context.obj, name)
    _tell(export, order_views(export, titles), "ordered")


def _line(title: str, view: View | None, counts: dict[str, int | None]) -> str:
    parts = [] if view is None else [f"{k}={v}" for k, v in view.as_dict().items() if k != "title"]
    if view is None:
        parts.append("saved in a browser")
    parts += [f"{number} {what}" for what, number in counts.items() if number]
    return f"{title}\n    {'; '.join(parts)}"


def _tell(export: Export, warnings: list[str], done: str) -> None:
    for warning in warnings:
        note(warning)
    n = len(open_export(export.out, export.name).states)
    typer.echo(f"{done}: {export.out / export.name} has {n} bookmarks; load the page again")
