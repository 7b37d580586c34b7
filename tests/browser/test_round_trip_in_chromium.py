"""What a user does in the real viewer comes back: selected files, isolated files, edited labels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from encoding_doubles import colour
from PIL import Image
from polars.testing import assert_frame_equal
from viewer import DEEP, READY, ProjectorPage, projector_url

from projector_export.cli import main
from projector_export.projector.exports import open_export
from projector_export.viewing.serve import start_tensorboard

pytestmark = pytest.mark.browser

FOLDERS = ("tuna", "アジ", "サバ")
PICTURES = 30
LONG = "長い文 " * 150  # 600 characters
NASTY = [
    "007",
    "",
    "nan",
    "1e-7",
    "a\tb",
    "アジ",
    LONG,
    "<img src=x onerror=alert(1)>",
    "0x1F",
    " x ",
]
POINTS = 40


def run(argv: list[str]) -> int:
    """Run the command line; return its exit code."""
    with pytest.raises(SystemExit) as done:
        main(argv)
    return int(done.value.code or 0)


@contextmanager
def shown(browser: Any, log_dir: Path) -> Iterator[ProjectorPage]:
    """TensorBoard over a directory, and its projector page."""
    server = start_tensorboard(log_dir)
    try:
        page = ProjectorPage(browser, projector_url(server.port))
        yield page
        assert page.errors == []
        page.close()
    finally:
        server.stop()


def select(page: ProjectorPage, rows: list[int]) -> None:
    """Select points, by their positions among those that are shown."""
    page.page.evaluate("(rows) => {" + DEEP + "viewer.notifySelectionChanged(rows);}", rows)


def isolate_selection(page: ProjectorPage) -> None:
    """Click "Isolate N points", and wait until the viewer has its components."""
    page.page.locator("vz-projector-inspector-panel button.set-filter").click()
    page.page.wait_for_function(
        "() => {" + DEEP + "return viewer.dataSet.points[0].projections['pca-0'] !== undefined;}"
    )


def add_bookmark(page: ProjectorPage) -> None:
    """Click the bookmark panel's plus."""
    page.page.locator('vz-projector-bookmark-panel [title="Add bookmark"]').click()


def download(page: ProjectorPage, button: str, folder: Path) -> Path:
    """Click a button that downloads something; return the file."""
    with page.page.expect_download() as caught:
        page.page.locator(button).click()
    file = folder / caught.value.suggested_filename
    caught.value.save_as(file)
    return file


def download_bookmarks(page: ProjectorPage, folder: Path) -> Path:
    """Click the bookmark panel's diskette."""
    return download(page, 'vz-projector-bookmark-panel [title="Save bookmarks"]', folder)


def picture_name(row: int) -> str:
    """Path of a row: folders and files in code-point order."""
    folder = FOLDERS[row // 10]
    return f"{folder}/{row % 10}.png"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 30 pictures in three folders, beside these."""
    base = tmp_path_factory.mktemp("pictures")
    for row in range(PICTURES):
        file = base / "fish" / picture_name(row)
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 8), colour(7 * row)).save(file)
    argv = ["images", str(base / "fish"), str(base / "logs/run"), "--encoder", "pixels"]
    assert run([*argv, "--clusters", "2", "--umap-dims", "2", "--quiet"]) == 0
    return base


@pytest.fixture(scope="module")
def saved(chromium: Any, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bookmarks saved by hand: a selection, one of isolated points, one point, and none."""
    with shown(chromium, pictures / "logs") as page:
        select(page, [22, 3, 14])
        add_bookmark(page)
        select(page, [25, 8, 17, 2])
        isolate_selection(page)
        select(page, [2, 0])
        add_bookmark(page)
        page.page.locator("vz-projector-inspector-panel button.reset-filter").click()
        select(page, [11])
        add_bookmark(page)
        return download_bookmarks(page, tmp_path_factory.mktemp("downloads"))


def own_titles(file: Path) -> list[str]:
    """Titles of the bookmarks that were added by hand, in their order."""
    states = json.loads(file.read_text(encoding="utf-8"))
    return [state["label"] for state in states if "projector_export" not in state]


def listed(pictures: Path, saved: Path, title: str, points: str, target: Path) -> list[str]:
    """Return the file list that the command writes, relative to the pictures' folder."""
    argv = ["selection", str(pictures / "logs/run"), str(saved), str(target)]
    assert run([*argv, "--bookmark", title, "--points", points, "--force", "--quiet"]) == 0
    lines = target.read_text(encoding="utf-8").splitlines()
    return [Path(line).relative_to(pictures / "fish").as_posix() for line in lines]


def test_selected_points_come_back_as_their_files(
    pictures: Path, saved: Path, tmp_path: Path
) -> None:
    """A state saved by the real viewer comes back as exactly those rows' paths."""
    title = own_titles(saved)[0]
    files = listed(pictures, saved, title, "both", tmp_path / "list.txt")
    assert files == ["サバ/2.png", "tuna/3.png", "アジ/4.png"]
    table = tmp_path / "table.csv"
    argv = ["selection", str(pictures / "logs/run"), str(saved), str(table), "--bookmark", title]
    assert run(argv) == 0
    rows = pl.read_csv(table)
    assert rows["source_row"].to_list() == [22, 3, 14]
    assert rows["absolute_path"].to_list() == [
        str(pictures / "fish" / path) for path in ("サバ/2.png", "tuna/3.png", "アジ/4.png")
    ]


def test_points_selected_among_isolated_ones_come_back(
    pictures: Path, saved: Path, tmp_path: Path
) -> None:
    """In an isolated state `selectedPoints` are positions within `filteredPoints`."""
    title = own_titles(saved)[1]
    target = tmp_path / "list.txt"
    isolated = ["サバ/5.png", "tuna/8.png", "アジ/7.png", "tuna/2.png"]
    assert listed(pictures, saved, title, "isolated", target) == [
        isolated[2], isolated[0], isolated[1], isolated[3]
    ]  # fmt: skip
    assert listed(pictures, saved, title, "selected", target) == [isolated[2], isolated[0]]
    folder = tmp_path / "picked"
    argv = ["selection", str(pictures / "logs/run"), str(saved), str(folder), "--files", "link"]
    assert run([*argv, "--bookmark", title, "--points", "selected"]) == 0
    links = {link.name: link.resolve() for link in folder.iterdir()}
    assert links == {
        name.split("/")[1]: (pictures / "fish" / name).resolve() for name in isolated[:3:2]
    }


def test_one_selected_point_is_one(pictures: Path, saved: Path, tmp_path: Path) -> None:
    """Of one point the viewer shows the neighbours, but the state holds only that point."""
    title = own_titles(saved)[2]
    assert listed(pictures, saved, title, "both", tmp_path / "l.txt") == ["アジ/1.png"]


def test_saved_bookmarks_become_the_run_s_and_open(
    chromium: Any, pictures: Path, saved: Path, tmp_path: Path
) -> None:
    """--as-views: what one saved, all see; the run's own bookmarks are not doubled."""
    out = tmp_path / "logs/run"
    out.parent.mkdir()
    argv = ["images", str(pictures / "fish"), str(out), "--encoder", "pixels", "--clusters", "2"]
    assert run([*argv, "--umap-dims", "2", "--quiet"]) == 0
    before = [state["label"] for state in open_export(out).states]
    titles = own_titles(saved)
    assert run(["selection", str(out), str(saved), "--as-views"]) == 0
    assert [state["label"] for state in open_export(out).states] == [*before, *titles]
    assert open_export(out).manifest["views"] == [*before, *titles]
    with shown(chromium, out.parent) as page:
        assert page.state()["bookmarks"] == [*before, *titles]
        page.open_bookmark(titles[1])
        state = page.state()
        assert (state["points"], state["selected"]) == (4, [2, 0])
        assert [m["path"] for m in state["metadata"]] == [
            "サバ/5.png", "tuna/8.png", "アジ/7.png", "tuna/2.png"
        ]  # fmt: skip


@pytest.fixture
def nasty(tmp_path: Path) -> Path:
    """A run whose columns hold what breaks tables."""
    vectors = np.random.default_rng(0).standard_normal((POINTS, 8)).astype(np.float32)
    np.save(tmp_path / "v.npy", vectors)
    columns = {
        "label": (NASTY * 4)[:POINTS],
        "note": (NASTY[::-1] * 4)[:POINTS],
        "1": [f"one {row}" for row in range(POINTS)],
        "whole": [None if row % 9 == 4 else row for row in range(POINTS)],
        "0": [float("nan") if row == 3 else row / 7 for row in range(POINTS)],
        "flag": [None if row == 5 else row % 2 == 0 for row in range(POINTS)],
        "small": [1e-7 * row for row in range(POINTS)],
    }
    pl.DataFrame(columns, strict=False).write_parquet(tmp_path / "columns.parquet")
    argv = ["vectors", str(tmp_path / "v.npy"), str(tmp_path / "logs/run"), "--quiet"]
    argv += ["--metadata", str(tmp_path / "columns.parquet"), "--clusters", "2"]
    assert run([*argv, "--umap-dims", "2"]) == 0
    return tmp_path


def tag(page: ProjectorPage, rows: list[int], column: str, text: str) -> None:
    """Select points, choose a column under "Edit by", type a label, and click Label."""
    select(page, rows)
    code = "(column) => {" + DEEP + "data.metadataEditorColumn = column;}"
    page.page.evaluate(code, column)
    box = page.page.locator("vz-projector-data-panel .metadata-editor > paper-input input")
    box.fill(text)
    page.page.locator("vz-projector-data-panel #label-button paper-button").click()


def download_metadata(page: ProjectorPage, folder: Path) -> Path:
    """Click the data panel's Download."""
    return download(page, "vz-projector-data-panel paper-button:has-text('Download')", folder)


def test_edits_in_the_viewer_come_back_and_nothing_else(
    chromium: Any, nasty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tagged cells are taken over; all others stay bit for bit; TensorBoard serves the new ones.

    Nor does an isolation before the download change which line is which point's.
    """
    out = nasty / "logs/run"
    before = open_export(out).table
    with shown(chromium, nasty / "logs") as page:
        tag(page, [30, 1, 12], "label", "新しい名前 <b>")
        tag(page, [20, 21], "label", LONG.strip()[:499] + "…")
        select(page, [9, 8, 7])
        isolate_selection(page)
        tag(page, [0, 2], "whole", "77")
        tag(page, [0, 2], "1", "007")
        file = download_metadata(page, nasty)
        assert file.name == "metadata-edited.tsv"
        assert run(["relabel", str(out), str(file), "--dry-run"]) == 0
        assert_frame_equal(open_export(out).table, before)
        capsys.readouterr()
        assert run(["relabel", str(out), str(file)]) == 0
        said = capsys.readouterr()
        page.page.reload()
        page.page.wait_for_function("() => {" + READY + "}", timeout=60_000)
        served = page.state()["metadata"]
        again = download_metadata(page, nasty)
    assert "label: 5 cells changed\n1: 2 cells changed\nwhole: 2 cells changed\n" in said.out
    assert "a typed 007 is 7" in said.err
    expected = before.with_columns(
        pl.Series("label", changed(before["label"], {
            30: "新しい名前 <b>", 1: "新しい名前 <b>", 12: "新しい名前 <b>", 20: LONG, 21: LONG,
        })),
        pl.Series("whole", changed(before["whole"], {9: 77, 7: 77}), dtype=pl.Int64),
        pl.Series("1", changed(before["1"], {9: "7", 7: "7"})),
    )  # fmt: skip
    after = open_export(out)
    made = ["nearest", "cluster_name"]
    assert_frame_equal(after.table.drop(made), expected.drop(made), check_exact=True)
    assert after.manifest["edits"][0]["cells"] == {"label": 5, "1": 2, "whole": 2}
    assert [served[row]["label"] for row in (30, 1, 12)] == ["新しい名前 <b>"] * 3
    assert served[0]["label"] == "007\u2060"
    assert [served[row]["whole"] for row in (7, 8, 9, 4)] == [77, 8, 77, None]
    assert run(["relabel", str(out), str(again)]) == 0
    assert "no cell differs" in capsys.readouterr().out


def changed(values: pl.Series, cells: dict[int, Any]) -> list[Any]:
    """Return the values with some replaced."""
    listed = values.to_list()
    for row, cell in cells.items():
        listed[row] = cell
    return listed
