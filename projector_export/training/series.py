"""A series: one embedding at many steps of a training, below the training's own run.

    RUN/<name>/step_00000010/    a TensorBoard run of its own, with an export in <name>/
    RUN/<name>/trajectory/       the way through all kept steps (see trajectory)

A run a step, since a running TensorBoard reads projector configs when its set of runs changes and
not otherwise (projector_plugin.py, _update_configs): a new step in a known run's config would stay
unseen until a restart. So the training's own directory is left alone, several series lie beside
one another, every step can be used as any export, and an old one is thinned out by removing its
directory. A viewer reads nothing outside a run's directory, so each has its own sprite: a hard
link to the one before.

A step's run appears with its event file, which is made last: what is listed is whole.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from projector_export.analyse import Analysis, analyse
from projector_export.analysis.movement import add_movement
from projector_export.analysis.snapshot import Snapshot
from projector_export.errors import DataError, OptionError, OutputError
from projector_export.pipeline import rename_clashes
from projector_export.points import LABEL, OUR_COLUMNS, Points, as_text
from projector_export.progress import Clock, Progress, ignore
from projector_export.projector.exports import open_export
from projector_export.projector.log_dir import (
    MANIFEST,
    check_name,
    check_output,
    check_run_name,
    ensure_event_file,
)
from projector_export.projector.views import View, check_titles, step_views
from projector_export.settings import Settings
from projector_export.training.step_files import VECTORS, read_snapshot, read_step_vectors
from projector_export.training.step_folders import (
    dir_name,
    is_all_ours,
    is_left_over,
    is_whole,
    list_steps,
    next_to_thin,
    remove_step,
    step_of,
)
from projector_export.writing import SPRITE, ExportResult, Extras, write_export

EXAMPLE = "recorded_row"
"""Column that says which row of the vectors a point is, where not all are recorded."""
_LOCK = ".series.lock"
TRAJECTORY = "trajectory"


@dataclass(frozen=True, eq=False)
class RecordedStep:
    """One step as it was recorded.

    Attributes:
        step: of the training.
        result: of the export.
        analysis: of its points.
        is_first: whether there is no earlier step.
    """

    step: int
    result: ExportResult
    analysis: Analysis
    is_first: bool


@dataclass(eq=False)
class Series:
    """The steps of one embedding; a context manager, within which nobody else can write to it.

    Attributes:
        run_dir: the training run's directory.
        name: of the embedding.
        settings: of analysis and output, the same at every step.
        views: bookmarks beside those that every step has.
        keep: how many steps stay, at least 2; None for all.
    """

    run_dir: Path
    name: str
    settings: Settings = field(default_factory=Settings)
    views: Sequence[View] = ()
    keep: int | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.keep is not None and self.keep < 2:
            raise OptionError(f"keep is {self.keep}; expected 2 or more (the first and the last)")
        check_titles(self.views)
        for view in self.views:
            if view.layout_file is not None:
                raise view.error(
                    "each step has a layout of its own; a file of coordinates fits none"
                )
        self.settings = replace(self.settings, force=True)
        self._snapshots: dict[int, Snapshot] = {}
        self._thumbnails: tuple[object, str] | None = None
        self._known: _Known | None = None

    @property
    def folder(self) -> Path:
        """Where the steps lie."""
        return self.run_dir / self.name

    def step_dir(self, step: int) -> Path:
        """Return the run directory of a step."""
        return self.folder / dir_name(step)

    def steps(self) -> list[int]:
        """Return the recorded steps, ascending."""
        return list_steps(self.folder)

    def __enter__(self) -> Series:
        from filelock import FileLock, Timeout

        check_run_name(self.run_dir)
        check_output(self.folder, self.name, force=True)
        if (self.folder / MANIFEST).is_file():
            raise OutputError(
                f"{self.run_dir} has an export named {self.name!r}; choose another name"
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.folder / _LOCK, timeout=0)
            self._lock.acquire()
        except Timeout as error:
            raise OutputError(
                f"{self.folder} is being written to by another recorder; give each a name of its "
                "own, or wait until it has finished"
            ) from error
        except (OSError, NotImplementedError) as error:
            raise OutputError(f"{self.folder} cannot be written to ({error})") from error
        try:
            self._mend()
        except BaseException as error:
            self._lock.release()
            if isinstance(error, OSError):
                raise OutputError(f"{self.folder} cannot be written to ({error})") from error
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def _mend(self) -> None:
        """Remove what a killed writer has left unfinished, and list what it finished."""
        for path in self.folder.glob("step_*"):
            if step_of(path) is None:
                continue
            if is_whole(path):
                ensure_event_file(path)
            elif is_left_over(path):
                remove_step(path)

    def write(self, points: Points, step: int, *, progress: Progress | None = None) -> RecordedStep:
        """Record the state of the points at a step; one that is there already is replaced.

        Args:
            points: N of them, the same examples in the same order at every step.
            step: of the training, from 0.
            progress: called when a stage begins.

        Raises:
            DataError: the points are not those of the earlier steps, or cannot be shown.
            OutputError: the disk refuses, or somebody else's files lie where the step would; all
                other steps are as before.
        """
        step = int(step)  # also a NumPy integer, which JSON does not take
        if step < 0:
            raise OptionError(f"step is {step}; expected 0 or more")
        self._check_place(step)
        clock = Clock(progress or ignore)
        columns, warnings = rename_clashes(points.columns, OUR_COLUMNS | {EXAMPLE})
        points, notes = self._fitting(replace(points, columns=columns))
        origin = {**points.origin, "series": self.name, "step": step}
        if points.thumbnails is not None:
            origin["thumbnails_sha256"] = self._thumbnails_hash(points.thumbnails)
        points = replace(points, name=self.name, origin=origin)
        others = [other for other in self.steps() if other != step]
        known = self._check_same_points(points, others)
        before = [other for other in others if other < step]
        last = self._snapshot(before[-1]) if before else None
        analysis = analyse(points, self.settings, earlier=last, clock=clock)
        with clock.stage("movement"):
            moved = add_movement(
                analysis.points,
                prepared=analysis.snapshot.prepared,
                graph=analysis.snapshot.graph,
                last=last,
                first_prepared=self._snapshot(before[0]).prepared if before else None,
            )
        analysis = replace(analysis, points=moved)
        if before:
            notes += self._what_is_missing(points, before[-1])
        result = self._write(analysis, step, before[-1] if before else None, clock)
        self._snapshots = {
            number: snapshot
            for number, snapshot in self._snapshots.items()
            if number == (before or [step])[0]
        }
        self._snapshots[step], self._known = analysis.snapshot, known
        self._thin()
        result.warnings[:0] = [*notes, *warnings]
        return RecordedStep(step, result, analysis, is_first=not before)

    def _write(
        self, analysis: Analysis, step: int, before: int | None, clock: Clock
    ) -> ExportResult:
        points = analysis.points
        sprite = None
        if before is not None and points.thumbnails is not None:
            old = open_export(self.step_dir(before), self.name)
            path = old.folder / SPRITE
            if _same(old.manifest, points.origin, "thumbnails_sha256") and path.is_file():
                sprite = path
        files = {} if analysis.view_dims is None else {VECTORS: _npy(points.vectors)}
        return write_export(
            analysis,
            self.step_dir(step),
            self.settings,
            views=self.views,
            suggest=step_views,
            extras=Extras(sprite, files),
            clock=clock,
        )

    def _fitting(self, points: Points) -> tuple[Points, list[str]]:
        """The same share of the examples at every step, where the viewer does not take all."""
        n, most = len(points), self.settings.max_points
        if n <= most:
            return points, []
        rows = np.sort(np.random.default_rng(self.settings.seed).choice(n, most, replace=False))
        shown = points.take(rows)
        note = f"{most} of {n} points are recorded (max_points), the same at every step"
        return shown.with_columns(pl.DataFrame({EXAMPLE: rows})), [note]

    def _snapshot(self, step: int) -> Snapshot:
        """What the analysis of a step has left: kept, or made again from its files."""
        if step not in self._snapshots:
            export = open_export(self.step_dir(step), self.name)
            self._snapshots[step] = read_snapshot(export, self.settings)
        return self._snapshots[step]

    def _check_place(self, step: int) -> None:
        path = self.step_dir(step)
        is_free = not path.exists() or (path.is_dir() and not any(path.iterdir()))
        if not (is_free or is_whole(path) or is_left_over(path)):
            raise OutputError(
                f"{path} exists and is not a step of this series; choose another name or move it "
                "away"
            )

    def _check_same_points(self, points: Points, others: Sequence[int]) -> _Known:
        """Return what these points are known by, the same as at all other steps."""
        new = _Known.of(points.columns, points.vectors.shape[1])
        if not others:
            return new
        old = self._known
        if old is None:
            export = open_export(self.step_dir(others[-1]), self.name)
            old = _Known.of(export.columns, read_step_vectors(export).shape[1])
        difference = old.difference(new)
        if difference:
            raise DataError(
                f"{self.folder}: {difference} at step {others[-1]}; every step must show the same "
                "examples in the same order, by as many columns: choose another name for others, "
                f"or remove {self.folder} to begin anew"
            )
        return new

    def _what_is_missing(self, points: Points, before: int) -> list[str]:
        """Say what an earlier step shows and this one does not, as after a careless resume."""
        old = open_export(self.step_dir(before), self.name)
        lost = [c for c in old.columns.columns if c not in (*points.columns.columns, *OUR_COLUMNS)]
        missing = [f"the columns {', '.join(lost)}"] if lost else []
        if old.embedding.tile_px is not None and points.thumbnails is None:
            missing.insert(0, "thumbnails")
        if not missing:
            return []
        return [f"earlier steps have {' and '.join(missing)}, which later ones were not given"]

    def _thumbnails_hash(self, thumbnails: np.ndarray) -> str:
        if self._thumbnails is None or self._thumbnails[0] is not thumbnails:
            digest = hashlib.sha256(np.ascontiguousarray(thumbnails).data).hexdigest()
            self._thumbnails = (thumbnails, digest)
        return self._thumbnails[1]

    def _thin(self) -> None:
        """Remove steps until `keep` are left: first those that leave the smallest gap.

        A step to which somebody has added files of their own stays, and is not counted.
        """
        if self.keep is None:
            return
        steps = [step for step in self.steps() if is_all_ours(self.step_dir(step))]
        while len(steps) > self.keep:
            victim = next_to_thin(steps)
            try:
                remove_step(self.step_dir(victim))
            except OSError as error:
                raise OutputError(
                    f"{self.step_dir(victim)} cannot be removed ({error.strerror}); the new step "
                    "is there"
                ) from error
            self._snapshots.pop(victim, None)
            steps.remove(victim)


@dataclass(frozen=True, eq=False)
class _Known:
    """What tells N examples from others.

    Attributes:
        labels: N texts.
        rows: N row numbers, where not all examples are recorded.
        dims: columns of their vectors.
    """

    labels: pl.Series
    rows: pl.Series | None
    dims: int

    @classmethod
    def of(cls, columns: pl.DataFrame, dims: int) -> _Known:
        """Return what the points with these columns are known by."""
        rows = columns[EXAMPLE] if EXAMPLE in columns.columns else None
        return cls(as_text(columns[LABEL]), rows, dims)

    def difference(self, new: _Known) -> str:
        """Say what is different about the new ones; empty text where nothing is."""
        if len(new.labels) != len(self.labels):
            return f"there are {len(new.labels)} vectors, but {len(self.labels)}"
        if new.dims != self.dims:
            return f"the vectors have {new.dims} columns, but {self.dims}"
        differing = np.flatnonzero((self.labels != new.labels).to_numpy())
        if len(differing):
            row = int(differing[0])
            return f"row {row} has the label {new.labels[row]!r}, but {self.labels[row]!r}"
        one, other = (None if k.rows is None else k.rows.to_list() for k in (self, new))
        if one != other:
            return "other rows are recorded (by max_points and seed) than"
        return ""


def _npy(vectors: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, vectors, allow_pickle=False)
    return buffer.getvalue()


def _same(one: Mapping[str, Any], other: Mapping[str, Any], key: str) -> bool:
    return key in one and one[key] == other.get(key)
