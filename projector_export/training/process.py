"""The worker process, seen from the training's side: a bounded queue to it, and its answers.

It is started as a new interpreter, not by multiprocessing: a training script needs no `__main__`
guard, nothing is forked beside CUDA or threads, nothing is pickled. One thread hands frames over,
which is waiting in the operating system, not holding Python's lock; another takes the answers.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
from collections import deque
from typing import Any, Literal

from projector_export.errors import RecordingError
from projector_export.training.frames import Frame, write_frame

QUEUE = 2
"""Steps that wait beside the one in hand."""
_START = (
    "import sys; sys.path[:] = sys.argv[1:]; "
    "from projector_export.training.worker import main; main()"
)


class WorkerProcess:
    """A worker with the frames that wait for it."""

    def __init__(self, opening: Frame) -> None:
        """Start the process and hand it the first frame.

        Raises:
            RecordingError: no process can be started.
        """
        self._changed = threading.Condition()
        self._waiting: deque[Frame] = deque([opening])
        self._has_first = False
        self._in_hand = False
        self._dropped: list[int] = []
        self._answers: list[dict[str, Any]] = []
        self._done = False
        self._died: str | None = None
        self._threads = [
            threading.Thread(target=target, daemon=True, name=f"projector-export {target.__name__}")
            for target in (self._hand_over, self._listen)
        ]
        with contextlib.ExitStack() as stack:
            try:
                self._said = stack.enter_context(tempfile.TemporaryFile())
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-c", _START, *sys.path],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._said,
                    process_group=0,  # Ctrl-C is for the training
                    # No session of its own: Linux shares cores among sessions, whatever their
                    # priority.
                )
                stack.callback(self._process.kill)
                for thread in self._threads:
                    thread.start()
            except (OSError, RuntimeError) as error:  # no file, no process, no thread
                raise RecordingError(
                    f"the recording process cannot be started ({error})"
                ) from error
            stack.pop_all()

    def send(self, frame: Frame, when_busy: Literal["drop", "wait"]) -> None:
        """Put a frame into the queue.

        Raises:
            RecordingError: the process has ended.
        """
        with self._changed:
            is_step = frame.kind == "step"  # the end waits for no place
            while is_step and self._died is None and len(self._steps_waiting()) >= QUEUE:
                if when_busy == "wait":
                    self._changed.wait()
                    continue
                # Not the first: all movement is measured from it. Nor the newest, which may be
                # the training's last.
                oldest = self._steps_waiting()[0 if self._has_first else 1]
                self._waiting.remove(oldest)
                self._dropped.append(int(oldest.facts["step"]))
            self.check()
            self._waiting.append(frame)
            self._changed.notify_all()

    def _steps_waiting(self) -> list[Frame]:
        return [frame for frame in self._waiting if frame.kind == "step"]

    def check(self) -> None:
        """Make sure that frames can be sent.

        Raises:
            RecordingError: the process has ended.
        """
        if self._died is not None:
            raise RecordingError(self._died)

    def take_answers(self) -> list[dict[str, Any]]:
        """Return the answers since the last call."""
        with self._changed:
            taken, self._answers = self._answers, []
        return taken

    def take_dropped(self) -> list[int]:
        """Return the steps dropped since the last call."""
        with self._changed:
            taken, self._dropped = self._dropped, []
        return taken

    def join(self, timeout_s: float | None) -> None:
        """Wait until the process has ended; after `timeout_s` end it."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            with self._changed:
                self._done = True  # this tells the end
                late = f"recording was not done after {timeout_s:.0f} s and was ended"
                self._answers.append({"kind": "end", "error": late})
            self._process.kill()
            self._process.wait()
        for thread in self._threads:
            thread.join(5)
        with contextlib.suppress(OSError):  # what it was too late for
            self._process.stdin.close()  # type: ignore[union-attr]
        self._said.close()

    def _hand_over(self) -> None:
        stream = self._process.stdin
        assert stream is not None
        try:
            while True:
                with self._changed:
                    # One step at a time: a pipe would hold many small ones, past any bound.
                    self._changed.wait_for(
                        lambda: (self._waiting and not self._in_hand) or self._died is not None
                    )
                    if self._died is not None:
                        return
                    frame = self._waiting.popleft()
                    self._in_hand = frame.kind == "step"
                    self._has_first = self._has_first or self._in_hand
                    self._changed.notify_all()
                write_frame(stream, frame)
                if frame.kind == "finish":
                    stream.close()
                    return
                del frame  # its vectors are the worker's now
        except (OSError, ValueError):  # the process is gone, which the other thread tells
            self._process.kill()

    def _listen(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        with stream, contextlib.suppress(ValueError):  # a line cut short by a kill
            for line in stream:
                answer = json.loads(line)
                with self._changed:
                    self._answers.append(answer)
                    self._in_hand = False
                    self._changed.notify_all()
                    self._done = self._done or answer["kind"] == "finish"
        status = self._process.wait()
        with self._changed:
            self._died = f"the recording process has ended (exit code {status})"
            if not self._done:
                hint = " (killed; out of memory?)" if status == -9 else ""
                self._died = (
                    f"the recording process ended with code {status}{hint}{self._last_words()}; "
                    "nothing more is recorded"
                )
                self._answers.append({"kind": "end", "error": self._died})
            self._changed.notify_all()

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = self._said.read().decode("utf-8", errors="replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""
