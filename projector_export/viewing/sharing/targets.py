"""Put a bundle into place: whole or not at all, and never over what is not a bundle."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from projector_export.errors import NameTakenError, OutputError
from projector_export.viewing.sharing.site import MARKER
from projector_export.viewing.sharing.viewer_page import GENERATOR

_HEAD_BYTES = 4096


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
    beside: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.absolute().parent)
        beside = Path(name)
        with open(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        beside.chmod(0o666 & ~_umask())
        os.replace(beside, target)
    except OSError as error:
        raise OutputError(
            f"cannot write {target} ({error.strerror}); nothing was changed"
        ) from error
    finally:
        if beside is not None:
            beside.unlink(missing_ok=True)


def put_folder(target: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder beside, then move it into place; an earlier one goes only then.

    Raises:
        OutputError: the disk refuses; what was there is unchanged.
    """
    parent = target.absolute().parent
    try:
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


def _swap(fresh: Path, target: Path, old: Path) -> None:
    try:
        if target.exists():
            target.rename(old)
        fresh.rename(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        raise


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


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
