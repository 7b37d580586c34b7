"""The colours that the viewer gives to points.

vz-projector-data-panel.ts (updateMetadataUI), data-provider.ts (analyzeMetadata) and
projectorScatterPlotAdapter.ts say which. Beyond ten categories the viewer starts again with the
first colour; here each has its own.
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl

from projector_export.limits import MAX_CATEGORIES
from projector_export.projector.metadata import TEXT_MARK

# d3.schemeCategory10, re-ordered as the viewer does it: each third.
CATEGORY_COLORS = (
    "#1f77b4", "#d62728", "#e377c2", "#17becf", "#2ca02c",
    "#8c564b", "#bcbd22", "#ff7f0e", "#9467bd", "#7f7f7f",
)  # fmt: skip
GRADIENT = ("#ffffdd", "#1f2d86")
MISSING = "#000000"
UNCOLORED = "#7575d9"
UNSELECTED = "#e3e3e3"
SELECTED = "#fa6666"

# An object of JavaScript lists such keys first, and by size.
_ARRAY_INDEX = re.compile(r"^(0|[1-9]\d{0,8})$")
# sRGB, D65.
_RGB_TO_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])


@dataclass(frozen=True)
class Category:
    """One line of a legend.

    Attributes:
        label: what it stands for.
        color: `#rrggbb`.
        count: points drawn in it.
    """

    label: str
    color: str
    count: int


@dataclass(frozen=True, eq=False)
class Coloring:
    """Colours of the points that are drawn, and what they mean.

    Attributes:
        rgb: (n, 3) uint8, a row a point.
        column: what is coloured by; None without a colour map.
        categories: the legend, where colours are categories; those that are drawn.
        limits: the least and greatest value, where colours are a gradient.
        members: (n,) category of each point, where colours are categories.
        values: (n,) where colours are a gradient; nan for none.
    """

    rgb: np.ndarray
    column: str | None = None
    categories: tuple[Category, ...] = ()
    limits: tuple[float, float] | None = None
    members: np.ndarray | None = None
    values: np.ndarray | None = None


def color_points(cells: pl.Series | None, rows: np.ndarray, *, as_categories: bool) -> Coloring:
    """Colour points as the viewer colours them by one column.

    Args:
        cells: the column as text, of all points, null where the cell is empty; None for no colour.
        rows: (n,) row numbers of the points that are drawn.
        as_categories: the state's `forceCategoricalColoring`.

    Returns:
        Colours by a scale that all points of the column have made, drawn or not.
    """
    if cells is None:
        return _uncolored(rows)
    numbers = as_numbers(cells)
    distinct = cells.drop_nulls().unique(maintain_order=True).to_list()
    if len(distinct) <= MAX_CATEGORIES or (as_categories and numbers is not None):
        return _by_category(cells, numbers, distinct, rows)
    return _uncolored(rows) if numbers is None else _by_gradient(numbers, rows, cells.name)


def color_selection(n: int, selected: np.ndarray) -> Coloring:
    """Colour n points by whether they are among `selected`, which are numbers below n."""
    members = np.ones(n, dtype=np.int64)
    members[selected] = 0
    count = int((members == 0).sum())
    categories = (
        Category("selected", SELECTED, count),
        Category("others", UNSELECTED, n - count),
    )
    return Coloring(rgb_of([SELECTED, UNSELECTED])[members], None, categories, members=members)


def as_numbers(cells: pl.Series) -> pl.Series | None:
    """Return a column as the numbers that the viewer reads in it; None if one cell is text."""
    numbers = cells.str.strip_chars().cast(pl.Float64, strict=False)
    numbers = numbers.set(numbers.is_finite().not_().fill_null(value=False), None)
    return numbers if numbers.null_count() == cells.null_count() else None


@cache
def category_colors(n: int) -> tuple[str, ...]:
    """Return n colours: the viewer's ten, then each as far as can be from all before it."""
    colors = list(CATEGORY_COLORS[:n])
    if n > len(colors):
        candidates = [
            f"#{round(r * 255):02x}{round(g * 255):02x}{round(b * 255):02x}"
            for hue in range(48)
            for lightness in (0.25, 0.4, 0.55, 0.7)
            for saturation in (0.4, 0.65)
            for r, g, b in [colorsys.hls_to_rgb(hue / 48, lightness, saturation)]
        ]
        places = _perceived(rgb_of(candidates))
        taken = _perceived(rgb_of([*colors, "#ffffff", "#000000", UNSELECTED]))
        apart = np.linalg.norm(places[:, None] - taken[None], axis=2).min(axis=1)
        for _ in range(n - len(colors)):
            farthest = int(apart.argmax())
            colors.append(candidates[farthest])
            apart = np.minimum(apart, np.linalg.norm(places - places[farthest], axis=1))
    return tuple(colors)


def _perceived(rgb: np.ndarray) -> np.ndarray:
    """Return (n, 3) colours in CIELAB, where equal distances look equally different."""
    linear = rgb / 255
    linear = np.where(linear > 0.04045, ((linear + 0.055) / 1.055) ** 2.4, linear / 12.92)
    xyz = linear @ _RGB_TO_XYZ.T / _WHITE
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)


def rgb_of(colors: Sequence[str]) -> np.ndarray:
    """Return (n, 3) uint8 for `#rrggbb`."""
    return np.array([list(bytes.fromhex(color[1:])) for color in colors], dtype=np.uint8)


def _uncolored(rows: np.ndarray) -> Coloring:
    return Coloring(np.repeat(rgb_of([UNCOLORED]), len(rows), axis=0))


def _by_category(
    cells: pl.Series, numbers: pl.Series | None, distinct: list[str], rows: np.ndarray
) -> Coloring:
    domain = sorted(
        distinct, key=lambda text: (0, int(text)) if _ARRAY_INDEX.match(text) else (1, 0)
    )
    keys = cells
    if numbers is not None:
        # Numbers are looked up by their own text: the cell "1.0" gets the colour of "1".
        keys = pl.Series([None if x is None else _text_of_number(x) for x in numbers.to_list()])
        known = set(domain)
        domain += [k for k in keys.drop_nulls().unique(maintain_order=True) if k not in known]
    place = {text: i for i, text in enumerate(domain)}
    drawn = keys.gather(rows.tolist()).to_list()
    members = np.array([-1 if key is None else place[key] for key in drawn], dtype=np.int64)
    colors = category_colors(len(domain))
    rgb = rgb_of([*colors, MISSING])[members]
    counts = np.bincount(members[members >= 0], minlength=len(domain))
    shown = [i for i in range(len(domain)) if counts[i]]
    renumbered = np.full(len(domain) + 1, -1)
    renumbered[shown] = np.arange(len(shown))
    categories = [
        Category(domain[i].replace(TEXT_MARK, ""), colors[i], int(counts[i])) for i in shown
    ]
    if missing := int((members < 0).sum()):
        categories.append(Category("(no value)", MISSING, missing))
        renumbered[-1] = len(shown)
    return Coloring(rgb, cells.name, tuple(categories), members=renumbered[members])


def _by_gradient(numbers: pl.Series, rows: np.ndarray, column: str) -> Coloring:
    values = numbers.to_numpy()
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    drawn = values[rows]
    share = ((drawn - low) / (high - low))[:, None]
    start, end = rgb_of(GRADIENT).astype(np.float64)
    mixed = np.rint(start + np.nan_to_num(share) * (end - start)).astype(np.uint8)
    rgb = np.where(np.isnan(share), rgb_of([MISSING]), mixed)
    return Coloring(rgb.astype(np.uint8), column, limits=(low, high), values=drawn)


def _text_of_number(value: float) -> str:
    """Return a number as JavaScript writes it."""
    if value == 0 or 1e-6 <= abs(value) < 1e21:
        return np.format_float_positional(value, trim="-")
    return np.format_float_scientific(value, trim="-", exp_digits=1)
