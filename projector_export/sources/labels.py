"""Labels of images: from their folders, their names, or a table."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from projector_export.errors import DataError, OptionError
from projector_export.points import LABEL, as_text
from projector_export.sources.tables import TABLE_SUFFIXES, read_table


def read_labels(label_from: str, paths: Sequence[str], *, whole: str) -> list[str]:
    """Return the label of each path.

    Args:
        label_from: `folder`, a regular expression with a group, or a table; see `read_images`.
        paths: relative, with `/`.
        whole: the label of files that lie in no sub-folder, where others do.

    Raises:
        OptionError: label_from is none of these.
        DataError: the table lacks a column, or names none of the paths.
    """
    if label_from == "folder":
        return _from_folders(paths, whole)
    if os.path.isfile(label_from) or Path(label_from).suffix.lower() in TABLE_SUFFIXES:
        return _from_table(Path(label_from), paths)
    try:
        expression = re.compile(label_from)
    except re.error as error:
        raise OptionError(
            f"--label-from {label_from!r} is no regular expression ({error}); expected folder, a "
            "regular expression with a group, or a table"
        ) from error
    if expression.groups < 1:
        raise OptionError(
            f"--label-from {label_from!r} is neither a file nor an expression with a group; "
            "expected folder, an expression such as '^([a-z]+)_', or a table"
        )
    found = [expression.search(PurePosixPath(path).name) for path in paths]
    if not any(found):
        raise OptionError(
            f"--label-from {label_from!r} matches none of {len(paths)} file names, such as "
            f"{PurePosixPath(paths[0]).name}"
        )
    return ["" if match is None else match.group(1) or "" for match in found]


def _from_folders(paths: Sequence[str], whole: str) -> list[str]:
    parents = [PurePosixPath(path).parent.as_posix() for path in paths]
    if set(parents) == {"."}:
        return [PurePosixPath(path).name for path in paths]
    return [whole if parent == "." else parent for parent in parents]


def _from_table(file: Path, paths: Sequence[str]) -> list[str]:
    """Match by the path as given, or by the file's name where no two images share one."""
    from projector_export.sources.images import path_column

    table = read_table(file)
    if LABEL not in table.columns:
        raise DataError(
            f"{file} has no column 'label'; its columns are: {', '.join(table.columns)}"
        )
    keys = as_text(table[path_column(file, table)]).to_list()
    labels = as_text(table[LABEL]).to_list()
    known = dict(zip((PurePosixPath(k).as_posix() for k in keys), labels, strict=True))
    names = [PurePosixPath(key).name for key in keys]
    own = [PurePosixPath(path).name for path in paths]
    if len(set(names)) == len(names) and len(set(own)) == len(own):
        known = dict(zip(names, labels, strict=True)) | known
    found = [known.get(path, known.get(PurePosixPath(path).name)) for path in paths]
    if all(label is None for label in found):
        raise DataError(
            f"{file} names none of the {len(paths)} images, such as {paths[0]}; expected their "
            "paths or file names"
        )
    return ["" if label is None else label for label in found]
