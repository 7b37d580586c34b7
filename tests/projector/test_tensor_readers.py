"""TensorBoard reads tensors differently where TensorFlow is installed; both must load ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import skip_unless_required

from projector_export import Points, Settings, export_points

ENVIRONMENT = Path(__file__).parents[2] / ".venv-tensorflow"
# Runs where only TensorFlow and TensorBoard are installed.
ASK_PLUGIN = """
import base64, json, sys
from types import SimpleNamespace
from werkzeug.test import Client
from tensorboard.compat import tf
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin
answers = {}
for run in sys.argv[1:]:
    runs = SimpleNamespace(list_runs=lambda *a, **k: [])
    apps = ProjectorPlugin(TBContext(logdir=run, data_provider=runs)).get_plugin_apps()
    response = Client(apps['/tensor']).get('/tensor?run=.&name=e')
    rows = Client(apps['/metadata']).get('/metadata?run=.&name=e').get_data()
    answers[run] = [response.status_code, base64.b64encode(response.get_data()).decode(),
                    rows.decode()]
print(json.dumps({'tf': tf.__version__, 'answers': answers}))
"""


def tricky_tensors() -> dict[str, np.ndarray]:
    """Raw float32 that passes for text at its start, or wholly."""
    feed = np.ones((40, 4), np.float32)
    feed.view(np.uint8).reshape(-1)[:8] = np.frombuffer(b"abc\ndef\n", np.uint8)
    feed[5, 0] = -1.5  # bytes that are no UTF-8, after the line feed
    return {
        "zeros": np.zeros((20, 3), np.float32),
        "halves_and_twos": np.tile(np.float32([0.5, 2.0, 0.5]), (20, 1)),
        "line_feed_first": feed,
        "usual": np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32),
    }


def export_tricky(folder: Path) -> dict[Path, np.ndarray]:
    """Export each as a run of its own."""
    settings = Settings(metric="euclidean", umap_dims=(), clusters=None, anomalies=False)
    runs = {folder / name: tensor for name, tensor in tricky_tensors().items()}
    for run, tensor in runs.items():
        export_points(Points(tensor, name="e"), run, settings=settings)
    return runs


def ask(python: str | Path, runs: dict[Path, np.ndarray]) -> str:
    """Ask the plugin of another interpreter for each run; compare; return its tf version."""
    import base64

    answer = subprocess.run(
        [python, "-c", ASK_PLUGIN, *map(str, runs)],
        check=True,
        capture_output=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
    )
    said = json.loads(answer.stdout.splitlines()[-1])
    for run, tensor in runs.items():
        status, data, rows = said["answers"][str(run)]
        assert status == 200, (run.name, data)
        got = np.frombuffer(base64.b64decode(data), np.float32).reshape(tensor.shape)
        np.testing.assert_allclose(got, tensor, rtol=3.1e-5, atol=1e-40, err_msg=run.name)
        assert rows.count("\n") >= len(tensor)
    return str(said["tf"])


def unpatch(runs: dict[Path, np.ndarray], name: str) -> dict[Path, np.ndarray]:
    """Write one run's tensor as it is, without the invalid first byte."""
    chosen = {run: tensor for run, tensor in runs.items() if run.name == name}
    for run, tensor in chosen.items():
        (run / "e/tensor.bytes").write_bytes(tensor.tobytes())
    return chosen


@pytest.mark.parametrize("name", ["zeros", "halves_and_twos"])
def test_unpatched_bytes_break_the_plugin(tmp_path: Path, name: str) -> None:
    """Without the invalid first byte these tensors take the projector tab down."""
    with pytest.raises(subprocess.CalledProcessError, match="non-zero exit status"):
        ask(sys.executable, unpatch(export_tricky(tmp_path), name))


def test_tensors_that_pass_for_text_load_without_tensorflow(tmp_path: Path) -> None:
    """Zeros, only 0.5 and 2.0, and an early line feed load through the plugin."""
    assert ask(sys.executable, export_tricky(tmp_path)) == "stub"


@pytest.mark.tensorflow
def test_tensors_that_pass_for_text_load_with_tensorflow(tmp_path: Path) -> None:
    """The same holds where TensorFlow is installed, whose reader decodes line by line."""
    python = ENVIRONMENT / "bin/python"
    if not (ENVIRONMENT / "installed").exists():
        if "tensorflow" not in os.environ.get("PROJECTOR_EXPORT_REQUIRE", ""):
            skip_unless_required(
                "tensorflow",
                "PROJECTOR_EXPORT_REQUIRE=tensorflow makes .venv-tensorflow (1.6 GB) and runs this",
            )
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        packages = ["tensorflow-cpu>=2.18,<3", "tensorboard>=2.18,<3"]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        (ENVIRONMENT / "installed").touch()
    runs = export_tricky(tmp_path)
    version = ask(python, runs)
    assert version[0] == "2", version
    # Safe without TensorFlow, but not here: its reader stops at the line feed.
    with pytest.raises(subprocess.CalledProcessError, match="non-zero exit status"):
        ask(python, unpatch(runs, "line_feed_first"))
