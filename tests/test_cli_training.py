"""attach, trajectory and compare on the command line: thin, clear, and nothing half done."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from projector_export.cli import main
from projector_export.projector.exports import open_export

N = 40
QUICK = ["--clusters", "3", "--umap-dims", "2", "--no-anomalies"]


def run(argv: Sequence[object]) -> int:
    """Run the command line; return its exit code."""
    with pytest.raises(SystemExit) as done:
        main([str(one) for one in argv])
    return int(done.value.code or 0)


def _vectors(step: int) -> np.ndarray:
    rng = np.random.default_rng(step)
    return (4 * np.eye(4, 6)[np.arange(N) % 4] + rng.standard_normal((N, 6))).astype(np.float32)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Vectors at the steps 1, 2 and 3, their table, and checkpoints of which one is broken."""
    for step in (1, 2, 3):
        np.save(tmp_path / f"v{step}.npy", _vectors(step))
        torch.save({"emb.weight": torch.from_numpy(_vectors(step))}, tmp_path / f"ck_{step}.pt")
    (tmp_path / "ck_2.pt").write_bytes(b"cut off")
    table = pl.DataFrame({"kind": [f"k{i % 4}" for i in range(N)], "id": range(N)})
    table.write_csv(tmp_path / "table.csv")
    return tmp_path


def _attach(base: Path, step: int, *more: str) -> list[object]:
    argv = ["attach", base / "run", base / f"v{step}.npy", "--step", step, *QUICK, *more]
    return [*argv, "--metadata", base / "table.csv", "--label", "kind"]


def test_attach_adds_a_step(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Attach RUN_DIR FILE --step N: what was done, what there is now, and what comes next."""
    assert run(_attach(base, 1, "--name", "h")) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("step 1 of 40 points in ")
    assert out[0].endswith(f" s: {base / 'run/h'}")
    assert out[1:] == [
        "the series has 1 step: 1",
        f"Look at them: projector-export view {base / 'run'}",
    ]
    more = ["--name", "h", "--json", "--seed", "3", "--no-numbers", "--keep", "2"]
    more += ["--view", "Mine; layout=pca; color_by=id"]
    assert run(_attach(base, 2, *more)) == 0
    (line,) = capsys.readouterr().out.splitlines()
    said = json.loads(line)
    assert (said["steps"], said["kept"], said["points"], said["skipped"]) == ([2], [1, 2], N, 0)
    assert "seed 0 there, 3 now" in said["warnings"][0]
    export = open_export(base / "run/h/step_00000002", "h")
    np.testing.assert_array_equal(export.vectors, _vectors(2))
    assert export.columns["label"].to_list() == [f"k{i % 4}" for i in range(N)]
    assert export.states[0]["label"] == "Mine"
    assert run(_attach(base, 3, "--name", "h", "--keep", "2", "--quiet")) == 0
    said_nothing = capsys.readouterr()
    assert (said_nothing.out, said_nothing.err) == ("", "")
    kept = sorted(path.name for path in (base / "run/h").glob("step_*"))
    assert kept == ["step_00000001", "step_00000003"]
    assert len(list((base / "run").glob("*tfevents*"))) == 2  # of the steps with numbers


def test_attach_reads_checkpoints(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Attach RUN_DIR --checkpoints GLOB --tensor NAME: the unreadable are told and counted."""
    argv = ["attach", base / "run", "--checkpoints", base / "ck_*.pt", "--tensor", "emb.weight"]
    argv += [*QUICK, "--metadata", base / "table.csv", "--label", "kind"]
    assert run(argv) == 0
    said = capsys.readouterr()
    assert f"note: skipped {base / 'ck_2.pt'}: " in said.err
    assert "2 steps of 40 points in " in said.out
    assert ", 1 checkpoints skipped: " in said.out
    assert "the series has 2 steps: 1, 3" in said.out
    assert f"trajectory {base / 'run'} --name embedding" in said.out
    export = open_export(base / "run/embedding/step_00000003", "embedding")
    np.testing.assert_array_equal(export.vectors, _vectors(3))
    assert export.columns["label"].to_list() == [f"k{i % 4}" for i in range(N)]
    pattern = ["--step-pattern", r"ck_(\d)", "--json", "--name", "again"]
    assert run([*argv, *pattern]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert (found["steps"], found["skipped"], found["name"]) == ([1, 3], 1, "again")
    assert found["skipped_files"][0]["path"] == str(base / "ck_2.pt")
    assert run([*argv, "--strict"]) == 1
    assert "ck_2.pt cannot be loaded" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "nothing to attach; give FILE and --step, or --checkpoints"),
        (["v1.npy"], "--step is missing; say which step of the training v1.npy is of"),
        (["v1.npy", "--checkpoints", "*.pt"], "both v1.npy and --checkpoints are given"),
        (["--checkpoints", "*.pt"], "--tensor is missing"),
        (["--checkpoints", "*.pt", "--step", "0"], "--step belongs to FILE"),
        (["--checkpoints", "*.pt", "--images", "x"], "--images belongs to FILE"),
        (["v1.npy", "--step", "1", "--tensor", "w"], "--tensor belongs to --checkpoints"),
        (["v1.npy", "--step", "1", "--strict"], "--strict belongs to --checkpoints"),
        (["v1.npy", "--step", "1", "--step-pattern", "(.)"], "--step-pattern belongs to"),
        (["--checkpoints", "x*", "--tensor", "w", "--label", "a"], "--label names a column of"),
        (["v1.npy", "--step", "1", "--name", "a/b"], "name is 'a/b'"),
        (["nix.npy", "--step", "1"], "nix.npy does not exist"),
        (["--checkpoints", "nix*", "--tensor", "w"], "no file matches 'nix*'"),
        (["--checkpoints", "ck_*.pt", "--tensor", "w"], "none of 3 checkpoints can be shown"),
    ],
)
def test_attach_says_what_is_wrong(
    base: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    says: str,
) -> None:
    """One message: got, expected, what to do; exit 1, and nothing is made."""
    monkeypatch.chdir(base)
    assert run(["attach", "run", *argv]) == 1
    said = capsys.readouterr()
    assert says in said.err
    assert said.out == ""
    assert not (base / "run").exists()


def test_there_is_nothing_to_force(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same step twice replaces, so that attach has no --force."""
    assert run([*_attach(base, 1), "--force"]) == 2
    assert "--force" in capsys.readouterr().err


def test_trajectory_of_what_is_there(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Trajectory RUN_DIR: with the settings that the steps were made with."""
    for step in (1, 2):
        assert run(_attach(base, step, "--quiet", "--metric", "euclidean")) == 0
    assert run(["trajectory", base / "run"]) == 0
    folder = base / "run/embedding/trajectory"
    assert capsys.readouterr().out.splitlines() == [
        f"paths of 4 classes through 2 steps: {folder}",
        f"Look at them: projector-export view {base / 'run'}",
    ]
    export = open_export(folder)
    assert export.manifest["settings"]["metric"] == "euclidean"
    expected = [_vectors(step)[k::4].mean(axis=0) for k in range(4) for step in (1, 2)]
    np.testing.assert_allclose(export.vectors, expected, atol=1e-5)
    argv = ["trajectory", base / "run", "--name", "embedding", "--of", "examples", "--json"]
    assert run(argv) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["paths"], said["points"], said["steps"], said["of"]) == (
        40,
        80,
        [1, 2],
        "examples",
    )
    for wrong, says in (
        (["--of", "x"], "--of is 'x'; expected classes or examples"),
        (["--name", "x"], "has no series 'x'; it has embedding"),
    ):
        assert run(["trajectory", base / "run", *wrong]) == 1
        assert says in capsys.readouterr().err
    assert run(["trajectory", base / "run", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_compare_says_what_was_compared(
    base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Compare RUN_A RUN_B [OUT]: OUT is logs/<A>_vs_<B>; the overlap is told, and which step."""
    monkeypatch.chdir(base)
    argv = ["vectors", "v1.npy", "raw", "--metadata", "table.csv", "--label", "kind", *QUICK]
    assert run([*argv, "--quiet"]) == 0
    for step in (2, 3):
        assert run(_attach(base, step, "--quiet", "--name", "h")) == 0
    assert run(["compare", "raw", "run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    out = base / "logs/raw_vs_run_step_3"
    said = open_export(out, "raw").manifest["compared"]
    assert lines[0].endswith(" s: logs/raw_vs_run_step_3")
    assert lines[1:3] == [
        "raw: 'v1' of raw, 6 dimensions",
        "run_step_3: 'h' of run/h/step_00000003, step 3, 6 dimensions",
    ]
    assert lines[3].startswith("neighbours that both agree on: ")
    assert lines[4] == "Look at them: projector-export view logs/raw_vs_run_step_3"
    argv = ["compare", "raw", "run", "out", "--name", "v1", "--name-b", "h", "--by", "id"]
    view = "Mine; layout=pca; color_by=neighbour_overlap"
    assert run([*argv, "--json", "--view", view, "--metric", "euclidean", "--cluster-views"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["out"], found["names"], found["points"]) == ("out", ["raw", "run_step_3"], N)
    assert found["left_out"] == [0, 0]
    export = open_export("out", "run_step_3")
    overlap = export.columns["neighbour_overlap"].to_numpy()
    assert found["median_overlap"] == pytest.approx(np.median(overlap), abs=1e-4)
    assert found["mean_overlap"] == pytest.approx(overlap.mean(), abs=1e-4)
    assert export.states[0]["label"] == "Mine"
    assert export.states[-1]["label"].startswith("cluster_")
    assert export.manifest["settings"]["metric"] == "euclidean"
    assert said["export"] == "'v1' of raw, 6 dimensions"
    assert run(argv) == 1
    assert "give --force to replace it, or another OUT" in capsys.readouterr().err
    assert run([*argv, "--force", "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert run(["compare", "raw", "run", "new", "--metric", "x"]) == 1
    assert "metric is 'x'; expected cosine or euclidean" in capsys.readouterr().err
