"""Measure how well `anomaly` finds planted rare classes, beside two usual detectors.

    scripts/evaluate_anomalies

Two benchmarks on data that scikit-learn ships, Euclidean distances, default settings:

* digits: for each digit, all images of the other nine and 20 random ones of it, raw pixels;
* breast cancer: all benign samples and 20 random malignant ones, standardised.

The figure is the area under the ROC curve with the planted points as positives: the chance that
one of them scores above one of the others. Exits with 1 when it falls below a floor.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import StandardScaler

from projector_export.analysis.anomalies import add_anomalies
from projector_export.analysis.clusters import find_clusters
from projector_export.analysis.neighbors import build_graph, prepare_vectors
from projector_export.points import Points

NEIGHBORS = 15
PLANTED = 20
DIGITS_FLOOR = 0.89
BREAST_CANCER_FLOOR = 0.90


def plant(features: np.ndarray, rare: np.ndarray, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the common rows and then 20 rare ones, and which of them are rare."""
    planted = np.random.default_rng(seed).choice(np.flatnonzero(rare), PLANTED, replace=False)
    rows = np.concatenate([np.flatnonzero(~rare), planted])
    return features[rows], np.arange(len(rows)) >= len(rows) - PLANTED


def by_anomaly(features: np.ndarray) -> np.ndarray:
    """This package: the `anomaly` column."""
    points = Points(features)
    prepared = prepare_vectors(points.vectors, "euclidean")
    graph = build_graph(prepared, k=NEIGHBORS, metric="euclidean")
    result = add_anomalies(points, prepared, graph, find_clusters(prepared))
    return result.columns["anomaly"].to_numpy()


def by_neighbors(features: np.ndarray) -> np.ndarray:
    """Mean distance to the 15 nearest neighbours."""
    prepared = prepare_vectors(Points(features).vectors, "euclidean")
    distances = build_graph(prepared, k=NEIGHBORS, metric="euclidean").distances
    return np.asarray(distances.mean(axis=1))


def by_lof(features: np.ndarray) -> np.ndarray:
    """Local outlier factor of scikit-learn, 20 neighbours (its default)."""
    return np.asarray(-LocalOutlierFactor(20).fit(features).negative_outlier_factor_)


METHODS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "anomaly": by_anomaly,
    "15-NN mean": by_neighbors,
    "LOF(20)": by_lof,
}


def measure(name: str, features: np.ndarray, planted: np.ndarray) -> dict[str, float]:
    """Print one row of figures and return it."""
    figures = {m: float(roc_auc_score(planted, score(features))) for m, score in METHODS.items()}
    print_row(name, figures)
    return figures


def print_row(name: str, figures: dict[str, float]) -> None:
    """Print figures in columns as wide as the header's."""
    print(f"{name:<16}" + "".join(f"{figure:>12.3f}" for figure in figures.values()), flush=True)


def main() -> int:
    """Run both benchmarks."""
    print(f"{'AUROC':<16}" + "".join(f"{method:>12}" for method in METHODS))
    images, labels = load_digits(return_X_y=True)
    rows = [
        measure(f"digit {digit}", *plant(images, labels == digit, seed=digit))
        for digit in range(10)
    ]
    digits = {method: float(np.mean([row[method] for row in rows])) for method in METHODS}
    print_row("digits, mean", digits)

    samples, benign = load_breast_cancer(return_X_y=True)
    samples, planted = plant(samples, benign == 0, seed=0)
    cancer = measure("breast cancer", StandardScaler().fit_transform(samples), planted)

    low = digits["anomaly"] < DIGITS_FLOOR or cancer["anomaly"] < BREAST_CANCER_FLOOR
    if low:
        print(f"below the floor: digits {DIGITS_FLOOR}, breast cancer {BREAST_CANCER_FLOOR}")
    return int(low)


if __name__ == "__main__":
    sys.exit(main())
