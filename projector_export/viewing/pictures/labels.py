"""Labels beside their points, without overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from projector_export.viewing.pictures.canvas import INK, Box, Canvas, axes_in_pixels

MOST_LABELS = 40
_MOST_AREA = 0.14  # of the plot: more text than that is not read but seen as noise
_FARTHEST = 4.0  # times the text's size: a label further from its point is not seen as its own
_ITERATIONS = 120
_UNTANGLING = 25


@dataclass(frozen=True)
class Label:
    """A text with its place.

    Attributes:
        text: as written.
        box: where it stands.
        target: the point that it belongs to.
    """

    text: str
    box: Box
    target: tuple[float, float]

    @property
    def nearest(self) -> tuple[float, float]:
        """The place of its box that is nearest to the target."""
        x, y = self.target
        return (
            min(max(x, self.box.left), self.box.right),
            min(max(y, self.box.top), self.box.bottom),
        )

    @property
    def distance(self) -> float:
        """From its box to the target, in pixels."""
        return math.dist(self.nearest, self.target)


def draw_labels(
    canvas: Canvas, texts: Sequence[str], targets: np.ndarray, *, within: Box, keep_off_px: float
) -> int:
    """Write texts beside points, each with a line to its point where it stands apart.

    Args:
        canvas: to draw on.
        texts: n of them, the most important first; of points in a crowd, its first one is.
        targets: (n, 2) in pixels.
        within: no text leaves this box.
        keep_off_px: diameter of what is drawn at each target.

    Returns:
        How many found a place.
    """
    size_px = canvas.font_px * 0.95
    labels = place_labels(
        canvas, texts, targets, within=within, keep_off_px=keep_off_px, size_px=size_px
    )
    for label in labels:
        _draw_leader(canvas, label, keep_off_px / 2)
    for label in labels:
        middle = label.box.left + label.box.width / 2, label.box.top + label.box.height / 2
        canvas.text(
            *middle, label.text, size_px=size_px, ha="center", va="center", halo=True, color=INK
        )
    return len(labels)


def place_labels(
    canvas: Canvas,
    texts: Sequence[str],
    targets: np.ndarray,
    *,
    within: Box,
    keep_off_px: float,
    size_px: float,
) -> list[Label]:
    """Return the labels that have room, in their order; none overlaps another."""
    inside = [
        i
        for i, (x, y) in enumerate(targets)
        if within.left <= x <= within.right and within.top <= y <= within.bottom and texts[i]
    ]
    chosen, area = [], 0.0
    shortened = {}
    for i in _apart_first(inside, targets, 3 * size_px)[:MOST_LABELS]:
        text = canvas.fitted(texts[i], 0.2 * within.width, size_px=size_px)
        area += canvas.text_width(text, size_px=size_px) * 1.3 * size_px
        if area > _MOST_AREA * within.width * within.height:
            break
        shortened[i] = text
        chosen.append(i)
    if not chosen:
        return []
    boxes = _spread(
        [shortened[i] for i in chosen],
        [canvas.text_width(shortened[i], size_px=size_px) for i in chosen],
        targets[chosen],
        canvas=canvas,
        within=within,
        keep_off_px=keep_off_px,
        size_px=size_px,
    )
    placed: list[Label] = []
    for i, box in zip(chosen, boxes, strict=True):
        label = Label(shortened[i], box, (float(targets[i, 0]), float(targets[i, 1])))
        if (
            within.holds(box)
            and label.distance <= keep_off_px / 2 + _FARTHEST * size_px
            and not any(box.meets(other.box) for other in placed)
        ):
            placed.append(label)
    return placed


def _apart_first(numbers: Sequence[int], targets: np.ndarray, apart_px: float) -> list[int]:
    """Return the numbers with those first that are not beside one before them."""
    first: list[int] = []
    for i in numbers:
        if all(math.dist(targets[i, :2], targets[j, :2]) > apart_px for j in first):
            first.append(i)
    return first + [i for i in numbers if i not in set(first)]


def _spread(
    texts: Sequence[str],
    widths: Sequence[float],
    targets: np.ndarray,
    *,
    canvas: Canvas,
    within: Box,
    keep_off_px: float,
    size_px: float,
) -> list[Box]:
    """Let adjustText move the labels apart, on a figure of their own that is quick to draw."""
    from adjustText import adjust_text
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

    whole = canvas.box
    figure = Figure(figsize=(whole.width / 100, whole.height / 100), dpi=100)
    FigureCanvasAgg(figure)
    axes = axes_in_pixels(figure, whole, within)
    axes.set_ylim(-within.bottom, -within.top)  # adjustText wants y upwards
    centers = targets * (1, -1)
    drawn = [
        axes.text(x, y, text, fontsize=size_px * 0.72, ha="center", va="center")
        for text, (x, y) in zip(texts, centers, strict=True)
    ]
    half = keep_off_px / 2
    settings = {
        "objects": [Bbox.from_extents(x - half, y - half, x + half, y + half) for x, y in centers],
        "target_x": centers[:, 0],
        "target_y": centers[:, 1],
        "ax": axes,
        "expand": (1.08, 1.3),
        "force_text": (0.3, 0.4),
        "force_static": (0.15, 0.25),
    }
    # Numbers of rounds, not seconds, which would differ from run to run. Looking for crossing
    # lines takes far longer than all the rest.
    adjust_text(drawn, prevent_crossings=False, iter_lim=_ITERATIONS, **settings)
    adjust_text(drawn, force_explode=(0.0, 0.0), avoid_self=False, iter_lim=_UNTANGLING, **settings)
    height = 1.25 * size_px
    boxes = []
    for text, width in zip(drawn, widths, strict=True):
        x, y = text.get_position()
        boxes.append(Box(x - width / 2, -y - height / 2, width, height))
    return boxes


def _draw_leader(canvas: Canvas, label: Label, radius_px: float) -> None:
    """Draw a line from a label's edge to its point, if they are not beside each other."""
    (x, y), (near_x, near_y) = label.target, label.nearest
    if label.distance > radius_px + 0.35 * canvas.font_px:
        share = radius_px / label.distance
        canvas.line(
            [near_x, x + (near_x - x) * share],
            [near_y, y + (near_y - y) * share],
            color="#8b919e",
            width_px=max(0.8, canvas.font_px * 0.06),
            order=4,
        )
