"""A folder of images: which files count, in which order, with which label."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from projector_export.errors import DataError, InputNotFoundError
from projector_export.sources.images import read_images


def _make(folder: Path, *files: str) -> Path:
    for file in files:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"never opened here")
    return folder


def test_order_is_by_path_in_code_points(tmp_path: Path) -> None:
    """`read_images` lists the image files below a folder, by path in code-point order."""
    folder = _make(
        tmp_path / "all",
        *["b/2.png", "b/10.png", "a/z.png", "B/1.png", "a-b/x.png", "魚/1.png", "a/é.png"],
    )
    items = read_images(folder)
    expected = ["B/1.png", "a-b/x.png", "a/z.png", "a/é.png", "b/10.png", "b/2.png", "魚/1.png"]
    assert items.columns["path"].to_list() == expected
    assert items.columns["label"].to_list() == ["B", "a-b", "a", "a", "b", "b", "魚"]
    assert list(items.contents) == [folder / path for path in expected]
    assert items.columns.columns == ["label", "path"]
    assert items.name == "all"


def test_label_is_the_whole_sub_folder(tmp_path: Path) -> None:
    """The label is the sub-folder (`cats`, `cats/black`); beside such, the folder's own name."""
    folder = _make(tmp_path / "pets", "cats/black/1.png", "cats/2.png", "3.png")
    items = read_images(folder, name="mine")
    assert items.columns.rows() == [
        ("pets", "3.png"),
        ("cats", "cats/2.png"),
        ("cats/black", "cats/black/1.png"),
    ]
    assert items.name == "mine"


def test_flat_folder_is_labelled_by_file_names(tmp_path: Path) -> None:
    """Where no image lies in a sub-folder, the label is the file's name."""
    items = read_images(_make(tmp_path / "flat", "b.png", "a.jpg"))
    assert items.columns.rows() == [("a.jpg", "a.jpg"), ("b.png", "b.png")]


def test_one_sub_folder_is_a_label_too(tmp_path: Path) -> None:
    """The file's name is the label only where no image lies in a sub-folder."""
    items = read_images(_make(tmp_path / "one", "cats/a.png", "cats/b.png"))
    assert items.columns["label"].to_list() == ["cats", "cats"]


def test_only_image_files_count_whatever_their_case(tmp_path: Path) -> None:
    """Other files in the folder are no images; suffixes are compared without case."""
    folder = _make(
        tmp_path / "f", *["a.JPG", "b.Jpeg", "c.txt", "d.png.txt", "png", "e.webp", "f.TIFF"]
    )
    assert read_images(folder).columns["path"].to_list() == ["a.JPG", "b.Jpeg", "e.webp", "f.TIFF"]


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    """Hidden files and folders are left out (._x.png is macOS's shadow of x.png)."""
    folder = _make(
        tmp_path / "f", *["a.png", "b.png", "._a.png", ".cache/c.png", "sub/.thumbs/d.png"]
    )
    assert read_images(folder).columns["path"].to_list() == ["a.png", "b.png"]


def test_a_hidden_folder_itself_can_be_read(tmp_path: Path) -> None:
    """Only what is hidden *below* the folder is left out."""
    folder = _make(tmp_path / ".data" / "f", "a.png", "b.png")
    assert len(read_images(folder)) == 2


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no symbolic links here")
def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    """Links to folders are not followed: a loop ends, and nothing is listed twice."""
    folder = _make(tmp_path / "f", "a.png", "sub/b.png")
    outside = _make(tmp_path / "outside", "c.png")
    (folder / "sub" / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "away").symlink_to(outside, target_is_directory=True)
    assert read_images(folder).columns["path"].to_list() == ["a.png", "sub/b.png"]


def test_fewer_than_two_images_are_refused(tmp_path: Path) -> None:
    """DataError: fewer than two images in it."""
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="none holds 0 images; expected at least 2 files"):
        read_images(tmp_path / "none")
    with pytest.raises(DataError, match=r"one holds 1 images; .*\.png"):
        read_images(_make(tmp_path / "one", "a.png", "b.txt"))


def test_a_file_or_nothing_is_refused(tmp_path: Path) -> None:
    """InputNotFoundError: no such folder. DataError: not a folder."""
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.png is a file; expected a folder of images"):
        read_images(tmp_path / "a.png")
    with pytest.raises(InputNotFoundError, match="nope does not exist; expected a folder"):
        read_images(tmp_path / "nope")


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
def test_a_file_name_that_is_not_utf8_is_still_an_image(tmp_path: Path) -> None:
    """An archive made with Shift-JIS names unpacks to such files; each file is one item."""
    folder = tmp_path / "f"
    folder.mkdir()
    Image.new("RGB", (2, 2)).save(folder / "a.png")
    Image.new("RGB", (2, 2)).save(folder / "b.png")
    (folder / "b.png").rename(folder / os.fsdecode("魚.png".encode("shift_jis")))
    items = read_images(folder)
    assert len(items) == 2
    assert all(path.exists() for path in items.contents)
    assert items.columns["path"][0] == "a.png"
