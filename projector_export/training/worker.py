"""The process beside a training that does a recorder's work; see `frames` for how they talk.

It answers on its standard output, a line of JSON for each step and one at the end. When the
recorder's process ends, however it ends, the step in hand is finished and the rest forgotten.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import polars as pl

from projector_export.errors import DataError, ProjectorExportError
from projector_export.points import Points, as_vectors
from projector_export.projector.views import View, view_from_dict
from projector_export.settings import Settings
from projector_export.thumbnails import fitting_tile_px, read_thumbnails
from projector_export.training.events import EventWriter
from projector_export.training.frames import Frame, read_frame
from projector_export.training.numbers import write_numbers
from projector_export.training.series import RecordedStep, Series
from projector_export.training.summaries import Numbers
from projector_export.training.trajectory import write_trajectory

NICE = 19
"""The least: it takes what the training leaves."""


def main() -> None:
    """Serve one recorder: frames come on standard input."""
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICE)
    # Whatever a library prints must not come among the answers.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    serve(os.fdopen(os.dup(0), "rb"), answers)


def serve(frames: IO[bytes], answers: IO[bytes]) -> None:
    """Do what the frames ask for, until they end."""
    opened = read_frame(frames)
    if opened is None:
        return
    with contextlib.suppress(BrokenPipeError), Work(opened) as work:
        _warm_up(work.settings)
        while (frame := read_frame(frames)) is not None:
            answers.write(json.dumps(_answer(work, frame)).encode() + b"\n")
            if frame.kind == "finish":
                return


def _answer(work: Work, frame: Frame) -> dict[str, Any]:
    start = time.perf_counter()
    answer: dict[str, Any] = {"kind": frame.kind, **frame.facts}
    try:
        answer |= work.do(frame)
        answer["seconds"] = round(time.perf_counter() - start, 2)
    except Exception as error:
        why = str(error) or type(error).__name__
        answer |= {"error": why, "type": type(error).__name__}
        if not isinstance(error, ProjectorExportError):
            answer["trace"] = traceback.format_exc()
    return answer


def _warm_up(settings: Settings) -> None:
    """Import what the first step needs while the training is still on its way to it."""
    if settings.umap_dims:
        from projector_export.analysis.layout import load_umap

        load_umap()


@dataclass(eq=False)
class Work:
    """A recorder's series, its event file and what is known of the examples.

    Attributes:
        opened: the first frame.
    """

    opened: Frame
    settings: Settings = field(init=False)
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _series: Series | None = None
    _events: EventWriter | None = None
    _thumbnails: np.ndarray | None = None
    _unreadable: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        facts = self.opened.facts
        self.settings = settings_from(facts["settings"])
        self._run_dir = Path(facts["run_dir"])
        self._numbers = Numbers(**facts["numbers"])
        self._columns = pl.read_ipc(io.BytesIO(self.opened.arrays["columns"].tobytes()))
        self._thumbnails = self.opened.arrays.get("thumbnails")

    def __enter__(self) -> Work:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def do(self, frame: Frame) -> dict[str, Any]:
        """Do what one frame asks for; return what there is to say of it."""
        if frame.kind == "step":
            return self._record(frame.arrays["vectors"], int(frame.facts["step"]))
        series, of = self._series, frame.facts["trajectory"]
        if of is None or series is None or len(series.steps()) < 2:
            return {}
        return {"notes": write_trajectory(series, of=of).warnings}

    def _open(self) -> Series:
        """The series is locked when it is first needed: of several ranks only one records."""
        if self._series is None:
            facts = self.opened.facts
            views = [_view(described) for described in facts["views"]]
            series = Series(
                self._run_dir, facts["name"], self.settings, views=views, keep=facts["keep"]
            )
            self._series = self._stack.enter_context(series)
        return self._series

    def _record(self, vectors: np.ndarray, step: int) -> dict[str, Any]:
        series = self._open()
        vectors = as_vectors(vectors, where=f"step {step}")
        self._check_rows(vectors, step)
        self._read_images()
        origin = {"images_unreadable": self._unreadable, "source": "training"}
        points = Points(vectors, self._columns, series.name, self._thumbnails, origin)
        recorded = series.write(points, step)
        said: dict[str, Any] = {"notes": recorded.result.warnings}
        try:
            self._write_numbers(recorded)
        except Exception as error:  # the step itself is there
            said["numbers_error"] = str(error) or type(error).__name__
        return said

    def _write_numbers(self, recorded: RecordedStep) -> None:
        if self._events is None:
            self._events = EventWriter(self._run_dir)
        write_numbers(self._events, recorded, settings=self.settings, numbers=self._numbers)

    def _check_rows(self, vectors: np.ndarray, step: int) -> None:
        n = self._columns.height
        if n and n != len(vectors):
            raise DataError(
                f"step {step} has {len(vectors)} vectors but there are {n} labels, metadata rows "
                "or images; give one vector an example, the same examples at every step"
            )

    def _read_images(self) -> None:
        """Decode the files of the thumbnails, once."""
        files = [Path(file) for file in self.opened.facts["images"]]
        if self._thumbnails is not None or not files:
            return
        tile_px = fitting_tile_px(len(files), self.opened.facts["thumbnail_px"])
        self._thumbnails, failed = read_thumbnails(files, tile_px)
        self._unreadable = [{"row": row, "why": why} for row, why in failed.items()]


def settings_from(facts: Mapping[str, Any]) -> Settings:
    """Return the settings that `dataclasses.asdict` and JSON have made plain."""
    return Settings(**{**facts, "umap_dims": tuple(facts["umap_dims"])})


def _view(described: Mapping[str, Any]) -> View:
    return view_from_dict(described["view"], folder=Path(described["folder"]))
