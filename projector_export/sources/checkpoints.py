"""Many checkpoints of one training: their steps, and one weight matrix out of each.

Requirements: the step comes from the file's name or folder, or from a pattern of the user's; a
name that leaves the step in doubt is refused, not guessed. Only the wanted matrix is read where
the format allows it. Nothing is ever unpickled.
"""

from __future__ import annotations

import difflib
import glob
import itertools
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from projector_export.errors import DataError, InputNotFoundError, OptionError
from projector_export.sources.arrays import array_from_torch, import_torch
from projector_export.sources.tables import check_file

TORCH_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin")
CHECKPOINT_SUFFIXES = (*TORCH_SUFFIXES, ".safetensors")

_STEP = re.compile(r"steps?[-_=. ]*([0-9]+)", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]+")
# Lightning writes `epoch=3-val_loss=0.25-v1.ckpt`: a measure, and a suffix where names clash.
_NO_STEP = re.compile(r"(?<==)-?[0-9]*\.[0-9]+(?:e[-+]?[0-9]+)?|(?<=[0-9])-v[0-9]+$")
_HOW = r"say where the step is with a pattern with one group, such as 'model_(\d+)'"
_DEEPEST = 8  # dicts in dicts
_MOST_NAMED = 20


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's file and the training step at which it was saved."""

    path: Path
    step: int


def list_checkpoints(pattern: str, *, step_pattern: str | None = None) -> list[Checkpoint]:
    r"""List the checkpoint files that a pattern matches, by step.

    The step is the number after `step` in the file's name (`epoch=3-step=500.ckpt`: 500), else
    the last whole number in the name without its ending, else the same of the nearest folder that
    has one (`checkpoint-1000/model.safetensors`: 1000). Where several files match, only folders
    from the pattern's first wildcard on are looked at: the others are the same for all files. A
    link to a file that also matches by itself is left out.

    Args:
        pattern: shell pattern of the files' paths; `**` matches folders at every depth.
        step_pattern: regular expression that is searched in the file's path (with `/`); its first
            group is the step, such as `run3/model_(\d+)`.

    Returns:
        At least one checkpoint, each with its own step, ascending.

    Raises:
        InputNotFoundError: no file matches.
        DataError: a file has no step, or two have the same.
        OptionError: step_pattern is no regular expression, or has no group.
    """
    regex = None if step_pattern is None else _compile(step_pattern)
    files = _list_files(pattern)
    if regex is not None:
        found = [Checkpoint(file, _step_by_pattern(file, regex)) for file in files]
    else:
        found = _steps_by_names(files, pattern)
    found.sort(key=lambda checkpoint: checkpoint.step)
    for one, other in itertools.pairwise(found):
        if one.step == other.step:
            raise DataError(
                f"{one.path} and {other.path} are both of step {one.step}; expected one file a "
                f"step: match fewer files, or {_HOW}"
            )
    return found


def _compile(step_pattern: str) -> re.Pattern[str]:
    try:
        regex = re.compile(step_pattern)
    except re.error as error:
        raise OptionError(
            f"step_pattern is '{step_pattern}', which is no regular expression ({error}); {_HOW}"
        ) from error
    if regex.groups == 0:
        raise OptionError(f"step_pattern is '{step_pattern}', which has no group; {_HOW}")
    return regex


def _list_files(pattern: str) -> list[Path]:
    found = glob.glob(pattern, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute ones
    matches = [Path(match) for match in sorted(found)]
    files: dict[Path, Path] = {}
    for file in filter(Path.is_file, matches):
        real = file.resolve()
        known = files.setdefault(real, file)
        # `latest -> checkpoint-1000` says less of the step than the name the file really has.
        if _likeness(file, real) > _likeness(known, real):
            files[real] = file
    if not files:
        folders = [match for match in matches if match.is_dir()]
        hint = (
            f"it matches {len(folders)} folders: add the file's name, as in "
            f"'{pattern.rstrip('/')}/model.safetensors'"
            if folders
            else "check the pattern; `**` matches folders at every depth"
        )
        raise InputNotFoundError(f"no file matches {pattern!r}; {hint}")
    return list(files.values())


def _likeness(file: Path, real: Path) -> int:
    pairs = zip(reversed(file.parts), reversed(real.parts), strict=False)
    return sum(one == other for one, other in pairs)


def _step_by_pattern(file: Path, regex: re.Pattern[str]) -> int:
    match = regex.search(file.as_posix())
    text = match.group(1) if match else None
    if text is None or not _NUMBER.fullmatch(text):
        what = "finds nothing" if text is None else f"finds {text!r}, which is no whole number,"
        raise DataError(
            f"step_pattern '{regex.pattern}' {what} in {file}; match fewer files, or {_HOW}"
        )
    return int(text)


def _steps_by_names(files: list[Path], pattern: str) -> list[Checkpoint]:
    named = [(file, _number_in(file.stem)) for file in files]
    found = [Checkpoint(file, step) for file, step in named if step is not None]
    if found:
        for file, step in named:
            # Its folder's number (`version_0/last.ckpt`) would hardly count the same.
            if step is None:
                raise DataError(
                    f"{file} has no number in its name, where {found[0].path} has its step; "
                    f"match fewer files, or {_HOW}"
                )
        return found
    same = 0 if len(files) == 1 else _count_fixed_folders(pattern)
    return [Checkpoint(file, _step_of_folder(file, same)) for file in files]


def _count_fixed_folders(pattern: str) -> int:
    folders = Path(pattern).parts[:-1]
    return next((i for i, part in enumerate(folders) if glob.has_magic(part)), len(folders))


def _step_of_folder(file: Path, skipped: int) -> int:
    for folder in reversed(file.parts[skipped:-1]):
        step = _number_in(folder)
        if step is not None:
            return step
    raise DataError(f"{file} has no number that could be its step; {_HOW}")


def _number_in(name: str) -> int | None:
    name = _NO_STEP.sub("", name) if "=" in name else name
    numbers = _STEP.findall(name) or _NUMBER.findall(name)
    return int(numbers[-1]) if numbers else None


def read_tensor(path: Path, name: str) -> np.ndarray:
    """Read one weight matrix, such as an embedding table, out of a checkpoint.

    Args:
        path: .pt, .pth, .ckpt or .bin as torch.save writes them (a dict of tensors, or of such
            dicts, whose keys are joined by dots), or .safetensors.
        name: the tensor's key, or an end of it from a dot on that only one key has
            (`embedding.weight` finds `state_dict.model.embedding.weight`).

    Returns:
        (rows, columns), of the tensor's type; bfloat16 becomes float32. It is a copy: the file
        may be overwritten.

    Raises:
        InputNotFoundError: no such file.
        DataError: no such file type, not readable without unpickling, no or several tensors of
            that name, not 2-D, or of a type that NumPy does not have.
        MissingExtraError: torch is needed and not installed.
    """
    path = check_file(path)
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        return _read_safetensor(path, name)
    if suffix in TORCH_SUFFIXES:
        return _read_torch(path, name)
    raise DataError(
        f"{path} ends in {suffix!r}; expected a checkpoint as {' '.join(CHECKPOINT_SUFFIXES)}"
    )


def _read_torch(path: Path, name: str) -> np.ndarray:
    torch = import_torch(path)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=_can_map(path))
    except Exception as error:  # whatever bytes that are no checkpoint make the unpickler raise
        raise DataError(
            f"{path} cannot be loaded with weights_only=True ({_reason(error)}); expected "
            "a dict of tensors: save it with torch.save(model.state_dict(), path)"
        ) from error
    if not isinstance(loaded, dict):
        raise DataError(
            f"{path} holds {type(loaded).__name__} without a name; expected a dict of tensors: "
            f"save it with torch.save({{{name!r}: tensor}}, path)"
        )
    leaves = [(key, leaf) for key, leaf in _leaves(loaded) if isinstance(leaf, torch.Tensor)]
    index = _choose([(key, tuple(leaf.shape)) for key, leaf in leaves], name, path)
    return np.array(array_from_torch(leaves[index][1], path), order="C")


def _can_map(path: Path) -> bool:
    """Whether torch can map the file, so that only the wanted pages are read.

    torch maps compressed members as if they were plain numbers; before torch 1.6 files were no
    archives.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return all(m.compress_type == zipfile.ZIP_STORED for m in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def _reason(error: Exception) -> str:
    """The line that says what was refused; torch's first lines tell how to allow it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    refused = [line for line in lines if "Unsupported" in line]
    line = (refused or lines or [type(error).__name__])[0]
    return line.removeprefix("WeightsUnpickler error: ").split(". Please ")[0]


def _leaves(
    tree: Mapping[Any, Any], start: str = "", above: tuple[int, ...] = ()
) -> Iterator[tuple[str, Any]]:
    """Each value with its whole key; what a mapping holds of itself and those above is left out."""
    above = (*above, id(tree))
    for key, value in tree.items():
        if not isinstance(value, Mapping):
            yield f"{start}{key}", value
        elif id(value) not in above and len(above) < _DEEPEST:
            yield from _leaves(value, f"{start}{key}.", above)


def _read_safetensor(path: Path, name: str) -> np.ndarray:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as archive:
            keys = list(archive.keys())
            slices = [archive.get_slice(key) for key in keys]
            shapes = [tuple(part.get_shape()) for part in slices]
            index = _choose(list(zip(keys, shapes, strict=True)), name, path)
            try:
                return np.array(archive.get_tensor(keys[index]))
            except (TypeError, AttributeError):  # bfloat16 and others that NumPy does not have
                import_torch(path)
        with safe_open(path, framework="pt") as archive:
            return np.array(array_from_torch(archive.get_tensor(keys[index]), path), order="C")
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} cannot be read as safetensors ({error})") from error


def _choose(shapes: Sequence[tuple[str, tuple[int, ...]]], name: str, path: Path) -> int:
    """Return which of the tensors (key and shape) is the matrix that `name` names."""
    keys = [key for key, _ in shapes]
    found = [i for i, key in enumerate(keys) if key == name]
    found = found or [i for i, key in enumerate(keys) if key.endswith(f".{name}")]
    if len(found) > 1:
        raise DataError(
            f"{path} has {len(found)} tensors that end in {name!r}; give more of the key: "
            f"{_list_shapes([shapes[i] for i in found])}"
        )
    if not found:
        raise DataError(f"{path} has no tensor {name!r}; {_suggest(shapes, name)}")
    shape = shapes[found[0]][1]
    if len(shape) != 2:
        raise DataError(
            f"{path}, {keys[found[0]]!r}, is of shape {shape}; expected 2 dimensions (rows, "
            f"columns), such as an embedding table: {_suggest(shapes, '')}"
        )
    return found[0]


def _suggest(shapes: Sequence[tuple[str, tuple[int, ...]]], name: str) -> str:
    flat = [entry for entry in shapes if len(entry[1]) == 2]
    if not flat:
        return f"it has no 2-D tensor among its {len(shapes)}"
    ends = [_end_of(key, name).casefold() for key, _ in flat]
    wanted = name.casefold()
    close = set(difflib.get_close_matches(wanted, sorted(set(ends)), n=5, cutoff=0.7))
    alike = [
        entry
        for entry, end in zip(flat, ends, strict=True)
        if end in close or (wanted and wanted in entry[0].casefold())
    ]
    if alike:
        return f"close to it: {_list_shapes(alike)}"
    return f"it has {_list_shapes(flat)}"


def _end_of(key: str, name: str) -> str:
    """Return as many dotted parts of the key's end as the name has."""
    return ".".join(key.split(".")[-1 - name.count(".") :])


def _list_shapes(shapes: Sequence[tuple[str, tuple[int, ...]]]) -> str:
    named = ", ".join(f"{key!r} {shape}" for key, shape in shapes[:_MOST_NAMED])
    more = len(shapes) - _MOST_NAMED
    return f"{named} and {more} more" if more > 0 else named
