"""Two exports of the same examples -> one run that shows where the two models disagree.

The first one's layouts are taken as they are; the second one's start from them and are held to them
where neighbours are the same, so that a point's place says something. A point's neighbours are
those in the full vectors where an export has them, else in what its viewer shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from projector_export.analyse import Analysis, analyse
from projector_export.analysis.movement import measure_movement, measure_neighbours_kept
from projector_export.analysis.neighbors import Metric, NeighborGraph
from projector_export.analysis.snapshot import Snapshot
from projector_export.comparison.finding import choose_names, describe, step_of
from projector_export.comparison.matching import match_rows
from projector_export.comparison.sides import (
    OF_MODEL,
    SharedItems,
    Side,
    metric_notes,
    read_items,
    read_side,
)
from projector_export.errors import NameTakenError, OptionError
from projector_export.limits import MAX_POINTS
from projector_export.progress import Progress, ignore
from projector_export.projector.exports import Export
from projector_export.projector.log_dir import check_output
from projector_export.projector.views import AXES, MOST_UNUSUAL, View, check_titles, default_views
from projector_export.settings import Settings
from projector_export.training.attach import read_settings
from projector_export.writing import SPRITE, ExportResult, Extras, write_export

OVERLAP = "neighbour_overlap"


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
        read_side(a, pairs.a, names[0], settings, metric, tell),
        read_side(b, pairs.b, names[1], settings, metric, tell),
    )
    warnings = [*pairs.notes(a, b), *metric_notes(sides)]
    items = read_items(a, b, pairs)
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
    columns = columns.drop("duplicate_group", *OF_MODEL, strict=False)
    differing = f"bottom {MOST_UNUSUAL} by {OVERLAP}"
    return [
        *default_views(columns),
        View("Neighbours differ most", flat, OVERLAP, select=differing),
    ]


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


def _analyse_both(sides: Sequence[Side], items: SharedItems) -> list[Analysis]:
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
    sides: Sequence[Side], analyses: Sequence[Analysis], overlap: np.ndarray, by: str | None
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


def _is_one_series(first: Side, second: Side) -> bool:
    """Whether both are steps of one training, whose columns mean the same."""
    steps = [step_of(side.export) for side in (first, second)]
    folders = {side.export.out.resolve().parent for side in (first, second)}
    same_space = (
        first.vectors.shape == second.vectors.shape
        and first.settings.metric == second.settings.metric
    )
    return None not in steps and len(folders) == 1 and same_space


def _write_both(
    sides: Sequence[Side], analyses: Sequence[Analysis], out: Path, views: Sequence[View]
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
