"""Make JPEG photographs of about one megapixel, for timing: natural spectra, edges, sensor noise.

    python scripts/make_photos.py N FOLDER

Sizes and proportions vary. Fields of random phase with the 1/f amplitudes of natural images (Field
1987) are mixed into colours; discs and boxes add edges. Photograph i is the same on every run.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

FIELD_PX = 1536
SHAPES = (4 / 3, 3 / 2, 16 / 9, 1, 3 / 4, 2 / 3)


@cache
def fields() -> np.ndarray:
    """(6, F, F) float32 of mean 0 and deviation 1."""
    rng = np.random.default_rng(0)
    down, across = np.fft.fftfreq(FIELD_PX)[:, None], np.fft.rfftfreq(FIELD_PX)[None]
    amplitude = 1 / np.maximum(np.hypot(down, across), 1 / FIELD_PX)
    made = []
    for _ in range(6):
        phase = np.exp(2j * np.pi * rng.random(amplitude.shape))
        field = np.fft.irfft2(amplitude * phase, s=(FIELD_PX, FIELD_PX))
        made.append(((field - field.mean()) / field.std()).astype(np.float32))
    return np.stack(made)


def photo(number: int) -> Image.Image:
    """Return photograph `number`."""
    rng = np.random.default_rng(number)
    shape, pixels = SHAPES[rng.integers(len(SHAPES))], rng.uniform(0.8, 1.2) * 1e6
    width = int((pixels * shape) ** 0.5)
    height = int(width / shape)
    crops = []
    for field in rng.choice(len(fields()), 3, replace=False):
        top, left = rng.integers(FIELD_PX - height + 1), rng.integers(FIELD_PX - width + 1)
        crops.append(fields()[field, top : top + height, left : left + width])
    mix = rng.normal(0, 25, (3, 3)) + 22  # the common part makes light and shade
    image = np.stack(crops, axis=-1) @ mix.astype(np.float32) + rng.uniform(80, 160, 3)
    picture = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.integers(3, 14)):
        x, y, radius = rng.integers(width), rng.integers(height), rng.integers(15, width // 5)
        box = (x - radius, y - radius, x + radius, y + radius * rng.uniform(0.3, 1.5))
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        (draw.ellipse if rng.random() < 0.5 else draw.rectangle)(box, fill=colour)
    picture = picture.filter(ImageFilter.GaussianBlur(0.6))
    noisy = np.asarray(picture, np.float32) + rng.normal(0, 3, (height, width, 1))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def write(folder: Path, number: int) -> None:
    """Write photograph `number` unless it is there."""
    path = folder / f"{number:05d}.jpg"
    if not path.exists():
        photo(number).save(path, quality=90)


def main() -> None:
    """Write N photographs."""
    n, folder = int(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor() as pool:
        list(pool.map(partial(write, folder), range(n), chunksize=16))


if __name__ == "__main__":
    main()
