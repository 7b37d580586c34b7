"""Pages of plotly, as far as a browser is not needed; see tests/browser for the rest."""

from __future__ import annotations

import base64
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import make_export, make_state
from PIL import Image

from projector_export.errors import MissingExtraError
from projector_export.projector.exports import Export
from projector_export.viewing.pictures.interactive import render_interactive

pytest.importorskip("plotly")

SQUARE = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 8.0], [4.0, 8.0]])
HOSTILE = "</script><img src=x onerror=alert(1)>{{plotly}}"


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Four points with plain tiles, one of them with a hostile label."""
    tiles = np.full((4, 8, 8, 4), 255, dtype=np.uint8)
    tiles[:, ..., 0] = np.array([0, 60, 120, 180])[:, None, None]
    columns = {"label": ["あ", HOSTILE, "う", "え"], "kind": ["k", HOSTILE, "k", "<b>l</b>"]}
    return make_export(tmp_path_factory.mktemp("logs") / "run", columns, thumbnails=tiles)


def data_of(page: bytes) -> dict[str, Any]:
    """Return what the page's script reads."""
    (text,) = re.findall(rb'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    data: dict[str, Any] = json.loads(text)
    return data


def test_each_point_has_its_place_label_columns_and_tile(export: Export) -> None:
    """Row i is item i in every list, through categories and isolation."""
    state = make_state(SQUARE[[3, 0, 1]], isolated=[3, 0, 1], color_by="kind")
    data = data_of(render_interactive(export, state))
    assert data["labels"] == ["え", "あ", HOSTILE]
    (kinds,) = [column["cells"] for column in data["columns"] if column["name"] == "kind"]
    assert kinds == ["<b>l</b>", "k", HOSTILE]
    placed = {
        member: (x, y, trace["marker"]["color"])
        for trace in data["traces"]
        for member, x, y in zip(trace["members"], trace["x"], trace["y"], strict=True)
    }
    assert placed == {0: (1, 1, "#e377c2"), 1: (-1, -1, "#1f77b4"), 2: (1, -1, "#d62728")}
    png = base64.b64decode(data["sprite"]["uri"].removeprefix("data:image/png;base64,"))
    with Image.open(io.BytesIO(png)) as image:
        size, columns = data["sprite"]["tile_px"], data["sprite"]["columns"]
        reds = [
            image.getpixel((place % columns * size + 2, place // columns * size + 2))[0]  # type: ignore[index]
            for place in data["sprite"]["tiles"]
        ]
    assert reds == [180, 0, 60]


def test_text_of_the_data_ends_no_element(export: Export) -> None:
    """`</script>` in a label is data; in a title it is escaped; plotly's names have no tags."""
    state = make_state(SQUARE, label=HOSTILE, color_by="kind")
    page = render_interactive(export, state)
    assert page.count(b"</script>") == 3
    assert b"<img" not in page.replace(render_interactive(export, make_state(SQUARE)), b"")
    names = [trace["name"] for trace in data_of(page)["traces"]]
    assert names == [
        "k (2)",
        "&lt;/script>&lt;img src=x onerror=alert(1)>{{plotly}} (1)",
        "&lt;b>l&lt;/b> (1)",
    ]
    assert page.count(b"plotly.js v") == 1  # no placeholder of the data was filled in


def test_the_page_may_not_use_the_network(export: Export) -> None:
    """Self-contained and offline, by policy too."""
    page = render_interactive(export, make_state(SQUARE)).decode("utf-8")
    assert "Content-Security-Policy\" content=\"default-src 'none';" in page
    own = page.split("<script>")[0] + page.split('id="data">')[1]
    assert re.findall(r"<[a-z]+[^>]*\b(?:src|href)=", own) == []
    assert not re.search(r"https?:|//[a-z]+\.", own)


def test_a_selection_is_drawn_last(export: Export) -> None:
    """Selected points in red, above the others."""
    data = data_of(render_interactive(export, make_state(SQUARE, selected=[2])))
    colors = [trace["marker"]["color"] for trace in data["traces"]]
    assert colors == ["#e3e3e3", "#fa6666"]
    assert data["traces"][1]["members"] == [2]


def test_lines_join_the_points_of_a_path(tmp_path: Path) -> None:
    """A trace a colour of the points that they start from, below the points; a gap between."""
    columns = {"label": ["a", "b", "a", "b"], "__seq_next__": [1, 2, 3, None]}
    export = make_export(tmp_path / "run", columns)
    *lines, _, _ = data_of(render_interactive(export, make_state(SQUARE)))["traces"]
    assert [(t["mode"], t["line"]["color"], t["x"], t["y"], t["opacity"]) for t in lines] == [
        ("lines", "#1f77b4", [-1, 1, None, -1, 1, None], [-1, -1, None, 1, 1, None], 0.5),
        ("lines", "#d62728", [1, -1, None], [-1, 1, None], 0.5),
    ]
    deep = np.column_stack([SQUARE, [0.0, 2, 2, 0]])
    axes, first, second, *points = data_of(render_interactive(export, make_state(deep)))["traces"]
    assert "members" not in axes
    assert (first["type"], second["type"]) == ("scatter3d", "scatter3d")
    assert first["z"] == [-1, 1, None, 1, -1, None]
    assert second["z"] == [1, 1, None]
    assert [trace["mode"] for trace in points] == ["markers", "markers"]


def test_lines_are_hidden_with_the_points_that_they_start_from(tmp_path: Path) -> None:
    """A click in the legend takes a group."""
    columns = {"label": ["a", "b", "a", "b"], "__seq_next__": [1, 2, 3, None]}
    export = make_export(tmp_path / "run", columns)
    traces = data_of(render_interactive(export, make_state(SQUARE)))["traces"]
    groups = [(trace["mode"], trace["legendgroup"]) for trace in traces]
    assert groups == [
        ("lines", "#1f77b4"), ("lines", "#d62728"), ("markers", "#1f77b4"), ("markers", "#d62728"),
    ]  # fmt: skip
    assert [trace["showlegend"] for trace in traces] == [False, False, True, True]


def test_without_paths_there_are_no_lines(export: Export) -> None:
    """No `__seq_next__`: points alone."""
    traces = data_of(render_interactive(export, make_state(SQUARE)))["traces"]
    assert {trace["mode"] for trace in traces} == {"markers"}


def test_without_thumbnails_there_is_no_sprite(export: Export, tmp_path: Path) -> None:
    """Nor when it is not wanted."""
    assert (
        data_of(render_interactive(export, make_state(SQUARE), thumbnails=False))["sprite"] is None
    )
    plain = make_export(tmp_path / "run", {"label": ["a", "b", "c", "d"]})
    assert data_of(render_interactive(plain, make_state(SQUARE)))["sprite"] is None


def test_same_input_same_bytes(export: Export) -> None:
    """No id of chance."""
    state = make_state(SQUARE)
    assert render_interactive(export, state) == render_interactive(export, state)


def test_a_missing_extra_says_what_to_install(
    export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing extra is one clear message with the pip line."""
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'projector-export\[plots\]'"):
        render_interactive(export, make_state(SQUARE))
