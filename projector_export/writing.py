"""Analysis -> files: write one embedding of a run, read it back through TensorBoard, commit it."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from projector_export.analyse import Analysis
from projector_export.analysis.principal import measure_recall
from projector_export.analysis.thinning import choose_rows
from projector_export.manifest import manifest_facts
from projector_export.points import Points
from projector_export.progress import Clock
from projector_export.projector.bookmarks import render_bookmarks
from projector_export.projector.config import Embedding
from projector_export.projector.log_dir import Staging
from projector_export.projector.metadata import render_metadata, viewer_names
from projector_export.projector.placing import PlacedView, Placer, isolation_notes
from projector_export.projector.read_back import read_back
from projector_export.projector.skipped import render_skipped
from projector_export.projector.sprite import render_sprite
from projector_export.projector.tensor import render_tensor_bytes, render_tensor_tsv
from projector_export.projector.viewer_points import SOURCE_ROW, ViewerPoints
from projector_export.projector.views import View, cluster_views, default_views
from projector_export.settings import Settings
from projector_export.thumbnails import fitting_tile_px, grid_columns

SPRITE = "sprite.png"


@dataclass(frozen=True)
class ExportResult:
    """What an export did.

    Attributes:
        out: the run directory.
        name: of the embedding.
        points: rows that were analysed.
        shown: rows that the browser gets.
        skipped: inputs left out, each with `path` and `why`.
        facts: the manifest.
        warnings: what the user should know.
    """

    out: Path
    name: str
    points: int
    shown: int
    skipped: Sequence[dict[str, str]]
    facts: dict[str, Any]
    warnings: list[str]


@dataclass(frozen=True, eq=False)
class Extras:
    """What an export has beside the usual files.

    Attributes:
        sprite: a sprite.png made earlier of the same thumbnails, which is then not made again.
        files: more files of the export, by name.
    """

    sprite: Path | None = None
    files: Mapping[str, bytes | np.ndarray] = field(default_factory=dict)


def write_export(
    analysis: Analysis,
    out: Path,
    settings: Settings,
    *,
    views: Sequence[View] = (),
    suggest: Callable[[pl.DataFrame], list[View]] = default_views,
    coordinates: Mapping[str, np.ndarray] | None = None,
    extras: Extras | None = None,
    warnings: Sequence[str] = (),
    clock: Clock | None = None,
) -> ExportResult:
    """Write analysed points as one embedding of a TensorBoard run.

    Args:
        analysis: N points with their columns.
        out: the run directory; made when missing.
        settings: of output.
        views: bookmarks.
        suggest: chooses further bookmarks by the columns; those of `cluster_views` follow.
        coordinates: of layouts that are files, by `View.layout_key`: (N, 2) or (N, 3).
        extras: further files.
        warnings: that the user is to be told with those of this call.
        clock: times the stages.

    Raises:
        OptionError: a view cannot be made.
        OutputError, NameTakenError: `out` cannot take it.
        ReadBackError: TensorBoard's plugin does not give back what was written.
    """
    clock, extras, warnings = clock or Clock(), extras or Extras(), list(warnings)
    points, graph, prepared = analysis.points, analysis.graph, analysis.snapshot.prepared
    rows = choose_rows(points.columns, settings.max_points, seed=settings.seed)
    shown = points if len(rows) == len(points) else points.take(rows)
    facts = manifest_facts(points, shown, settings, graph, analysis.clusters, warnings)
    vectors = shown.vectors
    compared = prepared if shown is points else prepared[rows]
    if analysis.view_dims is not None and analysis.components is not None:
        with clock.stage("reducing for the browser"):
            reduced = analysis.components.project(prepared, analysis.view_dims)
            variance = analysis.components.variance[: analysis.view_dims].sum()
            facts["view"] |= {
                "columns": reduced.shape[1],
                "variance_kept": round(float(variance), 4),
                "neighbour_recall": round(measure_recall(reduced, graph, seed=settings.seed), 4),
            }
            compared = vectors = reduced if shown is points else reduced[rows]
    with clock.stage("views"):
        source_row = pl.Series(SOURCE_ROW, rows.astype(np.uint32))
        among = ViewerPoints(shown.columns.with_columns(source_row), compared)
        files = {layout: places[rows] for layout, places in (coordinates or {}).items()}
        wanted = _all_views(views, suggest(shown.columns), shown.columns, settings)
        placed = Placer(among, vectors, files).place(wanted)
        warnings += isolation_notes([view.size for view in placed])
    with Staging(out, points.name) as staging:
        embedding = _write(
            staging, points, shown, rows, vectors, placed, settings, clock, facts, extras
        )
        warnings += staging.commit(embedding, force=settings.force)
    return ExportResult(
        out, points.name, len(points), len(shown), facts["skipped"], facts, warnings
    )


def _write(
    staging: Staging,
    points: Points,
    shown: Points,
    rows: np.ndarray,
    vectors: np.ndarray,
    views: Sequence[PlacedView],
    settings: Settings,
    clock: Clock,
    facts: dict[str, Any],
    extras: Extras,
) -> Embedding:
    """Write all files, read them back, and return the config's entry."""
    shape = (vectors.shape[0], vectors.shape[1])
    tensor = f"tensor.{settings.tensor_format}"
    render = render_tensor_tsv if settings.tensor_format == "tsv" else render_tensor_bytes
    tile_px = None
    with clock.stage("writing"):
        staging.write(tensor, render(vectors))
        staging.write("metadata.tsv", render_metadata(shown.columns))
        if facts["skipped"]:
            staging.write("skipped.tsv", render_skipped(facts["skipped"]))
        names = viewer_names(shown.columns)
        staging.write("bookmarks.json", render_bookmarks(views, dimensions=shape, names=names))
        if shown.thumbnails is not None:
            if extras.sprite is not None:
                tile_px = fitting_tile_px(len(shown), shown.thumbnails.shape[1])
                staging.keep(extras.sprite)
            else:
                sprite, tile_px = render_sprite(shown.thumbnails)
                staging.write(SPRITE, sprite)
            facts["sprite"] = {"tile_px": tile_px, "px": tile_px * grid_columns(len(shown))}
        buffer = io.BytesIO()
        _parquet_frame(points.columns, rows).write_parquet(buffer)
        staging.write("points.parquet", buffer.getvalue())
        for file, content in extras.files.items():
            staging.write(file, content)
    embedding = Embedding(points.name, shape, points.name, tensor, tile_px)
    staging.write_config(embedding)
    with clock.stage("reading back"):
        read_back(staging.run, embedding, vectors, sum(view.n_shown for view in views))
    facts |= _folders_from(staging.out, facts)
    facts["views"] = [placed.view.title for placed in views]
    facts["seconds"] = clock.seconds
    staging.write_manifest(facts)
    return embedding


def _folders_from(out: Path, facts: Mapping[str, Any]) -> dict[str, str]:
    """Say where the items' files lie as seen from the run: both may move, and no home is named."""
    names = [name for name in ("source_folder", "normal_folder") if name in facts]
    found = {}
    for name in names:
        with contextlib.suppress(ValueError):  # on another drive
            found[name] = Path(os.path.relpath(facts[name], out.resolve())).as_posix()
    return found


def _all_views(
    views: Sequence[View], suggested: list[View], columns: pl.DataFrame, settings: Settings
) -> list[View]:
    """The user's own first; those that the columns suggest do not take their titles."""
    own = {view.title for view in views}
    if settings.cluster_views:
        suggested += cluster_views(columns)
    return [*views, *(view for view in suggested if view.title not in own)]


def _parquet_frame(columns: pl.DataFrame, rows: np.ndarray) -> pl.DataFrame:
    """All points: the shown ones first, in the tensor's order, then those thinned out."""
    n = columns.height
    source = pl.Series(SOURCE_ROW, np.arange(n, dtype=np.uint32))
    frame = columns.with_columns(source)
    if len(rows) == n:
        return frame
    hidden = np.setdiff1d(np.arange(n), rows)
    shown = pl.Series("shown", np.arange(n) < len(rows))
    return frame[np.concatenate([rows, hidden])].with_columns(shown)
