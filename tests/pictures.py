"""Small exports with planted points, and what their pictures show of them."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from projector_export import Points, Settings, export_points
from projector_export.editing import rewrite_export
from projector_export.projector.exports import Export, open_export

QUICK = Settings(umap_dims=(), clusters=None, anomalies=False)
_COMPUTED = {"anomaly", "anomaly_kind", "cluster", "cluster_distance", "cluster_name"}
FLAT = {"orthographic": True, "position": [0, 0, 4], "target": [0, 0, 0], "zoom": 1}
# What the viewer reads besides what a view is about.
_REST = {
    "isSelected": False,
    "tSNEIteration": 1,
    "tSNEPerplexity": 0,
    "tSNELearningRate": 0,
    "umapNeighbors": 15,
    "umapMinDist": 0.1,
    "pcaComponentDimensions": [0, 1, 2],
    "customSelectedSearchByMetadataOption": "label",
    "shuffledDataIndices": None,
    "forceCategoricalColoring": False,
    "selectedLabelOption": "label",
} | {
    f"custom{side}{what}": "" if what == "Text" else False
    for side in ("XLeft", "XRight", "YUp", "YDown")
    for what in ("Text", "Regex")
}


def make_state(
    coordinates: np.ndarray,
    *,
    label: str = "a view",
    color_by: str = "label",
    selected: Sequence[int] = (),
    isolated: Sequence[int] | None = None,
    camera: Mapping[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Return a bookmark's state with these (n, 2) or (n, 3) coordinates as UMAP."""
    is_3d = coordinates.shape[1] == 3
    projections = [{f"umap-{d}": float(x) for d, x in enumerate(row)} for row in coordinates]
    return {
        **_REST,
        "label": label,
        "selectedProjection": "umap",
        "umapIs3d": is_3d,
        "tSNEis3d": is_3d,
        "dataSetDimensions": [len(coordinates), 4],
        "projections": projections,
        "filteredPoints": None if isolated is None else list(isolated),
        "selectedPoints": list(selected),
        "cameraDef": camera if camera is not None or is_3d else FLAT,
        "selectedColorOptionName": color_by,
        **more,
    }


def make_export(
    out: Path,
    columns: Mapping[str, Sequence[Any]],
    states: Sequence[Mapping[str, Any]] = (),
    *,
    thumbnails: np.ndarray | None = None,
    name: str = "e",
) -> Export:
    """Export as many random vectors as the columns have rows, with these bookmarks.

    Columns of the names that the analyses use are put there as they would have made them.
    """
    computed = pl.DataFrame({name: columns[name] for name in columns if name in _COMPUTED})
    table = pl.DataFrame({name: columns[name] for name in columns if name not in _COMPUTED})
    vectors = np.random.default_rng(0).standard_normal((table.height, 4)).astype(np.float32)
    points = Points(vectors, columns=table, name=name, thumbnails=thumbnails)
    export_points(points, out, settings=QUICK)
    content = json.dumps(list(states), ensure_ascii=False).encode("utf-8")
    made = open_export(out, name)
    buffer = io.BytesIO()
    made.table.with_columns(computed.get_columns()).write_parquet(buffer)
    rewrite_export(made, {"bookmarks.json": content, "points.parquet": buffer.getvalue()})
    return open_export(out, name)


def pixels_of(png: bytes) -> np.ndarray:
    """Return (H, W, 3) uint8."""
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def find_blob(pixels: np.ndarray, color: str, *, tolerance: int = 6) -> tuple[float, float]:
    """Return the middle (x, y) of the one blob of a colour; specks, as of edges, are passed over.

    Raises:
        AssertionError: there is none, or several.
    """
    from scipy import ndimage

    wanted = np.array(list(bytes.fromhex(color[1:])))
    hits = np.abs(pixels.astype(int) - wanted).max(axis=2) <= tolerance
    parts, n = ndimage.label(hits)
    assert n, f"{color} is nowhere"
    sizes = np.bincount(parts.ravel())[1:]
    ranked = np.sort(sizes)[::-1]
    assert ranked[0] >= 9, f"{color} is nowhere but in specks"
    assert n == 1 or ranked[0] > 4 * ranked[1], f"{color} is in several places"
    ys, xs = ndimage.find_objects(parts)[int(sizes.argmax())]
    return (xs.start + xs.stop) / 2, (ys.start + ys.stop) / 2


def has_color(pixels: np.ndarray, color: str, *, tolerance: int = 2) -> bool:
    """Whether a colour is anywhere."""
    wanted = np.array(list(bytes.fromhex(color[1:])))
    return bool((np.abs(pixels.astype(int) - wanted).max(axis=2) <= tolerance).any())
