"""Thumbnails are sent without loss where they are small, else so that the loss is not seen."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from projector_export.errors import DataError
from projector_export.projector.sprite import render_sprite
from projector_export.viewing.sharing import sprite as shared_sprite
from projector_export.viewing.sharing.sprite import encode_sprite, image_suffix, image_type


def photographs(n: int, tile_px: int = 32) -> bytes:
    """A sprite of n smooth, coloured pictures with letter-boxes; PNG."""
    rng = np.random.default_rng(0)
    tiles = np.zeros((n, tile_px, tile_px, 4), dtype=np.uint8)
    for tile in tiles:
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        smooth = coarse.resize((tile_px, tile_px), Image.Resampling.BICUBIC)
        noisy = np.asarray(smooth.filter(ImageFilter.GaussianBlur(1)), np.float32)
        noisy = noisy + rng.normal(0, 3, (tile_px, tile_px, 1))
        tile[..., :3] = noisy.clip(0, 255)
        tile[4:-4, :, 3] = 255
    return render_sprite(tiles)[0]


def pixels(image: bytes) -> np.ndarray:
    """(H, W, 4) uint8."""
    with Image.open(io.BytesIO(image)) as opened:
        return np.asarray(opened.convert("RGBA"))


def test_a_small_sprite_is_the_same_picture() -> None:
    """What can be seen is the same, and smaller."""
    sprite = photographs(100)
    shared = encode_sprite(sprite, 100)
    assert image_type(shared) == "image/webp"
    assert len(shared) < 0.9 * len(sprite)
    before, after = pixels(sprite), pixels(shared)
    np.testing.assert_array_equal(before[..., 3], after[..., 3])
    seen = before[..., 3] > 0
    np.testing.assert_array_equal(before[seen], after[seen])


def test_a_large_sprite_looks_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Much smaller; transparency kept exactly, brightness to 38 dB, which an eye does not see."""
    monkeypatch.setattr(shared_sprite, "SMALL_BYTES", 100_000)
    monkeypatch.setattr(shared_sprite, "_SAMPLE_PX", 512 * 64)
    sprite = photographs(250)
    shared = encode_sprite(sprite, 250)
    assert len(shared) < len(sprite) / 5
    before, after = pixels(sprite), pixels(shared)
    np.testing.assert_array_equal(before[..., 3], after[..., 3])
    seen = before[..., 3] > 0
    gray = [image[seen][:, :3].astype(float) @ (0.299, 0.587, 0.114) for image in (before, after)]
    assert 10 * np.log10(255**2 / np.mean((gray[0] - gray[1]) ** 2)) > 38


def test_quality_is_lowered_until_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's limit decides; never below quality 70, never better than 90."""
    monkeypatch.setattr(shared_sprite, "SMALL_BYTES", 10_000)
    sprite = photographs(250)
    sizes = {room: len(encode_sprite(sprite, 250, room_bytes=room)) for room in (0, 10**9)}
    free = len(encode_sprite(sprite, 250))
    assert sizes[0] < sizes[10**9] == free
    between = (sizes[0] + free) // 2
    assert sizes[0] < len(encode_sprite(sprite, 250, room_bytes=between)) <= between


def test_same_input_same_bytes() -> None:
    """Encoding has no clock and no chance in it."""
    sprite = photographs(20)
    assert encode_sprite(sprite, 20) == encode_sprite(sprite, 20)


def test_an_opaque_or_odd_sprite_is_taken_as_it_is() -> None:
    """Other programs' sprites may be JPEG, and nothing is made larger."""
    buffer = io.BytesIO()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(buffer, "JPEG")
    shared = encode_sprite(buffer.getvalue(), 4)
    assert shared == buffer.getvalue()
    assert image_suffix(shared) == ".jpeg"
    assert image_type(b"GIF89a") == "image/gif"
    assert image_suffix(b"what") == ""
    with pytest.raises(DataError, match="a sprite of the run cannot be read"):
        encode_sprite(b"no image", 4)
