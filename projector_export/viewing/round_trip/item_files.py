"""Where the points of a selection go: a table, a list of files, or a folder of copies or links.

Names of items are data: in the target folder a file has its own last name, or that with a number,
and nothing there is ever replaced.
"""

from __future__ import annotations

import filecmp
import io
import shutil
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import polars as pl

from projector_export.errors import DataError, NameTakenError, OptionError, OutputError
from projector_export.points import as_text
from projector_export.viewing.written_files import write_file

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
Files = Literal["copy", "link"]
FILES: tuple[Files, ...] = ("copy", "link")
TargetKind = Literal["table", "list", "folder"]


def target_kind(target: Path, *, force: bool = False) -> TargetKind:
    """Tell by its name what a target is to be; changes nothing.

    Raises:
        OptionError: another ending.
        NameTakenError: a file is there, and `force` is off.
    """
    suffix = target.suffix.lower()
    if target.is_dir() or not suffix:
        if target.exists() and not target.is_dir():
            raise NameTakenError(f"{target} is a file; expected a folder: choose another name")
        return "folder"
    if suffix not in (*TABLE_SUFFIXES, ".txt"):
        raise OptionError(
            f"{target} ends in {suffix!r}; expected {' '.join(TABLE_SUFFIXES)} (a table), .txt (a "
            "list of files) or the name of a folder"
        )
    if target.exists() and not force:
        raise NameTakenError(f"{target} exists; give --force to replace it, or choose another name")
    return "list" if suffix == ".txt" else "table"


def write_table(table: pl.DataFrame, target: Path) -> None:
    """Write a table as its name's ending says, whole or not at all.

    Raises:
        OutputError: the disk refuses.
    """
    suffix = target.suffix.lower()
    if suffix == ".jsonl":
        write_file(render_jsonl(table), target)
        return
    buffer = io.BytesIO()
    if suffix == ".parquet":
        table.write_parquet(buffer)
    else:
        separator = "\t" if suffix == ".tsv" else ","
        _plain(table, nested=False).write_csv(buffer, separator=separator)
    write_file(buffer.getvalue(), target)


def render_jsonl(table: pl.DataFrame) -> bytes:
    """Return a JSON object a row, in UTF-8; numbers that are not finite become null."""
    buffer = io.BytesIO()
    _plain(table, nested=True).write_ndjson(buffer)
    return buffer.getvalue()


def write_file_list(files: Sequence[Path], target: Path) -> None:
    """Write the files' paths, one a line.

    Raises:
        DataError: a name has a line break.
        OutputError: the disk refuses.
    """
    lines = [str(path) for path in files]
    for line in lines:
        if len(line.splitlines()) != 1:
            raise DataError(f"{line!r} has a line break in its name; write a table instead")
    write_file("".join(f"{line}\n" for line in lines).encode("utf-8"), target)


def place_files(files: Sequence[Path], folder: Path, how: Files = "copy") -> list[Path]:
    """Copy files into a folder, or link to them there.

    A file has its own last name; where that is taken (on a disk that takes A for a, too), with a
    number. What is there already is left: the same file is not put there a second time.

    Args:
        files: existing ones, absolute.
        folder: made when missing.
        how: copy (with its times), or link (symbolic).

    Returns:
        Where each file is, in their order.

    Raises:
        OptionError: how is neither.
        OutputError: a file cannot be read, or the disk refuses.
    """
    if how not in FILES:
        raise OptionError(f"files is {how!r}; expected copy or link")
    taken: set[str] = set()
    placed = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = {_folded(path.name) for path in folder.iterdir()}
        for file in files:
            number = 1
            while True:
                name = file.name if number == 1 else f"{file.stem}_{number}{file.suffix}"
                target = folder / name
                if _folded(name) not in taken and (
                    _folded(name) not in there or _is_same(file, target, how)
                ):
                    break
                number += 1
            taken.add(_folded(name))
            if _folded(name) not in there:
                _place(file, target, how)
            placed.append(target)
    except OSError as error:
        raise OutputError(
            f"{error.filename2 or error.filename or folder} cannot be made ({error.strerror}); "
            f"{len(placed)} of {len(files)} files are in {folder}"
        ) from error
    return placed


def _place(file: Path, target: Path, how: Files) -> None:
    if how == "link":
        target.symlink_to(file)
        return
    with open(file, "rb") as source, open(target, "xb") as stream:  # x: never over another
        shutil.copyfileobj(source, stream)
    shutil.copystat(file, target)


def _is_same(file: Path, target: Path, how: Files) -> bool:
    if target.is_symlink() or how == "link":
        return target.is_symlink() and how == "link" and target.readlink() == file
    return target.is_file() and filecmp.cmp(file, target)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _plain(table: pl.DataFrame, *, nested: bool) -> pl.DataFrame:
    """Columns that the format cannot hold become text."""
    kept = (pl.List, pl.Array, pl.Struct) if nested else ()
    odd = [
        name
        for name, dtype in table.schema.items()
        if (dtype.is_nested() and not isinstance(dtype, kept)) or dtype in (pl.Binary, pl.Object)
    ]
    return table.with_columns(as_text(table[name]) for name in odd)
