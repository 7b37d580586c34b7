"""Summaries into the training run's own events, beside the training's writer and not in its way.

They go into an event file of their own, which must sort before those of the training: where
TensorBoard's data server is missing or off (`--load_fast=false`), its Python reader takes a run's
event files in the order of their names and never returns to one it has passed
(directory_watcher.py). A file named after the present time would end the training's own curves.
That reader in turn shows ours as they were when it passed them, unless it runs with
`--reload_multifile=true`; the data server reads all files of a run all the time.

Values are written as torch's SummaryWriter does (`simple_value`, `image`), which TensorBoard
turns into tensors itself (data_compat.py) and older readers know too.

A record is on disk wholly or not at all.
"""

from __future__ import annotations

import errno
import io
import os
import re
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from projector_export.errors import OutputError

if TYPE_CHECKING:
    from projector_export.training.summaries import Summary

_PREFIX = "events.out.tfevents.0000000000."
_OURS = re.compile(re.escape(_PREFIX) + r"(\d+)\..*")


class EventWriter:
    """Writes summaries into a training run; each is in the file when `write` returns.

    Nothing is made before the first summary. A writer that starts later, as after a kill, has a
    file of its own which sorts after the earlier ones, so that its steps replace theirs.

    Args:
        run_dir: the training run's directory; made when missing.
    """

    def __init__(self, run_dir: str | Path) -> None:
        self._run_dir = Path(run_dir)
        self._path: Path | None = None
        self._size = 0

    def write(self, summary: Summary) -> None:
        """Add all values of a summary as one record; nothing where it has none.

        Raises:
            OutputError: the disk refuses; all summaries before are as they were.
        """
        event = _event(summary)
        if event is None:
            return
        record = _record(event)
        try:
            if self._path is None:
                self._start(_record(_version(event.wall_time)) + record)
            else:
                _append(self._path, record, self._size)
                self._size += len(record)
        except OSError as error:
            # A reader may have seen the part that was taken back: it would put the rest of
            # another record behind it. So the next summary begins a new file.
            self._path = None
            raise OutputError(
                f"{self._run_dir} cannot take the numbers of step {summary.step} ({error}); make "
                "space or check the permissions: the next step is tried again"
            ) from error

    def _start(self, start: bytes) -> None:
        """Make a file that starts with these records, or none."""
        self._run_dir.mkdir(parents=True, exist_ok=True)
        path = _make_file(self._run_dir)
        try:
            _append(path, start, 0)
        except OSError:
            path.unlink()
            raise
        self._path, self._size = path, len(start)


def _make_file(run_dir: Path) -> Path:
    names = (path.name for path in run_dir.iterdir())
    number = max((int(match[1]) for match in map(_OURS.fullmatch, names) if match), default=0)
    while True:
        number += 1
        path = run_dir / f"{_PREFIX}{number:06d}.{os.getpid()}.projector-export"
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            continue
        return path


def _append(path: Path, record: bytes, size: int) -> None:
    """Write at the end of the file, which is `size` bytes long; take it back if it fails."""
    file = os.open(path, os.O_WRONLY | getattr(os, "O_BINARY", 0))
    try:
        os.lseek(file, size, os.SEEK_SET)
        rest = memoryview(record)
        while rest:
            written = os.write(file, rest)
            if written == 0:
                raise OSError(errno.EIO, "nothing was written")
            rest = rest[written:]
    except BaseException:  # an interrupt too must leave whole records only
        os.ftruncate(file, size)
        raise
    finally:
        os.close(file)


def _record(event: Any) -> bytes:
    from tensorboard.summary.writer.record_writer import RecordWriter

    buffer = io.BytesIO()
    RecordWriter(buffer).write(event.SerializeToString())
    return buffer.getvalue()


def _version(wall_time: float) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event

    return Event(wall_time=wall_time, file_version="brain.Event:2")


def _event(summary: Summary) -> Any:
    """Return the summary as TensorBoard's message, or None where it is empty."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary as Values
    from tensorboard.plugins.text.metadata import create_summary_metadata
    from tensorboard.util.tensor_util import make_tensor_proto

    values = [Values.Value(tag=tag, simple_value=x) for tag, x in summary.scalars.items()]
    for tag, png in summary.images.items():
        width, height = struct.unpack(">II", png[16:24])  # of the header chunk, always the first
        image = Values.Image(width=width, height=height, colorspace=3, encoded_image_string=png)
        values.append(Values.Value(tag=tag, image=image))
    for tag, text in summary.texts.items():
        # Without a dimension: a list of texts would be shown as a table around them.
        tensor = make_tensor_proto(text.encode("utf-8"))
        metadata = create_summary_metadata(display_name=tag, description="")
        values.append(Values.Value(tag=tag, tensor=tensor, metadata=metadata))
    if not values:
        return None
    return Event(wall_time=time.time(), step=summary.step, summary=Values(value=values))
