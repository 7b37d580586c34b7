"""The way that classes or examples take through a training: one embedding of all kept steps.

The steps' layouts are aligned to one another, so that together they are one space; vectors are put
side by side as they are. `__seq_next__` makes the viewer draw a line from each step to the next
(data.ts, SEQUENCE_METADATA_ATTRS).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl

from projector_export.analyse import analyse
from projector_export.analysis.naming import labels_repeat
from projector_export.analysis.neighbors import prepare_vectors
from projector_export.errors import DataError, OptionError
from projector_export.limits import MAX_CATEGORIES
from projector_export.pipeline import rename_clashes
from projector_export.points import ENCODING_COLUMNS, LABEL, OUR_COLUMNS, Points, as_text
from projector_export.progress import Clock, Progress, ignore
from projector_export.projector.exports import Export, open_export
from projector_export.projector.views import View
from projector_export.settings import Settings
from projector_export.training.series import TRAJECTORY, Series
from projector_export.training.step_files import read_step_vectors
from projector_export.writing import ExportResult, write_export

NEXT = "__seq_next__"
STEP = "step"
MEMBERS = "members"
Of = Literal["classes", "examples"]


@dataclass(frozen=True, eq=False)
class _State:
    """The same M things at one step."""

    vectors: np.ndarray
    layouts: Mapping[int, np.ndarray]


def write_trajectory(
    series: Series, *, of: Of = "classes", progress: Progress | None = None
) -> ExportResult:
    """Write the run `RUN/<name>/trajectory`; one that is there already is replaced.

    Args:
        series: with at least two steps.
        of: "classes": the centroid of each label, or, where labels name no classes, of each of
            the last step's clusters. "examples": every point. A fixed share of the paths where
            the viewer does not take them all.
        progress: called when a stage begins.

    Raises:
        OptionError: another `of`.
        DataError: fewer than two steps, vectors of several widths, no classes, or paths longer
            than `max_points`.
    """
    if of not in ("classes", "examples"):
        raise OptionError(f"a trajectory is of {of!r}; expected classes or examples")
    clock = Clock(progress or ignore)
    with clock.stage("trajectory"):
        exports = {step: open_export(series.step_dir(step), series.name) for step in series.steps()}
        if len(exports) < 2:
            raise DataError(
                f"{series.folder} has {len(exports)} steps; a trajectory leads through at least 2"
            )
        points, layouts, notes = _gather(exports, series, of)
    settings = replace(
        series.settings, clusters=None, anomalies=False, umap_dims=(), cluster_views=False
    )
    analysis = analyse(points, settings, layouts=layouts, clock=clock)
    return write_export(
        analysis,
        series.folder / TRAJECTORY,
        settings,
        suggest=trajectory_views,
        warnings=notes,
        clock=clock,
    )


def trajectory_views(columns: pl.DataFrame) -> list[View]:
    """Choose the views of paths: by class and by step, flat, deep, and in principal components."""
    layouts = [name for name in ("umap2d", "umap3d") if f"{name}_x" in columns.columns]
    first = [*layouts, "pca"][0]
    by = LABEL if as_text(columns[LABEL]).n_unique() <= MAX_CATEGORIES else STEP
    views = [View("Paths", first, by), View("Paths by step", first, STEP)]
    if len(layouts) == 2:
        views.append(View("Paths in 3D", "umap3d", by))
    if layouts:
        views.append(View("Paths in principal components", "pca", by))
    return views


@dataclass(frozen=True, eq=False)
class _Things:
    """What moves: M things, each the mean of some rows."""

    columns: pl.DataFrame
    rows: Sequence[np.ndarray]

    def take(self, chosen: np.ndarray) -> _Things:
        return _Things(self.columns[chosen], [self.rows[int(i)] for i in chosen])


def _gather(
    exports: Mapping[int, Export], series: Series, of: Of
) -> tuple[Points, dict[int, np.ndarray], list[str]]:
    n_steps, notes = len(exports), list[str]()
    last = exports[max(exports)]
    things = _classes(last) if of == "classes" else _examples(last)
    n, most = len(things.rows), series.settings.max_points // n_steps
    if most < 1:
        raise DataError(
            f"max_points is {series.settings.max_points} but a path through {series.folder} has "
            f"{n_steps} points, one a step; raise max_points, or keep fewer steps"
        )
    if n > most:
        # Thinned point by point, paths would be torn and their links lead elsewhere.
        chosen = np.random.default_rng(series.settings.seed).choice(n, most, replace=False)
        things = things.take(np.sort(chosen))
        notes.append(f"paths of {most} of {n} {of}, of {n_steps} steps each (max_points)")
    states = [_state(export, things, series.settings) for export in exports.values()]
    widths = {state.vectors.shape[1] for state in states}
    if len(widths) > 1:
        raise DataError(
            f"{series.folder} has vectors of {' and '.join(map(str, sorted(widths)))} columns; "
            "one trajectory needs equally long ones"
        )
    # Thing by thing, step by step: a path is a range of rows.
    n_things = len(things.rows)
    vectors = np.stack([state.vectors for state in states], axis=1).reshape(n_things * n_steps, -1)
    layouts = {
        n_dims: np.stack([state.layouts[n_dims] for state in states], axis=1).reshape(-1, n_dims)
        for n_dims in (2, 3)
        if all(n_dims in state.layouts for state in states)
    }
    rows = np.arange(n_things * n_steps)
    is_last = rows % n_steps == n_steps - 1
    following = pl.Series(NEXT, np.where(is_last, -1, rows + 1), dtype=pl.Int64)
    steps = np.tile(list(exports), n_things)
    columns = things.columns[np.repeat(np.arange(n_things), n_steps)].with_columns(
        pl.Series(STEP, steps), following.replace(-1, None)
    )
    origin = {"series": series.name, "steps": n_steps, "trajectory_of": of}
    points = Points(np.ascontiguousarray(vectors), columns, name=series.name, origin=origin)
    return points, layouts, notes


def _classes(export: Export) -> _Things:
    columns = export.columns
    labels = columns[LABEL]
    if not labels_repeat(labels):
        if "cluster" not in columns.columns:
            raise DataError(
                f"{export.out} has neither labels that repeat nor clusters; "
                "ask for the trajectory of examples: finish(trajectory='examples') or --of examples"
            )
        labels = columns["cluster"]
    texts = as_text(labels).str.strip_chars()
    order = labels if labels.dtype.is_numeric() else texts  # 9 before 10
    named = pl.DataFrame({"name": texts, "order": order}).filter(pl.col("name") != "")
    names = named.sort("order").unique("name", keep="first", maintain_order=True)["name"].to_list()
    rows = [np.flatnonzero((texts == name).to_numpy()) for name in names]
    return _Things(pl.DataFrame({LABEL: names, MEMBERS: [len(some) for some in rows]}), rows)


def _examples(export: Export) -> _Things:
    ours = OUR_COLUMNS | ENCODING_COLUMNS | {NEXT}
    columns = export.columns.select(c for c in export.columns.columns if c not in ours)
    columns, _ = rename_clashes(columns, frozenset({STEP}))
    return _Things(columns, list(np.arange(columns.height)[:, None]))


def _state(export: Export, things: _Things, settings: Settings) -> _State:
    # Lengths say nothing in the cosine metric: a class is where its directions are.
    vectors = prepare_vectors(read_step_vectors(export), settings.metric)
    layouts = {}
    for n_dims in (2, 3):
        axes = [f"umap{n_dims}d_{axis}" for axis in "xyz"[:n_dims]]
        if set(axes) <= set(export.columns.columns):
            layouts[n_dims] = _means(export.columns.select(axes).to_numpy(), things)
    return _State(_means(vectors, things), layouts)


def _means(values: np.ndarray, things: _Things) -> np.ndarray:
    if all(len(rows) == 1 for rows in things.rows):
        rows = np.concatenate(things.rows)
        return np.asarray(values[rows], dtype=np.float32)
    means = [values[rows].mean(axis=0, dtype=np.float64) for rows in things.rows]
    stacked: np.ndarray = np.stack(means)
    return stacked.astype(np.float32)
