"""The recorder never hurts a training, and loses nothing that it says it has recorded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from conftest import skip_unless_required

from projector_export import EmbeddingRecorder, Settings, View, open_export
from projector_export.errors import DataError, OptionError, OutputError, RecordingError
from projector_export.projector.read_back import PluginReader
from projector_export.training import worker
from projector_export.training.frames import Frame
from projector_export.training.recorder import RecordingWarning

PLAIN = Settings(clusters=None, umap_dims=(), anomalies=False)
LABELS = [f"item {i}" for i in range(40)]


def vectors(step: int, n: int = 40) -> np.ndarray:
    """Rows that tell which step and which example they are."""
    rows = np.random.default_rng(step).standard_normal((n, 8)).astype(np.float32)
    rows[:, 0], rows[:, 1] = step + 1, np.arange(n)
    return rows


def recorded_vectors(run_dir: Path, name: str, step: int) -> np.ndarray:
    """What TensorBoard's plugin serves for a step."""
    step_dir = run_dir / name / f"step_{step:08d}"
    reader = PluginReader(step_dir)
    (entry,) = json.loads(reader.get("/info"))["embeddings"]
    served = np.frombuffer(reader.get("/tensor", name), np.float32)
    metadata = reader.get("/metadata", name).decode()
    assert [line.split("\t")[0] for line in metadata.splitlines()[1:]] == LABELS
    json.loads(reader.get("/bookmarks", name))
    return served.reshape(entry["tensorShape"])


def check_step(run_dir: Path, name: str, step: int) -> None:
    """A step loads whole, with its own vectors; the first number may be moved by 3e-5 of itself."""
    np.testing.assert_allclose(recorded_vectors(run_dir, name, step), vectors(step), rtol=4e-5)


@pytest.fixture(autouse=True)
def _no_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., EmbeddingRecorder]]:
    """Make recorders that are ended with the test."""
    made = []

    def make_one(run_dir: Any = tmp_path / "run", name: str = "e", **options: Any) -> Any:
        settings = {"labels": LABELS, "settings": PLAIN, "when_busy": "wait", **options}
        recorder = EmbeddingRecorder(run_dir, name, **settings)
        made.append(recorder)
        return recorder

    yield make_one
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for recorder in made:
            recorder.finish(trajectory=None)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"every": 0}, "every is 0; expected a number from 1"),
        ({"every": "2"}, "every is '2'; expected a number from 1"),
        ({"settings": {"clusters": 3}}, "settings is a dict; expected Settings"),
        ({"views": [3]}, "a view is a int; expected View"),
        ({"images": "pictures"}, "images is 'pictures'; expected N files or pictures"),
        ({"keep": 1}, r"keep is 1; expected 2 or more"),
        ({"when_busy": "panic"}, "when_busy is 'panic'; expected 'drop' or 'wait'"),
        ({"name": "a/b"}, "it contains '/'"),
        ({"images": np.zeros((3, 4, 4), np.uint8)}, "3 images but 40 labels or metadata"),
        ({"metadata": {"a": [1, 2]}}, "40 labels but 2 metadata"),
        ({"views": [View("a"), View("a")]}, "there are two of this title"),
        ({"views": [View("a", "places.npy")]}, "a file of coordinates fits none"),
        ({"run_dir": "gs://bucket/run"}, "expected a directory of this machine"),
        ({"run_dir": 7}, "run_dir is a int; expected a directory or a SummaryWriter"),
        ({"run_dir": "lr=1&bs=2"}, "has & in its name"),
    ],
)
def test_wrong_arguments_are_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], says: str
) -> None:
    """A mistake in the arguments is an error before the training, and writes nothing."""
    monkeypatch.chdir(tmp_path)
    arguments = {"run_dir": "run", "name": "e", "labels": LABELS, **options}
    with pytest.raises((OptionError, DataError, OutputError), match=says):
        EmbeddingRecorder(**arguments)
    assert list(tmp_path.iterdir()) == []


def test_rows_never_slip(tmp_path: Path, make: Callable[..., EmbeddingRecorder]) -> None:
    """Row i of every step is example i: tensor, metadata, thumbnails."""
    pictures = np.arange(40, dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2) * 5
    recorder = make(images=pictures, thumbnail_px=4, metadata={"number": np.arange(40)})
    for step in range(3):
        recorder.record(vectors(step), step)
    recorder.finish(trajectory=None)
    assert recorder.recorded == [0, 1, 2]
    for step in range(3):
        check_step(tmp_path / "run", "e", step)
        export = open_export(tmp_path / f"run/e/step_{step:08d}")
        assert export.columns["number"].to_list() == list(range(40))
        assert export.thumbnails is not None
        assert (export.thumbnails[:, 2, 2, 0] == np.arange(40) * 5).all()


def test_the_vectors_are_copied(tmp_path: Path, make: Callable[..., EmbeddingRecorder]) -> None:
    """What the training does with the array afterwards changes nothing."""
    recorder = make()
    array = vectors(0)
    recorder.record(array, 0)
    array[:] = 0
    recorder.finish(trajectory=None)
    check_step(tmp_path / "run", "e", 0)


@pytest.mark.parametrize("kind", ["float64", "bfloat16", "requires_grad"])
def test_torch_tensors(tmp_path: Path, make: Callable[..., EmbeddingRecorder], kind: str) -> None:
    """Tensors of any type are taken; no graph is kept."""
    torch = pytest.importorskip("torch")
    values = torch.tensor(vectors(0))
    if kind == "requires_grad":
        given = (values.clone().requires_grad_() * 1) + 0
    else:
        given = values.to(getattr(torch, kind))
    recorder = make()
    recorder.record(given, 0)
    recorder.finish(trajectory=None)
    got = recorded_vectors(tmp_path / "run", "e", 0)
    np.testing.assert_allclose(got, given.detach().float().numpy(), rtol=4e-5)


def test_a_callable_is_called_only_when_due(make: Callable[..., EmbeddingRecorder]) -> None:
    """every: at least so many steps since the last recorded one, the first always."""
    recorder = make(every=10)
    called = []
    for step in (3, 5, 12, 13, 14, 22, 23, 13):
        recorder.record(lambda step=step: called.append(step) or vectors(step), step)
    assert called == [3, 13, 23, 13]
    recorder.finish(trajectory=None)
    assert recorder.recorded == [3, 13, 23, 13]


def test_a_summary_writer_says_where(
    tmp_path: Path, make: Callable[..., EmbeddingRecorder]
) -> None:
    """Takes a run directory or a SummaryWriter (torch's log_dir, tensorboardX's logdir)."""
    for number, attribute in enumerate(["log_dir", "logdir"]):
        writer = SimpleNamespace(**{attribute: str(tmp_path / attribute)})
        recorder = make(writer, f"e{number}")
        recorder.record(vectors(0), 0)
        recorder.finish(trajectory=None)
        check_step(tmp_path / attribute, f"e{number}", 0)


def test_an_error_warns_once_and_the_training_goes_on(
    tmp_path: Path, make: Callable[..., EmbeddingRecorder]
) -> None:
    """An error in recording warns once, with the reason; later steps are recorded."""
    recorder = make()

    def broken() -> np.ndarray:
        raise ZeroDivisionError("no batch")

    recorder.record(vectors(0), 0)
    with pytest.warns(
        RecordingWarning, match="step 1 was not recorded .ZeroDivisionError: no batch."
    ) as told:
        recorder.record(broken, 1)
    assert len(told) == 1
    assert told[0].filename == __file__
    recorder.record(np.zeros(3), 2)
    recorder.record(vectors(3, n=39), 3)
    recorder.record(np.full((40, 8), np.nan), 4)
    recorder.record(vectors(5), 5)
    recorder.record(vectors(5), -1)
    recorder.record(vectors(6), "six")
    recorder.record(vectors(6), [6])
    recorder.finish(trajectory=None)
    recorder.record(vectors(7), 7)
    assert recorder.recorded == [0, 5]
    assert set(recorder.failed) == {1, 2, -1, "'six'", "[6]", 3, 4, 7}
    assert "finish() was called" in recorder.failed[7]
    assert "39 vectors but there are 40 labels" in recorder.failed[3]
    assert "nan in row 0, column 0" in recorder.failed[4]
    check_step(tmp_path / "run", "e", 5)


def test_an_error_in_the_worker_warns_in_the_training(
    make: Callable[..., EmbeddingRecorder],
) -> None:
    """The warning names the line of the training, also for what the worker met."""
    recorder = make()
    recorder.record(vectors(0, n=39), 0)
    with pytest.warns(RecordingWarning, match="step 0 was not recorded .step 0 has 39") as told:
        recorder.finish()
    assert [one.filename for one in told] == [__file__]


def test_strict_raises(make: Callable[..., EmbeddingRecorder]) -> None:
    """strict=True raises what a call meets, and what the worker met."""
    recorder = make(strict=True)
    with pytest.raises(DataError, match=r"of shape \(3,\)"):
        recorder.record(np.zeros(3), 0)
    recorder.record(vectors(1, n=39), 1)
    with pytest.raises(RecordingError, match="39 vectors"):
        recorder.finish()


def test_drop_leaves_out_what_waits(tmp_path: Path, make: Callable[..., EmbeddingRecorder]) -> None:
    """A bounded queue drops: never blocks, says so once, keeps the first and the last step."""
    recorder = make(when_busy="drop", settings=Settings(clusters=None, umap_dims=(2,)))
    seconds: list[float] = []

    def train() -> None:
        for step in range(12):
            start = time.perf_counter()
            recorder.record(vectors(step), step)
            seconds.append(time.perf_counter() - start)
        recorder.finish(trajectory=None)

    with pytest.warns(RecordingWarning, match="was left out, since recording takes longer") as told:
        train()
    assert len(told) == 1
    assert max(seconds) < 0.2
    assert recorder.dropped
    assert sorted(recorder.recorded + recorder.dropped) == list(range(12))
    assert (recorder.recorded[0], recorder.recorded[-1]) == (0, 11)
    for step in recorder.recorded:
        check_step(tmp_path / "run", "e", step)


def _kill_worker(recorder: EmbeddingRecorder) -> None:
    worker = recorder._worker
    assert worker is not None
    worker._process.kill()
    worker._process.wait()


@pytest.mark.parametrize("when_busy", ["drop", "wait"])
def test_a_dead_worker_is_told_once(make: Callable[..., EmbeddingRecorder], when_busy: str) -> None:
    """A worker that is gone (out of memory, say) neither stops nor blocks the training."""
    recorder = make(when_busy=when_busy)
    recorder.record(vectors(0), 0)
    _kill_worker(recorder)
    asked = []

    def train() -> None:
        for step in range(1, 8):

            def ask(step: int = step) -> np.ndarray:
                asked.append(step)
                return vectors(step)

            recorder.record(ask, step)
            time.sleep(0.1)
        recorder.finish()

    with pytest.warns(RecordingWarning, match="recording process ended with code -9") as told:
        train()
    assert len(told) == 1
    assert recorder.recorded == []
    assert sorted(recorder.failed) == list(range(8)), "each step is accounted for"
    assert "ended with code -9" in recorder.failed[7]
    assert asked in ([], [1]), "vectors that nobody takes are not computed"


def test_nothing_recorded_writes_nothing(
    tmp_path: Path, make: Callable[..., EmbeddingRecorder]
) -> None:
    """A recorder that was never asked leaves no trace."""
    make().finish()
    assert list(tmp_path.iterdir()) == []


def test_two_recorders_in_one_run(tmp_path: Path, make: Callable[..., EmbeddingRecorder]) -> None:
    """Two recorders in one run do not overwrite each other's config, nor the run's own."""
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    own = 'embeddings { tensor_name: "mine" tensor_path: "mine.tsv" }\n'
    (run_dir / "projector_config.pbtxt").write_text(own)
    one, two = make(name="one"), make(name="two")
    for step in range(2):
        one.record(vectors(step), step)
        two.record(vectors(step + 5), step + 5)
    one.finish(trajectory=None)
    two.finish(trajectory=None)
    assert (run_dir / "projector_config.pbtxt").read_text() == own
    for step in range(2):
        check_step(run_dir, "one", step)
        check_step(run_dir, "two", step + 5)
    files = sorted(path.name for path in run_dir.glob("*tfevents*"))
    assert len(files) == 2, "each writes its numbers into a file of its own"


def test_one_name_has_one_recorder(tmp_path: Path, make: Callable[..., EmbeddingRecorder]) -> None:
    """A second recorder of the same name in the same run is told to take another."""
    one, two = make(), make()
    one.record(vectors(0), 0)
    deadline = time.monotonic() + 60
    while not (tmp_path / "run/e/step_00000000/projector_config.pbtxt").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    two.record(vectors(1), 1)
    with pytest.warns(RecordingWarning, match="another recorder; give each a name of its own"):
        two.finish()
    one.finish(trajectory=None)
    check_step(tmp_path / "run", "e", 0)
    assert not (tmp_path / "run/e/step_00000001").exists()


def test_only_rank_0_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[..., EmbeddingRecorder]
) -> None:
    """Other ranks neither evaluate, write nor start a process."""
    monkeypatch.setenv("RANK", "1")
    recorder = make()
    recorder.record(lambda: pytest.fail("evaluated"), 0)
    recorder.finish()
    assert recorder._worker is None
    assert list(tmp_path.iterdir()) == []


def test_numbers_may_be_left_out(tmp_path: Path, make: Callable[..., EmbeddingRecorder]) -> None:
    """All optional: no event file in the run without numbers."""
    recorder = make(numbers=False)
    recorder.record(vectors(0), 0)
    recorder.finish(trajectory=None)
    check_step(tmp_path / "run", "e", 0)
    assert list((tmp_path / "run").glob("*tfevents*")) == []


def test_views_of_the_user_are_at_every_step(
    tmp_path: Path, make: Callable[..., EmbeddingRecorder]
) -> None:
    """Bookmarks are the same views at every step, the user's first."""
    (tmp_path / "rows.txt").write_text("3\n5\n")
    view = View("Mine", select="rows rows.txt", folder=tmp_path)
    views = [view, "Fast; select=top 3 by movement"]
    recorder = make(settings=Settings(clusters=2, umap_dims=(2,)), views=views)
    for step in range(2):
        recorder.record(vectors(step), step)
    recorder.finish(trajectory=None)
    assert recorder.failed == {}
    states = [open_export(tmp_path / f"run/e/step_{step:08d}").states for step in range(2)]
    titles = [[state["label"] for state in some] for some in states]
    assert titles[0] == titles[1]
    assert titles[0][:2] == ["Mine", "Fast"]
    assert "Moved most" in titles[0]
    assert [some[0]["selectedPoints"] for some in states] == [[3, 5], [3, 5]]


def test_a_training_is_resumed(tmp_path: Path, make: Callable[..., EmbeddingRecorder]) -> None:
    """Resuming continues the series: what was recorded stays, and steps compare with it."""
    first = make()
    for step in range(3):
        first.record(vectors(step), step)
    first.finish(trajectory=None)
    second = make()
    for step in range(2, 5):
        second.record(vectors(step), step)
    second.finish(trajectory=None)
    third = make()
    with pytest.warns(RecordingWarning, match=r"has later steps already \(4\); they stay until"):
        third.record(vectors(3), 3)
    third.finish(trajectory=None)
    steps = sorted(path.name for path in (tmp_path / "run/e").glob("step_*"))
    assert steps == [f"step_{step:08d}" for step in range(5)]
    for step in range(5):
        check_step(tmp_path / "run", "e", step)
    movement = open_export(tmp_path / "run/e/step_00000003").columns["movement"].to_numpy()
    one, other = (vectors(step).astype(np.float64) for step in (2, 3))
    cosine = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    np.testing.assert_allclose(movement, np.degrees(np.arccos(cosine)), atol=1e-3)


SCRIPT = """
import sys, time
sys.path.insert(0, {tests!r})
from training.test_recorder import LABELS, PLAIN, vectors
from projector_export import EmbeddingRecorder
recorder = EmbeddingRecorder(
    sys.argv[1], "e", labels=LABELS, settings=PLAIN, when_busy="wait", keep=None
)
print("started", flush=True)
for step in range(int(sys.argv[2]), int(sys.argv[3])):
    recorder.record(vectors(step), step)
{end}
"""


def _script(tmp_path: Path, end: str) -> list[str]:
    path = tmp_path / "train.py"
    path.write_text(SCRIPT.format(tests=str(Path(__file__).parents[1]), end=end))
    return [sys.executable, str(path), str(tmp_path / "run")]


@pytest.mark.parametrize("end", ["", "raise SystemExit(3)", "1 / 0"])
def test_an_end_without_finish_loses_nothing(tmp_path: Path, end: str) -> None:
    """A script that ends, exits or fails without finish() has all its steps on disk."""
    done = subprocess.run([*_script(tmp_path, end), "0", "3"], check=False, capture_output=True)
    assert (done.returncode == 0) == (end == "")
    for step in range(3):
        check_step(tmp_path / "run", "e", step)


def _wait_for_end_of_worker(run_dir: Path) -> None:
    """The worker of a killed training finishes the step in hand, then ends and frees its lock."""
    from filelock import FileLock

    with FileLock(run_dir / "e/.series.lock", timeout=60):
        pass


def test_kill_9_of_the_training(tmp_path: Path) -> None:
    """Kill -9 during recording, again and again: every listed step loads, and none is lost."""
    run_dir, first = tmp_path / "run", 0
    rng = np.random.default_rng(0)
    for _ in range(4):
        command = [*_script(tmp_path, ""), str(first), str(first + 400)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            deadline = time.monotonic() + 60
            while not list(run_dir.glob(f"e/step_{first:08d}/*tfevents*")):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
            time.sleep(rng.uniform(0, 0.5))
            process.send_signal(signal.SIGKILL)
        _wait_for_end_of_worker(run_dir)
        listed = sorted(path.parent.name for path in run_dir.glob("e/step_*/*tfevents*"))
        assert f"step_{first:08d}" in listed
        assert len(set(listed)) >= first + 1
        for name in listed:
            check_step(run_dir, "e", int(name.removeprefix("step_")))
        first = int(listed[-1].removeprefix("step_")) + 1
    steps = sorted(int(path.name.removeprefix("step_")) for path in run_dir.glob("e/step_*"))
    assert steps == list(range(first)), "resumed trainings go on where the series ended"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        skip_unless_required("tmpfs", "a small tmpfs cannot be mounted (needs root)")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_disk_full(small_disk: Path, make: Callable[..., EmbeddingRecorder]) -> None:
    """Disk full: the training goes on, one warning, earlier steps load; with space, it resumes."""
    recorder = make(small_disk / "run", numbers=True)
    recorder.record(vectors(0), 0)
    recorder.record(vectors(1), 1)
    deadline = time.monotonic() + 60
    while len(list(small_disk.glob("run/e/step_*/*tfevents*"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    filler = small_disk / "filler"
    with open(filler, "wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4096))
        except OSError:
            pass

    def train() -> None:
        for step in range(2, 8):
            recorder.record(vectors(step), step)
        deadline = time.monotonic() + 60
        while len(recorder.failed) < 6:
            assert time.monotonic() < deadline
            recorder._tell()
            time.sleep(0.05)

    with pytest.warns(RecordingWarning, match="was not recorded .*No space left") as told:
        train()
    assert len(told) == 1
    for step in range(2):
        check_step(small_disk / "run", "e", step)
    assert len(list(small_disk.glob("run/e/step_*/*tfevents*"))) == 2
    filler.unlink()
    recorder.record(vectors(8), 8)
    recorder.finish(trajectory=None)
    assert recorder.recorded == [0, 1, 8]
    for step in (0, 1, 8):
        check_step(small_disk / "run", "e", step)
    events = list((small_disk / "run").glob("*projector-export"))
    assert events, "the numbers of the steps that fit are there"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_does_not_record(
    tmp_path: Path, make: Callable[..., EmbeddingRecorder]
) -> None:
    """A data loader's forked worker has a copy of the recorder, which keeps still."""
    recorder = make()
    pid = os.fork()
    if pid == 0:
        recorder.record(vectors(7), 7)
        recorder.finish()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    recorder.record(vectors(0), 0)
    recorder.finish(trajectory=None)
    assert recorder.recorded == [0]
    assert not (tmp_path / "run/e/step_00000007").exists()


def test_metadata_travels_along(tmp_path: Path, make: Callable[..., EmbeddingRecorder]) -> None:
    """Labels and columns of any language reach the viewer; one named as ours is renamed."""
    metadata = pl.DataFrame({"名前": [f"魚 {i}" for i in range(40)], "movement": range(40)})
    recorder = make(metadata=metadata)
    recorder.record(vectors(0), 0)
    with pytest.warns(RecordingWarning, match="reserved names were renamed: user_movement"):
        recorder.finish(trajectory=None)
    columns = open_export(tmp_path / "run/e/step_00000000").columns
    assert columns["名前"].to_list() == [f"魚 {i}" for i in range(40)]
    assert columns["user_movement"].to_list() == list(range(40))
    assert recorder.notes == ["columns with reserved names were renamed: user_movement"]


def test_no_process_is_no_reason_to_stop(
    monkeypatch: pytest.MonkeyPatch, make: Callable[..., EmbeddingRecorder]
) -> None:
    """Where the worker cannot be started, one warning says so; strict raises."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.warns(RecordingWarning, match="recording process cannot be started") as told:
        recorder = make()
    recorder.record(vectors(0), 0)
    recorder.finish()
    assert len(told) == 1
    assert "cannot be started" in recorder.failed[0]
    with pytest.raises(RecordingError, match="cannot be started"):
        make(strict=True)


def test_finish_gives_up_when_asked(make: Callable[..., EmbeddingRecorder]) -> None:
    """A worker that hangs does not hold up the end of the training."""
    recorder = make()
    assert recorder._worker is not None
    recorder._worker._process.send_signal(signal.SIGSTOP)
    for step in range(3):  # one is under way, two wait
        recorder.record(vectors(step), step)
    start = time.perf_counter()
    with pytest.warns(RecordingWarning, match="was not done after 0 s") as told:
        recorder.finish(timeout_s=0.2)
    assert time.perf_counter() - start < 10
    assert len(told) == 1
    assert list(recorder.failed) == [0, 1, 2]
    assert recorder._worker._process.poll() is not None, "it does not stay behind"


def test_what_a_resumed_training_forgot_is_told(
    tmp_path: Path, make: Callable[..., EmbeddingRecorder]
) -> None:
    """Thumbnails and columns that earlier steps have do not vanish silently."""
    pictures = np.zeros((40, 4, 4), np.uint8)
    first = make(images=pictures, metadata={"number": np.arange(40)})
    first.record(vectors(0), 0)
    first.finish(trajectory=None)
    second = make()
    second.record(vectors(1), 1)
    with pytest.warns(RecordingWarning, match="earlier steps have thumbnails and the columns num"):
        second.finish(trajectory=None)
    assert second.recorded == [1]


def test_an_image_that_cannot_be_read_is_told(
    tmp_path: Path, make: Callable[..., EmbeddingRecorder]
) -> None:
    """One unreadable image among many is reported, not fatal."""
    from PIL import Image

    for i in range(39):
        Image.new("RGB", (4, 4), (i, 0, 0)).save(tmp_path / f"{i}.png")
    recorder = make(images=[tmp_path / f"{i}.png" for i in range(40)])
    recorder.record(vectors(0), 0)
    with pytest.warns(RecordingWarning, match="1 thumbnails cannot be read"):
        recorder.finish(trajectory=None)
    assert recorder.recorded == [0]


def test_a_folder_that_cannot_be_opened_is_told(
    tmp_path: Path, make: Callable[..., EmbeddingRecorder]
) -> None:
    """A sign in a parent's name that breaks TensorBoard's addresses is said, not fatal."""
    with pytest.warns(RecordingWarning, match="has & in a folder's name"):
        recorder = make(tmp_path / "a&b" / "version_0")
    recorder.record(vectors(0), 0)
    recorder.finish(trajectory=None)
    assert recorder.recorded == [0]


def test_a_note_with_numbers_is_told_once(make: Callable[..., EmbeddingRecorder]) -> None:
    """What the analyses notice is told for the first step, however its numbers change."""
    recorder = make()
    for step in range(3):
        rows = vectors(step)
        rows[: step + 1] = 0
        recorder.record(rows, step)
    with pytest.warns(RecordingWarning, match="vectors are all zero") as told:
        recorder.finish(trajectory=None)
    assert len(told) == 1
    assert recorder.recorded == [0, 1, 2]


def test_numbers_that_fail_do_not_take_the_step_with_them(
    tmp_path: Path, make: Callable[..., EmbeddingRecorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong with the numbers, the step is there, and what went wrong is told."""

    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(worker, "write_numbers", fail)
    with worker.Work(make(numbers=True)._opening()) as work:
        said = work.do(Frame("step", {"step": 3}, {"vectors": vectors(3)}))
    assert said["numbers_error"] == "ZeroDivisionError"
    assert len(list(tmp_path.rglob("step_00000003"))) == 1


def test_no_thread_is_no_reason_to_stop(
    monkeypatch: pytest.MonkeyPatch, make: Callable[..., EmbeddingRecorder]
) -> None:
    """Where no thread can be started, one warning says so, and no process stays behind."""
    started = []
    popen = subprocess.Popen

    def remember(*arguments: Any, **options: Any) -> Any:
        started.append(popen(*arguments, **options))
        return started[-1]

    def refuse(_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(subprocess, "Popen", remember)
    monkeypatch.setattr("threading.Thread.start", refuse)
    with pytest.warns(RecordingWarning, match="cannot be started .can't start new thread"):
        make()
    assert started[0].wait(10) == -9
    for stream in (started[0].stdin, started[0].stdout):
        stream.close()


def test_record_blocks_far_less_than_add_embedding(
    tmp_path: Path, make: Callable[..., EmbeddingRecorder]
) -> None:
    """5,000 x 512: at most 50 ms beyond copying, and at least 30 x less than add_embedding."""
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    values = np.random.default_rng(0).standard_normal((5000, 512)).astype(np.float32)
    labels = [f"item {i}" for i in range(5000)]
    recorder = make(labels=labels, when_busy="drop", numbers=False)
    ours, copies = [], []
    for step in range(3):
        start = time.perf_counter()
        np.array(values, copy=True)
        copied = time.perf_counter()
        recorder.record(values, step)
        ours.append(time.perf_counter() - copied)
        copies.append(copied - start)
        time.sleep(0.2)
    writer = tensorboard.SummaryWriter(str(tmp_path / "naive"))
    start = time.perf_counter()
    writer.add_embedding(values, labels)
    naive = time.perf_counter() - start
    writer.close()
    recorder.finish(trajectory=None)
    assert np.median(ours) < np.median(copies) + 0.05
    assert naive > 30 * np.median(ours)
