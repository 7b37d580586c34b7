"""What one state of the points leaves for the next, so that the two can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from projector_export.analysis.neighbors import NeighborGraph


@dataclass(frozen=True, eq=False)
class Snapshot:
    """N points at an earlier time, as the analyses left them.

    Attributes:
        prepared: (N, D) float32 from `prepare_vectors`.
        graph: of the 15 nearest (`ANALYSIS_NEIGHBORS`).
        layouts: by number of axes (2, 3): (N, 2) or (N, 3) float32.
        clusters: (N,) cluster names of the points, text; None without clusters.
    """

    prepared: np.ndarray
    graph: NeighborGraph
    layouts: Mapping[int, np.ndarray]
    clusters: pl.Series | None
