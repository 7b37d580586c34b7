"""The demo, as a user sees it: real TensorBoard, real Chromium."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from viewer import ProjectorPage, projector_url

from projector_export.cli import main
from projector_export.viewing.serve import Server, start_tensorboard

pytest.importorskip("open_clip")
pytestmark = [
    pytest.mark.browser,
    # torch and open_clip deprecate things of one another on import.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

TITLES = [
    "UMAP 3D by cluster",
    "UMAP 2D by label",
    "Most unusual points",
    "Anomaly score",
    "Near duplicates",
    "Zero-shot disagreements",
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's run directory."""
    out = tmp_path_factory.mktemp("logs") / "demo"
    with pytest.raises(SystemExit) as done:
        main(["demo", str(out), "--no-serve", "--quiet"])
    assert done.value.code == 0
    return out


@pytest.fixture(scope="module")
def server(demo: Path) -> Iterator[Server]:
    """TensorBoard over the folder that holds the run, as `tensorboard --logdir logs`."""
    server = start_tensorboard(demo.parent)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def page(chromium: Any, server: Server) -> Iterator[ProjectorPage]:
    """The projector page, loaded."""
    page = ProjectorPage(chromium, projector_url(server.port))
    yield page
    page.close()


def test_page_shows_all_points_with_sprite_bookmarks_and_colours(
    page: ProjectorPage, server: Server
) -> None:
    """1,797 points, sprite present, all bookmarks listed, our columns to colour by."""
    state = page.state()
    assert server.runs == ["demo"]
    assert state["points"] == 1797
    assert state["dimensions"] == 64
    assert state["sprite"]
    assert state["bookmarks"] == TITLES
    wanted = {"label", "cluster", "anomaly", "anomaly_kind", "predicted"}
    assert wanted <= set(state["color_options"])
    assert state["label_by"] == "label"
    assert page.errors == []


@pytest.mark.parametrize("title", TITLES)
def test_each_bookmark_shows_its_layout_for_every_point(
    page: ProjectorPage, demo: Path, title: str
) -> None:
    """Opening a bookmark gives `umap` with the exported coordinates of every point."""
    page.open_bookmark(title)
    state = page.state()
    assert state["projection"] == "umap"
    assert state["points"] == state["placed"] == 1797
    (saved,) = [
        s
        for s in json.loads((demo / "digits/bookmarks.json").read_text(encoding="utf-8"))
        if s["label"] == title
    ]
    assert state["color_by"] == saved["selectedColorOptionName"]
    assert state["selected"] == saved["selectedPoints"]
    columns = pl.read_parquet(demo / "digits/points.parquet")
    layout = "umap3d" if "3D" in title else "umap2d"
    meant = columns.select(f"{layout}_x", f"{layout}_y").rows()
    for row in (0, 1, 898, 1796):
        assert state["coordinates"][row] == pytest.approx(meant[row], abs=2e-3)
        assert state["metadata"][row]["label"] == columns["label"][row]
        assert state["metadata"][row]["path"] == columns["path"][row]
    assert page.errors == []
    if folder := os.environ.get("PROJECTOR_EXPORT_SCREENSHOTS"):
        page.page.screenshot(path=str(Path(folder) / f"{title}.png"))
