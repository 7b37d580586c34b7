"""How far a model moved each point, and how many of its neighbours stayed with it.

Angles come from half-angle tangents of float64 differences and sums (Kahan 2006): an arc cosine of
float32 products sees nothing below 0.03 degrees.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from projector_export.analysis.neighbors import Metric, NeighborGraph
from projector_export.analysis.snapshot import Snapshot
from projector_export.errors import DataError
from projector_export.points import Points

_CHUNK_VALUES = 4_000_000


def measure_neighbours_kept(graph: NeighborGraph, earlier: NeighborGraph) -> np.ndarray:
    """Return (N,) float32: the share, 0 to 1, of the earlier neighbours that are neighbours now.

    Args:
        graph: of N points.
        earlier: of the same points at an earlier time.

    Raises:
        DataError: the numbers of points differ.
    """
    _check_rows(len(graph.indices), len(earlier.indices))
    kept = np.empty(len(graph.indices), dtype=np.float32)
    step = max(1, _CHUNK_VALUES // (graph.k * earlier.k))
    for start in range(0, len(kept), step):
        rows = slice(start, start + step)
        stayed = earlier.indices[rows, :, None] == graph.indices[rows, None, :]
        kept[rows] = stayed.any(axis=2).mean(axis=1)
    return kept


def measure_movement(
    prepared: np.ndarray, earlier_prepared: np.ndarray, metric: Metric
) -> np.ndarray:
    """Return (N,) float32: how far each point is from where it was.

    Args:
        prepared: (N, D) float32 from `prepare_vectors`.
        earlier_prepared: the same points at an earlier time.
        metric: for cosine, angles in degrees, 0 to 180: 0 between two zero vectors, 90 where just
            one is zero. For euclidean, Euclidean distances.

    Raises:
        DataError: the numbers of points or of columns differ.
    """
    _check_rows(len(prepared), len(earlier_prepared))
    dims, earlier_dims = prepared.shape[1], earlier_prepared.shape[1]
    if dims != earlier_dims:
        raise DataError(
            f"the vectors have {dims} columns but those of the earlier step have {earlier_dims}; "
            "movement needs the same columns at every step: record another layer under another "
            "name"
        )
    measure = _angles_deg if metric == "cosine" else _distances
    movement = np.empty(len(prepared), dtype=np.float32)
    step = max(1, _CHUNK_VALUES // dims)
    for start in range(0, len(prepared), step):
        rows = slice(start, start + step)
        now, before = prepared[rows].astype(np.float64), earlier_prepared[rows].astype(np.float64)
        movement[rows] = measure(now, before)
    return movement


def add_movement(
    points: Points,
    *,
    prepared: np.ndarray,
    graph: NeighborGraph,
    last: Snapshot | None,
    first_prepared: np.ndarray | None,
) -> Points:
    """Add `movement`, `movement_since_first` and `neighbours_kept`: 0, 0 and 1 at the first step.

    Args:
        points: N points.
        prepared: their vectors from `prepare_vectors`.
        graph: their nearest neighbours; its metric is that of the movement.
        last: the same points at the last kept step; None at the first.
        first_prepared: those of the first step; None where the last step was the first.

    Raises:
        DataError: the numbers of points or of columns differ from those of an earlier step.
    """
    n = len(points)
    movement = since_first = np.zeros(n, dtype=np.float32)
    kept = np.ones(n, dtype=np.float32)
    if last is not None:
        kept = measure_neighbours_kept(graph, last.graph)
        movement = since_first = measure_movement(prepared, last.prepared, graph.metric)
        if first_prepared is not None:
            since_first = measure_movement(prepared, first_prepared, graph.metric)
    columns = {"movement": movement, "movement_since_first": since_first, "neighbours_kept": kept}
    return points.with_columns(pl.DataFrame(columns))


def _angles_deg(now: np.ndarray, before: np.ndarray) -> np.ndarray:
    # Each times the other's length: prepared rows are of unit length only within float32.
    length, length_before = np.linalg.norm(now, axis=1), np.linalg.norm(before, axis=1)
    now, before = now * length_before[:, None], before * length[:, None]
    apart, together = np.linalg.norm(now - before, axis=1), np.linalg.norm(now + before, axis=1)
    angles = np.degrees(2 * np.arctan2(apart, together))
    return np.asarray(np.where((length > 0) != (length_before > 0), 90.0, angles))


def _distances(now: np.ndarray, before: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(now - before, axis=1))


def _check_rows(n: int, earlier_n: int) -> None:
    if n != earlier_n:
        raise DataError(
            f"there are {n} points but the earlier step has {earlier_n}; "
            "record the same examples, in the same order, at every step"
        )
