"""share and view: what others get, and what shows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from projector_export.cli.app import app, note, show_progress
from projector_export.cli.serving import Port, run_tensorboard
from projector_export.errors import OptionError

if TYPE_CHECKING:
    from projector_export.viewing.sharing.bundle import SharedEmbedding
    from projector_export.viewing.sharing.share import Shared

_SUFFIXES = {".html": "html", ".htm": "html", ".zip": "zip"}


@app.command()
def view(
    logdir: Annotated[
        Path, typer.Argument(help="Directory with exports at any depth, or a shared zip file.")
    ] = Path("logs"),
    port: Port = None,
) -> None:
    """Start TensorBoard on this machine and print the projector's address."""
    if logdir.suffix.lower() != ".zip" or logdir.is_dir():
        run_tensorboard(logdir, port)
        return
    from projector_export.viewing.sharing.zip_file import unpacked

    with unpacked(logdir) as folder:
        run_tensorboard(folder, port)


@app.command()
def share(
    out: Annotated[Path, typer.Argument(help="Run directory to share.")],
    target: Annotated[Path, typer.Argument(help="File to write, or folder of a site.")],
    kind: Annotated[
        str | None,
        typer.Option(
            "--as",
            help="html: one file that opens anywhere; site: a folder for a web server; "
            "zip: the run.  [default: by TARGET's ending]",
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(help="Embedding to share, repeatable.  [default: all of the run]"),
    ] = None,
    view: Annotated[
        list[str] | None,
        typer.Option(help="Title of a bookmark to share, repeatable.  [default: all]"),
    ] = None,
    redact: Annotated[
        list[str] | None,
        typer.Option(help="Columns to leave out: a,b,c; with all that tells what was in them."),
    ] = None,
    sprite: Annotated[
        bool, typer.Option("--sprite/--no-sprite", help="Share the thumbnails.")
    ] = True,
    paths: Annotated[
        bool, typer.Option("--paths/--no-paths", help="Share columns and files that name paths.")
    ] = True,
    base_url: Annotated[
        str,
        typer.Option(help="Address where the files will lie, for projector.tensorflow.org."),
    ] = "",
    force: Annotated[bool, typer.Option(help="Replace an earlier bundle.")] = False,
    quiet: Annotated[bool, typer.Option(help="Print nothing but errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line.")] = False,
) -> None:
    """Write a run as one HTML file, as a folder for a web server, or as a zip file."""
    from projector_export.viewing.sharing.redaction import Redaction
    from projector_export.viewing.sharing.share import share as share_run

    with show_progress(quiet=quiet or as_json) as tell:
        shared = share_run(
            out,
            target,
            kind=kind or _kind_of(target),  # type: ignore[arg-type]
            names=name or (),
            views=view or (),
            redaction=Redaction(tuple(redact or ()), sprite=not sprite, paths=not paths),
            base_url=base_url,
            force=force,
            progress=tell,
        )
    for warning in shared.warnings if not quiet else ():
        note(warning)
    if as_json:
        typer.echo(json.dumps(_summary(shared), ensure_ascii=False))
    elif not quiet:
        for line in _contents(shared):
            typer.echo(line)


def _kind_of(target: Path) -> str:
    kind = _SUFFIXES.get(target.suffix.lower())
    if kind is None:
        raise OptionError(f"{target} may become anything; say --as html, --as site or --as zip")
    return kind


def _summary(shared: Shared) -> dict[str, Any]:
    return {
        "target": str(shared.target),
        "kind": shared.kind,
        "bytes": shared.size_bytes,
        "embeddings": [
            {
                "name": one.name,
                "shape": list(one.shape),
                "columns": list(one.columns),
                "left_out": dict(one.left_out),
                "views": list(one.titles),
                "sprite": one.sprite is not None,
            }
            for one in shared.embeddings
        ],
        "files": dict(shared.file_bytes),
        "path_files": list(shared.path_files),
        "warnings": list(shared.warnings),
    }


def _contents(shared: Shared) -> list[str]:
    lines = [f"{shared.target}: {_size(shared.size_bytes)}, which holds"]
    for one in shared.embeddings:
        lines += _contents_of(one)
    lines.append(f"paths are named in: {', '.join(shared.path_files) or 'nothing'}")
    if shared.kind != "html":
        largest = sorted(shared.file_bytes.items(), key=lambda file: -file[1])[:8]
        files = ", ".join(f"{path} ({_size(size)})" for path, size in largest)
        lines.append(
            f"{len(shared.file_bytes)} files: {files}{', ...' * (len(shared.file_bytes) > 8)}"
        )
    lines.append(_how_to_open(shared))
    return lines


def _contents_of(one: SharedEmbedding) -> list[str]:
    points, dimensions = one.shape
    thumbnails = f"thumbnails of {one.tile_px[0]} px" if one.tile_px else "no thumbnails"
    lines = [
        f"  {one.name}: {points:,} points, {dimensions:,} dimensions, {thumbnails}",
        f"    columns: {', '.join(one.columns) or 'none'}",
    ]
    if one.left_out:
        reasons = (f"{column} ({why})" for column, why in one.left_out.items())
        lines.append(f"    left out: {', '.join(reasons)}")
    lines.append(f"    views: {', '.join(one.titles) or 'none'}")
    return lines


def _how_to_open(shared: Shared) -> str:
    titles = [title for one in shared.embeddings for title in one.titles]
    view = f"#view={quote(titles[0], safe='')}" if titles else ""
    if shared.kind == "zip":
        return f"Look at it: projector-export view {shared.target}"
    if shared.kind == "site":
        one = f"; one view: projector.html{view}" if view else ""
        return f"Look at it: python -m http.server -d {shared.target}, then localhost:8000{one}"
    one = f"; {shared.target.name}{view} opens one view" if view else ""
    return f"Open it in a browser{one}"


def _size(n: int) -> str:
    return f"{n / 1e6:,.1f} MB" if n >= 100_000 else f"{n / 1e3:,.1f} kB"
