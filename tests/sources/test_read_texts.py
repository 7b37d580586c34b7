"""Texts from lines and tables; captions beside their images."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from encoding_doubles import write_pictures

from projector_export import add_captions, read_images, read_texts
from projector_export.errors import DataError

LONG = "ながい文章。" * 40


def test_a_line_each(tmp_path: Path) -> None:
    """`.txt`: a text a line; the label is the text, shortened to 80 characters; blanks skipped."""
    (tmp_path / "t.txt").write_text(f"one\n\n{LONG}\n  \nthree\n", encoding="utf-8")
    items = read_texts(tmp_path / "t.txt")
    assert items.contents == ("one", LONG, "three")
    labels = items.columns["label"].to_list()
    assert labels == ["one", LONG[:79] + "…", "three"]
    assert items.columns["text"].to_list() == ["one", LONG, "three"]
    assert list(items.skipped) == [
        {"path": "t.txt row 2", "why": "no text"},
        {"path": "t.txt row 4", "why": "no text"},
    ]
    assert items.name == "t"


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_a_column_of_a_table(tmp_path: Path, suffix: str) -> None:
    """Other columns travel as metadata; the column `label` is the label."""
    rows = [{"id": "a1", "text": "first text", "label": "x", "n": 1},
            {"id": "b2", "text": "二つ目", "label": "y", "n": 2}]  # fmt: skip
    path, table = tmp_path / f"t.{suffix}", pl.DataFrame(rows)
    if suffix == "csv":
        table.write_csv(path)
    elif suffix == "tsv":
        table.write_csv(path, separator="\t")
    elif suffix == "parquet":
        table.write_parquet(path)
    else:
        path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    items = read_texts(path)
    assert items.contents == ("first text", "二つ目")
    assert sorted(items.columns.columns) == ["id", "label", "n", "text"]
    assert items.columns["label"].to_list() == ["x", "y"]
    assert read_texts(path, column="id").contents == ("a1", "b2")
    labelled = read_texts(path, label="id").columns
    assert labelled["label"].to_list() == ["a1", "b2"]
    assert labelled["label_original"].to_list() == ["x", "y"]


@pytest.mark.parametrize(
    ("content", "column", "message"),
    [
        ("a,b\nx,y\nz,w\n", None, "has 2 columns of text; name one with --column; .* are: a, b"),
        ("a,b\nx,1\nz,2\n", "c", "has no column 'c' for the texts; its columns are: a, b"),
        ("text,b\nx,1\n,2\n", None, "holds 1 texts; expected at least 2"),
    ],
)
def test_a_table_without_texts_is_refused(
    tmp_path: Path, content: str, column: str | None, message: str
) -> None:
    """DataError: no such column, or fewer than two texts."""
    (tmp_path / "t.csv").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_texts(tmp_path / "t.csv", column=column)


def test_a_long_label_of_the_users_is_kept_whole(tmp_path: Path) -> None:
    """Shortened for the plot, whole beside it."""
    table = pl.DataFrame({"label": [LONG, "b"], "text": ["one", "two"], "n": [1, 2]})
    table.write_parquet(tmp_path / "t.parquet")
    columns = read_texts(tmp_path / "t.parquet").columns
    assert columns["label"].to_list() == [LONG[:79] + "…", "b"]
    assert columns["label_original"].to_list() == [LONG, "b"]
    as_texts = read_texts(tmp_path / "t.parquet", column="label")
    assert as_texts.contents == (LONG, "b")
    assert as_texts.columns["label_text"].to_list() == [LONG, "b"]


class TestCaptions:
    """Images and texts in one embedding, each caption linked to its image."""

    def test_from_a_table(self, tmp_path: Path) -> None:
        """Several captions an image; one of an image that is not there is skipped, and said."""
        images = read_images(write_pictures(tmp_path / "f", 3))
        (tmp_path / "c.csv").write_text(
            "file,caption\n0002.png,last\n0000.png,first\n9.png,lost\n0002.png,last again\n",
            encoding="utf-8",
        )
        both = add_captions(images, str(tmp_path / "c.csv"))
        assert both.contents[3:] == ("first", "last", "last again")
        assert both.columns.select("label", "kind", "path", "text").rows()[2:] == [
            ("0002.png", "image", "0002.png", ""),
            ("first", "text", "0000.png", "first"),
            ("last", "text", "0002.png", "last"),
            ("last again", "text", "0002.png", "last again"),
        ]
        (skipped,) = both.skipped
        assert skipped == {"path": "c.csv row 3", "why": "a caption of 9.png, which is not there"}

    def test_from_a_column_of_the_list(self, tmp_path: Path) -> None:
        """The list's own column; an image without a caption has none."""
        write_pictures(tmp_path, 3)
        (tmp_path / "l.csv").write_text(
            "path,label,caption\n0001.png,b,二\n0000.png,a,\n0002.png,c,三\n", encoding="utf-8"
        )
        both = add_captions(read_images(tmp_path / "l.csv"), "caption")
        assert both.columns.select("label", "kind", "path", "text").rows() == [
            ("b", "image", "0001.png", ""),
            ("a", "image", "0000.png", ""),
            ("c", "image", "0002.png", ""),
            ("二", "text", "0001.png", "二"),
            ("三", "text", "0002.png", "三"),
        ]

    def test_the_users_columns_stay(self, tmp_path: Path) -> None:
        """Columns `kind` and `text` of the user's get another name; labels may be numbers."""
        write_pictures(tmp_path, 2)
        (tmp_path / "l.csv").write_text(
            "path,label,kind,text,caption\n0000.png,1,a,T0,one\n0001.png,2,b,T1,\n",
            encoding="utf-8",
        )
        both = add_captions(read_images(tmp_path / "l.csv"), "caption")
        assert both.columns.rows(named=True)[2] == {
            "label": "one", "kind": "text", "path": "0000.png", "user_kind": "a",
            "user_text": "T0", "text": "one",
        }  # fmt: skip
        assert both.columns["label"].to_list() == ["1", "2", "one"]

    @pytest.mark.parametrize(
        ("table", "captions", "message"),
        [
            ("", "label", "captions is 'label', which the images need; name another column"),
            ("file,caption\n9.png,x\n", "c.csv", "holds no caption of an image in f; .* 0000.png"),
            ("file,word\n0000.png,x\n", "c.csv", "has no column caption, text"),
            ("", "nope", r"captions is 'nope', which is neither a column \(label, path\) nor a f"),
        ],
    )
    def test_captions_of_nothing_are_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, captions: str,
        message: str,
    ) -> None:  # fmt: skip
        """DataError: no such column or file, or no caption of any of the images."""
        images = read_images(write_pictures(tmp_path / "f", 3))
        (tmp_path / "c.csv").write_text(table, encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        with pytest.raises(DataError, match=message):
            add_captions(images, captions)
