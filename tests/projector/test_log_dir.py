"""An export is put into place whole, or not at all, and what is not ours is left alone."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from projector_export.errors import DataError, NameTakenError, OptionError, OutputError
from projector_export.projector import log_dir
from projector_export.projector.config import Embedding
from projector_export.projector.log_dir import (
    Staging,
    check_name,
    check_output,
    ensure_event_file,
    safe_name,
)

CONFIG = "projector_config.pbtxt"


def _stage(staging: Staging, content: str, *more: str) -> Embedding:
    """Write an export whose every file says `content`."""
    for file in ("tensor.bytes", "metadata.tsv", "bookmarks.json", *more):
        staging.write(file, content.encode())
    embedding = Embedding(staging.name, (5, 3), staging.name, "tensor.bytes", None)
    staging.write_config(embedding)
    staging.write_manifest({"content": content})
    return embedding


def _export(out: Path, name: str, content: str, *more: str, force: bool = False) -> list[str]:
    with Staging(out, name) as staging:
        return staging.commit(_stage(staging, content, *more), force=force)


def _tree(folder: Path) -> dict[str, bytes | None]:
    """Return every file's content (None for folders), by path; locks aside, they are empty."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if not path.name.endswith(".lock")
    }


def _shown(out: Path) -> dict[str, set[bytes]]:
    """Return what TensorBoard would load: the distinct contents of each embedding's files."""
    if not (out / CONFIG).exists():
        return {}
    config = text_format.Parse((out / CONFIG).read_text(encoding="utf-8"), ProjectorConfig())
    return {
        entry.tensor_name: {
            (out / path).read_bytes()
            for path in (entry.tensor_path, entry.metadata_path, entry.bookmarks_path)
        }
        for entry in config.embeddings
    }


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["digits", "a b", "ViT-B-32", "v1.2", "アジ", "é", "_", "a..b"])
def test_a_usable_name_is_accepted(name: str) -> None:
    """`check_name`: whatever can be a tensor's and a folder's name."""
    check_name(name)
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("name", "fragment"),
    [
        ("", "it is empty"),
        (" ", "padded"),
        (".", "hidden"),
        ("..", "hidden"),
        (".hidden", "hidden"),
        ("a ", "padded"),
        (" a", "padded"),
        ("a/b", "it contains '/'"),
        ("../a", "hidden|contains"),
        ("a\\b", r"it contains '\\\\'"),
        ("a&b", "it contains '&'"),
        ("a#b", "it contains '#'"),
        ("a+b", r"it contains '\+'"),
        ("100%", "it contains '%'"),
        ("a?", r"it contains '\?'"),
        ("words:0", "it contains ':'"),
        ("a\nb", r"it contains '\\n'"),
        ("a\x00", r"it contains '\\x00'"),
        ("a\u200bb", r"it contains '\\u200b'"),
        ("\ud800", "it contains"),
    ],
)
def test_a_name_that_breaks_loading_is_refused(name: str, fragment: str) -> None:
    """Names go into query strings unescaped: `&`, `#`, `+`, `%` in them break loading."""
    with pytest.raises(OptionError, match=fragment):
        check_name(name)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("vectors", "vectors"),
        ("my data", "my data"),
        ("a&b#c+d%e", "a_b_c_d_e"),
        ("C:\\x", "C__x"),
        ("..", "embedding"),
        ("", "embedding"),
        ("  ", "embedding"),
        (".hidden", "hidden"),
        (" . x", "x"),
        ("...a", "a"),
        ("a\nb\u200b", "a_b_"),
        ("写真", "写真"),
    ],
)
def test_any_text_becomes_a_name(text: str, name: str) -> None:
    """`safe_name`: a name that `check_name` accepts."""
    assert safe_name(text) == name
    check_name(name)


@pytest.mark.parametrize("text", [". .", ". . a", " .. .. ", "\n.\n", "/./", "\t\u3000.", "..\x00"])
def test_a_name_made_safe_is_always_accepted(text: str) -> None:
    """`safe_name`: a name that `check_name` accepts, from any text."""
    check_name(safe_name(text))


# --- where to write -----------------------------------------------------------------------------


def test_a_new_place_is_accepted_and_not_made(tmp_path: Path) -> None:
    """`check_output` changes nothing."""
    check_output(tmp_path / "a" / "b", "v", force=False)
    assert _tree(tmp_path) == {}


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    """OutputError: `out` is not a directory."""
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="out is a file; expected a directory to write to"):
        check_output(tmp_path / "out", "v", force=True)
    with pytest.raises(OutputError, match="out cannot be written to; choose another OUT"):
        check_output(tmp_path / "out" / "below", "v", force=True)


@pytest.mark.parametrize("folder", ["a&b", "a#b", "a+b", "100%"])
def test_a_run_that_tensorboard_cannot_open_is_refused(folder: str, tmp_path: Path) -> None:
    """Run names go into query strings unescaped too."""
    with pytest.raises(OutputError, match="which TensorBoard cannot open as a run"):
        check_output(tmp_path / folder, "v", force=True)


def test_a_folder_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OutputError: cannot be written; the answer is made up, as for root everything can be."""
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(OutputError, match="cannot be written to; choose another OUT"):
        check_output(tmp_path / "a" / "run", "v", force=True)


@pytest.mark.parametrize("content", [b"embeddings {", b"\xff\xfe\x00garbage"])
def test_a_config_that_cannot_be_read_is_refused(content: bytes, tmp_path: Path) -> None:
    """DataError: the run's config cannot be read; it is never overwritten."""
    (tmp_path / CONFIG).write_bytes(content)
    with pytest.raises(DataError, match=r"projector_config\.pbtxt"):
        check_output(tmp_path, "v", force=True)
    assert (tmp_path / CONFIG).read_bytes() == content


def test_a_name_too_long_for_a_folder_is_refused(tmp_path: Path) -> None:
    """A file system takes 255 bytes; 100 Japanese letters are 300."""
    with pytest.raises((OptionError, OutputError)):
        check_output(tmp_path, "あ" * 100, force=False)


@pytest.mark.parametrize("name", [CONFIG])
def test_a_name_that_the_run_itself_needs_is_refused(name: str, tmp_path: Path) -> None:
    """The embedding's folder may not take the place of the run's own files."""
    with pytest.raises((OptionError, OutputError)):
        check_output(tmp_path / "new", name, force=False)


def test_an_embedding_of_that_name_needs_force(tmp_path: Path) -> None:
    """NameTakenError: the run has that embedding and `force` is off."""
    _export(tmp_path, "v", "old")
    with pytest.raises(NameTakenError, match="already has an embedding named 'v'; give --force"):
        check_output(tmp_path, "v", force=False)
    check_output(tmp_path, "v", force=True)
    check_output(tmp_path, "other", force=False)


@pytest.mark.parametrize("manifest", [None, "{}", "not json", "[]", '{"made_by": "somebody"}'])
def test_a_folder_that_is_not_ours_is_refused_even_with_force(
    manifest: str | None, tmp_path: Path
) -> None:
    """A folder without our manifest belongs to somebody else."""
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "thesis.txt").write_text("years of work")
    if manifest is not None:
        (tmp_path / "v" / "manifest.json").write_text(manifest)
    before = _tree(tmp_path)
    with pytest.raises(NameTakenError, match="v exists and is not an export"):
        check_output(tmp_path, "v", force=True)
    with pytest.raises(NameTakenError), Staging(tmp_path, "v") as staging:
        staging.commit(_stage(staging, "new"), force=True)
    after = _tree(tmp_path)
    assert after == before


def test_a_link_in_the_place_of_the_folder_is_not_followed_silently(tmp_path: Path) -> None:
    """What a link points to outside of the run is not ours either."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "thesis.txt").write_text("years of work")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "v").symlink_to(tmp_path / "outside", target_is_directory=True)
    with pytest.raises(NameTakenError, match="is not an export"):
        check_output(tmp_path / "run", "v", force=True)


# --- staging ------------------------------------------------------------------------------------


def _fail(out: Path, error: BaseException, before: Callable[[], object] = int) -> None:
    with Staging(out, "w") as staging:
        _stage(staging, "half")
        before()
        raise error


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_an_error_leaves_nothing_not_even_parents(error: BaseException, tmp_path: Path) -> None:
    """A failure leaves the old export or none, never half of one."""
    with pytest.raises(type(error)):
        _fail(tmp_path / "a" / "b" / "run", error)
    assert list(tmp_path.iterdir()) == []


def test_an_error_leaves_an_existing_run_as_it_was(tmp_path: Path) -> None:
    """On any error nothing in `out` has changed."""
    _export(tmp_path, "v", "old")
    before = _tree(tmp_path)
    with pytest.raises(ValueError, match="broken"):
        _fail(tmp_path, ValueError("broken"))
    assert _tree(tmp_path) == before


def test_parents_that_somebody_else_uses_meanwhile_stay(tmp_path: Path) -> None:
    """Only what is empty is removed again."""
    theirs = tmp_path / "a" / "theirs.txt"
    with pytest.raises(ValueError, match="broken"):
        _fail(tmp_path / "a" / "run", ValueError("broken"), lambda: theirs.write_text("x"))
    assert _tree(tmp_path) == {"a": None, "a/theirs.txt": b"x"}


def test_leaving_without_commit_leaves_no_hidden_folder(tmp_path: Path) -> None:
    """A hidden folder becomes an export with `commit`, or vanishes."""
    with Staging(tmp_path, "v") as staging:
        _stage(staging, "new")
        assert staging.run.parent == tmp_path
        assert staging.run.name.startswith(".")
    assert _tree(tmp_path) == {}


def test_every_file_is_hashed(tmp_path: Path) -> None:
    """manifest.json: who made this, the facts, and a SHA-256 for every other file."""
    with Staging(tmp_path, "v") as staging:
        staging.write("a.bin", b"abc")
        staging.write("b.bin", np.array([97, 98, 99], dtype=np.uint8))
        staging.write("c.bin", b"")
        staging.write_manifest({"points": 3, "source": "魚"})
        manifest = json.loads((staging.folder / "manifest.json").read_bytes())
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert manifest == {
        "made_by": "projector_export",
        "points": 3,
        "source": "魚",
        "files": {"a.bin": abc, "b.bin": abc, "c.bin": nothing},
    }


def test_a_full_disk_is_our_error(tmp_path: Path) -> None:
    """OutputError: the disk refuses; nothing was changed."""
    with (
        pytest.raises(OutputError, match=r"cannot write sub/x below .*; nothing was changed"),
        Staging(tmp_path / "run", "v") as staging,
    ):
        staging.write("sub/x", b"no such folder")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_made_is_our_error(tmp_path: Path) -> None:
    """OutputError: the place to write to cannot be used."""
    (tmp_path / "file").write_text("mine")
    with (
        pytest.raises(OutputError, match="cannot be written to"),
        Staging(tmp_path / "file" / "run", "v"),
    ):
        pass
    assert _tree(tmp_path) == {"file": b"mine"}


# --- commit -------------------------------------------------------------------------------------


def test_a_first_export_makes_a_run(tmp_path: Path) -> None:
    """A run is a directory with an event file; the config names the files."""
    assert _export(tmp_path / "logs" / "run", "v", "new") == []
    run = tmp_path / "logs" / "run"
    events = [path.name for path in run.glob("events.out.tfevents.*")]
    assert len(events) == 1
    assert sorted(_tree(run)) == sorted(
        [
            *[CONFIG, "v", "v/bookmarks.json", "v/manifest.json", "v/metadata.tsv"],
            *["v/tensor.bytes", *events],
        ]
    )
    assert _shown(run) == {"v": {b"new"}}
    manifest = json.loads((run / "v" / "manifest.json").read_bytes())
    assert manifest["files"]["tensor.bytes"] == hashlib.sha256(b"new").hexdigest()


def test_a_run_of_somebody_else_is_joined(tmp_path: Path) -> None:
    """An existing config and event file belong to the user."""
    (tmp_path / "events.out.tfevents.1.training").write_bytes(b"")
    theirs = 'embeddings {\n  tensor_name: "theirs"\n  tensor_path: "t.tsv"\n}\n'
    (tmp_path / CONFIG).write_text(theirs)
    (tmp_path / "t.tsv").write_text("1\t2\n")
    _export(tmp_path, "v", "new")
    assert [path.name for path in tmp_path.glob("*tfevents*")] == ["events.out.tfevents.1.training"]
    assert (tmp_path / CONFIG).read_text().startswith(theirs)
    assert (tmp_path / "t.tsv").read_text() == "1\t2\n"
    assert 'tensor_path: "v/tensor.bytes"' in (tmp_path / CONFIG).read_text()


def test_a_missing_tensor_of_another_embedding_is_reported(tmp_path: Path) -> None:
    """TensorBoard shows no projector at all while one tensor of the run is missing."""
    (tmp_path / CONFIG).write_text('embeddings { tensor_name: "gone" tensor_path: "gone.tsv" }')
    (warning,) = _export(tmp_path, "v", "new")
    assert "also lists 'gone', whose tensor gone.tsv is missing" in warning


def test_force_replaces_an_export_whole(tmp_path: Path) -> None:
    """Replaced: files of the old manifest that are no longer written go, the user's own stay."""
    _export(tmp_path, "other", "other")
    _export(tmp_path, "v", "old", "sprite.png")
    (tmp_path / "v" / "notes.txt").write_text("mine")
    (tmp_path / "v" / "sub").mkdir()
    (tmp_path / "v" / "sub" / "more.txt").write_text("mine too")
    _export(tmp_path, "v", "new", "tensor.tsv", force=True)
    assert _shown(tmp_path) == {"other": {b"other"}, "v": {b"new"}}
    inside = _tree(tmp_path / "v")
    assert sorted(inside) == [
        "bookmarks.json",
        "manifest.json",
        "metadata.tsv",
        "notes.txt",
        "sub",
        "sub/more.txt",
        "tensor.bytes",
        "tensor.tsv",
    ]
    assert inside["notes.txt"] == b"mine"
    assert inside["sub/more.txt"] == b"mine too"
    assert inside["tensor.tsv"] == b"new"
    assert not list(tmp_path.glob(".staging*"))
    assert len(list(tmp_path.glob("*tfevents*"))) == 1


def test_a_name_taken_meanwhile_is_refused(tmp_path: Path) -> None:
    """NameTakenError: another process has taken the name meanwhile."""
    with Staging(tmp_path, "v") as staging:
        embedding = _stage(staging, "second")
        _export(tmp_path, "v", "first")
        with pytest.raises(NameTakenError, match="already has an embedding named 'v'"):
            staging.commit(embedding, force=False)
    assert _shown(tmp_path) == {"v": {b"first"}}


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    """Replacing an export by the same one changes no file."""
    _export(tmp_path, "v", "same")
    before = _tree(tmp_path)
    _export(tmp_path, "v", "same", force=True)
    assert _tree(tmp_path) == before


def test_files_are_copied_where_there_are_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replace the old files one by one (hard links, else copies)."""
    refused = []

    def no_links(source: Path, target: Path) -> None:
        refused.append(Path(target).name)
        raise OSError("this file system has no hard links")

    _export(tmp_path, "v", "old", "sprite.png")
    monkeypatch.setattr(os, "link", no_links)
    _export(tmp_path, "v", "new", force=True)
    assert refused
    assert _shown(tmp_path) == {"v": {b"new"}}
    assert sorted(_tree(tmp_path / "v")) == [
        "bookmarks.json",
        "manifest.json",
        "metadata.tsv",
        "tensor.bytes",
    ]


def test_a_hostile_manifest_removes_nothing_outside(tmp_path: Path) -> None:
    """File names in a manifest are never followed out of the embedding's folder."""
    _export(tmp_path / "run", "v", "old")
    (tmp_path / "precious.txt").write_text("x")
    (tmp_path / "run" / "v" / "sub").mkdir()
    path = tmp_path / "run" / "v" / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["files"] |= dict.fromkeys(
        ["../../precious.txt", str(tmp_path / "precious.txt"), "..", ".", "", "sub"], "0"
    )
    path.write_text(json.dumps(manifest))
    _export(tmp_path / "run", "v", "new", force=True)
    assert (tmp_path / "precious.txt").read_text() == "x"
    assert _shown(tmp_path / "run") == {"v": {b"new"}}


# --- crashes ------------------------------------------------------------------------------------


class Crash(BaseException):
    """Stands for a kill: no handler of ordinary errors may catch it."""


class Steps:
    """Counts the calls that change the disk, and lets the n-th one fail before it happens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> None:
        self.calls: list[str] = []
        self.fail_at = 0
        self.error = error
        for name in ("replace", "rename", "link", "unlink", "fsync"):
            monkeypatch.setattr(os, name, self._counted(name, getattr(os, name)))

    def _counted(self, name: str, real: Callable[..., None]) -> Callable[..., None]:
        def call(*args: object, **options: object) -> None:
            # Locks and temporary files of other parties are no steps of ours.
            if any(str(arg).endswith(".lock") for arg in args):
                return real(*args, **options)
            self.calls.append(name)
            if len(self.calls) == self.fail_at:
                raise self.error(f"step {self.fail_at}: {name}")
            return real(*args, **options)

        return call


@pytest.fixture
def stagings() -> Iterator[list[Staging]]:
    """Stagings that were never left, as those of a killed process; let go of their locks."""
    left: list[Staging] = []
    yield left
    for staging in left:
        staging._alive.release()


@pytest.mark.parametrize("error", [Crash, OSError, KeyboardInterrupt])
@pytest.mark.parametrize("killed", [True, False], ids=["killed", "raised"])
@pytest.mark.parametrize("existing", [True, False], ids=["replacing", "new"])
def test_a_crash_at_any_step_of_commit_leaves_whole_exports(
    *,
    existing: bool,
    killed: bool,
    error: type[BaseException],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stagings: list[Staging],
) -> None:
    """A kill at any point leaves the old export, the new one, or (for a new name) none."""

    def begin(out: Path) -> tuple[Staging, Embedding]:
        _export(out, "other", "other")
        if existing:
            _export(out, "v", "old", "sprite.png")
        staging = Staging(out, "v").__enter__()
        return staging, _stage(staging, "new", "tensor.tsv")

    def finish(staging: Staging, embedding: Embedding, steps: Steps, fail_at: int) -> str | None:
        steps.calls.clear()
        steps.fail_at = fail_at
        try:
            staging.commit(embedding, force=True)
        except error as crash:
            failed = str(crash)
            if killed:
                stagings.append(staging)
            else:
                staging.__exit__(type(crash), crash, crash.__traceback__)
            steps.fail_at = 0
            return failed
        steps.fail_at = 0
        staging.__exit__(None, None, None)
        return None

    steps = Steps(monkeypatch, error)
    assert finish(*begin(tmp_path / "whole"), steps, 0) is None
    n_steps = len(steps.calls)
    assert steps.calls.count("replace") >= (6 if existing else 1)
    assert _shown(tmp_path / "whole") == {"other": {b"other"}, "v": {b"new"}}

    before = {"other": {b"other"}, **({"v": {b"old"}} if existing else {})}
    after = {"other": {b"other"}, "v": {b"new"}}
    for step in range(1, n_steps + 1):
        out = tmp_path / f"step_{step}"
        staging, embedding = begin(out)
        failed = finish(staging, embedding, steps, step)
        if failed is None:  # the step is one that may fail: a hard link
            assert _shown(out) == after
            continue
        try:
            shown = _shown(out)
        except FileNotFoundError as missing:
            pytest.fail(f"after {failed}, the config names a missing file: {missing}")
        assert shown in (before, after), failed
        if killed:
            stagings.pop()._alive.release()
        _export(out, "v", "again", force=True)
        assert _shown(out) == {"other": {b"other"}, "v": {b"again"}}, failed
        _export(out, "third", "third")
        assert not list(out.glob(".staging*")), failed


# --- leftovers of other processes ----------------------------------------------------------------

ENTER = """
import sys
from pathlib import Path
from projector_export.projector.log_dir import Staging
staging = Staging(Path(sys.argv[1]), "v").__enter__()
staging.write("tensor.bytes", b"half")
print(staging.run.name, flush=True)
sys.stdin.read()
"""


def test_the_hidden_folder_of_a_dead_process_is_removed_and_of_a_live_one_kept(
    tmp_path: Path,
) -> None:
    """Leftovers of killed exports are removed by the next one; a running export is not touched."""
    with subprocess.Popen(
        [sys.executable, "-c", ENTER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        hidden = tmp_path / process.stdout.readline().strip()
        try:
            assert (hidden / "v" / "tensor.bytes").read_bytes() == b"half"
            _export(tmp_path, "first", "first")
            assert (hidden / "v" / "tensor.bytes").read_bytes() == b"half"
        finally:
            process.kill()
    _export(tmp_path, "second", "second")
    assert not hidden.exists()
    assert _shown(tmp_path) == {"first": {b"first"}, "second": {b"second"}}


def test_a_hidden_folder_that_the_config_points_into_is_kept(tmp_path: Path) -> None:
    """The config decides which whole export is seen: that one is never removed."""
    _export(tmp_path, "v", "old")
    (tmp_path / "v").rename(tmp_path / ".staging-x")
    (tmp_path / ".staging-x" / "alive.lock").write_text("")
    (tmp_path / ".staging-x" / "v").mkdir()
    for file in ("tensor.bytes", "metadata.tsv", "bookmarks.json"):
        (tmp_path / ".staging-x" / file).rename(tmp_path / ".staging-x" / "v" / file)
    text = (tmp_path / CONFIG).read_text().replace('"v/', '".staging-x/v/')
    (tmp_path / CONFIG).write_text(text)
    _export(tmp_path, "w", "new")
    assert _shown(tmp_path) == {"v": {b"old"}, "w": {b"new"}}


def test_a_hidden_folder_of_somebody_else_is_kept(tmp_path: Path) -> None:
    """Only folders that this program made are ever removed."""
    (tmp_path / ".staging-area").mkdir(parents=True)
    (tmp_path / ".staging-area" / "theirs.txt").write_text("x")
    _export(tmp_path, "v", "new")
    assert (tmp_path / ".staging-area" / "theirs.txt").read_text() == "x"


def test_two_exports_at_once_both_arrive(tmp_path: Path) -> None:
    """Several embeddings can live in a run, also when they are made side by side."""
    with Staging(tmp_path, "a") as first, Staging(tmp_path, "b") as second:
        one, two = _stage(first, "one"), _stage(second, "two")
        second.commit(two, force=False)
        first.commit(one, force=False)
    assert _shown(tmp_path) == {"b": {b"two"}, "a": {b"one"}}


def test_the_folder_that_a_killed_export_served_from_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while the config pointed into its hidden folder: the next one leaves none."""
    _export(tmp_path, "v", "old")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(log_dir, "_replace_files", killed)
        with pytest.raises(KeyboardInterrupt):
            _export(tmp_path, "v", "new", force=True)
    (served,) = tmp_path.glob(".staging-*")
    assert served.name in (tmp_path / "projector_config.pbtxt").read_text(encoding="utf-8")
    _export(tmp_path, "v", "newer", force=True)
    assert not list(tmp_path.glob(".staging-*"))
    assert _shown(tmp_path) == {"v": {b"newer"}}


def test_a_place_that_takes_no_event_file_is_told(tmp_path: Path) -> None:
    """Without one the export would be there and unseen."""
    (tmp_path / "run").write_bytes(b"a file")
    with pytest.raises(OutputError, match="cannot take an event file"):
        ensure_event_file(tmp_path / "run")
