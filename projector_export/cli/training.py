"""attach, trajectory and compare: series of a training, and two models side by side."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from projector_export.cli.app import app, note, show_progress
from projector_export.cli.exports import Thumbnail
from projector_export.cli.shared import SHARED, Shared, with_shared_of
from projector_export.errors import OptionError
from projector_export.progress import Step

if TYPE_CHECKING:
    import polars as pl

    from projector_export.comparison.compare import Comparison
    from projector_export.training.attach import Attached

RunDir = Annotated[Path, typer.Argument(help="Directory of the training run.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON line.")]


@app.command()
@with_shared_of(SHARED - {"force", "reference_quantile"})  # the same step twice always replaces
def attach(
    run_dir: RunDir,
    file: Annotated[
        Path | None,
        typer.Argument(help="npy, npz, csv, tsv, parquet, jsonl, pt or safetensors."),
    ] = None,
    step: Annotated[
        int | None, typer.Option(help="Step of the training that FILE is of.", min=0)
    ] = None,
    checkpoints: Annotated[
        str | None,
        typer.Option(help="Instead of FILE: checkpoints, as a quoted pattern: 'ckpt/*.pt'."),
    ] = None,
    tensor: Annotated[
        str | None, typer.Option(help="Key of the weight matrix in the checkpoints.")
    ] = None,
    step_pattern: Annotated[
        str | None,
        typer.Option(help="Regular expression whose group is the step in a checkpoint's path."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first checkpoint that cannot be read.")
    ] = False,
    metadata: Annotated[
        Path | None, typer.Option(help="Table with a row a vector: csv, tsv, txt, jsonl, parquet.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Column to label points with.")] = None,
    images: Annotated[
        str | None, typer.Option(help="Column of image paths, or a folder, for thumbnails.")
    ] = None,
    thumbnail: Thumbnail = 64,
    name: Annotated[str, typer.Option(help="Name of the embedding.")] = "embedding",
    keep: Annotated[
        int | None,
        typer.Option(help="Thin the series to so many steps.  [default: all stay]", min=2),
    ] = None,
    numbers: Annotated[
        bool, typer.Option(help="Write curves, images and a table into the run's own events.")
    ] = True,
    *,
    shared: Shared,
) -> None:
    """Add vectors saved by other means to a training run, as a step or one a checkpoint."""
    from projector_export.projector.log_dir import check_name
    from projector_export.sources.checkpoints import list_checkpoints
    from projector_export.sources.vectors import read_vectors
    from projector_export.training.attach import attach_checkpoints, attach_vectors
    from projector_export.training.recorder import directory_of
    from projector_export.training.summaries import Numbers

    start = time.perf_counter()
    check_name(name)
    run_dir = directory_of(run_dir)
    wanted = Numbers(numbers, numbers, numbers)
    _check_one_source(
        file,
        checkpoints,
        {
            "FILE": {"--step": step, "--images": images},
            "--checkpoints": {
                "--tensor": tensor, "--step-pattern": step_pattern, "--strict": strict
            },
        },
    )  # fmt: skip
    with shared.progress() as tell:
        tell(Step("reading"))
        if file is not None:
            if step is None:
                raise OptionError(f"--step is missing; say which step of the training {file} is of")
            points = read_vectors(
                file,
                metadata=metadata,
                label=label,
                images=images,
                thumbnail_px=thumbnail,
                name=name,
            )
            attached = attach_vectors(
                run_dir,
                points,
                step,
                keep=keep,
                settings=shared.settings,
                views=shared.views,
                numbers=wanted,
                progress=tell,
            )
        else:
            if tensor is None:
                raise OptionError("--tensor is missing; name the weight matrix in the checkpoints")
            columns = _read_columns(metadata, label)
            attached = attach_checkpoints(
                run_dir,
                list_checkpoints(str(checkpoints), step_pattern=step_pattern),
                tensor,
                name=name,
                columns=columns,
                strict=strict,
                keep=keep,
                settings=shared.settings,
                views=shared.views,
                numbers=wanted,
                progress=tell,
            )
    _report_attached(attached, shared, time.perf_counter() - start)


def _check_one_source(
    file: Path | None, checkpoints: str | None, only: dict[str, dict[str, object]]
) -> None:
    """Refuse two sources, none, and options of the one that is not given."""
    if file is not None and checkpoints is not None:
        raise OptionError(
            f"both {file} and --checkpoints are given; attach one of them "
            "(a pattern of checkpoints must be quoted: 'ckpt/*.pt')"
        )
    if file is None and checkpoints is None:
        raise OptionError("there is nothing to attach; give FILE and --step, or --checkpoints")
    owner = "FILE" if file is None else "--checkpoints"
    for option, given in only[owner].items():
        if given is not None and given is not False:
            raise OptionError(f"{option} belongs to {owner}, which is not given")


def _read_columns(metadata: Path | None, label: str | None) -> pl.DataFrame | None:
    from projector_export.sources.tables import choose_label, read_table

    if metadata is not None:
        return choose_label(read_table(metadata), label, where=str(metadata))
    if label is not None:
        raise OptionError("--label names a column of --metadata, which is not given")
    return None


def _report_attached(attached: Attached, shared: Shared, seconds: float) -> None:
    folder = attached.run_dir / attached.name
    if not shared.quiet:
        for warning in attached.warnings:
            note(warning)
        for one in attached.skipped:
            note(f"skipped {one['path']}: {one['why']}")
    if shared.as_json:
        facts = {
            "run": str(attached.run_dir),
            "name": attached.name,
            "steps": attached.steps,
            "kept": attached.kept,
            "points": attached.points,
            "skipped": len(attached.skipped),
            "skipped_files": attached.skipped,
            "warnings": attached.warnings,
            "seconds": round(seconds, 2),
        }
        typer.echo(json.dumps(facts, ensure_ascii=False))
    elif not shared.quiet:
        n, skipped = len(attached.steps), len(attached.skipped)
        what = f"step {attached.steps[0]}" if n == 1 else f"{n} steps"
        left_out = f", {skipped} checkpoints skipped" if skipped else ""
        typer.echo(f"{what} of {attached.points} points in {seconds:.1f} s{left_out}: {folder}")
        steps = "step" if len(attached.kept) == 1 else "steps"
        typer.echo(f"the series has {len(attached.kept)} {steps}: {_listed(attached.kept)}")
        if len(attached.kept) > 1:
            typer.echo(
                f"Draw the way through them: projector-export trajectory {attached.run_dir} "
                f"--name {attached.name}"
            )
        typer.echo(f"Look at them: projector-export view {attached.run_dir}")


def _listed(steps: list[int]) -> str:
    texts = [str(step) for step in steps]
    return ", ".join(texts if len(texts) <= 12 else [*texts[:5], "...", *texts[-5:]])


@app.command()
def trajectory(
    run_dir: RunDir,
    name: Annotated[
        str | None, typer.Option(help="Name of the embedding.  [default: the only series]")
    ] = None,
    of: Annotated[
        str, typer.Option(help="Whose paths: classes (each label's centroid) or examples.")
    ] = "classes",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write the way through all steps of a series as one embedding, drawn as lines."""
    from projector_export.training.attach import open_series
    from projector_export.training.trajectory import write_trajectory

    if of not in ("classes", "examples"):
        raise OptionError(f"--of is {of!r}; expected classes or examples")
    start = time.perf_counter()
    with open_series(run_dir, name) as series, show_progress(quiet=quiet) as tell:
        result = write_trajectory(series, of=of, progress=tell)  # type: ignore[arg-type]
        steps = series.steps()
    seconds = time.perf_counter() - start
    if not quiet:
        for warning in result.warnings:
            note(warning)
    if as_json:
        facts = {
            "out": str(result.out),
            "name": result.name,
            "of": of,
            "steps": steps,
            "paths": result.points // len(steps),
            "points": result.points,
            "warnings": result.warnings,
            "seconds": round(seconds, 2),
        }
        typer.echo(json.dumps(facts, ensure_ascii=False))
    elif not quiet:
        paths = result.points // len(steps)
        typer.echo(f"paths of {paths} {of} through {len(steps)} steps: {result.out}")
        typer.echo(f"Look at them: projector-export view {run_dir}")


@app.command()
@with_shared_of({"view", "cluster_views", "force", "quiet", "as_json"})
def compare(
    run_a: Annotated[
        Path, typer.Argument(help="First run: of an export, of a step, or a training's.")
    ],
    run_b: Annotated[Path, typer.Argument(help="Second run, of the same examples.")],
    out: Annotated[
        Path | None, typer.Argument(help="Run directory to write to.  [default: logs/<A>_vs_<B>]")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Embedding within both runs.  [default: the only one]")
    ] = None,
    name_b: Annotated[
        str | None, typer.Option(help="Embedding within the second run.  [default: --name]")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(help="Column whose values tell the examples.  [default: row by row]"),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="cosine or euclidean, for both.  [default: that of each export]"),
    ] = None,
    *,
    shared: Shared,
) -> None:
    """Compare two models on the same examples: layouts aligned, neighbours that differ."""
    from dataclasses import replace

    from projector_export.comparison.compare import compare_exports
    from projector_export.comparison.finding import choose_names, describe, find_export
    from projector_export.training.attach import read_settings

    start = time.perf_counter()
    a, b = find_export(run_a, name), find_export(run_b, name_b or name)
    names = choose_names(a, b)
    out = out or Path("logs") / "_vs_".join(names)
    settings = read_settings(a)
    own = shared.settings
    settings = replace(settings, force=own.force, cluster_views=own.cluster_views)
    with shared.progress() as tell:
        done = compare_exports(
            a,
            b,
            out,
            by=by,
            names=names,
            settings=settings,
            metric=metric,  # type: ignore[arg-type]
            views=shared.views,
            progress=tell,
        )
    seconds = time.perf_counter() - start
    described = [f"{one}: {describe(e)}" for one, e in zip(names, (a, b), strict=True)]
    _report_comparison(done, described, shared, seconds)


def _report_comparison(
    done: Comparison, described: list[str], shared: Shared, seconds: float
) -> None:
    if not shared.quiet:
        for warning in done.warnings:
            note(warning)
    if shared.as_json:
        facts = {
            "out": str(done.out),
            "names": [done.a.name, done.b.name],
            "points": done.a.points,
            "left_out": [done.left_out_a, done.left_out_b],
            "median_overlap": round(done.median_overlap, 4),
            "mean_overlap": round(done.mean_overlap, 4),
            "warnings": done.warnings,
            "seconds": round(seconds, 2),
        }
        typer.echo(json.dumps(facts, ensure_ascii=False))
    elif not shared.quiet:
        typer.echo(f"{done.a.points} points in {seconds:.1f} s: {done.out}")
        for line in described:
            typer.echo(line)
        typer.echo(
            f"neighbours that both agree on: {done.median_overlap:.0%} at the median point, "
            f"{done.mean_overlap:.1%} on average"
        )
        typer.echo(f"Look at them: projector-export view {done.out}")
