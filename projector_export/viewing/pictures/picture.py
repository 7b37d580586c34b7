"""Pictures of views: one bookmark's state becomes a PNG, SVG or PDF."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from projector_export.errors import OptionError
from projector_export.projector.exports import Export
from projector_export.viewing.pictures.camera import project
from projector_export.viewing.pictures.canvas import (
    Box,
    Canvas,
    FileFormat,
    check_canvas,
    plain_settings,
    require_plots,
)
from projector_export.viewing.pictures.colors import SELECTED, rgb_of
from projector_export.viewing.pictures.fonts import choose_fonts, drawable
from projector_export.viewing.pictures.labels import draw_labels
from projector_export.viewing.pictures.legend import describe, draw_frame
from projector_export.viewing.pictures.scene import Scene, read_scene
from projector_export.viewing.pictures.tiles import Tiles, compose_tiles

Style = Literal["auto", "thumbnails", "dots"]
STYLES: tuple[Style, ...] = ("auto", "thumbnails", "dots")
MOST_THUMBNAILS = 5_000
"""More cover one another; `auto` draws dots then."""
LEAST_THUMBNAIL_PX = 14
_MOST_CANDIDATES = 400  # of selected points for labels, far more than find room
_AXIS = "#d3d6de"


def render_picture(
    export: Export,
    state: Mapping[str, Any],
    *,
    width_px: int = 1400,
    height_px: int = 1000,
    file_format: FileFormat = "png",
    style: Style = "auto",
    framed: bool = True,
    dpi: int = 200,
    tell: Callable[[str], None] | None = None,
) -> bytes:
    """Draw one view.

    Args:
        export: what the view belongs to.
        state: one of `export.states`; all that is drawn follows from it.
        width_px: of the whole picture.
        height_px: of the whole picture.
        file_format: png, svg or pdf.
        style: thumbnails, dots, or auto: thumbnails where there are some that are few and large
            enough to be recognised.
        framed: with title and legend; else the plot alone fills the picture.
        dpi: pixels an inch, which is how large the picture prints.
        tell: called with each note, such as characters that no font has.

    Returns:
        The file's bytes; same input, same bytes.

    Raises:
        DataError: the state cannot be drawn.
        MissingExtraError: matplotlib or adjustText is not installed.
        OptionError: a size, a format or a style is not as above.
    """
    check_picture_options(
        width_px=width_px, height_px=height_px, dpi=dpi, file_format=file_format, style=style
    )
    require_plots()
    scene = read_scene(export, state)
    thumbnails = None if style == "dots" else export.thumbnails
    if style == "thumbnails" and thumbnails is None:
        raise OptionError(f"{export.folder} has no thumbnails; draw its views with --style dots")
    if style == "auto" and not _fit_thumbnails(scene, width_px * height_px):
        thumbnails = None
    notes = []
    if scene.unplaced:
        notes.append(f"{scene.unplaced:,} points of {scene.title!r} have no coordinates in it")
    fonts = choose_fonts(_texts(scene))
    if fonts.note:
        notes.append(fonts.note)
    with plain_settings(fonts):
        canvas = Canvas(width_px, height_px, dpi=dpi)
        box = draw_frame(canvas, scene) if framed else canvas.box
        _draw_plot(canvas, scene, thumbnails, box, notes)
        content = canvas.render(file_format, title=drawable(scene.title))
    for note in notes if tell else ():
        tell(note)  # type: ignore[misc]  # there is one
    return content


def check_picture_options(
    *, width_px: int, height_px: int, dpi: int, file_format: str, style: str
) -> None:
    """Raise OptionError unless a picture can be drawn so."""
    check_canvas(width_px, height_px, dpi=dpi, file_format=file_format)
    if style not in STYLES:
        raise OptionError(f"style is {style!r}; expected {', '.join(STYLES)}")


def _fit_thumbnails(scene: Scene, area: float) -> bool:
    """Whether thumbnails are few and large enough to be recognised."""
    return len(scene) <= MOST_THUMBNAILS and _thumbnail_px(scene, area) >= LEAST_THUMBNAIL_PX


def _thumbnail_px(scene: Scene, area: float) -> float:
    return math.sqrt(area) * min(0.075, max(0.016, 0.9 / math.sqrt(max(len(scene), 1))))


def _texts(scene: Scene) -> list[str]:
    labels = [scene.labels[int(i)] for i in scene.selected[:_MOST_CANDIDATES]]
    categories = [category.label for category in scene.coloring.categories]
    return [drawable(text) for text in (scene.title, describe(scene), *labels, *categories)]


def _draw_plot(
    canvas: Canvas, scene: Scene, thumbnails: np.ndarray | None, box: Box, notes: list[str]
) -> None:
    places = project(scene.positions, scene.camera, width=box.width, height=box.height)
    places += (box.left, box.top, 0)
    if scene.is_3d and not scene.camera.orthographic:
        _draw_axes(canvas, scene, box)
    order = _drawing_order(scene, places)
    _draw_links(canvas, scene, places, order, box)
    diameters = _diameters(scene, places, box, thumbnails)
    if thumbnails is None:
        edge_px = 0.05 * float(np.median(diameters)) if len(scene) <= MOST_THUMBNAILS else 0.0
        canvas.dots(
            places[order, :2],
            scene.coloring.rgb[order],
            diameters[order],
            within=box,
            edge_px=edge_px,
            # The light end of the gradient would vanish on white.
            edge="#8f95a3" if scene.coloring.limits else "#ffffff",
        )
    else:
        _draw_tiles(canvas, scene, thumbnails, places, order, diameters, box)
    if len(scene.selected):
        chosen = scene.selected[np.isfinite(places[scene.selected, 2])][:_MOST_CANDIDATES]
        n = draw_labels(
            canvas,
            [drawable(scene.labels[int(i)]) for i in chosen],
            places[chosen, :2],
            within=box,
            keep_off_px=float(diameters[chosen].mean()) if len(chosen) else 0.0,
        )
        if n < len(scene.selected):
            notes.append(
                f"{n} of the {len(scene.selected)} selected points of {scene.title!r} are "
                "labelled; there is no room for more"
            )


def _drawing_order(scene: Scene, places: np.ndarray) -> np.ndarray:
    """Return the numbers of the points in the picture's order: far ones first, selected last."""
    drawn = np.flatnonzero(np.isfinite(places[:, 2]))
    if not scene.camera.orthographic:
        drawn = drawn[np.argsort(-places[drawn, 2], kind="stable")]
    is_selected = np.zeros(len(scene), dtype=bool)
    is_selected[scene.selected] = True
    return np.concatenate([drawn[~is_selected[drawn]], drawn[is_selected[drawn]]])


def _diameters(
    scene: Scene, places: np.ndarray, box: Box, thumbnails: np.ndarray | None
) -> np.ndarray:
    """Return how large each point is drawn: smaller where there are many or it is far away."""
    n = max(len(scene), 2)
    side = math.sqrt(box.width * box.height)
    if thumbnails is None:
        size = max(3.0, side * min(0.018, max(0.0035, 0.115 / n**0.36)))
    else:
        size = min(_thumbnail_px(scene, box.width * box.height), 2.0 * thumbnails.shape[1])
    diameters = np.full(len(scene), size)
    if not scene.camera.orthographic:
        # As in the viewer, by distance; at the target's distance the size is the flat view's.
        distance = math.dist(scene.camera.position, scene.camera.target)
        with np.errstate(invalid="ignore"):
            diameters *= np.clip(distance / places[:, 2], 0.4, 3)
    # projectorScatterPlotAdapter.ts, POINT_SCALE_SELECTED; on paper nobody can zoom in.
    diameters[scene.selected] = np.maximum(1.2 * diameters[scene.selected], 0.009 * side)
    return diameters


def _draw_tiles(
    canvas: Canvas,
    scene: Scene,
    thumbnails: np.ndarray,
    places: np.ndarray,
    order: np.ndarray,
    diameters: np.ndarray,
    box: Box,
) -> None:
    n = len(scene)
    edges, edge_px, strength = scene.coloring.rgb.copy(), np.zeros(n), np.ones(n)
    if len(scene.selected):
        edges[:] = rgb_of(["#ffffff"])
        edges[scene.selected] = rgb_of([SELECTED])
        strength[:] = 0.3
        strength[scene.selected] = 1
        edge_px[scene.selected] = np.maximum(2, 0.09 * diameters[scene.selected])
    elif scene.coloring.column is not None:
        edge_px[:] = np.maximum(1, 0.075 * diameters)
    tiles = Tiles(
        pixels=thumbnails[scene.rows[order]],
        places=places[order, :2] - (box.left, box.top),
        sides_px=diameters[order],
        edges=edges[order],
        edge_px=edge_px[order],
        strength=strength[order],
    )
    image = compose_tiles(tiles, width_px=round(box.width), height_px=round(box.height))
    canvas.image(image, box)


def _draw_links(
    canvas: Canvas, scene: Scene, places: np.ndarray, order: np.ndarray, box: Box
) -> None:
    """Draw a line from each point to the next of its path, in the order of the points."""
    rank = np.full(len(scene), -1)
    rank[order] = np.arange(len(order))
    links = scene.links[(rank[scene.links] >= 0).all(axis=1)]
    links = links[np.argsort(rank[links[:, 0]], kind="stable")]
    if len(links):
        canvas.segments(
            places[links, :2],
            scene.coloring.rgb[links[:, 0]],
            width_px=max(1.0, canvas.font_px * 0.1),
            within=box,
        )


def _draw_axes(canvas: Canvas, scene: Scene, box: Box) -> None:
    """Draw the viewer's three axes, from the middle of the cube, for the eye to see depth by."""
    ends = np.concatenate([np.zeros((1, 3)), np.eye(3)])
    places = project(ends, scene.camera, width=box.width, height=box.height)
    places += (box.left, box.top, 0)
    if not np.isfinite(places).all():
        return  # the camera is among them
    for end in (1, 2, 3):
        canvas.line(
            places[[0, end], 0].tolist(),
            places[[0, end], 1].tolist(),
            color=_AXIS,
            width_px=max(1.0, canvas.font_px * 0.07),
            within=box,
        )
