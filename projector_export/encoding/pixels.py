"""A fixed descriptor of pictures: no model, no download, no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

SIDE_PX = 64
_GRID = 8
_CELLS = 4
_ORIENTATIONS = 8
_BINS = 5
_VERSION = 1


class PixelsEncoder:
    """Describes a picture by colour, layout and edges: 445 numbers, of unit length together.

    The picture is squeezed to 64 x 64 pixels. Three parts of equal weight follow, each of unit
    length:

    * layout: the mean lightness and two opponent colours (red - green, yellow - blue) of an 8 x 8
      grid, around mid-grey: 192 numbers;
    * colour: a histogram over 5 x 5 x 5 soft bins of the same three, square roots: 125 numbers;
    * edges: gradients by 8 orientations in a 4 x 4 grid, square roots, as in HOG (Dalal & Triggs
      2005): 128 numbers.

    It finds copies (scaled, compressed again, slightly brightened) and puts pictures of like
    colours and composition together. It knows nothing of what a picture shows: two photographs of
    one cat before different walls lie far apart. Use a CLIP model where meaning matters.
    """

    batch_size = 64
    decode_px = SIDE_PX * 3 // 2

    def prepare(self, image: Image.Image) -> np.ndarray:
        """Return an RGB picture squeezed to (64, 64, 3) uint8."""
        size = (SIDE_PX, SIDE_PX)
        return np.asarray(image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0))

    def encode(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        """Return (B, 445) float32 of unit length."""
        pixels = np.stack(prepared).astype(np.float32) / 255
        red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
        light = (red + green + blue) / 3
        opponents = np.stack([light, (red - green + 1) / 2, ((red + green) / 2 - blue + 1) / 2], -1)
        parts = [_layout(opponents), _histogram(opponents), _edges(light)]
        return _unit(np.concatenate([_unit(part) for part in parts], axis=1))

    def describe(self) -> Mapping[str, Any]:
        """Return the descriptor's name and version."""
        return {"encoder": "pixels", "version": _VERSION}

    @property
    def cache_key(self) -> Mapping[str, Any]:
        """Return what the vectors depend on."""
        return self.describe()


def _layout(opponents: np.ndarray) -> np.ndarray:
    """(B, 64, 64, 3) -> (B, 192), around mid-grey."""
    n, step = len(opponents), SIDE_PX // _GRID
    blocks = opponents.reshape(n, _GRID, step, _GRID, step, 3).mean(axis=(2, 4))
    return np.asarray(blocks.reshape(n, -1) - 0.5)


def _histogram(opponents: np.ndarray) -> np.ndarray:
    """(B, 64, 64, 3) -> (B, 125); a value is shared by its two nearest bins."""
    n = len(opponents)
    values = opponents[:, ::2, ::2].reshape(n, -1, 3)
    centres = np.linspace(0, 1, _BINS, dtype=np.float32)
    weights = np.maximum(0, 1 - np.abs(values[..., None] - centres) * (_BINS - 1))  # (B, P, 3, 5)
    pairs = weights[:, :, 0, :, None] * weights[:, :, 1, None, :]
    counts = pairs.reshape(n, -1, _BINS**2).transpose(0, 2, 1) @ weights[:, :, 2]
    return np.asarray(np.sqrt(counts.reshape(n, -1)))


def _edges(light: np.ndarray) -> np.ndarray:
    """(B, 64, 64) -> (B, 128); a gradient is shared by its two nearest orientations."""
    n, step = len(light), SIDE_PX // _CELLS
    across, down = np.zeros_like(light), np.zeros_like(light)
    across[:, :, 1:-1] = light[:, :, 2:] - light[:, :, :-2]
    down[:, 1:-1] = light[:, 2:] - light[:, :-2]
    strength = np.hypot(across, down)
    turn = np.arctan2(down, across) * (_ORIENTATIONS / np.pi) % _ORIENTATIONS
    cells = np.empty((n, _CELLS, _CELLS, _ORIENTATIONS), dtype=np.float32)
    for orientation in range(_ORIENTATIONS):
        away = np.abs(turn - orientation)
        share = np.maximum(0, 1 - np.minimum(away, _ORIENTATIONS - away)) * strength
        cells[..., orientation] = share.reshape(n, _CELLS, step, _CELLS, step).sum(axis=(2, 4))
    return np.asarray(np.sqrt(cells.reshape(n, -1)))


def _unit(rows: np.ndarray) -> np.ndarray:
    """Scale rows to unit length; a row of zeros (a picture without edges) stays."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12), dtype=np.float32)
