"""Record how the vectors of a fixed set of examples change while a model is trained.

A call copies the vectors and returns; a process of its own (`worker`) analyses and writes them, so
that a training waits neither for that work nor for Python's global lock. Nothing that goes wrong
here stops a training, unless `strict` asks for it.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import re
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np

from projector_export.errors import (
    OptionError,
    OutputError,
    ProjectorExportError,
    RecordingError,
)
from projector_export.projector.log_dir import check_run_name
from projector_export.projector.views import View, parse_view
from projector_export.settings import Settings
from projector_export.training.distributed import rank
from projector_export.training.examples import as_array, read_examples
from projector_export.training.frames import Frame
from projector_export.training.process import WorkerProcess
from projector_export.training.series import Series
from projector_export.training.step_folders import list_steps
from projector_export.training.summaries import Numbers
from projector_export.training.trajectory import Of

Vectors = Any
"""(N, D) numbers: a NumPy array or a torch tensor on any device and of any real type."""


_MOST_NOTES = 100
_HERE = str(Path(__file__).parent)


class RecordingWarning(UserWarning):
    """Something was not recorded, or is not as it looks; the training goes on."""


class EmbeddingRecorder:
    """Records an embedding at many steps, each as a run that an open TensorBoard picks up.

    Also a context manager: `finish` is called at the end of the block.

        recorder = EmbeddingRecorder("logs/run1", "encoder", labels=labels, images=files)
        for epoch in range(10):
            train_one_epoch(model)
            recorder.record(lambda: model.encode(probe), epoch)
        recorder.finish()

    Attributes:
        failed: reasons by step, of steps that could not be recorded.
        dropped: steps that were left out since the work did not keep up.
        recorded: steps that have been written, in that order.
        notes: what the analyses noticed, such as vectors that are all zero.
    """

    def __init__(
        self,
        run_dir: Any,
        name: str = "embedding",
        *,
        labels: Sequence[object] | np.ndarray | None = None,
        images: Any = None,
        metadata: Any = None,
        thumbnail_px: int = 64,
        every: int = 1,
        keep: int | None = 15,
        settings: Settings | None = None,
        views: Sequence[View | str] = (),
        numbers: Numbers | bool = True,
        when_busy: Literal["drop", "wait"] = "drop",
        strict: bool = False,
    ) -> None:
        """Check the arguments and start the worker process, which loads what it needs meanwhile.

        Args:
            run_dir: the training run's directory, or a `SummaryWriter` that writes to it.
            name: of the embedding; its steps lie in `run_dir/name`.
            labels: N, one an example.
            images: N files, or pictures as (N, H, W), (N, H, W, C) or (N, C, H, W): uint8, or
                floats from 0 to 1; for thumbnails.
            metadata: N rows: a table (polars, pandas), a mapping of columns, or a file.
            thumbnail_px: side of a thumbnail.
            every: record when at least so many steps have passed since the last recorded one.
            keep: how many steps stay on disk; others are thinned out evenly, the first and the
                last stay. None for all; of more than 40 runs TensorBoard ticks none by itself.
            settings: of analysis and output.
            views: bookmarks beside those that every step has, also in words: "TITLE; key=value".
            numbers: what is written into the run's own events: all, nothing, or some kinds.
            when_busy: when two steps wait already, "drop" the older one, or "wait".
            strict: raise errors instead of warning once.

        Raises:
            OptionError, DataError, InputNotFoundError, OutputError: an argument cannot be used.
        """
        if not isinstance(every, int) or every < 1:
            raise OptionError(f"every is {every!r}; expected a number from 1")
        if not isinstance(settings, Settings | None):
            raise OptionError(f"settings is a {type(settings).__name__}; expected Settings(...)")
        views = read_view_list(views)
        if when_busy not in ("drop", "wait"):
            raise OptionError(f"when_busy is {when_busy!r}; expected 'drop' or 'wait'")
        self.run_dir, self.name = directory_of(run_dir), name
        Series(self.run_dir, name, views=views, keep=keep)  # the worker's, checked here
        self.failed: dict[int | str, str] = {}
        self.dropped: list[int] = []
        self.recorded: list[int] = []
        self.notes: list[str] = []
        self._every, self._keep, self._strict = every, keep, strict
        self._when_busy = when_busy
        self._settings, self._views = settings or Settings(), views
        if isinstance(numbers, bool):
            numbers = Numbers(scalars=numbers, images=numbers, texts=numbers)
        self._numbers = numbers
        self._examples = read_examples(
            labels=labels, images=images, metadata=metadata, thumbnail_px=thumbnail_px
        )
        self._known = set(list_steps(self.run_dir / name))
        self._found = sorted(self._known)
        self._pending: list[int] = []
        self._warned: set[str] = set()
        self._finished = False
        self._check_parents()
        self._worker: WorkerProcess | None = None
        self._pid = os.getpid()
        if rank() == 0:
            try:
                self._start()
            except RecordingError as error:
                if strict:
                    raise
                self._warn("failed", str(error))

    def __enter__(self) -> EmbeddingRecorder:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.finish(trajectory="classes" if kind is None else None)

    def is_due(self, step: int) -> bool:
        """Whether `record` would record this step."""
        if self._finished or rank() != 0 or os.getpid() != self._pid:
            return False
        last = max((other for other in self._known if other < step), default=None)
        return step in self._known or last is None or step - last >= self._every

    def record(self, vectors: Vectors | Callable[[], Vectors], step: int) -> None:
        """Record the examples' vectors at a step, if it is due; the same step twice replaces.

        Args:
            vectors: (N, D), or a function that returns them, called only when the step is due.
                Copied before this returns; no graph is kept alive.
            step: of the training, from 0; the same that its scalars have.

        Raises:
            ProjectorExportError: with `strict`, what this call or an earlier one met.
        """
        self._tell()
        try:
            step = int(step)
            if step < 0:
                raise OptionError(f"step is {step}; expected 0 or more")
            if self._finished and rank() == 0 and os.getpid() == self._pid:
                raise RecordingError("finish() was called; make a new recorder to go on")
            if not self.is_due(step):
                return
            worker = self._start()
            worker.check()  # before the vectors are asked for
            array = as_array(vectors() if callable(vectors) else vectors, step)
            self._known.add(step)
            worker.send(Frame("step", {"step": step}, {"vectors": array}), self._when_busy)
            self._pending.append(step)
            self._tell_of_older(step)
        except Exception as error:
            if self._strict:
                raise
            if isinstance(step, int):
                self._known.discard(step)
            known = isinstance(error, ProjectorExportError)
            why = str(error) if known else f"{type(error).__name__}: {error}"
            self.failed[step if isinstance(step, int) else repr(step)] = why
            self._warn("failed", f"step {step} was not recorded ({why})")

    def finish(self, *, trajectory: Of | None = "classes", timeout_s: float | None = 600) -> None:
        """Wait until all is written, add the trajectory, and end the worker.

        Args:
            trajectory: paths of the labels' centroids ("classes"), of "examples", or None.
            timeout_s: give up after so long; None waits for ever.

        Raises:
            ProjectorExportError: with `strict`, what was met.
        """
        if self._finished or os.getpid() != self._pid:
            return
        self._finished = True
        atexit.unregister(self._at_exit)
        if self._worker is None:
            return
        with contextlib.suppress(RecordingError):  # it is gone, and its answers tell why
            self._worker.send(Frame("finish", {"trajectory": trajectory}), "wait")
        self._worker.join(timeout_s)
        self._tell()

    def _at_exit(self) -> None:
        with contextlib.suppress(KeyboardInterrupt):  # the user waits no longer
            self.finish(trajectory=None, timeout_s=120)

    def _start(self) -> WorkerProcess:
        if self._worker is None:
            self._worker = WorkerProcess(self._opening())
            atexit.register(self._at_exit)
        return self._worker

    def _opening(self) -> Frame:
        buffer = io.BytesIO()
        self._examples.columns.write_ipc(buffer)
        arrays = {"columns": np.frombuffer(buffer.getvalue(), np.uint8)}
        if self._examples.thumbnails is not None:
            arrays["thumbnails"] = self._examples.thumbnails
        facts = {
            "run_dir": str(self.run_dir.absolute()),
            "name": self.name,
            "keep": self._keep,
            "settings": asdict(self._settings),
            "views": [
                {"view": v.as_dict(), "folder": str(v.folder.absolute())} for v in self._views
            ],
            "numbers": asdict(self._numbers),
            "images": [str(file) for file in self._examples.files],
            "thumbnail_px": self._examples.thumbnail_px,
        }
        return Frame("open", facts, arrays)

    def _tell(self) -> None:
        """Take the worker's answers, and say what went wrong.

        Raises:
            RecordingError: with `strict`, the first thing that went wrong.
        """
        if self._worker is None:
            return
        for step in self._worker.take_dropped():
            self.dropped.append(step)
            self._forget(step)
            self._warn(
                "dropped",
                f"step {step} was left out, since recording takes longer than the training does "
                "between steps; record less often (every=), or let it wait (when_busy='wait')",
            )
        failures = [self._take(answer) for answer in self._worker.take_answers()]
        for message in filter(None, failures):
            if self._strict:
                raise RecordingError(message)
            self._warn("failed", message)

    def _take(self, answer: Mapping[str, Any]) -> str | None:
        """Note what became of a step; return what went wrong."""
        step, error = answer.get("step"), answer.get("error")
        if step in self._pending:
            self._pending.remove(step)
        for note in answer.get("notes", ()):
            if note not in self.notes and len(self.notes) < _MOST_NOTES:
                self.notes.append(note)
                # Numbers in a note change from step to step; it is told for the first of them.
                self._warn(re.sub(r"[0-9]+", "0", note), note, say_once=False)
        if error is None:
            if step is not None:
                self.recorded.append(step)
            numbers = answer.get("numbers_error")
            return numbers and f"the numbers of step {step} were not written ({numbers})"
        if step is not None:
            self.failed[step] = error
            self._known.discard(step)
            return f"step {step} was not recorded ({error})"
        if answer["kind"] != "end":
            return f"no trajectory was written ({error})"
        for lost in [*self._pending]:
            self.failed[lost] = str(error)
            self._forget(lost)
        return str(error)

    def _forget(self, step: int) -> None:
        self._known.discard(step)
        if step in self._pending:
            self._pending.remove(step)

    def _tell_of_older(self, step: int) -> None:
        """Say that steps of an earlier training lie ahead: the two would be mixed unnoticed."""
        ahead, self._found = [older for older in self._found if older > step], []
        if ahead:
            listed = ", ".join(map(str, ahead[:5])) + (", ..." if ahead[5:] else "")
            self._warn(
                "older",
                f"{self.run_dir / self.name} has later steps already ({listed}); they stay until "
                "they are recorded again. Remove that folder first to begin anew",
                say_once=False,
            )

    def _check_parents(self) -> None:
        bad = sorted({c for part in self.run_dir.parts for c in part if c in "&#+%"})
        if bad:
            self._warn(
                "place",
                f"{self.run_dir} has {' '.join(bad)} in a folder's name; below such a folder "
                "TensorBoard's projector cannot open runs",
                say_once=False,
            )

    def _warn(self, kind: str, message: str, *, say_once: bool = True) -> None:
        if kind in self._warned:
            return
        self._warned.add(kind)
        end = "; the training goes on, and this is said once" if say_once else ""
        text = f"{self.name}: {message}{end}"
        # The line to name is that of the training, however deep we are.
        level, frame = 2, sys._getframe(1)
        while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
            level, frame = level + 1, frame.f_back
        warnings.warn(text, RecordingWarning, stacklevel=level)


def read_view_list(views: Sequence[View | str]) -> list[View]:
    """Return views, also of those given in words (see `parse_view`).

    Raises:
        OptionError: something is neither, or cannot be read.
    """
    if isinstance(views, str):
        views = [views]
    found: list[View] = []
    for view in views:
        if isinstance(view, View):
            found.append(view)
        elif isinstance(view, str):
            found += parse_view(view)
        else:
            raise OptionError(f"a view is a {type(view).__name__}; expected View(...) or text")
    return found


def directory_of(run_dir: Any) -> Path:
    """Return the directory of a run, also of a `SummaryWriter`'s.

    Raises:
        OptionError: neither a path nor a writer; or a path that is no local directory.
    """
    if not isinstance(run_dir, (str, os.PathLike)):
        found = getattr(run_dir, "log_dir", None) or getattr(run_dir, "logdir", None)
        if not isinstance(found, (str, os.PathLike)):
            raise OptionError(
                f"run_dir is a {type(run_dir).__name__}; expected a directory or a SummaryWriter"
            )
        run_dir = found
    text = os.fspath(run_dir)
    if "://" in text:
        raise OptionError(f"run_dir is {text}; expected a directory of this machine")
    path = Path(text)
    check_run_name(path)
    if path.exists() and not path.is_dir():
        raise OutputError(f"{path} is a file; expected the directory of a training run")
    return path
