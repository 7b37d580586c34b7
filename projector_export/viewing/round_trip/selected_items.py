"""The points of saved bookmarks as a table, and where their files lie."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from projector_export.errors import InputNotFoundError, OptionError
from projector_export.points import as_text
from projector_export.projector.exports import Export
from projector_export.viewing.round_trip.saved_state import SavedState

Which = Literal["both", "selected", "isolated"]
WHICH: tuple[Which, ...] = ("both", "selected", "isolated")
FILE = "absolute_path"
_ADDED = ("bookmark", "selected", "isolated", FILE)


@dataclass(frozen=True, eq=False)
class SelectedItems:
    """The points of some bookmarks.

    Attributes:
        table: one row a bookmark and point, the selected ones first, as they were selected, then
            the other isolated ones. `bookmark`, `selected`, `isolated`, all of the export's columns
            (one of these names becomes `user_<name>`), `absolute_path` (null where the item is no
            file, or nothing tells where it lies).
        files: those that exist, each once.
        missing: files that do not.
        unplaced: points whose `path` is relative, with nothing that tells to what.
    """

    table: pl.DataFrame
    files: list[Path]
    missing: list[Path]
    unplaced: int

    @property
    def has_paths(self) -> bool:
        """Whether some of the points are files, wherever these may lie."""
        return bool(self.files or self.missing or self.unplaced)


def take_items(
    export: Export,
    states: Sequence[SavedState],
    *,
    which: Which = "both",
    root: str | Path | None = None,
) -> SelectedItems:
    """Collect the selected and isolated points of saved bookmarks.

    Args:
        export: that the bookmarks are of.
        states: from `read_states`.
        which: the selected points, the isolated ones, or those that are either.
        root: folder that the column `path` is relative to; default as the export's manifest says.

    Raises:
        OptionError: `which` is none of these.
        InputNotFoundError: root is no folder.
    """
    if which not in WHICH:
        raise OptionError(f"which is {which!r}; expected {', '.join(WHICH)}")
    paths = _item_paths(export, root)
    rows, titles, selected, isolated = [], [], [], []
    for state in states:
        chosen, alone = set(state.selected), set(state.isolated or ())
        for row in dict.fromkeys((*state.selected, *(state.isolated or ()))):
            if which == "both" or row in (chosen if which == "selected" else alone):
                rows.append(row)
                titles.append(state.title)
                selected.append(row in chosen)
                isolated.append(row in alone)
    columns = export.columns[rows]
    clashes = {name: f"user_{name}" for name in columns.columns if name in _ADDED}
    placed = [paths[row] for row in rows]
    texts = [None if path is None else str(path) for path in placed]
    table = columns.rename(clashes).select(
        pl.Series("bookmark", titles, dtype=pl.String),
        pl.Series("selected", selected, dtype=pl.Boolean),
        pl.Series("isolated", isolated, dtype=pl.Boolean),
        pl.all(),
        pl.Series(FILE, texts, dtype=pl.String),
    )
    files = list(dict.fromkeys(path for path in placed if path is not None))
    there = [path for path in files if path.is_file()]
    missing = sorted(set(files) - set(there))
    named = _names_file(export)[rows]
    unplaced = int((named & table[FILE].is_null()).sum())
    return SelectedItems(table, there, missing, unplaced)


def _item_paths(export: Export, root: str | Path | None) -> list[Path | None]:
    """Return where each point's file lies; None where it is none, or nothing tells where."""
    if root is not None and not Path(root).is_dir():
        raise InputNotFoundError(f"root is {root}, which is no folder; expected that of the files")
    bases = {
        normal: _base(export, fact, root)
        for normal, fact in ((False, "source_folder"), (True, "normal_folder"))
    }
    columns = export.columns
    names = [""] * columns.height
    if "path" in columns.columns:
        names = as_text(columns["path"]).to_list()
    is_normal = [False] * columns.height
    if _is_encoded(export) and "known_normal" in columns.columns:
        is_normal = columns["known_normal"].fill_null(value=False).to_list()
    return [
        _join(bases[normal], name) if is_file else None
        for name, normal, is_file in zip(names, is_normal, _names_file(export), strict=True)
    ]


def _base(export: Export, fact: str, root: str | Path | None) -> Path | None:
    if root is not None:
        return Path(root).resolve()
    folder = export.manifest.get(fact)
    if not isinstance(folder, str) or not folder:
        return None
    # Noted as seen from the run, both free of links.
    return Path(os.path.normpath(export.out.resolve() / folder))


def _join(base: Path | None, name: str) -> Path | None:
    path = Path(name)
    if path.is_absolute():
        return path
    # Not normalised: across a link, `..` leads elsewhere than the text says.
    return None if base is None else base / path


def _names_file(export: Export) -> pl.Series:
    """(N,) whether a point is a file by its columns: a caption's path is its image's."""
    columns = export.columns
    if "path" not in columns.columns:
        return pl.Series([False] * columns.height, dtype=pl.Boolean)
    named = as_text(columns["path"]).str.strip_chars() != ""
    if _is_encoded(export) and "kind" in columns.columns:
        named &= (columns["kind"] == "image").fill_null(value=True)
    return named


def _is_encoded(export: Export) -> bool:
    """Whether columns such as `kind` are this program's; among ready-made vectors they are not."""
    return "encoder" in export.manifest
