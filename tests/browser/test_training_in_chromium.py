"""A recorded training, as a user sees it: real TensorBoard, real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import pytest
from training_run import EPOCHS, TrainingRun
from viewer import ProjectorPage, projector_url

pytestmark = pytest.mark.browser
TITLES = [
    "UMAP 3D by cluster",
    "UMAP 2D by label",
    "Most unusual points",
    "Anomaly score",
    "Moved most",
    "Neighbours changed most",
]


@pytest.fixture(scope="module")
def page(chromium: Any, training_run: TrainingRun) -> Iterator[ProjectorPage]:
    """The projector of the TensorBoard that was started before the training."""
    page = ProjectorPage(chromium, projector_url(training_run.board.port))
    yield page
    page.close()


@pytest.mark.parametrize("epoch", range(EPOCHS))
def test_each_step_shows_itself(page: ProjectorPage, training_run: TrainingRun, epoch: int) -> None:
    """Each step has 64 columns or more, its sprite, and the same bookmarks with its own layout."""
    page.select_run(f"digits/hidden/step_{epoch:08d}")
    page.open_bookmark("UMAP 2D by label")
    state = page.state()
    assert (state["points"], state["dimensions"], state["sprite"]) == (1797, 64, True)
    assert state["bookmarks"] == TITLES
    folder = training_run.run_dir / f"hidden/step_{epoch:08d}/hidden"
    table = pl.read_parquet(folder / "points.parquet")
    assert [point["label"] for point in state["metadata"]] == table["label"].to_list()
    layout = table.select("umap2d_x", "umap2d_y").to_numpy()
    assert np.abs(np.array(state["coordinates"]) - layout).max() <= 0.000501
    assert page.errors == []


def test_the_trajectory_is_drawn(page: ProjectorPage) -> None:
    """Ten epochs x ten class centroids open with ten lines of ten points each."""
    page.select_run("digits/hidden/trajectory")
    page.open_bookmark("Paths")
    state = page.state()
    assert state["points"] == 100
    assert page.sequences() == [list(range(first, first + 10)) for first in range(0, 100, 10)]
    assert [point["label"] for point in state["metadata"]] == [
        f"digit {digit}" for digit in range(10) for _ in range(EPOCHS)
    ]
    assert [point["step"] for point in state["metadata"]] == list(range(EPOCHS)) * 10
    assert page.errors == []
