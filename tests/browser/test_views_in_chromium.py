"""Every view, a default's or a user's, opens in the real viewer as it was said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from viewer import DEEP, ProjectorPage, projector_url

from projector_export import Camera, Points, Settings, View, add_views, export_points, open_export
from projector_export.projector.bookmarks import described_view
from projector_export.viewing.serve import Server, start_tensorboard

pytestmark = pytest.mark.browser

N = 240
VIEWS = [
    View("Heavy ones", "umap2d", "w", "id", "top 7 by w"),
    View('七 "quoted" & <b>bold</b>', "umap3d", "label", select="label == 魚1 and w > 0.8"),
    View("Alone", "umap2d", "w", isolate="label == 魚2", select="bottom 3 by w"),
    View("Components", "pca", "none", camera=Camera((1.0, 1.0, 2.0))),
    View("Components alone", "pca", "label", isolate="cluster == cluster_00 or w < 0.1"),
    View("One point", "umap3d", "label", isolate='id == "id 17"'),
]  # fmt: skip
STATE = (
    DEEP
    + """
return {
  rows: viewer.dataSet.points.map(p => p.index),
  kind: viewer.projection.projectionType,
  components: viewer.projection.projectionComponents,
  placed: viewer.dataSet.points.map(p =>
    viewer.projection.projectionComponents.map(c => c === null ? 0 : p.projections[c])),
  selected: viewer.selectedPointIndices.map(i => viewer.dataSet.points[i].index),
  camera: viewer.projectorScatterPlotAdapter.scatterPlot.getCameraPosition(),
  color_by: viewer.selectedColorOption.name,
  label_by: viewer.selectedLabelOption,
};"""
)
CLEAR = DEEP + "viewer.adjustSelectionAndHover([]);"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export with the default views, one a cluster, and those of a user, one added later."""
    rng = np.random.default_rng(0)
    kind = np.arange(N) % 4
    vectors = (np.eye(64)[kind] * 6 + rng.standard_normal((N, 64))).astype(np.float32)
    vectors[100] = vectors[20]
    columns = pl.DataFrame(
        {
            "label": [f"魚{k}" for k in kind],
            "w": np.random.default_rng(1).permutation(N) / N,
            "id": [f"id {i}" for i in range(N)],
        }
    )
    out = tmp_path_factory.mktemp("logs") / "run"
    settings = Settings(clusters=4, cluster_views=True)
    points = Points(vectors, columns, name="e")
    export_points(points, out, settings=settings, views=VIEWS[:-1])
    add_views(open_export(out), VIEWS[-1:])
    return out


@pytest.fixture(scope="module")
def server(run: Path) -> Iterator[Server]:
    """TensorBoard over the folder that holds the run."""
    server = start_tensorboard(run.parent)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def page(chromium: Any, server: Server) -> Iterator[ProjectorPage]:
    """The projector page, loaded."""
    page = ProjectorPage(chromium, projector_url(server.port))
    yield page
    page.close()


def _expected_rows(run: Path) -> dict[str, tuple[list[int], list[int]]]:
    """Rows selected and rows shown by title, found in the table with plain polars."""
    table = open_export(run).columns.with_row_index("row")

    def rows(frame: pl.DataFrame) -> list[int]:
        return frame["row"].to_list()

    everything = list(range(N))
    label, w, cluster = pl.col("label"), pl.col("w"), pl.col("cluster")
    unusual = table.sort("anomaly", descending=True, maintain_order=True).head(30)
    groups = table.filter(pl.col("duplicate_group") != "unique")
    alone = table.filter(label == "魚2")
    expected = {
        "Heavy ones": (rows(table.sort("w", descending=True).head(7)), everything),
        '七 "quoted" & <b>bold</b>': (rows(table.filter((label == "魚1") & (w > 0.8))), everything),
        "Alone": (rows(alone.sort("w").head(3)), rows(alone)),
        "Components": ([], everything),
        "Components alone": ([], rows(table.filter((cluster == "cluster_00") | (w < 0.1)))),
        "One point": ([], [17]),
        "UMAP 3D by cluster": ([], everything),
        "UMAP 2D by label": ([], everything),
        "Most unusual points": (rows(unusual), everything),
        "Anomaly score": ([], everything),
        "Near duplicates": (rows(groups.sort("nearest_angle", "row")), everything),
    }
    for name, one in table.group_by("cluster", "cluster_name"):
        expected[f"{name[0]}: {name[1]}"] = ([], rows(one))
    return expected


def test_every_view_opens_as_it_was_said(page: ProjectorPage, run: Path) -> None:
    """Right colour column, selection count and isolated count, compared with the table."""
    expected = _expected_rows(run)
    states = open_export(run).states
    assert page.state()["bookmarks"] == [state["label"] for state in states]
    assert {state["label"] for state in states} == set(expected)
    for state in states:
        title = state["label"]
        selected, shown = expected[title]
        page.page.evaluate("() => {" + CLEAR + "}")
        page.open_bookmark(title)
        found = page.page.evaluate("() => {" + STATE + "}")
        view = described_view(state)
        assert view is not None
        color = "No color map" if view.color_by == "none" else view.color_by
        assert (found["color_by"], found["label_by"]) == (color, view.label_by), title
        assert found["rows"] == shown, title
        assert sorted(found["selected"]) == sorted(selected), title
        assert found["kind"] == ("pca" if view.layout == "pca" else "umap"), title
        assert np.isfinite(np.array(found["placed"], dtype=float)).all(), title
        assert page.errors == [], title


def test_a_view_looks_from_where_it_says(page: ProjectorPage) -> None:
    """The camera of a view is the viewer's."""
    page.open_bookmark("Components")
    found = page.page.evaluate("() => {" + STATE + "}")
    assert found["camera"] == pytest.approx([1.0, 1.0, 2.0], abs=1e-6)


def test_a_view_added_later_shows_when_the_page_is_loaded_again(
    chromium: Any, server: Server, run: Path
) -> None:
    """No restart of TensorBoard: bookmarks are read at each request."""
    add_views(open_export(run), [View("later", select="top 2 by w")])
    again = ProjectorPage(chromium, projector_url(server.port))
    again.open_bookmark("later")
    assert len(again.state()["selected"]) == 2
    assert again.errors == []
    again.close()


def test_the_viewer_stops_at_a_view_of_fewer_points_than_are_selected(page: ProjectorPage) -> None:
    """The flaw that exports and `views add` note: should it go, the note can go."""
    page.page.evaluate("() => {" + CLEAR + "}")
    page.open_bookmark("Most unusual points")
    with pytest.raises(Exception, match="Cannot read properties of undefined"):
        page.open_bookmark("One point")
