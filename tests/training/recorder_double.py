"""Stands in for EmbeddingRecorder: keeps what it gets, and starts no process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from projector_export.settings import Settings
from projector_export.training.distributed import rank
from projector_export.training.recorder import EmbeddingRecorder


class RecorderDouble:
    """Records every `every`-th step, in rank 0, and keeps the vectors themselves."""

    def __init__(self, *, every: int = 1, strict: bool = True) -> None:
        self.every, self.strict = every, strict
        self.steps: dict[int, np.ndarray] = {}
        self.asked: list[int] = []
        self.errors: list[Exception] = []
        self.finished: list[str | None] = []

    def is_due(self, step: int) -> bool:
        return rank() == 0 and step % self.every == 0

    def record(self, vectors: Any | Callable[[], Any], step: int) -> None:
        self.asked.append(step)
        if not self.is_due(step):
            return
        try:
            self.steps[step] = np.array(vectors() if callable(vectors) else vectors)
        except Exception as error:
            if self.strict:
                raise
            self.errors.append(error)

    def finish(self, *, trajectory: str | None = "classes") -> None:
        self.finished.append(trajectory)


def make_real(run_dir: Path, n: int, **options: Any) -> EmbeddingRecorder:
    """Return a real recorder whose work is little, of n examples with two labels."""
    return EmbeddingRecorder(
        run_dir,
        labels=[f"label{number % 2}" for number in range(n)],
        settings=Settings(clusters=None, umap_dims=(2,)),
        numbers=False,
        when_busy="wait",
        strict=True,
        **options,
    )


def check_series(run_dir: Path, steps: dict[int, np.ndarray]) -> None:
    """The series below run_dir has these steps, each with these vectors, row for row."""
    series = run_dir / "embedding"
    there = sorted(int(path.name[5:]) for path in series.glob("step_*"))
    assert there == sorted(steps)
    for step, vectors in steps.items():
        folder = series / f"step_{step:08d}" / "embedding"
        shown = np.fromfile(folder / "tensor.bytes", "<f4").reshape(len(vectors), -1)
        # Not equal: the first number may give up its lowest byte (projector/tensor.py).
        np.testing.assert_allclose(shown, vectors, rtol=4e-5)
        first = (folder / "metadata.tsv").read_text(encoding="utf-8").splitlines()[1]
        assert first.split("\t")[0] == "label0"
    assert (series / "trajectory").is_dir()
