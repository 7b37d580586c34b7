"""Tables, lists of files, and folders of copies or links."""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path

import polars as pl
import pytest

from projector_export.errors import DataError, NameTakenError, OptionError, OutputError
from projector_export.viewing.round_trip.item_files import (
    place_files,
    render_jsonl,
    target_kind,
    write_file_list,
    write_table,
)


def write(path: Path, text: str) -> Path:
    """Write a file of that text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_name_tells_what_a_target_is(tmp_path: Path) -> None:
    """.csv .tsv .jsonl .parquet are tables, .txt a list, no ending a folder; else an error."""
    names = ["a.csv", "a.TSV", "a.jsonl", "a.parquet", "a.txt", "a"]
    kinds = [target_kind(tmp_path / name) for name in names]
    assert kinds == ["table", "table", "table", "table", "list", "folder"]
    (tmp_path / "v1.2").mkdir()
    assert target_kind(tmp_path / "v1.2") == "folder"
    with pytest.raises(OptionError, match=r"ends in '\.xlsx'; expected \.csv"):
        target_kind(tmp_path / "a.xlsx")
    write(tmp_path / "there.csv", "old")
    with pytest.raises(NameTakenError, match="give --force"):
        target_kind(tmp_path / "there.csv")
    assert target_kind(tmp_path / "there.csv", force=True) == "table"
    write(tmp_path / "plain", "old")
    with pytest.raises(NameTakenError, match="is a file"):
        target_kind(tmp_path / "plain", force=True)


def test_every_table_holds_every_type(tmp_path: Path) -> None:
    """Texts with quotes and breaks, dates, lists, bytes and missing numbers."""
    table = pl.DataFrame(
        {
            "text": ['a "b", c\nd', "アジ"],
            "day": [dt.date(2026, 1, 2), None],
            "list": [[1, 2], []],
            "bytes": [b"\xff", b""],
            "number": [float("nan"), 1.5],
        }
    )
    for name in ("t.csv", "t.tsv", "t.jsonl", "t.parquet"):
        write_table(table, tmp_path / "new" / name)
    assert pl.read_parquet(tmp_path / "new/t.parquet").equals(table)
    read = pl.read_csv(tmp_path / "new/t.csv")
    assert read["text"].to_list() == ['a "b", c\nd', "アジ"]
    assert read["list"].to_list() == ["[1, 2]", "[]"]
    lines = (tmp_path / "new/t.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[0])["list"] == [1, 2]
    assert json.loads(lines[0])["number"] is None
    assert render_jsonl(table).decode().splitlines() == lines
    assert [p.name for p in sorted((tmp_path / "new").iterdir())] == [
        "t.csv", "t.jsonl", "t.parquet", "t.tsv"
    ]  # fmt: skip


def test_a_list_has_a_file_a_line(tmp_path: Path) -> None:
    """UTF-8, a line each; a name with a line break would read as two."""
    write_file_list([Path("/a/アジ.png"), Path("/a b/c.png")], tmp_path / "l.txt")
    assert (tmp_path / "l.txt").read_bytes() == "/a/アジ.png\n/a b/c.png\n".encode()
    with pytest.raises(DataError, match="line break"):
        write_file_list([Path("/a/b\nc.png")], tmp_path / "m.txt")
    assert not (tmp_path / "m.txt").exists()


def test_copies_have_names_of_their_own(tmp_path: Path) -> None:
    """Names never collide, and copies keep content and time."""
    files = [
        write(tmp_path / "a/1.png", "one"),
        write(tmp_path / "b/1.png", "two"),
        write(tmp_path / "c/1.PNG", "three"),
        write(tmp_path / "d/1_2.png", "four"),
        write(tmp_path / "e/1.png", "one"),
    ]
    os.utime(files[0], (1_000_000_000, 1_000_000_000))
    target = tmp_path / "picked"
    placed = place_files(files, target)
    assert [path.name for path in placed] == ["1.png", "1_2.png", "1_3.PNG", "1_2_2.png", "1_4.png"]
    assert [path.read_text() for path in placed] == ["one", "two", "three", "four", "one"]
    assert placed[0].stat().st_mtime == 1_000_000_000
    # Once more: all are there already, and a new one finds its place.
    assert place_files(files, target) == placed
    more = write(tmp_path / "f/1.png", "five")
    assert place_files([more], target) == [target / "1_5.png"]
    assert len(list(target.iterdir())) == 6


def test_nothing_is_ever_replaced(tmp_path: Path) -> None:
    """A file of that name in the folder stays, also a link that leads elsewhere or nowhere."""
    target = tmp_path / "picked"
    write(target / "x.png", "the user's")
    outside = write(tmp_path / "outside.png", "outside")
    (target / "y.png").symlink_to(outside)
    (target / "z.png").symlink_to(tmp_path / "nowhere")
    files = [write(tmp_path / f"a/{name}.png", "new") for name in "xyz"]
    placed = place_files(files, target)
    assert [path.name for path in placed] == ["x_2.png", "y_2.png", "z_2.png"]
    assert (target / "x.png").read_text() == "the user's"
    assert outside.read_text() == "outside"
    assert not (tmp_path / "nowhere").exists()


def test_links_lead_to_the_files(tmp_path: Path) -> None:
    """--files link: symbolic; a second time nothing is added."""
    files = [write(tmp_path / "a/1.png", "one"), write(tmp_path / "b/1.png", "one")]
    placed = place_files(files, tmp_path / "picked", "link")
    assert [path.name for path in placed] == ["1.png", "1_2.png"]
    assert [path.readlink() for path in placed] == files
    assert place_files(files, tmp_path / "picked", "link") == placed
    with pytest.raises(OptionError, match="expected copy or link"):
        place_files(files, tmp_path / "picked", "move")  # type: ignore[arg-type]


def test_names_never_leave_the_folder(tmp_path: Path) -> None:
    """A path that leads out of its base is legal; the name in the folder is its last part."""
    (tmp_path / "base").mkdir()
    outside = write(tmp_path / "out/secret.png", "x")
    placed = place_files([tmp_path / "base/../out/secret.png"], tmp_path / "picked")
    assert placed == [tmp_path / "picked/secret.png"]
    assert outside.read_text() == "x"


def test_a_file_that_cannot_be_copied_is_one_message(tmp_path: Path) -> None:
    """The message says how many are there."""
    with pytest.raises(OutputError, match="0 of 1 files are in"):
        place_files([tmp_path / "gone.png"], tmp_path / "picked")
