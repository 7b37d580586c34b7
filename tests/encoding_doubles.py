"""Encoders whose vectors are arithmetic on the input, so that a lost order shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


class ColourEncoder:
    """The vector tells the colour of the picture's corner; counts what it was asked to do."""

    cache_key = {"encoder": "colour"}  # noqa: RUF012

    def __init__(self) -> None:
        self.prepared = 0
        self.batches: list[int] = []

    def prepare(self, image: Image.Image) -> np.ndarray:
        self.prepared += 1
        return np.asarray(image, np.float32)[0, 0]

    def encode(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        self.batches.append(len(prepared))
        return np.stack([np.append(colour, 1) for colour in prepared]).astype(np.float32)

    def describe(self) -> dict[str, str]:
        return {"encoder": "colour"}


class LengthEncoder:
    """The vector tells a text's length and first letter."""

    cache_key = {"encoder": "length"}  # noqa: RUF012

    def __init__(self) -> None:
        self.batches: list[int] = []

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        self.batches.append(len(texts))
        return np.array([[len(text), ord(text[0]), 1] for text in texts], np.float32)

    def describe(self) -> dict[str, str]:
        return {"encoder": "length"}


WITHOUT_TORCH = """
import sys
import scipy.stats, sklearn  # these look into sys.modules for torch, before it is barred

class Barred:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "open_clip"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Barred())
from projector_export.cli import main
main(sys.argv[1:])
"""
"""The command line in a Python that cannot import torch, but finds that it is installed."""


def colour(item: int) -> tuple[int, int, int]:
    """Return a colour of its own for each of 16,000 items."""
    return (item % 250, item // 250, 7)


def write_pictures(folder: Path, n: int, *, first: int = 0) -> Path:
    """Write pictures `0000.png`, ... whose colours say which they are."""
    folder.mkdir(parents=True, exist_ok=True)
    for item in range(first, first + n):
        Image.new("RGB", (12, 8), colour(item)).save(folder / f"{item:04d}.png")
    return folder
