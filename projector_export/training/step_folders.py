"""The folders of a series: which are whole steps, which are left-overs, and which are not ours.

A step is whole when it has a config and an export with our manifest. Whatever else lies in a
series' folder belongs to somebody: it is neither written into nor removed.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from projector_export.limits import CONFIG_NAME
from projector_export.projector.log_dir import MANIFEST, is_ours

_STEP = re.compile(r"step_([0-9]{8,})")


def list_steps(folder: Path) -> list[int]:
    """Return the whole steps of a series, ascending."""
    found = ((path, step_of(path)) for path in folder.glob("step_*"))
    return sorted(step for path, step in found if step is not None and is_whole(path))


def dir_name(step: int) -> str:
    """Return the name of a step's run directory."""
    return f"step_{step:08d}"


def step_of(path: Path) -> int | None:
    """The step whose run directory this would be."""
    match = _STEP.fullmatch(path.name)
    if match is None or path.name != dir_name(int(match[1])) or not path.is_dir():
        return None
    return int(match[1])


def is_whole(path: Path) -> bool:
    """Whether a run directory is a step that can be opened."""
    return (path / CONFIG_NAME).is_file() and is_ours(path / path.parent.name)


def is_left_over(path: Path) -> bool:
    """Whether a run directory holds nothing but what a killed writer, or removal, has left."""
    if not path.is_dir() or (path / CONFIG_NAME).exists():
        return False
    # An event file alone is somebody's run: ours is written last, and removed early.
    return is_all_ours(path) and any("tfevents" not in entry.name for entry in path.iterdir())


def is_all_ours(path: Path) -> bool:
    """Whether nobody has put files of their own into a step's run directory."""
    return all(_is_entry_ours(entry, path.parent.name) for entry in path.iterdir())


def _is_entry_ours(entry: Path, name: str) -> bool:
    if entry.name == name and entry.is_dir():
        return is_ours(entry) or not any(entry.iterdir())
    hidden = entry.name.startswith((".staging-", ".projector_export"))
    return hidden or entry.name == CONFIG_NAME or "tfevents" in entry.name


def next_to_thin(steps: Sequence[int]) -> int:
    """Return which of at least three ascending steps leaves the smallest gap; never an end."""
    gaps = {steps[i]: steps[i + 1] - steps[i - 1] for i in range(1, len(steps) - 1)}
    return min(gaps, key=lambda step: (gaps[step], step))


def remove_step(folder: Path) -> None:
    """Remove a step's run: its config first, so that none names a missing file.

    The manifest goes last: by it what a killed removal leaves is known to be ours.

    Raises:
        OSError: the disk refuses; the step is as before, or no longer listed.
    """
    (folder / CONFIG_NAME).unlink(missing_ok=True)
    for path in folder.glob("*tfevents*"):
        path.unlink(missing_ok=True)
    export = folder / folder.parent.name
    for path in export.iterdir() if export.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != MANIFEST:
            path.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
