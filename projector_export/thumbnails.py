"""Pictures become square tiles; the sprite's grid sets their size.

The viewer's shader takes `mod(i, columns)` and `floor(i / rows)` in float32
(scatterPlotVisualizerSprites.ts): the grid must be as wide as high, and other than powers of two
give wrong thumbnails by rounding (TensorBoard issue 385). Transparent pixels are not drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from projector_export.errors import DataError
from projector_export.image_files import in_order, open_image
from projector_export.limits import MAX_SPRITE_PX


def grid_columns(n: int) -> int:
    """Return the smallest power of two whose square holds n tiles."""
    columns = 1
    while columns * columns < n:
        columns *= 2
    return columns


def fitting_tile_px(n: int, wanted_px: int) -> int:
    """Return the side of a tile, lowered so that n tiles stay within the viewer's limit.

    Raises:
        DataError: not even 1 px a tile fits.
    """
    tile_px = min(wanted_px, MAX_SPRITE_PX // grid_columns(n))
    if tile_px < 1:
        raise DataError(f"{n} thumbnails do not fit into {MAX_SPRITE_PX} px; thin the points first")
    return tile_px


def fit_tile(image: Image.Image, tile_px: int) -> np.ndarray:
    """Return the whole image, centred and undistorted, on transparency: (T, T, 4) uint8."""
    scale = tile_px / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    if image.mode not in ("RGB", "RGBA"):
        image = image.convert("RGB")
    # Whole pixels are averaged first, down to twice the size: as good to look at, and faster.
    resized = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)
    tile = Image.new("RGBA", (tile_px, tile_px), (0, 0, 0, 0))
    tile.paste(resized, ((tile_px - width) // 2, (tile_px - height) // 2))
    return np.asarray(tile)


def missing_tile(tile_px: int) -> np.ndarray:
    """Return the crossed grey tile of an item without a readable image (transparent is unseen)."""
    tile = Image.new("RGBA", (tile_px, tile_px), (128, 128, 128, 255))
    corner = tile_px - 1
    draw = ImageDraw.Draw(tile)
    draw.line((0, 0, corner, corner), fill=(255, 255, 255, 255))
    draw.line((0, corner, corner, 0), fill=(255, 255, 255, 255))
    return np.asarray(tile)


def text_tile(tile_px: int) -> np.ndarray:
    """Return the tile of an item that is a text: a white page with grey lines."""
    tile = Image.new("RGBA", (tile_px, tile_px), (255, 255, 255, 255))
    draw = ImageDraw.Draw(tile)
    margin, lines = tile_px // 8, 4
    for line in range(lines):
        y = round((line + 1) * tile_px / (lines + 1))
        right = tile_px - 1 - margin * (3 if line == lines - 1 else 1)
        draw.line((margin, y, right, y), fill=(120, 130, 150, 255), width=max(1, tile_px // 16))
    return np.asarray(tile)


def read_thumbnails(paths: Sequence[Path], tile_px: int) -> tuple[np.ndarray, dict[int, str]]:
    """Decode N files into (N, T, T, 4) uint8 tiles.

    Returns:
        The tiles, and the reason for each row that could not be read (its tile is crossed grey).
    """
    tiles = np.empty((len(paths), tile_px, tile_px, 4), dtype=np.uint8)
    failed: dict[int, str] = {}

    def read(path: Path) -> np.ndarray:
        return fit_tile(open_image(path, at_least_px=2 * tile_px), tile_px)

    for row, job in enumerate(in_order(read, paths)):
        try:
            tiles[row] = job.result()
        except DataError as error:
            tiles[row] = missing_tile(tile_px)
            failed[row] = str(error)
    return tiles, failed
