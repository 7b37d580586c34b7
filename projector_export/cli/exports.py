"""vectors, images, texts and demo: each a thin layer over the library."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from projector_export.cli.app import app, note
from projector_export.cli.serving import Port, run_tensorboard
from projector_export.cli.shared import Shared, number_or_word, with_shared
from projector_export.encoding.choose import load_encoder
from projector_export.encoding.zero_shot import DEFAULT_PROMPT, ZeroShot
from projector_export.errors import InputNotFoundError, OptionError
from projector_export.points import Items
from projector_export.progress import Step
from projector_export.settings import EncodeSettings

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


@app.command()
@with_shared
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
    shared: Shared,
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
        result = export_points(
            points,
            out,
            settings=shared.settings,
            views=shared.views,
            normal=known,
            progress=tell,
        )
    shared.report(result, time.perf_counter() - start)


@app.command()
@with_shared
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
    shared: Shared,
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
            batch_size=number_or_word(batch_size, ("auto",), "--batch-size"),
            thumbnail_px=thumbnail,
            threads=threads,
            exact_decode=exact_decode,
            strict=strict,
            cache=_cache_folder(cache, shared),
        ),
    )


@app.command()
@with_shared
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
    shared: Shared,
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
            batch_size=number_or_word(batch_size, ("auto",), "--batch-size"),
            strict=strict,
            cache=_cache_folder(cache, shared),
        ),
    )


@app.command()
@with_shared
def demo(
    out: Annotated[Path, typer.Argument(help="Run directory to write to.")] = Path("logs/demo"),
    serve: Annotated[bool, typer.Option(help="Start TensorBoard afterwards.")] = True,
    port: Port = None,
    *,
    shared: Shared,
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
        run_tensorboard(out, port, on_stderr=shared.quiet or shared.as_json)


class Inputs(NamedTuple):
    """What an export of items reads."""

    items: Items
    normal: Items | None = None


def _export_items(
    read: Callable[[], Inputs],
    out: Path,
    name: str,
    load: Callable[[], Any],
    shared: Shared,
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
            views=shared.views,
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


def _cache_folder(cache: str | None, shared: Shared) -> Path | None:
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
        note(f"no cache, since {folder} cannot be written to")
    return None


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
