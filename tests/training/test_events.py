"""Summaries lie in the training run's events beside the training's own, which stay readable."""

from __future__ import annotations

import io
import json
import os
import resource
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from projector_export.errors import OutputError
from projector_export.training.events import EventWriter
from projector_export.training.summaries import Summary

ACCURACY = "projector/e/label_accuracy"
TABLE = "| cluster | points |\n| --- | ---: |\n| a&#124;b | 3 |"


def _png(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (200, 10, 10)).save(buffer, "PNG")
    return buffer.getvalue()


def _scalar(step: int, value: float) -> Summary:
    return Summary(step, {ACCURACY: value})


def _events(path: Path) -> list[Any]:
    """All events of a file, read and checked by TensorBoard."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    return list(LegacyEventFileLoader(str(path)).Load())


def _steps(path: Path) -> list[int]:
    return [event.step for event in _events(path)[1:]]


def _ours(run_dir: Path) -> list[Path]:
    return sorted(run_dir.glob("events.out.tfevents.0000000000.*"))


class TestFile:
    """The format: first record `file_version: "brain.Event:2"`; wall times real."""

    def test_scalars_images_and_texts_are_one_record(self, tmp_path: Path) -> None:
        """Each record whole or not at all: a step is one record."""
        before = time.time()
        png = _png(7, 3)
        scalars = {ACCURACY: 0.25, "projector/e/effective_rank": 3.5}
        summary = Summary(30, scalars, {"projector/e/most_moved": png}, {"projector/e/t": TABLE})
        EventWriter(tmp_path / "new" / "run").write(summary)
        (path,) = (tmp_path / "new" / "run").iterdir()
        version, event = _events(path)
        assert version.file_version == "brain.Event:2"
        assert before <= version.wall_time <= event.wall_time <= time.time()
        assert event.step == 30
        values = {value.tag: value for value in event.summary.value}
        assert values[ACCURACY].simple_value == 0.25
        assert values["projector/e/effective_rank"].simple_value == 3.5
        image = values["projector/e/most_moved"].image
        assert (image.width, image.height, image.encoded_image_string) == (7, 3, png)
        text = values["projector/e/t"]
        assert text.metadata.plugin_data.plugin_name == "text"
        assert list(text.tensor.string_val) == [TABLE.encode()]
        assert len(text.tensor.tensor_shape.dim) == 0
        assert len(values) == 4

    def test_what_is_written_is_in_the_file_at_once(self, tmp_path: Path) -> None:
        """Synchronously: a training that is killed next has lost nothing."""
        writer = EventWriter(tmp_path)
        for step in (1, 2, 3):
            writer.write(_scalar(step, 0.5))
            (path,) = _ours(tmp_path)
            assert _steps(path) == list(range(1, step + 1))

    def test_nothing_to_say_makes_no_file(self, tmp_path: Path) -> None:
        """All optional: numbers that are switched off leave no trace."""
        EventWriter(tmp_path / "run").write(Summary(1))
        assert not (tmp_path / "run").exists()

    def test_the_accumulator_of_scripts_reads_the_scalars(self, tmp_path: Path) -> None:
        """Older readers, which know `simple_value` only, get them too."""
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        EventWriter(tmp_path).write(_scalar(4, 0.75))
        read = EventAccumulator(str(tmp_path)).Reload()
        assert [(e.step, e.value) for e in read.Scalars(ACCURACY)] == [(4, 0.75)]


class TestNames:
    """Ours must sort before the training's; a restart's file after the older one of ours."""

    def test_a_later_writer_sorts_after_an_earlier_one(self, tmp_path: Path) -> None:
        """Also the tenth and the hundredth, whatever the clock says."""
        (tmp_path / "events.out.tfevents.1700000000.host.7.0").touch()
        seen: list[Path] = []
        for step in range(12):
            EventWriter(tmp_path).write(_scalar(step, 0.5))
            (new,) = set(_ours(tmp_path)) - set(seen)
            seen.append(new)
        assert seen == sorted(seen)
        last = tmp_path / "events.out.tfevents.0000000000.000099.5.projector-export"
        last.touch()
        EventWriter(tmp_path).write(_scalar(20, 0.5))
        assert _ours(tmp_path)[-1].name.startswith("events.out.tfevents.0000000000.000100.")
        assert sorted(tmp_path.iterdir())[-1].name == "events.out.tfevents.1700000000.host.7.0"

    def test_two_writers_at_once_have_a_file_each(self, tmp_path: Path) -> None:
        """Two recorders in one run do not overwrite each other."""
        one, other = EventWriter(tmp_path), EventWriter(tmp_path)
        for step in (1, 2):
            one.write(_scalar(step, 0.5))
            other.write(_scalar(10 * step, 0.5))
        assert [_steps(path) for path in _ours(tmp_path)] == [[1, 2], [10, 20]]

    def test_a_name_taken_meanwhile_is_passed_over(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Unique per process: a file that another made between looking and making stays."""
        taken = tmp_path / f"events.out.tfevents.0000000000.000001.{os.getpid()}.projector-export"
        taken.write_bytes(b"other")
        with monkeypatch.context() as patched:
            patched.setattr(Path, "iterdir", lambda path: iter(()))
            EventWriter(tmp_path).write(_scalar(3, 0.5))
        assert taken.read_bytes() == b"other"
        assert _steps(_ours(tmp_path)[1]) == [3]


@contextmanager
def _file_size_limit(n_bytes: int) -> Iterator[None]:
    """Let the kernel refuse to write beyond so many bytes of a file, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class TestFullDisk:
    """On a short write truncate back to the last whole record and raise OutputError."""

    def test_a_record_that_does_not_fit_is_taken_back(self, tmp_path: Path) -> None:
        """The part that fitted is taken back, and the next step begins a new file."""
        writer = EventWriter(tmp_path)
        writer.write(_scalar(1, 0.5))
        (path,) = _ours(tmp_path)
        whole = path.read_bytes()
        with (
            _file_size_limit(len(whole) + 20),
            pytest.raises(OutputError, match="cannot take the numbers of step 2") as caught,
        ):
            writer.write(_scalar(2, 0.5))
        assert "make space" in str(caught.value)
        assert path.read_bytes() == whole
        writer.write(_scalar(3, 0.5))
        assert [_steps(path) for path in _ours(tmp_path)] == [[1], [3]]
        assert path.read_bytes() == whole

    def test_a_first_record_that_does_not_fit_leaves_no_file(self, tmp_path: Path) -> None:
        """No empty file is left behind at every step of a training on a full disk."""
        writer = EventWriter(tmp_path)
        with _file_size_limit(30), pytest.raises(OutputError, match="step 5"):
            writer.write(_scalar(5, 0.5))
        assert list(tmp_path.iterdir()) == []
        writer.write(_scalar(6, 0.5))
        assert [_steps(path) for path in _ours(tmp_path)] == [[6]]

    def test_a_reader_that_saw_the_part_reads_on(self, tmp_path: Path) -> None:
        """Earlier and later steps load in a reader that looked while a part was there."""
        from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

        writer = EventWriter(tmp_path)
        writer.write(_scalar(1, 0.5))
        (path,) = _ours(tmp_path)
        reader = LegacyEventFileLoader(str(path))
        assert len(list(reader.Load())) == 2
        real = os.ftruncate

        def look_first(file: int, size: int) -> None:
            assert list(reader.Load()) == []
            real(file, size)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(os, "ftruncate", look_first)
            with _file_size_limit(path.stat().st_size + 20), pytest.raises(OutputError):
                writer.write(_scalar(2, 0.5))
        writer.write(_scalar(3, 0.5))
        assert list(reader.Load()) == []
        assert [_steps(path) for path in _ours(tmp_path)] == [[1], [3]]

    def test_a_run_that_is_a_file_is_an_output_error(self, tmp_path: Path) -> None:
        """Errors of the disk are OutputError: got, where, what to do."""
        (tmp_path / "run").touch()
        with pytest.raises(OutputError, match="cannot take the numbers of step 1"):
            EventWriter(tmp_path / "run").write(_scalar(1, 0.5))


def _training(run_dir: Path) -> Any:
    """A training's own writer, in a file named after a second that no other has."""
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    taken = {path.name.split(".")[3] for path in run_dir.glob("events.*")}
    while f"{int(time.time()):010d}" in taken:
        time.sleep(0.05)
    return tensorboard.SummaryWriter(str(run_dir))


def _add(writer: Any, tag: str, step: int) -> None:
    writer.add_scalar(tag, step / 2, step)
    writer.flush()


class TestPythonReader:
    """A training writer made before AND one made after ours both keep being read to the end."""

    @staticmethod
    def _reader(run_dir: Path, *, multifile: bool = False) -> Callable[[str], list[int]]:
        """TensorBoard's own, without the data server; returns the steps of a tag after a reload."""
        from tensorboard.backend.event_processing import plugin_event_multiplexer

        active = (lambda timestamp: True) if multifile else None
        reader = plugin_event_multiplexer.EventMultiplexer(event_file_active_filter=active)
        reader.AddRun(str(run_dir), "run")

        def steps(tag: str) -> list[int]:
            reader.Reload()
            try:
                return [event.step for event in reader.Tensors("run", tag)]
            except KeyError:
                return []

        return steps

    def test_writers_before_and_after_ours_are_read_to_the_end(self, tmp_path: Path) -> None:
        """Ours does not hide the training's later scalars while writing goes on."""
        before, ours = _training(tmp_path), EventWriter(tmp_path)
        _add(before, "loss", 1)
        steps = self._reader(tmp_path)
        assert steps("loss") == [1]
        ours.write(_scalar(1, 0.5))
        _add(before, "loss", 2)
        assert steps("loss") == [1, 2]
        ours.write(_scalar(2, 0.5))
        _add(before, "loss", 3)
        assert steps("loss") == [1, 2, 3]
        after = _training(tmp_path)
        for step in (4, 5, 6):
            _add(after, "loss", step)
            ours.write(_scalar(step, 0.5))
            assert steps("loss") == list(range(1, step + 1))
        before.close()
        after.close()
        again = self._reader(tmp_path)  # as after a restart of TensorBoard
        assert again("loss") == [1, 2, 3, 4, 5, 6]
        assert again(ACCURACY) == [1, 2, 4, 5, 6]

    def test_a_training_that_starts_after_ours_is_read_to_the_end(self, tmp_path: Path) -> None:
        """Ours is shown as it was when the reader passed it, the training's live."""
        ours = EventWriter(tmp_path)
        ours.write(_scalar(1, 0.5))
        steps = self._reader(tmp_path)
        assert steps(ACCURACY) == [1]
        ours.write(_scalar(2, 0.5))
        assert steps(ACCURACY) == [1, 2]
        after = _training(tmp_path)
        for step in (3, 4):
            _add(after, "loss", step)
            ours.write(_scalar(step, 0.5))
            assert steps("loss") == list(range(3, step + 1))
        after.close()

    def test_with_multifile_ours_is_live_too(self, tmp_path: Path) -> None:
        """`--reload_multifile=true` reads all files of a run all the time."""
        training, ours = _training(tmp_path), EventWriter(tmp_path)
        steps = self._reader(tmp_path, multifile=True)
        for step in (1, 2, 3):
            _add(training, "loss", step)
            ours.write(_scalar(step, 0.5))
            assert steps("loss") == steps(ACCURACY) == list(range(1, step + 1))
        training.close()


@contextmanager
def _tensorboard(log_dir: Path) -> Iterator[Callable[..., bytes]]:
    """A real TensorBoard with its data server; gives what answers a plugin's route."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(log_dir)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--reload_interval", "1"]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(route: str, **query: Any) -> bytes:
        address = f"http://127.0.0.1:{port}/data/plugin/{route}?{urllib.parse.urlencode(query)}"
        with opener.open(address, timeout=10) as answer:
            content: bytes = answer.read()
            return content

    with subprocess.Popen(
        [*command, "--load_fast", "true"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield ask
        finally:
            process.kill()


def _until(found: Callable[[], Any], expected: Any, timeout_s: float = 15) -> None:
    """Wait until an answer is as expected; fail with the last one."""
    deadline, got = time.monotonic() + timeout_s, None
    while got != expected and time.monotonic() < deadline:
        time.sleep(0.2)
        try:
            got = found()
        except (OSError, KeyError) as error:  # not listening yet, or no run or tag yet
            got = error
    assert got == expected


def test_the_data_server_shows_both_files_live(tmp_path: Path) -> None:
    """Both files' scalars appear at the Scalars data route, images and text at their plugins'."""
    import tensorboard_data_server

    if tensorboard_data_server.server_binary() is None:
        pytest.skip("this machine has no TensorBoard data server")
    run = tmp_path / "run"
    before, ours = _training(run), EventWriter(run)
    _add(before, "loss", 1)
    with _tensorboard(tmp_path) as ask:

        def tags(plugin: str) -> Any:
            return sorted(json.loads(ask(f"{plugin}/tags"))["run"])

        def values(tag: str) -> list[tuple[int, float]]:
            read = json.loads(ask("scalars/scalars", run="run", tag=tag))
            return [(step, value) for _, step, value in read]

        _until(lambda: tags("scalars"), ["loss"], timeout_s=60)
        png = _png(9, 5)
        ours.write(
            Summary(2, {ACCURACY: 0.25}, {"projector/e/moved": png}, {"projector/e/t": TABLE})
        )
        _add(before, "loss", 2)
        after = _training(run)
        for step in (3, 4):
            ours.write(_scalar(step, step / 8))
            _add(after, "val", step)
            _add(before, "loss", step)
        _until(lambda: values(ACCURACY), [(2, 0.25), (3, 0.375), (4, 0.5)])
        _until(lambda: values("loss"), [(1, 0.5), (2, 1.0), (3, 1.5), (4, 2.0)])
        _until(lambda: values("val"), [(3, 1.5), (4, 2.0)])
        assert tags("scalars") == ["loss", ACCURACY, "val"]
        assert tags("images") == ["projector/e/moved"]
        assert tags("text") == ["projector/e/t"]
        (image,) = json.loads(ask("images/images", run="run", tag="projector/e/moved", sample=0))
        assert image["step"] == 2
        query = dict(urllib.parse.parse_qsl(image["query"]))
        assert ask("images/individualImage", **query) == png
        (text,) = json.loads(ask("text/text", run="run", tag="projector/e/t"))
        assert text["step"] == 2
        assert "<td>a&#124;b</td>" in text["text"]
    before.close()
    after.close()
