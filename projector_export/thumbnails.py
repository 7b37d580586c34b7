"""Image files become upright pictures and square tiles; the sprite's grid sets the tiles' size.

The viewer's shader takes `mod(i, columns)` and `floor(i / rows)` in float32
(scatterPlotVisualizerSprites.ts): the grid must be as wide as high, and other than powers of two
give wrong thumbnails by rounding (TensorBoard issue 385). Transparent pixels are not drawn.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from projector_export.errors import DataError
from projector_export.limits import MAX_SPRITE_PX

IMAGE_SUFFIXES = frozenset(
    [".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif"]
)
_READ_AHEAD = 256
_T = TypeVar("_T")


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


def open_image(path: Path) -> Image.Image:
    """Decode a file: first frame, upright by its EXIF orientation, mode RGB or RGBA.

    Raises:
        DataError: the file cannot be read as an image; says why.
    """
    try:
        with Image.open(path, formats=_formats()) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
            if upright.mode[0] in "IF":  # more than 8 bits, which convert() would cut off at 255
                upright = _to_eight_bits(upright)
            has_alpha = upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info
            return upright.convert("RGBA" if has_alpha else "RGB")
    except Exception as error:  # Pillow's decoders raise what a broken file makes them trip over
        reason = str(error).replace(str(path), path.name) or type(error).__name__
        raise DataError(f"{path} cannot be read as an image ({reason})") from error


@cache
def _formats() -> tuple[str, ...]:
    """Pillow's decoders for IMAGE_SUFFIXES; it would choose any by content, Ghostscript too."""
    Image.init()
    wanted = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
    return tuple(name for name in wanted if name in Image.OPEN)


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Scale a grey image of 16 or 32 bits, or of floats, by the range that its values are in."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    if image.mode == "F":
        full = 1.0 if values.max() <= 1 else 255.0
    else:
        full = 255.0 if image.mode == "I" and values.max() <= 255 else 65535.0
    return Image.fromarray((np.clip(values / full, 0, 1) * 255).astype(np.uint8))


def fit_tile(image: Image.Image, tile_px: int) -> np.ndarray:
    """Return the whole image, centred and undistorted, on transparency: (T, T, 4) uint8."""
    scale = tile_px / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    resized = image.convert("RGBA").resize((width, height), Image.Resampling.BICUBIC)
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


def read_thumbnails(paths: Sequence[Path], tile_px: int) -> tuple[np.ndarray, dict[int, str]]:
    """Decode N files into (N, T, T, 4) uint8 tiles.

    Returns:
        The tiles, and the reason for each row that could not be read (its tile is crossed grey).
    """
    tiles = np.empty((len(paths), tile_px, tile_px, 4), dtype=np.uint8)
    failed: dict[int, str] = {}

    def read(path: Path) -> np.ndarray:
        return fit_tile(open_image(path), tile_px)

    for row, job in enumerate(in_order(read, paths)):
        try:
            tiles[row] = job.result()
        except DataError as error:
            tiles[row] = missing_tile(tile_px)
            failed[row] = str(error)
    return tiles, failed


def in_order(work: Callable[[Path], _T], paths: Sequence[Path]) -> Iterator[Future[_T]]:
    """Run `work` on each path in threads; give the finished calls in order, some ahead."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        ahead: deque[Future[_T]] = deque()
        for path in paths:
            ahead.append(pool.submit(work, path))
            if len(ahead) > _READ_AHEAD:
                yield ahead.popleft()
        yield from ahead
