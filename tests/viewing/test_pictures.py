"""Pictures show the points of the state, each in its own place and colour."""

from __future__ import annotations

import io
import sys
import time
import xml.etree.ElementTree as ET
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import find_blob, has_color, make_export, make_state, pixels_of
from PIL import Image

from projector_export.errors import DataError, MissingExtraError, OptionError
from projector_export.projector.exports import Export
from projector_export.viewing.pictures import fonts
from projector_export.viewing.pictures.canvas import Box, Canvas, plain_settings
from projector_export.viewing.pictures.fonts import choose_fonts, drawable
from projector_export.viewing.pictures.labels import place_labels
from projector_export.viewing.pictures.picture import render_picture

pytest.importorskip("adjustText")

SQUARE = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 8.0], [4.0, 8.0]])
KINDS = ["一", "二", "三", "四"]
COLORS = ["#1f77b4", "#d62728", "#e377c2", "#17becf"]
# An orthographic camera shows 1.2 beyond the middle: corners are 1/12 from the edges, y upwards.
CORNERS = [(40, 440), (440, 440), (40, 40), (440, 40)]


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Four points at the corners of a square."""
    out = tmp_path_factory.mktemp("logs") / "run"
    return make_export(out, {"label": KINDS}, [make_state(SQUARE)])


def bare(export: Export, state: dict[str, Any], **more: Any) -> np.ndarray:
    """The plot alone, 480 x 480 px, as pixels."""
    return pixels_of(
        render_picture(export, state, width_px=480, height_px=480, framed=False, **more)
    )


def test_each_point_is_where_its_coordinates_say_in_its_colour(export: Export) -> None:
    """Row i's coordinates, row i's colour."""
    pixels = bare(export, make_state(SQUARE))
    for color, place in zip(COLORS, CORNERS, strict=True):
        assert find_blob(pixels, color) == pytest.approx(place, abs=1)


def test_permuting_the_items_permutes_the_drawing(tmp_path: Path, export: Export) -> None:
    """Rows never slip: the same items in another order give the same places."""
    order = [2, 0, 3, 1]
    permuted = make_export(tmp_path / "run", {"label": [KINDS[i] for i in order]})
    pixels = bare(permuted, make_state(SQUARE[order]))
    # Colours go by first sight, so the planted ones are permuted too.
    for color, row in zip(COLORS, order, strict=True):
        assert find_blob(pixels, color) == pytest.approx(CORNERS[row], abs=1)


def test_an_isolated_view_draws_just_its_points(export: Export) -> None:
    """Points 3 and 1 alone, stretched anew, in the colours they have among all."""
    state = make_state(SQUARE[[3, 1]], isolated=[3, 1])
    pixels = bare(export, state)
    assert find_blob(pixels, COLORS[3]) == pytest.approx((240, 40), abs=1)
    assert find_blob(pixels, COLORS[1]) == pytest.approx((240, 440), abs=1)
    assert not has_color(pixels, COLORS[0])
    assert not has_color(pixels, COLORS[2])


def test_selected_points_are_red_among_grey(export: Export) -> None:
    """Selection colours like the viewer's; selectedPoints count within the isolated ones."""
    state = make_state(SQUARE[[3, 0, 1]], isolated=[3, 0, 1], selected=[1])
    pixels = bare(export, state)
    assert find_blob(pixels, "#fa6666") == pytest.approx((40, 440), abs=1)
    assert has_color(pixels, "#e3e3e3")
    assert not any(has_color(pixels, color) for color in COLORS)


@pytest.fixture(scope="module")
def with_path(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """The square, with a path from the first corner over the second to the fourth."""
    out = tmp_path_factory.mktemp("logs") / "run"
    return make_export(out, {"label": KINDS, "__seq_next__": [1, 3, None, None]})


def line_colors(export: Export, state: dict[str, Any]) -> list[str]:
    """Return the colours of the half transparent lines in a picture, the lowest one first."""
    svg = ET.fromstring(render_picture(export, state, file_format="svg"))
    styles = [element.get("style") or "" for element in svg.iter()]
    return [s.split("stroke: ")[1][:7] for s in styles if "stroke-opacity: 0.5" in s]


# Half of COLORS[0] and of COLORS[1], the rest white.
HALF = ["#8fbbda", "#eb9394"]


def test_lines_join_the_points_of_a_path(export: Export, with_path: Export) -> None:
    """In the colour of the point that they start from, half transparent; else nothing."""
    drawn = bare(with_path, make_state(SQUARE)).astype(int) - bare(export, make_state(SQUARE))
    ys, xs = np.nonzero(drawn.any(axis=2))
    # Along the lower edge, then up the right one; the points lie on top.
    on_lower, on_right = np.abs(ys + 0.5 - 440) < 2, np.abs(xs + 0.5 - 440) < 2
    assert (on_lower | on_right).all()
    assert (xs[on_lower & ~on_right].min(), xs[on_lower].max()) == pytest.approx((46, 434), abs=4)
    assert (ys[on_right & ~on_lower].min(), ys[on_right].max()) == pytest.approx((46, 434), abs=4)


def test_a_line_has_half_the_colour_of_its_start(with_path: Export) -> None:
    """In a large picture, where a line is thick enough to cover a pixel wholly."""
    pixels = pixels_of(
        render_picture(
            with_path, make_state(SQUARE), width_px=2400, height_px=2400, framed=False, dpi=300
        )
    )
    lower, right = pixels[2150:2250, 1200], pixels[1200, 2150:2250]
    for line, color in ((lower, HALF[0]), (right, HALF[1])):
        assert has_color(line[None], color, tolerance=1)
        assert 4 <= (line != 255).any(axis=1).sum() <= 6
    assert (pixels[150:250, 1200] == 255).all()
    assert (pixels[1200, 150:250] == 255).all()


def test_lines_need_both_points(with_path: Export, export: Export) -> None:
    """Isolated away, or behind the camera: no line leads there."""
    for rows in ([0, 3], [0, 2]):
        state = make_state(SQUARE[rows], isolated=rows)
        assert np.array_equal(bare(with_path, state), bare(export, state))
    deep = np.array([[0, 0, -1.0], [0.2, 0.2, 1.0], [-1, -1, -1.0], [1, 1, -1.0]])
    camera = {"orthographic": False, "position": [0, 0, 0.5], "target": [0, 0, 0], "zoom": 1}
    state = make_state(deep, camera=camera)
    assert np.array_equal(bare(with_path, state), bare(export, state))
    assert line_colors(with_path, state) == []


def test_lines_of_selected_points_are_on_top(with_path: Export) -> None:
    """Red ones last, as the points are drawn."""
    assert line_colors(with_path, make_state(SQUARE, selected=[0])) == ["#e3e3e3", "#fa6666"]
    assert line_colors(with_path, make_state(SQUARE, selected=[1])) == ["#e3e3e3", "#fa6666"]


def test_lines_stay_off_the_title(with_path: Export, export: Export) -> None:
    """The second corner in the middle of the plot, the fourth far above the picture."""
    camera = {"orthographic": True, "position": [1, -1, 4], "target": [1, -1, 0], "zoom": 3}
    state = make_state(SQUARE, camera=camera)
    drawn = pixels_of(render_picture(with_path, state)).astype(int)
    ys, xs = np.nonzero((drawn - pixels_of(render_picture(export, state))).any(axis=2))
    # The title's second line ends at 90 px, and the plot's margin at 30.
    assert 100 < ys.min() < 120
    assert 25 < xs.min() < 40


def test_segments_lie_under_the_dots_and_within_their_box() -> None:
    """A segment is where its ends say; the first one is lowest."""
    ends = np.array([[[-50.0, 40], [150, 40]], [[50, 20], [50, 180]]])
    rgb = np.array([[0, 0, 200], [200, 0, 0]], dtype=np.uint8)
    with plain_settings(choose_fonts([])):
        canvas = Canvas(100, 100, dpi=100)
        canvas.segments(ends, rgb, width_px=4, within=Box(20, 10, 60, 70))
        canvas.dots(np.array([[50.0, 60]]), np.array([[0, 200, 0]], dtype=np.uint8), 10)
        pixels = pixels_of(canvas.render("png", title=""))
    ys, xs = np.nonzero((pixels != 255).any(axis=2))
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (20, 79, 20, 79)
    assert pixels[40, 30].tolist() == pytest.approx([127, 127, 227], abs=1)
    assert pixels[40, 50].tolist() == pytest.approx([163, 63, 113], abs=2)
    assert pixels[60, 50].tolist() == [0, 200, 0]


@pytest.mark.parametrize("file_format", ["svg", "pdf"])
def test_lines_are_shapes_in_files_of_shapes(with_path: Export, file_format: Any) -> None:
    """Same bytes each time, too."""
    first = render_picture(with_path, make_state(SQUARE), file_format=file_format)
    assert render_picture(with_path, make_state(SQUARE), file_format=file_format) == first
    assert line_colors(with_path, make_state(SQUARE)) == COLORS[:2]


@pytest.fixture(scope="module")
def with_tiles(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Six points with a thumbnail each, all of one plain colour."""
    tiles = np.zeros((6, 16, 16, 4), dtype=np.uint8)
    tiles[..., 3] = 255
    for row, color in enumerate(TILES):
        tiles[row, ..., :3] = list(bytes.fromhex(color[1:]))
    out = tmp_path_factory.mktemp("logs") / "run"
    return make_export(out, {"label": list("abcdef")}, thumbnails=tiles)


TILES = ["#c81414", "#14c814", "#1414c8", "#c8c814", "#14c8c8", "#c814c8"]
RING = np.array([[0.0, 0], [2, 0], [4, 0], [0, 4], [2, 4], [4, 4]])
RING_PLACES = [(40, 440), (240, 440), (440, 440), (40, 40), (240, 40), (440, 40)]


def test_each_point_has_its_own_thumbnail(with_tiles: Export) -> None:
    """Sprite tile i is drawn at point i, with an edge in the point's colour."""
    pixels = bare(with_tiles, make_state(RING))
    for color, place in zip(TILES, RING_PLACES, strict=True):
        assert find_blob(pixels, color) == pytest.approx(place, abs=1.5)
    assert has_color(pixels, COLORS[0])  # the edge of the first
    dots = bare(with_tiles, make_state(RING), style="dots")
    assert not any(has_color(dots, color) for color in TILES)


def test_thumbnails_too_small_to_recognise_are_dots(with_tiles: Export) -> None:
    """`auto`: thumbnails where there are some that are few and large enough."""
    size = {"width_px": 100, "height_px": 100, "framed": False}
    small = pixels_of(render_picture(with_tiles, make_state(RING), **size))
    assert not any(has_color(small, color) for color in TILES)
    forced = pixels_of(render_picture(with_tiles, make_state(RING), style="thumbnails", **size))
    assert has_color(forced, TILES[0])


def test_isolated_points_have_their_own_thumbnails(with_tiles: Export) -> None:
    """Tiles go by row numbers, not by places in the view."""
    pixels = bare(with_tiles, make_state(RING[[5, 0]], isolated=[5, 0]))
    assert find_blob(pixels, TILES[5]) == pytest.approx((440, 40), abs=1.5)
    assert find_blob(pixels, TILES[0]) == pytest.approx((40, 440), abs=1.5)
    assert not any(has_color(pixels, color) for color in TILES[1:5])


def test_selected_thumbnails_stand_out_and_the_others_stay_visible(with_tiles: Export) -> None:
    """Selected: as they are, with a red edge. Others: paler, but there."""
    pixels = bare(with_tiles, make_state(RING, selected=[4]))
    assert find_blob(pixels, TILES[4]) == pytest.approx((240, 40), abs=1.5)
    assert has_color(pixels, "#fa6666")
    assert not has_color(pixels, TILES[0])
    assert has_color(pixels, "#eeb9b9", tolerance=4)  # three tenths of #c81414, the rest white


def test_thumbnails_are_asked_for_in_vain(export: Export) -> None:
    """Unknown input is refused, not guessed; `auto` draws dots."""
    with pytest.raises(OptionError, match="has no thumbnails; draw its views with --style dots"):
        bare(export, make_state(SQUARE), style="thumbnails")


def test_near_points_cover_far_ones(tmp_path: Path) -> None:
    """In 3-D views the order of drawing is depth, not the order of rows."""
    columns = {"label": ["near", "far", "edge", "edge"]}
    export = make_export(tmp_path / "run", columns)
    coordinates = np.array([[0, 0, 1.0], [0, 0, -1.0], [-1, -1, 0], [1, 1, 0]])
    camera = {"orthographic": False, "position": [0, 0, 4], "target": [0, 0, 0], "zoom": 1}
    for rows in ([0, 1, 2, 3], [1, 0, 3, 2]):
        state = make_state(coordinates[rows], isolated=rows, camera=camera)
        pixels = bare(export, state)
        assert pixels[240, 240].tolist() == [0x1F, 0x77, 0xB4]


def test_near_points_are_larger(tmp_path: Path) -> None:
    """As in the viewer, by distance; each point has its own size."""
    export = make_export(tmp_path / "run", {"label": ["a", "b", "c", "d"]})
    coordinates = np.array([[-1, 0, -1.0], [1, 0, 1.0], [0.0, -1, 0], [0.0, 1, 0]])
    camera = {"orthographic": False, "position": [0, 0, 4], "target": [0, 0, 0], "zoom": 1}
    for rows in ([0, 1, 2, 3], [1, 3, 2, 0]):
        state = make_state(coordinates[rows], isolated=rows, camera=camera)
        pixels = bare(export, state)
        areas = [int((pixels == list(bytes.fromhex(c[1:]))).all(axis=2).sum()) for c in COLORS]
        far, near, level, same = areas
        assert near > 1.4 * level > 1.4 * 1.2 * far
        assert level == pytest.approx(same, rel=0.1)


@pytest.mark.parametrize("file_format", ["png", "svg", "pdf"])
@pytest.mark.parametrize("selected", [[], [0, 2]])
def test_same_input_same_bytes(with_tiles: Export, file_format: Any, selected: list[int]) -> None:
    """No date, no random id, no time limit; nor anything of the user's matplotlibrc."""
    import matplotlib

    state = make_state(RING, selected=selected, label="名前 <&> $x$")
    first = render_picture(with_tiles, state, file_format=file_format)
    with matplotlib.rc_context({"savefig.bbox": "tight", "text.antialiased": False}):
        assert render_picture(with_tiles, state, file_format=file_format) == first
    assert b"Date" not in first
    assert b"<dc:date" not in first


def test_the_sizes_and_kinds_are_those_asked_for(export: Export) -> None:
    """Width and height in pixels; dpi says how large that prints."""
    state = make_state(SQUARE, label="題 <&>")
    for width, height, dpi in ((333, 217, 72), (1400, 1000, 200), (886, 839, 300)):
        size = {"width_px": width, "height_px": height, "dpi": dpi}
        with Image.open(io.BytesIO(render_picture(export, state, **size))) as image:
            assert image.size == (width, height)
            assert image.info["dpi"] == pytest.approx((dpi, dpi), rel=1e-3)
            assert image.info["Title"] == "題 <&>"
        svg = ET.fromstring(render_picture(export, state, file_format="svg", **size))
        assert float(svg.attrib["width"].removesuffix("pt")) == pytest.approx(
            width * 72 / dpi, 1e-3
        )
        assert render_picture(export, state, file_format="pdf", **size).startswith(b"%PDF-")


def test_text_of_the_data_is_no_formula_and_no_markup(tmp_path: Path) -> None:
    """Dollar signs, tags and underscores are shown as they are."""
    labels = ["$\\frac$", "</svg><script>alert(1)</script>", "_a", "\u202e\x07 b"]
    export = make_export(tmp_path / "run", {"label": labels})
    state = make_state(SQUARE, label="$\\bad$ & </text><script>", selected=[0, 1, 2, 3])
    svg = render_picture(export, state, file_format="svg")
    assert not [e for e in ET.fromstring(svg).iter() if e.tag.endswith("script")]
    legend = render_picture(export, make_state(SQUARE), file_format="svg")
    assert not [e for e in ET.fromstring(legend).iter() if e.tag.endswith("script")]
    assert drawable(labels[3]) == "b"


def test_labels_do_not_overlap_and_stay_inside() -> None:
    """Selected points labelled without overlap, at most a readable number."""
    rng = np.random.default_rng(3)
    crowd = rng.normal(300, 30, (30, 2))
    targets = np.concatenate([crowd, rng.uniform(5, 595, (50, 2)), [[2, 2], [598, 3]]])
    texts = [f"ラベル {i}" * (1 + i % 3) for i in range(len(targets))]
    within = Box(0, 0, 600, 600)
    with plain_settings(choose_fonts(texts)):
        canvas = Canvas(600, 600, dpi=100)
        labels = place_labels(canvas, texts, targets, within=within, keep_off_px=10, size_px=12)
    assert 15 <= len(labels) <= 40
    assert not any(a.box.meets(b.box) for a, b in combinations(labels, 2))
    assert all(within.holds(label.box) for label in labels)
    assert max(label.distance for label in labels) < 60
    where = {tuple(target): text for target, text in zip(targets.tolist(), texts, strict=True)}
    for label in labels:
        assert where[label.target].startswith(label.text.rstrip("…"))


def test_what_is_left_unlabelled_is_told(export: Export, tmp_path: Path) -> None:
    """Nothing is left out silently."""
    crowded = make_export(tmp_path / "run", {"label": [f"a longer label {i}" for i in range(60)]})
    coordinates = np.concatenate([np.random.default_rng(0).normal(0, 0.01, (58, 2)), SQUARE[:2]])
    notes: list[str] = []
    state = make_state(coordinates, label="crowd", selected=range(60))
    render_picture(crowded, state, tell=notes.append)
    (told,) = notes
    assert told.endswith("of the 60 selected points of 'crowd' are labelled; there is no room for "
                         "more")  # fmt: skip
    state = make_state(SQUARE)
    state["projections"][0] = {}
    render_picture(export, state, tell=notes.append)
    assert notes[1] == "1 points of 'a view' have no coordinates in it"


def test_japanese_labels_are_drawn_with_a_font_that_has_them() -> None:
    """A CJK-capable font when labels need one, and only then."""
    assert choose_fonts(["Ärger", "año", "αβγ"]).families == ("DejaVu Sans",)
    if not fonts._characters("Noto Sans CJK JP"):
        pytest.skip("Noto Sans CJK is not installed (Debian: apt install fonts-noto-cjk)")
    chosen = choose_fonts(["あじ 鯖", "高 髙 﨑"])
    assert chosen.families == ("DejaVu Sans", "Noto Sans CJK JP")
    assert chosen.note is None


def test_characters_that_no_font_has_are_told(
    export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A note when no font is found, never boxes silently; and no warning from within."""
    monkeypatch.setattr(fonts, "_PREFERRED", ())
    monkeypatch.setattr(fonts, "_other_families", lambda: [])
    notes: list[str] = []
    render_picture(export, make_state(SQUARE, label="日本"), tell=notes.append)
    (told,) = notes
    assert told.startswith("no installed font has 一三二四日本: boxes stand for these")
    assert "fonts-noto-cjk" in told


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width_px": 10}, "width is 10 px; expected 64 to 20,000"),
        ({"height_px": 30_000}, "height is 30000 px"),
        ({"dpi": 0}, "dpi is 0"),
        ({"file_format": "gif"}, "format is 'gif'; expected png, svg, pdf"),
        ({"style": "stars"}, "style is 'stars'; expected auto, thumbnails, dots"),
    ],
)
def test_options_out_of_range_are_refused(
    export: Export, options: dict[str, Any], message: str
) -> None:
    """An argument out of range says what was expected."""
    with pytest.raises(OptionError, match=message):
        render_picture(export, make_state(SQUARE), **options)


def test_a_state_that_cannot_be_drawn_is_an_error(export: Export) -> None:
    """A clear error, not an empty picture."""
    state = {**make_state(SQUARE), "projections": []}
    with pytest.raises(DataError, match="the view 'a view' cannot be drawn"):
        render_picture(export, state)


@pytest.mark.parametrize("module", ["matplotlib", "adjustText"])
def test_a_missing_extra_says_what_to_install(
    export: Export, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    """A missing extra is one clear message with the pip line."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'projector-export\[plots\]'"):
        render_picture(export, make_state(SQUARE))


def test_pyplot_has_no_figure_of_ours(export: Export) -> None:
    """No global state: no current figure is left behind."""
    from matplotlib import pyplot

    render_picture(export, make_state(SQUARE, selected=[1]))
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize("categories", [1, 12, 50])
def test_small_and_large_legends_leave_room_for_the_plot(tmp_path: Path, categories: int) -> None:
    """50 categories with long names in a small picture: still a plot."""
    labels = [f"ながい なまえ の カテゴリ {i % categories}" for i in range(100)]
    export = make_export(tmp_path / "run", {"label": labels})
    angles = np.linspace(0, 6, 100)
    state = make_state(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    for width, height in ((480, 320), (1400, 1000), (300, 900), (900, 240), (64, 64)):
        pixels = pixels_of(render_picture(export, state, width_px=width, height_px=height))
        assert pixels.shape == (height, width, 3)
        assert has_color(pixels[:, : int(0.6 * width)], "#1f77b4", tolerance=40)


def test_many_points_are_drawn_in_seconds(tmp_path: Path) -> None:
    """1,797 thumbnails and 100,000 dots in a few seconds."""
    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 255, (1797, 32, 32, 4), dtype=np.uint8)
    columns = {"label": [str(i % 10) for i in range(1797)]}
    some = make_export(tmp_path / "some", columns, thumbnails=tiles)
    many = make_export(tmp_path / "many", {"label": [str(i % 10) for i in range(100_000)]})
    state = make_state(rng.standard_normal((1797, 3)))
    large = make_state(rng.standard_normal((100_000, 3)))
    for export, view in ((some, state), (many, large)):
        start = time.perf_counter()
        render_picture(export, view)
        assert time.perf_counter() - start < 10
