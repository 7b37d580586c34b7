"""What the two exports have in common, and what is each one's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from projector_export.analysis.neighbors import Metric
from projector_export.comparison.matching import Pairs
from projector_export.errors import OptionError
from projector_export.points import OUR_COLUMNS, Points, as_text
from projector_export.progress import Clock, Progress
from projector_export.projector.angles import is_reduced
from projector_export.projector.exports import Export
from projector_export.projector.viewer_points import SOURCE_ROW
from projector_export.projector.views import AXES
from projector_export.settings import Settings
from projector_export.training.attach import read_settings
from projector_export.training.step_files import VECTORS, read_step_vectors

OF_MODEL = ("predicted", "predicted_score", "predicted_margin", "agrees")
"""Columns that say what a model made of an example."""
_SEQUENCES = ("__next__", "__seq_next__")
"""Columns of row numbers (data.ts, SEQUENCE_METADATA_ATTRS)."""


@dataclass(frozen=True, eq=False)
class SharedItems:
    """What is known of the N examples that both show."""

    columns: pl.DataFrame
    thumbnails: np.ndarray | None
    facts: dict[str, Any]


def read_items(a: Export, b: Export, pairs: Pairs) -> SharedItems:
    """The first export's columns and those that only the second has; the first's pictures."""
    left_out = {*OUR_COLUMNS, *OF_MODEL, SOURCE_ROW}
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
    return SharedItems(columns, thumbnails, facts)


def _taken(columns: pl.DataFrame, names: Sequence[str], rows: np.ndarray) -> list[pl.Series]:
    # Polars takes no rows of a table without columns.
    return [columns[name].gather(rows) for name in names]


@dataclass(frozen=True, eq=False)
class Side:
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

    def points(self, items: SharedItems) -> Points:
        """What is known of the examples, and what this model predicted of them."""
        export = self.export
        own = [name for name in OF_MODEL if name in export.columns.columns]
        columns = items.columns.with_columns(_taken(export.columns, own, self.rows))
        carried = ("source", "encoder", "zero_shot")
        facts = {key: export.manifest[key] for key in carried if key in export.manifest}
        origin = {**facts, **items.facts}
        return Points(self.vectors, columns, self.name, items.thumbnails, origin)


def read_side(
    export: Export,
    rows: np.ndarray,
    name: str,
    settings: Settings,
    metric: Metric | None,
    tell: Progress,
) -> Side:
    """Read what is one export's own.

    Raises:
        OptionError: components for one metric are to be compared in another.
    """
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
    return Side(export, rows, name, vectors[rows], settings, is_part, clock)


def metric_notes(sides: Sequence[Side]) -> list[str]:
    """Say in what the neighbours of each are near."""
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
