"""A folder of images: which files count, in which order, with which label."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from projector_export.errors import DataError, InputNotFoundError, OptionError
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


def test_image_types_that_are_not_read_are_named(tmp_path: Path) -> None:
    """Nothing silent: HEIC, SVG and the like are skipped with a reason; other files are not."""
    folder = _make(tmp_path / "f", "a.png", "b.png", "sub/c.HEIC", "d.svg", "e.txt", ".f.psd")
    assert list(read_images(folder).skipped) == [
        {"path": "d.svg", "why": ".svg files are not read; convert them to PNG or JPEG"},
        {"path": "sub/c.HEIC", "why": ".heic files are not read; convert them to PNG or JPEG"},
    ]


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no symbolic links here")
def test_links_to_folders_are_named(tmp_path: Path) -> None:
    """A loop of links gets a clear answer."""
    folder = _make(tmp_path / "f", "a.png", "sub/b.png")
    (folder / "sub" / "loop").symlink_to(folder, target_is_directory=True)
    (note,) = read_images(folder).notes
    assert note == "1 links to folders were not followed; first: sub/loop"
    only = _make(tmp_path / "only", "a.png")
    (only / "loop").symlink_to(only, target_is_directory=True)
    with pytest.raises(DataError, match=r"holds 1 images; .*; 1 links to folders were"):
        read_images(only)
    (tmp_path / "self").symlink_to("self")
    with pytest.raises(InputNotFoundError, match="self is a link that leads nowhere, or to itself"):
        read_images(tmp_path / "self")


def test_pattern_takes_names_or_paths_whatever_their_ending(tmp_path: Path) -> None:
    """`pattern`: a file's name, or its path below the folder where the pattern has a `/`."""
    folder = _make(
        tmp_path / "f", *["a_front.png", "a_back.png", "x/b_front.png", "x/c_front", "y/d.png"]
    )
    names = read_images(folder, pattern="*_front*").columns["path"].to_list()
    assert names == ["a_front.png", "x/b_front.png", "x/c_front"]
    assert read_images(folder, pattern="x/*").columns["path"].to_list() == names[1:]
    with pytest.raises(DataError, match=r"holds 0 images; expected .* that match '\*\.gif'"):
        read_images(folder, pattern="*.gif")


def test_label_from_a_regular_expression(tmp_path: Path) -> None:
    """What the first group finds in the file's name; nothing where it finds nothing."""
    folder = _make(tmp_path / "f", "s/cat_1.png", "s/dog_2.png", "s/1.png", "s/魚_3.png")
    items = read_images(folder, label_from=r"^(\w+?)_")
    assert items.columns["label"].to_list() == ["", "cat", "dog", "魚"]


@pytest.mark.parametrize(
    ("label_from", "message"),
    [
        ("(", "is no regular expression"),
        ("cat", "neither a file nor an expression with a group"),
        ("^(zebra)", "matches none of 2 file names, such as a.png"),
    ],
)
def test_a_wrong_label_from_is_refused(tmp_path: Path, label_from: str, message: str) -> None:
    """OptionError: label_from is neither of the above."""
    with pytest.raises(OptionError, match=message):
        read_images(_make(tmp_path / "f", "a.png", "b.png"), label_from=label_from)


def test_label_from_a_table(tmp_path: Path) -> None:
    """By path, or by file name where names are not shared; a file that is not listed has none."""
    folder = _make(tmp_path / "f", "x/a.png", "y/b.png", "y/c.png")
    (tmp_path / "l.csv").write_text("file,label\nx/a.png,アジ\nb.png,サバ\n", encoding="utf-8")
    items = read_images(folder, label_from=str(tmp_path / "l.csv"))
    assert items.columns["label"].to_list() == ["アジ", "サバ", ""]
    (tmp_path / "m.csv").write_text("file,label\nq.png,1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"m\.csv names none of the 3 images, such as x/a\.png"):
        read_images(folder, label_from=str(tmp_path / "m.csv"))
    with pytest.raises(InputNotFoundError, match=r"nope\.csv does not exist"):
        read_images(folder, label_from=str(tmp_path / "nope.csv"))
    (tmp_path / "n.csv").write_text("file,kind\nq.png,1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"n\.csv has no column 'label'; its columns are: file, ki"):
        read_images(folder, label_from=str(tmp_path / "n.csv"))


def test_a_table_of_labels_names_no_wrong_image(tmp_path: Path) -> None:
    """A file name that several folders share says nothing about the image."""
    folder = _make(tmp_path / "f", "x/0.png", "y/0.png", "y/1.png")
    (tmp_path / "l.csv").write_text("path,label\nx/0.png,cat\nz/1.png,dog\n", encoding="utf-8")
    items = read_images(folder, label_from=str(tmp_path / "l.csv"))
    assert items.columns["label"].to_list() == ["cat", "", ""]
    assert items.notes == ("--label-from gives 2 of 3 images no label; first: y/0.png",)


def test_the_column_path_comes_before_others(tmp_path: Path) -> None:
    """Columns of numbers are no paths, and nobody's column is lost."""
    (tmp_path / "t.csv").write_text("image,path\n1,a.png\n2,b.png\n", encoding="utf-8")
    assert read_images(tmp_path / "t.csv").columns["path"].to_list() == ["a.png", "b.png"]
    (tmp_path / "u.csv").write_text("file,Path\nx,a.png\ny,b.png\n", encoding="utf-8")
    columns = read_images(tmp_path / "u.csv").columns
    assert columns["path"].to_list() == ["a.png", "b.png"]
    assert columns["file"].to_list() == ["x", "y"]


def test_a_folder_that_cannot_be_listed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing silent: its images are missing."""
    folder = _make(tmp_path / "f", "a.png", "b.png", "locked/c.png")
    scan = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    (skipped,) = read_images(folder).skipped
    assert skipped == {"path": "locked", "why": "the folder cannot be listed (Permission denied)"}


def test_a_list_of_paths_in_place_of_a_folder(tmp_path: Path) -> None:
    """A path a line, relative to the list, in its order; the name is the list's."""
    folder = _make(tmp_path / "f", "x/b.png", "x/a.png", "c.png")
    (folder / "list.txt").write_text(f"x/b.png\n\n{folder / 'c.png'}\nx/a.png\n", encoding="utf-8")
    items = read_images(folder / "list.txt")
    assert items.contents == (folder / "x/b.png", folder / "c.png", folder / "x/a.png")
    assert items.columns["path"].to_list() == ["x/b.png", str(folder / "c.png"), "x/a.png"]
    assert items.name == "list"


def test_a_table_of_paths_brings_its_columns(tmp_path: Path) -> None:
    """Its other columns travel along; a column `label` is the label."""
    _make(tmp_path, "p/1.png", "p/2.png", "p/3.png")
    (tmp_path / "t.csv").write_text(
        "id,filename,label,weight\n007,p/3.png,アジ,2.5\n008,p/1.png,サバ,1\n", encoding="utf-8"
    )
    items = read_images(tmp_path / "t.csv")
    assert items.columns.rows() == [
        ("アジ", "007", "p/3.png", 2.5), ("サバ", "008", "p/1.png", 1.0),
    ]  # fmt: skip
    assert items.columns.columns == ["label", "id", "path", "weight"]
    assert items.contents == (tmp_path / "p/3.png", tmp_path / "p/1.png")
    (tmp_path / "u.csv").write_text("a,b\nx,y\nz,w\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"u\.csv has no column of image paths; .* are: a, b"):
        read_images(tmp_path / "u.csv")
