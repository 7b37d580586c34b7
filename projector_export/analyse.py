"""Points -> Analysis: one neighbour graph, and every analysis that reads it.

Layouts are computed beside clusters and anomalies; what one state of the points leaves behind (its
`Snapshot`) lets a later state of the same points be laid out where the earlier one was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from projector_export.analysis.anomalies import Reference, add_anomalies
from projector_export.analysis.clusters import (
    Clusters,
    add_clusters,
    find_clusters,
    follow_clusters,
)
from projector_export.analysis.duplicates import add_nearest
from projector_export.analysis.layout import add_layout, compute_umap, load_umap
from projector_export.analysis.movement import measure_neighbours_kept
from projector_export.analysis.naming import NamedVectors, add_cluster_names
from projector_export.analysis.neighbors import NeighborGraph, build_graph, prepare_vectors
from projector_export.analysis.principal import Components, fit_components
from projector_export.analysis.snapshot import Snapshot
from projector_export.errors import OptionError
from projector_export.limits import SMOOTH_VALUES
from projector_export.points import Points
from projector_export.progress import Clock
from projector_export.settings import Settings

ANALYSIS_NEIGHBORS = 15
MIN_VIEW_DIMS = 32


@dataclass(frozen=True, eq=False)
class Analysis:
    """N points with the columns of every analysis, and what these were made from.

    Attributes:
        points: N points.
        snapshot: what a later state of the same points is compared with.
        graph: with as many neighbours as UMAP asked for.
        clusters: None where they are switched off.
        components: of the prepared vectors; None where nothing needs them.
        view_dims: columns to reduce to for the browser; None to leave the vectors as they are.
    """

    points: Points
    snapshot: Snapshot
    graph: NeighborGraph
    clusters: Clusters | None
    components: Components | None
    view_dims: int | None


def analyse(
    points: Points,
    settings: Settings,
    *,
    names: NamedVectors | None = None,
    reference: Reference | None = None,
    earlier: Snapshot | None = None,
    layouts: Mapping[int, np.ndarray] | None = None,
    clock: Clock | None = None,
) -> Analysis:
    """Find neighbours, clusters, anomalies, duplicates and layouts.

    Args:
        points: N points.
        settings: of analysis.
        names: texts that clusters may be named after.
        reference: known-normal items, as they come from the encoder.
        earlier: the same N points at an earlier time: layouts start from it and are held to it
            where neighbours stayed, and clusters keep its names.
        layouts: finished ones, (N, 2) or (N, 3) by number of axes; none of these is computed.
        clock: times the stages.

    Raises:
        OptionError: more clusters than points.
    """
    clock = clock or Clock()
    if isinstance(settings.clusters, int) and settings.clusters > len(points):
        raise OptionError(
            f"clusters is {settings.clusters} but there are {len(points)} points; "
            f"expected 1 to {len(points)}, 'auto' or 'none'"
        )
    known = dict(layouts or {})
    wanted = sorted(set(settings.umap_dims) - set(known), reverse=True)
    fresh = [n_dims for n_dims in wanted if earlier is None or n_dims not in earlier.layouts]
    components = None
    with loading_umap(needed=bool(wanted)):
        with clock.stage("neighbours"):
            prepared = prepare_vectors(points.vectors, settings.metric)
            k = max(ANALYSIS_NEIGHBORS, settings.umap_neighbors - 1)
            graph = build_graph(prepared, k=k, metric=settings.metric, seed=settings.seed)
        view_dims = choose_view_dims(points, settings)
        if fresh or view_dims is not None:
            with clock.stage("principal components"):
                components = fit_components(prepared, max(3, view_dims or 0), seed=settings.seed)
    near = graph.first(ANALYSIS_NEIGHBORS)
    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(
            _group, points, prepared, near, settings, reference, names, earlier, clock
        )
        for n_dims in wanted:
            with clock.stage(f"UMAP {n_dims}-D"):
                start = None if components is None else components.project(prepared, n_dims)
                known[n_dims] = _lay_out(graph, near, start, n_dims, settings, earlier)
        points, clusters = beside.result()
    for n_dims in sorted(known, reverse=True):
        points = add_layout(points, known[n_dims])
    named = points.columns["cluster"] if clusters is not None else None
    snapshot = Snapshot(prepared, near, known, named)
    return Analysis(points, snapshot, graph, clusters, components, view_dims)


def _group(
    points: Points,
    prepared: np.ndarray,
    graph: NeighborGraph,
    settings: Settings,
    reference: Reference | None,
    names: NamedVectors | None,
    earlier: Snapshot | None,
    clock: Clock,
) -> tuple[Points, Clusters | None]:
    clusters = None
    if settings.clusters is not None:
        with clock.stage("clusters"):
            clusters = find_clusters(prepared, n_clusters=settings.clusters, seed=settings.seed)
            if earlier is not None and earlier.clusters is not None:
                clusters = follow_clusters(clusters, earlier.clusters)
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
    graph: NeighborGraph,
    near: NeighborGraph,
    start: np.ndarray | None,
    n_dims: int,
    settings: Settings,
    earlier: Snapshot | None,
) -> np.ndarray:
    before = None if earlier is None else earlier.layouts.get(n_dims)
    kept = None
    if before is not None and earlier is not None:
        kept = measure_neighbours_kept(near, earlier.graph)
    return compute_umap(
        graph,
        start,
        n_dims=n_dims,
        n_neighbors=settings.umap_neighbors,
        min_dist=settings.umap_min_dist,
        seed=settings.seed,
        earlier=before,
        kept=kept,
    )


def choose_view_dims(points: Points, settings: Settings) -> int | None:
    """Columns to reduce to for the browser; None to leave the vectors as they are."""
    n, dims = points.vectors.shape
    wanted = settings.view_dims
    if wanted == "all":
        return None
    automatic = max(MIN_VIEW_DIMS, SMOOTH_VALUES // min(n, settings.max_points))
    columns = automatic if wanted == "auto" else wanted
    return columns if columns < min(dims, n) else None


@contextmanager
def loading_umap(*, needed: bool) -> Iterator[None]:
    """Load umap-learn in a thread during the block, if it is needed."""
    if not needed:
        yield
        return
    with ThreadPoolExecutor(1) as pool:
        job: Future[None] = pool.submit(load_umap)
        yield
        job.result()
