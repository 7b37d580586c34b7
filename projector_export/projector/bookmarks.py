"""bookmarks.json: ready-made views with finished layouts.

A state is what the viewer itself saves (vz-projector-bookmark-panel.ts and data.ts, class State).
Coordinates under the keys `umap-0`, `umap-1`, `umap-2` are shown as they are, without computing
UMAP again. All keys are read; a missing one throws in the viewer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from projector_export.limits import MAX_CATEGORIES
from projector_export.points import LABEL

MOST_UNUSUAL = 30
MOST_SELECTED = 60
"""Selected points are listed and drawn with labels; more are not readable."""

Layout = Literal["umap3d", "umap2d"]
_AXES: dict[Layout, tuple[str, ...]] = {
    "umap3d": ("umap3d_x", "umap3d_y", "umap3d_z"),
    "umap2d": ("umap2d_x", "umap2d_y"),
}
# The viewer's own poses, a little further away so that no corner of the cube is cut off.
_CAMERAS = {
    "umap3d": {
        "orthographic": False,
        "position": [0.52, 1.04, 1.84],
        "target": [0, 0, 0],
        "zoom": 1,
    },
    "umap2d": {"orthographic": True, "position": [0, 0, 4], "target": [0, 0, 0], "zoom": 0.95},
}


@dataclass(frozen=True)
class View:
    """One bookmark.

    Attributes:
        title: shown in the bookmark panel.
        layout: which coordinates.
        color_by: a column.
        selected: row numbers to select.
        label_by: a column.
    """

    title: str
    layout: Layout
    color_by: str
    selected: tuple[int, ...] = ()
    label_by: str = LABEL


def default_views(columns: pl.DataFrame) -> list[View]:
    """Choose the views that these columns allow; none without a layout."""
    layouts = [layout for layout, axes in _AXES.items() if axes[0] in columns.columns]
    if not layouts:
        return []
    deep, flat = layouts[0], layouts[-1]
    sizes = {"umap3d": "3D", "umap2d": "2D"}
    views = []
    if "cluster" in columns.columns:
        few = columns["cluster"].n_unique() <= MAX_CATEGORIES
        color = "cluster" if few else "cluster_distance"
        views.append(View(f"UMAP {sizes[deep]} by {color.replace('_', ' ')}", deep, color))
    if 2 <= columns[LABEL].n_unique() <= MAX_CATEGORIES:
        views.append(View(f"UMAP {sizes[flat]} by label", flat, LABEL))
    if "kind" in columns.columns and 2 <= columns["kind"].n_unique() <= MAX_CATEGORIES:
        views.append(View(f"UMAP {sizes[deep]} by kind", deep, "kind"))
    own = "predicted" in columns.columns and "agrees" not in columns.columns
    if own and 2 <= columns["predicted"].n_unique() <= MAX_CATEGORIES:
        views.append(View(f"UMAP {sizes[flat]} by predicted class", flat, "predicted"))
    if "anomaly" in columns.columns:
        unusual = _top_rows(columns, pl.col("anomaly"), MOST_UNUSUAL)
        views.append(View("Most unusual points", flat, "anomaly_kind", unusual))
        views.append(View("Anomaly score", flat, "anomaly"))
    if "duplicate_group" in columns.columns:
        groups = columns["duplicate_group"]
        rows = _top_rows(
            columns, -pl.col("nearest_angle"), MOST_SELECTED, pl.col("duplicate_group") != "unique"
        )
        if rows:
            few = groups.n_unique() <= MAX_CATEGORIES
            color = "duplicate_group" if few else "nearest_angle"
            views.append(View("Near duplicates", flat, color, rows))
    if columns.schema.get("agrees") == pl.Boolean and "predicted_score" in columns.columns:
        rows = _top_rows(columns, pl.col("predicted_score"), MOST_SELECTED, ~pl.col("agrees"))
        if rows:
            views.append(View("Zero-shot disagreements", flat, "agrees", rows))
    if not views:
        views.append(View(f"UMAP {sizes[deep]}", deep, LABEL))
    return views


def render_bookmarks(
    views: Sequence[View], columns: pl.DataFrame, *, dimensions: tuple[int, int]
) -> bytes:
    """Return bookmarks.json.

    Args:
        views: what to list, in this order.
        columns: N rows with the layouts' coordinates.
        dimensions: rows and columns of the tensor that the viewer loads.
    """
    coordinates = {
        layout: _render_projections(columns, _AXES[layout]) for layout in {v.layout for v in views}
    }
    marker = '"projections": null'
    states = []
    for view in views:
        state = json.dumps(_state(view, dimensions), ensure_ascii=False)
        states.append(state.replace(marker, f'"projections": {coordinates[view.layout]}', 1))
    return ("[" + ",\n".join(states) + "]\n").encode("utf-8")


def _render_projections(columns: pl.DataFrame, axes: Sequence[str]) -> str:
    rounded = columns.select(pl.col(axis).cast(pl.Float64).round(3) for axis in axes)
    pieces: list[pl.Expr] = []
    for d, axis in enumerate(axes):
        pieces += [pl.lit(("," if d else "{") + f'"umap-{d}":'), pl.col(axis).cast(pl.String)]
    points = rounded.select(pl.concat_str([*pieces, pl.lit("}")])).to_series()
    return "[" + ",".join(points.to_list()) + "]"


def _state(view: View, dimensions: tuple[int, int]) -> dict[str, object]:
    return {
        "projections": None,  # first, so that no text of a view can stand before the marker
        "label": view.title,
        "isSelected": False,
        "selectedProjection": "umap",
        "dataSetDimensions": list(dimensions),
        "tSNEIteration": 0,
        "tSNEPerplexity": 0,
        "tSNELearningRate": 0,
        "tSNEis3d": view.layout == "umap3d",
        "umapIs3d": view.layout == "umap3d",
        "umapNeighbors": 15,
        "umapMinDist": 0.1,
        "pcaComponentDimensions": [0, 1, 2],
        "customSelectedSearchByMetadataOption": view.label_by,
        "customXLeftText": "",
        "customXLeftRegex": False,
        "customXRightText": "",
        "customXRightRegex": False,
        "customYUpText": "",
        "customYUpRegex": False,
        "customYDownText": "",
        "customYDownRegex": False,
        "filteredPoints": None,
        "selectedPoints": list(view.selected),
        "shuffledDataIndices": None,
        "cameraDef": _CAMERAS[view.layout],
        "selectedColorOptionName": view.color_by,
        "forceCategoricalColoring": False,
        "selectedLabelOption": view.label_by,
    }


def _top_rows(
    columns: pl.DataFrame, score: pl.Expr, most: int, among: pl.Expr | None = None
) -> tuple[int, ...]:
    """Row numbers with the highest scores, best first; equal scores in row order."""
    # Selecting only these two leaves no name for a user's column to clash with.
    rows = columns.select(
        score.alias("score"),
        (pl.lit(value=True) if among is None else among.fill_null(value=False)).alias("among"),
    ).with_row_index("row")
    ranked = rows.filter("among").sort(
        "score", descending=True, nulls_last=True, maintain_order=True
    )
    return tuple(ranked["row"].head(most).to_list())
