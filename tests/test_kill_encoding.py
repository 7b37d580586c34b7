"""Killed at any moment, the next run goes on from the last finished batch: the same bytes."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
from encoding_doubles import write_pictures

N, BATCH_SIZE = 400, 8
SLOW_ENCODER = """
import time
import numpy as np

class Slow:
    '''Products of matrices, whose rounding depends on which rows share a batch.'''

    cache_key = {"encoder": "slow"}

    def __init__(self):
        self.weights = np.random.default_rng(0).standard_normal((288, 40)).astype(np.float32)

    def prepare(self, image):
        return np.asarray(image.resize((12, 8)), np.float32).ravel() / 255

    def encode(self, prepared):
        time.sleep(0.05)
        return np.tanh(np.stack(prepared) @ self.weights)

    def describe(self):
        return {"encoder": "slow"}
"""


def command(work: Path, out: str, cache: str) -> list[str]:
    """Export the folder `pictures`, as a user starts it."""
    options = ["--encoder", "slow_encoder:Slow", "--batch-size", str(BATCH_SIZE), "--cache", cache]
    quick = ["--umap-dims", "none", "--clusters", "2", "--quiet", "--force"]
    return [sys.executable, "-m", "projector_export", "images", "pictures", out, *options, *quick]


def batches_kept(cache: Path) -> int:
    """Batches that the cache holds whole."""
    files = list(cache.glob("*.sqlite"))
    if not files:
        return 0
    try:
        with closing(sqlite3.connect(f"file:{files[0]}?mode=ro", uri=True, timeout=5)) as db:
            (count,) = db.execute("SELECT count(*) FROM vectors").fetchone()
    except sqlite3.OperationalError:  # the tables are not there yet
        return 0
    assert count % BATCH_SIZE == 0, "half a batch was kept"
    return int(count) // BATCH_SIZE


def test_kill_9_twice_then_a_finished_run(tmp_path: Path) -> None:
    """Identical tensor.bytes to an uninterrupted run; only missing batches were computed."""
    write_pictures(tmp_path / "pictures", N)
    # Unreadable files and copies must not change which items share a batch.
    for item in (3, 77, 210):
        (tmp_path / f"pictures/{item:04d}.png").write_bytes(b"broken")
    for item in (50, 300):
        copy = (tmp_path / f"pictures/{item - 30:04d}.png").read_bytes()
        (tmp_path / f"pictures/{item:04d}.png").write_bytes(copy)
    (tmp_path / "slow_encoder.py").write_text(SLOW_ENCODER, encoding="utf-8")
    subprocess.run(command(tmp_path, "whole", "cache_whole"), cwd=tmp_path, check=True)
    kept = 0
    for more in (9, 12):
        process = subprocess.Popen(command(tmp_path, "killed", "cache"), cwd=tmp_path)
        wanted, patience = kept + more, time.monotonic() + 60
        while batches_kept(tmp_path / "cache") < wanted and time.monotonic() < patience:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        kept = batches_kept(tmp_path / "cache")
        assert wanted <= kept < N // BATCH_SIZE
        assert not (tmp_path / "killed/projector_config.pbtxt").exists()
    subprocess.run(command(tmp_path, "killed", "cache"), cwd=tmp_path, check=True)
    facts = {
        run: json.loads((tmp_path / run / "pictures/manifest.json").read_text(encoding="utf-8"))
        for run in ("whole", "killed")
    }
    embedded = N - 3 - 2
    assert facts["whole"]["encoded"]["computed"] == embedded
    assert facts["killed"]["encoded"]["computed"] == embedded - kept * BATCH_SIZE
    for file in ("tensor.bytes", "metadata.tsv", "sprite.png", "skipped.tsv"):
        whole = (tmp_path / "whole/pictures" / file).read_bytes()
        assert (tmp_path / "killed/pictures" / file).read_bytes() == whole, file
    tensor = np.frombuffer((tmp_path / "whole/pictures/tensor.bytes").read_bytes(), np.float32)
    assert len(tensor) == (N - 3) * 40
