"""A folder of images, or a list of image files."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from projector_export.errors import DataError, InputNotFoundError, OptionError
from projector_export.image_files import IMAGE_SUFFIXES, UNREAD_SUFFIXES
from projector_export.limits import CONFIG_NAME
from projector_export.points import LABEL, Items, as_text
from projector_export.sources.labels import read_labels
from projector_export.sources.tables import TABLE_SUFFIXES, read_table

PATH_COLUMNS = ("path", "file", "image", "filename", "file_name", "filepath", "image_path")


def read_images(
    source: str | Path,
    *,
    name: str | None = None,
    pattern: str | None = None,
    label_from: str = "folder",
) -> Items:
    """List the image files below a folder, by path in code-point order; or those a table names.

    Hidden files and folders are left out, and exports; links to folders are not followed, so a
    loop of links does no harm. A table (`.txt`: a path a line; `.csv`, `.tsv`, `.jsonl`,
    `.parquet`: a column named `path`, `file`, `image` or alike, else the first text column) keeps
    its order, and its other columns travel along; its paths are relative to the table.

    Args:
        source: a folder, searched at every depth, or a table.
        name: of the embedding; default the source's name.
        pattern: shell pattern that a file's name must match (its path below the folder, where the
            pattern has a `/`); files that match are taken whatever their ending.
        label_from: `folder`: the sub-folder (`cats`, `cats/black`), or the file's name where no
            image lies in a sub-folder; a regular expression with a group: what the first group
            finds in the file's name; or a table of `path` and `label`. A table given as the source
            needs none of these where it has a column `label`.

    Returns:
        Items with the columns `label` and `path` (relative to the folder or table, with `/`).
        Files of image types that cannot be read here (HEIC, SVG, ...) are in `skipped`.

    Raises:
        InputNotFoundError: no such folder or table.
        DataError: nothing to show in it, or a table that is none.
        OptionError: label_from is neither of the above.
    """
    source = Path(source)
    if pattern == "":
        raise OptionError("pattern is empty; expected one such as '*.png'")
    if source.is_symlink() and not source.exists():
        raise InputNotFoundError(f"{source} is a link that leads nowhere, or to itself")
    if not source.exists():
        raise InputNotFoundError(
            f"{source} does not exist; expected a folder of images, or a list of paths"
        )
    found = _list_folder(source, pattern) if source.is_dir() else _list_table(source, pattern)
    if len(found.paths) < 2:
        raise DataError(_too_few(source, pattern, found))
    texts = [path_text(path) for path in found.shown]
    columns = pl.DataFrame({"path": texts}) if found.columns is None else found.columns
    if label_from != "folder" or LABEL not in columns.columns:
        labels = read_labels(label_from, texts, whole=source.resolve().name)
        columns = columns.with_columns(pl.Series(LABEL, labels))
        if "" in labels:
            first = texts[labels.index("")]
            found.notes.append(
                f"--label-from gives {labels.count('')} of {len(labels)} images no label; "
                f"first: {first}"
            )
    columns = columns.select(LABEL, pl.exclude(LABEL))
    return Items(
        tuple(found.paths),
        columns,
        name or (source.resolve().name if source.is_dir() else source.stem),
        skipped=tuple(found.skipped),
        notes=tuple(found.notes),
        source=source.resolve().name,
        folder=path_text((source if source.is_dir() else source.parent).resolve()),
    )


def path_text(path: Path) -> str:
    """Return a path with `/`; bytes of a name that are not UTF-8 become U+FFFD."""
    return os.fsencode(path.as_posix()).decode("utf-8", "replace")


@dataclass
class Listing:
    """Image files, and what is to be said about the others.

    Attributes:
        paths: of the files.
        shown: the same, relative to the folder or table.
        skipped: files of image types that cannot be read here.
        notes: what the user should know.
        columns: of the table.
    """

    paths: list[Path] = field(default_factory=list)
    shown: list[Path] = field(default_factory=list)
    skipped: list[Mapping[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    columns: pl.DataFrame | None = None


def list_images(folder: Path) -> list[Path]:
    """Return the image files below a folder, sorted by their relative path."""
    return _list_folder(folder, None).paths


def _list_folder(folder: Path, pattern: str | None) -> Listing:
    found, unread, links = [], [], []
    skipped: list[Mapping[str, str]] = []

    def cannot_list(error: OSError) -> None:
        path = path_text(Path(os.path.relpath(error.filename, folder)))
        skipped.append({"path": path, "why": f"the folder cannot be listed ({error.strerror})"})

    for parent, folders, files in os.walk(folder, onerror=cannot_list):
        if CONFIG_NAME in files:  # an export lies here; its sprites are no input
            folders.clear()
            continue
        folders[:] = [f for f in folders if not f.startswith(".")]
        links += [Path(parent, f) for f in folders if Path(parent, f).is_symlink()]
        for file in files:
            path = Path(parent, file)
            if file.startswith("."):
                continue
            if pattern is not None:
                if _matches(path.relative_to(folder), pattern):
                    found.append(path)
            elif path.suffix.lower() in IMAGE_SUFFIXES:
                found.append(path)
            elif path.suffix.lower() in UNREAD_SUFFIXES:
                unread.append(path)
    for paths in (found, unread, links):
        paths.sort(key=lambda path: path.relative_to(folder).as_posix())
    notes = []
    if links:
        first = path_text(links[0].relative_to(folder))
        notes = [f"{len(links)} links to folders were not followed; first: {first}"]
    for path in unread:
        why = f"{path.suffix.lower()} files are not read; convert them to PNG or JPEG"
        skipped.append({"path": path_text(path.relative_to(folder)), "why": why})
    return Listing(found, [path.relative_to(folder) for path in found], skipped, notes)


def _matches(path: Path, pattern: str) -> bool:
    return fnmatch.fnmatchcase(path.as_posix() if "/" in pattern else path.name, pattern)


def _list_table(file: Path, pattern: str | None) -> Listing:
    if file.suffix.lower() not in TABLE_SUFFIXES:
        raise DataError(
            f"{file} is a file; expected a folder of images, or a list of paths as "
            f"{' '.join(TABLE_SUFFIXES)}"
        )
    table = read_table(file)
    if file.suffix.lower() == ".txt":
        table = table.rename({LABEL: "path"})
    column = path_column(file, table)
    texts = as_text(table[column])
    keep = [
        text.strip() != "" and (pattern is None or _matches(Path(text), pattern))
        for text in texts.to_list()
    ]
    table = table.filter(pl.Series(keep, dtype=pl.Boolean))
    shown = [Path(text) for text in as_text(table[column]).to_list()]
    if column != "path":
        table = table.rename({"path": "user_path"}, strict=False).rename({column: "path"})
    table = table.with_columns(pl.Series("path", [path_text(path) for path in shown]))
    return Listing([file.parent / path for path in shown], shown, columns=table)


def path_column(file: Path, table: pl.DataFrame) -> str:
    """Return the column of a table that names image files.

    Raises:
        DataError: there is none.
    """
    own = {name.strip().lower(): name for name in reversed(table.columns)}
    for wanted in PATH_COLUMNS:
        if wanted in own and table.schema[own[wanted]] == pl.String:
            return own[wanted]
    for name, dtype in table.schema.items():
        if dtype == pl.String and _look_like_paths(table[name].head(20).to_list()):
            return name
    raise DataError(
        f"{file} has no column of image paths; expected one named {', '.join(PATH_COLUMNS)}; "
        f"its columns are: {', '.join(table.columns)}"
    )


def _look_like_paths(values: Sequence[str | None]) -> bool:
    texts = [value for value in values if value]
    return bool(texts) and all(re.search(r"\.\w{2,5}$", text) for text in texts)


def _too_few(source: Path, pattern: str | None, found: Listing) -> str:
    wanted = f"that match {pattern!r}" if pattern else f"of {' '.join(sorted(IMAGE_SUFFIXES))}"
    hints = [f"; {note}" for note in found.notes]
    if found.skipped:
        hints.append(f"; {len(found.skipped)} files are not read: {found.skipped[0]['why']}")
    return (
        f"{source} holds {len(found.paths)} images; expected at least 2 files {wanted}"
        + "".join(hints)
    )
