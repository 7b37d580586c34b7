"""bookmarks.json: ready-made views that the viewer loads without computing anything."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from projector_export.projector.bookmarks import View, default_views, render_bookmarks

# class State in TensorBoard's data.ts; all keys are read, a missing one throws in the viewer.
STATE_KEYS = {
    "label", "isSelected", "selectedProjection", "dataSetDimensions", "tSNEIteration",
    "tSNEPerplexity", "tSNELearningRate", "tSNEis3d", "umapIs3d", "umapNeighbors", "umapMinDist",
    "pcaComponentDimensions", "customSelectedSearchByMetadataOption", "customXLeftText",
    "customXLeftRegex", "customXRightText", "customXRightRegex", "customYUpText", "customYUpRegex",
    "customYDownText", "customYDownRegex", "projections", "filteredPoints", "selectedPoints",
    "shuffledDataIndices", "cameraDef", "selectedColorOptionName", "forceCategoricalColoring",
    "selectedLabelOption",
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


def _states(views: list[View], columns: pl.DataFrame) -> list[dict[str, Any]]:
    states = json.loads(render_bookmarks(views, columns, dimensions=(3, 64)))
    assert isinstance(states, list)
    return states


def test_a_state_has_every_key_that_the_viewer_reads() -> None:
    """A missing key, such as pcaComponentDimensions, throws in the viewer."""
    view = View("Title", "umap2d", "n", selected=(2, 0), label_by="n")
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
    }


def test_a_3d_state_has_three_coordinates_and_a_perspective() -> None:
    """3-D camera: from above one corner, in the direction of [0.45, 0.9, 1.6], zoom 1."""
    (state,) = _states([View("T", "umap3d", "label")], _columns())
    assert state["umapIs3d"] is True
    camera = state["cameraDef"]
    assert (camera["orthographic"], camera["target"], camera["zoom"]) == (False, [0, 0, 0], 1)
    x, y, z = camera["position"]
    assert (y / x, z / x) == pytest.approx((2, 1.6 / 0.45), rel=0.02)
    assert 0.4 < x < 0.7  # nearer cuts the cube's corners off, farther wastes the screen
    assert state["projections"] == [
        {"umap-0": 1.0, "umap-1": 4.0, "umap-2": 7.0},
        {"umap-0": 2.5, "umap-1": 0.123, "umap-2": 8.0},
        {"umap-0": -3.0, "umap-1": 6.0, "umap-2": 0.0},
    ]


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
    states = _states(views, _columns())
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
        "line\nbreak",
        "アジ 😀",
        "\u2028",
        "%s {} {0}",
        "null",
    ],
)
def test_any_title_and_column_stay_valid_json(text: str) -> None:
    """Titles and column names are people's texts; they come back as they were."""
    view = View(text, "umap2d", text, selected=(1,), label_by=text)
    states = _states([view, View("last", "umap3d", "label")], _columns())
    assert states[0]["label"] == text
    assert states[0]["selectedColorOptionName"] == text
    assert states[0]["selectedLabelOption"] == text
    assert states[0]["projections"][1] == {"umap-0": 0.0, "umap-1": 2.0}
    assert states[1]["projections"][1] == {"umap-0": 2.5, "umap-1": 0.123, "umap-2": 8.0}


def test_no_views_are_an_empty_array() -> None:
    """`bookmarks_path` names a JSON array of states."""
    assert json.loads(render_bookmarks([], _columns(), dimensions=(3, 64))) == []


def test_writing_twice_gives_the_same_bytes() -> None:
    """The order of two layouts may not depend on a set."""
    views = [View("A", "umap2d", "label"), View("B", "umap3d", "label")]
    first = render_bookmarks(views, _columns(), dimensions=(3, 64))
    assert first == render_bookmarks(views, _columns(), dimensions=(3, 64))


# --- default views --------------------------------------------------------------------------------

CLUSTERS = {"cluster": ["cluster_00", "cluster_01", "cluster_00"]}
ANOMALIES = {"anomaly": [0.5, 1.0, 0.0], "anomaly_kind": ["normal", "global", "normal"]}
DUPLICATES = {
    "nearest_angle": [0.5, 0.1, 0.5],
    "duplicate_group": ["dup_00", "dup_00", "unique"],
}
PREDICTIONS = {
    "predicted": ["a", "a", "b"],
    "predicted_score": [0.9, 0.8, 0.99],
    "agrees": [True, False, False],
}


@pytest.mark.parametrize(
    ("more", "titles"),
    [
        ({}, ["UMAP 2D by label"]),
        (CLUSTERS, ["UMAP 3D by cluster", "UMAP 2D by label"]),
        (ANOMALIES, ["UMAP 2D by label", "Most unusual points", "Anomaly score"]),
        (DUPLICATES, ["UMAP 2D by label", "Near duplicates"]),
        (PREDICTIONS, ["UMAP 2D by label", "Zero-shot disagreements"]),
        (
            {**CLUSTERS, **ANOMALIES, **DUPLICATES, **PREDICTIONS},
            [
                "UMAP 3D by cluster",
                "UMAP 2D by label",
                "Most unusual points",
                "Anomaly score",
                "Near duplicates",
                "Zero-shot disagreements",
            ],
        ),
    ],
    ids=["none", "clusters", "anomalies", "duplicates", "predictions", "all"],
)
def test_columns_bring_their_views(more: dict[str, list[Any]], titles: list[str]) -> None:
    """`default_views`: the views that these columns allow."""
    views = default_views(_columns(**more))
    assert [view.title for view in views] == titles
    assert {view.color_by for view in views} <= set(_columns(**more).columns)


def test_without_a_layout_there_is_no_view() -> None:
    """`default_views`: none without a layout."""
    columns = pl.DataFrame({"label": ["a", "b"], "cluster": ["cluster_00", "cluster_01"]})
    assert default_views(columns) == []


def test_with_one_layout_all_views_use_it() -> None:
    """A view never names a layout that was not computed."""
    flat = _columns(**CLUSTERS, **ANOMALIES).drop("umap3d_x", "umap3d_y", "umap3d_z")
    assert {view.layout for view in default_views(flat)} == {"umap2d"}
    assert default_views(flat)[0].title == "UMAP 2D by cluster"
    deep = _columns(**CLUSTERS, **ANOMALIES).drop("umap2d_x", "umap2d_y")
    assert {view.layout for view in default_views(deep)} == {"umap3d"}


@pytest.mark.parametrize("distinct", [1, 51])
def test_labels_that_cannot_be_coloured_by_get_no_view(distinct: int) -> None:
    """Text with more than 50 distinct values cannot be coloured by; one value says nothing."""
    columns = pl.DataFrame({"label": [f"l{i % distinct}" for i in range(60)]}).with_columns(
        umap2d_x=pl.Series(range(60)).cast(pl.Float64),
        umap2d_y=pl.Series(range(60)).cast(pl.Float64),
    )
    assert [view.title for view in default_views(columns)] == ["UMAP 2D"]
    fifty = columns.with_columns(label=pl.Series([f"l{i % 50}" for i in range(60)]))
    assert [view.title for view in default_views(fifty)] == ["UMAP 2D by label"]


def _many(**more: list[Any]) -> pl.DataFrame:
    n = len(next(iter(more.values())))
    numbers = [float(i) for i in range(n)]
    return pl.DataFrame({"label": ["a", "b"] * (n // 2), **more}).with_columns(
        umap2d_x=pl.Series(numbers), umap2d_y=pl.Series(numbers)
    )


def _view(columns: pl.DataFrame, title: str) -> View:
    return {view.title: view for view in default_views(columns)}[title]


def test_the_most_unusual_points_are_selected_highest_first() -> None:
    """`selectedPoints`: 20 to 100 are readable; equal scores in row order."""
    scores = [((i * 7) % 50) / 10 for i in range(100)]  # every score twice, rows i and i + 50
    view = _view(_many(anomaly=scores, anomaly_kind=["normal"] * 100), "Most unusual points")
    assert len(view.selected) == 30
    assert view.selected[:6] == (7, 57, 14, 64, 21, 71)
    assert view.color_by == "anomaly_kind"


def test_near_duplicates_are_selected_closest_first() -> None:
    """Only members of a group are selected, the nearest pairs first."""
    columns = _many(
        nearest_angle=[2.0, 0.0, 0.3, 0.1, 2.0, 0.0],
        duplicate_group=["dup_01", "unique", "dup_00", "dup_00", "dup_01", "dup_00"],
    )
    view = _view(columns, "Near duplicates")
    assert view.selected == (5, 3, 2, 0, 4)
    assert view.color_by == "duplicate_group"


def test_too_many_groups_are_coloured_by_angle() -> None:
    """Text with more than 50 distinct values cannot be coloured by at all."""
    columns = _many(
        nearest_angle=[i / 100 for i in range(200)],
        duplicate_group=[f"dup_{i // 2:02d}" for i in range(200)],
    )
    view = _view(columns, "Near duplicates")
    assert view.color_by == "nearest_angle"
    assert view.selected == tuple(range(60))


def test_disagreements_are_selected_surest_first() -> None:
    """Only disagreeing points, the model's surest errors first."""
    columns = _many(
        predicted=["a"] * 4,
        predicted_score=[0.2, 0.9, 0.99, 0.8],
        agrees=[False, False, True, False],
    )
    assert _view(columns, "Zero-shot disagreements").selected == (1, 3, 0)


@pytest.mark.parametrize(
    ("more", "title"),
    [
        ({"nearest_angle": [9.0, 9.0], "duplicate_group": ["unique"] * 2}, "Near duplicates"),
        (
            {"predicted": ["a"] * 2, "predicted_score": [0.5] * 2, "agrees": [True] * 2},
            "Zero-shot disagreements",
        ),
    ],
)
def test_a_view_of_nothing_is_not_listed(more: dict[str, list[Any]], title: str) -> None:
    """No duplicates or disagreements: no view of them."""
    assert title not in [view.title for view in default_views(_many(**more))]


@pytest.mark.parametrize(
    "own",
    [{"agrees": ["yes", "no"]}, {"agrees": [True, False]}],
    ids=["text", "flags without a score"],
)
def test_a_users_own_column_agrees_is_no_prediction(own: dict[str, list[Any]]) -> None:
    """The user's own columns may have any name; they are no zero-shot result."""
    assert [view.title for view in default_views(_many(**own))] == ["UMAP 2D by label"]
