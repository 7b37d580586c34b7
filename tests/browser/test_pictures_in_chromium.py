"""Pictures beside the viewer itself: the same points at the same places; and plotly's pages."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import find_blob, make_export, make_state, pixels_of
from PIL import Image
from viewer import DEEP, READY, ProjectorPage, projector_url

from projector_export.projector.exports import Export
from projector_export.viewing.pictures.colors import CATEGORY_COLORS
from projector_export.viewing.pictures.interactive import render_interactive
from projector_export.viewing.pictures.picture import render_picture
from projector_export.viewing.serve import start_tensorboard

pytest.importorskip("adjustText")
pytest.importorskip("plotly")
pytestmark = pytest.mark.browser

PLANTED = [
    (0.5, 0.5, 0.5), (-0.7, 0.6, 0.6), (0.6, -0.6, 0.6), (-0.6, -0.6, 0.6),
    (0.8, 0.7, -0.7), (-0.8, 0.8, -0.8), (0.8, -0.8, -0.8), (-0.7, -0.7, -0.7),
    (0.0, 0.9, 0.1), (0.1, -0.2, -0.1),
]  # fmt: skip
# Black ones that stretch the axes to other lengths than the planted ones would.
OTHERS = [(1.0, 0.0, -0.9), (-1.0, 0.1, -1.0), (0.3, 1.0, -0.9), (0.4, -1.0, -1.0), (-0.2, 0.1, 1)]
CAMERAS = {
    "the viewer's own": {"orthographic": False, "position": [0.45, 0.9, 1.6],
                         "target": [0, 0, 0], "zoom": 1},
    "from the left": {"orthographic": False, "position": [-1.9, 0.7, 1.4],
                      "target": [0.1, -0.1, 0.05], "zoom": 1.1},
    "from below": {"orthographic": False, "position": [0.8, -1.7, 1.3],
                   "target": [0, 0, 0], "zoom": 0.9},
}  # fmt: skip
FLAT = {"orthographic": True, "position": [0.1, -0.05, 4], "target": [0.1, -0.05, 0], "zoom": 1.15}
SCATTER = DEEP + (
    "const box = deep(document, '#scatter', [])[0].getBoundingClientRect();"
    "return {x: box.x, y: box.y, width: box.width, height: box.height};"
)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Ten points, each in a colour of its own, among black ones without a value."""
    cube = np.array([*PLANTED, *OTHERS])
    # Axes of other lengths and places than the cube's: the viewer stretches each by itself.
    coordinates = cube * (3.0, 40.0, 0.5) + (7.0, -100.0, 2.0)
    columns = {
        "label": [f"point {i}" for i in range(len(cube))],
        "planted": [*range(10), *([None] * len(OTHERS))],
    }
    states = [
        make_state(coordinates, label=label, color_by="planted", camera=camera)
        for label, camera in CAMERAS.items()
    ]
    flat = coordinates[:, :2]
    states.append(make_state(flat, label="flat", color_by="planted", camera=FLAT))
    return make_export(tmp_path_factory.mktemp("logs") / "run", columns, states)


@pytest.fixture(scope="module")
def page(chromium: Any, export: Export) -> Iterator[ProjectorPage]:
    """The viewer on it, in a real TensorBoard."""
    server = start_tensorboard(export.out)
    page = ProjectorPage(chromium, projector_url(server.port))
    yield page
    page.close()
    server.stop()


@pytest.mark.parametrize("title", [*CAMERAS, "flat"])
def test_the_picture_matches_the_viewers_pose(
    page: ProjectorPage, export: Export, title: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The projected positions of ten planted points agree with Chromium's screenshot within 3 %
    of the plot's width; found by their colours, in both.
    """  # noqa: D205
    page.open_bookmark(title)
    box = page.page.evaluate("() => {" + SCATTER + "}")
    width, height = round(box["width"]), round(box["height"])
    screenshot = page.page.screenshot(clip=box)
    (state,) = [state for state in export.states if state["label"] == title]
    picture = render_picture(
        export, state, width_px=width, height_px=height, framed=False, style="dots"
    )
    framed = render_picture(export, state, width_px=1400, height_px=1000, style="dots")
    if folder := os.environ.get("PROJECTOR_EXPORT_SCREENSHOTS"):
        (Path(folder) / f"pose {title} viewer.png").write_bytes(screenshot)
        (Path(folder) / f"pose {title} picture.png").write_bytes(picture)
    theirs, ours, in_frame = (
        np.array([find_blob(pixels, color) for color in CATEGORY_COLORS])
        for pixels in (pixels_of(screenshot), pixels_of(picture), _without_legend(framed))
    )
    largest = np.linalg.norm(ours - theirs, axis=1).max() / width
    # With a frame, the plot is smaller and elsewhere, but the pose is the same.
    scale = np.ptp(in_frame[:, 1]) / np.ptp(ours[:, 1])
    moved = ours * scale
    moved += (in_frame - moved).mean(axis=0)
    largest_framed = np.linalg.norm(moved - in_frame, axis=1).max() / (scale * width)
    with capsys.disabled():
        print(f"\n{title}: largest deviation {largest:.2%}, framed {largest_framed:.2%}")
    assert largest < 0.03
    assert largest_framed < 0.03
    assert page.errors == []


SAVE = (
    DEEP
    + """
data.selectedColorOptionName = 'planted';
deep(document, 'vz-projector-projections-panel', [])[0].showTab(tab);
await new Promise(done => setTimeout(done, 1500));
viewer.projectorScatterPlotAdapter.scatterPlot.stopOrbitAnimation();
return JSON.parse(JSON.stringify(viewer.getCurrentState()));
"""
)


@pytest.mark.parametrize("tab", ["pca", "custom"])
def test_a_state_saved_in_the_viewer_is_drawn_as_it_shows_it(
    page: ProjectorPage, export: Export, tab: str
) -> None:
    """States that users save are of other projections, with other keys and another camera."""
    page.page.reload()  # the viewer forgets its PCA when a bookmark is opened
    page.page.wait_for_function("() => {" + READY + "}")
    state = page.page.evaluate("async (tab) => {" + SAVE + "}", tab)
    assert state["selectedProjection"] == tab
    box = page.page.evaluate("() => {" + SCATTER + "}")
    width, height = round(box["width"]), round(box["height"])
    page.page.wait_for_timeout(500)
    screenshot = pixels_of(page.page.screenshot(clip=box))
    picture = pixels_of(
        render_picture(export, state, width_px=width, height_px=height, framed=False, style="dots")
    )
    found = 0
    for color in CATEGORY_COLORS:
        try:
            theirs = np.array(find_blob(screenshot, color))
        except AssertionError:  # random vectors may hide one another
            continue
        assert np.abs(theirs - find_blob(picture, color)).max() < 0.03 * width
        found += 1
    assert found >= 6


def _without_legend(png: bytes) -> np.ndarray:
    pixels = pixels_of(png).copy()
    pixels[:, -190:] = 255
    return pixels


HOSTILE = "</script><img src=x onerror=alert(1)>"


def test_a_page_of_plotly_tells_what_is_under_the_mouse(chromium: Any, tmp_path: Path) -> None:
    """Hover columns and thumbnails, offline; text of the data stays text, tags and all."""
    tiles = np.zeros((4, 16, 16, 4), dtype=np.uint8)
    tiles[..., 3] = 255
    for row, color in enumerate([(255, 0, 0), (0, 160, 0), (0, 0, 255), (255, 200, 0)]):
        tiles[row, ..., :3] = color
    columns = {
        "label": ["一", HOSTILE, "<b>bold</b>", "四"],
        "kind": ["<i>a</i> & b", HOSTILE, HOSTILE, "<i>a</i> & b"],
    }
    corners = np.array([[0.0, 0], [1, 0], [0, 1], [1, 1]])
    state = make_state(corners, label=f"<u>title</u>{HOSTILE}", color_by="kind")
    export = make_export(tmp_path / "run", columns, [state], thumbnails=tiles)
    file = tmp_path / "page.html"
    file.write_bytes(render_interactive(export, export.states[0]))
    context = chromium.new_context(offline=True, viewport={"width": 900, "height": 700})
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: (problems.append("a dialog"), dialog.dismiss()))
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_function("document.documentElement.dataset.ready === 'yes'")
    assert page.inner_text("h1") == f"<u>title</u>{HOSTILE}"
    assert page.title() == f"<u>title</u>{HOSTILE}"
    legend = page.evaluate(
        "[...document.querySelectorAll('.legendtext')].map(e => [e.textContent, e.innerHTML])"
    )
    assert [text for text, _ in legend] == ["<i>a</i> & b (2)", f"{HOSTILE} (2)"]
    assert page.locator(".legendtext i, .legendtext img, img[src=x]").count() == 0
    shown = {}
    for point in range(4):
        x, y = page.evaluate(
            """point => {
                const plot = document.getElementById('plot'), layout = plot._fullLayout;
                for (const trace of plot.data) {
                  const at = trace.members.indexOf(point);
                  if (at < 0) continue;
                  const box = plot.getBoundingClientRect();
                  return [box.x + layout.xaxis._offset + layout.xaxis.l2p(trace.x[at]),
                          box.y + layout.yaxis._offset + layout.yaxis.l2p(trace.y[at])];
                }
            }""",
            point,
        )
        page.mouse.move(x, y)
        page.wait_for_selector("#box", state="visible")
        page.wait_for_function(
            "label => document.querySelector('#box strong').textContent === label",
            arg=columns["label"][point],
        )
        tile = page.locator("#box canvas")
        with Image.open(io.BytesIO(tile.screenshot())) as image:
            middle = image.convert("RGB").getpixel((image.width // 2, image.height // 2))
        shown[point] = (page.locator("#box dd").all_inner_texts(), middle)
        if folder := os.environ.get("PROJECTOR_EXPORT_SCREENSHOTS"):
            page.screenshot(path=str(Path(folder) / f"plotly {point}.png"))
        page.mouse.move(5, 5)
        page.wait_for_selector("#box", state="hidden")
    for point, color in enumerate([(255, 0, 0), (0, 160, 0), (0, 0, 255), (255, 200, 0)]):
        texts, middle = shown[point]
        assert texts[:2] == [columns["label"][point], columns["kind"][point]]
        assert middle == pytest.approx(color, abs=2)
    buttons = page.evaluate(
        "[...document.querySelectorAll('.modebar-btn')].map(e => e.dataset.title)"
    )
    assert len(buttons) == 6
    assert not any("cloud" in button.lower() or "studio" in button.lower() for button in buttons)
    assert problems == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    context.close()


def test_a_page_of_a_3d_view_turns(chromium: Any, tmp_path: Path) -> None:
    """A 3-D view is drawn by plotly in WebGL, seen from the viewer's side, and tells its points."""
    columns = {"label": [f"点 {i}" for i in range(9)], "score": [i / 8 for i in range(9)]}
    cube = np.array([*np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, 8).T, (0, 0, 0)])
    export = make_export(tmp_path / "run", columns, [make_state(cube, color_by="score")])
    file = tmp_path / "page.html"
    file.write_bytes(render_interactive(export, export.states[0]))
    page = chromium.new_page(viewport={"width": 900, "height": 700})
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(file.as_uri())
    page.wait_for_function("document.documentElement.dataset.ready === 'yes'")
    eye = page.evaluate("document.getElementById('plot')._fullLayout.scene.camera.eye")
    assert eye["x"] / eye["z"] == pytest.approx(0.45 / 1.6)
    assert eye["y"] / eye["z"] == pytest.approx(0.9 / 1.6)
    box = page.evaluate("(e => [e.x, e.y, e.width, e.height])(document.querySelector("
                        "'#plot .gl-container').getBoundingClientRect())")  # fmt: skip
    plot = page.evaluate("document.getElementById('plot')._fullLayout._size")
    middle = (box[0] + plot["l"] + plot["w"] / 2, box[1] + plot["t"] + plot["h"] / 2)
    for dx in (0, 1, -1, 2, -2, 3):  # the point in the middle of the cube
        page.mouse.move(middle[0] + dx, middle[1])
        page.wait_for_timeout(300)
        if page.locator("#box").is_visible():
            break
    assert page.locator("#box strong").inner_text() == "点 8"
    assert problems == []
    page.close()
