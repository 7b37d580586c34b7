"""A real training, recorded while a TensorBoard that was there before it looks on."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from projector_export.viewing.serve import HOST

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "scripts/examples/train_digits.py"
EPOCHS = 10


@dataclass
class Board:
    """A TensorBoard over a directory that may be empty."""

    process: subprocess.Popen[bytes]
    port: int

    def get(self, path: str) -> Any:
        """Return the JSON of a route below /data/plugin/."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{HOST}:{self.port}/data/plugin/{path}", timeout=60) as answer:
            return json.load(answer)

    def projector_runs(self) -> list[str]:
        """Return the runs that the projector lists."""
        runs: list[str] = self.get("projector/runs")
        return runs


def start_board(log_dir: Path) -> Board:
    """Start TensorBoard with its defaults, and wait until it answers."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(log_dir)]
    command += ["--host", HOST, "--port", str(port)]
    quiet = subprocess.DEVNULL
    board = Board(subprocess.Popen(command, stdout=quiet, stderr=quiet), port)
    deadline = time.monotonic() + 60
    while True:
        try:
            board.projector_runs()
        except OSError:
            if time.monotonic() > deadline:
                board.process.kill()
                raise
            time.sleep(0.3)
        else:
            return board


@dataclass
class TrainingRun:
    """What was seen of a training.

    Attributes:
        run_dir: of the training.
        board: still running.
        listed: for each time that /runs answered while the training went on: what it listed.
        delays_s: seconds from when a step was whole to when it was listed.
        said: what the training printed.
    """

    run_dir: Path
    board: Board
    listed: list[list[str]]
    delays_s: dict[str, float]
    said: str


def watch_training(log_dir: Path) -> TrainingRun:
    """Start TensorBoard on an empty directory, then the example, and look until both rest."""
    run_dir = log_dir / "digits"
    board = start_board(log_dir)
    command = [sys.executable, "-W", "error", str(EXAMPLE), "--log-dir", str(run_dir)]
    command += ["--epochs", str(EPOCHS)]
    listed: list[list[str]] = [board.projector_runs()]
    seen: dict[str, float] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as training:
        while training.poll() is None:
            time.sleep(0.5)
            listed.append(board.projector_runs())
            for run in listed[-1]:
                seen.setdefault(run, time.time())
        assert training.stdout is not None
        said = training.stdout.read()
    assert training.returncode == 0
    deadline = time.monotonic() + 30
    while len(seen) < EPOCHS + 1 and time.monotonic() < deadline:
        time.sleep(0.5)
        for run in board.projector_runs():
            seen.setdefault(run, time.time())
    delays = {}
    for run, when in seen.items():
        (event_file,) = (log_dir / run).glob("*tfevents*")
        delays[run] = when - event_file.stat().st_mtime
    return TrainingRun(run_dir, board, listed, delays, said)
