"""Put a bundle into place: whole or not at all, and never over what is not a bundle."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from projector_export.errors import NameTakenError, OutputError
from projector_export.viewing.sharing.site import MARKER
from projector_export.viewing.sharing.viewer_page import GENERATOR
from projector_export.viewing.written_files import write_file

_HEAD_BYTES = 4096
_STALE_S = 3600  # a site is written in seconds


def check_target(target: Path, kind: str, *, force: bool) -> None:
    """Raise unless a bundle can be put there; changes nothing.

    Args:
        target: a file, or a folder for a site.
        kind: html, site or zip.
        force: whether an earlier bundle may be replaced.

    Raises:
        NameTakenError: something is there that is no bundle, or a bundle and `force` is off.
        OutputError: the place cannot be written to.
    """
    parent = target.absolute().parent
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"{parent} is no folder that can be written to; choose another TARGET")
    if not (target.exists() or target.is_symlink()) or _is_empty_folder(target, kind):
        return
    why = _why_not_ours(target, kind)
    if why:
        raise NameTakenError(f"{target} exists and {why}; choose another TARGET")
    if not force:
        raise NameTakenError(f"{target} exists; give --force to replace it")


def put_file(target: Path, content: bytes) -> None:
    """Write beside, then move into place.

    Raises:
        OutputError: the disk refuses; what was there is unchanged.
    """
    write_file(content, target)


def put_folder(target: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder beside, then move it into place; an earlier one goes only then.

    A site that a run, killed in between, has left aside is put back first.

    Raises:
        OutputError: the disk refuses; what was there is unchanged.
    """
    parent = target.absolute().parent
    try:
        _put_back(target)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=parent))
    except OSError as error:
        raise OutputError(f"cannot write to {parent} ({error.strerror})") from error
    fresh, old = work / "new", work / "old"
    try:
        for path, content in files.items():
            (fresh / path).parent.mkdir(parents=True, exist_ok=True)
            (fresh / path).write_bytes(content)
        _swap(fresh, target, old)
    except OSError as error:
        raise OutputError(
            f"cannot write {target} ({error.strerror}); nothing was changed"
        ) from error
    finally:
        if target.exists() or not old.exists():
            shutil.rmtree(work, ignore_errors=True)
    with contextlib.suppress(OSError):  # the site is in place whatever lies beside it
        _remove_leftovers(target)


def _swap(fresh: Path, target: Path, old: Path) -> None:
    try:
        if target.exists():
            target.rename(old)
        fresh.rename(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        raise


def _put_back(target: Path) -> None:
    """Give a missing target the latest site that was moved aside for a new one."""
    if target.exists() or target.is_symlink():
        return
    for work in _leftovers(target):
        if not _why_no_site(work / "old"):
            (work / "old").rename(target)
            shutil.rmtree(work, ignore_errors=True)
            return


def _remove_leftovers(target: Path) -> None:
    for work in _leftovers(target):
        old = work / "old"
        # What has none may be of a run that is writing now.
        done = old.exists() or time.time() - work.stat().st_mtime > _STALE_S
        if done and not (old.exists() and _why_no_site(old)):
            shutil.rmtree(work, ignore_errors=True)


def _leftovers(target: Path) -> list[Path]:
    """Return the folders beside a target that were made for writing it, latest first."""
    named = re.compile(rf"\.{re.escape(target.name)}\.[a-z0-9_]{{8}}")
    found = [
        path
        for path in target.absolute().parent.iterdir()
        if named.fullmatch(path.name)
        and path.is_dir()
        and not path.is_symlink()
        and os.access(path, os.R_OK | os.W_OK | os.X_OK)
        and {one.name for one in path.iterdir()} <= {"new", "old"}
    ]
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def _why_not_ours(target: Path, kind: str) -> str:
    """Return why something must not be replaced, or nothing."""
    if target.is_symlink():
        return "is a link"
    if kind == "site":
        return _why_no_site(target)
    if not target.is_file():
        return "is no file"
    with open(target, "rb") as stream:
        head = stream.read(_HEAD_BYTES)
        stream.seek(max(0, target.stat().st_size - len(GENERATOR)))
        tail = stream.read()
    if kind == "html" and f'name="generator" content="{GENERATOR}"'.encode() in head:
        return ""
    if kind == "zip" and head.startswith(b"PK") and tail == GENERATOR.encode():
        return ""
    return f"is no {kind} file of this program"


def _why_no_site(target: Path) -> str:
    if not target.is_dir():
        return "is no folder"
    try:
        marker = json.loads((target / MARKER).read_text(encoding="utf-8"))
        listed = set(marker["files"]) if marker["made_by"] == GENERATOR else None
    except (OSError, ValueError, KeyError, TypeError):
        listed = None
    if listed is None:
        return "is no site of this program"
    for path in sorted(target.rglob("*")):
        relative = path.relative_to(target).as_posix()
        if path.is_symlink() or (not path.is_dir() and relative not in listed):
            return f"holds {relative}, which is not the site's: move that away"
    return ""


def _is_empty_folder(target: Path, kind: str) -> bool:
    is_folder = kind == "site" and target.is_dir() and not target.is_symlink()
    return is_folder and not any(target.iterdir())
