"""sprite.png: all thumbnails in one square grid; see thumbnails.py for why it is square."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from projector_export.thumbnails import fitting_tile_px, grid_columns


def render_sprite(thumbnails: np.ndarray) -> tuple[bytes, int]:
    """Return the sprite as PNG and the side of its tiles in pixels.

    Args:
        thumbnails: (N, T, T, 4) uint8; tile i, counted row by row, is thumbnail i. T is lowered
            when the grid would not fit.
    """
    n, side = len(thumbnails), thumbnails.shape[1]
    columns, tile_px = grid_columns(n), fitting_tile_px(n, side)
    # Tiles are laid out as (row, y, column, x): the image itself once the axes are merged.
    sheet = np.zeros((columns, tile_px, columns, tile_px, 4), dtype=np.uint8)
    for i, thumbnail in enumerate(thumbnails):
        tile = thumbnail
        if side != tile_px:
            image = Image.fromarray(thumbnail).resize((tile_px, tile_px), Image.Resampling.BOX)
            tile = np.asarray(image)
        sheet[i // columns, :, i % columns] = tile
    width = columns * tile_px
    buffer = io.BytesIO()
    # Level 1: photographs compress hardly better at higher levels, only slower.
    Image.fromarray(sheet.reshape(width, width, 4)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue(), tile_px
