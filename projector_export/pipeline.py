"""export(items) = encode, then export_points(points) = analyse, write, read back, commit."""

from __future__ import annotations

import importlib.metadata
import io
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from projector_export.analysis.anomalies import add_anomalies
from projector_export.analysis.clusters import Clusters, add_clusters, find_clusters
from projector_export.analysis.duplicates import add_nearest
from projector_export.analysis.layout import add_layout, compute_umap, load_umap
from projector_export.analysis.neighbors import NeighborGraph, build_graph, prepare_vectors
from projector_export.analysis.principal import Components, fit_components, measure_recall
from projector_export.analysis.thinning import choose_rows
from projector_export.encoding.encoder import ImageEncoder, encode
from projector_export.encoding.zero_shot import (
    DEFAULT_PROMPT,
    TextEncoder,
    add_predictions,
    check_classes,
)
from projector_export.errors import DataError, OptionError
from projector_export.limits import SMOOTH_VALUES
from projector_export.points import Items, Points, as_vectors
from projector_export.projector.bookmarks import default_views, render_bookmarks
from projector_export.projector.config import Embedding
from projector_export.projector.log_dir import Staging, check_output
from projector_export.projector.metadata import render_metadata
from projector_export.projector.read_back import read_back
from projector_export.projector.sprite import render_sprite
from projector_export.projector.tensor import render_tensor_bytes, render_tensor_tsv
from projector_export.settings import Settings

ANALYSIS_NEIGHBORS = 15
MIN_VIEW_DIMS = 32
OUR_COLUMNS = frozenset(
    "cluster cluster_distance anomaly anomaly_kind anomaly_global anomaly_group anomaly_local"
    " anomaly_reference nearest nearest_angle duplicate_group umap3d_x umap3d_y umap3d_z"
    " umap2d_x umap2d_y source_row shown".split()
)

Progress = Callable[[str], None]


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
    encoder: ImageEncoder,
    *,
    classes: Sequence[str] = (),
    prompts: Sequence[str] = (DEFAULT_PROMPT,),
    batch_size: int = 64,
    thumbnail_px: int = 64,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> ExportResult:
    """Encode items and export them; see `export_points`.

    Args:
        items: for example from `read_images`.
        out: the run directory.
        encoder: for example an `OpenClipEncoder`.
        classes: zero-shot class names; the encoder must encode texts then.
        prompts: templates for the class names.
        batch_size: images a forward pass.
        thumbnail_px: side of a thumbnail.
        settings: of analysis and output.
        progress: called with a line for each step.

    Raises:
        OptionError: classes are given but the encoder has no texts; a prompt is malformed.
        DataError: fewer than two images can be read.
    """
    settings = settings or Settings()
    tell = progress or _ignore
    check_output(Path(out), items.name, force=settings.force)
    if classes:
        check_classes(classes, prompts)
        if not (hasattr(encoder, "encode_texts") and hasattr(encoder, "logit_scale")):
            raise OptionError("classes need an encoder for texts too, such as OpenClipEncoder")
    start = time.perf_counter()
    with _in_background(load_umap if settings.umap_dims else _nothing):
        points = encode(
            items,
            encoder,
            batch_size=batch_size,
            thumbnail_px=thumbnail_px,
            on_progress=lambda done, total: tell(f"encoded {done} of {total} images"),
        )
    if classes:
        texts: TextEncoder = encoder  # type: ignore[assignment]
        points = add_predictions(points, texts, classes, prompts=prompts)
        facts: dict[str, Any] = {"classes": list(classes), "prompts": list(prompts)}
        if "agrees" in points.columns.columns:
            agrees = points.columns["agrees"]
            facts["zero_shot_agreement"] = round(float(agrees.sum()) / len(agrees), 4)
        else:
            facts["notes"] = ["no label equals a class, so there is no column `agrees`"]
        points = replace(points, origin={**points.origin, **facts})
    points = replace(
        points, origin={**points.origin, "encode_seconds": round(time.perf_counter() - start, 2)}
    )
    return export_points(points, out, settings=settings, progress=progress)


def export_points(
    points: Points,
    out: str | Path,
    *,
    settings: Settings | None = None,
    normal: np.ndarray | None = None,
    progress: Progress | None = None,
) -> ExportResult:
    """Analyse points and write them as one embedding of a TensorBoard run.

    Args:
        points: N points.
        out: the run directory; made when missing. Other embeddings in it stay.
        settings: of analysis and output.
        normal: (M, D) vectors of known-normal items, M >= 2; fills `anomaly_reference`.
        progress: called with a line for each step.

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
    points, warnings = _rename_clashes(points)
    if normal is not None:
        if not settings.anomalies:
            raise OptionError("normal items are for the anomaly columns, which are switched off")
        normal = as_vectors(normal, where="normal")
        if normal.shape[1] != points.vectors.shape[1]:
            raise DataError(
                f"the normal items have {normal.shape[1]} columns but the points have "
                f"{points.vectors.shape[1]}; encode both with the same model"
            )
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
        beside = pool.submit(_analyse, points, prepared, near, settings, normal, clock)
        layouts = [
            _lay_out(prepared, graph, components, n_dims, settings, clock)
            for n_dims in sorted(set(settings.umap_dims), reverse=True)
        ]
        points, clusters = beside.result()
    for layout in layouts:
        points = add_layout(points, layout)

    rows = choose_rows(points.columns, settings.max_points, seed=settings.seed)
    shown = points if len(rows) == len(points) else points.take(rows)
    facts = _facts(points, shown, settings, graph, clusters, warnings)
    vectors = shown.vectors
    if view_dims is not None:
        with clock.stage("reducing for the browser"):
            reduced = components.project(prepared, view_dims)
            facts["view"] |= {
                "columns": reduced.shape[1],
                "variance_kept": round(float(components.variance[:view_dims].sum()), 4),
                "neighbour_recall": round(measure_recall(reduced, graph, seed=settings.seed), 4),
            }
            vectors = reduced if shown is points else reduced[rows]
    with Staging(out, points.name) as staging:
        embedding = _write(staging, points, shown, rows, vectors, settings, clock, facts)
        warnings += staging.commit(embedding, force=settings.force)
    return ExportResult(
        out, points.name, len(points), len(shown), facts["skipped"], facts, warnings
    )


def _analyse(
    points: Points,
    prepared: np.ndarray,
    graph: NeighborGraph,
    settings: Settings,
    normal: np.ndarray | None,
    clock: _Clock,
) -> tuple[Points, Clusters | None]:
    clusters = None
    if settings.clusters is not None:
        with clock.stage("clusters"):
            clusters = find_clusters(prepared, n_clusters=settings.clusters, seed=settings.seed)
            points = add_clusters(points, clusters)
    with clock.stage("anomalies and duplicates"):
        if settings.anomalies:
            reference = None if normal is None else prepare_vectors(normal, settings.metric)
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
    settings: Settings,
    clock: _Clock,
    facts: dict[str, Any],
) -> Embedding:
    """Write all files, read them back, and return the config's entry."""
    views = default_views(shown.columns)
    shape = (vectors.shape[0], vectors.shape[1])
    tensor = f"tensor.{settings.tensor_format}"
    render = render_tensor_tsv if settings.tensor_format == "tsv" else render_tensor_bytes
    tile_px = None
    with clock.stage("writing"):
        staging.write(tensor, render(vectors))
        staging.write("metadata.tsv", render_metadata(shown.columns))
        staging.write("bookmarks.json", render_bookmarks(views, shown.columns, dimensions=shape))
        if shown.thumbnails is not None:
            sprite, tile_px = render_sprite(shown.thumbnails)
            staging.write("sprite.png", sprite)
        buffer = io.BytesIO()
        _parquet_frame(points.columns, rows).write_parquet(buffer)
        staging.write("points.parquet", buffer.getvalue())
    embedding = Embedding(points.name, shape, points.name, tensor, tile_px)
    staging.write_config(embedding)
    with clock.stage("reading back"):
        read_back(staging.run, embedding, vectors, len(views))
    facts["views"] = [view.title for view in views]
    facts["seconds"] = clock.seconds
    staging.write_manifest(facts)
    return embedding


def _parquet_frame(columns: pl.DataFrame, rows: np.ndarray) -> pl.DataFrame:
    """All points: the shown ones first, in the tensor's order, then those thinned out."""
    n = columns.height
    source = pl.Series("source_row", np.arange(n, dtype=np.uint32))
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


def _facts(
    points: Points,
    shown: Points,
    settings: Settings,
    graph: NeighborGraph,
    clusters: Clusters | None,
    warnings: list[str],
) -> dict[str, Any]:
    n, dims = points.vectors.shape
    if len(shown) < n:
        warnings.append(
            f"the browser gets {len(shown)} of {n} points (max_points); all were analysed and are "
            "in points.parquet"
        )
    origin = dict(points.origin)
    warnings += origin.pop("notes", [])
    if settings.metric == "cosine":
        empty = int((~points.vectors.any(axis=1)).sum())
        if empty:
            warnings.append(
                f"{empty} vectors are all zero, which has no direction: failed encodings?"
            )
    skipped = origin.pop("skipped", [])
    unreadable = origin.get("images_unreadable", [])
    if unreadable:
        warnings.append(
            f"{len(unreadable)} thumbnails cannot be read and show a crossed tile; "
            f"first: {unreadable[0]['why']}"
        )
    facts: dict[str, Any] = {
        "version": importlib.metadata.version("projector-export"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": _versions(),
        **origin,
        "settings": asdict(settings),
        "points": n,
        "dimensions": dims,
        "shown": len(shown),
        "skipped": skipped,
        "neighbours": {"k": graph.k, "recall": round(graph.recall, 4)},
        "view": {"columns": dims},
    }
    columns = points.columns
    if "anomaly_kind" in columns.columns:
        kinds, counts = np.unique(columns["anomaly_kind"].to_numpy(), return_counts=True)
        facts["anomaly_kinds"] = {str(k): int(c) for k, c in zip(kinds, counts, strict=True)}
    groups = columns["duplicate_group"]
    facts["duplicate_groups"] = groups.filter(groups != "unique").n_unique()
    if clusters is not None:
        facts["clusters"] = {"k": len(clusters.centroids), "silhouette": clusters.silhouette}
    return facts


def _versions() -> dict[str, str]:
    names = ["numpy", "polars", "faiss-cpu", "scikit-learn", "umap-learn", "tensorboard"]
    names += [
        n for n, m in (("torch", "torch"), ("open_clip_torch", "open_clip")) if m in sys.modules
    ]
    return {name: importlib.metadata.version(name) for name in names}


def _rename_clashes(points: Points) -> tuple[Points, list[str]]:
    """A user's column with one of our names becomes `user_<name>`."""
    clashes = [c for c in points.columns.columns if c.strip() in OUR_COLUMNS]
    if not clashes:
        return points, []
    renamed = {c: f"user_{c.strip()}" for c in clashes}
    taken = set(renamed.values()) & set(points.columns.columns)
    if taken:
        raise DataError(f"columns {sorted(taken)} stand in the way of renaming {clashes}")
    warning = f"columns with reserved names were renamed: {', '.join(renamed.values())}"
    return replace(points, columns=points.columns.rename(renamed)), [warning]


@contextmanager
def _in_background(work: Callable[[], None]) -> Iterator[None]:
    """Run `work` in a thread during the block; its error is raised at the end."""
    with ThreadPoolExecutor(1) as pool:
        job: Future[None] = pool.submit(work)
        yield
        job.result()


def _nothing() -> None:
    pass


def _ignore(_: str) -> None:
    pass


@dataclass
class _Clock:
    tell: Progress
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage and say that it began."""
        self.tell(name)
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 2)
