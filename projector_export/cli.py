"""The command line: parses, calls the library, prints. The only file that prints or exits."""

from __future__ import annotations

import functools
import inspect
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from rich.console import Console

from projector_export.errors import OptionError, ProjectorExportError
from projector_export.settings import Settings

app = typer.Typer(
    name="projector-export",
    help=(
        "Turn images and vectors into a log directory that TensorBoard's Embedding Projector "
        "opens at once."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_notes = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)

Out = Annotated[
    Path | None, typer.Argument(help="Run directory to write to.  [default: logs/<input's name>]")
]
Name = Annotated[str | None, typer.Option(help="Name of the embedding.")]
Thumbnail = Annotated[int, typer.Option(help="Side of a thumbnail in pixels.", min=1, max=1024)]
BatchSize = Annotated[int, typer.Option(help="Images a forward pass.", min=1)]
Port = Annotated[
    int | None,
    typer.Option(help="Port on 127.0.0.1.  [default: 6006 or a free one]", min=1, max=65535),
]


def _shared_options(
    metric: Annotated[str, typer.Option(help="cosine or euclidean.")] = "cosine",
    clusters: Annotated[str, typer.Option(help="Number of clusters, auto or none.")] = "auto",
    umap_dims: Annotated[str, typer.Option(help="UMAP layouts: 2,3 or 2 or 3 or none.")] = "2,3",
    umap_neighbors: Annotated[int, typer.Option(help="Neighbours that UMAP looks at.")] = 15,
    umap_min_dist: Annotated[float, typer.Option(help="How tightly UMAP packs points.")] = 0.1,
    anomalies: Annotated[bool, typer.Option(help="Add the anomaly columns.")] = True,
    duplicate_angle: Annotated[
        float, typer.Option(help="Near-duplicates are at most so many degrees apart.")
    ] = 3.0,
    max_points: Annotated[int, typer.Option(help="Most points the browser gets.")] = 100_000,
    view_dims: Annotated[
        str, typer.Option(help="Columns the browser gets: auto, all or a number (by PCA).")
    ] = "auto",
    tensor_format: Annotated[str, typer.Option(help="bytes (raw float32) or tsv.")] = "bytes",
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    force: Annotated[bool, typer.Option(help="Replace an embedding of the same name.")] = False,
    quiet: Annotated[bool, typer.Option(help="Print nothing but errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line.")] = False,
) -> _Shared:
    settings = Settings(
        metric=metric,  # type: ignore[arg-type]
        clusters=None
        if clusters == "none"
        else _number_or_word(clusters, ("auto", "none"), "--clusters"),
        umap_dims=_parse_dims(umap_dims),
        umap_neighbors=umap_neighbors,
        umap_min_dist=umap_min_dist,
        anomalies=anomalies,
        duplicate_angle_deg=duplicate_angle,
        max_points=max_points,
        view_dims=_number_or_word(view_dims, ("auto", "all"), "--view-dims"),
        tensor_format=tensor_format,  # type: ignore[arg-type]
        seed=seed,
        force=force,
    )
    return _Shared(settings, quiet, as_json)


def _summarize(facts: dict[str, Any]) -> str:
    parts = [f"{facts['dimensions']} dimensions"]
    if "clusters" in facts:
        parts.append(f"{facts['clusters']['k']} clusters")
    kinds = dict(facts.get("anomaly_kinds", {}))
    kinds.pop("normal", None)
    if "anomaly_kinds" in facts:
        each = ", ".join(f"{number} {kind}" for kind, number in kinds.items())
        parts.append(f"unusual: {each or 'none'}")
    parts.append(f"duplicate groups: {facts['duplicate_groups']}")
    if "zero_shot_agreement" in facts:
        parts.append(f"zero-shot agrees with the label: {facts['zero_shot_agreement']:.1%}")
    return "; ".join(parts)


class _Shared:
    """Options that every export has."""

    def __init__(self, settings: Settings, quiet: bool, as_json: bool) -> None:
        self.settings, self.quiet, self.as_json = settings, quiet, as_json

    @contextmanager
    def progress(self) -> Iterator[Callable[[str], None]]:
        """Give a function that shows the present step on stderr, where that is a terminal."""
        if self.quiet or not _notes.is_terminal:
            yield lambda _: None
            return
        with _notes.status("starting") as status:
            yield lambda step: status.update(step)

    def report(self, result: Any, seconds: float) -> None:
        """Print what an export did."""
        for warning in result.warnings:
            if not self.quiet:
                _notes.print(f"note: {warning}", markup=False)
        if result.skipped and not self.quiet:
            first = result.skipped[0]
            _notes.print(
                f"note: {len(result.skipped)} inputs skipped, listed in "
                f"{result.out / result.name / 'manifest.json'}; first: {first['why']}",
                markup=False,
            )
        if self.as_json:
            summary = {
                "out": str(result.out),
                "name": result.name,
                "points": result.points,
                "shown": result.shown,
                "skipped": len(result.skipped),
                "warnings": result.warnings,
                "seconds": round(seconds, 2),
                "seconds_by_stage": result.facts["seconds"],
            }
            typer.echo(json.dumps(summary, ensure_ascii=False))
        elif not self.quiet:
            typer.echo(f"{result.points} points in {seconds:.1f} s: {result.out / result.name}")
            typer.echo(_summarize(result.facts))
            typer.echo(f"Look at them: projector-export view {result.out}")


def _with_shared(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all shared options, handed over as its argument `shared`."""
    shared = inspect.signature(_shared_options).parameters
    own = [p for p in inspect.signature(command).parameters.values() if p.name != "shared"]

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        common = {name: arguments.pop(name) for name in shared}
        command(**arguments, shared=_shared_options(**common))

    hints = get_type_hints(_shared_options, include_extras=True)
    hints |= get_type_hints(command, include_extras=True)
    parameters = [p.replace(annotation=hints[p.name]) for p in (*own, *shared.values())]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    del run.__wrapped__
    return run


@app.command()
@_with_shared
def vectors(
    file: Annotated[
        Path,
        typer.Argument(help="npy, npz, csv, tsv, parquet, jsonl, pt or safetensors."),
    ],
    out: Out = None,
    metadata: Annotated[
        Path | None, typer.Option(help="Table with a row a vector: csv, tsv, txt, jsonl, parquet.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Column to label points with.")] = None,
    images: Annotated[
        str | None, typer.Option(help="Column of image paths, or a folder, for thumbnails.")
    ] = None,
    normal: Annotated[
        Path | None, typer.Option(help="Vectors of known-normal items to compare with.")
    ] = None,
    thumbnail: Thumbnail = 64,
    name: Name = None,
    *,
    shared: _Shared,
) -> None:
    """Export ready-made vectors."""
    from projector_export.pipeline import export_points
    from projector_export.projector.log_dir import check_output, safe_name
    from projector_export.sources.vectors import read_arrays, read_vectors

    start = time.perf_counter()
    out = out or Path("logs") / safe_name(file.stem)
    name = name or safe_name(file.stem)
    check_output(out, name, force=shared.settings.force)
    with shared.progress() as tell:
        tell("reading")
        points = read_vectors(
            file, metadata=metadata, label=label, images=images, thumbnail_px=thumbnail, name=name
        )
        known = None if normal is None else read_arrays(normal)[0]
        result = export_points(points, out, settings=shared.settings, normal=known, progress=tell)
    shared.report(result, time.perf_counter() - start)


@app.command()
@_with_shared
def images(
    folder: Annotated[Path, typer.Argument(help="Folder of images, searched at every depth.")],
    out: Out = None,
    model: Annotated[
        str, typer.Option(help="open_clip model, or digits_clip, which needs no download.")
    ] = "ViT-B-32",
    weights: Annotated[
        str | None,
        typer.Option(help="File or open_clip tag.  [default: laion2b_s34b_b79k for ViT-B-32]"),
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Zero-shot classes: a,b,c or a file with one a line.")
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(help="Template for class names, repeatable.  [default: a photo of a {}]"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    batch_size: BatchSize = 64,
    thumbnail: Thumbnail = 64,
    name: Name = None,
    *,
    shared: _Shared,
) -> None:
    """Export a folder of images, encoded with an open_clip model."""
    from projector_export.projector.log_dir import safe_name

    out = out or Path("logs") / safe_name(folder.resolve().name)
    name = name or safe_name(folder.resolve().name)
    from projector_export.sources.images import read_images

    _export_images(
        lambda: read_images(folder, name=name), out, name, model, weights,
        _read_classes(classes), prompt or [], device, batch_size, thumbnail, shared,
    )  # fmt: skip


@app.command()
@_with_shared
def demo(
    out: Annotated[Path, typer.Argument(help="Run directory to write to.")] = Path("logs/demo"),
    serve: Annotated[bool, typer.Option(help="Start TensorBoard afterwards.")] = True,
    port: Port = None,
    *,
    shared: _Shared,
) -> None:
    """Export scikit-learn's 1,797 handwritten digits with the model that ships; offline."""
    from dataclasses import replace

    from projector_export.projector.log_dir import read_manifest
    from projector_export.sources.digits import DIGIT_WORDS, digit_items

    if read_manifest(out / "digits").get("encoder", {}).get("model") == "digits_clip":
        # An earlier demo may be replaced without asking, nothing else.
        shared.settings = replace(shared.settings, force=True)
    folder = out.parent / f"{out.name}_images"
    _export_images(
        lambda: digit_items(folder), out, "digits", "digits_clip", None, list(DIGIT_WORDS),
        ["a photo of the digit {}"], "auto", 64, 32, shared,
    )  # fmt: skip
    if serve:
        _serve(out, port, on_stderr=shared.quiet or shared.as_json)


@app.command()
def view(
    logdir: Annotated[Path, typer.Argument(help="Directory with exports at any depth.")] = Path(
        "logs"
    ),
    port: Port = None,
) -> None:
    """Start TensorBoard on this machine and print the projector's address."""
    _serve(logdir, port)


def main(argv: list[str] | None = None) -> None:
    """Run the command line; exits 0 done, 1 with one message, 2 on wrong usage."""
    try:
        app(args=argv, prog_name="projector-export")
    except ProjectorExportError as error:
        _notes.print(f"projector-export: {error}", markup=False, style="red")
        sys.exit(1)


def _export_images(
    read_items: Callable[[], Any],
    out: Path,
    name: str,
    model: str,
    weights: str | None,
    classes: list[str],
    prompts: list[str],
    device: str,
    batch_size: int,
    thumbnail: int,
    shared: _Shared,
) -> None:
    from projector_export.encoding.clip import OpenClipEncoder
    from projector_export.encoding.zero_shot import DEFAULT_PROMPT
    from projector_export.pipeline import export
    from projector_export.projector.log_dir import check_output

    start = time.perf_counter()
    check_output(out, name, force=shared.settings.force)
    with shared.progress() as tell:
        tell("listing images")
        items = read_items()
        tell("loading the model")
        encoder = OpenClipEncoder(model, weights, device=device)
        result = export(
            items,
            out,
            encoder,
            classes=classes,
            prompts=prompts or [DEFAULT_PROMPT],
            batch_size=batch_size,
            thumbnail_px=thumbnail,
            settings=shared.settings,
            progress=tell,
        )
    shared.report(result, time.perf_counter() - start)


def _serve(log_dir: Path, port: int | None, *, on_stderr: bool = False) -> None:
    from projector_export.viewing.serve import start_tensorboard

    # A terminal that closes, or a supervisor, must end TensorBoard too.
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: sys.exit(0))
    server = start_tensorboard(log_dir, port=port)
    typer.echo(f"Projector: {server.url}   (Ctrl+C ends)", err=on_stderr)
    try:
        server.process.wait()
    except KeyboardInterrupt:
        typer.echo("")
    finally:
        server.stop()


def _read_classes(classes: str | None) -> list[str]:
    if classes is None:
        return []
    if os.path.isfile(classes):  # Path.is_file() raises where a list of names is too long
        try:
            names = Path(classes).read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise OptionError(f"{classes} is not UTF-8; save it as UTF-8") from error
    else:
        names = classes.split(",")
    return [name.strip() for name in names if name.strip()]


def _number_or_word(text: str, words: tuple[str, ...], option: str) -> Any:
    if text in words:
        return text
    try:
        return int(text)
    except ValueError:
        expected = " or ".join([*words, "a number"])
        raise OptionError(f"{option} is {text!r}; expected {expected}") from None


def _parse_dims(text: str) -> tuple[int, ...]:
    if text == "none":
        return ()
    parts = text.split(",")
    if not all(part in ("2", "3") for part in parts):
        raise OptionError(f"--umap-dims is {text!r}; expected 2,3 or 2 or 3 or none")
    return tuple(int(part) for part in parts)
