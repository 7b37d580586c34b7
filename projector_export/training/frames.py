r"""Messages between a recorder and its worker process: a line of JSON, then arrays as they are.

    {"kind": "step", "step": 3, "arrays": {"vectors": ["<f4", [1797, 64]]}}\n
    460,032 bytes

Nothing is pickled. Arrays are sent from the memory in which they lie.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np

from projector_export.errors import DataError


@dataclass(frozen=True, eq=False)
class Frame:
    """One message.

    Attributes:
        kind: what it is about.
        facts: what JSON can hold.
        arrays: by name, of any numeric type.
    """

    kind: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


def write_frame(stream: IO[bytes], frame: Frame) -> None:
    """Write one message, wholly.

    Raises:
        DataError: an array of Python objects; nothing is written then.
        OSError: the other side is gone.
    """
    for name, array in frame.arrays.items():
        _check_plain(name, array.dtype)
    arrays = {name: np.ascontiguousarray(array) for name, array in frame.arrays.items()}
    shapes = {name: [array.dtype.str, list(array.shape)] for name, array in frame.arrays.items()}
    line = json.dumps({"kind": frame.kind, "facts": dict(frame.facts), "arrays": shapes})
    stream.write(line.encode("utf-8") + b"\n")
    for array in arrays.values():
        stream.write(array.data.cast("B") if array.size else b"")
    stream.flush()


def read_frame(stream: IO[bytes]) -> Frame | None:
    """Read one message; None where the other side has gone, also in the midst of one.

    Raises:
        DataError: an array of Python objects is announced.
    """
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    header = json.loads(line)
    arrays = {}
    for name, (dtype, shape) in header["arrays"].items():
        _check_plain(name, np.dtype(dtype))
        array = np.empty(math.prod(shape), dtype=dtype)
        if array.size and not _fill(stream, array.data.cast("B")):
            return None
        arrays[name] = array.reshape(shape)
    return Frame(header["kind"], header["facts"], arrays)


def _check_plain(name: str, dtype: np.dtype[Any]) -> None:
    if dtype.hasobject:  # its bytes are addresses in the memory of one process
        raise DataError(f"array {name!r} is of type {dtype}; expected numbers, as they are sent")


def _fill(stream: IO[bytes], target: memoryview) -> bool:
    done = 0
    while done < len(target):
        count = stream.readinto(target[done:])  # type: ignore[attr-defined]
        if not count:
            return False
        done += count
    return True
