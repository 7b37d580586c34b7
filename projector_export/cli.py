"""The command line: parses, calls the library, prints. The only file that prints or exits."""

from __future__ import annotations

import functools
import inspect
import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_type_hints

import typer
from rich.console import Console

from projector_export.encoding.choose import load_encoder
from projector_export.encoding.zero_shot import DEFAULT_PROMPT, ZeroShot
from projector_export.errors import InputNotFoundError, OptionError, ProjectorExportError
from projector_export.points import Items
from projector_export.progress import Progress, Step
from projector_export.progress_bar import progress_bar
from projector_export.settings import EncodeSettings, Settings

app = typer.Typer(
    name="projector-export",
    help=(
        "Turn images, texts and vectors into a log directory that TensorBoard's Embedding "
        "Projector opens at once."
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
Model = Annotated[
    str | None,
    typer.Option(
        help="open_clip model, or digits_clip, which needs no download.  [default: ViT-B-32]"
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(help="File or open_clip tag.  [default: laion2b_s34b_b79k for ViT-B-32]"),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Precision = Annotated[
    str,
    typer.Option(help="auto, float32, bfloat16 or float16; auto is float16 on CUDA, else float32."),
]
Compile = Annotated[bool, typer.Option("--compile", help="Run the model through torch.compile.")]
BatchSize = Annotated[
    str, typer.Option(help="Items a forward pass; auto is halved when memory runs out.")
]
Cache = Annotated[
    str | None,
    typer.Option(
        help="Folder that keeps vectors for the next run, or none.  [default: the user's cache]",
        envvar="PROJECTOR_EXPORT_CACHE",
    ),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Stop at the first input that cannot be read.")
]
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
    reference_quantile: Annotated[
        float, typer.Option(help="Share of the known-normal items that pass as normal.")
    ] = 0.99,
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
        reference_quantile=reference_quantile,
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
    if "accuracy" in facts.get("zero_shot", {}):
        accuracy = facts["zero_shot"]["accuracy"]
        parts.append(f"zero-shot agrees with the label: {accuracy:.1%}")
    if facts.get("encoded", {}).get("from_cache"):
        parts.append(f"from the cache: {facts['encoded']['from_cache']}")
    return "; ".join(parts)


class _Shared:
    """Options that every export has."""

    def __init__(self, settings: Settings, quiet: bool, as_json: bool) -> None:
        self.settings, self.quiet, self.as_json = settings, quiet, as_json

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """Give a function that shows on stderr where the work stands, if that is a terminal."""
        if self.quiet or not _notes.is_terminal:
            yield lambda _: None
            return
        with progress_bar(_notes) as show:
            yield show

    def report(self, result: Any, seconds: float) -> None:
        """Print what an export did."""
        for warning in result.warnings:
            if not self.quiet:
                _notes.print(f"note: {warning}", markup=False)
        if result.skipped and not self.quiet:
            first = result.skipped[0]
            _notes.print(
                f"note: {len(result.skipped)} inputs skipped, listed in "
                f"{result.out / result.name / 'skipped.tsv'}; first: {first['path']}: "
                f"{first['why']}",
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
                **{
                    key: result.facts[key]
                    for key in ("encoder", "encoded", "encode_seconds", "zero_shot")
                    if key in result.facts
                },
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
        tell(Step("reading"))
        points = read_vectors(
            file, metadata=metadata, label=label, images=images, thumbnail_px=thumbnail, name=name
        )
        known = None if normal is None else read_arrays(normal)[0]
        result = export_points(points, out, settings=shared.settings, normal=known, progress=tell)
    shared.report(result, time.perf_counter() - start)


@app.command()
@_with_shared
def images(
    source: Annotated[
        Path,
        typer.Argument(help="Folder, searched at every depth, or a list of paths: txt, csv, ..."),
    ],
    out: Out = None,
    encoder: Annotated[
        str, typer.Option(help="clip, pixels (no model), MODULE:NAME or a plugin's name.")
    ] = "clip",
    model: Model = None,
    weights: Weights = None,
    classes: Annotated[
        str | None, typer.Option(help="Zero-shot classes: a,b,c or a file with one a line.")
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(help="Template for class names, repeatable.  [default: a photo of a {}]"),
    ] = None,
    class_points: Annotated[
        bool, typer.Option("--class-points", help="Show the classes as points too.")
    ] = False,
    captions: Annotated[
        str | None, typer.Option(help="Captions to show beside the images: a column or a table.")
    ] = None,
    normal: Annotated[
        Path | None, typer.Option(help="Folder or list of known-normal images to compare with.")
    ] = None,
    include_normal: Annotated[
        bool, typer.Option("--include-normal", help="Show these as well.")
    ] = False,
    pattern: Annotated[
        str | None, typer.Option(help="Take only files whose name matches, such as '*_front.png'.")
    ] = None,
    label_from: Annotated[
        str, typer.Option(help="folder, a regular expression with a group, or a table.")
    ] = "folder",
    exact_decode: Annotated[
        bool, typer.Option("--exact-decode", help="Decode large JPEGs at full size; slower.")
    ] = False,
    threads: Annotated[
        int | None, typer.Option(help="Threads that decode.  [default: one a core]")
    ] = None,
    device: Device = "auto",
    precision: Precision = "auto",
    compiled: Compile = False,
    batch_size: BatchSize = "auto",
    cache: Cache = None,
    strict: Strict = False,
    thumbnail: Thumbnail = 64,
    name: Name = None,
    *,
    shared: _Shared,
) -> None:
    """Export images, encoded with an open_clip model or another encoder."""
    from projector_export.sources.captions import add_captions
    from projector_export.sources.images import read_images

    def read() -> Inputs:
        items = read_images(source, name=embedding, pattern=pattern, label_from=label_from)
        if captions is not None:
            items = add_captions(items, captions)
        return Inputs(items, None if normal is None else read_images(normal))

    embedding = name or _default_name(source)
    _export_items(
        read,
        out or Path("logs") / _default_name(source),
        embedding,
        lambda: load_encoder(
            encoder,
            model=model,
            weights=weights,
            device=device,
            precision=precision,
            compiled=compiled,
        ),
        shared,
        zero_shot=_zero_shot(classes, prompt, class_points),
        include_normal=include_normal,
        encode_settings=EncodeSettings(
            batch_size=_number_or_word(batch_size, ("auto",), "--batch-size"),
            thumbnail_px=thumbnail,
            threads=threads,
            exact_decode=exact_decode,
            strict=strict,
            cache=_cache_folder(cache, shared),
        ),
    )


@app.command()
@_with_shared
def texts(
    file: Annotated[Path, typer.Argument(help="txt (a text a line), csv, tsv, jsonl or parquet.")],
    out: Out = None,
    column: Annotated[
        str | None, typer.Option(help="Column of the texts.  [default: text, or the only one]")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Column to label points with.  [default: label, or the text]")
    ] = None,
    encoder: Annotated[
        str,
        typer.Option(help="clip, sentence-transformers:NAME_OR_DIR, MODULE:NAME or a plugin's."),
    ] = "clip",
    model: Model = None,
    weights: Weights = None,
    prefix: Annotated[
        str, typer.Option(help="Put before each text, for models that want it: 'query: '.")
    ] = "",
    truncate_dim: Annotated[
        int | None, typer.Option(help="Keep so many values of a vector (Matryoshka models).")
    ] = None,
    normal: Annotated[
        Path | None, typer.Option(help="Table of known-normal texts to compare with.")
    ] = None,
    include_normal: Annotated[
        bool, typer.Option("--include-normal", help="Show these as well.")
    ] = False,
    device: Device = "auto",
    precision: Precision = "auto",
    compiled: Compile = False,
    batch_size: BatchSize = "auto",
    cache: Cache = None,
    strict: Strict = False,
    name: Name = None,
    *,
    shared: _Shared,
) -> None:
    """Export texts, encoded with sentence-transformers or an open_clip model."""
    from projector_export.sources.texts import read_texts

    def read() -> Inputs:
        items = read_texts(file, column=column, label=label, name=embedding)
        return Inputs(items, None if normal is None else read_texts(normal, column=column))

    embedding = name or _default_name(file)
    _export_items(
        read,
        out or Path("logs") / _default_name(file),
        embedding,
        lambda: load_encoder(
            encoder,
            model=model,
            weights=weights,
            device=device,
            precision=precision,
            compiled=compiled,
            prefix=prefix,
            truncate_dim=truncate_dim,
        ),
        shared,
        include_normal=include_normal,
        encode_settings=EncodeSettings(
            batch_size=_number_or_word(batch_size, ("auto",), "--batch-size"),
            strict=strict,
            cache=_cache_folder(cache, shared),
        ),
    )


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
    _export_items(
        lambda: Inputs(digit_items(folder)),
        out,
        "digits",
        lambda: load_encoder("clip", model="digits_clip"),
        shared,
        zero_shot=ZeroShot(DIGIT_WORDS, ["a photo of the digit {}"]),
        encode_settings=EncodeSettings(thumbnail_px=32),
    )
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
    # Pillow warns at half of the pixels that it refuses; scans of 100 MP are no attack.
    warnings.filterwarnings("ignore", message="Image size .* could be decompression bomb")
    try:
        app(args=argv, prog_name="projector-export")
    except ProjectorExportError as error:
        _notes.print(f"projector-export: {error}", markup=False, style="red")
        sys.exit(1)


class Inputs(NamedTuple):
    """What an export of items reads."""

    items: Items
    normal: Items | None = None


def _export_items(
    read: Callable[[], Inputs],
    out: Path,
    name: str,
    load: Callable[[], Any],
    shared: _Shared,
    *,
    zero_shot: ZeroShot | None = None,
    include_normal: bool = False,
    encode_settings: EncodeSettings,
) -> None:
    """Make the encoder and read the inputs, which is quick and tells mistakes, then export."""
    from projector_export.pipeline import export
    from projector_export.projector.log_dir import check_output

    start = time.perf_counter()
    check_output(out, name, force=shared.settings.force)
    with shared.progress() as tell:
        tell(Step("listing the inputs"))
        encoder = load()  # its model is loaded when it is first needed
        inputs = read()
        if include_normal and inputs.normal is None:
            raise OptionError("--include-normal shows the items of --normal, which is not given")
        tell(Step("loading the model"))
        result = export(
            inputs.items,
            out,
            encoder,
            zero_shot=zero_shot,
            normal=inputs.normal,
            include_normal=include_normal,
            encode_settings=encode_settings,
            settings=shared.settings,
            progress=tell,
        )
    shared.report(result, time.perf_counter() - start)


def _default_name(source: Path) -> str:
    from projector_export.projector.log_dir import safe_name

    source = Path(os.path.realpath(source))  # resolve() raises where links form a loop
    return safe_name(source.name if source.is_dir() else source.stem)


def _zero_shot(classes: str | None, prompts: list[str] | None, points: bool) -> ZeroShot | None:
    if classes is None:
        for given, option in ((prompts, "--prompt"), (points, "--class-points")):
            if given:
                raise OptionError(f"{option} belongs to --classes, which is not given")
        return None
    return ZeroShot(_read_classes(classes), prompts or [DEFAULT_PROMPT], points)


def _cache_folder(cache: str | None, shared: _Shared) -> Path | None:
    if cache == "none":
        return None
    if cache is not None:
        return Path(cache)
    import platformdirs

    folder = Path(platformdirs.user_cache_dir("projector-export"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    if not shared.quiet:
        _notes.print(f"note: no cache, since {folder} cannot be written to", markup=False)
    return None


def _serve(log_dir: Path, port: int | None, *, on_stderr: bool = False) -> None:
    from projector_export.viewing.serve import start_tensorboard

    # A terminal that closes, or a supervisor, must end TensorBoard too.
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: sys.exit(0))
    server = start_tensorboard(log_dir, port=port)
    try:  # from here on a signal may come, in the midst of printing too
        typer.echo(f"Projector: {server.url}   (Ctrl+C ends)", err=on_stderr)
        server.process.wait()
    except KeyboardInterrupt:
        typer.echo("")
    finally:
        server.stop()


def _read_classes(classes: str) -> list[str]:
    if os.path.isfile(classes):  # Path.is_file() raises where a list of names is too long
        try:
            names = Path(classes).read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise OptionError(f"{classes} is not UTF-8; save it as UTF-8") from error
    elif "," not in classes and Path(classes).suffix.lower() in (".txt", ".csv", ".tsv"):
        raise InputNotFoundError(f"{classes} does not exist; expected class names, or a file")
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
