"""bookmarks.json: ready-made views that the viewer loads without computing anything."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

from projector_export.projector.bookmarks import (
    described_view,
    fitting_camera,
    render_bookmarks,
    render_states,
)
from projector_export.projector.metadata import viewer_names
from projector_export.projector.placing import Placer
from projector_export.projector.viewer_points import ViewerPoints
from projector_export.projector.views import Camera, View

# class State in TensorBoard's data.ts; all keys are read, a missing one throws in the viewer.
STATE_KEYS = {
    "label", "isSelected", "selectedProjection", "dataSetDimensions", "tSNEIteration",
    "tSNEPerplexity", "tSNELearningRate", "tSNEis3d", "umapIs3d", "umapNeighbors", "umapMinDist",
    "pcaComponentDimensions", "customSelectedSearchByMetadataOption", "customXLeftText",
    "customXLeftRegex", "customXRightText", "customXRightRegex", "customYUpText", "customYUpRegex",
    "customYDownText", "customYDownRegex", "projections", "filteredPoints", "selectedPoints",
    "shuffledDataIndices", "cameraDef", "selectedColorOptionName", "forceCategoricalColoring",
    "selectedLabelOption", "projector_export",
}  # fmt: skip


def _columns(**more: list[Any]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "label": ["a", "b", "a"],
            **more,
            "umap3d_x": [1.0, 2.5, -3.0],
            "umap3d_y": [4.0, 0.1234, 6.0],
            "umap3d_z": [7.0, 8.0, 1e-7],
            "umap2d_x": [0.5, -1e-7, 12345.6789],
            "umap2d_y": [1e-3, 2.0, -0.0004],
        }
    )


def _render(views: list[View], columns: pl.DataFrame) -> bytes:
    n = columns.height
    points = columns.with_columns(source_row=pl.int_range(n, dtype=pl.UInt32))
    tensor = np.arange(n * 4, dtype=np.float32).reshape(n, 4) ** 2
    placed = Placer(ViewerPoints(points, tensor), tensor).place(views)
    return render_bookmarks(placed, dimensions=(n, 64), names=viewer_names(columns))


def _states(views: list[View], columns: pl.DataFrame) -> list[dict[str, Any]]:
    states = json.loads(_render(views, columns))
    assert isinstance(states, list)
    return states


def test_a_state_has_every_key_that_the_viewer_reads() -> None:
    """A missing key, such as pcaComponentDimensions, throws in the viewer."""
    view = View("Title", "umap2d", "n", select="n == 3 or n == 1", label_by="n")
    (state,) = _states([view], _columns(n=[1, 2, 3]))
    assert set(state) == STATE_KEYS
    del state["projections"]
    assert 0.8 < state["cameraDef"].pop("zoom") < 1.3
    assert state == {
        "label": "Title",
        "isSelected": False,
        "selectedProjection": "umap",
        "dataSetDimensions": [3, 64],
        "tSNEIteration": 0,
        "tSNEPerplexity": 0,
        "tSNELearningRate": 0,
        "tSNEis3d": False,
        "umapIs3d": False,
        "umapNeighbors": 15,
        "umapMinDist": 0.1,
        "pcaComponentDimensions": [0, 1, 2],
        "customSelectedSearchByMetadataOption": "n",
        "customXLeftText": "",
        "customXLeftRegex": False,
        "customXRightText": "",
        "customXRightRegex": False,
        "customYUpText": "",
        "customYUpRegex": False,
        "customYDownText": "",
        "customYDownRegex": False,
        "filteredPoints": None,
        "selectedPoints": [2, 0],
        "shuffledDataIndices": None,
        "cameraDef": {
            "orthographic": True,
            "position": [0, 0, 4],
            "target": [0, 0, 0],
        },
        "selectedColorOptionName": "n",
        "forceCategoricalColoring": False,
        "selectedLabelOption": "n",
        "projector_export": {
            "layout": "umap2d",
            "color_by": "n",
            "label_by": "n",
            "select": "n == 3 or n == 1",
        },
    }


def test_a_3d_state_has_three_coordinates_and_a_perspective() -> None:
    """3-D camera: from above one corner, in the direction of [0.45, 0.9, 1.6], zoom 1."""
    (state,) = _states([View("T", "umap3d", "label")], _columns())
    assert state["umapIs3d"] is True
    camera = state["cameraDef"]
    assert (camera["orthographic"], camera["target"], camera["zoom"]) == (False, [0, 0, 0], 1)
    x, y, z = camera["position"]
    assert (y / x, z / x) == pytest.approx((2, 1.6 / 0.45), rel=0.02)
    assert 0.4 < x < 1.0  # nearer cuts points off, farther wastes the screen
    assert state["projections"] == [
        {"umap-0": 1.0, "umap-1": 4.0, "umap-2": 7.0},
        {"umap-0": 2.5, "umap-1": 0.123, "umap-2": 8.0},
        {"umap-0": -3.0, "umap-1": 6.0, "umap-2": 0.0},
    ]


@pytest.mark.parametrize("seed", range(5))
def test_the_camera_has_every_point_in_the_picture(seed: int) -> None:
    """A cluster at the corner nearest to the eye must not be behind the edge of the picture."""
    rng = np.random.default_rng(seed)
    centres = rng.permutation(np.array([[x, y, z] for x in (0, 9) for y in (0, 9) for z in (0, 9)]))
    coordinates = centres[rng.integers(0, 8, 300)] + rng.random((300, 3))
    camera = fitting_camera(coordinates)
    eye = np.array(camera.position)
    assert 2.1 < np.linalg.norm(eye) < 4.5
    span = np.ptp(coordinates, axis=0)
    places = 2 * (coordinates - coordinates.min(axis=0)) / span - 1
    ahead = -eye / np.linalg.norm(eye)
    right = np.cross(ahead, [0, 1, 0])
    right /= np.linalg.norm(right)
    depth = (places - eye) @ ahead
    assert depth.min() > 0
    for axis in (right, np.cross(right, ahead)):
        assert np.abs((places - eye) @ axis / depth).max() < np.tan(np.radians(35))


def test_the_camera_comes_no_nearer_than_is_pleasant() -> None:
    """Points in a ball fill the picture from the viewer's own place."""
    rng = np.random.default_rng(0)
    ball = rng.standard_normal((500, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    assert np.linalg.norm(fitting_camera(ball).position) == pytest.approx(2.18, abs=0.002)
    assert np.isfinite(fitting_camera(np.ones((3, 3))).position).all()


def test_2d_coordinates_are_listed_one_entry_a_point() -> None:
    """`projections`: one entry a point, in row order; 3 decimals keep the file small."""
    (state,) = _states([View("T", "umap2d", "label")], _columns())
    assert state["projections"] == [
        {"umap-0": 0.5, "umap-1": 0.001},
        {"umap-0": 0.0, "umap-1": 2.0},
        {"umap-0": 12345.679, "umap-1": 0.0},
    ]


@pytest.mark.parametrize("value", [1e-7, -1e-7, 1e-45, 1e20, -1e20, 1e300, 0.1 + 0.2, -0.0, 5e15])
def test_any_finite_coordinate_is_valid_json(value: float) -> None:
    """JSON knows exponents, but neither NaN nor 1e+ without digits."""
    columns = _columns().with_columns(umap2d_x=pl.Series([value, 0.0, value]))
    (state,) = _states([View("T", "umap2d", "label")], columns)
    assert state["projections"][0]["umap-0"] == pytest.approx(value, abs=5e-4, rel=1e-12)


def test_every_view_carries_its_own_coordinates() -> None:
    """A state must carry its own projections; views are listed in the order given."""
    views = [View("A", "umap2d", "label"), View("B", "umap3d", "label"), View("C", "umap2d", "x")]
    states = _states(views, _columns(x=[1, 2, 3]))
    assert [state["label"] for state in states] == ["A", "B", "C"]
    assert [len(state["projections"][0]) for state in states] == [2, 3, 2]
    assert [len(state["projections"]) for state in states] == [3, 3, 3]


@pytest.mark.parametrize(
    "text",
    [
        'say "hi"',
        "</script><script>alert(1)</script>",
        '"projections": null',
        '{"projections": null}',
        "back\\slash",
        "アジ 😀",
        "%s {} {0}",
        "null",
    ],
)
def test_any_title_and_column_stay_valid_json(text: str) -> None:
    """Titles and column names are people's texts; they come back as they were."""
    columns = _columns().with_columns(pl.Series(text, ["p", "q", "r"]))
    view = View(text, "umap2d", text, select="label == b", label_by=text)
    states = _states([view, View("last", "umap3d", "label")], columns)
    assert states[0]["label"] == text
    assert states[0]["selectedColorOptionName"] == text
    assert states[0]["selectedLabelOption"] == text
    assert states[0]["projections"][1] == {"umap-0": 0.0, "umap-1": 2.0}
    assert states[1]["projections"][1] == {"umap-0": 2.5, "umap-1": 0.123, "umap-2": 8.0}


def test_columns_are_named_as_the_viewer_knows_them() -> None:
    """metadata.tsv has names on one line; a bookmark must name the same."""
    columns = _columns().with_columns(pl.Series("line\nbreak", [1, 2, 3]))
    (state,) = _states([View("T", color_by="line\nbreak")], columns)
    assert state["selectedColorOptionName"] == "line break"


def test_an_isolated_view_lists_its_points_alone() -> None:
    """`projections` lists just those, in that order; `selectedPoints` are positions among them."""
    view = View("T", "umap2d", "label", isolate="label == a", select="n == 3")
    (state,) = _states([view], _columns(n=[1, 2, 3]))
    assert state["filteredPoints"] == [0, 2]
    assert state["projections"] == [
        {"umap-0": 0.5, "umap-1": 0.001},
        {"umap-0": 12345.679, "umap-1": 0.0},
    ]
    assert state["selectedPoints"] == [1]
    assert state["dataSetDimensions"] == [2, 64]


def test_pca_has_the_viewers_own_keys() -> None:
    """A `pca` state carries its coordinates, since loading a state forgets the viewer's own."""
    (state,) = _states([View("T", "pca", "none")], _columns())
    assert state["selectedProjection"] == "pca"
    assert [sorted(point) for point in state["projections"]] == [["pca-0", "pca-1", "pca-2"]] * 3
    assert state["selectedColorOptionName"] == "No color map"
    assert state["cameraDef"]["orthographic"] is False


def test_a_camera_is_taken_over() -> None:
    """cameraDef: where the viewer looks from."""
    camera = Camera((1.0, 2.0, 3.0), (0.5, 0.0, 0.0), 2.0)
    (state,) = _states([View("T", "umap3d", "label", camera=camera)], _columns())
    assert state["cameraDef"] == {
        "orthographic": False,
        "position": [1.0, 2.0, 3.0],
        "target": [0.5, 0.0, 0.0],
        "zoom": 2.0,
    }


def test_a_state_tells_the_view_it_was_made_from() -> None:
    """The extra key brings the view back; a state saved in the browser has none."""
    view = View("T", "umap2d", "n", select="top 1 by n", camera=Camera((0.0, 0.0, 4.0)))
    (state,) = _states([view], _columns(n=[1, 2, 3]))
    assert described_view(state) == view
    del state["projector_export"]
    assert described_view(state) is None


def test_states_come_back_as_they_were() -> None:
    """Ordering bookmarks does not change them."""
    states = _states([View("A", "umap2d", "label"), View("B", "umap3d", "label")], _columns())
    assert json.loads(render_states(states)) == states
    assert json.loads(render_states([])) == []


def test_no_views_are_an_empty_array() -> None:
    """`bookmarks_path` names a JSON array of states."""
    assert json.loads(_render([], _columns())) == []


def test_writing_twice_gives_the_same_bytes() -> None:
    """The order of two layouts may not depend on a set."""
    views = [View("A", "umap2d", "label"), View("B", "umap3d", "label")]
    assert _render(views, _columns()) == _render(views, _columns())
