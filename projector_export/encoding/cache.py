"""Vectors and thumbnails of earlier runs, so that a run embeds only what is new or changed.

One SQLite file for each encoder with its weights and preprocessing. A vector is found by the
SHA-256 of the item's content, so files may be moved and renamed. The content's hash is found by
path, size and time of change, so that a file which did not change is not even read. Each batch is
one transaction: a kill loses the batch under way and nothing else. Each record carries a checksum;
one that does not fit is as good as absent, and a file that SQLite cannot read is begun anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from projector_export.errors import OutputError

# A file changed within this time of being looked at may change again within one tick of its
# file system's clock, unseen ("racy" in git's words): it is read again next time.
RACY_NS = 2_000_000_000
_TABLES = """
CREATE TABLE IF NOT EXISTS about (fact TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER,
    digest BLOB, checksum BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS vectors (digest BLOB PRIMARY KEY, content BLOB, checksum BLOB);
CREATE TABLE IF NOT EXISTS tiles (digest BLOB, tile_px INTEGER, content BLOB, checksum BLOB,
    PRIMARY KEY (digest, tile_px));
"""
# What sqlite3 raises on a file that is not as it was written, in its messages' encoding too.
DAMAGE = (sqlite3.Error, UnicodeDecodeError, TypeError)
_T = TypeVar("_T")


@dataclass(frozen=True)
class Record:
    """What a batch leaves for the next run about one item.

    Attributes:
        digest: SHA-256 of the item's content.
        vector: (D,) float32, or None where the cache has it.
        tile: (T, T, 4) uint8, or None where the item has none or the cache has it.
        file: the item's path and its `os.stat_result` from before it was read, or None.
    """

    digest: bytes
    vector: np.ndarray | None
    tile: np.ndarray | None
    file: tuple[Path, os.stat_result] | None


class EmbeddingCache:
    """The vectors of one encoder; safe to use from threads, and from two processes at once.

    Args:
        folder: made when missing.
        fingerprint: JSON-ready facts; any difference between two encoders must be in them.

    Attributes:
        trouble: why the cache stopped working, or was begun anew; empty when all is well. A cache
            that does not work is no reason for an export to fail.

    Raises:
        OutputError: the folder cannot be made or written to.
    """

    def __init__(self, folder: Path, fingerprint: Mapping[str, Any]) -> None:
        self.trouble: list[str] = []
        self._fact = json.dumps(fingerprint, sort_keys=True, ensure_ascii=False)
        self.path = folder / f"{hashlib.sha256(self._fact.encode()).hexdigest()[:32]}.sqlite"
        self._lock = threading.Lock()
        self._off = False
        if folder.is_file():
            raise OutputError(f"{folder} is a file; give --cache a folder, or --cache none")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._connect()
        except (OSError, sqlite3.Error) as error:
            raise OutputError(
                f"{folder} cannot be used as the cache ({error}); give --cache another folder, or "
                "--cache none"
            ) from error

    def digest(self, path: Path, facts: os.stat_result) -> bytes | None:
        """Return the content's hash of a file that has not changed since it was last read."""
        row = self._try(
            lambda: self._db.execute(
                "SELECT digest, checksum FROM files WHERE path = ? AND size = ? AND mtime_ns = ?",
                (_path_key(path), facts.st_size, facts.st_mtime_ns),
            ).fetchone()
        )
        return row[0] if row and _checksum(row[0], _file_state(path, facts)) == row[1] else None

    def vector(self, digest: bytes) -> np.ndarray | None:
        """Return the (D,) float32 vector of an item, or None."""
        row = self._try(
            lambda: self._db.execute(
                "SELECT content, checksum FROM vectors WHERE digest = ?", (digest,)
            ).fetchone()
        )
        if row is None or _checksum(digest, row[0]) != row[1]:
            return None
        vector = np.frombuffer(row[0], dtype="<f4")
        return vector if np.isfinite(vector).all() else None

    def tile(self, digest: bytes, tile_px: int) -> np.ndarray | None:
        """Return the (T, T, 4) uint8 thumbnail of an item, or None."""
        row = self._try(
            lambda: self._db.execute(
                "SELECT content, checksum FROM tiles WHERE digest = ? AND tile_px = ?",
                (digest, tile_px),
            ).fetchone()
        )
        if row is None or _checksum(digest, row[0]) != row[1]:
            return None
        return np.frombuffer(row[0], dtype=np.uint8).reshape(tile_px, tile_px, 4)

    def keep(self, records: Sequence[Record]) -> None:
        """Keep a batch, all of it or nothing."""
        self._try(lambda: self._keep(records))

    def close(self) -> None:
        """Let go of the file."""
        with self._lock, suppress(sqlite3.Error):
            self._off = True
            self._db.close()

    def _keep(self, records: Sequence[Record]) -> None:
        now = time.time_ns()
        with self._transaction():
            for record in records:
                digest = record.digest
                if record.vector is not None:
                    content = record.vector.astype("<f4").tobytes()
                    self._db.execute(
                        "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)",
                        (digest, content, _checksum(digest, content)),
                    )
                if record.tile is not None:
                    content = record.tile.tobytes()
                    self._db.execute(
                        "INSERT OR REPLACE INTO tiles VALUES (?, ?, ?, ?)",
                        (digest, len(record.tile), content, _checksum(digest, content)),
                    )
                if record.file is not None and now - record.file[1].st_mtime_ns > RACY_NS:
                    path, facts = record.file
                    self._db.execute(
                        "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)",
                        (
                            _path_key(path),
                            facts.st_size,
                            facts.st_mtime_ns,
                            digest,
                            _checksum(digest, _file_state(path, facts)),
                        ),
                    )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")  # another run may write: wait for it now
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _try(self, work: Callable[[], _T]) -> _T | None:
        """Do something with the file; on trouble begin it anew, or go on without a cache."""
        with self._lock:
            if self._off:
                return None
            try:
                return work()
            except DAMAGE as error:
                if _is_damage(error):
                    self._begin_anew(error)
                else:  # a full disk, a lock held for a minute
                    self._off = True
                    self.trouble.append(f"the cache {self.path} was given up: {error}")
        return None

    def _connect(self) -> None:
        try:
            self._open()
        except DAMAGE as error:
            if not _is_damage(error):
                raise
            self._begin_anew(error)

    def _open(self) -> None:
        self._db = sqlite3.connect(
            self.path, timeout=60, isolation_level=None, check_same_thread=False
        )
        self._db.executescript(_TABLES)
        self._db.execute("INSERT OR IGNORE INTO about VALUES (?)", (self._fact,))

    def _begin_anew(self, error: Exception) -> None:
        self.trouble.append(f"the cache {self.path} was damaged ({error}) and is begun anew")
        with suppress(*DAMAGE, AttributeError):
            self._db.close()
        try:
            self.path.unlink(missing_ok=True)
            Path(f"{self.path}-journal").unlink(missing_ok=True)
            self._open()
        except (OSError, *DAMAGE) as again:
            self._off = True
            self.trouble.append(f"the cache {self.path} was given up: {again}")


def _path_key(path: Path) -> bytes:
    return os.fsencode(path.absolute())


def _file_state(path: Path, facts: os.stat_result) -> bytes:
    return b"%b %d %d" % (_path_key(path), facts.st_size, facts.st_mtime_ns)


def _checksum(digest: Any, content: Any) -> bytes:
    """Of a record; of one whose types are wrong, nothing that could be right."""
    if not (isinstance(digest, bytes) and len(digest) <= 64 and isinstance(content, bytes)):
        return b"damaged"
    return hashlib.blake2b(content, digest_size=8, key=digest).digest()


def _is_damage(error: Exception) -> bool:
    """Whether the file is to be begun anew, rather than left alone."""
    return not isinstance(error, sqlite3.OperationalError) or "no such" in str(error)
