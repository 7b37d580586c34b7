"""Items become points: in order, whatever the batches, threads, caches and broken files."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from encoding_doubles import ColourEncoder, LengthEncoder, colour, write_pictures
from PIL import Image

from projector_export import EncodeSettings, Items, encode, read_images
from projector_export.errors import DataError, EncoderError, OptionError
from projector_export.progress import Step

N = 150


def colours_of(vectors: np.ndarray) -> list[int]:
    """The items that the vectors tell."""
    return [int(v[0]) + 250 * int(v[1]) for v in vectors]


@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_rows_do_not_depend_on_batches_threads_or_the_order_on_disk(
    tmp_path: Path, batch_size: int, threads: int
) -> None:
    """Shuffled file system order, batch size 1, 7, 64 and 1 or 8 threads: the same rows."""
    order = list(range(N))
    random.Random(batch_size * threads).shuffle(order)
    for item in order:
        write_pictures(tmp_path / "f", 1, first=item)
    # Some take far longer than others.
    for item in range(0, N, 9):
        Image.new("RGB", (1500, 1500), colour(item)).save(tmp_path / f"f/{item:04d}.png")
    settings = EncodeSettings(batch_size=batch_size, threads=threads, thumbnail_px=4)
    encoder = ColourEncoder()
    points = encode(read_images(tmp_path / "f"), encoder, settings=settings)
    assert colours_of(points.vectors) == list(range(N))
    assert points.columns["path"].to_list() == [f"{i:04d}.png" for i in range(N)]
    assert points.thumbnails is not None
    assert [tuple(t[2, 2, :3].tolist()) for t in points.thumbnails] == [colour(i) for i in range(N)]
    assert max(encoder.batches) <= batch_size
    assert sum(encoder.batches) == N


def test_images_and_texts_keep_their_rows_side_by_side(tmp_path: Path) -> None:
    """Items of both kinds, mixed: row i is item i."""

    class Both(ColourEncoder):
        def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
            return np.array([[int(t), 0, 0, 2] for t in texts], np.float32)

    folder = write_pictures(tmp_path / "f", 50)
    contents: list[Path | str] = []
    for item in range(50):
        contents += [folder / f"{item:04d}.png", str(item)]
    columns = pl.DataFrame({"label": [str(c) for c in contents]})
    settings = EncodeSettings(batch_size=8, thumbnail_px=8)
    points = encode(Items(tuple(contents), columns, "both"), Both(), settings=settings)
    assert points.vectors[::2, 0].tolist() == points.vectors[1::2, 0].tolist() == list(range(50))
    assert set(points.vectors[1::2, 3]) == {2}
    assert points.thumbnails is not None
    assert points.thumbnails[0, 4, 4].tolist() == [*colour(0), 255]
    assert points.thumbnails[1, 0, 0].tolist() == [255, 255, 255, 255]


def test_texts_alone_have_no_thumbnails() -> None:
    """Points with thumbnails where any item is an image."""
    texts = tuple(f"{'x' * i}" for i in range(1, 20))
    items = Items(texts, pl.DataFrame({"label": texts}), "t")
    points = encode(items, LengthEncoder(), settings=EncodeSettings(batch_size=4))
    assert points.thumbnails is None
    assert points.vectors[:, 0].tolist() == list(range(1, 20))


def test_strict_stops_at_the_first_in_order(tmp_path: Path) -> None:
    """`strict`: stop at the first input that cannot be read."""
    folder = write_pictures(tmp_path / "f", 40)
    for item in (31, 10):
        (folder / f"{item:04d}.png").write_bytes(b"broken")
    items = read_images(folder)
    assert len(encode(items, ColourEncoder())) == 38
    with pytest.raises(DataError, match=r"0010\.png cannot be read as an image"):
        encode(items, ColourEncoder(), settings=EncodeSettings(strict=True))
    (folder / "x.heic").write_bytes(b"x")
    with pytest.raises(DataError, match=r"x\.heic is left out \(\.heic files are not read"):
        encode(read_images(folder), ColourEncoder(), settings=EncodeSettings(strict=True))


def test_too_few_readable_items(tmp_path: Path) -> None:
    """DataError: fewer than two items can be read; the first reason is told."""
    folder = write_pictures(tmp_path / "f", 3)
    for item in (0, 2):
        (folder / f"{item:04d}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"1 of 3 items of f can be read.*the file is empty"):
        encode(read_images(folder), ColourEncoder())


def test_progress_counts_items_and_those_left_out(tmp_path: Path) -> None:
    """Told: the items done and left out."""
    folder = write_pictures(tmp_path / "f", 20)
    (folder / "0003.png").write_bytes(b"broken")
    steps: list[Step] = []
    encode(read_images(folder), ColourEncoder(), progress=steps.append)
    assert [s.done for s in steps] == sorted(s.done for s in steps)
    assert steps[-1] == Step("encoding", 20, 20, 1)


@pytest.mark.parametrize("file", ["a\0b.png", "nope.png"])
def test_a_name_that_no_file_has_is_skipped(tmp_path: Path, file: str) -> None:
    """A list may name anything."""
    folder = write_pictures(tmp_path / "f", 3)
    items = read_images(folder)
    items = Items((*items.contents, folder / file), pl.concat([items.columns] * 2)[:4], "l")
    for cache in (None, tmp_path / "cache"):
        points = encode(items, ColourEncoder(), settings=EncodeSettings(cache=cache))
        assert colours_of(points.vectors) == [0, 1, 2]
        assert len(points.origin["skipped"]) == 1


def test_a_picture_that_the_encoder_trips_over_is_skipped(tmp_path: Path) -> None:
    """One among thousands is not fatal; the reason says what happened."""

    class Picky(ColourEncoder):
        def prepare(self, image: Image.Image) -> np.ndarray:
            if image.getpixel((0, 0)) == colour(2):
                raise ZeroDivisionError("no width")
            return super().prepare(image)

    points = encode(read_images(write_pictures(tmp_path / "f", 5)), Picky())
    assert colours_of(points.vectors) == [0, 1, 3, 4]
    (skipped,) = points.origin["skipped"]
    assert skipped["why"] == (
        "0002.png cannot be prepared for the encoder (ZeroDivisionError: no width)"
    )


def test_an_error_ends_the_reading(tmp_path: Path) -> None:
    """What fails for one item is not tried for all that wait."""

    class Broken(ColourEncoder):
        def prepare(self, image: Image.Image) -> np.ndarray:
            self.prepared += 1
            raise EncoderError("no weights")

    encoder = Broken()
    with pytest.raises(EncoderError, match="no weights"):
        encode(read_images(write_pictures(tmp_path / "f", 300)), encoder)
    assert encoder.prepared < 100


def test_a_small_picture_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read once, decode once, also where the tile is larger than the picture."""
    from projector_export.encoding import reading

    decoded = []
    whole = reading.decode_image
    monkeypatch.setattr(
        reading, "decode_image", lambda *a, **k: decoded.append(a[1]) or whole(*a, **k)
    )
    encoder = ColourEncoder()
    encoder.decode_px = 48  # type: ignore[attr-defined]
    encode(read_images(write_pictures(tmp_path / "f", 9)), encoder)
    assert len(decoded) == 9


class Greedy(ColourEncoder):
    """Runs out of memory with more than five items."""

    def encode(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        if len(prepared) > 5:
            raise MemoryError
        return super().encode(prepared)


def test_batches_are_halved_when_memory_runs_out(tmp_path: Path) -> None:
    """Batches are halved when memory runs out; nothing is lost or moved."""
    encoder = Greedy()
    points = encode(read_images(write_pictures(tmp_path / "f", N)), encoder)
    assert colours_of(points.vectors) == list(range(N))
    assert points.origin["encoded"]["batch_size"] == 4  # 64, 32, 16, 8, 4
    assert encoder.batches[0] == 4


def test_a_fixed_batch_size_fails_with_advice(tmp_path: Path) -> None:
    """EncoderError: memory ran out."""
    items = read_images(write_pictures(tmp_path / "f", N))
    with pytest.raises(EncoderError, match="ran out with 6 items a batch; give --batch-size auto"):
        encode(items, Greedy(), settings=EncodeSettings(batch_size=6))


class Wrong(ColourEncoder):
    """Returns what it is told to."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def encode(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        return np.asarray(self.answer(len(prepared)))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda n: np.zeros((n - 1, 3)), r"shape \(4, 3\) for 5 items"),
        (lambda n: np.zeros(n), r"shape \(5,\) for 5 items"),
        (lambda n: np.full((n, 3), np.nan), "not finite"),
        (lambda n: np.zeros((n, n)), "vectors of 2 values after some of 5"),
    ],
)
def test_a_wrong_answer_of_an_encoder_is_refused(tmp_path: Path, answer: Any, message: str) -> None:
    """EncoderError: the encoder did not return one finite vector an item."""
    items = read_images(write_pictures(tmp_path / "f", 7))
    with pytest.raises(EncoderError, match=message):
        encode(items, Wrong(answer), settings=EncodeSettings(batch_size=5))


def test_an_encoder_of_the_other_kind_is_refused(tmp_path: Path) -> None:
    """OptionError: the encoder has no way to encode an item."""
    with pytest.raises(
        OptionError, match=r"LengthEncoder cannot encode images .*--encoder clip encodes both"
    ):
        encode(read_images(write_pictures(tmp_path / "f", 3)), LengthEncoder())
    items = Items(("a", "b"), pl.DataFrame({"label": ["a", "b"]}), "t")
    with pytest.raises(OptionError, match="ColourEncoder cannot encode texts"):
        encode(items, ColourEncoder())


class TestCache:
    """Embeddings go to a cache; a second run embeds only what is new or changed."""

    def settings(self, tmp_path: Path) -> EncodeSettings:
        return EncodeSettings(batch_size=16, thumbnail_px=4, cache=tmp_path / "cache")

    def test_a_second_run_decodes_nothing(self, tmp_path: Path) -> None:
        """No image decoded again for the model, and the same points."""
        items = read_images(write_pictures(tmp_path / "f", N))
        first, second = ColourEncoder(), ColourEncoder()
        one = encode(items, first, settings=self.settings(tmp_path))
        two = encode(items, second, settings=self.settings(tmp_path))
        assert first.prepared == N
        assert (second.prepared, second.batches) == (0, [])
        assert one.vectors.tobytes() == two.vectors.tobytes()
        assert one.thumbnails is not None
        assert two.thumbnails is not None
        assert one.thumbnails.tobytes() == two.thumbnails.tobytes()
        assert two.origin["encoded"] == {
            "computed": 0, "from_cache": N, "same_content": 0, "batch_size": 16,
        }  # fmt: skip

    def test_an_error_leaves_the_cache_as_it_was(self, tmp_path: Path) -> None:
        """A run that stops, politely or not, loses nothing of earlier ones."""
        folder = write_pictures(tmp_path / "f", N)
        encode(read_images(folder), ColourEncoder(), settings=self.settings(tmp_path))
        write_pictures(folder, N, first=1000)
        (folder / "0500.png").write_bytes(b"broken")
        settings = replace(self.settings(tmp_path), strict=True)
        with pytest.raises(DataError, match=r"0500\.png"):
            encode(read_images(folder), ColourEncoder(), settings=settings)
        encoder = ColourEncoder()
        (folder / "0500.png").unlink()
        points = encode(read_images(folder), encoder, settings=self.settings(tmp_path))
        assert encoder.prepared <= N
        assert points.origin["notes"] == []
        assert points.origin["encoded"]["from_cache"] >= N

    def test_a_batch_is_kept_whole(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """One transaction a batch, however large, or a kill would move all later ones."""
        from projector_export.encoding.cache import EmbeddingCache

        written: list[int] = []
        monkeypatch.setattr(EmbeddingCache, "_keep", lambda _, r: written.append(len(r)))
        items = read_images(write_pictures(tmp_path / "f", 700))
        settings = replace(self.settings(tmp_path), batch_size=300)
        encode(items, ColourEncoder(), settings=settings)
        assert written == [300, 300, 100]

    def test_encoders_of_other_classes_share_nothing(self, tmp_path: Path) -> None:
        """Two packages may say the same of themselves."""

        class Twin(ColourEncoder):
            pass

        items = read_images(write_pictures(tmp_path / "f", 10))
        encode(items, ColourEncoder(), settings=self.settings(tmp_path))
        twin = Twin()
        encode(items, twin, settings=self.settings(tmp_path))
        assert twin.prepared == 10

    def test_only_what_is_new_or_changed_is_embedded(self, tmp_path: Path) -> None:
        """New files, changed files and removed files; the rows still fit."""
        folder = write_pictures(tmp_path / "f", 100)
        encode(read_images(folder), ColourEncoder(), settings=self.settings(tmp_path))
        (folder / "0005.png").unlink()
        Image.new("RGB", (12, 8), colour(777)).save(folder / "0050.png")
        write_pictures(folder, 3, first=1000)
        encoder = ColourEncoder()
        points = encode(read_images(folder), encoder, settings=self.settings(tmp_path))
        assert encoder.prepared == 4
        expected = [777 if i == 50 else i for i in range(100) if i != 5] + [1000, 1001, 1002]
        assert colours_of(points.vectors) == expected

    def test_a_moved_folder_is_not_embedded_again(self, tmp_path: Path) -> None:
        """A vector is found by the content, so files may be moved and renamed."""
        folder = write_pictures(tmp_path / "f", 30)
        encode(read_images(folder), ColourEncoder(), settings=self.settings(tmp_path))
        folder.rename(tmp_path / "elsewhere")
        encoder = ColourEncoder()
        points = encode(
            read_images(tmp_path / "elsewhere"), encoder, settings=self.settings(tmp_path)
        )
        assert encoder.prepared == 0
        assert colours_of(points.vectors) == list(range(30))

    def test_copies_within_a_run_are_embedded_once(self, tmp_path: Path) -> None:
        """The same content twice is one forward pass, and two rows."""
        folder = write_pictures(tmp_path / "f", 20)
        shutil.copy(folder / "0003.png", folder / "0019b.png")
        encoder = ColourEncoder()
        points = encode(read_images(folder), encoder, settings=self.settings(tmp_path))
        assert sum(encoder.batches) == 20
        # Found in the cache, or on the way to it.
        encoded = points.origin["encoded"]
        assert encoded["computed"] == 20
        assert encoded["same_content"] + encoded["from_cache"] == 1
        assert colours_of(points.vectors) == [*range(20), 3]

    def test_a_file_that_did_not_change_is_not_even_read(self, tmp_path: Path) -> None:
        """Path, size and time of change stand for the content, once the change is 2 s old."""
        folder = write_pictures(tmp_path / "f", 10)
        for path in folder.iterdir():
            _make_older(path)
        settings = self.settings(tmp_path)
        one = encode(read_images(folder), ColourEncoder(), settings=settings)
        for path in folder.iterdir():  # other content, same size and time: nobody would know
            facts = path.stat()
            path.write_bytes(bytes(facts.st_size))
            _make_older(path, facts.st_mtime_ns)
        two = encode(read_images(folder), ColourEncoder(), settings=settings)
        assert one.vectors.tobytes() == two.vectors.tobytes()

    def test_a_file_changed_within_its_clock_tick_is_read_again(self, tmp_path: Path) -> None:
        """A young file may change again without a new time of change."""
        folder = write_pictures(tmp_path / "f", 10)
        settings = self.settings(tmp_path)
        encode(read_images(folder), ColourEncoder(), settings=settings)
        path = folder / "0004.png"
        facts = path.stat()
        content = (folder / "0005.png").read_bytes()
        assert len(content) == facts.st_size
        path.write_bytes(content)
        _make_older(path, facts.st_mtime_ns)
        points = encode(read_images(folder), ColourEncoder(), settings=settings)
        assert colours_of(points.vectors)[4] == 5

    def test_another_encoder_shares_nothing(self, tmp_path: Path) -> None:
        """Keyed by model, weights and preprocessing."""

        class Other(ColourEncoder):
            cache_key = {"encoder": "colour", "version": 2}  # noqa: RUF012

        items = read_images(write_pictures(tmp_path / "f", 10))
        encode(items, ColourEncoder(), settings=self.settings(tmp_path))
        other = Other()
        encode(items, other, settings=self.settings(tmp_path))
        assert other.prepared == 10

    def test_an_encoder_without_a_key_is_not_cached(self, tmp_path: Path) -> None:
        """Nothing is known of when its vectors change."""

        class Unknown(ColourEncoder):
            cache_key = None  # type: ignore[assignment]

        items = read_images(write_pictures(tmp_path / "f", 10))
        for _ in range(2):
            encoder = Unknown()
            encode(items, encoder, settings=self.settings(tmp_path))
            assert encoder.prepared == 10
        assert not (tmp_path / "cache").exists()

    def test_another_thumbnail_size_embeds_nothing_again(self, tmp_path: Path) -> None:
        """Only the thumbnails are made anew."""
        items = read_images(write_pictures(tmp_path / "f", 10))
        encode(items, ColourEncoder(), settings=self.settings(tmp_path))
        encoder = ColourEncoder()
        settings = replace(self.settings(tmp_path), thumbnail_px=6)
        points = encode(items, encoder, settings=settings)
        assert encoder.prepared == 0
        assert points.thumbnails is not None
        assert points.thumbnails.shape == (10, 6, 6, 4)
        assert points.thumbnails[9, 3, 3].tolist() == [*colour(9), 255]

    def test_texts_are_cached_too(self, tmp_path: Path) -> None:
        """The same way for texts."""
        texts = tuple("x" * i for i in range(1, 40))
        items = Items(texts, pl.DataFrame({"label": texts}), "t")
        one = encode(items, LengthEncoder(), settings=self.settings(tmp_path))
        encoder = LengthEncoder()
        two = encode(items, encoder, settings=self.settings(tmp_path))
        assert encoder.batches == []
        assert one.vectors.tobytes() == two.vectors.tobytes()

    def test_bad_files_are_skipped_again(self, tmp_path: Path) -> None:
        """Skipped in the second run as in the first, with the same reason."""
        folder = write_pictures(tmp_path / "f", 10)
        (folder / "0004.png").write_bytes(b"broken")
        settings = self.settings(tmp_path)
        one = encode(read_images(folder), ColourEncoder(), settings=settings)
        two = encode(read_images(folder), ColourEncoder(), settings=settings)
        assert one.origin["skipped"] == two.origin["skipped"]
        assert colours_of(two.vectors) == [i for i in range(10) if i != 4]


def _make_older(path: Path, mtime_ns: int = 1_600_000_000_000_000_000) -> None:
    os.utime(path, ns=(mtime_ns, mtime_ns))
