"""A folder of images."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl

from projector_export.errors import DataError, InputNotFoundError
from projector_export.limits import CONFIG_NAME
from projector_export.points import Items
from projector_export.thumbnails import IMAGE_SUFFIXES


def read_images(folder: str | Path, *, name: str | None = None) -> Items:
    """List the image files below a folder, by path in code-point order.

    The label is the sub-folder (`cats`, `cats/black`); where no image lies in a sub-folder it is
    the file's name. Hidden files and folders are left out, and exports; links to folders are not
    followed.

    Args:
        folder: searched at every depth.
        name: of the embedding; default the folder's name.

    Returns:
        Items with the columns `label` and `path` (relative to the folder, with `/`).

    Raises:
        InputNotFoundError: no such folder.
        DataError: not a folder, or fewer than two images in it.
    """
    folder = Path(folder)
    if not folder.exists():
        raise InputNotFoundError(f"{folder} does not exist; expected a folder of images")
    if not folder.is_dir():
        raise DataError(f"{folder} is a file; expected a folder of images")
    paths = list_images(folder)
    if len(paths) < 2:
        raise DataError(
            f"{folder} holds {len(paths)} images; expected at least 2 files of the types "
            f"{' '.join(sorted(IMAGE_SUFFIXES))}"
        )
    parents = [path_text(path.relative_to(folder).parent) for path in paths]
    if set(parents) == {"."}:
        labels = [path_text(Path(path.name)) for path in paths]
    else:
        labels = [folder.resolve().name if parent == "." else parent for parent in parents]
    columns = pl.DataFrame(
        {"label": labels, "path": [path_text(path.relative_to(folder)) for path in paths]}
    )
    return Items(tuple(paths), columns, name or folder.resolve().name)


def path_text(path: Path) -> str:
    """Return a path with `/`; bytes of a name that are not UTF-8 become U+FFFD."""
    return os.fsencode(path.as_posix()).decode("utf-8", "replace")


def list_images(folder: Path) -> list[Path]:
    """Return the image files below a folder, sorted by their relative path."""
    found: list[Path] = []
    for parent, folders, files in os.walk(folder):
        if CONFIG_NAME in files:  # an export lies here; its sprites are no input
            folders.clear()
            continue
        folders[:] = [f for f in folders if not f.startswith(".")]
        for file in files:
            if not file.startswith(".") and Path(file).suffix.lower() in IMAGE_SUFFIXES:
                found.append(Path(parent, file))
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())
