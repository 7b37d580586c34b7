"""Two exports of the same examples -> one run that shows where the two models disagree.

The first one's layouts are taken as they are; the second one's start from them and are held to them
where neighbours are the same, so that a point's place says something. A point's neighbours are
those in the full vectors where an export has them, else in what its viewer shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from projector_export.analyse import Analysis, analyse
from projector_export.analysis.movement import measure_movement, measure_neighbours_kept
from projector_export.analysis.neighbors import Metric, NeighborGraph
from projector_export.analysis.snapshot import Snapshot
from projector_export.errors import DataError, NameTakenError, OptionError
from projector_export.limits import CONFIG_NAME, MAX_POINTS
from projector_export.points import LABEL, OUR_COLUMNS, Points, as_text
from projector_export.progress import Clock, Progress, ignore
from projector_export.projector.angles import is_reduced
from projector_export.projector.exports import Export, open_export
from projector_export.projector.log_dir import check_output, safe_name
from projector_export.projector.viewer_points import SOURCE_ROW
from projector_export.projector.views import AXES, MOST_UNUSUAL, View, check_titles, default_views
from projector_export.settings import Settings
from projector_export.training.attach import list_series, read_settings
from projector_export.training.series import EXAMPLE, VECTORS, list_steps, read_step_vectors
from projector_export.writing import SPRITE, ExportResult, Extras, write_export

OVERLAP = "neighbour_overlap"
_OF_MODEL = ("predicted", "predicted_score", "predicted_margin", "agrees")
_SEQUENCES = ("__next__", "__seq_next__")
"""Columns of row numbers (data.ts, SEQUENCE_METADATA_ATTRS)."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """What a comparison did.

    Attributes:
        out: the run directory.
        a: the first export as it is in `out`.
        b: the second.
        overlap: (N,) float32, 0 to 1: the share of each point's 15 nearest neighbours that both
            models agree on.
        left_out_a: examples that only the first has.
        left_out_b: examples that only the second has.
        warnings: what the user should know.
    """

    out: Path
    a: ExportResult
    b: ExportResult
    overlap: np.ndarray
    left_out_a: int
    left_out_b: int
    warnings: list[str]

    @property
    def median_overlap(self) -> float:
        """Of all points."""
        return float(np.median(self.overlap))

    @property
    def mean_overlap(self) -> float:
        """Of all points."""
        return float(self.overlap.mean(dtype=np.float64))


def compare_exports(
    a: Export,
    b: Export,
    out: str | Path,
    *,
    by: str | None = None,
    names: tuple[str, str] | None = None,
    settings: Settings | None = None,
    metric: Metric | None = None,
    views: Sequence[View] = (),
    progress: Progress | None = None,
) -> Comparison:
    """Write two exports of the same examples as two embeddings of one run, comparable by eye.

    Args:
        a: the first; see `find_export`.
        b: the second; its vectors may be of another width.
        out: the run directory; made when missing, and none of the two.
        by: a column of both whose values tell the examples, to match these by. None: row by row,
            which must have equal labels.
        names: of the two embeddings in `out`; default as `choose_names` says.
        settings: of analysis and output, but for the metric; default those that `a` was made with.
        metric: of both; None for each the one that it was made with.
        views: bookmarks beside those that the columns suggest, in both.
        progress: called when a stage begins.

    Raises:
        OptionError: an argument cannot be used.
        DataError: the two do not show the same examples.
        OutputError, NameTakenError: `out` cannot take it.
    """
    out, tell = Path(out), progress or ignore
    names = names or choose_names(a, b)
    settings = settings or replace(read_settings(a), force=False)
    _check_out(out, (a, b), names, force=settings.force)
    check_titles(views)
    for view in views:
        if view.layout_file is not None:
            raise view.error("both have layouts of their own; a file of coordinates fits neither")
    pairs = match_rows(a, b, by=by)
    # Both show all points that match: thinned by themselves they would show different ones.
    settings = replace(settings, max_points=MAX_POINTS, umap_dims=settings.umap_dims or (2, 3))
    if isinstance(settings.clusters, int):
        settings = replace(settings, clusters=min(settings.clusters, len(pairs.a)))
    sides = (
        _read_side(a, pairs.a, names[0], settings, metric, tell),
        _read_side(b, pairs.b, names[1], settings, metric, tell),
    )
    warnings = [*pairs.notes(a, b), *_metric_notes(sides)]
    items = _read_items(a, b, pairs)
    analyses = _analyse_both(sides, items)
    overlap = measure_neighbours_kept(*(one.snapshot.graph for one in reversed(analyses)))
    recall = min(one.graph.recall for one in analyses)
    if recall < 1:
        warnings.append(f"neighbours of so many points are found with a recall of {recall:.1%}")
    told = _with_overlap(sides, analyses, overlap, by)
    first, second = _write_both(sides, told, out, views)
    warnings += [*first.warnings, *second.warnings]
    once = list(dict.fromkeys(warnings))
    return Comparison(out, first, second, overlap, pairs.only_a, pairs.only_b, once)


def comparison_views(columns: pl.DataFrame) -> list[View]:
    """Choose the views of both embeddings, by columns that both have."""
    flat = next((layout for layout in reversed(AXES) if AXES[layout][0] in columns.columns), "pca")
    # How many duplicates there are, and what is predicted, differs between the two.
    columns = columns.drop("duplicate_group", *_OF_MODEL, strict=False)
    differing = f"bottom {MOST_UNUSUAL} by {OVERLAP}"
    return [
        *default_views(columns),
        View("Neighbours differ most", flat, OVERLAP, select=differing),
    ]


# Finding and naming the two


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
        return open_export(run / name / f"step_{last:08d}", name)
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


def _check_out(
    out: Path, both: tuple[Export, Export], names: tuple[str, str], *, force: bool
) -> None:
    if names[0].casefold() == names[1].casefold():
        raise OptionError(f"both embeddings would be named {names[0]!r}; give two names")
    for export in both:
        if export.out.resolve() == out.resolve():
            raise OptionError(f"{out} is one of the runs compared; choose another OUT")
    for name in names:
        try:
            check_output(out, name, force=force)
        except NameTakenError as error:
            raise NameTakenError(
                f"{out} already has an embedding named {name!r}; give --force to replace it, or "
                "another OUT"
            ) from error


# The same examples


@dataclass(frozen=True, eq=False)
class Pairs:
    """Which rows show the same examples, in the first export's order.

    Attributes:
        a: (N,) row numbers of the first.
        b: (N,) row numbers of the second.
        by: the column that told; None for row by row.
        only_a: rows that only the first has.
        only_b: rows that only the second has.
    """

    a: np.ndarray
    b: np.ndarray
    by: str | None = None
    only_a: int = 0
    only_b: int = 0

    def notes(self, a: Export, b: Export) -> list[str]:
        """Say how many were left out."""
        return [
            f"{number} of {export.columns.height} points of {export.folder} are left out: the "
            f"other has no such {self.by!r}"
            for number, export in ((self.only_a, a), (self.only_b, b))
            if number
        ]


def match_rows(a: Export, b: Export, *, by: str | None = None) -> Pairs:
    """Find the rows of two exports that show the same examples.

    Args:
        a: the first.
        b: the second.
        by: see `compare_exports`; missing and blank values match nothing.

    Raises:
        OptionError: a column that is not in both.
        DataError: rows or labels differ, values are not unique, or fewer than two match.
    """
    if by is None:
        _check_same_rows(a, b)
        rows = np.arange(a.columns.height)
        return Pairs(rows, rows)
    both = [name for name in a.columns.columns if name in b.columns.columns]
    for export in (a, b):
        if by not in export.columns.columns:
            raise OptionError(f"{export.folder} has no column {by!r}; both have {', '.join(both)}")
    keys_a, keys_b = _keys(a.columns[by], b.columns[by])
    _check_unique(keys_a, a, by)
    _check_unique(keys_b, b, by)
    matched = keys_a.join(keys_b, on="key", how="inner", suffix="_b").sort("row")
    if matched.height < 2:
        raise DataError(
            f"{a.folder} and {b.folder} have {matched.height} values of {by!r} in common, such as "
            f"{_sample(keys_a)} and {_sample(keys_b)}; expected the same examples in both"
        )
    n = matched.height
    return Pairs(
        matched["row"].to_numpy(),
        matched["row_b"].to_numpy(),
        by,
        a.columns.height - n,
        b.columns.height - n,
    )


def _check_same_rows(a: Export, b: Export) -> None:
    n, other = a.columns.height, b.columns.height
    matching = "to match them by a column of ids, give --by"
    if n != other:
        raise DataError(
            f"{b.folder} shows {other} points but {a.folder} {n}; expected the same examples in "
            f"the same order: {matching}"
        )
    # Where not all are shown: which of the input's rows they are.
    differing = np.flatnonzero(_input_rows(a) != _input_rows(b))
    if len(differing):
        raise DataError(
            f"{a.folder} and {b.folder} show different rows of their inputs (max_points), so they "
            f"cannot be compared row by row: {matching} {SOURCE_ROW}, or another column"
        )
    label_a, label_b = as_text(a.columns[LABEL]), as_text(b.columns[LABEL])
    differing = np.flatnonzero((label_a != label_b).to_numpy())
    if len(differing):
        row = int(differing[0])
        raise DataError(
            f"{b.folder} has label {label_b[row]!r} in row {row} but {a.folder} has "
            f"{label_a[row]!r} ({len(differing)} of {n} differ); expected the same examples in "
            f"the same order: {matching}"
        )


def _input_rows(export: Export) -> np.ndarray:
    rows = export.columns[SOURCE_ROW]
    if EXAMPLE in export.columns.columns and export.columns[EXAMPLE].dtype.is_integer():
        rows = export.columns[EXAMPLE]
    return rows.cast(pl.Int64).to_numpy()


def _keys(a: pl.Series, b: pl.Series) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The values of both in one type, each with its row; missing and blank ones left out."""
    if a.dtype.is_integer() and b.dtype.is_integer():
        a, b = a.cast(pl.Int64), b.cast(pl.Int64)
    elif a.dtype.is_numeric() and b.dtype.is_numeric():
        a, b = a.cast(pl.Float64), b.cast(pl.Float64)
    elif a.dtype != b.dtype or not (a.dtype.is_temporal() or a.dtype == pl.Boolean):
        a, b = as_text(a).str.strip_chars(), as_text(b).str.strip_chars()
    frames = (pl.DataFrame({"key": key}).with_row_index("row") for key in (a, b))
    one, other = (frame.filter(pl.col("key").cast(pl.String) != "") for frame in frames)
    return one, other


def _check_unique(keys: pl.DataFrame, export: Export, by: str) -> None:
    counted = keys["key"].value_counts(sort=True)
    if counted.height and counted["count"][0] > 1:
        raise DataError(
            f"{export.folder} has {str(counted['key'][0])!r} {counted['count'][0]} times in column "
            f"{by!r}; expected a column that has each value once, such as an id or a path"
        )


def _sample(keys: pl.DataFrame) -> str:
    return repr(str(keys["key"][0])) if keys.height else "(nothing)"


@dataclass(frozen=True, eq=False)
class _Items:
    """What is known of the N examples that both show."""

    columns: pl.DataFrame
    thumbnails: np.ndarray | None
    facts: dict[str, Any]


def _read_items(a: Export, b: Export, pairs: Pairs) -> _Items:
    """The first export's columns and those that only the second has; the first's pictures."""
    left_out = {*OUR_COLUMNS, *_OF_MODEL, SOURCE_ROW}
    if pairs.by is not None:
        left_out |= {*_SEQUENCES}
    own = [name for name in a.columns.columns if name not in left_out]
    more = [name for name in b.columns.columns if name not in left_out and name not in own]
    columns = pl.DataFrame([*_taken(a.columns, own, pairs.a), *_taken(b.columns, more, pairs.b)])
    thumbnails = None
    if a.thumbnails is not None:
        thumbnails = a.thumbnails[pairs.a]
    elif b.thumbnails is not None:
        thumbnails = b.thumbnails[pairs.b]
    facts: dict[str, Any] = {}
    with_path = a if "path" in own else b
    for folder in ("source_folder", "normal_folder"):
        if folder in with_path.manifest:
            facts[folder] = str((with_path.out / str(with_path.manifest[folder])).resolve())
    return _Items(columns, thumbnails, facts)


def _taken(columns: pl.DataFrame, names: Sequence[str], rows: np.ndarray) -> list[pl.Series]:
    # Polars takes no rows of a table without columns.
    return [columns[name].gather(rows) for name in names]


# Both in one


@dataclass(frozen=True, eq=False)
class _Side:
    """One of the two: N points as far as they are its own, and how they are analysed."""

    export: Export
    rows: np.ndarray
    name: str
    vectors: np.ndarray
    settings: Settings
    is_reduced: bool
    clock: Clock

    def layouts(self) -> dict[int, np.ndarray]:
        """The export's own ones, of those that are wanted."""
        columns = self.export.columns
        found = {}
        for n_dims in self.settings.umap_dims:
            axes = AXES[f"umap{n_dims}d"]
            if set(axes) <= set(columns.columns):
                layout = columns.select(axes)[self.rows].to_numpy()
                found[n_dims] = np.ascontiguousarray(layout, dtype=np.float32)
        return found

    def clusters(self) -> pl.Series | None:
        """The export's own ones, as text."""
        columns = self.export.columns
        return as_text(columns["cluster"])[self.rows] if "cluster" in columns.columns else None

    def points(self, items: _Items) -> Points:
        """What is known of the examples, and what this model predicted of them."""
        export = self.export
        own = [name for name in _OF_MODEL if name in export.columns.columns]
        columns = items.columns.with_columns(_taken(export.columns, own, self.rows))
        carried = ("source", "encoder", "zero_shot")
        facts = {key: export.manifest[key] for key in carried if key in export.manifest}
        origin = {**facts, **items.facts}
        return Points(self.vectors, columns, self.name, items.thumbnails, origin)


def _read_side(
    export: Export,
    rows: np.ndarray,
    name: str,
    settings: Settings,
    metric: Metric | None,
    tell: Progress,
) -> _Side:
    clock = Clock(lambda step: tell(replace(step, name=f"{name}: {step.name}")))
    own = read_settings(export).metric
    is_part = is_reduced(export) and not (export.folder / VECTORS).is_file()
    if is_part and metric not in (None, own):
        raise OptionError(
            f"{export.folder} has principal components for the {own} metric only; compare in that, "
            f"or export again with --metric {metric}"
        )
    # Components stand for vectors of unit length, seen from their mean: angles are chords there.
    settings = replace(settings, metric="euclidean" if is_part else metric or own)
    vectors = export.vectors if is_part else read_step_vectors(export)
    return _Side(export, rows, name, vectors[rows], settings, is_part, clock)


def _metric_notes(sides: Sequence[_Side]) -> list[str]:
    notes = [
        f"{side.name}: neighbours are those among the {side.vectors.shape[1]} principal components "
        f"that {side.export.out} shows; the {side.export.manifest.get('dimensions')} values "
        "themselves are not kept there (export with --view-dims all)"
        for side in sides
        if side.is_reduced
    ]
    metrics = [read_settings(s.export).metric if s.is_reduced else s.settings.metric for s in sides]
    if metrics[0] != metrics[1]:
        each = ", ".join(f"{s.name} in {m}" for s, m in zip(sides, metrics, strict=True))
        notes.append(f"neighbours are those in the metric of each export: {each}")
    return notes


def _analyse_both(sides: Sequence[_Side], items: _Items) -> list[Analysis]:
    """The first as it was, and the second from there."""
    first, second = sides
    # Nothing but the names of clusters is taken from this.
    nothing = NeighborGraph(np.empty((0, 0), np.int32), np.empty((0, 0), np.float32), "cosine", 1.0)
    known = Snapshot(first.vectors, nothing, {}, first.clusters())
    before = analyse(
        first.points(items),
        first.settings,
        layouts=first.layouts(),
        earlier=known,
        clock=first.clock,
    )
    after = analyse(
        second.points(items), second.settings, earlier=before.snapshot, clock=second.clock
    )
    return [before, after]


def _with_overlap(
    sides: Sequence[_Side], analyses: Sequence[Analysis], overlap: np.ndarray, by: str | None
) -> list[Analysis]:
    """Add what the comparison tells, and mend what components of unit vectors hide."""
    found = []
    for side, analysis in zip(sides, analyses, strict=True):
        columns = {OVERLAP: overlap}
        if side.is_reduced and read_settings(side.export).metric == "cosine":
            chords = analysis.graph.distances[:, 0].astype(np.float64)
            angles = np.degrees(2 * np.arcsin(np.minimum(chords / 2, 1)))
            columns["nearest_angle"] = angles.astype(np.float32)
        points = analysis.points.with_columns(pl.DataFrame(columns))
        compared = {
            "export": describe(side.export, with_folder=False),
            "by": by,
            "median_overlap": round(float(np.median(overlap)), 4),
            "mean_overlap": round(float(overlap.mean(dtype=np.float64)), 4),
        }
        points = replace(points, origin={**points.origin, "compared": compared})
        found.append(replace(analysis, points=points))
    first, second = sides
    if _is_one_series(first, second):
        before, after = (one.snapshot.prepared for one in found)
        moved = pl.DataFrame({"movement": measure_movement(after, before, second.settings.metric)})
        found[1] = replace(found[1], points=found[1].points.with_columns(moved))
    return found


def _is_one_series(first: _Side, second: _Side) -> bool:
    """Whether both are steps of one training, whose columns mean the same."""
    steps = [step_of(side.export) for side in (first, second)]
    folders = {side.export.out.resolve().parent for side in (first, second)}
    same_space = (
        first.vectors.shape == second.vectors.shape
        and first.settings.metric == second.settings.metric
    )
    return None not in steps and len(folders) == 1 and same_space


def _write_both(
    sides: Sequence[_Side], analyses: Sequence[Analysis], out: Path, views: Sequence[View]
) -> list[ExportResult]:
    suggested = comparison_views(analyses[0].points.columns)
    results: list[ExportResult] = []
    for side, analysis in zip(sides, analyses, strict=True):
        has_sprite = bool(results) and analysis.points.thumbnails is not None
        result = write_export(
            analysis,
            out,
            side.settings,
            views=views,
            suggest=lambda _: list(suggested),
            extras=Extras(out / sides[0].name / SPRITE if has_sprite else None),
            clock=side.clock,
        )
        results.append(result)
    return results
