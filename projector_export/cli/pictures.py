"""pictures: views as files to print, paste or send."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from projector_export.cli.app import app, note, show_progress


@app.command()
def pictures(
    out: Annotated[Path, typer.Argument(help="Run directory with an export.")],
    target: Annotated[
        Path | None,
        typer.Argument(help="Folder to write to.  [default: <OUT>_pictures/<name>, beside OUT]"),
    ] = None,
    kind: Annotated[
        str, typer.Option("--as", help="png, svg, pdf, or plotly: interactive HTML pages.")
    ] = "png",
    name: Annotated[str | None, typer.Option(help="Which embedding of the run.")] = None,
    view: Annotated[
        list[str] | None,
        typer.Option(help="Title of a view to draw, repeatable.  [default: all views]"),
    ] = None,
    sheets: Annotated[
        bool | None,
        typer.Option(
            "--sheets/--no-sheets",
            help="Draw the contact sheets too.  [default: with all views, not with --view]",
        ),
    ] = None,
    style: Annotated[str, typer.Option(help="auto, thumbnails or dots.")] = "auto",
    width: Annotated[int, typer.Option(help="Width in pixels.")] = 1400,
    height: Annotated[
        int, typer.Option(help="Height in pixels; contact sheets are as high as they need.")
    ] = 1000,
    dpi: Annotated[int, typer.Option(help="Pixels an inch: how large it prints.")] = 200,
    force: Annotated[bool, typer.Option(help="Replace pictures of the same name.")] = False,
    quiet: Annotated[bool, typer.Option(help="Print nothing but errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line.")] = False,
) -> None:
    """Draw views and contact sheets as PNG, SVG, PDF or interactive HTML."""
    from projector_export.projector.exports import open_export
    from projector_export.viewing.pictures.files import PictureOptions, write_pictures

    options = PictureOptions(
        kind=kind,  # type: ignore[arg-type]
        style=style,  # type: ignore[arg-type]
        width_px=width,
        height_px=height,
        dpi=dpi,
    )
    export = open_export(out, name)
    notes: list[str] = []
    with show_progress(quiet=quiet or as_json) as tell:
        written = write_pictures(
            export,
            target,
            titles=view or (),
            sheets=sheets,
            options=options,
            force=force,
            tell=notes.append,
            progress=tell,
        )
    for text in dict.fromkeys(notes) if not quiet else ():
        note(text)
    if as_json:
        summary = {"name": export.name, "files": [str(path) for path in written]}
        typer.echo(json.dumps(summary, ensure_ascii=False))
    elif not quiet:
        for path in written:
            typer.echo(str(path))
