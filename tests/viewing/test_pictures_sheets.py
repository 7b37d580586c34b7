"""Contact sheets: the most unusual points, and each cluster's most typical items."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from pictures import find_blob, has_color, make_export, pixels_of

from projector_export.errors import DataError, OptionError
from projector_export.projector.exports import Export
from projector_export.viewing.pictures.contact_sheet import render_contact_sheet
from projector_export.viewing.pictures.sheet_content import available_sheets, typical_groups

pytest.importorskip("matplotlib")

COLORS = ["#c81414", "#14c814", "#1414c8", "#c8c814", "#14c8c8", "#c814c8"]
COLUMNS = {
    "label": ["あ", "い", "う", "え", "お", "か"],
    "anomaly": [0.1, 0.9, 0.5, 0.3, 0.7, 0.0],
    "anomaly_kind": ["normal", "global", "local", "normal", "local", "normal"],
    "cluster": ["cluster_00", "cluster_01", "cluster_00", "cluster_01", "cluster_00", "cluster_01"],
    "cluster_distance": [0.3, 0.2, 0.1, 0.4, 0.2, 0.1],
}


def tiles() -> np.ndarray:
    """Six plain tiles."""
    pixels = np.zeros((6, 16, 16, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    for row, color in enumerate(COLORS):
        pixels[row, ..., :3] = list(bytes.fromhex(color[1:]))
    return pixels


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Six points of two clusters, each a plain tile."""
    return make_export(tmp_path_factory.mktemp("logs") / "run", COLUMNS, thumbnails=tiles())


def test_the_most_unusual_come_first(export: Export) -> None:
    """By `anomaly`, the highest first, row by row from the left."""
    pixels = pixels_of(render_contact_sheet(export, "unusual"))
    places = [find_blob(pixels, COLORS[row]) for row in (1, 4, 2, 3, 0, 5)]
    assert [x for x, _ in places] == sorted(x for x, _ in places)
    assert np.ptp([y for _, y in places]) <= 1


def test_each_cluster_has_a_row_of_its_most_typical_items(export: Export) -> None:
    """By `cluster_distance`, the nearest first."""
    pixels = pixels_of(render_contact_sheet(export, "typical"))
    rows = [[find_blob(pixels, COLORS[row]) for row in rows] for rows in ((2, 4, 0), (5, 1, 3))]
    for row in rows:
        assert [x for x, _ in row] == sorted(x for x, _ in row)
        assert np.ptp([y for _, y in row]) <= 1
    assert rows[0][0][1] + 50 < rows[1][0][1]
    assert rows[0][0][0] == rows[1][0][0]


def test_permuted_items_give_the_same_sheet(tmp_path: Path, export: Export) -> None:
    """Rows never slip: label, score and tile of an item stay together."""
    order = [3, 5, 0, 1, 4, 2]
    columns = {name: [values[i] for i in order] for name, values in COLUMNS.items()}
    permuted = make_export(tmp_path / "run", columns, thumbnails=tiles()[order])
    for sheet in ("unusual", "typical"):
        assert render_contact_sheet(permuted, sheet) == render_contact_sheet(export, sheet)


def test_without_thumbnails_a_sheet_is_a_list(tmp_path: Path) -> None:
    """Text list: one line an item."""
    export = make_export(tmp_path / "run", COLUMNS)
    for sheet in ("unusual", "typical"):
        pixels = pixels_of(render_contact_sheet(export, sheet))
        assert has_color(pixels, "#1f2430", tolerance=20)
        assert not any(has_color(pixels, color) for color in COLORS)


def test_clusters_are_titled_with_their_names(tmp_path: Path) -> None:
    """`cluster_name` if that column exists; else the cluster."""
    names = ["サバ (80 %)" if c == "cluster_00" else "" for c in COLUMNS["cluster"]]
    export = make_export(tmp_path / "run", {**COLUMNS, "cluster_name": names})
    groups, left_out = typical_groups(export, 2)
    assert left_out == 0
    assert [(g.title, g.remark) for g in groups] == [
        ("サバ (80 %)", "cluster_00 · 3 items"),
        ("cluster_01", "3 items"),
    ]
    assert [[item.label for item in group.items] for group in groups] == [
        ["う", "お"],
        ["か", "い"],
    ]
    assert [[item.row for item in group.items] for group in groups] == [[2, 4], [5, 1]]


def test_more_clusters_than_fit_are_counted(tmp_path: Path) -> None:
    """60 clusters on a sheet; the others are named as left out."""
    n = 70
    columns = {
        "label": [f"i{i}" for i in range(n)],
        "cluster": [f"cluster_{i:02d}" for i in range(n)],
        "cluster_distance": [0.0] * n,
    }
    export = make_export(tmp_path / "run", columns)
    groups, left_out = typical_groups(export, 3)
    assert (len(groups), left_out) == (60, 10)
    render_contact_sheet(export, "typical")


@pytest.mark.parametrize("file_format", ["png", "svg", "pdf"])
def test_same_input_same_bytes(export: Export, file_format: str) -> None:
    """In every format."""
    for sheet in ("unusual", "typical"):
        first = render_contact_sheet(export, sheet, file_format=file_format)  # type: ignore[arg-type]
        assert render_contact_sheet(export, sheet, file_format=file_format) == first  # type: ignore[arg-type]


def test_a_sheet_is_as_wide_as_asked_and_as_high_as_needed(export: Export) -> None:
    """Width in pixels; in SVG points."""
    assert pixels_of(render_contact_sheet(export, "unusual", width_px=700)).shape[1] == 700
    svg = ET.fromstring(render_contact_sheet(export, "typical", width_px=700, file_format="svg"))
    assert float(svg.attrib["width"].removesuffix("pt")) == pytest.approx(252, 1e-3)


def test_a_sheet_that_cannot_be_so_large_is_refused(export: Export, tmp_path: Path) -> None:
    """A width is checked by itself, and by the height that follows from it."""
    with pytest.raises(OptionError, match="width is 10 px; expected 64 to 20,000"):
        render_contact_sheet(export, "unusual", width_px=10)
    columns = {
        "label": [f"i{i}" for i in range(60)],
        "cluster": [f"cluster_{i:02d}" for i in range(60)],
        "cluster_distance": [0.0] * 60,
    }
    high = make_export(tmp_path / "run", columns, thumbnails=np.zeros((60, 8, 8, 4), np.uint8))
    with pytest.raises(OptionError, match=r"makes the sheet 1\d\d,\d\d\d px high"):
        render_contact_sheet(high, "typical", width_px=20_000)


def test_sheets_need_their_columns(tmp_path: Path) -> None:
    """An export without clusters or anomalies has no sheets."""
    export = make_export(tmp_path / "run", {"label": ["a", "b"]})
    assert available_sheets(export) == []
    with pytest.raises(DataError, match="has no column cluster and cluster_distance"):
        render_contact_sheet(export, "typical")
