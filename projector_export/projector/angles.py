"""How far apart an export's vectors are: angles or distances, in float64.

What the viewer has of an export is either the vectors, or their principal components; the second
stand for vectors of unit length where the metric is cosine, so that an angle follows from a chord.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from projector_export.projector.exports import Export

Measure = Literal["angle", "chord", "distance"]
_BLOCK = 4096
_MOST_ANGLES = 4_000_000
# Above the rounding of expanded squares in float64, of vectors whose largest square is 1.
_SLACK = 1e-11


def is_reduced(export: Export) -> bool:
    """Whether the viewer has principal components instead of the vectors."""
    return "variance_kept" in export.manifest.get("view", {})


def measure_of(export: Export) -> Measure:
    """Return how the export's metric measures what the viewer has."""
    if export.manifest.get("settings", {}).get("metric", "cosine") == "euclidean":
        return "distance"
    return "chord" if is_reduced(export) else "angle"


@dataclass(frozen=True, eq=False)
class Nearest:
    """The k nearest other rows of R rows, nearest first; of equally near ones the first row.

    Attributes:
        rows: (R, k) row numbers.
        values: (R, k) float64: degrees, or distances.
    """

    rows: np.ndarray
    values: np.ndarray


def find_nearest(vectors: np.ndarray, rows: np.ndarray, *, k: int, measure: Measure) -> Nearest:
    """Find the nearest other rows.

    Args:
        vectors: (N, D) float32.
        rows: (R,) row numbers.
        k: 1 to N - 1.
        measure: the angle between two vectors (a zero vector is at 0 to another one, at 90 to all
            else), the angle of the chord between two that stand for unit vectors, or the distance.
    """
    found = Nearest(np.empty((len(rows), k), dtype=np.int64), np.empty((len(rows), k)))
    for start in range(0, len(rows), 64):
        some = rows[start : start + 64]
        rough, scale = _rough_squares(vectors, some, measure)
        rough[np.arange(len(some)), some] = np.inf
        limits = np.partition(rough, k - 1, axis=1)[:, k - 1] + _SLACK * scale
        for i, row in enumerate(some):
            near = np.flatnonzero(rough[i] <= limits[i])
            values = _exact(vectors, row, near, measure)
            best = np.lexsort((near, values))[:k]
            found.rows[start + i], found.values[start + i] = near[best], values[best]
    return found


def angles_to(vectors: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Give (B, R) angles in degrees of the vectors, block after block, to those of some rows.

    Exact to about 1e-6 degrees, away from a straight angle.
    """
    there = _unit(vectors[rows])
    block = max(1, min(_BLOCK, _MOST_ANGLES // len(rows)))
    for start in range(0, len(vectors), block):
        cosines = _unit(vectors[start : start + block]) @ there.T
        halves = np.sqrt(np.clip(1 - cosines, 0, 2) / 2)
        yield np.degrees(2 * np.arcsin(np.minimum(halves, 1)))


def _rough_squares(
    vectors: np.ndarray, rows: np.ndarray, measure: Measure
) -> tuple[np.ndarray, float]:
    """(R, N) squared chords or distances, and the size of the numbers that they come from."""
    shift = 0.0 if measure == "angle" else vectors.mean(axis=0, dtype=np.float64)
    queries = _ready(vectors[rows], measure) - shift
    rough = np.empty((len(rows), len(vectors)))
    largest = 1.0 if measure == "angle" else 0.0
    for start in range(0, len(vectors), _BLOCK):
        block = _ready(vectors[start : start + _BLOCK], measure) - shift
        products = queries @ block.T
        if measure == "angle":  # so that a zero vector is at a right angle
            rough[:, start : start + _BLOCK] = 2 - 2 * products
            continue
        squares = np.einsum("nd,nd->n", block, block)
        own = np.einsum("nd,nd->n", queries, queries)
        rough[:, start : start + _BLOCK] = own[:, None] + squares - 2 * products
        largest = max(largest, float(squares.max()))
    return rough, 4 * largest


def _exact(vectors: np.ndarray, row: int, near: np.ndarray, measure: Measure) -> np.ndarray:
    values = np.empty(len(near))
    here = _ready(vectors[row : row + 1], measure)
    for start in range(0, len(near), _BLOCK):
        there = _ready(vectors[near[start : start + _BLOCK]], measure)
        apart = np.linalg.norm(there - here, axis=1)
        if measure == "angle":
            # Exact at both ends of the range, where the arc cosine of a product is not (Kahan).
            apart = np.degrees(2 * np.arctan2(apart, np.linalg.norm(there + here, axis=1)))
        elif measure == "chord":
            apart = np.degrees(2 * np.arcsin(np.minimum(apart / 2, 1)))
        values[start : start + _BLOCK] = apart
    return values


def _ready(vectors: np.ndarray, measure: Measure) -> np.ndarray:
    return _unit(vectors) if measure == "angle" else vectors.astype(np.float64)


def _unit(vectors: np.ndarray) -> np.ndarray:
    wide = vectors.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.asarray(wide / np.where(norms > 0, norms, 1))
