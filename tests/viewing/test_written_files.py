"""Files beside an export: whole or not at all, with the rights that others are made with."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from pictures import make_export, make_state

from projector_export.errors import OutputError
from projector_export.viewing import written_files
from projector_export.viewing.written_files import check_outside, write_file


def test_a_file_has_the_rights_of_any_new_file(tmp_path: Path) -> None:
    """As the umask says, not as a temporary file's; folders are made."""
    before = os.umask(0o027)
    try:
        write_file(b"new", tmp_path / "a/b.txt")
    finally:
        os.umask(before)
    assert (tmp_path / "a/b.txt").read_bytes() == b"new"
    assert (tmp_path / "a/b.txt").stat().st_mode & 0o777 == 0o640


def test_a_disk_that_refuses_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing half written, nothing left beside it."""
    target = tmp_path / "t.csv"
    target.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(written_files.os, "fsync", full)
    with pytest.raises(OutputError, match=r"cannot write .*t\.csv \(No space left"):
        write_file(b"new", target)
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
    assert target.read_bytes() == b"old"


def test_nothing_of_the_user_gives_way_to_the_temporary_file(tmp_path: Path) -> None:
    """Its name is a new one, also where the target's is as long as can be."""
    mine = tmp_path / f".staging-{os.getpid()}.csv"
    mine.write_bytes(b"mine")
    write_file(b"new", tmp_path / f"{'x' * 251}.csv")
    assert mine.read_bytes() == b"mine"


def test_the_export_s_folder_is_its_own(tmp_path: Path) -> None:
    """By whatever path; beside it anything goes."""
    state = make_state(np.array([[0.0, 0.0], [1.0, 1.0]]), label="v")
    export = make_export(tmp_path / "run", {"label": ["a", "b"]}, [state])
    (tmp_path / "link").symlink_to(export.folder)
    (export.folder / "out").symlink_to(tmp_path)
    for inside in (
        export.folder, export.folder / "points.parquet", export.folder / "new/x.csv",
        tmp_path / "link", tmp_path / "link/x.csv", export.folder / "out",
        tmp_path / "other/../run" / export.folder.name / "x.csv",
    ):  # fmt: skip
        with pytest.raises(OutputError, match="is inside the export"):
            check_outside(inside, export)
    for outside in (tmp_path / "x.csv", export.folder.with_name(f"{export.folder.name}2")):
        check_outside(outside, export)
