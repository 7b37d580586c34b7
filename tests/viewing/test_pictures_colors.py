"""Points have the colours that the viewer gives them."""

from __future__ import annotations

import numpy as np
import polars as pl

from projector_export.viewing.pictures.colors import (
    CATEGORY_COLORS,
    category_colors,
    color_points,
    color_selection,
)


def hexes(rgb: np.ndarray) -> list[str]:
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in rgb.tolist()]


def column(*cells: str | None) -> pl.Series:
    return pl.Series("kind", cells, dtype=pl.String)


def everywhere(cells: pl.Series) -> np.ndarray:
    return np.arange(len(cells))


def test_categories_have_colours_in_the_order_in_which_they_are_seen() -> None:
    """d3.schemeCategory10, each third, handed out to values as they first occur."""
    cells = column("b", "a", "b", "c")
    colored = color_points(cells, everywhere(cells), as_categories=False)
    assert hexes(colored.rgb) == ["#1f77b4", "#d62728", "#1f77b4", "#e377c2"]
    assert [(c.label, c.color, c.count) for c in colored.categories] == [
        ("b", "#1f77b4", 2), ("a", "#d62728", 1), ("c", "#e377c2", 1),
    ]  # fmt: skip
    assert colored.members is not None
    assert colored.members.tolist() == [0, 1, 0, 2]


def test_whole_numbers_come_first_and_by_size() -> None:
    """JavaScript lists an object's whole-number keys first: analyzeMetadata takes them so."""
    cells = column("10", "2", "10", "0")
    colored = color_points(cells, everywhere(cells), as_categories=False)
    assert [c.label for c in colored.categories] == ["0", "2", "10"]
    assert hexes(colored.rgb) == ["#e377c2", "#d62728", "#e377c2", "#1f77b4"]


def test_numbers_are_looked_up_by_their_own_text() -> None:
    """The viewer turns "1.0" into 1, which its colour scale has not seen: it takes a new colour."""
    cells = column("1.0", "0.5", "1.0")
    colored = color_points(cells, everywhere(cells), as_categories=False)
    assert hexes(colored.rgb) == ["#e377c2", "#d62728", "#e377c2"]
    assert [c.label for c in colored.categories] == ["0.5", "1"]


def test_very_small_and_large_numbers_are_written_as_javascript_writes_them() -> None:
    """0.00005, 1e-7 and 1e+21 are their own texts: no second colour."""
    cells = column("0.00005", "1e-7", "1e+21", "123456789012345680000")
    colored = color_points(cells, everywhere(cells), as_categories=False)
    assert hexes(colored.rgb) == ["#1f77b4", "#d62728", "#e377c2", "#17becf"]


def test_a_missing_value_is_black() -> None:
    """vz-projector.ts, POINT_COLOR_MISSING."""
    cells = column("1", None, "2")
    colored = color_points(cells, everywhere(cells), as_categories=False)
    assert hexes(colored.rgb) == ["#1f77b4", "#000000", "#d62728"]
    assert [(c.label, c.count) for c in colored.categories] == [
        ("1", 1), ("2", 1), ("(no value)", 1),
    ]  # fmt: skip
    assert colored.members is not None
    assert colored.members.tolist() == [0, 2, 1]


def test_more_than_50_numbers_are_a_gradient_between_all_of_them() -> None:
    """Linear from #ffffdd at the least to #1f2d86 at the greatest, of all points."""
    cells = column(*(str(i) for i in range(101)), None)
    colored = color_points(cells, np.array([0, 50, 100, 101]), as_categories=False)
    assert hexes(colored.rgb) == ["#ffffdd", "#8f96b2", "#1f2d86", "#000000"]
    assert colored.limits == (0, 100)
    assert colored.categories == ()
    assert colored.values is not None
    assert colored.values[:3].tolist() == [0, 50, 100]


def test_numbers_may_be_forced_to_be_categories() -> None:
    """The state's forceCategoricalColoring."""
    cells = column(*(str(i) for i in range(60)))
    colored = color_points(cells, everywhere(cells), as_categories=True)
    assert len(colored.categories) == 60
    assert colored.limits is None


def test_more_than_50_texts_cannot_be_coloured_by() -> None:
    """Text with more than 50 distinct values is no colour option, not even by force."""
    cells = column(*(f"t{i}" for i in range(51)))
    for force in (False, True):
        colored = color_points(cells, everywhere(cells), as_categories=force)
        assert set(hexes(colored.rgb)) == {"#7575d9"}
        assert colored.column is None


def test_points_that_are_not_drawn_still_make_the_scale() -> None:
    """An isolated view keeps the colours of the whole; its legend has only what is drawn."""
    cells = column("a", "b", "c", "b")
    colored = color_points(cells, np.array([3, 2]), as_categories=False)
    assert hexes(colored.rgb) == ["#d62728", "#e377c2"]
    assert [(c.label, c.count) for c in colored.categories] == [("b", 1), ("c", 1)]


def test_a_selection_is_red_among_grey() -> None:
    """projectorScatterPlotAdapter.ts: unselected #e3e3e3, selected #fa6666."""
    colored = color_selection(4, np.array([2, 0]))
    assert hexes(colored.rgb) == ["#fa6666", "#e3e3e3", "#fa6666", "#e3e3e3"]
    assert [(c.label, c.count) for c in colored.categories] == [("selected", 2), ("others", 2)]


def test_fifty_categories_have_fifty_different_colours() -> None:
    """Distinct hues beyond the viewer's ten."""
    colors = category_colors(50)
    assert colors[:10] == CATEGORY_COLORS
    rgb = np.array([list(bytes.fromhex(color[1:])) for color in colors], dtype=int)
    apart = np.abs(rgb[:, None] - rgb[None]).sum(axis=2) + 1000 * np.eye(50, dtype=int)
    assert apart.min() >= 30
    assert apart[:20, :20].min() >= 50


def test_marks_against_numbers_are_not_shown() -> None:
    """The invisible mark that keeps 007 a text is no part of what is read."""
    cells = column("007\u2060", "a")
    colored = color_points(cells, everywhere(cells), as_categories=False)
    assert [c.label for c in colored.categories] == ["007", "a"]
