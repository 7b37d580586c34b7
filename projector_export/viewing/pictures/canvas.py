"""A matplotlib figure measured in pixels from its upper left corner, and its file's bytes.

Figures are objects here: pyplot, with its current figure and its window, has no part in it. The
user's matplotlibrc has none either, so that the same input gives the same bytes.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from projector_export.errors import MissingExtraError, OptionError
from projector_export.viewing.pictures.fonts import Fonts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FileFormat = Literal["png", "svg", "pdf"]
FILE_FORMATS: tuple[FileFormat, ...] = ("png", "svg", "pdf")
SMALLEST_PX, LARGEST_PX = 64, 20_000
INK = "#1f2430"
GREY = "#6b7280"
LINE = "#d9dce3"
_MAKER = "projector-export"
_MOST_SHAPES = 20_000  # more dots make SVG and PDF files that no program likes to open


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels; y points downwards."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return self.top + self.height

    def meets(self, other: Box) -> bool:
        """Whether the two overlap."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def holds(self, other: Box) -> bool:
        """Whether the other lies within."""
        return (
            self.left <= other.left
            and self.right >= other.right
            and self.top <= other.top
            and self.bottom >= other.bottom
        )


def check_canvas(width_px: int, height_px: int, *, dpi: int, file_format: str) -> None:
    """Raise OptionError unless a picture can be that large and of that format."""
    for name, value in (("width", width_px), ("height", height_px)):
        if not SMALLEST_PX <= value <= LARGEST_PX:
            raise OptionError(f"{name} is {value} px; expected {SMALLEST_PX} to {LARGEST_PX:,}")
    if not 10 <= dpi <= 2400:
        raise OptionError(f"dpi is {dpi}; expected 10 to 2400")
    if file_format not in FILE_FORMATS:
        raise OptionError(f"format is {file_format!r}; expected {', '.join(FILE_FORMATS)}")


def require_plots() -> None:
    """Raise MissingExtraError unless what draws is installed."""
    for module in ("matplotlib", "adjustText"):
        try:
            __import__(module)
        except ImportError as error:
            raise MissingExtraError(
                f"{module} is not installed, which pictures need: "
                "pip install 'projector-export[plots]'"
            ) from error


@contextmanager
def plain_settings(fonts: Fonts) -> Iterator[None]:
    """Draw with matplotlib's own defaults and these fonts, whatever the user has set."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "font.family": list(fonts.families),
                "svg.hashsalt": _MAKER,
                "text.parse_math": False,  # a label's dollar signs are no formula
                "path.simplify": False,
            }
        )
        # Told by `Fonts.note`, once and with a remedy.
        warnings.filterwarnings("ignore", message=r"(?s)Glyph \d+.*missing from")
        yield


class Canvas:
    """A picture that is being drawn.

    Attributes:
        box: the whole of it.
        font_px: size of its running text.
    """

    def __init__(
        self, width_px: int, height_px: int, *, dpi: int, font_px: float | None = None
    ) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.box = Box(0, 0, width_px, height_px)
        self.font_px = font_px or max(9.0, 0.0165 * (width_px * height_px) ** 0.5)
        self._points = 72 / dpi  # a pixel
        # A thousandth of a pixel more, since matplotlib rounds inches times dpi down.
        inches = ((width_px + 1e-3) / dpi, (height_px + 1e-3) / dpi)
        self._figure = Figure(figsize=inches, dpi=dpi, facecolor="white")
        self._agg = FigureCanvasAgg(self._figure)
        self._axes = axes_in_pixels(self._figure, self.box, self.box)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size_px: float | None = None,
        color: str = INK,
        bold: bool = False,
        ha: Literal["left", "center", "right"] = "left",
        va: Literal["baseline", "center", "center_baseline", "top", "bottom"] = "baseline",
        halo: bool = False,
    ) -> None:
        """Write one line of text."""
        from matplotlib import patheffects

        size_px = size_px or self.font_px
        effects = [patheffects.withStroke(linewidth=0.22 * size_px * self._points, foreground="w")]
        self._axes.text(
            x,
            y,
            text,
            fontsize=size_px * self._points,
            color=color,
            weight="bold" if bold else "normal",
            ha=ha,
            va=va,
            path_effects=effects if halo else None,
            zorder=5,
        )

    def text_width(self, text: str, *, size_px: float | None = None, bold: bool = False) -> float:
        """Return how wide a text is."""
        from matplotlib.font_manager import FontProperties

        font = FontProperties(
            size=(size_px or self.font_px) * self._points, weight="bold" if bold else "normal"
        )
        renderer: Any = self._agg.get_renderer()
        width, _, _ = renderer.get_text_width_height_descent(text, font, False)
        return float(width)

    def fitted(
        self, text: str, most_px: float, *, size_px: float | None = None, bold: bool = False
    ) -> str:
        """Return a text, cut to a width."""
        if self.text_width(text, size_px=size_px, bold=bold) <= most_px:
            return text
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            cut = text[:middle].rstrip() + "…"
            if self.text_width(cut, size_px=size_px, bold=bold) <= most_px:
                low = middle
            else:
                high = middle - 1
        return text[:low].rstrip() + "…"

    def dots(
        self,
        places: np.ndarray,
        rgb: np.ndarray,
        diameters_px: np.ndarray | float,
        *,
        within: Box | None = None,
        edge_px: float = 0.0,
        edge: str = "#ffffff",
    ) -> None:
        """Draw (n, 2) round dots, the first one lowest."""
        dots = self._axes.scatter(
            places[:, 0],
            places[:, 1],
            s=np.square(np.asarray(diameters_px) * self._points),
            c=rgb / 255,
            edgecolors=edge,
            linewidths=edge_px * self._points,
            zorder=3,
        )
        dots.set_rasterized(len(places) > _MOST_SHAPES)
        if within is not None:
            self._clip(dots, within)

    def segments(
        self, ends: np.ndarray, rgb: np.ndarray, *, width_px: float, within: Box | None = None
    ) -> None:
        """Draw (m, 2, 2) half transparent lines under the dots, the first one lowest."""
        from matplotlib.collections import LineCollection

        lines = LineCollection(
            list(ends), colors=rgb / 255, alpha=0.5, linewidths=width_px * self._points, zorder=2
        )
        lines.set_rasterized(len(ends) > _MOST_SHAPES)
        self._axes.add_collection(lines, autolim=False)
        if within is not None:
            self._clip(lines, within)

    def image(self, pixels: np.ndarray, box: Box) -> None:
        """Draw an (H, W, 4) uint8 picture into a box."""
        self._axes.imshow(
            pixels,
            extent=(box.left, box.right, box.bottom, box.top),
            aspect="auto",
            interpolation="nearest",  # none makes SVG viewers draw coarse pixels
            zorder=3,
        )

    def line(
        self,
        xs: Sequence[float],
        ys: Sequence[float],
        *,
        color: str = LINE,
        width_px: float = 1.0,
        within: Box | None = None,
        order: float = 1,
    ) -> None:
        """Draw a line."""
        (line,) = self._axes.plot(
            xs, ys, color=color, linewidth=width_px * self._points, zorder=order
        )
        if within is not None:
            self._clip(line, within)

    def frame(self, box: Box, *, color: str = LINE, width_px: float = 1.0) -> None:
        """Draw the edge of a box."""
        from matplotlib.patches import Rectangle

        self._axes.add_patch(
            Rectangle(
                (box.left, box.top),
                box.width,
                box.height,
                fill=False,
                edgecolor=color,
                linewidth=width_px * self._points,
                zorder=4,
            )
        )

    def render(self, file_format: FileFormat, *, title: str) -> bytes:
        """Return the file's bytes, without a date."""
        facts: dict[str, dict[str, Any]] = {
            "png": {"Title": title, "Software": _MAKER},
            "svg": {"Title": title, "Creator": _MAKER, "Date": None},
            "pdf": {"Title": title, "Creator": _MAKER, "Producer": _MAKER, "CreationDate": None},
        }
        buffer = io.BytesIO()
        self._figure.savefig(
            buffer, format=file_format, dpi=self._figure.dpi, metadata=facts[file_format]
        )
        return buffer.getvalue()

    def _clip(self, artist: Any, box: Box) -> None:
        from matplotlib.patches import Rectangle

        artist.set_clip_path(
            Rectangle((box.left, box.top), box.width, box.height, transform=self._axes.transData)
        )


def axes_in_pixels(figure: Any, whole: Box, part: Box) -> Axes:
    """Add axes that cover a part of a figure and count its pixels, y downwards."""
    axes: Axes = figure.add_axes(
        (
            part.left / whole.width,
            1 - part.bottom / whole.height,
            part.width / whole.width,
            part.height / whole.height,
        )
    )
    axes.set_axis_off()
    axes.set_autoscale_on(False)
    axes.set_xlim(part.left, part.right)
    axes.set_ylim(part.bottom, part.top)
    return axes
