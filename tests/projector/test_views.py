"""Views: said in words, kept in TOML, chosen by the columns."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from projector_export.errors import InputNotFoundError, OptionError
from projector_export.projector.selection import parse_selection
from projector_export.projector.viewer_points import ViewerPoints
from projector_export.projector.views import (
    Camera,
    View,
    check_titles,
    cluster_views,
    default_views,
    parse_view,
    read_views,
    render_views,
    step_views,
)


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


@pytest.mark.parametrize(
    "score",
    [["a", "b", "c"], [0.5, None, None], [0.5, float("nan"), None]],
    ids=["text", "missing", "nan"],
)
def test_disagreements_need_scores(score: list[Any]) -> None:
    """Both columns may be the user's own: a view that would select nothing is not suggested."""
    columns = _columns(agrees=[True, False, False], predicted_score=score)
    assert "Zero-shot disagreements" not in [view.title for view in default_views(columns)]


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
    (view,) = default_views(columns)
    assert (view.title, view.color_by) == ("UMAP 2D", "label" if distinct == 1 else "none")
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


def _selected(view: View, columns: pl.DataFrame) -> list[int]:
    points = ViewerPoints(columns, np.zeros((columns.height, 2), dtype=np.float32))
    return parse_selection(view.select).rows(points).tolist()


def test_the_most_unusual_points_are_selected_highest_first() -> None:
    """`selectedPoints`: 20 to 100 are readable; equal scores in row order."""
    scores = [((i * 7) % 50) / 10 for i in range(100)]  # every score twice, rows i and i + 50
    columns = _many(anomaly=scores, anomaly_kind=["normal"] * 100)
    view = _view(columns, "Most unusual points")
    assert len(_selected(view, columns)) == 30
    assert _selected(view, columns)[:6] == [7, 57, 14, 64, 21, 71]
    assert view.color_by == "anomaly_kind"


def test_near_duplicates_are_selected_closest_first() -> None:
    """Only members of a group are selected, the nearest pairs first."""
    columns = _many(
        nearest_angle=[2.0, 0.0, 0.3, 0.1, 2.0, 0.0],
        duplicate_group=["dup_01", "unique", "dup_00", "dup_00", "dup_01", "dup_00"],
    )
    view = _view(columns, "Near duplicates")
    assert _selected(view, columns) == [5, 3, 2, 0, 4]
    assert view.color_by == "duplicate_group"


def test_too_many_groups_are_coloured_by_angle() -> None:
    """Text with more than 50 distinct values cannot be coloured by at all."""
    columns = _many(
        nearest_angle=[i / 100 for i in range(200)],
        duplicate_group=[f"dup_{i // 2:02d}" for i in range(200)],
    )
    view = _view(columns, "Near duplicates")
    assert view.color_by == "nearest_angle"
    assert _selected(view, columns) == list(range(60))


def test_disagreements_are_selected_surest_first() -> None:
    """Only disagreeing points, the model's surest errors first."""
    columns = _many(
        predicted=["a"] * 4,
        predicted_score=[0.2, 0.9, 0.99, 0.8],
        agrees=[False, False, True, False],
    )
    view = _view(columns, "Zero-shot disagreements")
    assert _selected(view, columns) == [1, 3, 0]


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


# --- cluster views --------------------------------------------------------------------------------


def test_every_cluster_gets_a_view_that_shows_it_alone() -> None:
    """One isolated view per cluster, titled with its name."""
    columns = _columns(**CLUSTERS, cluster_name=["cats (90 %)", "dogs", "cats (90 %)"])
    views = cluster_views(columns)
    assert [view.title for view in views] == ["cluster_00: cats (90 %)", "cluster_01: dogs"]
    assert [view.isolate for view in views] == [
        "cluster == cluster_00",
        "cluster == cluster_01",
    ]
    assert {view.color_by for view in views} == {"label"}


def test_without_clusters_there_are_no_cluster_views() -> None:
    """--cluster-views needs clusters."""
    assert cluster_views(_columns()) == []


# --- in words -------------------------------------------------------------------------------------


def test_a_line_says_a_whole_view() -> None:
    """--view: TITLE; key=value; ..., quotes keep a semicolon."""
    (view,) = parse_view(
        'Odd; layout=umap2d; color-by=w; label_by=n; select=label == "a;b" and w > 1; '
        "isolate=w < 9; camera=0,0,4,1.5"
    )
    assert view == View(
        "Odd", "umap2d", "w", "n", 'label == "a;b" and w > 1', "w < 9",
        Camera((0.0, 0.0, 4.0), zoom=1.5),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a view's title is ''"),
        ("; select=w > 1", "a view's title is ''"),
        ("a; b", "'b' cannot be read"),
        ("a; colour=w", "there is no 'colour'; expected title, layout, color_by"),
        ("a; layout=tsne", "layout is 'tsne'; expected umap3d, umap2d, pca or a file"),
        ("a; camera=1,2", "camera is '1,2'; expected X,Y,Z or X,Y,Z,ZOOM"),
        ("a; camera=1,2,x", "camera is '1,2,x'"),
        ("a; camera=0,0,4,0", "a zoom above 0"),
        ("a; camera=0,0,nan", "of finite numbers"),
        ("a; select=w >", "view 'a': 'w >' cannot be read: expected a value, got the end"),
    ],
)
def test_a_wrong_line_is_told(text: str, said: str) -> None:
    """Unknown input is refused, not guessed."""
    with pytest.raises(OptionError) as error:
        parse_view(text)
    assert said in str(error.value)


@pytest.mark.parametrize("title", ["Bob's view", 'The 5" tiles', "`a", 'it\'s "odd"'])
def test_a_title_may_hold_quotes(title: str) -> None:
    """Everything before the first semicolon is the title."""
    assert parse_view(f"{title}; layout=umap2d") == [View(title, "umap2d")]


def test_an_open_quote_is_told() -> None:
    """What cannot be read is refused, not passed over."""
    with pytest.raises(OptionError, match="a quote is not closed"):
        parse_view("a; select=label == 'x; color_by=w")


@pytest.mark.parametrize("title", ["", "  ", "two\nlines", "\u2028", "a\x7fb", "\x00"])
def test_a_title_is_one_line_of_text(title: str) -> None:
    """Titles stand in lists, files and addresses."""
    with pytest.raises(OptionError, match="expected one line of text"):
        View(title)


def test_toml_brings_views_back(tmp_path: Path) -> None:
    """Views can be kept in a TOML file, whatever their texts."""
    views = [
        View('say "hi" \\ 七 </script> #1', color_by="a b", select='label == "x\'y"'),
        View("B", "pca", "none", "n", isolate="top 3 by w", camera=Camera((1, 2, 3), (0, 0, 1), 2)),
        View("C", "places.csv"),
    ]
    text = render_views(views)
    assert len(tomllib.loads(text)["view"]) == 3
    (tmp_path / "v.toml").write_text(text, encoding="utf-8")
    again = read_views(tmp_path / "v.toml")
    assert [view.as_dict() for view in again[:2]] == [view.as_dict() for view in views[:2]]
    assert again[2].layout_file == Path("places.csv").absolute()  # where it was said
    assert parse_view(str(tmp_path / "v.toml")) == again


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[[view]\n", "cannot be read as TOML"),
        ("title = 'a'\n", "has no [[view]] tables"),
        ("view = 3\n", "has no [[view]] tables"),
        ("[[view]]\ntitle = 3\n", "title is 3; expected text"),
        ("[[view]]\ncolor_by = 'w'\n", "a view's title is ''"),
        ("[[view]]\ntitle = 'a'\ncamera = 3\n", "camera is 3; expected a position"),
        ("[[view]]\ntitle = 'a'\nrows = [1]\n", "there is no 'rows'"),
    ],
)
def test_a_wrong_file_is_told(tmp_path: Path, content: str, said: str) -> None:
    """got, expected, where, what to do."""
    path = tmp_path / "v.toml"
    path.write_text(content)
    with pytest.raises(OptionError) as error:
        read_views(path)
    assert said in str(error.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """got, expected, where."""
    with pytest.raises(InputNotFoundError, match=r"v\.toml does not exist"):
        read_views(tmp_path / "v.toml")


def test_titles_are_unique() -> None:
    """Titles name views in links and commands."""
    with pytest.raises(OptionError, match="there are two of this title"):
        check_titles([View("A"), View("B"), View("A")])


@pytest.mark.parametrize(
    "view",
    [
        View("v", color_by="z"),
        View("v", label_by="z"),
        View("v", select="a > 1 or z > 2"),
        View("v", isolate="top 3 by a where z > 1"),
    ],
)
def test_unknown_columns_are_found_before_any_work(view: View) -> None:
    """A wrong column is a clear error, wherever it stands."""
    with pytest.raises(OptionError, match="view 'v': there is no column 'z'"):
        view.check_columns(["label", "a"])
    view.check_columns(["label", "a", "z"])


MOVEMENT = {"movement": [0.0, 5.0, 1.0], "neighbours_kept": [1.0, 0.5, 0.2]}
ALONE = {**DUPLICATES, "duplicate_group": ["unique"] * 3}


@pytest.mark.parametrize(
    ("more", "titles"),
    [
        ({}, ["UMAP 2D by label"]),
        (DUPLICATES, ["UMAP 2D by label"]),
        (ALONE, ["UMAP 2D by label"]),
        ({"label": ["x"] * 3, **DUPLICATES}, ["UMAP 3D"]),
        ({"label": ["x"] * 3, **ALONE}, ["UMAP 3D"]),
        (
            {**CLUSTERS, **ANOMALIES, **DUPLICATES, **PREDICTIONS},
            [
                "UMAP 3D by cluster",
                "UMAP 2D by label",
                "Most unusual points",
                "Anomaly score",
                "Zero-shot disagreements",
            ],
        ),
    ],
    ids=["none", "duplicates", "no duplicates", "plain duplicates", "plain", "all"],
)
def test_the_views_of_a_step_do_not_depend_on_what_it_shows(
    more: dict[str, list[Any]], titles: list[str]
) -> None:
    """`step_views`: the same at every step, whatever it shows."""
    views = step_views(_columns(**more, **MOVEMENT))
    assert [view.title for view in views] == [*titles, "Moved most", "Neighbours changed most"]
    moved, changed = views[-2:]
    assert (moved.layout, moved.color_by) == ("umap2d", "movement")
    assert moved.select == "top 30 by movement"
    assert (changed.layout, changed.color_by) == ("umap2d", "neighbours_kept")
    assert changed.select == "bottom 30 by neighbours_kept"
    for view in views:
        view.check_columns(_columns(**more, **MOVEMENT).columns)


def test_a_step_has_the_layout_that_there_is() -> None:
    """`step_views`: deep without a flat layout, none without a layout."""
    deep = _columns(**MOVEMENT).drop("umap2d_x", "umap2d_y")
    assert {view.layout for view in step_views(deep)} == {"umap3d"}
    assert step_views(deep.drop("umap3d_x", "umap3d_y", "umap3d_z")) == []


def test_the_points_that_moved_most_are_selected() -> None:
    """The largest movement, and the smallest share of neighbours kept."""
    columns = pl.DataFrame(
        {
            "label": [str(i) for i in range(100)],
            "umap2d_x": np.arange(100.0),
            "umap2d_y": np.arange(100.0),
            "movement": np.arange(100.0),
            "neighbours_kept": np.arange(100) / 100,
        }
    )
    points = ViewerPoints(columns, np.eye(100, dtype=np.float32))
    moved, changed = step_views(columns)[-2:]
    rows = [parse_selection(view.select).rows(points).tolist() for view in (moved, changed)]
    assert sorted(rows[0]) == list(range(70, 100))
    assert sorted(rows[1]) == list(range(30))
