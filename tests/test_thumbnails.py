"""Pictures become square tiles, in the order of their paths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from projector_export.errors import DataError
from projector_export.thumbnails import (
    fit_tile,
    fitting_tile_px,
    grid_columns,
    missing_tile,
    read_thumbnails,
)

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
CLEAR = [0, 0, 0, 0]


def test_a_wide_image_is_letter_boxed_with_transparency() -> None:
    """`fit_tile`: the whole image, centred and undistorted, on transparency."""
    image = Image.new("RGB", (40, 20), RED)
    image.paste(BLUE, (20, 0, 40, 20))
    tile = fit_tile(image, 8)
    assert tile.shape == (8, 8, 4)
    assert tile.dtype == np.dtype("uint8")
    assert tile[:2].tolist() == [[CLEAR] * 8] * 2
    assert tile[6:].tolist() == [[CLEAR] * 8] * 2
    assert tile[2:6, :, 3].tolist() == [[255] * 8] * 4
    assert tile[3, 0].tolist() == [255, 0, 0, 255]
    assert tile[3, 7].tolist() == [0, 0, 255, 255]


def test_a_tall_image_is_letter_boxed_with_transparency() -> None:
    """`fit_tile`: a fully transparent pixel is not drawn by the viewer."""
    tile = fit_tile(Image.new("L", (10, 40), 200), 8)
    assert tile[:, :, 3].tolist() == [[0, 0, 0, 255, 255, 0, 0, 0]] * 8
    assert tile[0, 3].tolist() == [200, 200, 200, 255]
    assert tile[0, 0].tolist() == CLEAR


def test_a_small_image_is_enlarged_to_the_tile() -> None:
    """`fit_tile`: the tile shows the whole image as large as it can."""
    assert fit_tile(Image.new("RGB", (2, 2), GREEN), 6).tolist() == [[[0, 255, 0, 255]] * 6] * 6


def test_an_extreme_shape_keeps_at_least_a_pixel() -> None:
    """`fit_tile`: a line of 1,000 x 1 px is still seen."""
    tile = fit_tile(Image.new("RGB", (1000, 1), GREEN), 8)
    assert tile[:, :, 3].sum(axis=1).tolist().count(8 * 255) == 1


def test_own_transparency_is_kept() -> None:
    """A picture's own transparent parts stay transparent."""
    image = Image.new("RGBA", (4, 4), (9, 9, 9, 255))
    image.paste((0, 0, 0, 0), (0, 0, 4, 2))
    tile = fit_tile(image, 4)
    assert tile[:, 0, 3].tolist() == [0, 0, 255, 255]


def test_the_missing_tile_is_a_white_cross_on_grey() -> None:
    """`missing_tile`: the crossed grey tile of an item without a readable image."""
    tile = missing_tile(5)
    grey, white = [128, 128, 128, 255], [255, 255, 255, 255]
    crossed = ["x...x", ".x.x.", "..x..", ".x.x.", "x...x"]
    expected = [[white if letter == "x" else grey for letter in line] for line in crossed]
    assert tile.tolist() == expected


def test_thumbnails_come_in_the_order_of_the_paths(tmp_path: Path) -> None:
    """`read_thumbnails`: N files into (N, T, T, 4); the reason for each row that failed."""
    paths = []
    for i in range(12):
        # Large and small in turn, so that the threads finish out of order.
        side = 600 if i % 2 == 0 else 4
        Image.new("RGB", (side, side), (20 * i, 0, 0)).save(tmp_path / f"{i}.png")
        paths.append(tmp_path / f"{i}.png")
    (tmp_path / "5.png").write_bytes(b"broken")
    tiles, failed = read_thumbnails(paths[::-1], 3)
    assert tiles[:, 1, 0, 0].tolist() == [220, 200, 180, 160, 140, 120, 128, 80, 60, 40, 20, 0]
    assert list(failed) == [6]
    assert "5.png cannot be read as an image" in failed[6]


@pytest.mark.parametrize(
    ("n", "columns", "tile_px"),
    [
        (1, 1, 64),
        (2, 2, 64),
        (4, 2, 64),
        (5, 4, 64),
        (1_797, 64, 64),
        (16_384, 128, 64),
        (16_385, 256, 32),
        (20_000, 256, 32),
        (100_000, 512, 16),
    ],
)
def test_the_grid_is_a_power_of_two_that_the_browser_takes(
    n: int, columns: int, tile_px: int
) -> None:
    """At most 8192 px a side; a power of two avoids wrong thumbnails (TensorBoard issue 385)."""
    assert grid_columns(n) == columns
    assert fitting_tile_px(n, 64) == tile_px
    assert columns * tile_px <= 8192
    assert columns * columns >= n


def test_a_tile_is_only_ever_lowered() -> None:
    """`fitting_tile_px`: lowered so that n tiles stay within the viewer's limit."""
    assert fitting_tile_px(2, 10) == 10
    assert fitting_tile_px(2, 10_000) == 4096
    assert fitting_tile_px(1_797, 1024) == 128


def test_more_tiles_than_pixels_are_refused() -> None:
    """DataError: not even 1 px a tile fits."""
    with pytest.raises(DataError, match="67108865 thumbnails do not fit into 8192 px"):
        fitting_tile_px(8192 * 8192 + 1, 64)
