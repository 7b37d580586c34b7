"""Which two exports are compared, and what they are called."""

from __future__ import annotations

from pathlib import Path

from projector_export.errors import OptionError
from projector_export.limits import CONFIG_NAME
from projector_export.projector.exports import Export, open_export
from projector_export.projector.log_dir import safe_name
from projector_export.training.attach import list_series
from projector_export.training.step_folders import dir_name, list_steps


def find_export(run: str | Path, name: str | None = None) -> Export:
    """Open what a run has to compare: an export, or the last step of a series.

    Args:
        run: the run of an export, a step's directory, a training run, or a series' directory.
        name: of the embedding; may be left out where there is just one.

    Raises:
        InputNotFoundError: no run there, or no such embedding.
        OptionError, DataError: there are several, and no name is given.
    """
    run = Path(run)
    if list_steps(run):
        run, name = run.parent, name or run.name
    series = list_series(run)
    if name is None and series:
        own = [f"the exports of {run / CONFIG_NAME}"] if (run / CONFIG_NAME).is_file() else []
        if len(series) + len(own) > 1:
            raise OptionError(f"{run} has {', '.join([*series, *own])}; say which with --name")
        name = series[0]
    if name is not None and name in series:
        last = list_steps(run / name)[-1]
        return open_export(run / name / dir_name(last), name)
    return open_export(run, name)


def step_of(export: Export) -> int | None:
    """Return which step of a series an export is; None for others."""
    step = export.manifest.get("step")
    is_step = export.out.name.startswith("step_") and "series" in export.manifest
    return step if is_step and isinstance(step, int) else None


def describe(export: Export, *, with_folder: bool = True) -> str:
    """Return in words which export this is, and of which step where it is one.

    Args:
        export: to describe.
        with_folder: say where it lies; else only what its run is called.
    """
    step, run = step_of(export), export.out.resolve()
    run = run if step is None else run.parents[1]
    at = "" if step is None else f", step {step}"
    columns = export.manifest.get("dimensions", export.embedding.shape[1])
    return f"{export.name!r} of {export.out if with_folder else run.name}{at}, {columns} dimensions"


def choose_names(a: Export, b: Export) -> tuple[str, str]:
    """Return two different names, from the last parts of the runs' paths on that differ.

    Steps of a series are called as the training run and the step; two embeddings of one run by
    their own names.

    Raises:
        OptionError: the two are one export.
    """
    path_a, path_b = a.out.resolve(), b.out.resolve()
    if path_a == path_b:
        if a.name == b.name:
            raise OptionError(f"both are {a.folder}; expected two exports")
        return a.name, b.name
    parts_a, parts_b = _name_parts(a), _name_parts(b)
    for n in range(1, max(len(parts_a), len(parts_b)) + 1):
        one, other = (safe_name("_".join(parts[-n:])) for parts in (parts_a, parts_b))
        if one.casefold() != other.casefold():  # which some file systems take for the same
            return one, other
    return f"{one}_a", f"{other}_b"


def _name_parts(export: Export) -> list[str]:
    path = export.out.resolve()
    step = step_of(export)
    if step is None:
        return list(path.parts[1:])
    run = path.parents[1]
    return [*run.parts[1:-1], f"{run.name}_step_{step}"]
