"""scikit-learn's handwritten digits as image files.

The 1,797 images of `sklearn.datasets.load_digits`, 8x8 values from 0 to 16. A file's path says
which row it is and which digit it shows: `three/digit_0003.png` is row 3.
"""

from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from projector_export.errors import DataError
from projector_export.points import Items

DIGIT_WORDS: Final[tuple[str, ...]] = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
)

HELD_OUT_SHARE: Final = 0.3
IMAGE_PX: Final = 64
_INK_MAX: Final = 16


class DigitSplit(NamedTuple):
    """Row numbers of the two parts, each sorted; together they are every row once."""

    train: NDArray[np.intp]
    held_out: NDArray[np.intp]


def render_digit(pixels: NDArray[Any]) -> Image.Image:
    """Draw one digit, white stroke on black; the same values give the same image.

    Args:
        pixels: (8, 8), any numeric dtype, 0 (black) to 16 (white).

    Returns:
        Mode "L", 64x64 px, upscaled bicubically.

    Raises:
        DataError: the shape is not (8, 8) or a value is outside 0 to 16.
    """
    if pixels.shape != (8, 8):
        raise DataError(f"got digit pixels of shape {pixels.shape}, expected (8, 8)")
    # Written so that NaN, which compares false with everything, is refused too.
    if not (pixels.min() >= 0 and pixels.max() <= _INK_MAX):
        raise DataError(
            f"got digit pixels from {pixels.min()} to {pixels.max()}, expected 0 to {_INK_MAX}; "
            "pass the values of sklearn.datasets.load_digits unscaled"
        )
    grey = np.rint(pixels * (255 / _INK_MAX)).astype(np.uint8)
    return Image.fromarray(grey).resize((IMAGE_PX, IMAGE_PX), Image.Resampling.BICUBIC)


def split_digits(labels: ArrayLike, *, seed: int = 0) -> DigitSplit:
    """Split rows 70/30 with every digit's share kept.

    Args:
        labels: (N,), one class a row; every class at least twice.
        seed: same seed and labels give the same split.

    Returns:
        Row numbers for training and held out; the 1,797 digits give 1,257 and 540.
    """
    from sklearn.model_selection import train_test_split

    classes = np.asarray(labels)
    train, held_out = train_test_split(
        np.arange(len(classes)), test_size=HELD_OUT_SHARE, stratify=classes, random_state=seed
    )
    return DigitSplit(train=np.sort(train), held_out=np.sort(held_out))


def digit_items(folder: Path) -> Items:
    """Write all digits as image files and return them in row order, labelled with the word."""
    paths = write_digit_images(folder)
    columns = {
        "label": [path.parent.name for path in paths],
        "path": [path.relative_to(folder).as_posix() for path in paths],
    }
    place = str(folder.resolve())
    return Items(tuple(paths), pl.DataFrame(columns), "digits", folder=place)


def write_digit_images(folder: Path) -> list[Path]:
    """Write all 1,797 digits as PNG files, `<word>/digit_<row>.png` under `folder`.

    Args:
        folder: made where missing; files of the same names are overwritten.

    Returns:
        Paths in row order: entry i is row i of scikit-learn's data.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    for word in DIGIT_WORDS:
        (folder / word).mkdir(parents=True, exist_ok=True)
    paths = []
    for row, (pixels, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = folder / DIGIT_WORDS[digit] / f"digit_{row:04d}.png"
        render_digit(pixels).save(path)
        paths.append(path)
    return paths
