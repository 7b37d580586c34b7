"""The house's rules that only the syntax tree can prove."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import projector_export

PACKAGE = Path(projector_export.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
INSIDE = [file for file in FILES if file != PACKAGE / "__init__.py"]

BASE = {"errors", "image_files", "limits", "points", "progress", "settings", "thumbnails"}
STAGES = {"sources", "encoding", "analysis", "projector", "viewing", "models"}
MAY_IMPORT = {
    **dict.fromkeys(BASE, BASE),
    **{stage: BASE | {stage} for stage in STAGES},
    "encoding": BASE | {"encoding", "models"},  # models is data
    "viewing": BASE | {"projector", "viewing"},  # it reads the files that projector writes
    "relabel": BASE | {"analysis", "editing", "projector"},
    "editing": BASE | {"analysis", "projector", "sources"},
    "progress_bar": {"progress"},
    "manifest": BASE | {"analysis"},
    "analyse": BASE | {"analysis"},
    "writing": BASE | {"analyse", "analysis", "manifest", "projector"},
    "pipeline": BASE | STAGES | {"analyse", "writing"},
    "comparison": BASE | {"analyse", "analysis", "comparison", "projector", "training", "writing"},
    "training": BASE | STAGES | {"analyse", "pipeline", "training", "writing"},
    "cli": BASE
    | STAGES
    | {"cli", "comparison", "editing", "pipeline", "relabel", "progress_bar", "training"},
    "__main__": {"cli"},
}
HEAVY = [
    "torch", "umap", "sklearn", "tensorboard", "numba", "faiss", "open_clip", "matplotlib",
    "plotly", "adjustText", "lightning", "transformers", "keras",
]  # fmt: skip
SPEAKING = {
    "print", "exit", "quit", "sys.exit", "os._exit", "typer.echo", "typer.secho", "click.echo",
    "SystemExit", "typer.Exit", "sys.stdout.write", "sys.stderr.write",
}  # fmt: skip


def imported_rooms(source: str) -> set[str]:
    """Return the first part below the package of every import, at any depth of the code."""
    rooms: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                rooms.add("(relative)")
            elif node.module == "projector_export":
                names = [f"projector_export.{alias.name}" for alias in node.names]
            else:
                names = [node.module or ""]
        for name in names:
            first, *rest = name.split(".")
            if first == "projector_export":
                rooms.add(rest[0] if rest else "(package)")
    return rooms


def speaking_calls(source: str) -> set[str]:
    """Return which calls in the code print or exit."""
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return {ast.unparse(call) for call in calls} & SPEAKING


def _room(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize(
    ("source", "rooms"),
    [
        ("import projector_export.cli", {"cli"}),
        ("import projector_export", {"(package)"}),
        ("from projector_export import points", {"points"}),
        ("def f():\n from projector_export.analysis.layout import x", {"analysis"}),
        ("from ..points import Points", {"(relative)"}),
        ("import numpy, projector_export.sources.tables as t", {"sources"}),
        ("from os import path", set()),
    ],
)
def test_the_import_finder_sees_every_way_to_import(source: str, rooms: set[str]) -> None:
    """The rules below are proven only if no import escapes the finder."""
    assert imported_rooms(source) == rooms


@pytest.mark.parametrize("file", INSIDE, ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_imports_point_one_way(file: Path) -> None:
    """errors, limits, points, settings, thumbnails <- the stages, which never import each other
    <- pipeline, editing <- training <- cli; encoding may import models, which is data, and viewing
    may read with projector what projector has written.
    """  # noqa: D205
    room = _room(file)
    assert room in MAY_IMPORT, f"{room} is new: say in MAY_IMPORT what it may import"
    assert imported_rooms(file.read_text(encoding="utf-8")) <= MAY_IMPORT[room]


def test_every_room_of_the_rule_is_looked_at() -> None:
    """A rule about files that are not found would prove nothing."""
    rooms = {_room(file) for file in FILES}
    assert rooms >= BASE | STAGES | {"pipeline", "cli", "__main__", "__init__"}


@pytest.mark.parametrize(
    ("source", "calls"),
    [
        ("print('a')", {"print"}),
        ("import sys\nsys.exit(1)", {"sys.exit"}),
        ("typer.echo('a')", {"typer.echo"}),
        ("raise SystemExit(2)", {"SystemExit"}),
        ("reprint('a'); self.print('a'); exits(1)", set()),
    ],
)
def test_the_call_finder_sees_every_way_to_print(source: str, calls: set[str]) -> None:
    """The rule below is proven only if no call escapes the finder."""
    assert speaking_calls(source) == calls


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_only_the_command_line_prints_or_exits(file: Path) -> None:
    """cli: the only room that prints or exits."""
    calls = speaking_calls(file.read_text(encoding="utf-8"))
    assert _room(file) == "cli" or calls == set()


def test_the_command_line_does_print_and_exit() -> None:
    """The rule above is proven only if the finder sees what the room does."""
    texts = [file.read_text(encoding="utf-8") for file in FILES if _room(file) == "cli"]
    assert {"typer.echo", "sys.exit"} <= set().union(*map(speaking_calls, texts))


@pytest.mark.parametrize(
    "module",
    [
        "projector_export",
        "projector_export.pipeline",
        "projector_export.cli",
        "projector_export.training.recorder",
    ],
)
def test_importing_loads_nothing_heavy(module: str, tmp_path: Path) -> None:
    """Importing the package loads none of torch, umap, sklearn, tensorboard, numba, faiss,
    open_clip or a training's framework.
    """  # noqa: D205
    code = f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_public_names_are_sorted_and_exist() -> None:
    """`__init__.py`: the public names, sorted, nothing else."""
    names = projector_export.__all__
    assert names == sorted(set(names))
    assert {"Items", "Points", "Settings", "export", "export_points", "read_vectors"} <= set(names)
    for name in names:
        assert getattr(projector_export, name).__name__ == name
    assert dir(projector_export) == names


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    """The lazy face answers as a module does."""
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        importlib.import_module("projector_export").nonsense  # noqa: B018
