"""Many thumbnails become one picture: composed here, not drawn one by one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image


@dataclass(frozen=True, eq=False)
class Tiles:
    """Thumbnails to be laid on a picture.

    Attributes:
        pixels: (n, T, T, 4) uint8 RGBA.
        places: (n, 2) centres in pixels of the picture.
        sides_px: (n,) sides.
        edges: (n, 3) uint8 colours of their edges.
        edge_px: width of the edges, inside the tile; (n,).
        strength: (n,) from 0, white, to 1, as it is.
    """

    pixels: np.ndarray
    places: np.ndarray
    sides_px: np.ndarray
    edges: np.ndarray
    edge_px: np.ndarray
    strength: np.ndarray


def compose_tiles(tiles: Tiles, *, width_px: int, height_px: int) -> np.ndarray:
    """Return (H, W, 4) uint8, transparent where no tile is; the first tile lies lowest."""
    picture = Image.new("RGBA", (width_px, height_px), (255, 255, 255, 0))
    sides = np.maximum(1, np.rint(tiles.sides_px)).astype(int)
    corners = np.rint(tiles.places - sides[:, None] / 2).astype(int)
    for i, side in enumerate(sides):
        x, y = int(corners[i, 0]), int(corners[i, 1])
        if -side < x < width_px and -side < y < height_px:
            tile = _fitted(tiles.pixels[i], int(side), float(tiles.strength[i]))
            _draw_edge(tile, tiles.edges[i], round(float(tiles.edge_px[i])))
            # Places beyond the edge are cut off by paste; alpha_composite would refuse them.
            image = Image.fromarray(tile)
            picture.paste(image, (x, y), image)
    return np.asarray(picture)


def enlarge(pixels: np.ndarray, side_px: int) -> np.ndarray:
    """Return a (T, T, 4) tile at another size."""
    kind = Image.Resampling.LANCZOS if side_px < len(pixels) else Image.Resampling.BICUBIC
    return np.array(Image.fromarray(pixels).resize((side_px, side_px), kind))


def _fitted(pixels: np.ndarray, side_px: int, strength: float) -> np.ndarray:
    tile = enlarge(pixels, side_px)
    if strength < 1:
        faded = 255 - (255 - tile[..., :3].astype(np.float32)) * strength
        tile[..., :3] = faded.astype(np.uint8)
    return tile


def _draw_edge(tile: np.ndarray, color: np.ndarray, width: int) -> None:
    if width <= 0:
        return
    opaque = np.append(color, 255)
    tile[:width] = tile[-width:] = opaque
    tile[:, :width] = tile[:, -width:] = opaque[None]
