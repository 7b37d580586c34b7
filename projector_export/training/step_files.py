"""What a recorded step has left on disk, read back: its vectors, and its snapshot."""

from __future__ import annotations

import numpy as np

from projector_export.analyse import ANALYSIS_NEIGHBORS
from projector_export.analysis.neighbors import build_graph, prepare_vectors
from projector_export.analysis.snapshot import Snapshot
from projector_export.errors import DataError
from projector_export.projector.exports import Export
from projector_export.settings import Settings

VECTORS = "vectors.npy"
"""A step's vectors, where the browser gets their principal components only."""


def read_step_vectors(export: Export) -> np.ndarray:
    """Return (N, D) float32: a step's vectors as they were recorded."""
    path = export.folder / VECTORS
    if not path.is_file():
        # The order in memory is that of sums, whose last digits would differ after a resume.
        return np.ascontiguousarray(export.vectors)
    try:
        vectors: np.ndarray = np.load(path, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}); remove its step and record again") from error
    return vectors


def read_snapshot(export: Export, settings: Settings) -> Snapshot:
    """Return what the analysis of a step has left, made again from its files."""
    prepared = prepare_vectors(read_step_vectors(export), settings.metric)
    graph = build_graph(prepared, k=ANALYSIS_NEIGHBORS, metric=settings.metric, seed=settings.seed)
    columns = export.columns
    layouts = {}
    for n_dims in (2, 3):
        axes = [f"umap{n_dims}d_{axis}" for axis in "xyz"[:n_dims]]
        if set(axes) <= set(columns.columns):
            layouts[n_dims] = np.ascontiguousarray(columns.select(axes).to_numpy(), np.float32)
    clusters = columns["cluster"] if "cluster" in columns.columns else None
    return Snapshot(prepared, graph, layouts, clusters)
