"""sprite.png: tile i is thumbnail i, in a square grid of a power of two."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

import projector_export.thumbnails
from projector_export.projector.sprite import render_sprite


def _thumbnails(n: int, side: int) -> np.ndarray:
    """Tile i has the colour (i + 1, 2 i, 255 - i); no two are alike."""
    tiles = np.full((n, side, side, 4), 255, dtype=np.uint8)
    for i in range(n):
        tiles[i, :, :, :3] = [i + 1, 2 * i, 255 - i]
    return tiles


def _decode(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        assert image.mode == "RGBA"
        return np.asarray(image)


@pytest.mark.parametrize(("n", "columns"), [(2, 2), (4, 2), (5, 4), (16, 4), (17, 8)])
def test_tile_i_is_thumbnail_i(n: int, columns: int) -> None:
    """Row-major; as many columns as rows, a power of two; unused area is transparent."""
    png, tile_px = render_sprite(_thumbnails(n, 3))
    sheet = _decode(png)
    assert tile_px == 3
    assert sheet.shape == (3 * columns, 3 * columns, 4)
    for i in range(columns * columns):
        top, left = 3 * (i // columns), 3 * (i % columns)
        tile = sheet[top : top + 3, left : left + 3]
        colour = [i + 1, 2 * i, 255 - i, 255] if i < n else [0, 0, 0, 0]
        assert tile.reshape(9, 4).tolist() == [colour] * 9, f"tile {i}"


def test_pixels_of_a_tile_keep_their_place() -> None:
    """A tile is neither mirrored nor turned."""
    tiles = np.zeros((2, 2, 2, 4), dtype=np.uint8)
    tiles[1] = [[[1, 0, 0, 255], [2, 0, 0, 255]], [[3, 0, 0, 255], [4, 0, 0, 255]]]
    sheet = _decode(render_sprite(tiles)[0])
    assert sheet[:, :, 0].tolist() == [[0, 0, 1, 2], [0, 0, 3, 4], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_permuting_thumbnails_permutes_tiles() -> None:
    """Permuting the items permutes every output."""
    order = [3, 0, 4, 1, 2]
    sheet = _decode(render_sprite(_thumbnails(5, 1)[order])[0])
    assert sheet.reshape(16, 4)[:5, 0].tolist() == [4, 1, 5, 2, 3]


def test_tiles_too_large_for_the_browser_are_lowered(monkeypatch: pytest.MonkeyPatch) -> None:
    """T is lowered when the grid would not fit: at most 8192 px a side (here 16)."""
    monkeypatch.setattr(projector_export.thumbnails, "MAX_SPRITE_PX", 16)
    png, tile_px = render_sprite(_thumbnails(5, 8))
    assert tile_px == 4
    sheet = _decode(png)
    assert sheet.shape == (16, 16, 4)
    centres = sheet[2::4, 2::4].reshape(16, 4)
    assert centres[:5, 0].tolist() == [1, 2, 3, 4, 5]
    assert centres[5:, 3].tolist() == [0] * 11


def test_same_thumbnails_give_the_same_bytes() -> None:
    """Writing twice gives the same bytes."""
    assert render_sprite(_thumbnails(5, 8)) == render_sprite(_thumbnails(5, 8))
