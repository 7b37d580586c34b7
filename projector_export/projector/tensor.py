"""tensor.bytes: raw little-endian float32, safe in both of TensorBoard's readers.

`projector_plugin.py` first reads every tensor file as UTF-8 text and falls back to raw float32
only on a `UnicodeDecodeError`. Without TensorFlow the text is decoded in chunks, with it line by
line; both fail as they should when an invalid byte comes before the first line feed.
"""

from __future__ import annotations

import codecs
import io

import numpy as np
import polars as pl

_NEVER_IN_UTF8 = 0xFF


def render_tensor_bytes(vectors: np.ndarray) -> np.ndarray:
    """Return the bytes of (N, D) float32 vectors as a (4 N D,) uint8 array.

    The lowest byte of the first number becomes 0xFF where the file would otherwise pass for text;
    that moves the number by at most 3.1e-5 of itself. The input is never changed.
    """
    little = np.ascontiguousarray(vectors, dtype="<f4")
    raw = little.reshape(-1).view(np.uint8)
    if _passes_for_text(raw):
        raw = raw.copy()
        raw[0] = _NEVER_IN_UTF8
    return raw


def render_tensor_tsv(vectors: np.ndarray) -> bytes:
    """Return (N, D) float32 vectors as tab-separated text, digits enough to restore each value."""
    buffer = io.BytesIO()
    names = [str(d) for d in range(vectors.shape[1])]
    frame = pl.DataFrame(vectors, schema=names, orient="row")
    frame.write_csv(buffer, separator="\t", include_header=False)
    return buffer.getvalue()


def _passes_for_text(raw: np.ndarray) -> bool:
    """Whether no invalid UTF-8 comes before the first line feed."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    step = 1 << 16
    try:
        for offset in range(0, len(raw), step):
            line, feed, _ = raw[offset : offset + step].tobytes().partition(b"\n")
            decoder.decode(line, final=bool(feed))
            if feed:
                return True
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True
