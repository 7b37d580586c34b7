"""A kill at any moment leaves the old export, or the new one whole."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from projector_export.projector.read_back import PluginReader

N_KILLS = 10


def export_command(vectors: Path, out: Path) -> list[str]:
    """An export over an existing one, as a user starts it."""
    command = [sys.executable, "-m", "projector_export", "vectors", str(vectors), str(out)]
    return [*command, "--name", "e", "--clusters", "3", "--umap-dims", "2", "--force", "--quiet"]


def which_export_loads(out: Path) -> float:
    """Load all that TensorBoard would, and return the value that marks the export."""
    reader = PluginReader(out)
    (entry,) = json.loads(reader.get("/info"))["embeddings"]
    tensor = np.frombuffer(reader.get("/tensor", "e"), np.float32).reshape(entry["tensorShape"])
    marks = set(tensor[:, 0].tolist())
    assert len(marks) == 1, "tensor mixes two exports"
    assert reader.get("/metadata", "e").decode().count("\n") == len(tensor) + 1
    for state in json.loads(reader.get("/bookmarks", "e")):
        assert state["dataSetDimensions"] == entry["tensorShape"]
        assert len(state["projections"]) == len(tensor)
    return marks.pop()


def is_writing(out: Path) -> bool:
    """Whether an export has begun to write (the leftovers of a killed one do not count)."""
    newest = max(out.glob(".staging-*/e"), key=lambda p: p.stat().st_mtime, default=None)
    return newest is not None and time.time() - newest.stat().st_mtime < 1


def test_kill_9_at_ten_random_moments(tmp_path: Path) -> None:
    """Kill -9 during an export over an existing one: the old loads, or the new one is whole."""
    out = tmp_path / "run"
    rng = np.random.default_rng(0)
    sizes = {1.0: 80, 2.0: 90}
    for mark, rows in sizes.items():
        vectors = rng.standard_normal((rows, 16)).astype(np.float32)
        vectors[:, 0] = mark
        np.save(tmp_path / f"{mark:.0f}.npy", vectors)
    old, new = tmp_path / "1.npy", tmp_path / "2.npy"
    subprocess.run(export_command(old, out), check=True)
    start = time.perf_counter()
    subprocess.run(export_command(old, out), check=True)
    whole = time.perf_counter() - start
    assert which_export_loads(out) == 1.0
    killed, expected = 0, 1.0
    for number in range(N_KILLS):
        process = subprocess.Popen(export_command(new, out))
        if number % 2:  # anywhere
            time.sleep(rng.uniform(0, whole * 0.9))
        else:  # while files are written, read back and moved
            while process.poll() is None and not is_writing(out):
                time.sleep(0.002)
            time.sleep(rng.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        found = which_export_loads(out)
        assert found in (1.0, 2.0)
        assert not (expected == 2.0 and found == 1.0), "a whole new export vanished"
        expected = found
    assert killed >= 3
    subprocess.run(export_command(new, out), check=True)
    assert which_export_loads(out) == 2.0
    assert not list(out.glob(".staging-*")), "the leftovers of killed exports are removed"
