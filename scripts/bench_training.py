"""Time what recording costs a training loop, against `SummaryWriter.add_embedding`, in one run.

    scripts/bench training [--points 5000] [--columns 512] [--epochs 6] [--epoch-seconds 6]

A network is trained on the CPU; after each epoch its hidden layer is recorded for all points.
Prints one line of JSON: milliseconds that `record` and `add_embedding` block, what of it is
copying, and how long epochs are without recording (before and after) and with it, as the worker
shares the cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import warnings

import numpy as np
import torch
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from projector_export import EmbeddingRecorder


class Training:
    """A network that is trained for a given time."""

    def __init__(self, points: int, columns: int, seconds: float) -> None:
        torch.manual_seed(0)
        centres = torch.randn(10, columns)
        self.labels = torch.arange(points) % 10
        self.inputs = centres[self.labels] + 2 * torch.randn(points, columns)
        self.encoder = nn.Sequential(nn.Linear(columns, columns), nn.Tanh())
        self.model = nn.Sequential(self.encoder, nn.Linear(columns, 10))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        start = time.perf_counter()
        self._pass()
        self._pass()
        self.passes = max(1, round(2 * seconds / (time.perf_counter() - start)))

    def _pass(self) -> None:
        for batch in torch.randperm(len(self.inputs)).split(128):
            loss = nn.functional.cross_entropy(self.model(self.inputs[batch]), self.labels[batch])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    def epoch(self) -> float:
        """Train for an epoch; return its seconds."""
        start = time.perf_counter()
        for _ in range(self.passes):
            self._pass()
        return time.perf_counter() - start

    def vectors(self) -> torch.Tensor:
        """(points, columns) of the hidden layer."""
        with torch.no_grad():
            hidden: torch.Tensor = self.encoder(self.inputs)
        return hidden


def timed(call: object) -> float:
    """Milliseconds of a call."""
    start = time.perf_counter()
    call()  # type: ignore[operator]
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--points", type=int, default=5000)
    parser.add_argument("--columns", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--epoch-seconds", type=float, default=6)
    options = parser.parse_args()
    training = Training(options.points, options.columns, options.epoch_seconds)
    labels = [f"class {label}" for label in training.labels.tolist()]
    copying, recording, naive = [], [], []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of steps that are left out, which are counted below
        before = [training.epoch() for _ in range(options.epochs)]
        recorder = EmbeddingRecorder(f"{folder}/ours", "hidden", labels=labels)
        time.sleep(8)  # the worker is ready long before a real training's first epoch ends
        during = []
        for epoch in range(options.epochs):
            during.append(training.epoch())
            vectors = training.vectors()
            copying.append(timed(lambda v=vectors: np.array(v.numpy(), copy=True)))
            recording.append(timed(lambda v=vectors, e=epoch: recorder.record(v, e)))
        start = time.perf_counter()
        recorder.finish(trajectory=None)
        waited = time.perf_counter() - start
        after = [training.epoch() for _ in range(options.epochs)]
        writer = SummaryWriter(f"{folder}/naive")
        for epoch in range(options.epochs):
            vectors = training.vectors()
            naive.append(
                timed(lambda v=vectors, e=epoch: writer.add_embedding(v, labels, global_step=e))
            )
        writer.close()
    print(
        json.dumps(
            {
                "points": options.points,
                "columns": options.columns,
                "cores": os.cpu_count(),
                "copy_ms": round(statistics.median(copying), 1),
                "record_ms": round(statistics.median(recording), 1),
                "record_ms_most": round(max(recording), 1),
                "add_embedding_ms": round(statistics.median(naive), 1),
                "ratio": round(statistics.median(naive) / statistics.median(recording), 1),
                "epoch_s_before": round(statistics.median(before), 2),
                "epoch_s_recording": round(statistics.median(during), 2),
                "epoch_s_after": round(statistics.median(after), 2),
                "recorded": recorder.recorded,
                "left_out": recorder.dropped,
                "finish_s": round(waited, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
