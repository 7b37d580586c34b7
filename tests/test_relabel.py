"""Edits made in the viewer reach the table and the run, and nothing else changes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from projector_export import Points, Settings, export_points, relabel
from projector_export.encoding.zero_shot import ZeroShot, add_predictions
from projector_export.errors import DataError, ReadBackError
from projector_export.projector.exports import Export, open_export
from projector_export.projector.read_back import PluginReader
from projector_export.relabel import apply_relabeling, plan_relabeling

N = 60
QUICK = Settings(umap_dims=(), clusters=None, anomalies=False)
Edits = dict[tuple[int, str], str]


def vectors(n: int = N, dims: int = 6, seed: int = 0) -> np.ndarray:
    """Random points."""
    return np.random.default_rng(seed).standard_normal((n, dims)).astype(np.float32)


def exported(out: Path, columns: dict[str, Any], *, settings: Settings = QUICK) -> Export:
    """Export random points with these columns."""
    frame = pl.DataFrame(columns, strict=False)
    export_points(Points(vectors(frame.height), frame, name="e"), out, settings=settings)
    return open_export(out)


def download(
    export: Export, edits: Edits, folder: Path, *, add: dict[str, Any] | None = None
) -> Path:
    """Write metadata-edited.tsv with some cells changed, by row and column."""
    text = export.read("metadata.tsv").decode("utf-8").removesuffix("\n")
    lines = [line.split("\t") for line in text.split("\n")]
    if len(lines[0]) == 1:
        lines.insert(0, ["label"])
    header = list(lines[0])
    for (row, column), cell in edits.items():
        lines[row + 1][header.index(column)] = cell
    for name, cells in (add or {}).items():
        for line, cell in zip(lines, [name, *cells], strict=True):
            line.append(cell)
    file = folder / "metadata-edited.tsv"
    file.write_text("\n".join("\t".join(line) for line in lines), encoding="utf-8")
    return file


def test_only_the_edited_cells_change(tmp_path: Path) -> None:
    """points.parquet, metadata.tsv and the manifest tell the new values; all else stays."""
    columns = {
        "label": [f"l{i % 5}" for i in range(N)],
        "id": [f"{i:03d}" for i in range(N)],
        "x": [None if i == 7 else 1e-7 * i for i in range(N)],
        "n": pl.Series(range(N), dtype=pl.UInt8),
    }
    old = exported(tmp_path / "run", columns, settings=Settings(umap_dims=(2,), clusters=3))
    edits = {(3, "label"): "新しい", (4, "label"): "新しい", (7, "x"): "2.5", (0, "n"): "9"}
    plan = plan_relabeling(old, download(old, edits, tmp_path))
    assert plan.cells == {"label": 2, "x": 1, "n": 1}
    assert [(c.column, c.row, c.before, c.after) for c in plan.changes] == [
        ("label", 3, "l3", "新しい"), ("label", 4, "l4", "新しい"),
        ("x", 7, "", "2.5"), ("n", 0, "0", "9"),
    ]  # fmt: skip
    assert open_export(tmp_path / "run").read("points.parquet") == old.read("points.parquet")
    assert apply_relabeling(plan) == []
    new = open_export(tmp_path / "run")
    followed = ["nearest", "cluster_name"]
    assert_frame_equal(
        new.table.drop("label", "x", "n", *followed, strict=False),
        old.table.drop("label", "x", "n", *followed, strict=False),
        check_exact=True,
    )
    assert new.table["label"].to_list()[:6] == ["l0", "l1", "l2", "新しい", "新しい", "l0"]
    assert new.table.schema == old.table.schema
    assert new.table["x"].to_list()[6:9] == [old.table["x"][6], 2.5, old.table["x"][8]]
    assert new.table["n"].to_list()[:2] == [9, 1]
    for file in ("tensor.bytes", "bookmarks.json"):
        assert new.read(file) == old.read(file)
    lines = PluginReader(tmp_path / "run").get("/metadata", "e").decode().split("\n")
    assert lines[4].split("\t")[:2] == ["新しい", "003\u2060"]
    manifest = json.loads(new.read("manifest.json"))
    (edit,) = manifest["edits"]
    assert edit["cells"] == {"label": 2, "x": 1, "n": 1}
    assert edit["date"].startswith("20")
    assert {k: v for k, v in manifest.items() if k not in ("edits", "files")} == {
        k: v for k, v in old.manifest.items() if k != "files"
    }


def test_nothing_edited_changes_nothing(tmp_path: Path) -> None:
    """A download as it came says what the run says."""
    export = exported(tmp_path, {"label": ["007", "", "nan", "a\tb", "長" * 600, None] * 10})
    plan = plan_relabeling(export, download(export, {}, tmp_path))
    assert plan.is_empty
    assert plan.table.equals(export.table)


def test_a_single_column_is_relabeled(tmp_path: Path) -> None:
    """metadata.tsv of one column has no header, the download has."""
    export = exported(tmp_path, {"label": ["a", "b"] * 30})
    columns = export.table.select("label", "source_row")
    plain = columns.drop("source_row")
    (export.folder / "metadata.tsv").write_text("".join(f"{x}\n" for x in plain["label"]))
    columns.write_parquet(export.folder / "points.parquet")
    export = open_export(tmp_path)
    plan = plan_relabeling(export, download(export, {(1, "label"): "c"}, tmp_path))
    apply_relabeling(plan)
    assert open_export(tmp_path).table["label"].to_list()[:3] == ["a", "c", "a"]
    assert PluginReader(tmp_path).get("/metadata", "e").startswith(b"a\nc\na\n")


def test_rows_that_are_not_shown_keep_their_values(tmp_path: Path) -> None:
    """The whole table is kept: the thinned-out rows too, and which row is whose."""
    columns = {"label": [f"item {i}" for i in range(N)], "n": list(range(N))}
    settings = Settings(umap_dims=(), clusters=None, anomalies=False, max_points=20)
    old = exported(tmp_path, columns, settings=settings)
    third = old.columns["source_row"][2]
    plan = plan_relabeling(old, download(old, {(2, "n"): "0.5", (2, "label"): "x"}, tmp_path))
    assert [c.row for c in plan.changes] == [third, third]
    assert plan.notes == [
        "column 'n' was Int64 and becomes Float64",
        "these still tell the old labels: `nearest` of the 40 points that the viewer does not have",
    ]
    apply_relabeling(plan)
    table = open_export(tmp_path).table
    assert table.height == N
    by_row = dict(table.select("source_row", "n").iter_rows())
    assert by_row == {i: 0.5 if i == third else float(i) for i in range(N)}
    assert table["shown"].sum() == 20


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("kind", ["plain", "copies", "close"])
def test_nearest_is_what_a_new_export_would_say(tmp_path: Path, metric: str, kind: str) -> None:
    """`nearest` tells the new label of the nearest other point, of equal points too."""
    points = vectors(300, 16)
    if kind == "copies":
        points[70:140] = points[140:210] = points[:70]  # three of each, labelled alike
    if kind == "close":
        points = points * np.float32(1e-3) + 5
    labels = [f"l{i % 7}" for i in range(300)]
    rows = np.random.default_rng(1).choice(300, 40, replace=False).tolist()
    edited = ["new" if i in rows else label for i, label in enumerate(labels)]
    settings = Settings(umap_dims=(), clusters=None, anomalies=False, metric=metric)  # type: ignore[arg-type]
    for run, texts in (("old", labels), ("new", edited)):
        frame = pl.DataFrame({"label": texts})
        export_points(Points(points, frame, name="e"), tmp_path / run, settings=settings)
    old = open_export(tmp_path / "old")
    plan = plan_relabeling(old, download(old, {(r, "label"): "new" for r in rows}, tmp_path))
    meant = open_export(tmp_path / "new").table["nearest"]
    assert plan.table["nearest"].to_list() == meant.to_list()
    assert plan.followed == {"nearest": int((meant != old.table["nearest"]).sum())}
    assert plan.notes == []


def test_nearest_of_components_is_left_and_said(tmp_path: Path) -> None:
    """Where the viewer has principal components only, the output says which column is old."""
    settings = Settings(umap_dims=(), clusters=2, anomalies=False, view_dims=2)
    export = exported(tmp_path, {"label": ["a", "b"] * 30}, settings=settings)
    plan = plan_relabeling(export, download(export, {(0, "label"): "c"}, tmp_path))
    assert plan.table["nearest"].equals(export.table["nearest"])
    assert "`nearest`, since the viewer has principal components only" in plan.notes[0]


class Axes:
    """Class number c is the c-th axis."""

    logit_scale = 10.0

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        rows = [["one", "two", "three"].index(text) for text in texts]
        return np.eye(3, dtype=np.float32)[rows]


def predicted(labels: Sequence[str | None]) -> Points:
    """Points on three axes with predictions, as an encoder of images makes them."""
    places = np.eye(3, dtype=np.float32)[np.arange(len(labels)) % 3]
    columns = pl.DataFrame(
        {
            "label": labels,
            "kind": ["text" if i == 5 else "image" for i in range(len(labels))],
            "known_normal": [i == 6 for i in range(len(labels))],
        },
        schema_overrides={"label": pl.String},
    )
    points = Points(places, columns, name="e", origin={"encoder": {"encoder": "axes"}})
    return add_predictions(points, Axes(), ZeroShot(["one", "two", "three"], ["{}"]))


def test_agrees_is_what_a_new_export_would_say(tmp_path: Path) -> None:
    """`agrees` and the manifest's accuracy and confusion follow the labels, by the same rule."""
    labels = ["one", "TWO", "three", "elsewhere", None, "three", "one", "two", "one"]
    edited = ["Two", "TWO", "nowhere", "ONE", None, "two", "three", "two", "one"]
    for run, texts in (("old", labels), ("new", edited)):
        export_points(predicted(texts), tmp_path / run, settings=QUICK)
    old, new = open_export(tmp_path / "old"), open_export(tmp_path / "new")
    edits = {(i, "label"): str(edited[i]) for i in (0, 2, 3, 5, 6)}
    plan = plan_relabeling(old, download(old, edits, tmp_path))
    apply_relabeling(plan)
    after = open_export(tmp_path / "old")
    assert old.table["agrees"].to_list() == [
        True, True, True, None, None, None, None, True, False
    ]  # fmt: skip
    assert after.table["agrees"].to_list() == [
        False, True, None, True, None, None, None, True, False
    ]  # fmt: skip
    assert_frame_equal(after.table.drop("nearest"), new.table.drop("nearest"), check_exact=True)
    assert after.manifest["zero_shot"] == new.manifest["zero_shot"]
    assert after.manifest["zero_shot"]["accuracy"] == 0.6
    assert plan.followed["agrees"] == 3


def test_accuracy_goes_with_the_last_label_that_is_a_class(tmp_path: Path) -> None:
    """Of no labels there is none."""
    export_points(predicted(["one", "x", "y", "z"]), tmp_path, settings=QUICK)
    old = open_export(tmp_path)
    apply_relabeling(plan_relabeling(old, download(old, {(0, "label"): "w"}, tmp_path)))
    after = open_export(tmp_path)
    assert after.table["agrees"].to_list() == [None] * 4
    assert set(after.manifest["zero_shot"]) == {"classes", "prompts"}


def test_a_page_that_was_not_loaded_again_brings_no_old_facts(tmp_path: Path) -> None:
    """Columns made from labels are never taken over: a second download has them as they were."""
    export_points(predicted(["one", "two", "three"] * 4), tmp_path, settings=QUICK)
    first = open_export(tmp_path)
    stale = download(first, {(0, "label"): "two", (1, "label"): "one"}, tmp_path)
    stale = stale.rename(tmp_path / "second.tsv")
    apply_relabeling(plan_relabeling(first, download(first, {(0, "label"): "two"}, tmp_path)))
    second = open_export(tmp_path)
    assert second.table["agrees"][0] is False
    plan = plan_relabeling(second, stale)
    assert plan.cells == {"label": 1}
    assert plan.table["agrees"].to_list()[:3] == [False, False, True]
    assert "1 cells of 'agrees' are left: it is made from the labels" in plan.notes
    # A column of the user's own that is called so is no such column.
    own = exported(tmp_path / "own", {"label": ["a", "b"], "agrees": [True, True]})
    plan = plan_relabeling(own, download(own, {(0, "agrees"): "false"}, tmp_path))
    assert plan.cells == {"agrees": 1}


def test_new_columns_are_added_behind_the_viewer_s(tmp_path: Path) -> None:
    """Accepted as text or numbers; the viewer gets them too."""
    export = exported(tmp_path, {"label": ["a", "b"] * 3})
    add = {"checked": ["yes", "", "no", "", "", "<b>"], "score": ["1", "2.5", "", "", "", "0"]}
    plan = plan_relabeling(export, download(export, {}, tmp_path, add=add))
    assert (plan.cells, plan.added) == ({}, ["checked", "score"])
    apply_relabeling(plan)
    after = open_export(tmp_path)
    assert after.table.columns[-3:] == ["checked", "score", "source_row"]
    assert after.table["checked"].to_list() == ["yes", None, "no", None, None, "<b>"]
    assert after.table["score"].to_list() == [1, 2.5, None, None, None, 0]
    assert after.table.drop("checked", "score").equals(export.table)
    lines = after.read("metadata.tsv").decode().split("\n")
    assert lines[2].endswith("\t(empty)\t2.5")
    assert after.manifest["edits"][0]["added"] == ["checked", "score"]


@pytest.mark.parametrize("name", ["anomaly", " cluster_name", "source_row", "shown", "kind", ""])
def test_new_columns_may_not_have_our_names(tmp_path: Path, name: str) -> None:
    """Not clashing with ours: a clear error, and nothing changed."""
    export = exported(tmp_path, {"label": ["a", "b"]})
    before = {path.name: path.read_bytes() for path in export.folder.iterdir()}
    with pytest.raises(DataError, match="a name that this program uses or that is taken"):
        plan_relabeling(export, download(export, {}, tmp_path, add={name: ["1", "2"]}))
    assert {path.name: path.read_bytes() for path in export.folder.iterdir()} == before


def test_cluster_names_follow_the_labels(tmp_path: Path) -> None:
    """`cluster_name` is the label that most members have: the corrected one."""
    columns = {"label": ["a" if i % 2 else "b" for i in range(N)]}
    spread = vectors() / 9 + 9 * np.eye(6, dtype=np.float32)[np.arange(N) % 2]
    settings = Settings(umap_dims=(), clusters=2, anomalies=False)
    export_points(Points(spread, pl.DataFrame(columns), name="e"), tmp_path, settings=settings)
    old = open_export(tmp_path)
    assert set(old.columns["cluster_name"]) == {"a (100 %)", "b (100 %)"}
    edits = {(i, "label"): "新" for i in range(1, N, 2)}
    plan = plan_relabeling(old, download(old, edits, tmp_path))
    apply_relabeling(plan)
    table = open_export(tmp_path).table
    expected = ["新 (100 %)" if i % 2 else "b (100 %)" for i in range(N)]
    assert table["cluster_name"].to_list() == expected
    assert plan.followed["cluster_name"] == N // 2


def test_a_failure_leaves_the_old_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written whole or not at all."""
    export = exported(tmp_path, {"label": ["a", "b"] * 3})
    plan = plan_relabeling(export, download(export, {(0, "label"): "c"}, tmp_path))
    before = {path.name: path.read_bytes() for path in export.folder.iterdir()}
    monkeypatch.setattr(relabel, "render_metadata", lambda _: b"one line\n")
    with pytest.raises(ReadBackError, match="rows of metadata"):
        apply_relabeling(plan)
    assert {path.name: path.read_bytes() for path in export.folder.iterdir()} == before


def test_edits_are_counted_one_after_the_other(tmp_path: Path) -> None:
    """The manifest keeps each edit, with its date and counts."""
    exported(tmp_path, {"label": ["a", "b"] * 3})
    for text in ("c", "d"):
        export = open_export(tmp_path)
        apply_relabeling(plan_relabeling(export, download(export, {(0, "label"): text}, tmp_path)))
    edits = open_export(tmp_path).manifest["edits"]
    assert [edit["cells"] for edit in edits] == [{"label": 1}, {"label": 1}]
