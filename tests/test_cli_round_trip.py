"""selection, relabel and neighbors on the command line: thin, clear, and nothing half done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from encoding_doubles import write_pictures

from projector_export import Points, Settings, export_points
from projector_export.cli import main
from projector_export.projector.exports import open_export

N = 12


def run(argv: list[object]) -> int:
    """Run the command line; return its exit code."""
    with pytest.raises(SystemExit) as done:
        main([str(one) for one in argv])
    return int(done.value.code or 0)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A run of 12 pictures, 0000.png to 0011.png, labelled so."""
    folder = write_pictures(tmp_path / "pictures", N)
    columns = pl.DataFrame(
        {
            "label": [f"{i:04d}.png" for i in range(N)],
            "path": [f"{i:04d}.png" for i in range(N)],
        }
    )
    angles = np.radians(np.arange(N) ** 2)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    origin = {"source_folder": str(folder)}
    settings = Settings(umap_dims=(2,), clusters=2, anomalies=False)
    export_points(
        Points(vectors, columns, name="e", origin=origin), tmp_path / "run", settings=settings
    )
    return tmp_path / "run"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """STATE.txt with a selection and an isolation."""

    def state(title: str, n: int, **keys: Any) -> dict[str, Any]:
        return {
            "label": title, "dataSetDimensions": [n, 2], "projections": [{"pca-0": 1}] * n,
            "selectedProjection": "pca", "pcaComponentDimensions": [0, 1, 2], "cameraDef": {},
            **keys,
        }  # fmt: skip

    states = [
        state("外れ", N, selectedPoints=[7, 2], filteredPoints=[]),
        state("group", 3, selectedPoints=[1], filteredPoints=[4, 9, 0]),
    ]
    file = tmp_path / "STATE.txt"
    file.write_text(json.dumps(states, ensure_ascii=False), encoding="utf-8")
    return file


def test_selection_prints_the_points(
    out: Path, saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without TARGET a readable table on stdout; --json gives a line a point."""
    pictures = out.parent / "pictures"
    assert run(["selection", out, saved]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "外れ: 2 selected",
        f"  #7  selected  0007.png  {pictures}/0007.png",
        f"  #2  selected  0002.png  {pictures}/0002.png",
        "group: 1 selected, 3 isolated",
        f"  #9  selected  0009.png  {pictures}/0009.png",
        f"  #4  isolated  0004.png  {pictures}/0004.png",
        f"  #0  isolated  0000.png  {pictures}/0000.png",
    ]
    assert run(["selection", out, saved, "--json", "--bookmark", "group"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["source_row"] for line in lines] == [9, 4, 0]
    assert lines[0]["absolute_path"] == str(pictures / "0009.png")


def test_selection_writes_what_the_target_says(
    out: Path, saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table, a list of files, a folder of copies or links; files are counted once."""
    base = out.parent
    assert run(["selection", out, saved, base / "t.parquet"]) == 0
    assert pl.read_parquet(base / "t.parquet")["source_row"].to_list() == [7, 2, 9, 4, 0]
    assert run(["selection", out, saved, base / "l.txt", "--points", "selected"]) == 0
    assert (base / "l.txt").read_text() == "".join(
        f"{base}/pictures/{i:04d}.png\n" for i in (7, 2, 9)
    )
    assert run(["selection", out, saved, base / "folder"]) == 0
    assert sorted(p.name for p in (base / "folder").iterdir()) == [
        f"{i:04d}.png" for i in (0, 2, 4, 7, 9)
    ]
    said = capsys.readouterr().out
    assert f"5 points: {base / 't.parquet'}" in said
    assert f"5 files: {base / 'folder'}" in said
    assert run(["selection", out, saved, base / "t.parquet"]) == 1
    assert "give --force" in capsys.readouterr().err
    assert run(["selection", out, saved, base / "t.parquet", "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "target": str(base / "t.parquet"), "points": 5, "missing": [], "unplaced": 0
    }  # fmt: skip


def test_missing_files_are_told_and_counted(
    out: Path, saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing file is reported and counted, not fatal; without any there is nothing to do."""
    pictures = out.parent / "pictures"
    for i in (2, 4):
        (pictures / f"{i:04d}.png").unlink()
    assert run(["selection", out, saved, out.parent / "folder", "--files", "link"]) == 0
    said = capsys.readouterr()
    assert "3 files:" in said.out
    assert f"2 files do not exist, the first being {pictures}/0002.png" in said.err
    pictures.rename(out.parent / "moved")
    assert run(["selection", out, saved, out.parent / "l.txt"]) == 1
    assert "none of 5 points is a file that exists; give --root" in capsys.readouterr().err
    moved = ["--root", out.parent / "moved"]
    assert run(["selection", out, saved, out.parent / "l.txt", *moved]) == 0
    assert len((out.parent / "l.txt").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["t.xlsx"], "ends in '.xlsx'"),
        (["t.csv", "--files", "copy"], "--files is for a folder"),
        (["--files", "copy"], "--files is for a folder"),
        (["folder", "--files", "move"], "expected copy or link"),
        (["--rename", "x"], "--rename belongs to --as-views"),
        (["--bookmark", "none"], "no bookmark 'none' among those saved: '外れ', 'group'"),
        (["--points", "some"], "expected both, selected, isolated"),
        (["--root", "nowhere"], "which is no folder"),
        (["--name", "other"], "has no embedding 'other'"),
    ],
)
def test_mistakes_are_one_message_and_write_nothing(
    out: Path, saved: Path, options: list[str], message: str,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Exit 1 and a message that says what was wrong."""
    monkeypatch.chdir(out.parent)
    before = sorted(out.parent.rglob("*"))
    assert run(["selection", out, saved, *options]) == 1
    assert message in capsys.readouterr().err
    assert sorted(out.parent.rglob("*")) == before


def test_selection_as_views_adds_bookmarks_once(
    out: Path, saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Added to the run as shared views; the second time there is nothing new."""
    before = [state["label"] for state in open_export(out).states]
    assert run(["selection", out, saved, "--as-views", "--bookmark", "group"]) == 0
    assert "bookmarks added" in capsys.readouterr().out
    assert [s["label"] for s in open_export(out).states] == [*before, "group"]
    assert run(["selection", out, saved, "--as-views", "--bookmark", "group"]) == 0
    said = capsys.readouterr().out
    assert said == f"already in {out / 'e'}, and left so: as 'group'\n"
    argv = ["selection", out, saved, "--as-views", "--bookmark", "group", "--rename", "群"]
    assert run(argv) == 0
    assert capsys.readouterr().out == said
    assert [s["label"] for s in open_export(out).states] == [*before, "group"]
    text = saved.read_text(encoding="utf-8").replace(
        '"selectedPoints": [1]', '"selectedPoints": [0]'
    )
    saved.write_text(text, encoding="utf-8")
    assert run(["selection", out, saved, "--as-views"]) == 1
    assert "--rename" in capsys.readouterr().err
    argv = ["selection", out, saved, "--as-views", "--bookmark", "group", "--rename", "群"]
    assert run(argv) == 0
    assert [s["label"] for s in open_export(out).states] == [*before, "group", "群"]


def test_the_run_s_own_bookmarks_are_left_out_unless_named(
    out: Path, saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The viewer's download holds all of the panel, so also what the export shipped."""
    own = open_export(out).states
    titles = [state["label"] for state in own]
    assert len(own) > 1
    mine = json.loads(saved.read_text(encoding="utf-8"))
    target = out.parent / "t.csv"
    saved.write_text(json.dumps([*own, mine[0]]), encoding="utf-8")
    assert run(["selection", out, saved, target]) == 0
    left = f"{len(own)} bookmarks of the run are left out; --bookmark TITLE takes one"
    assert left in capsys.readouterr().err
    assert set(pl.read_csv(target)["bookmark"]) == {"外れ"}
    assert run(["selection", out, saved, "--bookmark", titles[0]]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"{titles[0]}: ")
    assert "left out" not in said.err
    saved.write_text(json.dumps(own), encoding="utf-8")
    assert run(["selection", out, saved, out.parent / "none.csv"]) == 1
    said = capsys.readouterr().err
    for text in (*map(repr, titles), "--bookmark"):
        assert text in said
    assert not (out.parent / "none.csv").exists()
    assert run(["selection", out, saved, "--as-views"]) == 0
    assert "load the page again" not in capsys.readouterr().out


def test_the_export_s_own_files_are_no_target(
    out: Path, saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not even with --force, by whatever path."""
    (out.parent / "link").symlink_to(out / "e")
    before = {path.name: path.read_bytes() for path in (out / "e").iterdir()}
    for target in (out / "e/points.parquet", out / "e", out.parent / "link/new.csv"):
        assert run(["selection", out, saved, target, "--force"]) == 1
        assert "is inside the export" in capsys.readouterr().err
    argv = ["neighbors", out, "#5", "--force", "--save", out / "e/points.parquet"]
    assert run(argv) == 1
    assert "is inside the export" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (out / "e").iterdir()} == before


def test_relabel_tells_what_changes_before_and_after(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--dry-run prints what would change; without it, the number of cells by column."""
    lines = open_export(out).read("metadata.tsv").decode().rstrip("\n").split("\n")
    lines[3] = lines[3].replace("0002.png", "ア\x1bジ", 1)
    file = out.parent / "metadata-edited.tsv"
    file.write_text("\n".join(lines), encoding="utf-8")
    before = {path.name: path.read_bytes() for path in (out / "e").iterdir()}
    assert run(["relabel", out, file, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "label #2: 0002.png -> ア ジ\nlabel: 1 cells would change\n" in said
    assert {path.name: path.read_bytes() for path in (out / "e").iterdir()} == before
    assert run(["relabel", out, file, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["cells"], said["written"], said["added"]) == ({"label": 1}, True, [])
    assert open_export(out).table["label"][2] == "ア\x1bジ"
    assert run(["relabel", out, out / "e/metadata.tsv"]) == 0
    assert "no cell differs" in capsys.readouterr().out


def test_a_download_of_another_embedding_changes_nothing(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another row count, or columns missing: a clear error and nothing changed."""
    lines = open_export(out).read("metadata.tsv").decode().rstrip("\n").split("\n")
    before = {path.name: path.read_bytes() for path in (out / "e").iterdir()}
    for text, message in (
        ("\n".join(lines[:-1]), "has 11 lines below its header, but there are 12 points"),
        ("\n".join(line.split("\t", 1)[1] for line in lines), "lacks 'label'"),
    ):
        (out.parent / "edited.tsv").write_text(text, encoding="utf-8")
        assert run(["relabel", out, out.parent / "edited.tsv"]) == 1
        assert message in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (out / "e").iterdir()} == before


def test_neighbors_prints_and_saves(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines on stdout; --save as text or as a long table."""
    assert run(["neighbors", out, "0003.png", "#5", "-k", "2", "--save", out.parent / "n.txt"]) == 0
    lines = "0003.png: 0002.png 5.0°, 0004.png 7.0°\n0005.png: 0004.png 9.0°, 0006.png 11.0°\n"
    assert capsys.readouterr().out == lines
    assert (out.parent / "n.txt").read_text(encoding="utf-8") == lines
    assert run(["neighbors", out, "#5", "-k", "2", "--save", out.parent / "n.csv", "--quiet"]) == 0
    table = pl.read_csv(out.parent / "n.csv")
    assert table.columns == [
        "item", "row", "path", "rank", "neighbor", "neighbor_row", "neighbor_path", "angle_deg"
    ]  # fmt: skip
    assert table["neighbor_row"].to_list() == [4, 6]
    assert run(["neighbors", out, "#5", "--save", out.parent / "n.csv"]) == 1
    assert "give --force" in capsys.readouterr().err
    capsys.readouterr()
    for name in ("folder", "n.xlsx"):
        assert run(["neighbors", out, "#5", "--save", out.parent / name]) == 1
        expected = f"--save is {out.parent / name}; expected a name in .txt .csv"
        assert expected in " ".join(capsys.readouterr().err.split())
    assert run(["neighbors", out, "0033.png"]) == 1
    assert "did you mean '0003.png'" in capsys.readouterr().err
    assert run(["neighbors", out, "#5", "-k", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["angle_deg"] == pytest.approx(9)


def test_neighbors_of_components_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the viewer has principal components, a note says that the angles are approximate."""
    vectors = np.random.default_rng(0).standard_normal((40, 9)).astype(np.float32)
    settings = Settings(umap_dims=(), clusters=None, anomalies=False, view_dims=3)
    export_points(Points(vectors, name="e"), tmp_path, settings=settings)
    assert run(["neighbors", tmp_path, "row 3"]) == 0
    assert "3 principal components of 9 values, so these are approximate" in capsys.readouterr().err
