"""One item is read: from the cache, or from its file by one decode for model and thumbnail."""

from __future__ import annotations

import hashlib
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from projector_export.encoding.cache import EmbeddingCache, Record
from projector_export.errors import DataError, ProjectorExportError
from projector_export.image_files import decode_image, on_white, read_image_file
from projector_export.thumbnails import fit_tile, text_tile


@dataclass(frozen=True)
class ReadItem:
    """One item, read: it has a vector from the cache, or else what the encoder takes.

    Attributes:
        digest: SHA-256 of the content; None without a cache.
        vector: (D,) float32 from the cache, or None.
        tile: (T, T, 4) uint8, or None where the export has no thumbnails.
        prepared: what the encoder takes.
        file: path and state of a file that the cache does not know in that state.
        tile_is_new: the cache does not have the tile.
    """

    digest: bytes | None
    vector: np.ndarray | None
    tile: np.ndarray | None
    prepared: Any = None
    file: tuple[Path, os.stat_result] | None = None
    tile_is_new: bool = False

    def record(self, vector: np.ndarray | None) -> Record | None:
        """Return what the cache does not have yet, together with a vector just computed."""
        tile = self.tile if self.tile_is_new else None
        if self.digest is None or (vector is None and tile is None and self.file is None):
            return None
        return Record(self.digest, vector, tile, self.file)


@dataclass
class Reader:
    """Reads items; called from several threads.

    Args:
        encoder: its `prepare` is called on each image that has to be embedded.
        cache: of that encoder, or None.
        tile_px: side of a thumbnail, or None where no item is an image.
        may_read: files are read while it is set.
        exact_decode: never decode a JPEG at a fraction of its size for the encoder.

    Raises:
        DataError: on the call, when the file cannot be read as an image.
    """

    encoder: Any
    cache: EmbeddingCache | None
    tile_px: int | None
    may_read: threading.Event
    exact_decode: bool

    def __post_init__(self) -> None:
        if self.tile_px is not None:
            self._text_tile = text_tile(self.tile_px)

    def __call__(self, content: Path | str) -> ReadItem:
        """Read an image file, or take a text."""
        if isinstance(content, str):
            return self._read_text(content)
        self.may_read.wait()
        if self.cache is None:
            return self._decode(content, read_image_file(content), None, None, None, None)
        try:
            facts = content.stat()
        except (OSError, ValueError):
            facts = None  # reading it says why
        digest = None if facts is None else self.cache.digest(content, facts)
        vector, tile = self._look_up(digest)
        if vector is not None and tile is not None:
            return ReadItem(digest, vector, tile)
        data = read_image_file(content)
        found = hashlib.sha256(data).digest()
        if found != digest:
            vector, tile = self._look_up(found)
        return self._decode(content, data, found, vector, tile, facts)

    def _look_up(self, digest: bytes | None) -> tuple[np.ndarray | None, np.ndarray | None]:
        if digest is None or self.cache is None or self.tile_px is None:
            return None, None
        return self.cache.vector(digest), self.cache.tile(digest, self.tile_px)

    def _decode(
        self,
        path: Path,
        data: bytes,
        digest: bytes | None,
        vector: np.ndarray | None,
        tile: np.ndarray | None,
        facts: os.stat_result | None,
    ) -> ReadItem:
        file = None if facts is None else (path, facts)
        if vector is not None and tile is not None:
            return ReadItem(digest, vector, tile, file=file)
        assert self.tile_px is not None
        image = enough = None
        if vector is None:
            enough = None if self.exact_decode else getattr(self.encoder, "decode_px", None)
            image = decode_image(data, path, at_least_px=enough)
        prepared = None if image is None else self._prepare(path, image)
        is_new = tile is None
        if tile is None:
            if image is None or (
                # The encoder may have taken less of a JPEG than a large tile needs.
                enough is not None and min(image.size) >= enough and max(image.size) < self.tile_px
            ):
                image = decode_image(data, path, at_least_px=2 * self.tile_px)
            tile = fit_tile(image, self.tile_px)
        return ReadItem(digest, vector, tile, prepared, file, is_new)

    def _prepare(self, path: Path, image: Image.Image) -> Any:
        try:
            return self.encoder.prepare(on_white(image))
        except (ProjectorExportError, MemoryError):
            raise
        except Exception as error:  # whatever an encoder trips over in one picture
            raise DataError(
                f"{path} cannot be prepared for the encoder ({type(error).__name__}: {error})"
            ) from error

    def _read_text(self, text: str) -> ReadItem:
        tile = None if self.tile_px is None else self._text_tile
        if self.cache is None:
            return ReadItem(None, None, tile, text)
        digest = hashlib.sha256(b"text\0" + text.encode("utf-8", "surrogatepass")).digest()
        vector = self.cache.vector(digest)
        return ReadItem(digest, vector, tile, text)
