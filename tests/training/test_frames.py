"""Messages to the worker: their bytes, and what is read when they are cut."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest

from projector_export.errors import DataError
from projector_export.training.frames import Frame, read_frame, write_frame

GOLDEN = (
    b'{"kind": "step", "facts": {"step": 3}, "arrays": {"vectors": ["<f4", [1, 2]]}}\n'
    b"\x00\x00\x80\x3f\x00\x00\x00\xc0"
)


def _bytes(*frames: Frame) -> bytes:
    stream = io.BytesIO()
    for frame in frames:
        write_frame(stream, frame)
    return stream.getvalue()


def _step() -> Frame:
    return Frame("step", {"step": 3}, {"vectors": np.array([[1, -2]], dtype="<f4")})


class _Trickle(io.RawIOBase):
    """Gives one byte at a time, as a pipe may; ends where its content does."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        return self._content.readinto(memoryview(target)[:1])


def test_a_frame_is_a_line_of_json_then_its_arrays() -> None:
    """A line of JSON, then arrays as they are."""
    assert _bytes(_step()) == GOLDEN
    frame = read_frame(io.BytesIO(GOLDEN))
    assert frame is not None
    assert (frame.kind, frame.facts) == ("step", {"step": 3})
    assert frame.arrays["vectors"].dtype == np.float32
    assert frame.arrays["vectors"].tolist() == [[1, -2]]


def test_facts_alone_are_a_line() -> None:
    """`facts`: what JSON can hold; a line feed within a text does not end the line."""
    frame = Frame("open", {"name": "a\nb é", "keep": None})
    written = _bytes(frame)
    assert (
        written
        == b'{"kind": "open", "facts": {"name": "a\\nb \\u00e9", "keep": null}, "arrays": {}}\n'
    )
    read = read_frame(io.BytesIO(written))
    assert read is not None
    assert read.facts == {"name": "a\nb é", "keep": None}


@pytest.mark.parametrize("cut", range(len(GOLDEN)))
def test_a_cut_frame_is_none(cut: int) -> None:
    """None where the other side has gone, also in the midst of a message."""
    assert read_frame(io.BytesIO(GOLDEN[:cut])) is None
    assert read_frame(io.BufferedReader(_Trickle(GOLDEN[:cut]))) is None


def test_a_frame_that_comes_byte_by_byte_is_whole() -> None:
    """A pipe gives as much as it has: the rest is waited for."""
    for content, n in ((GOLDEN, 1), (GOLDEN * 3, 3)):
        stream = io.BufferedReader(_Trickle(content), buffer_size=1)
        for _ in range(n):
            frame = read_frame(stream)
            assert frame is not None
            assert frame.arrays["vectors"].tolist() == [[1, -2]]
        assert read_frame(stream) is None


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 5), np.float32),
        np.zeros((3, 0), np.uint8),
        np.zeros(0, np.int64),
        np.array(7.5),
        np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
        np.arange(6, dtype=np.int64).reshape(2, 3).T,
        np.arange(10, dtype=np.float64)[::3],
        np.array([[True, False]]),
        np.array([1.5, -2], dtype=np.float16),
        np.array([1.5, -2], dtype=">f4"),
    ],
    ids=["no rows", "no columns", "empty", "scalar", "tiles", "turned", "strided", "bool", "half",
         "big-endian"],
)  # fmt: skip
def test_arrays_of_any_shape_and_numeric_type_arrive(array: np.ndarray) -> None:
    """`arrays`: by name, of any numeric type; also beside others, and with a frame behind them."""
    behind = np.arange(3)
    frame = Frame("x", {}, {"one": array, "two": behind})
    stream = io.BytesIO(_bytes(frame, _step()))
    read = read_frame(stream)
    assert read is not None
    assert list(read.arrays) == ["one", "two"]
    assert (read.arrays["one"].dtype, read.arrays["one"].shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(read.arrays["one"], array)
    np.testing.assert_array_equal(read.arrays["two"], behind)
    following = read_frame(stream)
    assert following is not None
    assert following.kind == "step"
    assert read_frame(stream) is None


def test_a_stream_without_a_buffer_may_give_less_than_asked_for() -> None:
    """What is missing of an array is read until it is there."""
    frame = read_frame(_Trickle(GOLDEN))  # type: ignore[arg-type]
    assert frame is not None
    assert frame.arrays["vectors"].tolist() == [[1, -2]]


def test_a_frame_does_not_wait_in_a_buffer() -> None:
    """Write one message, wholly: the other side has it when the call returns."""
    raw = io.BytesIO()
    buffered = io.BufferedWriter(raw)  # named, since it closes the stream when it goes
    write_frame(buffered, _step())
    assert raw.getvalue() == GOLDEN


def test_arrays_keep_their_names_whatever_their_order() -> None:
    """Several arrays follow one another in the order of the line."""
    arrays = {"b": np.array([1, 2], "<i4"), "a": np.array([3], "<i4")}
    written = _bytes(Frame("x", {}, arrays))
    line, _, rest = written.partition(b"\n")
    assert list(json.loads(line)["arrays"]) == ["b", "a"]
    assert rest == b"\x01\0\0\0\x02\0\0\0\x03\0\0\0"
    read = read_frame(io.BytesIO(written))
    assert read is not None
    assert {name: array.tolist() for name, array in read.arrays.items()} == {"b": [1, 2], "a": [3]}


@pytest.mark.parametrize(
    "frame",
    [Frame("x", {"step": object()}), Frame("x", {}, {"a": np.array([{}], dtype=object)})],
    ids=["facts", "array"],
)
def test_what_cannot_be_sent_plainly_is_refused_before_a_byte_is(frame: Frame) -> None:
    """Nothing is pickled."""
    stream = io.BytesIO()
    with pytest.raises((TypeError, DataError)):
        write_frame(stream, frame)
    assert stream.getvalue() == b""


def test_an_announced_array_of_objects_is_refused() -> None:
    """Bytes from a pipe never become Python objects."""
    line = b'{"kind": "x", "facts": {}, "arrays": {"a": ["|O", [1]]}}\n'
    with pytest.raises(DataError, match="array 'a' is of type object"):
        read_frame(io.BytesIO(line + bytes(8)))
