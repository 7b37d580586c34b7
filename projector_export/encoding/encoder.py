"""What an encoder is, and how items go through one without losing their order.

Files are read, hashed, decoded and cut to size in threads, some batches ahead of the forward pass;
the cache is written beside it. All decisions that a result depends on are made in the items' order,
so neither the number of threads nor a kill and a second start changes which items share a batch.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from projector_export.encoding.cache import EmbeddingCache, Record
from projector_export.encoding.reading import Reader, ReadItem
from projector_export.errors import DataError, EncoderError, OptionError
from projector_export.image_files import in_order
from projector_export.points import Items, Points
from projector_export.progress import Progress, Step
from projector_export.settings import EncodeSettings
from projector_export.thumbnails import fitting_tile_px

DEFAULT_BATCH_SIZE = 64
RECORDS_A_WRITE = 256
# Part of every cache's key: raise it when the pixels that an encoder gets change.
DECODING = 1


class ImageEncoder(Protocol):
    """Turns images into vectors; `OpenClipEncoder` and `PixelsEncoder` are two.

    An encoder may also have these attributes:

    * `batch_size`: what "auto" means, default 64. `encode` raises MemoryError when a batch is too
      large; with "auto" it is then called again with halves.
    * `decode_px`: a JPEG may be decoded at a fraction of its size, while its shorter side has so
      many pixels. Without it, everything is decoded at full size.
    * `cache_key`: JSON-ready facts which differ whenever the vectors could (weights, preprocessing,
      version). Without it, nothing is cached.
    * `fills_cores`: whether `encode` uses all cores, so that files are better read before it.
    * `notes`: what the user should know, after encoding.
    """

    def prepare(self, image: Image.Image) -> Any:
        """Turn one RGB image into what `encode` takes; called from several threads."""

    def encode(self, prepared: Sequence[Any]) -> np.ndarray:
        """Return (B, D) float32, row i for prepared[i]."""

    def describe(self) -> Mapping[str, Any]:
        """Return JSON-ready facts for the manifest: model, weights, SHA-256."""


class TextEncoder(Protocol):
    """Turns texts into vectors; may have the attributes named in `ImageEncoder` too."""

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return (B, D) float32, row i for texts[i]."""

    def describe(self) -> Mapping[str, Any]:
        """Return JSON-ready facts for the manifest: model, weights, SHA-256."""


def encode(
    items: Items,
    encoder: ImageEncoder | TextEncoder,
    *,
    settings: EncodeSettings | None = None,
    progress: Progress | None = None,
) -> Points:
    """Encode items in batches; each image file is read and decoded once, for model and thumbnail.

    Args:
        items: N image files, texts, or both.
        encoder: see `ImageEncoder` and `TextEncoder`; both in one for items of both kinds.
        settings: of batches, threads, thumbnails and the cache.
        progress: called with the items done and left out.

    Returns:
        Points in the items' order, with thumbnails where any item is an image. Files that cannot be
        read have no point: they are listed with reasons in `origin["skipped"]`, after those that
        the source left out.

    Raises:
        DataError: fewer than two items can be read; or the first that cannot, with `strict`.
        EncoderError: the encoder did not return one finite vector an item, or memory ran out.
        OptionError: the encoder has no way to encode an item.
        OutputError: the cache's folder cannot be used.
    """
    settings = settings or EncodeSettings()
    _check_encoder(items, encoder)
    if settings.strict and items.skipped:
        first = items.skipped[0]
        raise DataError(f"{first['path']} is left out ({first['why']}), and strict stops there")
    cache = _open_cache(encoder, settings)
    try:
        return _Run(items, encoder, settings, cache, progress or _ignore).points()
    finally:
        if cache is not None:
            cache.close()


def _check_encoder(items: Items, encoder: object) -> None:
    kinds = {type(content) is str for content in items.contents}
    for is_text, method in ((False, "encode"), (True, "encode_texts")):
        if is_text in kinds and not hasattr(encoder, method):
            what = "texts" if is_text else "images"
            raise OptionError(
                f"{type(encoder).__name__} cannot encode {what} (it has no `{method}`); "
                "--encoder clip encodes both"
            )


def _open_cache(encoder: object, settings: EncodeSettings) -> EmbeddingCache | None:
    if settings.cache is None:
        return None
    key = getattr(encoder, "cache_key", None)  # may read the weights' file
    if key is None:
        return None
    kind = f"{type(encoder).__module__}.{type(encoder).__qualname__}"
    how = {"class": kind, "decoding": DECODING, "exact_decode": settings.exact_decode}
    return EmbeddingCache(settings.cache, {**key, **how})


class _Run:
    """One call of `encode`. A position counts the items that have a point."""

    def __init__(
        self,
        items: Items,
        encoder: Any,
        settings: EncodeSettings,
        cache: EmbeddingCache | None,
        tell: Progress,
    ) -> None:
        self.items, self.encoder, self.settings = items, encoder, settings
        self.cache, self.tell = cache, tell
        self.batch_size = None if settings.batch_size == "auto" else settings.batch_size
        self.may_read = threading.Event()
        self.may_read.set()
        has_images = any(type(content) is not str for content in items.contents)
        n = len(items)
        self.tile_px = fitting_tile_px(n, settings.thumbnail_px) if has_images else None
        self.vectors: np.ndarray | None = None  # (N, D), from the first vector on
        self.tiles: np.ndarray | None = None
        if self.tile_px is not None:
            self.tiles = np.empty((n, self.tile_px, self.tile_px, 4), dtype=np.uint8)
        self.rows: list[int] = []
        self.skipped = [dict(one) for one in items.skipped]
        self.first_with: dict[bytes, int] = {}
        self.copies: list[tuple[int, int]] = []
        self.computed = 0
        self.records: list[Record] = []
        self.writing: deque[Future[None]] = deque()

    def points(self) -> Points:
        """Encode all items."""
        contents, settings = self.items.contents, self.settings
        exact = settings.exact_decode
        reader = Reader(self.encoder, self.cache, self.tile_px, self.may_read, exact_decode=exact)
        threads = settings.threads or os.cpu_count() or 1
        queues: dict[bool, list[tuple[int, ReadItem]]] = {False: [], True: []}
        with ThreadPoolExecutor(1) as self.writer:
            jobs = in_order(
                reader,
                contents,
                # The batch size may be known only once the model is loaded.
                ahead=lambda: 2 * (self.batch_size or DEFAULT_BATCH_SIZE) + threads,
                threads=threads,
            )
            with closing(jobs):  # on an error no thread may read on, or ask the cache
                for row, job in enumerate(jobs):
                    is_text = type(contents[row]) is str
                    try:
                        self._take(row, job.result(), queues[is_text])
                    except DataError as error:
                        if settings.strict:
                            raise
                        self._skip(row, error)
                    if queues[is_text] and len(queues[is_text]) >= self._size():
                        self._encode_batch(queues[is_text], is_text)
                    self._tell(row + 1)
            for is_text, queue in queues.items():
                while queue:
                    self._encode_batch(queue, is_text)
            self._write()
        self._tell(len(contents))
        return self._finish()

    def _size(self) -> int:
        """Items a batch. The encoder is asked only now: it may have to load a model first."""
        if self.batch_size is None:
            self.batch_size = int(getattr(self.encoder, "batch_size", DEFAULT_BATCH_SIZE))
        return self.batch_size

    def _take(self, row: int, item: ReadItem, queue: list[tuple[int, ReadItem]]) -> None:
        """Give an item a position; queue it where no vector is known."""
        position = len(self.rows)
        self.rows.append(row)
        if self.tiles is not None:
            self.tiles[position] = item.tile
        first = None if item.digest is None else self.first_with.get(item.digest)
        if first is not None:
            self.copies.append((position, first))
            self._keep(item, None)
        elif item.vector is not None:
            self._place([position], item.vector[None])
            self._keep(item, None)
        else:
            if item.digest is not None:
                self.first_with[item.digest] = position
            queue.append((position, item))

    def _encode_batch(self, queue: list[tuple[int, ReadItem]], is_text: bool) -> None:
        """Encode the head of a queue, or make batches smaller when memory runs out."""
        batch = queue[: self._size()]
        work = self.encoder.encode_texts if is_text else self.encoder.encode
        if getattr(self.encoder, "fills_cores", False):
            # Decoding beside a forward pass on all cores makes each of its threads wait for the
            # slowest at every layer: one after the other is faster.
            self.may_read.clear()
        try:
            vectors = np.asarray(work([item.prepared for _, item in batch]), dtype=np.float32)
        except MemoryError as error:
            if self.settings.batch_size != "auto" or len(batch) == 1:
                raise EncoderError(
                    f"memory ran out with {len(batch)} items a batch; give --batch-size auto, a "
                    "smaller number, or --device cpu"
                ) from error
            self.batch_size = len(batch) // 2
            return
        finally:
            self.may_read.set()
        del queue[: len(batch)]
        if vectors.ndim != 2 or len(vectors) != len(batch):
            raise EncoderError(
                f"the encoder returned shape {vectors.shape} for {len(batch)} items; "
                "expected one row each"
            )
        if not np.isfinite(vectors).all():
            raise EncoderError("the encoder returned numbers that are not finite")
        self._place([position for position, _ in batch], vectors)
        self.computed += len(batch)
        for (_, item), vector in zip(batch, vectors, strict=True):
            self._keep(item, vector)
        self._write()  # a batch is kept whole, or not at all

    def _place(self, positions: Sequence[int], vectors: np.ndarray) -> None:
        if self.vectors is None:
            self.vectors = np.empty((len(self.items), vectors.shape[1]), dtype=np.float32)
        if vectors.shape[1] != self.vectors.shape[1]:
            raise EncoderError(
                f"the encoder returned vectors of {vectors.shape[1]} values after some of "
                f"{self.vectors.shape[1]}; expected one width"
            )
        self.vectors[positions] = vectors

    def _keep(self, item: ReadItem, vector: np.ndarray | None) -> None:
        """Note what the cache should keep of an item."""
        record = item.record(vector)
        if record is not None:
            self.records.append(record)
        if vector is None and len(self.records) >= RECORDS_A_WRITE:
            self._write()

    def _write(self) -> None:
        """Hand what was noted to the cache's thread; wait when that is two batches behind."""
        if self.cache is not None and self.records:
            self.writing.append(self.writer.submit(self.cache.keep, self.records))
            self.records = []
            while len(self.writing) > 2:
                self.writing.popleft().result()

    def _skip(self, row: int, error: DataError) -> None:
        # The file's name only: a manifest is shared, a home directory is not.
        path = Path(self.items.contents[row])
        columns = self.items.columns
        shown = str(columns["path"][row]) if "path" in columns.columns else path.name
        self.skipped.append({"path": shown, "why": str(error).replace(str(path), path.name)})

    def _tell(self, done: int) -> None:
        self.tell(Step("encoding", done, len(self.items), len(self.skipped)))

    def _finish(self) -> Points:
        items, kept = self.items, len(self.rows)
        if kept < 2 or self.vectors is None:
            why = f"; first: {self.skipped[0]['why']}" if self.skipped else ""
            raise DataError(
                f"{kept} of {len(items)} items of {items.name} can be read; "
                f"expected at least 2{why}"
            )
        for position, first in self.copies:
            self.vectors[position] = self.vectors[first]
        return Points(
            self.vectors[:kept],
            items.columns if kept == len(items) else items.columns[self.rows],
            name=items.name,
            thumbnails=None if self.tiles is None else self.tiles[:kept],
            origin={
                "source": items.source or items.name,
                **self._folders(),
                "encoder": dict(self.encoder.describe()),
                "encoded": {
                    "computed": self.computed,
                    "from_cache": kept - self.computed - len(self.copies),
                    "same_content": len(self.copies),
                    "batch_size": self.batch_size,
                },
                "skipped": self.skipped,
                "notes": self._notes(),
            },
        )

    def _folders(self) -> dict[str, str]:
        folders = {"source_folder": self.items.folder, "normal_folder": self.items.normal_folder}
        return {fact: folder for fact, folder in folders.items() if folder}

    def _notes(self) -> list[str]:
        trouble = self.cache.trouble if self.cache is not None else []
        return [*self.items.notes, *getattr(self.encoder, "notes", []), *trouble]


def _ignore(_: Step) -> None:
    pass
