"""What an encoder is, and how items go through one without losing their order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from projector_export.errors import DataError, EncoderError
from projector_export.points import Items, Points
from projector_export.thumbnails import fit_tile, fitting_tile_px, in_order, open_image


class ImageEncoder(Protocol):
    """Turns images into vectors; `OpenClipEncoder` is one."""

    def prepare(self, image: Image.Image) -> Any:
        """Turn one RGB image into what `encode_images` takes; called from several threads."""

    def encode_images(self, prepared: Sequence[Any]) -> np.ndarray:
        """Return (B, D) float32, row i for prepared[i]."""

    def describe(self) -> Mapping[str, Any]:
        """Return JSON-ready facts for the manifest: model, weights, SHA-256."""


def encode(
    items: Items,
    encoder: ImageEncoder,
    *,
    batch_size: int = 64,
    thumbnail_px: int = 64,
    on_progress: Callable[[int, int], None] | None = None,
) -> Points:
    """Encode images in batches; each file is decoded once, for the model and the thumbnail.

    Args:
        items: N image files.
        encoder: see `ImageEncoder`.
        batch_size: images a forward pass.
        thumbnail_px: side of a thumbnail; lowered when so many would not fit into a sprite.
        on_progress: called with the items done and their number.

    Returns:
        Points in the items' order. Unreadable files have no point: they are listed with reasons
        in `origin["skipped"]`.

    Raises:
        DataError: fewer than two images can be read.
        EncoderError: the encoder did not return one finite vector an image.
    """
    tile_px = fitting_tile_px(len(items), thumbnail_px)

    def read(path: Path) -> tuple[Any, np.ndarray]:
        image = open_image(path)
        return encoder.prepare(_on_white(image)), fit_tile(image, tile_px)

    rows: list[int] = []
    skipped: list[dict[str, str]] = []
    tiles = np.empty((len(items), tile_px, tile_px, 4), dtype=np.uint8)
    batches: list[np.ndarray] = []
    waiting: list[Any] = []

    def flush() -> None:
        vectors = np.asarray(encoder.encode_images(waiting), dtype=np.float32)
        if vectors.ndim != 2 or len(vectors) != len(waiting):
            raise EncoderError(
                f"the encoder returned shape {vectors.shape} for {len(waiting)} images; "
                "expected one row each"
            )
        if not np.isfinite(vectors).all():
            raise EncoderError("the encoder returned numbers that are not finite")
        batches.append(vectors)
        waiting.clear()

    for row, job in enumerate(in_order(read, items.paths)):
        try:
            prepared, tile = job.result()
        except DataError as error:
            # The file's name only: a manifest is shared, a home directory is not.
            path = items.paths[row]
            shown = items.columns["path"][row] if "path" in items.columns.columns else path.name
            skipped.append({"path": shown, "why": str(error).replace(str(path), path.name)})
            continue
        tiles[len(rows)] = tile
        rows.append(row)
        waiting.append(prepared)
        if len(waiting) == batch_size:
            flush()
            if on_progress is not None:
                on_progress(row + 1, len(items))
    if waiting:
        flush()
    if on_progress is not None:
        on_progress(len(items), len(items))
    if len(rows) < 2:
        why = f"; first: {skipped[0]['why']}" if skipped else ""
        raise DataError(
            f"{len(rows)} of {len(items)} images of {items.name} can be read; "
            f"expected at least 2{why}"
        )
    return Points(
        np.concatenate(batches),
        items.columns[rows],
        name=items.name,
        thumbnails=tiles[: len(rows)],
        origin={"source": items.name, "encoder": dict(encoder.describe()), "skipped": skipped},
    )


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image).convert("RGB")
