"""A view as one HTML file that turns, zooms and tells what is under the mouse; no network.

plotly draws it. It reads some of HTML in the texts that it is given, so it gets only names of
categories, escaped; whatever else comes from the data is set as text by the page's own script.
"""

from __future__ import annotations

import base64
import html
import json
import math
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

import numpy as np

from projector_export.errors import MissingExtraError
from projector_export.projector.exports import Export
from projector_export.projector.sprite import render_sprite
from projector_export.thumbnails import grid_columns
from projector_export.viewing.pictures.camera import FIELD_OF_VIEW_DEG, HALF_EXTENT
from projector_export.viewing.pictures.colors import GRADIENT, MISSING, UNCOLORED, Coloring
from projector_export.viewing.pictures.legend import describe, in_reading_order
from projector_export.viewing.pictures.scene import Scene, read_cells, read_scene, shown_texts

_COORDINATES = re.compile(r"^umap[23]d_[xyz]$")
_SHOWN_PX = 96
_MOST_SHAPES = 3_000  # more are drawn by WebGL in flat views as well
_ROOM = 1.02  # the cube's faces are outside the outermost points
_PLOTLY_FIELD_OF_VIEW_DEG = 45.0  # vertical; gl-plot3d, fovy
_PLACEHOLDER = re.compile(r"\{\{(title|subtitle|plotly|data)\}\}")


def render_interactive(
    export: Export, state: Mapping[str, Any], *, thumbnails: bool = True
) -> bytes:
    """Return one view as a page that needs nothing else.

    Args:
        export: what the view belongs to.
        state: one of `export.states`.
        thumbnails: show them, where there are some, beside the mouse.

    Returns:
        UTF-8 HTML with plotly.js in it; same input, same bytes.

    Raises:
        DataError: the state cannot be drawn.
        MissingExtraError: plotly is not installed.
    """
    library = _plotly_js()
    scene = read_scene(export, state)
    cells = read_cells(export)
    hover = [name for name in cells.columns if not _COORDINATES.match(name)]
    data = {
        "traces": _traces(scene),
        "layout": _layout_3d(scene) if _is_deep(scene) else _layout_2d(scene),
        "labels": scene.labels.to_list(),
        "columns": [
            {"name": name, "cells": shown_texts(cells[name], scene.rows).to_list()}
            for name in hover
        ],
        "sprite": _sprite(export, scene) if thumbnails else None,
    }
    parts = {
        "title": html.escape(scene.title),
        "subtitle": html.escape(describe(scene)),
        "plotly": library,
        # No text of the data can end the element that it stands in.
        "data": json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        .replace("<", "\\u003c")
        .replace("\u2028", "\\u2028"),
    }
    page = resources.files("projector_export.viewing.pictures") / "interactive.html"
    template = page.read_text(encoding="utf-8")
    # In one pass, so that no part is looked through for placeholders.
    return _PLACEHOLDER.sub(lambda match: parts[match[1]], template).encode("utf-8")


def _plotly_js() -> str:
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise MissingExtraError(
            "plotly is not installed, which interactive pages need: "
            "pip install 'projector-export[plots]'"
        ) from error
    return str(get_plotlyjs())


def _is_deep(scene: Scene) -> bool:
    return scene.is_3d and not scene.camera.orthographic


def _traces(scene: Scene) -> list[dict[str, Any]]:
    """Return what plotly draws: axes of 3-D views, lines, then a trace a category, or one."""
    coloring = scene.coloring
    numbers = np.arange(len(scene))
    traces = [_axis_lines()] if _is_deep(scene) else []
    traces += _link_lines(scene)
    if coloring.values is not None:
        known = np.isfinite(coloring.values)
        traces.append(_trace(scene, numbers[known], _gradient_marker(coloring, known)))
        if not known.all():
            traces.append(_trace(scene, numbers[~known], {"color": MISSING}, "(no value)"))
    elif coloring.members is None:
        traces.append(_trace(scene, numbers, {"color": UNCOLORED}))
    else:
        order = in_reading_order(coloring.categories)
        if len(scene.selected):
            order.reverse()  # the selected ones last, on top
        for category in order:
            members = numbers[coloring.members == coloring.categories.index(category)]
            name = f"{_as_text(category.label)} ({category.count:,})"
            traces.append(_trace(scene, members, {"color": category.color}, name))
    return traces


def _trace(
    scene: Scene, members: np.ndarray, marker: dict[str, Any], name: str | None = None
) -> dict[str, Any]:
    positions = np.round(scene.positions[members], 4).T.tolist()
    deep = _is_deep(scene)
    size = max(3.0, min(14.0, 60 / max(len(scene), 2) ** 0.28))
    trace: dict[str, Any] = {
        "type": _kind(scene),
        "mode": "markers",
        "x": positions[0],
        "y": positions[1],
        "members": members.tolist(),
        "marker": {
            "size": size * (0.5 if deep else 1),
            "opacity": 1,
            "line": {"color": "#ffffff", "width": 0.5},
            **marker,
        },
        "hoverinfo": "none",  # the page has its own box
        "showlegend": name is not None,
    }
    if deep:
        trace["z"] = positions[2]
    if name is not None:
        trace["name"] = name
        trace["legendgroup"] = marker["color"]
    return trace


def _kind(scene: Scene) -> str:
    if _is_deep(scene):
        return "scatter3d"
    return "scattergl" if len(scene) > _MOST_SHAPES else "scatter"


def _link_lines(scene: Scene) -> list[dict[str, Any]]:
    """Return the lines from points to the next of their paths, a trace a colour.

    A click in the legend hides them with the points that they start from.
    """
    positions = np.round(scene.positions, 4)
    starts = scene.coloring.rgb[scene.links[:, 0]]
    traces = []
    for rgb in np.unique(starts, axis=0):
        links = scene.links[(starts == rgb).all(axis=1)]
        color = f"#{bytes(rgb).hex()}"
        trace: dict[str, Any] = {
            "type": _kind(scene),
            "mode": "lines",
            "line": {"color": color, "width": 3 if _is_deep(scene) else 1.5},
            "opacity": 0.5,
            "hoverinfo": "skip",
            "showlegend": False,
            "legendgroup": color,
        }
        for axis, values in zip("xyz" if _is_deep(scene) else "xy", positions.T, strict=False):
            # An empty place ends a line.
            trace[axis] = [x for pair in values[links].tolist() for x in (*pair, None)]
        traces.append(trace)
    return traces


def _gradient_marker(coloring: Coloring, known: np.ndarray) -> dict[str, Any]:
    low, high = coloring.limits or (0.0, 1.0)
    values = [] if coloring.values is None else coloring.values[known].tolist()
    return {
        "color": values,
        "cmin": low,
        "cmax": high,
        "colorscale": [[0, GRADIENT[0]], [1, GRADIENT[1]]],
        "line": {"color": "#8f95a3", "width": 0.5},
        "showscale": True,
        "colorbar": {
            "title": {"text": _as_text(coloring.column or "")}, "thickness": 14, "len": 0.6,
        },
    }  # fmt: skip


def _axis_lines() -> dict[str, Any]:
    """Return the viewer's three axes as one line, back and forth from the middle."""
    half = 1 / _ROOM
    return {
        "type": "scatter3d",
        "mode": "lines",
        "x": [half, 0, 0, 0, 0],
        "y": [0, 0, half, 0, 0],
        "z": [0, 0, 0, 0, half],
        "line": {"color": "#d3d6de", "width": 2},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _layout(more: dict[str, Any]) -> dict[str, Any]:
    font = "system-ui, 'Hiragino Sans', 'Noto Sans CJK JP', sans-serif"
    return {
        "margin": {"l": 24, "r": 24, "t": 44, "b": 24},  # its buttons are above
        "hovermode": "closest",
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "font": {"family": font, "size": 13, "color": "#1f2430"},
        "legend": {"itemsizing": "constant", "tracegroupgap": 0},
        **more,
    }


def _layout_3d(scene: Scene) -> dict[str, Any]:
    """Return a layout that is seen from the viewer's side, as large as there."""
    axis = {"visible": False, "range": [-_ROOM, _ROOM], "showspikes": False}
    target = np.array(scene.camera.target)
    way = np.array(scene.camera.position) - target
    wider = math.tan(math.radians(FIELD_OF_VIEW_DEG / 2)) / math.tan(
        math.radians(_PLOTLY_FIELD_OF_VIEW_DEG / 2)
    )
    # plotly counts in sides of the cube.
    center = target / (2 * _ROOM)
    eye = center + way * wider / scene.camera.zoom / (2 * _ROOM)
    xyz = ("x", "y", "z")
    return _layout(
        {
            "scene": {
                "xaxis": axis,
                "yaxis": axis,
                "zaxis": axis,
                "aspectmode": "cube",
                "dragmode": "orbit",
                "camera": {
                    "eye": dict(zip(xyz, eye.tolist(), strict=True)),
                    "center": dict(zip(xyz, center.tolist(), strict=True)),
                    "up": {"x": 0, "y": 1, "z": 0},
                },
            }
        }
    )


def _layout_2d(scene: Scene) -> dict[str, Any]:
    half = HALF_EXTENT / scene.camera.zoom if scene.camera.orthographic else 1.1
    x, y, _ = scene.camera.target
    hidden = {"visible": False, "zeroline": False}
    return _layout(
        {
            "xaxis": {**hidden, "range": [x - half, x + half], "scaleanchor": "y"},
            "yaxis": {**hidden, "range": [y - half, y + half]},
            "dragmode": "pan",
        }
    )


def _sprite(export: Export, scene: Scene) -> dict[str, Any] | None:
    """Return the tiles of the points shown, in one picture, and which of them each point has."""
    if export.embedding.tile_px is None:
        return None
    # The sprite as it is serves a view of all points; fewer get one of their own.
    thumbnails = None if len(scene) == export.embedding.shape[0] else export.thumbnails
    if thumbnails is None:
        content, tiles = export.read("sprite.png"), scene.rows
    else:
        content, _ = render_sprite(thumbnails[scene.rows])
        tiles = np.arange(len(scene))
    return {
        "uri": "data:image/png;base64," + base64.b64encode(content).decode("ascii"),
        "columns": grid_columns(len(tiles)),
        "tile_px": export.embedding.tile_px,
        "shown_px": max(_SHOWN_PX, export.embedding.tile_px),
        "tiles": tiles.tolist(),
    }


def _as_text(text: str) -> str:
    """Return a text that plotly shows as it is: it reads entities and some tags."""
    return text.replace("&", "&amp;").replace("<", "&lt;")
