"""The fixed descriptor: what it finds, measured, and what it needs: no torch."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
from encoding_doubles import WITHOUT_TORCH, write_pictures
from PIL import Image, ImageEnhance

from projector_export import PixelsEncoder
from projector_export.image_files import decode_image


def scene(seed: int) -> Image.Image:
    """A picture of soft blobs and boxes in random colours."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (rng.integers(2, 6), rng.integers(2, 6), 3), np.uint8)
    picture = Image.fromarray(small).resize((320, 240), Image.Resampling.BICUBIC)
    for _ in range(3):
        x, y = int(rng.integers(240)), int(rng.integers(180))
        picture.paste(tuple(map(int, rng.integers(0, 256, 3))), (x, y, x + 70, y + 50))
    return picture


def embed(pictures: list[Image.Image]) -> np.ndarray:
    """Vectors of pictures."""
    encoder = PixelsEncoder()
    return encoder.encode([encoder.prepare(picture) for picture in pictures])


def test_vectors_have_unit_length_and_fixed_values() -> None:
    """(B, 445) float32 of unit length; the same picture gives the same vector for ever."""
    vectors = embed([scene(1), Image.new("RGB", (5, 9), (255, 0, 0)), Image.new("RGB", (1, 1))])
    assert vectors.shape == (3, 445)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    red = vectors[1]  # lightness 1/3, red - green 1, yellow - blue 3/4; no edges
    np.testing.assert_allclose(red[:3] / red[0], [1, -3, -1.5], rtol=1e-5)
    bins = red[192:317].reshape(5, 5, 5)
    assert {tuple(place) for place in np.argwhere(bins > 1e-3)} == {(1, 4, 3), (2, 4, 3)}
    assert red[317:].tolist() == [0] * 128


def test_copies_are_nearest_neighbours() -> None:
    """Scaled, compressed and brightened copies of 200 pictures find the original first."""
    originals = [scene(seed) for seed in range(200)]
    copies = []
    for number, picture in enumerate(originals):
        copy = picture.resize((200, 150))
        if number % 2:
            copy = ImageEnhance.Brightness(copy).enhance(1.1)
        buffer = io.BytesIO()
        copy.save(buffer, "JPEG", quality=60)
        buffer.seek(0)
        copies.append(Image.open(buffer).convert("RGB"))
    nearest = (embed(copies) @ embed(originals).T).argmax(axis=1)
    found = float((nearest == np.arange(200)).mean())
    print(f"pixels: {found:.3f} of 200 changed copies have the original as nearest neighbour")
    assert found >= 0.99


def test_pictures_of_like_colours_lie_together() -> None:
    """The nearest other picture has the same dominant colour, whatever its composition."""
    rng = np.random.default_rng(0)
    hues = [(200, 40, 40), (40, 160, 60), (40, 70, 200), (220, 200, 60), (120, 60, 150)]
    pictures, colours = [], []
    for number in range(150):
        base = np.array(hues[number % 5])
        noisy = rng.normal(base, 12, (6, 8, 3)).clip(0, 255).astype(np.uint8)
        pictures.append(Image.fromarray(noisy).resize((160, 120), Image.Resampling.BICUBIC))
        colours.append(number % 5)
    similar = embed(pictures) @ embed(pictures).T
    np.fill_diagonal(similar, -1)
    same = np.array(colours)[similar.argmax(axis=1)] == np.array(colours)
    print(f"pixels: {same.mean():.3f} of 150 pictures have a nearest one of the same colour")
    assert same.mean() >= 0.98


def test_reduced_decoding_changes_little() -> None:
    """A JPEG decoded at an eighth gives nearly the same descriptor."""
    encoder = PixelsEncoder()
    cosines = []
    for seed in range(10):
        buffer = io.BytesIO()
        scene(seed).resize((1600, 1200), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        whole, reduced = (
            encoder.prepare(decode_image(buffer.getvalue(), None, at_least_px=px))  # type: ignore[arg-type]
            for px in (None, encoder.decode_px)
        )
        one, two = encoder.encode([whole, reduced])
        cosines.append(float(one @ two))
    assert min(cosines) >= 0.995


def test_no_torch_is_needed(tmp_path: Path) -> None:
    """The pixels path works where torch cannot be imported."""
    folder = write_pictures(tmp_path / "f", 9)
    argv = ["images", str(folder), str(tmp_path / "run"), "--encoder", "pixels", "--quiet"]
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *argv], check=True)
    assert (tmp_path / "run/f/tensor.bytes").stat().st_size == 9 * 445 * 4
