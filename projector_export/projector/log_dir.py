"""The only module that touches an export on disk.

An export is written whole into a hidden folder of the run and read back there; then it is moved
into place. The config, replaced atomically, decides at every moment which whole export is seen:

    new name    move the folder, then replace the config
    same name   replace the config to point into the hidden folder, replace the old files one by
                one (hard links, else copies), replace the config to point at them

so that a kill at any point leaves the old export, the new one, or (for a new name) none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from projector_export.errors import DataError, NameTakenError, OptionError, OutputError
from projector_export.limits import CONFIG_NAME, FORBIDDEN_IN_NAMES
from projector_export.projector.config import Embedding, merge_config, tensor_paths

MANIFEST = "manifest.json"
_STAGING = ".staging-"
_LOCK = ".projector_export.lock"
_ALIVE = "alive.lock"
_OWNER = "projector_export"
_LONGEST_NAME = 200  # of the 255 bytes that file systems take


def check_name(name: str) -> None:
    """Raise OptionError unless `name` can be a tensor's and a folder's name."""
    bad = sorted({c for c in name if c in FORBIDDEN_IN_NAMES or not c.isprintable()})
    why = ""
    if bad:
        why = f"it contains {' '.join(map(repr, bad))}"
    elif not name or name.startswith(".") or name != name.strip():
        why = "it is empty, hidden or padded"
    elif len(name.encode()) > _LONGEST_NAME:
        why = f"it has more than {_LONGEST_NAME} bytes"
    elif name == CONFIG_NAME or "tfevents" in name:
        why = "the run has a file of that name"
    if why:
        raise OptionError(
            f"name is {name!r}: {why}; TensorBoard puts it into addresses and it names a folder: "
            "choose letters, digits, - and _"
        )


def safe_name(text: str) -> str:
    """Return `text` as a name that `check_name` accepts."""
    kept = "".join("_" if c in FORBIDDEN_IN_NAMES or not c.isprintable() else c for c in text)
    short = kept.encode()[:_LONGEST_NAME].decode(errors="ignore")
    name = short.replace("tfevents", "tf_events").lstrip(". ").rstrip()
    return f"{name}_" if name == CONFIG_NAME else name or "embedding"


def check_output(out: Path, name: str, *, force: bool) -> None:
    """Raise unless an embedding of that name can be written to `out`; changes nothing.

    Raises:
        OptionError: the name cannot be used.
        OutputError: `out` is not a directory, cannot be written or cannot be a run.
        NameTakenError: the run has that embedding and `force` is off.
        DataError: the run's config cannot be read.
    """
    check_name(name)
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file; expected a directory to write to: choose another OUT")
    check_run_name(out)
    parent = next(p for p in (out, *out.resolve().parents) if p.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"{parent} cannot be written to; choose another OUT")
    known = tensor_paths(_read_config(out), where=str(out / CONFIG_NAME))
    target = out / name
    if target.exists() and not is_ours(target):
        raise NameTakenError(
            f"{target} exists and is not an export; choose another --name or move it away"
        )
    if name in known and not force:
        raise NameTakenError(
            f"{out} already has an embedding named {name!r}; "
            "give --force to replace it or --name for another one"
        )


def check_run_name(run: Path) -> None:
    """Raise OutputError when TensorBoard cannot open a run of that name."""
    bad = sorted({c for c in run.resolve().name if c in "&#+%"})
    if bad:
        raise OutputError(
            f"{run} has {' '.join(bad)} in its name, which TensorBoard cannot open as a run: "
            "choose another directory"
        )


class Staging:
    """A hidden folder that becomes an export with `commit`, or vanishes; a context manager.

    Attributes:
        run: the hidden folder, shaped like a run of its own.
        hashes: SHA-256 of each file written so far.
    """

    def __init__(self, out: Path, name: str) -> None:
        self.out, self.name = out, name
        self.hashes: dict[str, str] = {}

    def __enter__(self) -> Self:
        from filelock import FileLock

        self._made = [p for p in (self.out, *self.out.parents) if not p.exists()]
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            with FileLock(self.out / _LOCK):
                _remove_abandoned(self.out)
                self.run = Path(tempfile.mkdtemp(prefix=_STAGING, dir=self.out))
                self._alive = FileLock(self.run / _ALIVE)
                self._alive.acquire()
            self.folder = self.run / self.name
            self.folder.mkdir()
        except (OSError, NotImplementedError) as error:
            raise OutputError(f"{self.out} cannot be written to ({error})") from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._alive.release()
        with contextlib.suppress(DataError):  # an unreadable config might name the folder
            if self.run.name not in _folders_in_use(self.out):
                shutil.rmtree(self.run, ignore_errors=True)
        if kind is not None:
            if self.out in self._made and [p.name for p in self.out.iterdir()] == [_LOCK]:
                (self.out / _LOCK).unlink()
            for folder in self._made:
                with contextlib.suppress(OSError):  # not empty: somebody else uses it by now
                    folder.rmdir()

    def write(self, file: str, content: bytes | np.ndarray) -> None:
        """Write one file of the export.

        Raises:
            OutputError: the disk refuses.
        """
        data = content if isinstance(content, bytes) else content.data
        try:
            with open(self.folder / file, "wb") as stream:
                stream.write(data)
        except OSError as error:
            raise OutputError(
                f"cannot write {file} below {self.out} ({error.strerror}); nothing was changed"
            ) from error
        self.hashes[file] = hashlib.sha256(data).hexdigest()

    def keep(self, path: Path) -> None:
        """Take over one file of the export that is being replaced, as it is.

        Raises:
            OutputError: the file is missing, or the disk refuses.
        """
        try:
            _link_or_copy(path, self.folder / path.name)
            with open(path, "rb") as stream:
                self.hashes[path.name] = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise OutputError(
                f"cannot keep {path} ({error.strerror}); nothing was changed"
            ) from error

    def write_manifest(self, facts: dict[str, object]) -> None:
        """Write manifest.json: who made this, the facts, and a SHA-256 for every other file."""
        files = dict(sorted(self.hashes.items()))
        text = json.dumps(
            {"made_by": _OWNER, **facts, "files": files}, ensure_ascii=False, indent=1
        )
        self.write(MANIFEST, text.encode("utf-8") + b"\n")

    def write_config(self, embedding: Embedding) -> None:
        """Make the hidden folder a run of its own, to be read back."""
        text = merge_config("", embedding, where="")
        try:
            (self.run / CONFIG_NAME).write_text(text, encoding="utf-8")
        except OSError as error:
            raise OutputError(f"cannot write below {self.out} ({error.strerror})") from error

    def commit(
        self, embedding: Embedding, *, force: bool, replaces: Mapping[str, Any] | None = None
    ) -> list[str]:
        """Move the export into place and put it into the run's config.

        Args:
            embedding: its entry.
            force: replace an export of the same name.
            replaces: manifest of the export that was read to make this one of it; None where this
                one is new.

        Returns:
            Warnings about other embeddings of the run.

        Raises:
            NameTakenError: another process has taken the name, or changed the export, meanwhile.
            OutputError: the disk refuses. The run shows the old export, or the new one whole.
        """
        from filelock import FileLock

        try:
            with FileLock(self.out / _LOCK):
                if replaces is not None and self._current_manifest() != replaces:
                    raise NameTakenError(
                        f"{self.out / self.name} was changed by another process meanwhile; nothing "
                        "was changed: try again"
                    )
                return self._move_into_place(embedding, force=force)
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            shown = "new" if self.run.name in _folders_in_use(self.out) else "old"
            raise OutputError(
                f"{self.out / self.name} could not be replaced wholly ({error.strerror}); "
                f"the run shows the {shown} export: mend the cause and export with --force"
            ) from error

    def _current_manifest(self) -> dict[str, Any]:
        """What the export says that the config points at, be it one whose writer was killed."""
        paths = tensor_paths(_read_config(self.out), where=str(self.out / CONFIG_NAME))
        return read_manifest(self.out / Path(paths.get(self.name, "")).parent)

    def _move_into_place(self, embedding: Embedding, *, force: bool) -> list[str]:
        check_output(self.out, self.name, force=force)
        target = self.out / self.name
        if not target.exists():
            self.folder.rename(target)
        else:
            staged = f"{self.run.name}/{self.name}"
            if self.name in tensor_paths(_read_config(self.out), where=str(self.out)):
                self._point_config_at(embedding, staged)
            _replace_files(self.folder, target)
        self._point_config_at(embedding, self.name)
        # Last: a TensorBoard that meets the run reads its config then, and not again for a while.
        ensure_event_file(self.out)
        # The folder of an export that was killed while the config pointed into it is free now.
        _remove_abandoned(self.out)
        return _missing_tensors(self.out)

    def _point_config_at(self, embedding: Embedding, folder: str) -> None:
        moved = Embedding(
            embedding.name, embedding.shape, folder, embedding.tensor, embedding.tile_px
        )
        path = self.out / CONFIG_NAME
        text = merge_config(_read_config(self.out), moved, where=str(path))
        fresh = self.run / "config.new"
        with open(fresh, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(fresh, path)


def _read_config(out: Path) -> str:
    try:
        return (out / CONFIG_NAME).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{out / CONFIG_NAME} is not a projector config ({error}); repair or move it, "
            "then export again"
        ) from error


def is_ours(folder: Path) -> bool:
    """Whether this program has written the folder."""
    return read_manifest(folder).get("made_by") == _OWNER


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return an export's manifest.json, or nothing where there is none."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links, or no such file, which the copy tells
        shutil.copyfile(source, target)


def _replace_files(fresh: Path, target: Path) -> None:
    """Replace the old export's files by the fresh ones; files that are not ours stay."""
    listed = read_manifest(target).get("files")
    old = set(listed) if isinstance(listed, dict) else set()
    new = {path.name for path in fresh.iterdir()}
    for path in sorted(fresh.iterdir()):
        beside = target / f"{_STAGING}{path.name}"
        beside.unlink(missing_ok=True)
        _link_or_copy(path, beside)
        os.replace(beside, target / path.name)
        # Nothing happens where both are links to one file, which an edited export has kept.
        beside.unlink(missing_ok=True)
    for file in sorted(old - new):
        if Path(file).name == file and (target / file).is_file():
            (target / file).unlink()


def _folders_in_use(out: Path) -> set[str]:
    paths = tensor_paths(_read_config(out), where=str(out / CONFIG_NAME)).values()
    return {Path(path).parts[0] for path in paths if path}


def _remove_abandoned(out: Path) -> None:
    """Remove the hidden folders of killed exports, except one that the config points into."""
    from filelock import FileLock, Timeout

    in_use = _folders_in_use(out)
    for folder in out.glob(f"{_STAGING}*"):
        if folder.name in in_use or not (folder / _ALIVE).exists():
            continue
        lock = FileLock(folder / _ALIVE, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            continue
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def ensure_event_file(out: Path) -> None:
    """TensorBoard sees a directory as a run only when it has an event file."""
    if any(path.is_file() for path in out.glob("*tfevents*")):
        return
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    # An empty one, such as a full disk leaves, makes the run visible just as well.
    with contextlib.suppress(OSError):
        EventFileWriter(str(out)).close()
    if not any(path.is_file() for path in out.glob("*tfevents*")):
        raise OutputError(f"{out} cannot take an event file; without one TensorBoard lists no run")


def _missing_tensors(out: Path) -> list[str]:
    paths = tensor_paths(_read_config(out), where=str(out / CONFIG_NAME))
    return [
        f"{out / CONFIG_NAME} also lists {name!r}, whose tensor {path} is missing; "
        "TensorBoard shows no projector until it is restored or its entry removed"
        for name, path in paths.items()
        if path and not (out / path).exists()
    ]
