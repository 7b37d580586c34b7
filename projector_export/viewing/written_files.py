"""Files that are made from an export: whole or not at all, and never among its own."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from projector_export.errors import OutputError
from projector_export.projector.exports import Export


def check_outside(target: Path, export: Export) -> None:
    """Raise where a file or folder would lie in the export's folder; changes nothing.

    Raises:
        OutputError: it would, by whatever path.
    """
    folder = Path(os.path.realpath(export.folder))
    # A link is replaced where it lies; a folder that is one is written to where it leads.
    lies, leads = Path(os.path.realpath(target.parent)) / target.name, os.path.realpath(target)
    for real in (lies, Path(leads)):
        if real == folder or folder in real.parents:
            raise OutputError(
                f"{target} is inside the export {export.folder}, which holds only its own files; "
                "choose another TARGET"
            )


def write_file(content: bytes, target: Path) -> None:
    """Write beside, then move into place; folders are made when missing, links replaced.

    Raises:
        OutputError: the disk refuses; what was there is unchanged.
    """
    beside: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".staging-", dir=target.absolute().parent)
        beside = Path(name)
        with open(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        beside.chmod(0o666 & ~_umask())
        os.replace(beside, target)
    except OSError as error:
        raise OutputError(
            f"cannot write {target} ({error.strerror}); nothing was changed: choose another "
            "TARGET or mend the cause"
        ) from error
    finally:
        if beside is not None:
            with contextlib.suppress(OSError):
                beside.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
