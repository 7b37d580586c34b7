"""A redacted column is nowhere in the bundle's bytes: neither its name nor what was in it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from bundles import add_bookmarks, everything_in, export_small

from projector_export.errors import OptionError
from projector_export.projector.bookmarks import NO_COLOR_OPTION
from projector_export.projector.exports import open_export
from projector_export.projector.read_back import PluginReader
from projector_export.sources.images import PATH_COLUMNS
from projector_export.viewing.sharing.bundle import collect
from projector_export.viewing.sharing.redaction import PATH_NAMES, Redaction
from projector_export.viewing.sharing.share import KINDS, Kind
from projector_export.viewing.sharing.share import share as share_run

N = 60
TOWNS = ["Ōsaka", "Timbuktu", "アルル"]


def people() -> dict[str, list[Any]]:
    """60 people of three towns; what tells the town stands in other columns, too."""
    towns = [TOWNS[i % 3] for i in range(N)]
    return {
        "label": [f"guest {i}" for i in range(N)],
        "home_town": towns,
        "place": [town.upper() for town in towns],
        "story": [f"once upon a time in {town}, she laughed" for town in towns],
        "short": ["abc"[i % 3] for i in range(N)],
        "letter": [f"{'abc'[i % 3]}-{i}" for i in range(N)],
        "age": [20 + i for i in range(N)],
        "age_again": [20 + i for i in range(N)],
        "score": [i / 7 for i in range(N)],
        "path": [f"{town}/{i:03d}.png" for i, town in enumerate(towns)],
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of these people, with bookmarks that speak of the towns, and a manifest that does."""
    origin = {
        "source": "people of Timbuktu",
        "source_folder": "/home/secret/people",
        "skipped": [{"path": "Timbuktu/broken.png", "why": "cut"}],
        "zero_shot": {"classes": TOWNS},
    }
    out = tmp_path_factory.mktemp("people") / "run"
    export_small(out, "people", n=N, columns=people(), tile_px=8, origin=origin)
    bookmarks = {
        "By home town": {"selectedColorOptionName": "home_town"},
        "timbuktu alone": {"filteredPoints": [1, 4, 7], "selectedPoints": [0]},
        "named by town": {
            "selectedLabelOption": "home_town",
            "customSelectedSearchByMetadataOption": "home_town",
            "customXLeftText": "Timbuktu",
        },
        "In label's colours": {"selectedColorOptionName": "label"},
        "plain": {"projector_export": {"select": "home_town == Timbuktu"}},
    }
    add_bookmarks(out, "people", bookmarks)
    return out


def found_in(contents: dict[str, bytes], text: str) -> list[str]:
    """Return the files that hold a text, as UTF-8 or escaped in JSON, in any case."""
    forms = {form.casefold() for form in (text, json.dumps(text)[1:-1])}
    return [
        name
        for name, content in contents.items()
        if any(form in content.decode("utf-8", "replace").casefold() for form in forms)
        and name not in ("viewer", "projector_binary.js")
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_redacted_column_is_nowhere(run: Path, tmp_path: Path, kind: Kind) -> None:
    """Name and values: in metadata, parquet, manifest, skipped inputs, bookmarks, config."""
    target = tmp_path / f"bundle.{kind}"
    share_run(run, target, kind=kind)
    before = everything_in(target)
    for text in ("home_town", *TOWNS):
        assert found_in(before, text), f"{text} is to be found where nothing is redacted"
    redaction = Redaction(("home_town",))
    shared = share_run(run, target, kind=kind, redaction=redaction, force=True)
    contents = everything_in(target)
    for text in ("home_town", "home town", *TOWNS, "secret"):
        assert found_in(contents, text) == [], text
    (one,) = shared.embeddings
    assert one.left_out == {
        "home_town": "asked for",
        "place": "repeats home_town",
        "story": "tells what was left out",
        "path": "tells what was left out",
    }
    assert {"label", "short", "age", "score", "cluster", "anomaly_kind"} <= set(one.columns)
    assert one.titles[3:] == ("View 4", "View 5", "View 6", "In label's colours", "View 8")


def test_views_fall_back_and_keep_their_points(run: Path) -> None:
    """Coloured or labelled by a column that went: others take its place, layouts stay."""
    before = {s["label"]: s for s in open_export(run, "people").states}
    (one,) = collect(run, redaction=Redaction(("home_town",)))
    colored, alone, named, _, plain = one.states[3:]
    assert colored["selectedColorOptionName"] == "cluster"
    assert alone["filteredPoints"] == [1, 4, 7]
    assert alone["projections"] == before["timbuktu alone"]["projections"]
    assert named["selectedLabelOption"] == "label"
    assert named["customXLeftText"] == named["customXRightText"] == ""
    assert "projector_export" not in plain
    (one,) = collect(run, redaction=Redaction(("home_town", "cluster", "anomaly_kind")))
    assert one.states[3]["selectedColorOptionName"] == NO_COLOR_OPTION
    assert one.left_out["cluster_distance"] == "made from cluster"
    (one,) = collect(run)
    assert one.states[3]["selectedColorOptionName"] == "home_town"


@pytest.mark.parametrize("kind", KINDS)
def test_redacted_labels_are_numbered(run: Path, tmp_path: Path, kind: Kind) -> None:
    """Redacting `label` makes labels `row 0`...; the nearest point's label goes with them."""
    target = tmp_path / f"bundle.{kind}"
    shared = share_run(run, target, kind=kind, redaction=Redaction(("label",)))
    assert found_in(everything_in(target), "guest ") == []
    (one,) = shared.embeddings
    assert one.metadata is not None
    lines = one.metadata.decode().split("\n")
    assert [line.split("\t")[0] for line in lines[:3]] == ["label", "row 0", "row 1"]
    assert {"label", "nearest", "cluster_name"} <= set(one.left_out)
    assert not {"nearest", "cluster_name"} & set(one.columns)
    (state,) = [state for state in one.states if state["label"] == "View 7"]
    assert state["selectedColorOptionName"] == "cluster"


def test_short_values_and_numbers_are_known_by_their_rows(run: Path) -> None:
    """`a` stands in many words; a column goes when most rows name their own."""
    (one,) = collect(run, redaction=Redaction(("short",)))
    assert one.left_out == {"short": "asked for", "letter": "tells short"}
    (one,) = collect(run, redaction=Redaction(("age",)))
    assert one.left_out == {"age": "asked for", "age_again": "repeats age"}


def test_the_packed_table_has_other_columns_as_they_were(run: Path) -> None:
    """points.parquet is written anew, at full precision, without the columns."""
    (one,) = collect(run, redaction=Redaction(("home_town",)))
    table = pl.read_parquet(io.BytesIO(one.own_files["points.parquet"]))
    before = open_export(run, "people").table
    kept = [name for name in before.columns if name not in one.left_out]
    assert table.columns == kept
    assert table.equals(before.select(kept))
    assert set(one.own_files) == {"points.parquet"}
    assert one.manifest is not None
    assert one.manifest["points"] == N
    assert not {"source", "source_folder", "skipped", "zero_shot"} & set(one.manifest)


@pytest.mark.parametrize("kind", KINDS)
def test_no_paths_leaves_paths_out(run: Path, tmp_path: Path, kind: Kind) -> None:
    """Columns of paths, inputs that were skipped, and where things lay on this machine."""
    target = tmp_path / f"bundle.{kind}"
    shared = share_run(run, target, kind=kind)
    assert "people/metadata.tsv (path)" in shared.path_files
    named = {"people/points.parquet", "people/skipped.tsv", "people/manifest.json"}
    assert (named <= set(shared.path_files)) == (kind == "zip")
    shared = share_run(run, target, kind=kind, redaction=Redaction(paths=True), force=True)
    contents = everything_in(target)
    for text in ("007.png", "broken.png", "/home/secret", "skipped.tsv"):
        assert found_in(contents, text) == [], text
    assert shared.embeddings[0].left_out == {"path": "holds paths"}
    assert "home_town" in shared.embeddings[0].columns
    assert shared.path_files == ()


@pytest.mark.parametrize(
    ("column", "values", "is_path"),
    [
        ("image", ["a", "b"], True),
        ("user_file", ["a", "b"], True),
        ("where", ["/home/me/a", "x"], True),
        ("where", ["C:\\me\\a.png", "x"], True),
        ("where", ["a/b.png", "c/d.png"], True),
        ("ratio", ["1/2", "3/4"], False),
        ("text", ["this and/or that", "/ alone"], False),
    ],
)
def test_paths_are_known_by_name_or_by_what_is_there(
    tmp_path: Path, column: str, values: list[str], is_path: bool
) -> None:
    """Absolute ones anywhere, relative ones in most rows."""
    columns = {"label": [f"item {i}" for i in range(10)], column: values * 5}
    out = export_small(tmp_path / "run", n=10, columns=columns)
    (one,) = collect(out, redaction=Redaction(paths=True))
    assert (column in one.left_out) == is_path
    assert set(PATH_COLUMNS) <= PATH_NAMES


def test_labels_that_are_paths_are_cut_and_told(tmp_path: Path) -> None:
    """A label that is itself the path keeps its file name; a note says so."""
    paths = [f"a/b/{i}.png" for i in range(10)]
    out = export_small(tmp_path / "run", n=10, columns={"label": paths, "path": paths})
    (one,) = collect(out, redaction=Redaction(paths=True))
    assert set(one.left_out) == {"label", "path", "nearest", "cluster_name"}
    assert one.metadata is not None
    assert b"a/b" not in one.metadata
    assert one.metadata.split(b"\n")[1].startswith(b"0.png\t")
    assert "the labels of 'small' are file names" in one.notes[0]
    names = [path.rsplit("/", 1)[1] for path in paths]
    export_small(out, "names", n=10, columns={"label": names, "path": paths})
    (one,) = collect(out, names=["names"], redaction=Redaction(paths=True))
    assert set(one.left_out) == {"path"}
    assert "leave them out with --redact label" in one.notes[0]
    (one,) = collect(out, names=["names"], redaction=Redaction(("label",), paths=True))
    assert one.notes == ()


@pytest.mark.parametrize("kind", KINDS)
def test_no_sprite_leaves_the_thumbnails_out(run: Path, tmp_path: Path, kind: Kind) -> None:
    """Neither the picture nor its place in a config is shared."""
    target = tmp_path / f"bundle.{kind}"
    with_sprite = share_run(run, target, kind=kind)
    assert with_sprite.embeddings[0].tile_px == (8, 8)
    shared = share_run(run, target, kind=kind, redaction=Redaction(sprite=True), force=True)
    assert shared.embeddings[0].sprite is None
    contents = everything_in(target)
    names = ("page",) if kind == "html" else ("projector_config.json",)
    for name in contents:
        assert "sprite" not in Path(name).name, name
        if name.endswith((*names, ".pbtxt", "manifest.json")):
            assert b'"sprite"' not in contents[name]
            assert b"sprite {" not in contents[name]


def test_an_unknown_column_is_told(run: Path) -> None:
    """Nothing is shared when a redaction cannot be done."""
    with pytest.raises(OptionError, match=r"no column 'town'; it has: label, home_town, place"):
        collect(run, redaction=Redaction(("town",)))


def test_columns_of_other_programs_embeddings_go_too(run: Path, tmp_path: Path) -> None:
    """A run's other embeddings are shared as TensorBoard serves them, without what was redacted."""
    out = tmp_path / "run"
    export_small(out, "ours", n=10, columns={"label": ["x y"] * 10, "town": ["Ōsaka"] * 10})
    theirs = out / "theirs"
    theirs.mkdir()
    rows = [f"{i}\tŌSAKA\tcame from Ōsaka\t{i / 4}" for i in range(5)]
    (theirs / "m.tsv").write_text("\n".join(["id\ttown\tnote\tx", *rows]) + "\n", encoding="utf-8")
    (theirs / "plain.tsv").write_text("\n".join("ab cd e".split()) + "\n", encoding="utf-8")
    vectors = np.arange(20, dtype=np.float32).reshape(5, 4)
    np.savetxt(theirs / "t.tsv", vectors, delimiter="\t")
    np.savetxt(theirs / "u.tsv", vectors[:3], delimiter="\t")
    config = out / "projector_config.pbtxt"
    entry = 'embeddings {{ tensor_name: "{}" tensor_path: "theirs/{}" metadata_path: "theirs/{}" }}'
    text = config.read_text(encoding="utf-8")
    text += entry.format("their tensor", "t.tsv", "m.tsv") + entry.format("u", "u.tsv", "plain.tsv")
    config.write_text(text, encoding="utf-8")
    ours, other, plain = collect(out)
    assert other.metadata == (theirs / "m.tsv").read_bytes()
    assert other.columns == ("id", "town", "note", "x")
    assert np.frombuffer(other.read_tensor(), np.float32).reshape(5, 4).tolist() == vectors.tolist()
    assert plain.columns == ("label",)
    ours, other, plain = collect(out, redaction=Redaction(("town",)))
    assert other.metadata == b"id\tx\n" + b"".join(f"{i}\t{i / 4}\n".encode() for i in range(5))
    assert plain.metadata == b"ab\ncd\ne\n"
    assert ours.left_out == {"town": "asked for"}
    share_run(out, tmp_path / "all.zip", kind="zip", redaction=Redaction(("town",)))
    contents = everything_in(tmp_path / "all.zip")
    assert found_in(contents, "Ōsaka") == found_in(contents, "town") == []
    names = [e["tensorName"] for e in json.loads(PluginReader(out).get("/info"))["embeddings"]]
    assert names == ["ours", "their tensor", "u"]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([f"{100 + i}-29-6{i:03d}" for i in range(10)], "SSN {} ok"),
        ([51000.5 + i for i in range(10)], "earns {} a year"),
        ([10203040 + i for i in range(10)], "memo {}"),
        ([1990 + i for i in range(10)], "born {}"),
        (["A+", "B-"] * 5, "grade {}, fair"),
    ],
)
@pytest.mark.parametrize("every", [1, 2, 10])
def test_values_with_digits_and_signs_are_known(
    tmp_path: Path, values: list[Any], text: str, every: int
) -> None:
    """One row that names its own value tells it; titles do as well, and our numbers stay."""
    notes = [text.format(v) if i % every == 0 else "nothing" for i, v in enumerate(values)]
    columns = {"label": [f"item {i}" for i in range(10)], "secret": values, "note": notes}
    out = export_small(tmp_path / "run", n=10, columns=columns)
    add_bookmarks(out, "small", {f"cluster_00: {values[0]} (100 %)": {}, "harmless": {}})
    (one,) = collect(out, redaction=Redaction(("secret",)))
    assert set(one.left_out) == {"secret", "note"}
    assert one.titles[-1] == "harmless"
    assert one.titles[-2] == f"View {len(one.titles) - 1}"


def test_floats_are_known_as_the_viewer_shows_them(tmp_path: Path) -> None:
    """1234.56789012 is 1234.568 in metadata.tsv."""
    values = [1234.56789012 + i for i in range(10)]
    columns = {"label": ["x y"] * 10, "pay": values, "note": ["gets 1234.568"] + ["none"] * 9}
    out = export_small(tmp_path / "run", n=10, columns=columns)
    (one,) = collect(out, redaction=Redaction(("pay",)))
    assert set(one.left_out) == {"pay", "note"}


@pytest.mark.parametrize(
    ("title", "is_path"),
    [
        ("cluster_00: /home/mia/secret/a56.png", True),
        ("cluster_00: secret/a56.png (10 %)", True),
        ("see C:\\mia\\a", True),
        ("from ~/pictures", True),
        ("this and/or that, 50 / 50", False),
        ("<b>x</b></i>", False),
    ],
)
def test_titles_that_hold_paths_are_told_and_renamed(
    tmp_path: Path, title: str, is_path: bool
) -> None:
    """Anywhere in the title."""
    out = export_small(tmp_path / "run", n=10)
    add_bookmarks(out, "small", {title: {}})
    shared = share_run(out, tmp_path / "a.zip", kind="zip")
    assert ("small/bookmarks.json" in shared.path_files) == is_path
    no_paths = Redaction(paths=True)
    shared = share_run(out, tmp_path / "b.zip", kind="zip", redaction=no_paths)
    assert (title in shared.embeddings[0].titles) != is_path
    assert "small/bookmarks.json" not in shared.path_files


def test_cluster_names_with_paths_go(tmp_path: Path) -> None:
    """Relative or absolute, and wherever they stand in the text."""
    labels = [f"{i} of a/b.png (x)" for i in range(10)]
    notes = ["", "see /home/mia/x", *[""] * 8]
    columns = {"label": labels, "note": notes}
    out = export_small(tmp_path / "run", n=10, columns=columns)
    (one,) = collect(out, redaction=Redaction(paths=True))
    assert {"note", "nearest", "cluster_name"} <= set(one.left_out)


def test_files_of_descriptions_are_never_shared(tmp_path: Path) -> None:
    """A layout's file and `rows FILE` lie on this machine; the rest of a description stays."""
    out = export_small(tmp_path / "run", n=10)
    described = {
        "layout": "/home/mia/at.csv", "select": "rows /home/mia/r.txt", "isolate": 'rows"r.txt"',
        "color_by": "cluster",
    }  # fmt: skip
    add_bookmarks(out, "small", {"mine": {"projector_export": described}})
    (one,) = collect(out)
    assert one.states[-1]["projector_export"] == {"color_by": "cluster"}
    assert one.states[0] == open_export(out, "small").states[0]


def test_descriptions_stay_that_tell_nothing(run: Path, tmp_path: Path) -> None:
    """Others go with their titles, and views chosen by what went are told; unknown keys go."""
    out = export_small(tmp_path / "run", n=60, columns=people())
    told = {
        "rows": "rows /mia/r.txt", "both": "rows r.txt and home_town == Timbuktu",
        "good": "top 5 by age", "by column": "home_town == Timbuktu", "by word": "label == Timbuktu"
    }  # fmt: skip
    bookmarks = {
        title: {"projector_export": {"select": select}, "extra": "Timbuktu"}
        for title, select in told.items()
    }
    add_bookmarks(out, "small", bookmarks)
    (one,) = collect(out, redaction=Redaction(("home_town",)))
    good, column, word = one.states[-3:]
    before = open_export(out, "small").states
    assert good["label"] == "good"
    assert good["projector_export"] == {"select": "top 5 by age"}
    assert one.states[0] == before[0], "all of the viewer's own keys stay"
    n = len(before)
    assert [column["label"], word["label"]] == [f"View {n - 1}", f"View {n}"]
    assert [state["label"] for state in one.states[-5:-3]] == ["rows", f"View {n - 3}"]
    assert b"r.txt" not in (one.bookmarks or b"")
    assert not {"projector_export", "extra"} & (set(column) | set(word))
    assert "extra" not in good
    listed = f"View {n - 3}, View {n - 1}, View {n}"
    assert f"3 views were chosen by what is left out ({listed})" in one.notes[0]


def test_names_that_tell_a_value(tmp_path: Path) -> None:
    """A column of the value's name goes, numbers too; a run's or embedding's name is noted."""
    people = ["Alice", "New York", "Bo"] * 3 + ["Bo"]
    columns = {
        "label": ["x y"] * 10,
        "person": people,
        "is_alice": [1, 0] * 5,
        "new_york": [0, 1] * 5,
        "bo": [0, 1] * 5,
        "about": [0, 1] * 5,
    }
    out = export_small(tmp_path / "alice_run", "of_alice", n=10, columns=columns)
    (one,) = collect(out, redaction=Redaction(("person",)))
    assert set(one.left_out) == {"person", "is_alice", "new_york", "bo"}
    assert any("embedding 'of_alice' tells" in note for note in one.notes)
    assert any("run, 'alice_run', tells" in note for note in one.notes)
