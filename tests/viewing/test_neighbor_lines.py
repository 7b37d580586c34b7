"""Nearest neighbours on paper, by angles and distances that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from projector_export import Points, Settings, export_points
from projector_export.errors import DataError, OptionError
from projector_export.projector.exports import Export, open_export
from projector_export.viewing.round_trip.neighbor_lines import (
    find_neighbors,
    find_rows,
    render_lines,
)

DEGREES = {
    "blue": 0.0,
    "red": 47.6,
    "yellow": -51.94,
    "purple": 52.4,
    "grün": 170.0,
    "cyan": 180.0,
}


def export_colors(out: Path, settings: Settings, *, scale: float = 1.0) -> Export:
    """Points on a circle, of growing length, named after colours."""
    angles = np.radians(list(DEGREES.values()))
    lengths = scale * np.arange(1, len(angles) + 1)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1) * lengths[:, None]
    columns = pl.DataFrame(
        {"label": list(DEGREES), "path": [f"c/{i}.png" for i in range(len(angles))]}
    )
    points = Points(vectors.astype(np.float32), columns, name="colors")
    export_points(points, out, settings=settings)
    return open_export(out)


def settings(metric: str = "cosine", **options: object) -> Settings:
    """Quick settings."""
    return Settings(metric=metric, umap_dims=(), clusters=None, anomalies=False, **options)  # type: ignore[arg-type]


def lines(export: Export, wanted: list[str], k: int) -> list[str]:
    """Return what is printed."""
    return render_lines(find_neighbors(export, find_rows(export, wanted), k=k), export)


def test_a_line_tells_the_nearest_and_their_angles(tmp_path: Path) -> None:
    """Lines like `blue: red 47.6°, yellow 51.9°, purple 52.4°`, whatever the vectors' lengths."""
    export = export_colors(tmp_path, settings())
    assert lines(export, ["blue"], 3) == ["blue: red 47.6°, yellow 51.9°, purple 52.4°"]
    assert lines(export, ["grün", "red"], 1) == ["grün: cyan 10.0°", "red: purple 4.8°"]


def test_distances_have_no_degrees(tmp_path: Path) -> None:
    """For the euclidean metric the lines tell distances."""
    export = export_colors(tmp_path, settings("euclidean"), scale=1000)
    assert lines(export, ["blue"], 2) == ["blue: red 1517, yellow 2510"]
    table = find_neighbors(export, [0], k=2)
    assert table.columns == [
        "item", "row", "path", "rank", "neighbor", "neighbor_row", "neighbor_path", "distance"
    ]  # fmt: skip
    assert table["path"].to_list() == ["c/0.png", "c/0.png"]
    assert table["neighbor_path"].to_list() == ["c/1.png", "c/2.png"]
    assert table["distance"].to_list() == pytest.approx([1517.5, 2510.2], abs=0.1)


def test_points_are_named_by_label_path_or_row(tmp_path: Path) -> None:
    """A label, else a path, else a row number; each point once."""
    export = export_colors(tmp_path, settings())
    assert find_rows(export, ["red", "c/4.png", "#2", "#1"]) == [1, 4, 2]
    with pytest.raises(DataError, match="no row #6; expected #0 to #5"):
        find_rows(export, ["#6"])
    with pytest.raises(DataError, match="no row #9999"):
        find_rows(export, ["#" + "9" * 40])


def test_an_unknown_label_is_told_the_closest(tmp_path: Path) -> None:
    """Unknown label: error with the closest labels by spelling."""
    export = export_colors(tmp_path, settings())
    with pytest.raises(DataError, match="labelled 'Purpel'; did you mean 'purple'"):
        find_rows(export, ["Purpel"])
    with pytest.raises(
        DataError, match=r"there are 'blue', 'red', 'yellow', 'purple', 'grün', ..."
    ):
        find_rows(export, ["水"])


@pytest.mark.parametrize("k", [0, 6, -1])
def test_k_out_of_range_is_refused(tmp_path: Path, k: int) -> None:
    """There are no more neighbours than other points."""
    export = export_colors(tmp_path, settings())
    with pytest.raises(OptionError, match=f"k is {k}; expected 1 to 5, since there are 6 points"):
        find_neighbors(export, [0], k=k)


def test_angles_have_four_decimals(tmp_path: Path) -> None:
    """What float32 vectors add beyond that is no angle; without paths there are no such columns."""
    vectors = np.float32([[1, 0], [3, 1], [-2, 5]])
    export_points(Points(vectors, name="e"), tmp_path, settings=settings())
    table = find_neighbors(open_export(tmp_path), [0], k=2)
    assert table.columns == ["item", "row", "rank", "neighbor", "neighbor_row", "angle_deg"]
    assert table["angle_deg"].to_list() == [18.4349, 111.8014]


def test_points_that_look_alike_are_told_apart_by_row(tmp_path: Path) -> None:
    """Where labels repeat in the export, an item and a neighbour have their rows."""
    vectors = np.float32([[1, 0], [0, 1], [1, 0.1], [-1, -1]])
    columns = pl.DataFrame({"label": ["a", "b", "a ", "c"]})
    export_points(Points(vectors, columns, name="e"), tmp_path, settings=settings())
    export = open_export(tmp_path)
    assert lines(export, ["#0", "b"], 2) == [
        "a (#0): a (#2) 5.7°, b 90.0°", "b: a (#2) 84.3°, a (#0) 90.0°"
    ]  # fmt: skip


def test_points_that_share_a_label_have_a_line_each(tmp_path: Path) -> None:
    """LABEL may name several points: one line each, told apart by their rows."""
    vectors = np.float32([[1, 0], [0, 1], [1, 0.1], [0.1, 1], [-1, -0.9]])
    columns = pl.DataFrame({"label": ["a", "a", "b\n\x1b[31m", None, "e"]})
    export_points(Points(vectors, columns, name="e"), tmp_path, settings=settings())
    export = open_export(tmp_path)
    assert lines(export, ["a", "e"], 1) == [
        "a (#0): b [31m 5.7°", "a (#1): (empty) 5.7°", "e: a (#1) 132.0°"
    ]  # fmt: skip


def test_rows_are_those_of_the_input(tmp_path: Path) -> None:
    """Where points were thinned out, #12 is still row 12 of the input."""
    vectors = np.random.default_rng(0).standard_normal((60, 5)).astype(np.float32)
    columns = pl.DataFrame({"label": [f"item {i}" for i in range(60)]})
    points = Points(vectors, columns, name="e")
    export_points(points, tmp_path, settings=settings(max_points=20))
    export = open_export(tmp_path)
    rows = export.columns["source_row"].to_list()
    unit = vectors[rows] / np.linalg.norm(vectors[rows], axis=1, keepdims=True)
    cosines = unit @ unit[4]
    best = rows[np.argsort(-cosines)[1]]
    table = find_neighbors(export, find_rows(export, [f"#{rows[4]}"]), k=1)
    assert table["item"].to_list() == [f"item {rows[4]}"]
    assert table["neighbor"].to_list() == [f"item {best}"]
    assert table["neighbor_row"].to_list() == [best]
    (hidden, *_) = set(range(60)) - set(rows)
    with pytest.raises(DataError, match="of which it has 20"):
        find_rows(export, [f"#{hidden}"])


def test_principal_components_give_the_angle_of_the_chord(tmp_path: Path) -> None:
    """Where the viewer has components of unit vectors, the angle is twice the arc sine of d/2."""
    rng = np.random.default_rng(0)
    flat = np.zeros((80, 40), np.float32)
    flat[:, :3] = rng.standard_normal((80, 3))
    flat *= rng.uniform(0.5, 20, (80, 1)).astype(np.float32)
    points = Points(flat, name="e")
    export_points(points, tmp_path / "few", settings=settings(view_dims=4))
    export_points(points, tmp_path / "all", settings=settings(view_dims="all"))
    few, whole = (
        find_neighbors(open_export(tmp_path / run), [0, 7, 9], k=4) for run in ("few", "all")
    )
    assert few["neighbor"].to_list() == whole["neighbor"].to_list()
    assert few["angle_deg"].to_list() == pytest.approx(whole["angle_deg"].to_list(), abs=1e-3)
