"""Rigid alignment of one layout to another of the same points (orthogonal Procrustes).

Turns, mirrors and shifts, but never scales: the scale of a UMAP layout follows from `min_dist` and
means the same at every step. A fitted scale is moreover below 1 whenever points differ at all, so
that a series of layouts, each fitted to the last, would shrink to nothing.
"""

from __future__ import annotations

import numpy as np


def align(
    layout: np.ndarray, reference: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Return `layout` turned, mirrored and shifted to lie as near to `reference` as it can.

    The weighted sum of squared distances is least (Schönemann 1966).

    Args:
        layout: (N, d) coordinates.
        reference: (N, d), row i of the same point.
        weights: (N,) of 0 or more, how much each point counts; None or all zero: all the same.

    Returns:
        (N, d) of `layout`'s dtype; distances between its points are those of `layout`.

    Raises:
        ValueError: the shapes differ.
    """
    if layout.shape != reference.shape:
        raise ValueError(f"layout is {layout.shape} but its reference is {reference.shape}")
    if weights is None or not weights.any():
        weights = np.ones(len(layout))
    share = weights.astype(np.float64) / weights.sum(dtype=np.float64)
    moving, fixed = layout.astype(np.float64), reference.astype(np.float64)
    centre = share @ fixed
    moving -= share @ moving
    left, _, right = np.linalg.svd((moving * share[:, None]).T @ (fixed - centre))
    aligned: np.ndarray = moving @ (left @ right) + centre
    return aligned.astype(layout.dtype)
