"""bookmarks.json: ready-made views with finished layouts.

A state is what the viewer itself saves (vz-projector-bookmark-panel.ts and data.ts, class State).
Coordinates under the keys `umap-0`, `umap-1`, `umap-2` are shown as they are, without computing
UMAP again. All keys are read; a missing one throws in the viewer. Where `filteredPoints` isolates
points, `projections` lists just those and `selectedPoints` are positions among them. The viewer
passes over keys that it does not know, and keeps them when it saves: ours describes the view.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from projector_export.projector.placing import PlacedView
from projector_export.projector.views import AXES, NO_COLOR, Camera, View, view_from_dict

DESCRIPTION = "projector_export"
"""Key of a state under which the view that it was made from is described."""

NO_COLOR_OPTION = "No color map"
"""vz-projector-data-panel.ts."""

# The viewer's own direction (scatterPlot.ts, START_CAMERA_POS_3D) and field of view.
_DIRECTION = np.array([0.45, 0.9, 1.6]) / np.linalg.norm([0.45, 0.9, 1.6])
_NEAREST = 2.18
_HALF_VIEW = np.tan(np.radians(70 / 2)) * 0.95  # a margin for the points' own size
# A little further away than the viewer's own, so that the outer points are not cut off.
_CAMERA_2D = Camera((0.0, 0.0, 4.0), zoom=0.95)
_UMAP_DECIMALS = 3
_MARKER = '"projections": null'


def render_bookmarks(
    views: Sequence[PlacedView], *, dimensions: tuple[int, int], names: Mapping[str, str]
) -> bytes:
    """Return bookmarks.json.

    Args:
        views: what to list, in this order.
        dimensions: rows and columns of the tensor that the viewer loads.
        names: of the columns in metadata.tsv, by their own names.
    """
    rendered: dict[str, list[str]] = {}
    for view in views:
        layout = view.view.layout_key
        if layout not in rendered:
            rendered[layout] = _render_points(view.coordinates, layout)
    states = [_render_state(view, dimensions, names, rendered) for view in views]
    return ("[" + ",\n".join(states) + "]\n").encode("utf-8")


def render_states(states: Sequence[Mapping[str, Any]]) -> bytes:
    """Return bookmarks.json for states that are there already."""
    return (
        "[" + ",\n".join(json.dumps(state, ensure_ascii=False) for state in states) + "]\n"
    ).encode("utf-8")


def described_view(state: Mapping[str, Any]) -> View | None:
    """Return the view that a state was made from; None for one saved in the browser."""
    description = state.get(DESCRIPTION)
    if not isinstance(description, Mapping):
        return None
    return view_from_dict({**description, "title": state["label"]})


def _render_state(
    placed: PlacedView,
    dimensions: tuple[int, int],
    names: Mapping[str, str],
    rendered: Mapping[str, list[str]],
) -> str:
    points = rendered[placed.view.layout_key]
    if placed.isolated is not None:
        points = [points[row] for row in placed.isolated]
    state = json.dumps(_state(placed, dimensions, names), ensure_ascii=False)
    return state.replace(_MARKER, f'"projections": [{",".join(points)}]', 1)


def _render_points(coordinates: np.ndarray, layout: str) -> list[str]:
    """Return each point's coordinates as JSON."""
    keys = "pca" if layout == "pca" else "umap"
    decimals = _UMAP_DECIMALS if layout in AXES else _fitting_decimals(coordinates)
    pieces: list[pl.Expr] = []
    axes = ["x", "y", "z"][: coordinates.shape[1]]
    # By column: of a square array polars would guess which way it lies.
    values = coordinates.astype(np.float64)
    frame = pl.DataFrame({axis: values[:, d] for d, axis in enumerate(axes)})
    for d, axis in enumerate(axes):
        pieces.append(pl.lit(("," if d else "{") + f'"{keys}-{d}":'))
        pieces.append(pl.col(axis).round(decimals).cast(pl.String))
    texts = frame.select(pl.concat_str([*pieces, pl.lit("}")])).to_series()
    return [str(text) for text in texts.to_list()]


def _fitting_decimals(coordinates: np.ndarray) -> int:
    """Return decimals that tell at least 10,000 places apart along the shortest axis."""
    spans = np.ptp(coordinates, axis=0)
    spans = spans[spans > 0]
    return 3 if not len(spans) else int(np.clip(4 - np.floor(np.log10(spans.min())), 0, 12))


def _state(
    placed: PlacedView, dimensions: tuple[int, int], names: Mapping[str, str]
) -> dict[str, object]:
    view, isolated = placed.view, placed.isolated
    is_3d = placed.coordinates.shape[1] == 3
    selected = list(placed.selected)
    if isolated is not None:
        place = {row: i for i, row in enumerate(isolated)}
        selected = [place[row] for row in selected]
    description = {k: v for k, v in view.as_dict().items() if k != "title"}
    label_by = names[view.label_by]
    color_by = str(view.color_by)
    return {
        "projections": None,  # first, so that no text of a view can stand before the marker
        "label": view.title,
        "isSelected": False,
        "selectedProjection": "pca" if view.layout == "pca" else "umap",
        "dataSetDimensions": [placed.n_shown, dimensions[1]],
        "tSNEIteration": 0,
        "tSNEPerplexity": 0,
        "tSNELearningRate": 0,
        "tSNEis3d": is_3d,
        "umapIs3d": is_3d,
        "umapNeighbors": 15,
        "umapMinDist": 0.1,
        "pcaComponentDimensions": [0, 1, 2],
        "customSelectedSearchByMetadataOption": label_by,
        "customXLeftText": "",
        "customXLeftRegex": False,
        "customXRightText": "",
        "customXRightRegex": False,
        "customYUpText": "",
        "customYUpRegex": False,
        "customYDownText": "",
        "customYDownRegex": False,
        "filteredPoints": None if isolated is None else list(isolated),
        "selectedPoints": selected,
        "shuffledDataIndices": None,
        "cameraDef": _camera(placed, is_3d),
        "selectedColorOptionName": NO_COLOR_OPTION if color_by == NO_COLOR else names[color_by],
        "forceCategoricalColoring": False,
        "selectedLabelOption": label_by,
        DESCRIPTION: description,
    }


def fitting_camera(coordinates: np.ndarray) -> Camera:
    """Return the viewer's camera, as near as it may be to have all points in a square picture.

    Args:
        coordinates: (N, 3) of the points that are shown; the viewer stretches each axis to -1..1.
    """
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    spans = np.where(high > low, high - low, 1)
    places = np.where(high > low, 2 * (coordinates - low) / spans - 1, 0)
    right = np.cross([0, 1, 0], _DIRECTION)
    right /= np.linalg.norm(right)
    up = np.cross(_DIRECTION, right)
    beside = np.maximum(np.abs(places @ right), np.abs(places @ up))
    distance = max(_NEAREST, float((places @ _DIRECTION + beside / _HALF_VIEW).max()))
    x, y, z = (round(float(c), 3) for c in distance * _DIRECTION)
    return Camera((x, y, z))


def _camera(placed: PlacedView, is_3d: bool) -> dict[str, object]:
    camera = placed.view.camera
    if camera is None and is_3d:
        rows = slice(None) if placed.isolated is None else list(placed.isolated)
        camera = fitting_camera(placed.coordinates[rows].astype(np.float64))
    camera = camera or _CAMERA_2D
    return {
        "orthographic": not is_3d,
        "position": list(camera.position),
        "target": list(camera.target),
        "zoom": camera.zoom,
    }
