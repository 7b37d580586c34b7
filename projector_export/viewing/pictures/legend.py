"""What stands around a plot: its title, what it shows, and what its colours mean."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from projector_export.viewing.pictures.canvas import GREY, Box, Canvas
from projector_export.viewing.pictures.colors import GRADIENT, Category, Coloring, rgb_of
from projector_export.viewing.pictures.fonts import drawable
from projector_export.viewing.pictures.scene import Scene

_WIDEST_LEGEND = 0.3
_LEAST_EM = 20  # sizes of the text
_NUMBERS = re.compile(r"(\d+)")


def draw_frame(canvas: Canvas, scene: Scene) -> Box:
    """Draw title and legend; return the box that they leave for the plot.

    A picture too small for words is all plot, and one too narrow for a legend has none.
    """
    em = canvas.font_px
    if canvas.box.width < _LEAST_EM * em or canvas.box.height < _LEAST_EM * em:
        return canvas.box
    margin = 1.6 * em
    inner = Box(margin, margin, canvas.box.width - 2 * margin, canvas.box.height - 2 * margin)
    top = draw_heading(canvas, drawable(scene.title), describe(scene), inner)
    body = Box(inner.left, top, inner.width, inner.bottom - top)
    width = _draw_legend(canvas, scene.coloring, body)
    return _whole_pixels(Box(inner.left, top, inner.width - width, body.height))


def draw_heading(canvas: Canvas, title: str, subtitle: str, inner: Box) -> float:
    """Draw a title and a line below it; return where the rest of the picture may begin."""
    em = canvas.font_px
    title_px = 1.5 * em
    baseline = inner.top + 1.15 * em
    title = canvas.fitted(title, inner.width, size_px=title_px, bold=True)
    canvas.text(inner.left, baseline, title, size_px=title_px, bold=True)
    subtitle = canvas.fitted(subtitle, inner.width)
    canvas.text(inner.left, baseline + 1.75 * em, subtitle, color=GREY)
    return baseline + 1.75 * em + 1.3 * em


def describe(scene: Scene) -> str:
    """Return the line below the title: how many points, which layout, what the colours are."""
    n, n_selected = len(scene), len(scene.selected)
    points = f"{n:,} {'isolated ' if scene.isolated else ''}point{'s' if n != 1 else ''}"
    parts = [f"{n_selected:,} of {points} selected" if n_selected else points]
    parts.append(f"{scene.projection} {'3-D' if scene.is_3d else '2-D'}")
    if scene.coloring.column is not None:
        parts.append(f"coloured by {drawable(scene.coloring.column)}")
    if n_selected:
        parts.append(f"labelled by {drawable(scene.label_by)}")
    return " · ".join(parts)


def in_reading_order(categories: Sequence[Category]) -> list[Category]:
    """Return numbered categories by their numbers, others in the viewer's order."""
    if not all(_NUMBERS.search(category.label) for category in categories[:-1]):
        return list(categories)
    return sorted(categories, key=lambda category: _natural(category.label))


def _natural(text: str) -> tuple[tuple[int, int | str], ...]:
    parts = _NUMBERS.split(text)
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in parts if part)


def _draw_legend(canvas: Canvas, coloring: Coloring, body: Box) -> float:
    """Draw the legend at the right of a box; return how wide it is, with the gap before it."""
    if body.height < 8 * canvas.font_px or body.width < _LEAST_EM * canvas.font_px:
        return 0.0
    if coloring.limits is not None:
        return _draw_gradient(canvas, coloring, body)
    if coloring.categories:
        return _draw_categories(canvas, coloring, body)
    return 0.0


def _draw_categories(canvas: Canvas, coloring: Coloring, body: Box) -> float:
    em = canvas.font_px
    categories = in_reading_order(coloring.categories)
    head = 2.0 * em if coloring.column is not None else 0.0
    # Many categories are written closer together, and more than fit are counted.
    room = body.height - head
    size_px = min(em, max(0.62 * em, room / (1.6 * len(categories))))
    line = 1.6 * size_px
    fit = max(1, int(room / line))
    hidden = len(categories) - fit + 1 if len(categories) > fit else 0
    shown = categories[: len(categories) - hidden]
    counts = [f"{category.count:,}" for category in shown]
    count_px = max(canvas.text_width(count, size_px=size_px) for count in counts)
    dot, gap = 0.75 * size_px, 0.6 * size_px
    most = _WIDEST_LEGEND * canvas.box.width - dot - 2 * gap - count_px - 2 * em
    labels = [canvas.fitted(drawable(c.label), most, size_px=size_px) for c in shown]
    label_px = max(canvas.text_width(label, size_px=size_px) for label in labels)
    column = canvas.fitted(drawable(coloring.column or ""), most, bold=True)
    width = dot + gap + label_px + 1.5 * gap + count_px
    width = max(width, canvas.text_width(column, bold=True))
    left = body.right - width
    if column:
        canvas.text(left, body.top + 0.6 * em, column, bold=True, va="center")
    middles = body.top + head + line * (np.arange(len(shown)) + 0.4)
    places = np.stack([np.full(len(shown), left + dot / 2), middles], axis=1)
    canvas.dots(places, rgb_of([category.color for category in shown]), dot)
    for label, count, y in zip(labels, counts, middles, strict=True):
        canvas.text(left + dot + gap, float(y), label, size_px=size_px, va="center_baseline")
        canvas.text(
            body.right, float(y), count, size_px=size_px, color=GREY, ha="right",
            va="center_baseline",
        )  # fmt: skip
    if hidden:
        y = body.top + head + line * (len(shown) + 0.4)
        canvas.text(
            left + dot + gap, y, f"and {hidden} more", size_px=size_px, color=GREY,
            va="center_baseline",
        )  # fmt: skip
    return width + 1.5 * em


def _draw_gradient(canvas: Canvas, coloring: Coloring, body: Box) -> float:
    em = canvas.font_px
    low, high = coloring.limits or (0.0, 1.0)
    ticks = _round_values(low, high)
    texts = [f"{tick:.6g}" for tick in ticks]
    column = canvas.fitted(
        drawable(coloring.column or ""), _WIDEST_LEGEND * canvas.box.width, bold=True
    )
    bar_px = 0.9 * em
    text_px = max((canvas.text_width(text) for text in texts), default=0.0)
    width = max(bar_px + 0.6 * em + text_px, canvas.text_width(column, bold=True))
    left = body.right - width
    canvas.text(left, body.top + 0.6 * em, column, bold=True, va="center")
    bar = Box(left, body.top + 2 * em, bar_px, min(body.height - 2.6 * em, 15 * em))
    start, end = rgb_of(GRADIENT).astype(np.float64)
    shares = np.linspace(1, 0, 256)[:, None]
    rgb = np.rint(start + shares * (end - start)).astype(np.uint8)
    canvas.image(np.concatenate([rgb, np.full((256, 1), 255, np.uint8)], axis=1)[:, None], bar)
    canvas.frame(bar)
    for tick, text in zip(ticks, texts, strict=True):
        y = bar.bottom - (tick - low) / (high - low) * bar.height
        canvas.text(bar.right + 0.6 * em, y, text, color=GREY, va="center_baseline")
    return width + 1.5 * em


def _round_values(low: float, high: float) -> list[float]:
    from matplotlib.ticker import MaxNLocator

    values = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(value) for value in values if low <= value <= high]


def _whole_pixels(box: Box) -> Box:
    left, top = round(box.left), round(box.top)
    return Box(left, top, max(1, round(box.right) - left), max(1, round(box.bottom) - top))
