"""Options that every export has, and what is said at its end."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, get_type_hints

import typer

from projector_export.cli.app import note, show_progress
from projector_export.errors import OptionError
from projector_export.progress import Progress
from projector_export.projector.views import View, parse_view
from projector_export.settings import Settings


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
    view: Annotated[
        list[str] | None,
        typer.Option(
            help="Bookmark to add, repeatable: 'TITLE; select=top 9 by anomaly', or a TOML file."
        ),
    ] = None,
    cluster_views: Annotated[
        bool, typer.Option("--cluster-views", help="Add a bookmark a cluster, shown alone.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    force: Annotated[bool, typer.Option(help="Replace an embedding of the same name.")] = False,
    quiet: Annotated[bool, typer.Option(help="Print nothing but errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line.")] = False,
) -> Shared:
    settings = Settings(
        metric=metric,  # type: ignore[arg-type]
        clusters=None
        if clusters == "none"
        else number_or_word(clusters, ("auto", "none"), "--clusters"),
        umap_dims=_parse_dims(umap_dims),
        umap_neighbors=umap_neighbors,
        umap_min_dist=umap_min_dist,
        anomalies=anomalies,
        reference_quantile=reference_quantile,
        duplicate_angle_deg=duplicate_angle,
        max_points=max_points,
        view_dims=number_or_word(view_dims, ("auto", "all"), "--view-dims"),
        tensor_format=tensor_format,  # type: ignore[arg-type]
        seed=seed,
        force=force,
        cluster_views=cluster_views,
    )
    views = [one for text in view or () for one in parse_view(text)]
    return Shared(settings, views, quiet, as_json)


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


class Shared:
    """Options that every export has."""

    def __init__(
        self, settings: Settings, views: Sequence[View], quiet: bool, as_json: bool
    ) -> None:
        self.settings, self.views, self.quiet, self.as_json = settings, views, quiet, as_json

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """Give a function that shows on stderr where the work stands, if that is a terminal."""
        with show_progress(quiet=self.quiet) as show:
            yield show

    def report(self, result: Any, seconds: float) -> None:
        """Print what an export did."""
        for warning in result.warnings:
            if not self.quiet:
                note(warning)
        if result.skipped and not self.quiet:
            first = result.skipped[0]
            note(
                f"{len(result.skipped)} inputs skipped, listed in "
                f"{result.out / result.name / 'skipped.tsv'}; first: {first['path']}: "
                f"{first['why']}"
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


SHARED = frozenset(inspect.signature(_shared_options).parameters)
"""Names of all shared options."""


def with_shared(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all shared options, handed over as its argument `shared`."""
    return with_shared_of(SHARED)(command)


def with_shared_of(
    names: Collection[str],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command some of the shared options; the others are at their defaults."""

    def give(command: Callable[..., None]) -> Callable[..., None]:
        parameters = inspect.signature(_shared_options).parameters
        shared = {name: p for name, p in parameters.items() if name in names}
        own = [p for p in inspect.signature(command).parameters.values() if p.name != "shared"]

        @functools.wraps(command)
        def run(**arguments: Any) -> None:
            common = {name: arguments.pop(name) for name in shared}
            command(**arguments, shared=_shared_options(**common))

        hints = get_type_hints(_shared_options, include_extras=True)
        hints |= get_type_hints(command, include_extras=True)
        together = [p.replace(annotation=hints[p.name]) for p in (*own, *shared.values())]
        run.__signature__ = inspect.Signature(together)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in together}
        del run.__wrapped__
        return run

    return give


def number_or_word(text: str, words: tuple[str, ...], option: str) -> Any:
    """Return one of the words, or else a whole number.

    Raises:
        OptionError: neither.
    """
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
