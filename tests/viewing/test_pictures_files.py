"""Pictures as files: named after their views, never over what is there, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import make_export, make_state

from projector_export.cli import main
from projector_export.errors import DataError, NameTakenError, OptionError, OutputError
from projector_export.projector.exports import Export
from projector_export.viewing.pictures import files as picture_files
from projector_export.viewing.pictures.files import (
    PictureOptions,
    default_target,
    file_stems,
    write_pictures,
)

pytest.importorskip("adjustText")
pytest.importorskip("plotly")

SQUARE = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 8.0], [4.0, 8.0]])
SMALL = PictureOptions(width_px=200, height_px=160)


@pytest.fixture
def export(tmp_path: Path) -> Export:
    """Four points, three views of them (one of which cannot be drawn), one sheet."""
    columns = {"label": ["あ", "い", "う", "え"], "anomaly": [0.1, 0.2, 0.3, 0.4]}
    broken = {**make_state(SQUARE, label="broken"), "projections": []}
    states = [make_state(SQUARE, label="見出し 1"), broken, make_state(SQUARE, label="a/b")]
    return make_export(tmp_path / "logs" / "run", columns, states)


@pytest.mark.parametrize(
    ("titles", "stems"),
    [
        (["UMAP 3D by cluster"], ["UMAP_3D_by_cluster"]),
        (["クラスタ別 サバ（80 %）"], ["クラスタ別_サバ（80_%）"]),
        (["../../etc/passwd", "/root", "..", "."], ["etc_passwd", "root", "view", "view_2"]),
        (["a/b", "a\\b", "A:B", 'a"b'], ["a_b", "a_b_2", "A_B_3", "a_b_4"]),
        (["a", "a", "a 2", "a_2"], ["a", "a_2", "a_2_2", "a_2_3"]),
        (["con", "NUL.txt", "com1"], ["con_", "NUL.txt_", "com1_"]),
        (["x\u0000\n\ty", "\u202e\u2066", ""], ["x___y", "view", "view_2"]),
        (["<b>太字</b>"], ["b_太字__b"]),
        ([".hidden", "trailing. "], ["hidden", "trailing"]),
        (["が" * 200], ["が" * 50]),
        (["か\u3099"], ["が"]),
    ],
)
def test_file_names_are_safe_unique_and_keep_every_script(
    titles: list[str], stems: list[str]
) -> None:
    """No path characters, unique whatever the case, Japanese kept."""
    assert file_stems(titles) == stems


def test_all_views_and_sheets_are_written(export: Export, tmp_path: Path) -> None:
    """Views in their order, then sheets; what cannot be drawn is told."""
    notes: list[str] = []
    written = write_pictures(export, tmp_path / "out", options=SMALL, tell=notes.append)
    assert [path.name for path in written] == ["見出し_1.png", "a_b.png", "sheet_unusual.png"]
    assert sorted((tmp_path / "out").iterdir()) == sorted(written)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)
    (told,) = notes
    assert told.startswith("left out: the view 'broken' cannot be drawn: it has coordinates of 0")


def test_the_default_target_is_beside_the_run(
    export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not inside the export, nor in the run that TensorBoard reads."""
    assert default_target(export) == tmp_path / "logs" / "run_pictures" / "e"
    monkeypatch.chdir(export.out)
    from projector_export.projector.exports import open_export

    assert default_target(open_export(".")) == tmp_path / "logs" / "run_pictures" / "e"
    before = sorted(path for path in export.out.rglob("*"))
    write_pictures(export, options=SMALL)
    assert sorted(path for path in export.out.rglob("*")) == before


@pytest.mark.parametrize(
    ("kind", "start"),
    [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF-"), ("plotly", b"<!DOCTYPE html>")],
)
def test_every_kind_is_written_twice_with_the_same_bytes(
    export: Export, tmp_path: Path, kind: Any, start: bytes
) -> None:
    """One view by title; same input, same bytes."""
    options = PictureOptions(kind=kind, width_px=200, height_px=160)
    contents = []
    for _ in range(2):
        (path,) = write_pictures(
            export, tmp_path / "out", titles=["a/b"], options=options, force=True
        )
        contents.append(path.read_bytes())
    assert path.name == "a_b.html" if kind == "plotly" else f"a_b.{kind}"
    assert contents[0].startswith(start)
    assert contents[0] == contents[1]


def test_nothing_is_overwritten_without_force(export: Export, tmp_path: Path) -> None:
    """Existing files stay as they are, and nothing is drawn beside them."""
    target = tmp_path / "out"
    target.mkdir()
    (target / "a_b.png").write_bytes(b"mine")
    with pytest.raises(NameTakenError, match=r"already has 1 of these 4 files \(a_b\.png"):
        write_pictures(export, target, options=SMALL)
    assert list(target.iterdir()) == [target / "a_b.png"]
    assert (target / "a_b.png").read_bytes() == b"mine"
    write_pictures(export, target, options=SMALL, force=True)
    assert (target / "a_b.png").read_bytes().startswith(b"\x89PNG")


def test_a_link_is_replaced_and_not_followed(export: Export, tmp_path: Path) -> None:
    """With --force a link of the name gives way; what it points to stays."""
    target = tmp_path / "out"
    target.mkdir()
    (tmp_path / "precious").write_bytes(b"mine")
    (target / "a_b.png").symlink_to(tmp_path / "precious")
    with pytest.raises(NameTakenError):
        write_pictures(export, target, titles=["a/b"], options=SMALL)
    write_pictures(export, target, titles=["a/b"], options=SMALL, force=True)
    assert (tmp_path / "precious").read_bytes() == b"mine"
    assert not (target / "a_b.png").is_symlink()


def test_a_disk_that_refuses_leaves_the_old_picture(
    export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written beside and moved into place: never half a file."""
    target = tmp_path / "out"
    target.mkdir()
    (target / "a_b.png").write_bytes(b"old")

    def refuse(source: Path, _: Path) -> None:
        assert source.read_bytes().startswith(b"\x89PNG")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(picture_files.os, "replace", refuse)
    with pytest.raises(OutputError, match=r"cannot write .*a_b\.png \(No space left"):
        write_pictures(export, target, titles=["a/b"], options=SMALL, force=True)
    assert list(target.iterdir()) == [target / "a_b.png"]
    assert (target / "a_b.png").read_bytes() == b"old"


def test_a_target_that_cannot_be_is_refused(export: Export, tmp_path: Path) -> None:
    """A file, or the export's own folder, by whatever path."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="file is a file; expected a folder"):
        write_pictures(export, tmp_path / "file", options=SMALL)
    with pytest.raises(OutputError, match="cannot write"):
        write_pictures(export, tmp_path / "file" / "below", options=SMALL)
    (tmp_path / "link").symlink_to(export.folder)
    for inside in (export.folder, export.folder / "pictures", tmp_path / "link" / "x"):
        with pytest.raises(OutputError, match="is inside the export"):
            write_pictures(export, inside, options=SMALL)


def test_a_view_keeps_its_name_whichever_are_drawn(tmp_path: Path) -> None:
    """Names are unique among all views; sheets have theirs first."""
    titles = ["x y", "x/y", "sheet unusual"]
    states = [make_state(SQUARE, label=title) for title in titles]
    columns = {"label": ["a", "b", "c", "d"], "anomaly": [0.1, 0.2, 0.3, 0.4]}
    export = make_export(tmp_path / "run", columns, states)
    (path,) = write_pictures(export, tmp_path / "out", titles=["x/y"], options=SMALL)
    assert path.name == "x_y_2.png"
    written = write_pictures(export, tmp_path / "all", options=SMALL)
    assert [p.name for p in written] == [
        "x_y.png", "x_y_2.png", "sheet_unusual_2.png", "sheet_unusual.png",
    ]  # fmt: skip


def test_titles_and_options_are_checked(export: Export, tmp_path: Path) -> None:
    """Unknown input is refused, not guessed."""
    with pytest.raises(OptionError, match="has no view 'no'; its views are '見出し 1', 'broken'"):
        write_pictures(export, tmp_path / "out", titles=["no"])
    with pytest.raises(DataError, match="the view 'broken' cannot be drawn"):
        write_pictures(export, tmp_path / "out", titles=["broken"])
    with pytest.raises(OptionError, match="kind of picture is 'gif'; expected png, svg"):
        write_pictures(export, tmp_path / "out", options=PictureOptions(kind="gif"))  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="plotly pages have no contact sheets"):
        write_pictures(export, tmp_path / "out", sheets=True, options=PictureOptions(kind="plotly"))
    bare = make_export(tmp_path / "bare", {"label": ["a", "b"]})
    with pytest.raises(DataError, match="has no views and no columns for contact sheets"):
        write_pictures(bare, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def run(argv: list[str]) -> int:
    """Run the command line; return its exit code."""
    with pytest.raises(SystemExit) as done:
        main(argv)
    return int(done.value.code or 0)


def test_the_command_hands_its_options_on(
    export: Export, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prints the files, one a line; notes on stderr; one JSON line with --json."""
    argv = ["pictures", str(export.out), str(tmp_path / "out"), "--width", "200", "--height", "160"]
    assert run([*argv, "--dpi", "72", "--style", "dots"]) == 0
    said = capsys.readouterr()
    names = ["見出し_1.png", "a_b.png", "sheet_unusual.png"]
    assert said.out.splitlines() == [str(tmp_path / "out" / name) for name in names]
    assert "note: left out: the view 'broken'" in said.err
    from PIL import Image

    with Image.open(tmp_path / "out" / "a_b.png") as image:
        assert image.size == (200, 160)
        assert image.info["dpi"] == pytest.approx((72, 72), rel=1e-3)
    assert run(argv) == 1
    assert "give --force to replace them" in capsys.readouterr().err
    more = ["--as", "svg", "--view", "a/b", "--view", "見出し 1", "--sheets", "--json"]
    assert run([*argv, *more, "--name", "e", "--force"]) == 0
    said = capsys.readouterr()
    files = ["見出し_1.svg", "a_b.svg", "sheet_unusual.svg"]
    assert json.loads(said.out) == {
        "name": "e", "files": [str(tmp_path / "out" / file) for file in files],
    }  # fmt: skip
    assert run([*argv, "--as", "pdf", "--no-sheets", "--quiet"]) == 0
    said = capsys.readouterr()
    assert said.out == said.err == ""
    assert not (tmp_path / "out" / "sheet_unusual.pdf").exists()
    assert (tmp_path / "out" / "a_b.pdf").exists()
