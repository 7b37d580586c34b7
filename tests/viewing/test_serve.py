"""TensorBoard is started on this machine only, and only where there is something to show."""

from __future__ import annotations

import json
import socket
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from projector_export import Points, Settings, export_points, start_tensorboard
from projector_export.errors import InputNotFoundError, ServeError

QUICK = Settings(umap_dims=(), clusters=None, anomalies=False)


def export_random(out: Path, name: str = "e", seed: int = 0) -> None:
    """Export 30 random points."""
    vectors = np.random.default_rng(seed).standard_normal((30, 5)).astype(np.float32)
    export_points(Points(vectors, name=name), out, settings=QUICK)


def test_view_waits_until_the_projector_lists_the_runs(tmp_path: Path) -> None:
    """Starts TensorBoard on 127.0.0.1, waits until the plugin answers, gives the tab's address."""
    export_random(tmp_path / "日本語 run")
    export_random(tmp_path / "second")
    server = start_tensorboard(tmp_path)
    try:
        assert server.url == f"http://127.0.0.1:{server.port}/#projector"
        base = f"http://127.0.0.1:{server.port}/data/plugin/projector"
        with urllib.request.urlopen(f"{base}/runs") as answer:
            assert set(json.load(answer)) == {"日本語 run", "second"}
        with urllib.request.urlopen(f"{base}/tensor?run=second&name=e") as answer:
            assert len(answer.read()) == 30 * 5 * 4
        # Bound to the loopback only: another address of this machine is refused.
        own = socket.gethostbyname(socket.gethostname())
        if not own.startswith("127."):
            with (
                pytest.raises(ConnectionError),
                socket.create_connection((own, server.port), timeout=2),
            ):
                pass
        with pytest.raises(ServeError, match=f"port {server.port} is taken"):
            start_tensorboard(tmp_path, port=server.port)
    finally:
        server.stop()
    assert server.process.poll() is not None


def test_nothing_to_show_is_refused(tmp_path: Path) -> None:
    """An empty or missing directory gets a message instead of an empty tab."""
    with pytest.raises(InputNotFoundError, match=r"holds no projector_config\.pbtxt"):
        start_tensorboard(tmp_path)
    with pytest.raises(InputNotFoundError, match="is not a directory"):
        start_tensorboard(tmp_path / "missing")
