"""Principal components: where layouts start, and what a browser gets when D is too much for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from projector_export.analysis.neighbors import NeighborGraph

SAMPLE_ROWS = 20_000
RECALL_SAMPLE = 500


@dataclass(frozen=True, eq=False)
class Components:
    """Principal axes of N vectors, fitted on a seeded sample of at most `SAMPLE_ROWS`.

    Attributes:
        mean: (D,) float32.
        axes: (C, D) float32, orthonormal, most variance first.
        variance: (C,) share of the sample's variance along each axis.
    """

    mean: np.ndarray
    axes: np.ndarray
    variance: np.ndarray

    def project(self, vectors: np.ndarray, n_dims: int) -> np.ndarray:
        """Return (N, min(n_dims, C)) float32 coordinates along the first axes."""
        axes = self.axes[:n_dims]
        projected = vectors @ axes.T
        projected -= self.mean @ axes.T
        return np.ascontiguousarray(projected, dtype=np.float32)


def fit_components(prepared: np.ndarray, n_components: int, *, seed: int = 0) -> Components:
    """Fit the first principal axes of (N, D) vectors; at most min(N, D) of them."""
    from sklearn.decomposition import PCA

    sample = prepared
    if len(prepared) > SAMPLE_ROWS:
        rows = np.random.default_rng(seed).choice(len(prepared), SAMPLE_ROWS, replace=False)
        sample = prepared[np.sort(rows)]
    # Centred here: scikit-learn's covariance solver subtracts the mean from float32 products, which
    # loses the digits of vectors far from the origin.
    mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = sample - mean
    n_components = min(n_components, *sample.shape)
    if not centred.any():
        axes = np.eye(n_components, sample.shape[1], dtype=np.float32)
        return Components(mean, axes, np.zeros(n_components))
    pca = PCA(n_components, random_state=seed).fit(centred)
    return Components(mean, pca.components_.astype(np.float32), pca.explained_variance_ratio_)


def measure_recall(reduced: np.ndarray, graph: NeighborGraph, *, seed: int = 0) -> float:
    """Return the share of the graph's neighbours that `reduced` still has, on a sample of rows."""
    import faiss

    n, k = graph.indices.shape
    rows = np.random.default_rng(seed).choice(n, min(n, RECALL_SAMPLE), replace=False)
    _, found = faiss.knn(reduced[rows], reduced, k + 1)
    kept = 0.0
    for row, hits in zip(rows, found, strict=True):
        kept += len(np.intersect1d(hits[hits != row][:k], graph.indices[row]))
    return kept / float(len(rows) * k)
