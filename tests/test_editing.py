"""Bookmarks of an export that exists: added, removed and ordered, and nothing else changes."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from projector_export import Points, Settings, View, add_views, export_points, open_export
from projector_export.cli import main
from projector_export.editing import order_views, remove_views, rewrite_export, viewer_points
from projector_export.errors import NameTakenError, OptionError, OutputError
from projector_export.projector.read_back import PluginReader

N = 90


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with one export, `e`: three clusters, labels that repeat, a number column."""
    rng = np.random.default_rng(0)
    kind = np.arange(N) % 3
    vectors = (np.eye(6)[kind] * 5 + rng.standard_normal((N, 6))).astype(np.float32)
    columns = pl.DataFrame(
        {
            "label": [f"魚{k}" for k in kind],
            "w": np.arange(N) / N,
            "id": [f"id {i}" for i in range(N)],
        }
    )
    export_points(
        Points(vectors, columns, name="e"), tmp_path / "run", settings=Settings(clusters=3)
    )
    return tmp_path / "run"


def _titles(run: Path) -> list[str]:
    return [state["label"] for state in json.loads(PluginReader(run).get("/bookmarks", "e"))]


def _others(run: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (run / "e").iterdir()
        if path.name not in ("bookmarks.json", "manifest.json")
    }


def _call(argv: list[str]) -> int:
    with pytest.raises(SystemExit) as done:
        main(argv)
    return int(done.value.code or 0)


def test_a_view_is_added_behind_the_others(run: Path) -> None:
    """TensorBoard serves the new bookmark; every other file is what it was."""
    before, others = _titles(run), _others(run)
    old = json.loads(PluginReader(run).get("/bookmarks", "e"))
    view = View("Heavy 魚", "umap2d", "w", "id", "top 5 by w", "label == 魚2 or w > 0.9")
    assert add_views(open_export(run), [view]) == []  # more are isolated than any view selects
    assert _titles(run) == [*before, "Heavy 魚"]
    assert _others(run) == others
    *rest, state = json.loads(PluginReader(run).get("/bookmarks", "e"))
    assert rest == old
    isolated = [i for i in range(N) if i % 3 == 2 or i / N > 0.9]
    assert state["filteredPoints"] == isolated
    assert [isolated[i] for i in state["selectedPoints"]] == [89, 88, 87, 86, 85]
    columns = pl.read_parquet(run / "e/points.parquet")
    for place, row in zip(state["projections"], isolated, strict=True):
        assert place["umap-0"] == pytest.approx(columns["umap2d_x"][row], abs=1e-3)
    assert open_export(run).manifest["views"] == _titles(run)


def test_a_view_too_small_for_the_viewer_is_noted(run: Path) -> None:
    """Compared with all bookmarks of the run: 30 points are selected in one of them."""
    (note,) = add_views(open_export(run), [View("few", isolate="w < 0.1")])
    assert note.startswith("view 'few' shows fewer points than 'Most unusual points' selects (30)")
    (note,) = add_views(open_export(run), [View("all", select="w >= 0")])
    assert "than 'all' selects (90)" in note


def test_the_manifest_still_knows_every_file(run: Path) -> None:
    """SHA-256 a file, of the new bookmarks too; nothing is left behind."""
    add_views(open_export(run), [View("new")])
    files = json.loads((run / "e/manifest.json").read_text(encoding="utf-8"))["files"]
    there = {path.name for path in (run / "e").iterdir()} - {"manifest.json"}
    assert set(files) == there
    for name, sha256 in files.items():
        assert hashlib.sha256((run / "e" / name).read_bytes()).hexdigest() == sha256
    assert not list(run.glob(".staging-*"))


def test_views_are_removed_and_ordered(run: Path) -> None:
    """The named first, in that order; the others keep theirs."""
    first, second, third, *rest = _titles(run)
    states = {state["label"]: state for state in open_export(run).states}
    order_views(open_export(run), [third, first])
    assert _titles(run) == [third, first, second, *rest]
    remove_views(open_export(run), [first])
    assert _titles(run) == [third, second, *rest]
    assert {s["label"]: s for s in open_export(run).states} == {
        title: states[title] for title in _titles(run)
    }
    remove_views(open_export(run), _titles(run))
    assert _titles(run) == []
    add_views(open_export(run), [View("again")])
    assert _titles(run) == ["again"]


@pytest.mark.parametrize(
    ("view", "said"),
    [
        (View("UMAP 3D by cluster"), "has a bookmark of this title"),
        (View("v", select="label == 魚9"), "no point has label '魚9'"),
        (View("v", color_by="id"), "90 different texts"),
        (View("v", label_by="source_row"), "is not a column of the viewer"),
    ],
)
def test_a_view_that_cannot_be_made_changes_nothing(run: Path, view: View, said: str) -> None:
    """One clear message; existing exports stay untouched."""
    before = (run / "e/bookmarks.json").read_bytes()
    with pytest.raises(OptionError) as error:
        add_views(open_export(run), [View("good"), view])
    assert said in str(error.value)
    assert (run / "e/bookmarks.json").read_bytes() == before


@pytest.mark.parametrize("change", [remove_views, order_views])
def test_an_unknown_title_changes_nothing(run: Path, change: Any) -> None:
    """What there is, is listed."""
    before = (run / "e/bookmarks.json").read_bytes()
    with pytest.raises(OptionError, match="has no bookmark 'none'; there are 'UMAP 3D by cluster'"):
        change(open_export(run), ["UMAP 3D by cluster", "none"])
    assert (run / "e/bookmarks.json").read_bytes() == before


def test_a_change_by_somebody_else_is_not_lost(run: Path) -> None:
    """Two processes change one export: the second is told, and nothing of the first is lost."""
    mine, theirs = open_export(run), open_export(run)
    add_views(theirs, [View("theirs")])
    with pytest.raises(NameTakenError, match="was changed by another process meanwhile"):
        add_views(mine, [View("mine")])
    assert _titles(run)[-1] == "theirs"
    assert not list(run.glob(".staging-*"))


def test_an_export_whose_writer_was_killed_can_be_changed(run: Path) -> None:
    """The config may still point into the hidden folder; that is the export then."""
    (run / ".staging-killed").mkdir()
    (run / "e").rename(run / ".staging-killed/e")
    (run / ".staging-killed/alive.lock").touch()
    config = run / "projector_config.pbtxt"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace('"e/', '".staging-killed/e/'), encoding="utf-8")
    add_views(open_export(run), [View("new")])
    assert _titles(run)[-1] == "new"
    assert open_export(run).embedding.folder == "e"
    assert not list(run.glob(".staging-*"))


def test_a_bookmark_saved_in_a_browser_stays(run: Path) -> None:
    """States that are not ours are kept as they are."""
    foreign = {**open_export(run).states[0], "label": "State 0", "selectedPoints": [4]}
    del foreign["projector_export"]
    text = json.dumps([*open_export(run).states, foreign], ensure_ascii=False).encode()
    rewrite_export(open_export(run), {"bookmarks.json": text})
    add_views(open_export(run), [View("new")])
    order_views(open_export(run), ["State 0"])
    assert open_export(run).states[0] == foreign


def test_an_export_without_bookmarks_gets_its_first(tmp_path: Path) -> None:
    """`--umap-dims none`: the principal components are a layout too."""
    vectors = np.random.default_rng(0).standard_normal((30, 5))
    settings = Settings(clusters=2, umap_dims=())
    export_points(Points(vectors, name="e"), tmp_path / "run", settings=settings)
    assert _titles(tmp_path / "run") == []
    add_views(open_export(tmp_path / "run"), [View("first")])
    (state,) = open_export(tmp_path / "run").states
    assert state["selectedProjection"] == "pca"


def test_a_layout_from_a_file_follows_thinning(tmp_path: Path) -> None:
    """Rows never slip: a file has a row an input item, the viewer only some of these."""
    rng = np.random.default_rng(0)
    places = np.stack([np.arange(200), -np.arange(200)], axis=1).astype(np.float32)
    np.save(tmp_path / "xy.npy", places)
    points = Points(rng.standard_normal((200, 5)), name="e")
    settings = Settings(clusters=2, max_points=50)
    view = View("mine", "xy.npy", folder=tmp_path)
    export_points(points, tmp_path / "run", settings=settings, views=[view])
    export = open_export(tmp_path / "run")
    add_views(export, [View("later", "xy.npy", folder=tmp_path)])
    rows = export.columns["source_row"].to_list()
    assert len(rows) == 50
    assert rows != list(range(50))
    states = {state["label"]: state for state in open_export(tmp_path / "run").states}
    for title in ("mine", "later"):
        assert [p["umap-0"] for p in states[title]["projections"]] == rows
        assert [p["umap-1"] for p in states[title]["projections"]] == [-row for row in rows]


def test_nearness_is_the_metrics(tmp_path: Path) -> None:
    """`nearest N to LABEL` compares as the analyses did, also where the viewer has components."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((80, 40)).astype(np.float32) * rng.uniform(1, 50, (80, 1))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    nearest = np.argsort(-(unit @ unit[7]), kind="stable")[:6]
    columns = pl.DataFrame({"label": [f"item {i}" for i in range(80)]})
    view = View("near", "pca", "none", select='nearest 5 to "item 7"')
    for name, settings in {
        "all": Settings(clusters=2, umap_dims=()),
        "reduced": Settings(clusters=2, umap_dims=(), view_dims=39),
        "tsv": Settings(clusters=2, umap_dims=(), tensor_format="tsv"),
    }.items():
        out = tmp_path / name
        export_points(Points(vectors, columns, name="e"), out, settings=settings, views=[view])
        export = open_export(out)
        assert export.states[0]["selectedPoints"] == nearest.tolist(), name
        assert viewer_points(export).nearest_rows("item 7", 5).tolist() == nearest.tolist(), name


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_run_that_cannot_be_written_to_is_told(run: Path) -> None:
    """The disk refuses: one message."""
    run.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written to"):
        remove_views(open_export(run), ["UMAP 3D by cluster"])


def test_kill_9_while_views_change_leaves_a_whole_list(run: Path) -> None:
    """A kill at any moment leaves the old bookmarks or the new ones."""
    before = _titles(run)
    command = [sys.executable, "-m", "projector_export", "views", str(run), "add"]
    killed = 0
    for number in range(8):
        count = len(_titles(run))
        process = subprocess.Popen(
            [*command, f"new {number}", "--select", "w > 0.5"], stdout=subprocess.DEVNULL
        )
        while process.poll() is None and not list(run.glob(".staging-*")):
            time.sleep(0.002)
        time.sleep(0.04 * number)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        found = _titles(run)
        assert found[: len(before)] == before
        assert len(found) - count in (0, 1)
        tensor = np.frombuffer(PluginReader(run).get("/tensor", "e"), np.float32)
        assert len(tensor) == N * 6
    assert killed >= 3
    add_views(open_export(run), [View("last")])
    assert not list(run.glob(".staging-*"))


# --- the commands ---------------------------------------------------------------------------------


def test_the_commands_do_the_same(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Views OUT add|list|remove|order."""
    out = str(run)
    argv = ["views", out, "add", "Heavy", "--select", "top 3 by w", "--color-by", "w"]
    assert _call([*argv, "--layout", "umap2d", "--label-by", "id", "--camera", "0,0,4,2"]) == 0
    assert "1 added" in capsys.readouterr().out
    state = open_export(run).states[-1]
    assert (state["label"], state["selectedPoints"]) == ("Heavy", [89, 88, 87])
    assert (state["selectedLabelOption"], state["cameraDef"]["zoom"]) == ("id", 2.0)
    assert _call(["views", out, "order", "Heavy", "--name", "e"]) == 0
    assert _call(["views", out, "remove", "Anomaly score"]) == 0
    capsys.readouterr()
    assert _call(["views", out, "list", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["title"] for line in lines] == _titles(run)
    assert lines[0]["select"] == "top 3 by w"
    assert (lines[0]["selected"], lines[0]["isolated"]) == (3, None)
    assert _call(["views", out, "list"]) == 0
    assert "Heavy\n    layout=umap2d; color_by=w;" in capsys.readouterr().out


def test_views_move_to_another_export(run: Path, tmp_path: Path, capsys: Any) -> None:
    """Views can be kept in a TOML file and applied to another export of the same columns."""
    rng = np.random.default_rng(5)
    columns = pl.DataFrame({"label": ["魚1", "魚2"] * 20, "w": rng.random(40), "id": ["x"] * 40})
    np.save(tmp_path / "v.npy", rng.standard_normal((40, 6)))
    columns.write_csv(tmp_path / "v.csv")
    assert _call(["views", str(run), "add", "Heavy", "--select", "w > 0.5", "--color-by", "w"]) == 0
    capsys.readouterr()
    assert _call(["views", str(run), "list", "--toml"]) == 0
    (tmp_path / "v.toml").write_text(capsys.readouterr().out, encoding="utf-8")
    argv = ["vectors", str(tmp_path / "v.npy"), str(tmp_path / "other"), "--quiet"]
    argv += ["--metadata", str(tmp_path / "v.csv"), "--view", str(tmp_path / "v.toml")]
    assert _call([*argv, "--view", "One more; select=label == 魚2"]) == 0
    states = {state["label"]: state for state in open_export(tmp_path / "other").states}
    heavy = np.flatnonzero(pl.read_csv(tmp_path / "v.csv")["w"].to_numpy() > 0.5)
    assert states["Heavy"]["selectedPoints"] == heavy.tolist()
    assert states["One more"]["selectedPoints"] == list(range(1, 40, 2))
    assert list(states)[: len(_titles(run))] == _titles(run)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["add"], "expected the title of a view, or --from FILE"),
        (["add", "a", "--from", "v.toml"], "one of the two"),
        (["add", "a", "--camera", "1"], "camera is '1'"),
        (["add", "--from", "none.toml"], "none.toml does not exist"),
        (["remove", "none"], "has no bookmark 'none'"),
        (["list", "--name", "x"], "has no embedding 'x'; its exports are: e"),
    ],
)
def test_wrong_use_is_told(run: Path, argv: list[str], said: str, capsys: Any) -> None:
    """Exit 1 with one message."""
    assert _call(["views", str(run), *argv]) == 1
    assert said in capsys.readouterr().err


def test_a_wrong_view_stops_an_export_before_any_work(tmp_path: Path, capsys: Any) -> None:
    """Bad input gets one clear message and leaves nothing."""
    np.save(tmp_path / "v.npy", np.random.default_rng(0).standard_normal((30, 5)))
    argv = ["vectors", str(tmp_path / "v.npy"), str(tmp_path / "run")]
    for view, said in {
        "v; select=colour == red": "there is no column 'colour'",
        "v; select=anomaly > 9": "selects none of 30 points",
        "v; layout=nowhere.npy": "nowhere.npy does not exist",
    }.items():
        assert _call([*argv, "--view", view]) == 1
        assert said in capsys.readouterr().err
    assert _call([*argv, "--view", "same", "--view", "same"]) == 1
    assert "two of this title" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "argv",
    [
        ["--clusters", "none", "--no-anomalies"],
        ["--clusters", "60", "--view", "Mine; select=top 3 by anomaly"],
        ["--clusters", "none", "--view", "Mine; select=top 3 by anomaly"],
        ["--clusters", "none", "--no-anomalies", "--umap-dims", "none"],
    ],
)
def test_what_cannot_be_coloured_stops_no_export(tmp_path: Path, argv: list[str]) -> None:
    """120 different labels, or 60 clusters: nobody asked for a colour, so there is none."""
    np.save(tmp_path / "v.npy", np.random.default_rng(0).standard_normal((120, 8)))
    pl.DataFrame(
        {
            "label": [f"item {i}" for i in range(120)],
            "agrees": [i % 2 == 0 for i in range(120)],
            "predicted_score": ["much"] * 120,
        }
    ).write_parquet(tmp_path / "v.parquet")
    command = ["vectors", str(tmp_path / "v.npy"), str(tmp_path / "run"), "--quiet"]
    assert _call([*command, "--metadata", str(tmp_path / "v.parquet"), *argv]) == 0
    for state in open_export(tmp_path / "run").states:
        assert state["selectedColorOptionName"] not in ("label", "cluster")


def test_cluster_views_show_each_cluster_alone(tmp_path: Path) -> None:
    """One isolated view per cluster with --cluster-views, titled with the cluster's name."""
    kind = np.arange(120) % 3
    vectors = np.eye(6)[kind] * 9 + np.random.default_rng(0).standard_normal((120, 6))
    np.save(tmp_path / "v.npy", vectors)
    pl.DataFrame({"label": [f"魚{k}" for k in kind]}).write_csv(tmp_path / "v.csv")
    argv = ["vectors", str(tmp_path / "v.npy"), str(tmp_path / "run"), "--clusters", "3"]
    argv += ["--metadata", str(tmp_path / "v.csv"), "--cluster-views", "--quiet"]
    assert _call(argv) == 0
    export = open_export(tmp_path / "run")
    alone = [state for state in export.states if state["filteredPoints"]]
    clusters = export.columns["cluster"].to_list()
    assert len(alone) == 3
    for number, state in enumerate(alone):
        rows = [row for row, cluster in enumerate(clusters) if cluster == f"cluster_0{number}"]
        assert state["filteredPoints"] == rows
        (label,) = {export.columns["label"][row] for row in rows}
        assert state["label"] == f"cluster_0{number}: {label} (100 %)"


def test_a_view_of_the_user_takes_the_place_of_a_suggested_one(tmp_path: Path) -> None:
    """Titles are unique; the user's own come first."""
    points = Points(np.random.default_rng(0).standard_normal((40, 5)), name="e")
    view = View("Anomaly score", select="top 2 by anomaly")
    export_points(points, tmp_path / "run", settings=Settings(clusters=2), views=[view])
    states = open_export(tmp_path / "run").states
    assert [state["label"] for state in states].count("Anomaly score") == 1
    assert states[0]["label"] == "Anomaly score"
    assert len(states[0]["selectedPoints"]) == 2
