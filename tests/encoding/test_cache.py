"""The cache survives torn files, wrong records, a full disk and two runs at once."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from encoding_doubles import ColourEncoder, write_pictures

from projector_export import EncodeSettings, encode, read_images
from projector_export.encoding.cache import EmbeddingCache, Record
from projector_export.errors import OutputError

DIGEST = bytes(range(32))
VECTOR = np.arange(5, dtype=np.float32)


def kept(folder: Path) -> Path:
    """A cache with one record; return its file."""
    cache = EmbeddingCache(folder, {"encoder": "x"})
    cache.keep([Record(DIGEST, VECTOR, np.full((2, 2, 4), 7, np.uint8), None)])
    cache.close()
    return cache.path


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    """Vectors and thumbnails by the content's hash; nothing for another."""
    kept(tmp_path)
    cache = EmbeddingCache(tmp_path, {"encoder": "x"})
    vector, tile = cache.vector(DIGEST), cache.tile(DIGEST, 2)
    assert vector is not None
    assert vector.tolist() == VECTOR.tolist()
    assert tile is not None
    assert tile.tolist() == np.full((2, 2, 4), 7).tolist()
    assert cache.tile(DIGEST, 3) is None
    assert cache.vector(DIGEST[::-1]) is None
    assert EmbeddingCache(tmp_path, {"encoder": "y"}).vector(DIGEST) is None
    assert cache.trouble == []


@pytest.mark.parametrize("table", ["vectors", "tiles"])
def test_a_record_that_does_not_fit_its_checksum_is_absent(tmp_path: Path, table: str) -> None:
    """A flipped bit on the disk must not become a vector."""
    path = kept(tmp_path)
    with sqlite3.connect(path) as db:
        (content,) = db.execute(f"SELECT content FROM {table}").fetchone()
        spoiled = bytes([content[0] ^ 1]) + content[1:]
        db.execute(f"UPDATE {table} SET content = ?", (spoiled,))
    db.close()
    cache = EmbeddingCache(tmp_path, {"encoder": "x"})
    assert (cache.vector(DIGEST) is None) == (table == "vectors")
    assert (cache.tile(DIGEST, 2) is None) == (table == "tiles")


@pytest.mark.parametrize("spoil", ["content = 'text'", "checksum = 7", "content = NULL"])
def test_a_record_of_another_type_is_absent(tmp_path: Path, spoil: str) -> None:
    """Whatever a damaged file holds, it is no vector and no traceback."""
    path = kept(tmp_path)
    with sqlite3.connect(path) as db:
        db.execute(f"UPDATE vectors SET {spoil}")
    db.close()
    assert EmbeddingCache(tmp_path, {"encoder": "x"}).vector(DIGEST) is None


def test_a_file_of_other_tables_is_begun_anew(tmp_path: Path) -> None:
    """A column that is missing is damage, not a disk that is full."""
    path = kept(tmp_path)
    with sqlite3.connect(path) as db:
        db.execute("ALTER TABLE vectors RENAME COLUMN content TO c")
    db.close()
    cache = EmbeddingCache(tmp_path, {"encoder": "x"})
    assert cache.vector(DIGEST) is None
    assert "was damaged" in cache.trouble[0]
    cache.keep([Record(DIGEST, VECTOR, None, None)])
    assert cache.vector(DIGEST) is not None


@pytest.mark.parametrize("damage", ["cut", "cut late", "zeros inside", "not a database", "empty"])
def test_a_torn_file_is_noticed_and_redone(tmp_path: Path, damage: str) -> None:
    """The next run gives the same points, and the one after it embeds nothing."""
    items = read_images(write_pictures(tmp_path / "f", 300))
    settings = EncodeSettings(batch_size=16, thumbnail_px=16, cache=tmp_path / "cache")
    whole = encode(items, ColourEncoder(), settings=settings)
    (path,) = (tmp_path / "cache").glob("*.sqlite")
    content = path.read_bytes()
    path.write_bytes(
        {
            "cut": content[: len(content) // 3],
            "cut late": content[:-5000],
            "zeros inside": content[:8192] + bytes(60_000) + content[68_192:],
            "not a database": b"something else" * 1000,
            "empty": b"",
        }[damage]
    )
    again = encode(items, ColourEncoder(), settings=settings)
    assert again.vectors.tobytes() == whole.vectors.tobytes()
    assert again.thumbnails is not None
    assert whole.thumbnails is not None
    assert again.thumbnails.tobytes() == whole.thumbnails.tobytes()
    encoder = ColourEncoder()
    third = encode(items, encoder, settings=settings)
    assert third.vectors.tobytes() == whole.vectors.tobytes()
    assert encoder.prepared == 0
    if damage != "empty":
        assert any("was damaged" in note for note in again.origin["notes"])


def test_a_cache_that_cannot_grow_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk ends the caching, not the export; the user is told."""

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    items = read_images(write_pictures(tmp_path / "f", 30))
    monkeypatch.setattr(EmbeddingCache, "_keep", full)
    settings = EncodeSettings(cache=tmp_path / "cache")
    points = encode(items, ColourEncoder(), settings=settings)
    assert len(points) == 30
    assert any("was given up: database or disk is full" in n for n in points.origin["notes"])


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """OutputError: the folder cannot be used; says what to give instead."""
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match=r"cannot be used as the cache .* --cache none"):
        EmbeddingCache(tmp_path / "file" / "cache", {"encoder": "x"})


def test_two_runs_at_once_share_it(tmp_path: Path) -> None:
    """Two processes write the same cache; both end well, and nothing is left to embed."""
    write_pictures(tmp_path / "f", 400)
    code = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[1])
        from encoding_doubles import ColourEncoder
        from projector_export import EncodeSettings, encode, read_images
        settings = EncodeSettings(batch_size=4, thumbnail_px=16, cache=Path(sys.argv[3]))
        points = encode(read_images(sys.argv[2]), ColourEncoder(), settings=settings)
        print(points.vectors.sum(), points.origin["notes"])
        """
    )
    tests = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", code, tests, str(tmp_path / "f"), str(tmp_path / "cache")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0] == said[1]
    assert said[0].endswith("[]\n")
    encoder = ColourEncoder()
    settings = EncodeSettings(thumbnail_px=16, cache=tmp_path / "cache")
    encode(read_images(tmp_path / "f"), encoder, settings=settings)
    assert encoder.prepared == 0
