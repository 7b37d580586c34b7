"""What manifest.json says: how an export was made."""

from __future__ import annotations

import importlib.metadata
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np

from projector_export.analysis.clusters import Clusters
from projector_export.analysis.neighbors import NeighborGraph
from projector_export.points import Points
from projector_export.settings import Settings


def manifest_facts(
    points: Points,
    shown: Points,
    settings: Settings,
    graph: NeighborGraph,
    clusters: Clusters | None,
    warnings: list[str],
) -> dict[str, Any]:
    """Return what the manifest says of an export, and add to the warnings what it tells."""
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
    beside = {
        "torch": "torch",
        "open_clip_torch": "open_clip",
        "sentence-transformers": "sentence_transformers",
        "pillow": "PIL",
    }
    names += [name for name, module in beside.items() if module in sys.modules]
    return {name: importlib.metadata.version(name) for name in names}
