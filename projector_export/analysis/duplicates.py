"""The nearest other point of each point, and the groups of points that are all but the same.

A group is a connected component of the neighbour graph's edges within the duplicate angle: each
member has another within that angle, while the two ends of a long chain can be further apart.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from projector_export.analysis.neighbors import NeighborGraph, build_graph, prepare_vectors
from projector_export.errors import OptionError
from projector_export.points import LABEL, Points, as_text

RIGHT_ANGLE_CHORD = 2**0.5
# Rounding in float32, relative to the radius of the data: less than this is no distance.
ROUNDING = 1e-6


def add_nearest(
    points: Points,
    prepared: np.ndarray,
    graph: NeighborGraph,
    *,
    duplicate_angle_deg: float = 3.0,
) -> Points:
    """Add `nearest`, `nearest_angle` and `duplicate_group`.

    * `nearest`: label of the nearest other point, as text.
    * `nearest_angle`: angle between the two vectors in degrees, 0 to 180; a zero vector is at 0 to
      another one and at 90 to all else.
    * `duplicate_group`: `dup_00`, `dup_01`, ... from the largest group down (of equal ones, the
      one with the earlier first row), `unique` for a point in none.

    Two points are duplicates when the angle between them is at most `duplicate_angle_deg`; for the
    euclidean metric, when their distance is at most that angle's chord on a sphere whose radius is
    the root mean square distance of the points from their mean.

    Args:
        points: N points.
        prepared: (N, D) float32 from `prepare_vectors`.
        graph: of the prepared vectors. Only its edges are looked at, and equal rows; more than k
            points that are near but not equal may end up in several groups.
        duplicate_angle_deg: at least 0, less than 180.

    Returns:
        New points; row i still describes item i.

    Raises:
        OptionError: duplicate_angle_deg is out of range.
    """
    if not 0 <= duplicate_angle_deg < 180:
        raise OptionError(
            f"duplicate angle is {duplicate_angle_deg} degrees; expected 0 up to but below 180"
        )
    chord = 2 * np.sin(np.radians(duplicate_angle_deg) / 2)
    radius = 1.0 if graph.metric == "cosine" else _rms_radius(prepared)
    labels = as_text(points.columns[LABEL])
    columns = {
        "nearest": labels.gather(graph.indices[:, 0]),
        "nearest_angle": _nearest_angles(points, prepared, graph),
        "duplicate_group": _group_names(
            _components(prepared, graph, within=chord * radius, radius=radius)
        ),
    }
    return points.with_columns(pl.DataFrame(columns))


def _nearest_angles(points: Points, prepared: np.ndarray, graph: NeighborGraph) -> np.ndarray:
    """(N,) float32 degrees, from the chord of the unit vectors.

    Half the angle is the arc tangent of |u - v| over |u + v|, exact at both ends of the range,
    where the arc cosine of a product and the arc sine of half the chord are not (Kahan 2006).
    """
    cosine = graph.metric == "cosine"
    unit = prepared if cosine else prepare_vectors(points.vectors, "cosine")
    nearest = graph.indices[:, 0]
    zero = _is_zero(points.vectors)
    angles = np.empty(len(unit), dtype=np.float32)
    for start in range(0, len(unit), 8192):
        rows = slice(start, start + 8192)
        here, there = unit[rows], unit[nearest[rows]]
        halves = np.arctan2(_lengths(here - there), _lengths(here + there))
        angles[rows] = np.degrees(2 * halves)
    angles[zero | zero[nearest]] = 90
    angles[zero & zero[nearest]] = 0
    return angles


def _components(
    prepared: np.ndarray, graph: NeighborGraph, *, within: float, radius: float
) -> np.ndarray:
    """(N,) component numbers; points at most `within` apart in the graph share one."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    joined = [_edges(prepared, graph, within)]
    # More than k equal points know only each other, and may fall apart into islands. So equal
    # rows are joined by value, and one of each kind looks for its neighbours again.
    heap = np.flatnonzero(graph.distances[:, -1] <= ROUNDING * radius)
    if len(heap):
        rows = np.ascontiguousarray(prepared[heap] + np.float32(0))  # -0.0 becomes 0.0
        values = rows.view(np.dtype((np.void, rows.strides[0])))[:, 0]
        _, first, kinds = np.unique(values, return_index=True, return_inverse=True)
        heads = heap[first]
        joined.append(np.stack([heap, heads[kinds]]))
        if 1 < len(heads) < len(heap):
            among = build_graph(prepared[heads], k=graph.k, metric=graph.metric)
            joined.append(heads[_edges(prepared[heads], among, within)])
    left, right = np.concatenate(joined, axis=1)
    n = len(prepared)
    links = coo_array((np.ones(len(left), dtype=bool), (left, right)), shape=(n, n))
    return np.asarray(connected_components(links, directed=False)[1])


def _edges(prepared: np.ndarray, graph: NeighborGraph, within: float) -> np.ndarray:
    """(2, E) row numbers of the pairs at most `within` apart."""
    near = graph.distances <= within
    if graph.metric == "cosine" and 1 <= within < RIGHT_ANGLE_CHORD:
        # A zero vector has chord 1 to all unit vectors, which would read as 60 degrees.
        zero = _is_zero(prepared)
        near &= zero[:, None] == zero[graph.indices]
    left, column = np.nonzero(near)
    return np.stack([left, graph.indices[left, column]])


def _group_names(components: np.ndarray) -> pl.Series:
    _, first, sizes = np.unique(components, return_index=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    groups = order[sizes[order] > 1]
    digits = max(2, len(str(len(groups) - 1)))
    names = [f"dup_{g:0{digits}d}" for g in range(len(groups))] + ["unique"]
    name_of = np.full(len(sizes), len(groups))
    name_of[groups] = np.arange(len(groups))
    return pl.Series(names).gather(name_of[components])


def _is_zero(vectors: np.ndarray) -> np.ndarray:
    return np.logical_not(vectors.any(axis=1))


def _lengths(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(np.einsum("nd,nd->n", vectors, vectors)))


def _rms_radius(prepared: np.ndarray) -> float:
    center = prepared.mean(axis=0, dtype=np.float64)
    total = 0.0
    for start in range(0, len(prepared), 8192):
        total += float(np.square(prepared[start : start + 8192] - center).sum())
    return float(np.sqrt(total / len(prepared)))
