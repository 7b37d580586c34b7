"""A series from outside its training: steps out of files and checkpoints, and what is there.

Vectors saved by other means become steps like those of a recorder. One unreadable checkpoint among
many is left out and told; nothing is written before the first one could be read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import polars as pl

from projector_export.errors import DataError, InputNotFoundError, OptionError
from projector_export.points import Points, as_vectors
from projector_export.progress import Progress, Step, ignore
from projector_export.projector.exports import Export, open_export
from projector_export.projector.views import View
from projector_export.settings import Settings
from projector_export.sources.checkpoints import Checkpoint, read_tensor
from projector_export.training.events import EventWriter
from projector_export.training.numbers import write_numbers
from projector_export.training.series import Series
from projector_export.training.step_folders import list_steps
from projector_export.training.summaries import Numbers

ALL_NUMBERS = Numbers()
_OF_OUTPUT = {"force", "cluster_views"}
"""Settings that say nothing of how a step was analysed."""


@dataclass(eq=False)
class Attached:
    """What was added to a series.

    Attributes:
        run_dir: the training run's directory.
        name: of the embedding.
        steps: that were written, in order.
        kept: steps that the series has now.
        points: of each step.
        skipped: checkpoints that were left out, each with `path` and `why`.
        warnings: what the user should know.
    """

    run_dir: Path
    name: str
    steps: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    points: int = 0
    skipped: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def warn(self, *texts: str) -> None:
        """Add warnings, each once however many steps it is true of."""
        self.warnings += [text for text in dict.fromkeys(texts) if text not in self.warnings]


def attach_vectors(
    run_dir: str | Path,
    points: Points,
    step: int,
    *,
    keep: int | None = None,
    settings: Settings | None = None,
    views: Sequence[View] = (),
    numbers: Numbers = ALL_NUMBERS,
    progress: Progress | None = None,
) -> Attached:
    """Write points as one step of the series that is called as they are.

    Args:
        run_dir: the training run's directory; made when missing.
        points: N examples, the same in the same order as at the series' other steps.
        step: of the training, from 0; one that is there already is replaced.
        keep: thin the series to so many steps, at least 2; None leaves all.
        settings: of analysis and output.
        views: bookmarks beside those that every step has.
        numbers: what is written into the run's events.
        progress: called when a stage begins.

    Raises:
        OptionError: an argument cannot be used.
        DataError: the points are not those of the series.
        OutputError: the disk refuses, or another process writes to the series.
    """
    series = Series(Path(run_dir), points.name, settings or Settings(), views=views, keep=keep)
    with series:
        writer = _Writer(series, numbers)
        writer.write(points, step, progress)
        return writer.finish()


def attach_checkpoints(
    run_dir: str | Path,
    checkpoints: Sequence[Checkpoint],
    tensor: str,
    *,
    name: str = "embedding",
    columns: pl.DataFrame | None = None,
    strict: bool = False,
    keep: int | None = None,
    settings: Settings | None = None,
    views: Sequence[View] = (),
    numbers: Numbers = ALL_NUMBERS,
    progress: Progress | None = None,
) -> Attached:
    """Write one weight matrix of each checkpoint as a step; its rows are the points.

    Args:
        run_dir: the training run's directory; made when missing.
        checkpoints: in the order of their steps, as from `list_checkpoints`.
        tensor: the matrix' key; see `read_tensor`.
        name: of the embedding.
        columns: what is known of the matrix' rows, with a `label`; None where nothing is.
        strict: stop at the first checkpoint that cannot be read, instead of leaving it out.
        keep: thin the series to so many steps, at least 2; None leaves all.
        settings: of analysis and output.
        views: bookmarks beside those that every step has.
        numbers: what is written into the run's events.
        progress: called with the checkpoints done.

    Raises:
        OptionError: an argument cannot be used.
        DataError, InputNotFoundError: no checkpoint can be read, or one of them with `strict`.
        OutputError: the disk refuses, or another process writes to the series.
        MissingExtraError: torch is needed and not installed.
    """
    tell, skipped = progress or ignore, list[dict[str, str]]()
    series = Series(Path(run_dir), name, settings or Settings(), views=views, keep=keep)
    writer = None
    with contextlib.ExitStack() as stack:
        for done, checkpoint in enumerate(checkpoints):
            what = f"step {checkpoint.step}"
            tell(Step(what, done, len(checkpoints), len(skipped)))
            try:
                points = _read_points(checkpoint, tensor, name, columns)
                if writer is None:
                    writer = _Writer(stack.enter_context(series), numbers)
                writer.write(points, checkpoint.step)
            except (DataError, InputNotFoundError) as error:
                if strict:
                    raise
                skipped.append({"path": str(checkpoint.path), "why": str(error)})
        if writer is None or not writer.attached.steps:
            first = f"; first: {skipped[0]['why']}" if skipped else ""
            raise DataError(f"none of {len(checkpoints)} checkpoints can be shown{first}")
        attached = writer.finish()
    attached.skipped = skipped
    return attached


def _read_points(
    checkpoint: Checkpoint, tensor: str, name: str, columns: pl.DataFrame | None
) -> Points:
    vectors = as_vectors(
        read_tensor(checkpoint.path, tensor), where=f"{checkpoint.path}, {tensor!r},"
    )
    if columns is None:
        columns = pl.DataFrame()
    elif columns.height != len(vectors):
        raise DataError(
            f"{checkpoint.path}, {tensor!r}, has {len(vectors)} rows but the metadata has "
            f"{columns.height}; give one row each"
        )
    origin = {"source": checkpoint.path.name, "tensor": tensor}
    return Points(vectors, columns, name=name, origin=origin)


class _Writer:
    """Writes steps and their numbers; the series is held open by the caller."""

    def __init__(self, series: Series, numbers: Numbers) -> None:
        self._series, self._numbers = series, numbers
        self._events = EventWriter(series.run_dir)
        self._before = series.steps()
        self.attached = Attached(series.run_dir, series.name)
        if self._before:
            self.attached.warn(*_other_settings(series, self._before[-1]))

    def write(self, points: Points, step: int, progress: Progress | None = None) -> None:
        recorded = self._series.write(points, step, progress=progress)
        self.attached.steps.append(step)
        self.attached.points = recorded.result.points
        self.attached.warn(*recorded.result.warnings)
        write_numbers(self._events, recorded, settings=self._series.settings, numbers=self._numbers)

    def finish(self) -> Attached:
        attached = self.attached
        attached.kept = self._series.steps()
        first = min(attached.steps)
        later = [s for s in self._before if s > first and s not in attached.steps]
        if later:
            which = f"step {later[0]}" if len(later) == 1 else f"{len(later)} later steps"
            attached.warn(
                f"{which} of this series had been recorded before: layouts and movement there "
                "still follow from the steps that there were then"
            )
        gone = [step for step in attached.steps if step not in attached.kept]
        if gone:
            attached.warn(f"thinned out again (keep): steps {', '.join(map(str, gone))}")
        return attached


def _other_settings(series: Series, step: int) -> list[str]:
    """Say where this call analyses otherwise than the last step was."""
    export = open_export(series.step_dir(step), series.name)
    old, new = asdict(read_settings(export)), asdict(series.settings)
    differing = [key for key in new if key not in _OF_OUTPUT and new[key] != old[key]]
    if not differing:
        return []
    listed = ", ".join(f"{key} {old[key]!r} there, {new[key]!r} now" for key in differing)
    return [f"step {step} was made with other settings ({listed}), so the steps differ by them too"]


def list_series(run_dir: str | Path) -> list[str]:
    """Return the names of the series below a training run, sorted."""
    run_dir = Path(run_dir)
    if not run_dir.is_dir():
        return []
    return sorted(path.name for path in run_dir.iterdir() if path.is_dir() and list_steps(path))


def open_series(run_dir: str | Path, name: str | None = None) -> Series:
    """Return a series that is there, with the settings that its last step was made with.

    Args:
        run_dir: the training run's directory.
        name: of the embedding; may be left out where the run has only one series.

    Raises:
        InputNotFoundError: no such series.
        OptionError: there are several, and no name is given.
    """
    run_dir = Path(run_dir)
    known = list_series(run_dir)
    if name is None and len(known) > 1:
        raise OptionError(f"{run_dir} has {len(known)} series ({', '.join(known)}); give --name")
    if not known or (name is not None and name not in known):
        got = "no series" if name is None else f"no series {name!r}"
        there = f"; it has {', '.join(known)}" if known else ""
        raise InputNotFoundError(
            f"{run_dir} has {got}{there}: expected the directory of a training run with "
            "<name>/step_... below it"
        )
    series = Series(run_dir, name or known[0])
    last = open_export(series.step_dir(series.steps()[-1]), series.name)
    return replace(series, settings=read_settings(last))


def read_settings(export: Export) -> Settings:
    """Return the settings that an export was made with; defaults where its manifest is silent.

    Raises:
        DataError: the manifest has values that are no settings.
    """
    said = export.manifest.get("settings")
    said = said if isinstance(said, Mapping) else {}
    known: dict[str, Any] = {f.name: said[f.name] for f in fields(Settings) if f.name in said}
    try:
        if "umap_dims" in known:
            known["umap_dims"] = tuple(known["umap_dims"])
        return Settings(**known)
    except (OptionError, TypeError) as error:
        raise DataError(
            f"{export.folder / 'manifest.json'} is damaged ({error}); export again with --force"
        ) from error
