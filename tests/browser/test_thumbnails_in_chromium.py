"""Transparent, tall, wide and turned pictures: each thumbnail upright, whole and undistorted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw
from viewer import DEEP, ProjectorPage, projector_url

from projector_export.cli import main
from projector_export.viewing.serve import start_tensorboard

pytestmark = pytest.mark.browser

TILE_PX = 64
CORNERS = {"top left": (255, 0, 0), "top right": (0, 160, 0),
           "bottom left": (0, 0, 255), "bottom right": (255, 200, 0)}  # fmt: skip
SHAPES = {"tall": (60, 240), "wide": (240, 60), "square": (128, 128), "small": (20, 10)}
READ_PIXELS = (
    DEEP
    + """
const image = viewer.dataSet.spriteAndMetadataInfo.spriteImage;
const canvas = document.createElement('canvas');
canvas.width = image.width; canvas.height = image.height;
const context = canvas.getContext('2d');
context.drawImage(image, 0, 0);
return {width: image.width, pixels: places.map(
  ([x, y]) => Array.from(context.getImageData(x, y, 1, 1).data))};
"""
)


def picture(size: tuple[int, int], *, transparent: bool) -> Image.Image:
    """A picture with a colour in each corner, and an empty middle."""
    image = Image.new("RGBA", size, (0, 0, 0, 0) if transparent else (128, 128, 128, 255))
    draw, (width, height) = ImageDraw.Draw(image), size
    third = (width // 3, height // 3)
    for corner, colour in CORNERS.items():
        x = 0 if "left" in corner else width - third[0]
        y = 0 if "top" in corner else height - third[1]
        draw.rectangle((x, y, x + third[0], y + third[1]), fill=(*colour, 255))
    return image


@pytest.fixture(scope="module")
def page(
    chromium: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ProjectorPage, list[tuple[int, int]]]]:
    """The viewer on 32 such pictures, and their sizes in row order."""
    base = tmp_path_factory.mktemp("thumbnails")
    folder = base / "pictures"
    folder.mkdir()
    sizes = []
    for number in range(32):
        name, size = list(SHAPES.items())[number % 4]
        file = folder / f"{number:02d}_{name}"
        sizes.append(size)
        if number % 8 == 4:  # stored lying, shown standing
            exif = Image.Exif()
            exif[0x0112] = 6
            turned = picture(size, transparent=False).transpose(Image.Transpose.ROTATE_90)
            turned.convert("RGB").save(file.with_suffix(".jpg"), exif=exif, quality=95)
        else:
            picture(size, transparent=True).save(file.with_suffix(".png"))
    with pytest.raises(SystemExit):
        main(["images", str(folder), str(base / "logs/run"), "--encoder", "pixels", "--quiet"])
    server = start_tensorboard(base / "logs")
    page = ProjectorPage(chromium, projector_url(server.port))
    yield page, sizes
    page.close()
    server.stop()


def test_every_thumbnail_is_upright_whole_and_undistorted(
    page: tuple[ProjectorPage, list[tuple[int, int]]],
) -> None:
    """In the browser, each corner's colour is where the picture's proportions put it."""
    viewer, sizes = page
    places, expected = [], []
    for row, size in enumerate(sizes):
        left, top = row % 8 * TILE_PX, row // 8 * TILE_PX
        width, height = (round(side * TILE_PX / max(size)) for side in size)
        x0, y0 = left + (TILE_PX - width) // 2, top + (TILE_PX - height) // 2
        for corner, colour in CORNERS.items():
            x = x0 + 2 if "left" in corner else x0 + width - 3
            y = y0 + 2 if "top" in corner else y0 + height - 3
            places.append((x, y))
            expected.append((row, corner, colour))
        if size[0] != size[1]:  # beside the picture there is nothing
            places.append((left + 1, top + 1) if size[0] < size[1] else (left + 32, top + 1))
            expected.append((row, "beside", None))
    code = "(places) => {" + READ_PIXELS + "}"
    read = viewer.page.evaluate(code, places)
    assert read["width"] == 8 * TILE_PX
    for (row, corner, colour), pixel in zip(expected, read["pixels"], strict=True):
        if colour is None:
            assert pixel[3] == 0, (row, corner, pixel)
        else:
            assert pixel[3] == 255, (row, corner, pixel)
            assert pixel[:3] == pytest.approx(colour, abs=40), (row, corner)
    assert viewer.errors == []


def test_they_are_drawn(page: tuple[ProjectorPage, list[tuple[int, int]]]) -> None:
    """All points are there, with the sprite, in a bookmarked view."""
    viewer, sizes = page
    viewer.open_bookmark(viewer.state()["bookmarks"][0])
    state = viewer.state()
    assert state["points"] == len(sizes)
    assert state["sprite"]
    assert viewer.errors == []
    if folder := os.environ.get("PROJECTOR_EXPORT_SCREENSHOTS"):
        viewer.page.screenshot(path=str(Path(folder) / "thumbnails.png"))
