"""tensor.bytes and tensor.tsv: golden bytes, and when a file must not pass for text."""

from __future__ import annotations

import time

import numpy as np
import pytest

from projector_export.projector.tensor import render_tensor_bytes, render_tensor_tsv


def _from_bytes(raw: bytes, columns: int = 2) -> np.ndarray:
    return np.frombuffer(raw, dtype="<f4").reshape(-1, columns)


def test_bytes_are_raw_little_endian_float32_row_by_row() -> None:
    """`tensor.bytes`: raw little-endian float32, rows one after the other, no header."""
    vectors = np.array([[1, -2, 0.1], [3e38, 1e-45, -0.0]], dtype=np.float32)
    expected = "0000803f 000000c0 cdcccc3d e6b1617f 01000000 00000080"
    assert render_tensor_bytes(vectors).tobytes() == bytes.fromhex(expected)


@pytest.mark.parametrize(
    ("vectors", "expected"),
    [
        ([[0, 0], [0, 0]], "ff000000 00000000 00000000 00000000"),
        ([[0.5, 2], [2, 0.5]], "ff00003f 00000040 00000040 0000003f"),
        ([[2, 0.5], [0.5, 2]], "ff000040 0000003f 0000003f 00000040"),
        ([[3, 10], [12, 8]], "ff004040 00002041 00004041 00000041"),
    ],
)
def test_a_file_that_is_valid_text_gets_0xff_as_its_first_byte(
    vectors: list[list[float]], expected: str
) -> None:
    """A raw file whose bytes happen to be valid UTF-8 takes down every run's projector."""
    values = np.array(vectors, dtype=np.float32)
    assert render_tensor_bytes(values).tobytes() == bytes.fromhex(expected)


def test_a_line_feed_before_invalid_utf8_is_not_safe() -> None:
    """With TensorFlow the file is decoded line by line: the first line alone must be invalid."""
    # 0x0A in the first number, 0xFF and 0x80 only in the second.
    vectors = _from_bytes(bytes.fromhex("0000200a ff80803f 0000803f 00000040"))
    rendered = render_tensor_bytes(vectors).tobytes()
    assert rendered == bytes.fromhex("ff00200a ff80803f 0000803f 00000040")


def test_invalid_utf8_before_the_first_line_feed_is_left_alone() -> None:
    """A file is safe in both readers when an invalid byte comes before the first 0x0A."""
    raw = bytes.fromhex("0000803f 0a0a0a0a 00000000 00000000")
    assert render_tensor_bytes(_from_bytes(raw)).tobytes() == raw


@pytest.mark.parametrize(
    ("raw", "safe"),
    [
        ("41c3a942 41414141", False),  # e acute: valid
        ("41c34141 41414141", True),  # the first byte of two, without the second
        ("4141c30a 41414141", True),  # cut off by the line feed itself
        ("41e29882 41414141", False),  # snowman: three bytes, valid
        ("f09f9880 41414141", False),  # emoji: four bytes, valid
        ("eda08041 41414141", True),  # a surrogate is no UTF-8
        ("c0804141 41414141", True),  # an overlong zero is no UTF-8
        ("41414141 414141e2", True),  # cut off by the end of the file
        ("0a414141 ffffff7f", False),  # an empty first line
    ],
)
def test_utf8_is_judged_as_the_readers_do(raw: str, safe: bool) -> None:
    """Only what a strict UTF-8 decoder refuses is safe."""
    content = bytes.fromhex(raw)
    rendered = render_tensor_bytes(_from_bytes(content, columns=2)).tobytes()
    assert rendered == (content if safe else b"\xff" + content[1:])


@pytest.mark.parametrize("value", [0.5, 2.0, 3.0, 10.0, -2.0, 32.0, 8.5, 1e-7, 7e33])
def test_the_first_number_moves_by_less_than_any_eye_sees(value: float) -> None:
    """0xFF as the lowest byte of the first float32 moves it by at most 3.1e-5 of itself."""
    # The mantissa's lowest byte is cleared first, which is the largest possible move.
    first = np.frombuffer(b"\x00" + np.float32(value).tobytes()[1:], dtype="<f4")[0]
    vectors = np.array([[first, 0.5], [0.5, 0.5]], dtype=np.float32)
    moved = render_tensor_bytes(vectors).view("<f4")
    assert abs(float(moved[0]) - float(first)) <= 3.1e-5 * abs(float(first))
    assert moved[1:].tolist() == [0.5, 0.5, 0.5]


def test_the_input_is_never_changed() -> None:
    """The vectors belong to the caller: they may be a read-only file in memory."""
    vectors = np.zeros((3, 2), dtype=np.float32)
    vectors.flags.writeable = False
    assert render_tensor_bytes(vectors)[0] == 0xFF
    assert vectors.tobytes() == bytes(24)


def test_big_endian_and_transposed_input_give_the_same_bytes() -> None:
    """The file is little-endian and row by row, whatever the memory is."""
    vectors = np.array([[1, 2], [3, 4], [5, 6]], dtype=np.float32)
    expected = "0000803f 00000040 00004040 00008040 0000a040 0000c040"
    for same in (vectors, vectors.astype(">f4"), np.asfortranarray(vectors)):
        assert render_tensor_bytes(same).tobytes() == bytes.fromhex(expected)


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_a_character_across_a_piece_boundary_is_still_text(shift: int) -> None:
    """The check reads in pieces of 65,536 bytes; a character of four may lie across two."""
    content = b"A" * (65_536 - shift) + "😀".encode() + b"A" * shift
    content += b"A" * (-len(content) % 8)
    rendered = render_tensor_bytes(_from_bytes(content)).tobytes()
    assert rendered == b"\xff" + content[1:]


@pytest.mark.parametrize("position", [65_535, 65_536, 131_071, 131_072, 200_000])
def test_invalid_utf8_far_into_the_file_is_found(position: int) -> None:
    """The whole file counts up to its first line feed, not only its beginning."""
    content = bytearray(b"A" * 200_008)
    content[position] = 0xFF
    assert render_tensor_bytes(_from_bytes(bytes(content))).tobytes() == content
    content[position - 1] = 0x0A
    assert render_tensor_bytes(_from_bytes(bytes(content)))[0] == 0xFF


def test_a_cut_off_character_at_a_piece_boundary_is_invalid() -> None:
    """A sequence that a piece cuts off must go on in the next piece to be text."""
    content = b"A" * 65_535 + b"\xf0" + b"A" * 8
    assert render_tensor_bytes(_from_bytes(content, columns=1)).tobytes() == content


def test_checking_takes_time_in_proportion_to_the_size() -> None:
    """The largest tensors are 200 MB: checking one that is all zeros may not take minutes."""

    def seconds(mebibytes: int) -> float:
        vectors = np.zeros((mebibytes, 262_144), dtype=np.float32)
        start = time.process_time()
        assert render_tensor_bytes(vectors)[0] == 0xFF
        return time.process_time() - start

    small, large = (min(seconds(size) for _ in range(3)) for size in (4, 16))
    assert large < 8 * small  # 4 times in proportion, 16 times when every piece starts over


def test_tsv_is_one_line_a_row_and_gives_every_value_back() -> None:
    """`tensor.tsv`: tab-separated text, digits enough to restore each value."""
    vectors = np.array([[0.1, 1 / 3, -0.0], [3.4e38, 1e-45, 16777216]], dtype=np.float32)
    text = render_tensor_tsv(vectors).decode("ascii")
    assert text.endswith("\n")
    lines = text[:-1].split("\n")
    assert len(lines) == 2
    # TensorBoard reads with float(); so does this.
    back = np.array([[float(cell) for cell in line.split("\t")] for line in lines], "float32")
    assert back.tobytes() == vectors.tobytes()


def test_tsv_golden() -> None:
    """No header, no quoting, no trailing tab."""
    vectors = np.array([[1, -2.5], [0.1, 1000]], dtype=np.float32)
    assert render_tensor_tsv(vectors) == b"1.0\t-2.5\n0.1\t1000.0\n"
