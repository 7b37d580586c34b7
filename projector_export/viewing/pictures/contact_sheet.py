"""Contact sheets: the most unusual points, and the most typical items of each cluster.

Tiles where the export has thumbnails, a list of labels where it has none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from projector_export.errors import OptionError
from projector_export.projector.exports import Export
from projector_export.viewing.pictures.canvas import (
    GREY,
    LINE,
    Box,
    Canvas,
    FileFormat,
    check_canvas,
    plain_settings,
    require_plots,
)
from projector_export.viewing.pictures.colors import rgb_of
from projector_export.viewing.pictures.fonts import choose_fonts, drawable
from projector_export.viewing.pictures.legend import draw_heading
from projector_export.viewing.pictures.sheet_content import (
    TYPICAL,
    Content,
    Group,
    Item,
    Sheet,
    sheet_content,
)
from projector_export.viewing.pictures.tiles import Tiles, compose_tiles

_COLUMNS = 8
_HIGHEST_PX = 65_000  # Agg, which draws, takes less than 2^16


def render_contact_sheet(
    export: Export,
    sheet: Sheet,
    *,
    width_px: int = 1400,
    file_format: FileFormat = "png",
    dpi: int = 200,
    tell: Callable[[str], None] | None = None,
) -> bytes:
    """Draw one contact sheet, as high as its rows need.

    Args:
        export: its points.
        sheet: `unusual`: those with the highest `anomaly`, the first one first; `typical`: of each
            cluster those with the lowest `cluster_distance`.
        width_px: of the picture.
        file_format: png, svg or pdf.
        dpi: pixels an inch.
        tell: called with each note.

    Returns:
        The file's bytes; same input, same bytes.

    Raises:
        DataError: the export has not the columns for this sheet.
        MissingExtraError: matplotlib is not installed.
        OptionError: an option is out of range, or the sheet would be too high.
    """
    check_canvas(width_px, width_px, dpi=dpi, file_format=file_format)
    content = sheet_content(export, sheet)
    require_plots()
    fonts = choose_fonts(content.texts)
    if fonts.note and tell:
        tell(fonts.note)
    with plain_settings(fonts):
        page = _Page(content, width_px, dpi)
        if export.thumbnails is None:
            canvas = _draw_list(page, content.groups)
        elif sheet == "unusual":
            canvas = _draw_grid(page, content.groups[0], export.thumbnails)
        else:
            canvas = _draw_rows(page, content.groups, export.thumbnails)
        return canvas.render(file_format, title=drawable(content.title))


class _Page:
    """A sheet's measures: its width is given, its height is what the rows need."""

    def __init__(self, content: Content, width_px: int, dpi: int) -> None:
        self.content, self.width_px, self.dpi = content, width_px, dpi
        self.em = max(8.0, 0.0135 * width_px)
        self.margin = 1.8 * self.em
        self.head = 1.15 * self.em + 1.75 * self.em + 1.3 * self.em  # as draw_heading has it

    @property
    def inner_px(self) -> float:
        return self.width_px - 2 * self.margin

    def begin(self, body_px: float) -> tuple[Canvas, float]:
        """Return a canvas with its heading, and where the body begins."""
        height_px = round(self.head + body_px + 2 * self.margin)
        if height_px > _HIGHEST_PX:
            raise OptionError(
                f"width is {self.width_px} px, which makes the sheet {height_px:,} px high; "
                f"expected at most {_HIGHEST_PX:,}: choose a smaller width"
            )
        canvas = Canvas(self.width_px, height_px, dpi=self.dpi, font_px=self.em)
        title, subtitle = drawable(self.content.title), drawable(self.content.subtitle)
        inner = Box(self.margin, self.margin, self.inner_px, height_px - 2 * self.margin)
        return canvas, draw_heading(canvas, title, subtitle, inner)


def _draw_grid(page: _Page, group: Group, thumbnails: np.ndarray) -> Canvas:
    gap = 0.8 * page.em
    side = (page.inner_px - gap * (_COLUMNS - 1)) / _COLUMNS
    pitch = side + 3.4 * page.em
    n_rows = -(-len(group.items) // _COLUMNS)
    canvas, top = page.begin(n_rows * pitch - 0.6 * page.em)
    places = []
    for i, item in enumerate(group.items):
        left = page.margin + (i % _COLUMNS) * (side + gap)
        upper = top + (i // _COLUMNS) * pitch
        places.append((left + side / 2, upper + side / 2))
        _write_below(canvas, item, left + side / 2, upper + side, side + 0.5 * gap)
    _draw_tiles(canvas, group.items, places, side, thumbnails)
    return canvas


def _draw_rows(page: _Page, groups: Sequence[Group], thumbnails: np.ndarray) -> Canvas:
    gap, name_px = 0.6 * page.em, 0.19 * page.inner_px
    side = (page.inner_px - name_px - gap * (TYPICAL - 1)) / TYPICAL
    pitch = side + 2.3 * page.em
    canvas, top = page.begin(len(groups) * pitch - 0.4 * page.em)
    for number, group in enumerate(groups):
        upper = top + number * pitch
        most = name_px - page.em
        name = canvas.fitted(drawable(group.title), most, bold=True)
        canvas.text(page.margin, upper + side / 2 - 0.25 * page.em, name, bold=True)
        remark = canvas.fitted(drawable(group.remark), most, size_px=0.85 * page.em)
        canvas.text(
            page.margin, upper + side / 2 + 1.05 * page.em, remark, size_px=0.85 * page.em,
            color=GREY,
        )  # fmt: skip
        places = []
        for i, item in enumerate(group.items):
            middle = page.margin + name_px + i * (side + gap) + side / 2
            places.append((middle, upper + side / 2))
            _write_below(canvas, item, middle, upper + side, side + 0.4 * gap)
        _draw_tiles(canvas, group.items, places, side, thumbnails)
    return canvas


def _draw_list(page: _Page, groups: Sequence[Group]) -> Canvas:
    """Draw groups of lines, in two columns where there are many groups."""
    line = 1.65 * page.em
    n_columns = 2 if len(groups) > 3 else 1
    per_column = -(-len(groups) // n_columns)
    columns = [groups[i : i + per_column] for i in range(0, len(groups), per_column)]
    heights = [sum(_lines(group) for group in column) * line for column in columns]
    canvas, top = page.begin(max(heights))
    gap = 2.5 * page.em
    width = (page.inner_px - gap * (n_columns - 1)) / n_columns
    for number, column in enumerate(columns):
        left, y = page.margin + number * (width + gap), top
        for group in column:
            _draw_lines(canvas, group, Box(left, y, width, _lines(group) * line), line)
            y += _lines(group) * line
    return canvas


def _lines(group: Group) -> float:
    return len(group.items) + (2.2 if group.title else 0.2)


def _draw_lines(canvas: Canvas, group: Group, box: Box, line: float) -> None:
    em, y = canvas.font_px, box.top
    if group.title:
        remark_px = canvas.text_width(drawable(group.remark))
        most = box.width - remark_px - em
        title = canvas.fitted(drawable(group.title), most, bold=True)
        canvas.text(box.left, y + 0.9 * line, title, bold=True)
        canvas.text(box.right, y + 0.9 * line, drawable(group.remark), color=GREY, ha="right")
        canvas.line([box.left, box.right], [y + 1.25 * line, y + 1.25 * line])
        y += 1.4 * line
    remark_px = max((canvas.text_width(item.remark) for item in group.items), default=0.0)
    number_px = canvas.text_width(f"{len(group.items)}.") + 0.7 * em
    most = box.width - number_px - (remark_px + 1.5 * em if remark_px else 0)
    for number, item in enumerate(group.items, start=1):
        y += line
        base = y - 0.35 * line
        canvas.text(box.left + number_px - 0.7 * em, base, f"{number}.", color=GREY, ha="right")
        canvas.text(box.left + number_px, base, canvas.fitted(item.label, most))
        canvas.text(box.right, base, item.remark, color=GREY, ha="right")


def _write_below(canvas: Canvas, item: Item, middle: float, bottom: float, most: float) -> None:
    size_px = 0.85 * canvas.font_px
    y = bottom + 1.15 * canvas.font_px
    canvas.text(
        middle, y, canvas.fitted(item.label, most, size_px=size_px), size_px=size_px, ha="center"
    )
    if item.remark:
        remark = canvas.fitted(item.remark, most, size_px=0.9 * size_px)
        canvas.text(
            middle, y + 1.1 * canvas.font_px, remark, size_px=0.9 * size_px, color=GREY, ha="center"
        )


def _draw_tiles(
    canvas: Canvas,
    items: Sequence[Item],
    places: Sequence[tuple[float, float]],
    side_px: float,
    thumbnails: np.ndarray,
) -> None:
    """Draw one picture that holds these tiles, each at its place."""
    n, centers = len(items), np.array(places)
    low = np.floor(centers.min(axis=0) - side_px / 2).astype(int)
    high = np.ceil(centers.max(axis=0) + side_px / 2).astype(int) + 1
    tiles = Tiles(
        pixels=thumbnails[[item.row for item in items]],
        places=centers - low,
        sides_px=np.full(n, side_px),
        edges=np.repeat(rgb_of([LINE]), n, axis=0),
        edge_px=np.ones(n),
        strength=np.ones(n),
    )
    width, height = (high - low).tolist()
    image = compose_tiles(tiles, width_px=width, height_px=height)
    canvas.image(image, Box(float(low[0]), float(low[1]), width, height))
