"""Points of saved bookmarks as a table, and where their files lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from encoding_doubles import ColourEncoder, write_pictures

from projector_export import EncodeSettings, Items, Points, Settings, export, export_points
from projector_export.errors import InputNotFoundError
from projector_export.projector.exports import Export, open_export
from projector_export.sources.images import read_images
from projector_export.sources.vectors import read_vectors
from projector_export.viewing.round_trip.saved_state import SavedState
from projector_export.viewing.round_trip.selected_items import take_items

QUICK = Settings(umap_dims=(), clusters=None, anomalies=False)


def saved(title: str, selected: list[int], isolated: list[int] | None = None) -> SavedState:
    """A saved bookmark."""
    return SavedState(title, tuple(selected), None if isolated is None else tuple(isolated), {})


def export_columns(out: Path, columns: dict[str, Any], **origin: Any) -> Export:
    """Export random vectors with these columns."""
    n = len(next(iter(columns.values())))
    vectors = np.random.default_rng(0).standard_normal((n, 4)).astype(np.float32)
    points = Points(vectors, pl.DataFrame(columns), name="e", origin=origin)
    export_points(points, out, settings=QUICK)
    return open_export(out)


def test_the_table_has_all_columns_and_says_of_what(tmp_path: Path) -> None:
    """All of the export's columns, the bookmark, the flags; selected points first, in order."""
    columns = {"label": list("abcdef"), "selected": [1, 2, 3, 4, 5, 6], "file": list("uvwxyz")}
    own = export_columns(tmp_path, columns)
    items = take_items(own, [saved("一", [4, 0]), saved("two", [3], [5, 3, 1]), saved("3", [])])
    table = items.table
    assert table["bookmark"].to_list() == ["一", "一", "two", "two", "two"]
    assert table["source_row"].to_list() == [4, 0, 3, 5, 1]
    assert table["selected"].to_list() == [True, True, True, False, False]
    assert table["isolated"].to_list() == [False, False, True, True, True]
    assert table["label"].to_list() == ["e", "a", "d", "f", "b"]
    assert table["user_selected"].to_list() == [5, 1, 4, 6, 2]
    assert table["file"].to_list() == ["y", "u", "x", "z", "v"]
    assert set(own.columns.columns) - {"selected"} <= set(table.columns)
    assert table["absolute_path"].to_list() == [None] * 5
    assert (items.files, items.missing, items.unplaced, items.has_paths) == ([], [], 0, False)
    only = take_items(own, [saved("two", [3], [5, 3, 1])], which="isolated").table
    assert only["source_row"].to_list() == [3, 5, 1]
    only = take_items(own, [saved("two", [3], [5, 3, 1])], which="selected").table
    assert only["source_row"].to_list() == [3]


def test_images_are_found_where_they_were(tmp_path: Path) -> None:
    """The manifest says where the input's folder is; a file that has gone is missing, no error."""
    folder = write_pictures(tmp_path / "写真", 6)
    export(read_images(folder), tmp_path / "run", ColourEncoder(), settings=QUICK)
    own = open_export(tmp_path / "run")
    assert own.manifest["source_folder"] == "../写真"  # as seen from the run: no home is named
    (folder / "0002.png").unlink()
    items = take_items(own, [saved("a", [2, 5, 5]), saved("b", [5, 0])])
    assert items.files == [folder / "0005.png", folder / "0000.png"]
    assert items.missing == [folder / "0002.png"]
    assert items.table["absolute_path"].to_list()[:2] == [
        str(folder / "0002.png"), str(folder / "0005.png")
    ]  # fmt: skip


def test_root_says_where_files_have_moved(tmp_path: Path) -> None:
    """--root DIR when the files have moved."""
    folder = write_pictures(tmp_path / "f", 4)
    export(read_images(folder), tmp_path / "run", ColourEncoder(), settings=QUICK)
    moved = folder.rename(tmp_path / "moved")
    own = open_export(tmp_path / "run")
    assert take_items(own, [saved("a", [1])]).missing == [folder / "0001.png"]
    assert take_items(own, [saved("a", [1])], root=moved).files == [moved / "0001.png"]
    with pytest.raises(InputNotFoundError, match="is no folder"):
        take_items(own, [saved("a", [1])], root=tmp_path / "none")


def test_paths_of_tables_are_relative_to_them(tmp_path: Path, monkeypatch: Any) -> None:
    """A list's paths are relative to the list; it may lead out of its folder, or be absolute."""
    pictures = write_pictures(tmp_path / "pictures", 3)
    lists = tmp_path / "lists"
    lists.mkdir()
    paths = ["../pictures/0000.png", str(pictures / "0001.png"), "../pictures/0002.png"]
    pl.DataFrame({"path": paths}).write_csv(lists / "list.csv")
    export(read_images(lists / "list.csv"), tmp_path / "run", ColourEncoder(), settings=QUICK)
    items = take_items(open_export(tmp_path / "run"), [saved("a", [0, 1])])
    assert items.files == [lists / "../pictures/0000.png", pictures / "0001.png"]

    np.save(tmp_path / "v.npy", np.eye(3, dtype=np.float32))
    pl.DataFrame({"path": paths}).write_csv(lists / "meta.csv")
    points = read_vectors(tmp_path / "v.npy", metadata=lists / "meta.csv", name="e")
    export_points(points, tmp_path / "own", settings=QUICK)
    items = take_items(open_export(tmp_path / "own"), [saved("a", [2])])
    assert items.files == [lists / "../pictures/0002.png"]

    monkeypatch.chdir(tmp_path)
    points = read_vectors("v.npy", images="pictures", name="e")
    export_points(points, tmp_path / "folder", settings=QUICK)
    items = take_items(open_export(tmp_path / "folder"), [saved("a", [2])])
    assert items.files == [pictures / "0002.png"]


def test_without_a_recorded_folder_points_are_unplaced(tmp_path: Path) -> None:
    """An export that does not say where its files lie: absolute paths only, the others counted."""
    write_pictures(tmp_path / "f", 2)
    paths = ["0000.png", str(tmp_path / "f/0001.png"), "", None, "0001.png"]
    own = export_columns(tmp_path / "run", {"label": list("abcde"), "path": paths})
    items = take_items(own, [saved("a", [0, 1, 2, 3])])
    assert (items.files, items.unplaced) == ([tmp_path / "f/0001.png"], 1)
    items = take_items(own, [saved("a", [0, 1, 2, 3])], root=tmp_path / "f")
    assert items.files == [tmp_path / "f/0000.png", tmp_path / "f/0001.png"]
    assert items.unplaced == 0


def test_captions_and_known_normal_items_are_not_mistaken(tmp_path: Path) -> None:
    """A caption's path is its image's; a known-normal item's is relative to another folder."""
    shown, normal = write_pictures(tmp_path / "a", 2), write_pictures(tmp_path / "b", 2)
    columns = {
        "label": ["0", "1", "c", "n"],
        "path": ["0000.png", "0001.png", "0000.png", "0001.png"],
        "kind": ["image", "image", "text", "image"],
        "known_normal": [False, False, False, True],
    }
    facts = {"encoder": {"encoder": "x"}, "source_folder": str(shown)}
    own = export_columns(tmp_path / "run", columns, **facts)
    items = take_items(own, [saved("a", [0, 1, 2, 3])])
    assert items.files == [shown / "0000.png", shown / "0001.png"]
    assert items.unplaced == 1
    assert take_items(own, [saved("a", [2])]).files == []
    own = export_columns(tmp_path / "two", columns, **facts, normal_folder=str(normal))
    assert take_items(own, [saved("a", [3])]).files == [normal / "0001.png"]
    # Among ready-made vectors these columns are the user's, and mean nothing here.
    own = export_columns(tmp_path / "three", columns, source_folder=str(shown))
    assert take_items(own, [saved("a", [2, 3])]).files == [shown / "0000.png", shown / "0001.png"]


def test_items_tell_the_manifest_both_folders(tmp_path: Path) -> None:
    """What the source knows of folders reaches the manifest."""
    folder = write_pictures(tmp_path / "f", 3)
    files = tuple(sorted(folder.iterdir()))
    columns = pl.DataFrame({"label": list("abc"), "path": [f.name for f in files]})
    items = Items(files, columns, "e", folder=str(folder), normal_folder=str(tmp_path / "n"))
    settings = EncodeSettings(thumbnail_px=8)
    result = export(
        items, tmp_path / "run", ColourEncoder(), encode_settings=settings, settings=QUICK
    )
    folders = (result.facts["source_folder"], result.facts["normal_folder"])
    assert folders == ("../f", "../n")
