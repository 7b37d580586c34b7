"""Each command is a thin layer over the library, and --help and README tell the truth."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import typer.main
from encoding_doubles import write_pictures

from projector_export import errors
from projector_export.cli import app, main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _all_commands(group: Any, above: str = "") -> dict[str, Any]:
    """Every command by its words, those of groups too."""
    found = {}
    for name, command in group.commands.items():
        found[above + name] = command
        if hasattr(command, "commands"):
            found |= _all_commands(command, f"{above}{name} ")
    return found


COMMANDS = _all_commands(typer.main.get_command(app))


def run(argv: list[str]) -> int:
    """Run the command line; return its exit code."""
    with pytest.raises(SystemExit) as done:
        main(argv)
    return int(done.value.code or 0)


def test_vectors_hands_its_options_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One JSON line on stdout; settings as given are in the manifest."""
    np.save(tmp_path / "v.npy", np.random.default_rng(0).standard_normal((80, 6)))
    argv = ["vectors", str(tmp_path / "v.npy"), str(tmp_path / "run"), "--json", "--name", "n"]
    argv += ["--metric", "euclidean", "--clusters", "3", "--umap-dims", "2", "--seed", "7"]
    argv += ["--umap-neighbors", "9", "--umap-min-dist", "0.3", "--max-points", "50"]
    argv += ["--no-anomalies", "--duplicate-angle", "1.5", "--view-dims", "4"]
    argv += ["--tensor-format", "tsv"]
    assert run(argv) == 0
    (line,) = capsys.readouterr().out.splitlines()
    said = json.loads(line)
    assert (said["points"], said["shown"], said["name"]) == (80, 50, "n")
    manifest = json.loads((tmp_path / "run/n/manifest.json").read_text(encoding="utf-8"))
    expected = {
        "metric": "euclidean", "clusters": 3, "umap_dims": [2], "umap_neighbors": 9,
        "umap_min_dist": 0.3, "anomalies": False, "reference_quantile": 0.99,
        "duplicate_angle_deg": 1.5, "max_points": 50, "view_dims": 4, "tensor_format": "tsv",
        "seed": 7, "force": False, "cluster_views": False,
    }  # fmt: skip
    assert manifest["settings"] == expected
    assert manifest["view"]["columns"] == 4
    columns = pl.read_parquet(tmp_path / "run/n/points.parquet").columns
    assert "umap2d_x" in columns
    assert "umap3d_x" not in columns
    assert "anomaly" not in columns


def test_normal_items_fill_the_reference_columns(tmp_path: Path) -> None:
    """--normal FILE: points unlike every known-normal item are named so."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "normal.npy", rng.standard_normal((200, 6)))
    points = rng.standard_normal((50, 6))
    points[11] += 40
    np.save(tmp_path / "v.npy", points)
    argv = ["vectors", str(tmp_path / "v.npy"), str(tmp_path / "run"), "--metric", "euclidean"]
    assert run([*argv, "--normal", str(tmp_path / "normal.npy"), "--quiet"]) == 0
    columns = pl.read_parquet(tmp_path / "run/v/points.parquet")
    assert columns["anomaly_kind"][11] == "unlike_reference"
    assert columns["anomaly_reference"].arg_max() == 11


def test_quiet_prints_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--quiet: nothing but errors."""
    np.save(tmp_path / "v.npy", np.random.default_rng(0).standard_normal((20, 3)))
    assert run(["vectors", str(tmp_path / "v.npy"), str(tmp_path / "run"), "--quiet"]) == 0
    said = capsys.readouterr()
    assert said.out == said.err == ""


def test_readme_names_every_command_and_option() -> None:
    """README is checked against the code: no option missing, none invented."""
    real = {"--help"}
    for name, command in COMMANDS.items():
        group, _, verb = name.partition(" ")
        assert f"projector-export {group}" in README
        assert verb in README
        for parameter in command.params:
            real.update(o for o in (*parameter.opts, *parameter.secondary_opts) if o[:2] == "--")
    own = README
    for others in ("tensorboard --logdir logs", "--load_fast=false", "--reload_multifile=true"):
        own = own.replace(f"`{others}`", "")
    named = set(re.findall(r"--[a-z][a-z-]+", own))
    assert named - real == set()
    undocumented = real - named - {"--help", "--no-force", "--no-quiet"}
    assert undocumented == set()


def test_readme_defaults_are_the_real_ones() -> None:
    """The defaults in README's table are those of --help."""
    parameters = {p.name: p for p in COMMANDS["vectors"].params}
    for names, defaults in re.findall(r"^\| (`--[^|]+) \| (`[^|]+) \|", README, re.MULTILINE):
        options = re.findall(r"--([a-z-]+)", names)
        for option, default in zip(options, re.findall(r"`([^`]+)`", defaults), strict=True):
            assert str(parameters[option.replace("-", "_")].default) == default, option


def test_every_option_has_a_help_text() -> None:
    """--help explains each option."""
    for command in COMMANDS.values():
        assert command.help
        for parameter in command.params:
            assert parameter.help or parameter.name in ("name", "help"), parameter.name


def test_readme_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """README's first Python example runs as it stands."""
    (example, *_) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})
    assert (tmp_path / "logs/mine/mine/tensor.bytes").stat().st_size == 200 * 32 * 4


def test_readme_tree_is_the_real_one() -> None:
    """A stranger finds the room: every module and folder of the package is in README's tree."""
    tree = README.split("## Inside")[1]
    for path in sorted((ROOT / "projector_export").rglob("*.py")):
        if path.stem not in ("__init__", "__main__"):
            assert re.search(rf"\b{path.stem}\b", tree), path


def test_errors_are_all_drawn_in_the_tree() -> None:
    """The error tree in the docstring lists every error with its builtin."""
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.ProjectorExportError):
            assert name in str(errors.__doc__)


def test_a_name_does_not_move_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """OUT is logs/<input's name>, whatever --name; the last lines say what was found."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.csv").write_text("a,b\n1,2\n3,4\n0,0\n5,-6\n", encoding="utf-8")
    assert run(["vectors", "my.csv", "--umap-dims", "2", "--clusters", "2"]) == 0
    said = capsys.readouterr()
    assert "4 points" in said.out
    assert "2 dimensions; 2 clusters; unusual: none; duplicate groups: 0" in said.out
    assert "the vector is 2 columns of my.csv" in said.err
    assert "1 vectors are all zero" in said.err
    assert run(["vectors", "my.csv", "--name", "second", "--quiet"]) == 0
    assert sorted(p.name for p in (tmp_path / "logs/my").glob("*/")) == ["my", "second"]


def test_a_home_that_cannot_be_written_to_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The default cache is a help, not a condition."""
    (tmp_path / "file").write_text("no folder")
    monkeypatch.delenv("PROJECTOR_EXPORT_CACHE")
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / "file" / name))
    write_pictures(tmp_path / "f", 5)
    assert run(["images", str(tmp_path / "f"), str(tmp_path / "run"), "--encoder", "pixels"]) == 0
    assert "note: no cache, since" in capsys.readouterr().err
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / name))
    argv = ["images", str(tmp_path / "f"), str(tmp_path / "run"), "--encoder", "pixels", "--force"]
    assert run([*argv, "--json"]) == 0
    assert run([*argv, "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["encoded"]["from_cache"] == 5
    assert list((tmp_path / "projector-export").glob("*.sqlite"))


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="signals of POSIX")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_view_ends_tensorboard_with_itself(tmp_path: Path, name: str) -> None:
    """However the command ends, TensorBoard does not stay behind."""
    np.save(tmp_path / "v.npy", np.random.default_rng(0).standard_normal((20, 3)))
    assert run(["vectors", str(tmp_path / "v.npy"), str(tmp_path / "run"), "--quiet"]) == 0
    command = [sys.executable, "-u", "-m", "projector_export", "view", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        (port,) = re.findall(r"http://127\.0\.0\.1:(\d+)/#projector", line)
        process.send_signal(getattr(signal, name))
        process.wait(20)
    with pytest.raises(ConnectionError), socket.create_connection(("127.0.0.1", int(port))):
        pass
