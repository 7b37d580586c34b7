"""The programs in scripts/examples run as they stand (train_digits: tests/training_run.py)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import need

from projector_export import open_export

FOLDER = Path(__file__).parents[1] / "scripts/examples"
EXAMPLES = {  # file: library, series, steps, points
    "lightning_digits.py": ("lightning", "version_0/features", [0, 29, 58], 1797),
    "transformers_texts.py": ("transformers", "sentences", [0, 9, 18], 576),
    "keras_digits.py": ("keras", "hidden", [0, 1], 1797),
}


def test_every_example_is_run() -> None:
    """Runnable examples live in scripts/examples and the tests run them."""
    files = {path.name for path in FOLDER.glob("*.py")}
    assert files == {"train_digits.py", *EXAMPLES}


@pytest.mark.parametrize("file", EXAMPLES)
def test_the_example_runs(file: str, tmp_path: Path) -> None:
    """Two epochs leave their steps, each whole, and a trajectory."""
    library, series, steps, points = EXAMPLES[file]
    need(library)
    command = [sys.executable, str(FOLDER / file), "--log-dir", str(tmp_path), "--epochs", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "was not recorded" not in done.stderr
    folder = tmp_path / series
    found = sorted(path.name for path in folder.glob("*/"))
    assert found == [*(f"step_{step:08d}" for step in steps), "trajectory"]
    for name in found[:-1]:
        assert open_export(folder / name).columns.height == points
