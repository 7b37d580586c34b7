"""Image files become upright pictures, in the order of their paths."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from projector_export.errors import DataError
from projector_export.image_files import in_order, open_image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


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
