"""export(items) = encode, then export_points(points) = analyse, write, read back, commit."""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from projector_export.analysis.anomalies import Reference, add_anomalies
from projector_export.analysis.clusters import Clusters, add_clusters, find_clusters
from projector_export.analysis.duplicates import add_nearest
from projector_export.analysis.layout import add_layout, compute_umap, load_umap
from projector_export.analysis.naming import NamedVectors, add_cluster_names
from projector_export.analysis.neighbors import NeighborGraph, build_graph, prepare_vectors
from projector_export.analysis.principal import Components, fit_components, measure_recall
from projector_export.analysis.thinning import choose_rows
from projector_export.encoding.encoder import ImageEncoder, TextEncoder, encode
from projector_export.encoding.zero_shot import ZeroShot, add_predictions, encode_classes
from projector_export.errors import DataError, OptionError
from projector_export.limits import SMOOTH_VALUES
from projector_export.manifest import manifest_facts
from projector_export.points import (
    ENCODING_COLUMNS,
    LABEL,
    OUR_COLUMNS,
    Items,
    Points,
    as_text,
    as_vectors,
)
from projector_export.progress import Progress, Step
from projector_export.projector.bookmarks import render_bookmarks
from projector_export.projector.config import Embedding
from projector_export.projector.log_dir import Staging, check_output
from projector_export.projector.metadata import render_metadata, viewer_names
from projector_export.projector.placing import PlacedView, Placer, isolation_notes
from projector_export.projector.read_back import read_back
from projector_export.projector.skipped import render_skipped
from projector_export.projector.sprite import render_sprite
from projector_export.projector.tensor import render_tensor_bytes, render_tensor_tsv
from projector_export.projector.viewer_points import SOURCE_ROW, ViewerPoints
from projector_export.projector.views import View, check_titles, cluster_views, default_views
from projector_export.settings import EncodeSettings, Settings
from projector_export.sources.coordinates import read_coordinates
from projector_export.thumbnails import grid_columns

ANALYSIS_NEIGHBORS = 15
MIN_VIEW_DIMS = 32
ANOMALIES_ARE_OFF = "normal items are for the anomaly columns, which are switched off"


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


def export(
    items: Items,
    out: str | Path,
    encoder: ImageEncoder | TextEncoder,
    *,
    zero_shot: ZeroShot | None = None,
    normal: Items | None = None,
    include_normal: bool = False,
    encode_settings: EncodeSettings | None = None,
    settings: Settings | None = None,
    views: Sequence[View] = (),
    progress: Progress | None = None,
) -> ExportResult:
    """Encode items and export them; see `export_points`.

    Args:
        items: for example from `read_images` or `read_texts`.
        out: the run directory.
        encoder: for example an `OpenClipEncoder`.
        zero_shot: classes to compare images with; the encoder must encode texts, too.
        normal: known-normal items, encoded in the same way; fill `anomaly_reference`.
        include_normal: show these as well, marked in the column `known_normal`.
        encode_settings: of batches, threads, thumbnails and the cache.
        settings: of analysis and output.
        views: bookmarks to add to those that the columns suggest.
        progress: called when a step begins, and with the items encoded.

    Raises:
        OptionError: classes are given but the encoder has no texts, or a view cannot be made.
        DataError: fewer than two items can be read.
        EncoderError: as `encode` says.
    """
    settings = settings or Settings()
    check_output(Path(out), items.name, force=settings.force)
    if zero_shot is not None and not (
        hasattr(encoder, "encode_texts") and hasattr(encoder, "logit_scale")
    ):
        raise OptionError(
            "classes need an encoder of images and texts; choose --encoder clip (OpenClipEncoder)"
        )
    if normal is not None and not settings.anomalies:
        raise OptionError(ANOMALIES_ARE_OFF)
    _check_views(views, [*items.columns.columns, *ENCODING_COLUMNS])
    start = time.perf_counter()
    columns, notes = _rename_clashes(items.columns, ENCODING_COLUMNS - set(items.made))
    items = replace(items, columns=columns, notes=(*items.notes, *notes))
    together = items if normal is None else _with_normal(items, normal)
    with _in_background(load_umap if settings.umap_dims else _nothing):
        points = encode(together, encoder, settings=encode_settings, progress=progress)
    reference = known_normal = None
    if normal is not None:
        split = _split_normal(points, include_normal)
        points, reference, known_normal = split.points, split.reference, split.known_normal
    names = _captions(points) if "kind" in items.made else None
    if zero_shot is not None:
        n = len(points)
        vectors = encode_classes(encoder, zero_shot)  # type: ignore[arg-type]
        names = NamedVectors(zero_shot.classes, vectors)
        points = add_predictions(points, encoder, zero_shot, vectors=vectors)  # type: ignore[arg-type]
        if known_normal is not None:
            known_normal = np.concatenate([known_normal, np.zeros(len(points) - n, dtype=bool)])
    seconds = round(time.perf_counter() - start, 2)
    points = replace(points, origin={**points.origin, "encode_seconds": seconds})
    return export_points(
        points,
        out,
        settings=settings,
        views=views,
        names=names,
        normal=reference,
        known_normal=known_normal,
        progress=progress,
    )


def _captions(points: Points) -> NamedVectors:
    rows = np.flatnonzero((points.columns["kind"] == "text").to_numpy())
    return NamedVectors(as_text(points.columns[LABEL])[rows].to_list(), points.vectors[rows])


def _check_views(views: Sequence[View], columns: Sequence[str]) -> None:
    """Find mistakes before any work is done."""
    check_titles(views)
    for view in views:
        view.check_columns([*columns, *sorted(OUR_COLUMNS)])


def _with_normal(items: Items, normal: Items) -> Items:
    """All items and then the known-normal ones, with the column `known_normal`."""
    columns, notes = _rename_clashes(normal.columns, ENCODING_COLUMNS - set(normal.made))
    label = pl.col(LABEL).cast(pl.String)
    # A column of one name may hold other things in the other table.
    for name in set(columns.columns) & set(items.columns.columns) - {LABEL}:
        if columns.schema[name] != items.columns.schema[name]:
            columns = columns.with_columns(as_text(columns[name]))
            items = replace(items, columns=items.columns.with_columns(as_text(items.columns[name])))
    shared = {os.path.realpath(c) for c in normal.contents if isinstance(c, Path)} & {
        os.path.realpath(c) for c in items.contents if isinstance(c, Path)
    }
    if shared:
        notes.append(
            f"{len(shared)} known-normal images are among the images too; those find themselves, "
            "so their anomaly_reference is too low"
        )
    if "kind" in items.made:
        columns = columns.with_columns(pl.lit("image").alias("kind"))
    both = pl.concat(
        [
            items.columns.with_columns(label, pl.lit(value=False).alias("known_normal")),
            columns.with_columns(label, pl.lit(value=True).alias("known_normal")),
        ],
        how="diagonal_relaxed",
    )
    return replace(
        items,
        contents=(*items.contents, *normal.contents),
        columns=both,
        skipped=(*items.skipped, *normal.skipped),
        notes=(*items.notes, *normal.notes, *notes),
        normal_folder=normal.folder,
    )


@dataclass(frozen=True)
class _Split:
    points: Points
    reference: np.ndarray
    known_normal: np.ndarray | None


def _split_normal(points: Points, include: bool) -> _Split:
    """Take the known-normal items' vectors; leave their points only where they are to be shown."""
    is_normal = points.columns["known_normal"].to_numpy()
    kept = np.flatnonzero(~is_normal)
    for what, number in (("items", len(kept)), ("known-normal items", int(is_normal.sum()))):
        if number < 2:
            raise DataError(f"{number} {what} of {points.name} can be read; expected at least 2")
    reference = points.vectors[is_normal]
    origin = {**points.origin, "known_normal": len(reference)}
    if include:
        return _Split(replace(points, origin=origin), reference, is_normal)
    points = points.take(kept)
    return _Split(
        replace(points, columns=points.columns.drop("known_normal"), origin=origin), reference, None
    )


def export_points(
    points: Points,
    out: str | Path,
    *,
    settings: Settings | None = None,
    views: Sequence[View] = (),
    names: NamedVectors | None = None,
    normal: np.ndarray | None = None,
    known_normal: np.ndarray | None = None,
    progress: Progress | None = None,
) -> ExportResult:
    """Analyse points and write them as one embedding of a TensorBoard run.

    Args:
        points: N points.
        out: the run directory; made when missing. Other embeddings in it stay.
        settings: of analysis and output.
        views: bookmarks to add to those that the columns suggest; one of the same title takes the
            place of such a one.
        names: texts that clusters may be named after.
        normal: (M, D) vectors of known-normal items, M >= 2; fills `anomaly_reference`.
        known_normal: (N,) bool: which points are themselves the normal items, in their order; they
            are then compared with the others among these.
        progress: called when a step begins.

    Returns:
        What was done. On an error nothing in `out` has changed, unless the disk refuses the very
        last step; then the run shows the old export or the new one, and the message says which.

    Raises:
        OptionError, DataError, OutputError, NameTakenError: as their docstrings say.
        ReadBackError: TensorBoard's plugin does not give back what was written.
    """
    settings = settings or Settings()
    out = Path(out)
    clock = _Clock(progress or _ignore)
    check_output(out, points.name, force=settings.force)
    if isinstance(settings.clusters, int) and settings.clusters > len(points):
        raise OptionError(
            f"clusters is {settings.clusters} but there are {len(points)} points; "
            f"expected 1 to {len(points)}, 'auto' or 'none'"
        )
    _check_views(views, points.columns.columns)
    coordinates = {
        view.layout_key: read_coordinates(view.layout_file, rows=len(points))
        for view in views
        if view.layout_file is not None
    }
    columns, warnings = _rename_clashes(points.columns, OUR_COLUMNS)
    if warnings:
        points = replace(points, columns=columns)
    if normal is not None:
        if not settings.anomalies:
            raise OptionError(ANOMALIES_ARE_OFF)
        normal = as_vectors(normal, where="normal")
        if normal.shape[1] != points.vectors.shape[1]:
            raise DataError(
                f"the normal items have {normal.shape[1]} columns but the points have "
                f"{points.vectors.shape[1]}; encode both with the same model"
            )
    reference = None if normal is None else Reference(normal, known_normal)
    with _in_background(load_umap if settings.umap_dims else _nothing):
        with clock.stage("neighbours"):
            prepared = prepare_vectors(points.vectors, settings.metric)
            k = max(ANALYSIS_NEIGHBORS, settings.umap_neighbors - 1)
            graph = build_graph(prepared, k=k, metric=settings.metric, seed=settings.seed)
        with clock.stage("principal components"):
            view_dims = _choose_view_dims(points, settings)
            components = fit_components(prepared, max(3, view_dims or 0), seed=settings.seed)
    with ThreadPoolExecutor(1) as pool:
        near = graph.first(ANALYSIS_NEIGHBORS)
        beside = pool.submit(_analyse, points, prepared, near, settings, reference, names, clock)
        layouts = [
            _lay_out(prepared, graph, components, n_dims, settings, clock)
            for n_dims in sorted(set(settings.umap_dims), reverse=True)
        ]
        points, clusters = beside.result()
    for layout in layouts:
        points = add_layout(points, layout)

    rows = choose_rows(points.columns, settings.max_points, seed=settings.seed)
    shown = points if len(rows) == len(points) else points.take(rows)
    facts = manifest_facts(points, shown, settings, graph, clusters, warnings)
    vectors = shown.vectors
    compared = prepared if shown is points else prepared[rows]
    if view_dims is not None:
        with clock.stage("reducing for the browser"):
            reduced = components.project(prepared, view_dims)
            facts["view"] |= {
                "columns": reduced.shape[1],
                "variance_kept": round(float(components.variance[:view_dims].sum()), 4),
                "neighbour_recall": round(measure_recall(reduced, graph, seed=settings.seed), 4),
            }
            compared = vectors = reduced if shown is points else reduced[rows]
    with clock.stage("views"):
        source_row = pl.Series(SOURCE_ROW, rows.astype(np.uint32))
        among = ViewerPoints(shown.columns.with_columns(source_row), compared)
        files = {layout: places[rows] for layout, places in coordinates.items()}
        placed = Placer(among, vectors, files).place(_all_views(views, shown.columns, settings))
        warnings += isolation_notes([view.size for view in placed])
    with Staging(out, points.name) as staging:
        embedding = _write(staging, points, shown, rows, vectors, placed, settings, clock, facts)
        warnings += staging.commit(embedding, force=settings.force)
    return ExportResult(
        out, points.name, len(points), len(shown), facts["skipped"], facts, warnings
    )


def _analyse(
    points: Points,
    prepared: np.ndarray,
    graph: NeighborGraph,
    settings: Settings,
    reference: Reference | None,
    names: NamedVectors | None,
    clock: _Clock,
) -> tuple[Points, Clusters | None]:
    clusters = None
    if settings.clusters is not None:
        with clock.stage("clusters"):
            clusters = find_clusters(prepared, n_clusters=settings.clusters, seed=settings.seed)
            points = add_clusters(points, clusters)
            points = add_cluster_names(points, clusters, candidates=names)
    with clock.stage("anomalies and duplicates"):
        if settings.anomalies:
            if reference is not None:
                ready = prepare_vectors(reference.vectors, settings.metric)
                reference = replace(reference, vectors=ready)
            points = add_anomalies(
                points,
                prepared,
                graph,
                clusters,
                reference=reference,
                reference_quantile=settings.reference_quantile,
            )
        points = add_nearest(
            points, prepared, graph, duplicate_angle_deg=settings.duplicate_angle_deg
        )
    return points, clusters


def _lay_out(
    prepared: np.ndarray,
    graph: NeighborGraph,
    components: Components,
    n_dims: int,
    settings: Settings,
    clock: _Clock,
) -> np.ndarray:
    with clock.stage(f"UMAP {n_dims}-D"):
        return compute_umap(
            graph,
            components.project(prepared, n_dims),
            n_dims=n_dims,
            n_neighbors=settings.umap_neighbors,
            min_dist=settings.umap_min_dist,
            seed=settings.seed,
        )


def _write(
    staging: Staging,
    points: Points,
    shown: Points,
    rows: np.ndarray,
    vectors: np.ndarray,
    views: Sequence[PlacedView],
    settings: Settings,
    clock: _Clock,
    facts: dict[str, Any],
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
            sprite, tile_px = render_sprite(shown.thumbnails)
            staging.write("sprite.png", sprite)
            facts["sprite"] = {"tile_px": tile_px, "px": tile_px * grid_columns(len(shown))}
        buffer = io.BytesIO()
        _parquet_frame(points.columns, rows).write_parquet(buffer)
        staging.write("points.parquet", buffer.getvalue())
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


def _all_views(views: Sequence[View], columns: pl.DataFrame, settings: Settings) -> list[View]:
    """The user's own first; those that the columns suggest do not take their titles."""
    own = {view.title for view in views}
    suggested = default_views(columns)
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


def _choose_view_dims(points: Points, settings: Settings) -> int | None:
    """Columns to reduce to for the browser; None to leave the vectors as they are."""
    n, dims = points.vectors.shape
    wanted = settings.view_dims
    if wanted == "all":
        return None
    automatic = max(MIN_VIEW_DIMS, SMOOTH_VALUES // min(n, settings.max_points))
    columns = automatic if wanted == "auto" else wanted
    return columns if columns < min(dims, n) else None


def _rename_clashes(columns: pl.DataFrame, ours: frozenset[str]) -> tuple[pl.DataFrame, list[str]]:
    """A user's column with one of our names becomes `user_<name>`."""
    clashes = [c for c in columns.columns if c.strip() in ours]
    if not clashes:
        return columns, []
    renamed = {c: f"user_{c.strip()}" for c in clashes}
    taken = set(renamed.values()) & set(columns.columns)
    if taken:
        raise DataError(f"columns {sorted(taken)} stand in the way of renaming {clashes}")
    warning = f"columns with reserved names were renamed: {', '.join(renamed.values())}"
    return columns.rename(renamed), [warning]


@contextmanager
def _in_background(work: Callable[[], None]) -> Iterator[None]:
    """Run `work` in a thread during the block; its error is raised at the end."""
    with ThreadPoolExecutor(1) as pool:
        job: Future[None] = pool.submit(work)
        yield
        job.result()


def _nothing() -> None:
    pass


def _ignore(_: Step) -> None:
    pass


@dataclass
class _Clock:
    tell: Progress
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage and say that it began."""
        self.tell(Step(name))
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 2)
