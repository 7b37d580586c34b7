"""export(items) = encode, then export_points(points) = analyse, write, read back, commit."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from projector_export.analyse import analyse, loading_umap
from projector_export.analysis.anomalies import Reference
from projector_export.analysis.naming import NamedVectors
from projector_export.encoding.encoder import ImageEncoder, TextEncoder, encode
from projector_export.encoding.zero_shot import ZeroShot, add_predictions, encode_classes
from projector_export.errors import DataError, OptionError
from projector_export.points import (
    ENCODING_COLUMNS,
    LABEL,
    OUR_COLUMNS,
    Items,
    Points,
    as_text,
    as_vectors,
)
from projector_export.progress import Clock, Progress, ignore
from projector_export.projector.log_dir import check_output
from projector_export.projector.views import View, check_titles
from projector_export.settings import EncodeSettings, Settings
from projector_export.sources.coordinates import read_coordinates
from projector_export.writing import ExportResult, write_export

ANOMALIES_ARE_OFF = "normal items are for the anomaly columns, which are switched off"


def export(
    items: Items,
    out: str | Path,
    encoder: ImageEncoder | TextEncoder,
    *,
    zero_shot: ZeroShot | None = None,
    normal: Items | None = None,
    include_normal: bool = False,
    encode_settings: EncodeSettings | None = None,
    settings: Settings | None = None,
    views: Sequence[View] = (),
    progress: Progress | None = None,
) -> ExportResult:
    """Encode items and export them; see `export_points`.

    Args:
        items: for example from `read_images` or `read_texts`.
        out: the run directory.
        encoder: for example an `OpenClipEncoder`.
        zero_shot: classes to compare images with; the encoder must encode texts, too.
        normal: known-normal items, encoded in the same way; fill `anomaly_reference`.
        include_normal: show these as well, marked in the column `known_normal`.
        encode_settings: of batches, threads, thumbnails and the cache.
        settings: of analysis and output.
        views: bookmarks to add to those that the columns suggest.
        progress: called when a step begins, and with the items encoded.

    Raises:
        OptionError: classes are given but the encoder has no texts, or a view cannot be made.
        DataError: fewer than two items can be read.
        EncoderError: as `encode` says.
    """
    settings = settings or Settings()
    check_output(Path(out), items.name, force=settings.force)
    if zero_shot is not None and not (
        hasattr(encoder, "encode_texts") and hasattr(encoder, "logit_scale")
    ):
        raise OptionError(
            "classes need an encoder of images and texts; choose --encoder clip (OpenClipEncoder)"
        )
    if normal is not None and not settings.anomalies:
        raise OptionError(ANOMALIES_ARE_OFF)
    _check_views(views, [*items.columns.columns, *ENCODING_COLUMNS])
    start = time.perf_counter()
    columns, notes = rename_clashes(items.columns, ENCODING_COLUMNS - set(items.made))
    items = replace(items, columns=columns, notes=(*items.notes, *notes))
    together = items if normal is None else _with_normal(items, normal)
    with loading_umap(needed=bool(settings.umap_dims)):
        points = encode(together, encoder, settings=encode_settings, progress=progress)
    reference = known_normal = None
    if normal is not None:
        split = _split_normal(points, include_normal)
        points, reference, known_normal = split.points, split.reference, split.known_normal
    names = _captions(points) if "kind" in items.made else None
    if zero_shot is not None:
        n = len(points)
        vectors = encode_classes(encoder, zero_shot)  # type: ignore[arg-type]
        names = NamedVectors(zero_shot.classes, vectors)
        points = add_predictions(points, encoder, zero_shot, vectors=vectors)  # type: ignore[arg-type]
        if known_normal is not None:
            known_normal = np.concatenate([known_normal, np.zeros(len(points) - n, dtype=bool)])
    seconds = round(time.perf_counter() - start, 2)
    points = replace(points, origin={**points.origin, "encode_seconds": seconds})
    return export_points(
        points,
        out,
        settings=settings,
        views=views,
        names=names,
        normal=reference,
        known_normal=known_normal,
        progress=progress,
    )


def _captions(points: Points) -> NamedVectors:
    rows = np.flatnonzero((points.columns["kind"] == "text").to_numpy())
    return NamedVectors(as_text(points.columns[LABEL])[rows].to_list(), points.vectors[rows])


def _check_views(views: Sequence[View], columns: Sequence[str]) -> None:
    """Find mistakes before any work is done."""
    check_titles(views)
    for view in views:
        view.check_columns([*columns, *sorted(OUR_COLUMNS)])


def _with_normal(items: Items, normal: Items) -> Items:
    """All items and then the known-normal ones, with the column `known_normal`."""
    columns, notes = rename_clashes(normal.columns, ENCODING_COLUMNS - set(normal.made))
    label = pl.col(LABEL).cast(pl.String)
    # A column of one name may hold other things in the other table.
    for name in set(columns.columns) & set(items.columns.columns) - {LABEL}:
        if columns.schema[name] != items.columns.schema[name]:
            columns = columns.with_columns(as_text(columns[name]))
            items = replace(items, columns=items.columns.with_columns(as_text(items.columns[name])))
    shared = {os.path.realpath(c) for c in normal.contents if isinstance(c, Path)} & {
        os.path.realpath(c) for c in items.contents if isinstance(c, Path)
    }
    if shared:
        notes.append(
            f"{len(shared)} known-normal images are among the images too; those find themselves, "
            "so their anomaly_reference is too low"
        )
    if "kind" in items.made:
        columns = columns.with_columns(pl.lit("image").alias("kind"))
    both = pl.concat(
        [
            items.columns.with_columns(label, pl.lit(value=False).alias("known_normal")),
            columns.with_columns(label, pl.lit(value=True).alias("known_normal")),
        ],
        how="diagonal_relaxed",
    )
    return replace(
        items,
        contents=(*items.contents, *normal.contents),
        columns=both,
        skipped=(*items.skipped, *normal.skipped),
        notes=(*items.notes, *normal.notes, *notes),
        normal_folder=normal.folder,
    )


@dataclass(frozen=True)
class _Split:
    points: Points
    reference: np.ndarray
    known_normal: np.ndarray | None


def _split_normal(points: Points, include: bool) -> _Split:
    """Take the known-normal items' vectors; leave their points only where they are to be shown."""
    is_normal = points.columns["known_normal"].to_numpy()
    kept = np.flatnonzero(~is_normal)
    for what, number in (("items", len(kept)), ("known-normal items", int(is_normal.sum()))):
        if number < 2:
            raise DataError(f"{number} {what} of {points.name} can be read; expected at least 2")
    reference = points.vectors[is_normal]
    origin = {**points.origin, "known_normal": len(reference)}
    if include:
        return _Split(replace(points, origin=origin), reference, is_normal)
    points = points.take(kept)
    return _Split(
        replace(points, columns=points.columns.drop("known_normal"), origin=origin), reference, None
    )


def export_points(
    points: Points,
    out: str | Path,
    *,
    settings: Settings | None = None,
    views: Sequence[View] = (),
    names: NamedVectors | None = None,
    normal: np.ndarray | None = None,
    known_normal: np.ndarray | None = None,
    progress: Progress | None = None,
) -> ExportResult:
    """Analyse points and write them as one embedding of a TensorBoard run.

    Args:
        points: N points.
        out: the run directory; made when missing. Other embeddings in it stay.
        settings: of analysis and output.
        views: bookmarks to add to those that the columns suggest; one of the same title takes the
            place of such a one.
        names: texts that clusters may be named after.
        normal: (M, D) vectors of known-normal items, M >= 2; fills `anomaly_reference`.
        known_normal: (N,) bool: which points are themselves the normal items, in their order; they
            are then compared with the others among these.
        progress: called when a step begins.

    Returns:
        What was done. On an error nothing in `out` has changed, unless the disk refuses the very
        last step; then the run shows the old export or the new one, and the message says which.

    Raises:
        OptionError, DataError, OutputError, NameTakenError: as their docstrings say.
        ReadBackError: TensorBoard's plugin does not give back what was written.
    """
    settings = settings or Settings()
    out = Path(out)
    clock = Clock(progress or ignore)
    check_output(out, points.name, force=settings.force)
    _check_views(views, points.columns.columns)
    coordinates = {
        view.layout_key: read_coordinates(view.layout_file, rows=len(points))
        for view in views
        if view.layout_file is not None
    }
    columns, warnings = rename_clashes(points.columns, OUR_COLUMNS)
    if warnings:
        points = replace(points, columns=columns)
    reference = _check_reference(points, normal, known_normal, settings)
    analysis = analyse(points, settings, names=names, reference=reference, clock=clock)
    return write_export(
        analysis,
        out,
        settings,
        views=views,
        coordinates=coordinates,
        warnings=warnings,
        clock=clock,
    )


def _check_reference(
    points: Points,
    normal: np.ndarray | None,
    known_normal: np.ndarray | None,
    settings: Settings,
) -> Reference | None:
    if normal is None:
        return None
    if not settings.anomalies:
        raise OptionError(ANOMALIES_ARE_OFF)
    normal = as_vectors(normal, where="normal")
    if normal.shape[1] != points.vectors.shape[1]:
        raise DataError(
            f"the normal items have {normal.shape[1]} columns but the points have "
            f"{points.vectors.shape[1]}; encode both with the same model"
        )
    return Reference(normal, known_normal)


def rename_clashes(columns: pl.DataFrame, ours: frozenset[str]) -> tuple[pl.DataFrame, list[str]]:
    """A user's column with one of our names becomes `user_<name>`."""
    clashes = [c for c in columns.columns if c.strip() in ours]
    if not clashes:
        return columns, []
    renamed = {c: f"user_{c.strip()}" for c in clashes}
    taken = set(renamed.values()) & set(columns.columns)
    if taken:
        raise DataError(f"columns {sorted(taken)} stand in the way of renaming {clashes}")
    warning = f"columns with reserved names were renamed: {', '.join(renamed.values())}"
    return columns.rename(renamed), [warning]
