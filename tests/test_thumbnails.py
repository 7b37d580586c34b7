"""Image files become upright pictures and square tiles, in the order of their paths."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from projector_export.errors import DataError
from projector_export.thumbnails import (
    fit_tile,
    fitting_tile_px,
    grid_columns,
    in_order,
    missing_tile,
    open_image,
    read_thumbnails,
)

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
CLEAR = [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, "AB CD"),
        (2, "BA DC"),
        (3, "DC BA"),
        (4, "CD AB"),
        (5, "AC BD"),
        (6, "CA DB"),
        (7, "DB CA"),
        (8, "BD AC"),
    ],
)
def test_exif_orientation_is_applied(orientation: int, upright: str, tmp_path: Path) -> None:
    """`open_image`: upright by its EXIF orientation (Exif 2.3, tag 0x0112)."""
    colours = {"A": RED, "B": GREEN, "C": BLUE, "D": WHITE}
    image = Image.new("RGB", (2, 2))
    image.putdata([RED, GREEN, BLUE, WHITE])
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "x.png", exif=exif)
    seen = open_image(tmp_path / "x.png")
    for y, line in enumerate(upright.split()):
        for x, letter in enumerate(line):
            assert seen.getpixel((x, y)) == colours[letter]


def test_exif_orientation_swaps_the_sides(tmp_path: Path) -> None:
    """A portrait photograph stored lying is decoded standing."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20), RED).save(tmp_path / "x.jpg", exif=exif)
    assert open_image(tmp_path / "x.jpg").size == (20, 30)


def _palette(path: Path, *, transparent: bool) -> None:
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.save(path, **({"transparency": 1} if transparent else {}))


def _sixteen_bit(path: Path) -> None:
    # 257 times an 8-bit value is the same brightness in 16 bits.
    Image.fromarray(np.full((2, 2), 257 * 100, dtype=np.uint16)).save(path)


@pytest.mark.parametrize(
    ("file", "save", "pixel"),
    [
        ("p.png", lambda path: _palette(path, transparent=False), (10, 20, 30)),
        ("pt.png", lambda path: _palette(path, transparent=True), (10, 20, 30, 0)),
        ("p.gif", lambda path: _palette(path, transparent=False), (10, 20, 30)),
        ("la.png", lambda path: Image.new("LA", (2, 2), (9, 7)).save(path), (9, 9, 9, 7)),
        ("l.png", lambda path: Image.new("L", (2, 2), 9).save(path), (9, 9, 9)),
        ("bits.png", lambda path: Image.new("1", (2, 2), 1).save(path), (255, 255, 255)),
        ("16.png", _sixteen_bit, (100, 100, 100)),
        ("16.tif", _sixteen_bit, (100, 100, 100)),
        ("16.pgm", _sixteen_bit, (100, 100, 100)),
        ("cmyk.tif", lambda path: Image.new("CMYK", (2, 2), (0, 255, 255, 0)).save(path), RED),
        ("rgba.png", lambda path: Image.new("RGBA", (2, 2), (1, 2, 3, 4)).save(path), (1, 2, 3, 4)),
    ],
)
def test_every_mode_becomes_rgb_or_rgba(
    file: str, save: object, pixel: tuple[int, ...], tmp_path: Path
) -> None:
    """`open_image`: mode RGB, or RGBA where the file has transparency; brightness is kept."""
    assert callable(save)
    save(tmp_path / file)
    image = open_image(tmp_path / file)
    assert image.mode == ("RGB" if len(pixel) == 3 else "RGBA")
    assert image.getpixel((1, 1)) == pixel


def test_cmyk_jpeg_is_decoded_as_colours(tmp_path: Path) -> None:
    """Photographs for print are CMYK; JPEG itself may move a value by a few."""
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "x.jpg", quality=95)
    red, green, blue = open_image(tmp_path / "x.jpg").getpixel((8, 8))  # type: ignore[misc]
    assert red > 240
    assert max(green, blue) < 15


def test_first_frame_of_an_animation_is_shown(tmp_path: Path) -> None:
    """`open_image`: first frame."""
    frames = [Image.new("RGB", (2, 2), colour) for colour in (RED, BLUE)]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert open_image(tmp_path / "x.gif").getpixel((0, 0)) == RED


@pytest.mark.parametrize("file", ["cut.png", "cut.jpg", "empty.png", "text.png", "nope.png", "."])
def test_a_file_that_is_no_image_is_a_data_error(file: str, tmp_path: Path) -> None:
    """DataError: the file cannot be read as an image; says why."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for suffix in ("png", "jpg"):
        whole = tmp_path / f"whole.{suffix}"
        Image.fromarray(noise).save(whole)
        (tmp_path / f"cut.{suffix}").write_bytes(whole.read_bytes()[:2000])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(DataError, match=r"cannot be read as an image \(.+\)") as caught:
        open_image(tmp_path / file)
    assert str(caught.value).startswith(str(tmp_path / file))


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


def test_in_order_keeps_the_order_of_unequal_work() -> None:
    """`in_order`: the finished calls in order, however long each takes."""

    def work(path: Path) -> int:
        number = int(path.name)
        time.sleep(0.02 if number % 50 == 0 else 0)
        return number

    paths = [Path(str(i)) for i in range(600)]
    assert [job.result() for job in in_order(work, paths)] == list(range(600))


def test_in_order_hands_an_error_over_in_its_place() -> None:
    """`in_order`: an item that fails does not end the others."""

    def work(path: Path) -> str:
        if path.name == "b":
            raise DataError("b is broken")
        return path.name

    a, b, c = in_order(work, [Path("a"), Path("b"), Path("c")])
    assert (a.result(), c.result()) == ("a", "c")
    with pytest.raises(DataError, match="b is broken"):
        b.result()


def test_in_order_reads_only_some_ahead() -> None:
    """`in_order`: some ahead; 100,000 decoded pictures would not fit into memory."""
    started: list[int] = []

    def work(path: Path) -> int:
        started.append(int(path.name))
        return started[-1]

    jobs = in_order(work, [Path(str(i)) for i in range(2000)])
    next(jobs)
    time.sleep(0.05)
    assert len(started) < 400
    assert len(list(jobs)) == 1999


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
