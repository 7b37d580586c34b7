"""The two values that flow through the pipe: `Items` before encoding, `Points` after it.

Row i of every member describes item i, and every stage returns a new value for which that still
holds. The checks that keep it so live here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from projector_export.errors import DataError

LABEL = "label"
OUR_COLUMNS = frozenset(
    "cluster cluster_distance cluster_name anomaly anomaly_kind anomaly_global anomaly_group"
    " anomaly_local anomaly_reference nearest nearest_angle duplicate_group umap3d_x umap3d_y"
    " umap3d_z umap2d_x umap2d_y source_row shown movement movement_since_first"
    " neighbours_kept neighbour_overlap".split()
)
"""Columns that the analyses add."""
ENCODING_COLUMNS = frozenset(
    "predicted predicted_score predicted_margin agrees known_normal kind".split()
)
"""Columns that encoding adds."""


@dataclass(frozen=True)
class Items:
    """N things to encode.

    Attributes:
        contents: N of them: a `Path` is an image file, a `str` is a text.
        columns: N rows; has a `label` column.
        name: what the embedding is called.
        skipped: inputs that the source had to leave out, each with `path` and `why`.
        notes: what the user should know.
        made: names of columns that this program made, and not the user.
        source: name of the file or folder, for the manifest; default `name`.
        folder: absolute; what the column `path` is relative to. Empty where it names no files.
        normal_folder: the same for items that are `known_normal`.
    """

    contents: tuple[Path | str, ...]
    columns: pl.DataFrame
    name: str
    skipped: tuple[Mapping[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
    source: str = ""
    folder: str = ""
    normal_folder: str = ""

    def __post_init__(self) -> None:
        _check_rows(self.columns, len(self.contents), "contents", self.name)

    def __len__(self) -> int:
        return len(self.contents)


@dataclass(frozen=True, eq=False)
class Points:
    """N vectors and all that is known about each of them.

    Attributes:
        vectors: (N, D) float32, C-contiguous, finite; N >= 2, D >= 2 (TensorBoard shows no less).
        columns: N rows; its first column is `label`, which is added (`row 0`, ...) when missing.
        name: what the embedding is called.
        thumbnails: (N, T, T, 4) uint8 RGBA, or None.
        origin: facts for the manifest from the stages so far (source, encoder, skipped inputs).

    Raises:
        DataError: a shape, a dtype or a value is not as above.
    """

    vectors: np.ndarray
    columns: pl.DataFrame = field(default_factory=pl.DataFrame)
    name: str = "vectors"
    thumbnails: np.ndarray | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        vectors = as_vectors(self.vectors, where=self.name)
        columns = self.columns
        if columns.width == 0:
            columns = pl.DataFrame({LABEL: [f"row {i}" for i in range(len(vectors))]})
        _check_rows(columns, len(vectors), "vectors", self.name)
        if LABEL not in columns.columns:
            labels = pl.Series(LABEL, [f"row {i}" for i in range(len(vectors))])
            columns = columns.select(labels, pl.all())
        elif columns.columns[0] != LABEL:
            columns = columns.select(LABEL, pl.exclude(LABEL))
        object.__setattr__(self, "vectors", vectors)
        object.__setattr__(self, "columns", columns)
        if self.thumbnails is not None:
            _check_thumbnails(self.thumbnails, len(vectors), self.name)

    def __len__(self) -> int:
        return len(self.vectors)

    def with_columns(self, columns: pl.DataFrame) -> Points:
        """Return new points with these N-row columns added; one of the same name is replaced."""
        _check_rows(columns, len(self), "vectors", self.name)
        # A copy: the vectors are the same object, which need not be looked through again.
        changed = copy(self)
        object.__setattr__(changed, "columns", self.columns.with_columns(columns.get_columns()))
        return changed

    def take(self, rows: np.ndarray) -> Points:
        """Return new points with just these row numbers, in that order."""
        thumbnails = None if self.thumbnails is None else self.thumbnails[rows]
        return replace(
            self, vectors=self.vectors[rows], columns=self.columns[rows], thumbnails=thumbnails
        )


def as_text(values: pl.Series) -> pl.Series:
    """Return a column of any type as text, missing values as empty text."""
    dtype = values.dtype
    if dtype in (pl.Boolean, pl.String, pl.Date, pl.Time, pl.Categorical, pl.Enum):
        return values.cast(pl.String).fill_null("")
    texts = ["" if value is None else str(value) for value in values.to_list()]
    return pl.Series(values.name, texts, dtype=pl.String)


def as_vectors(values: np.ndarray, *, where: str) -> np.ndarray:
    """Return `values` as (N, D) float32, C-contiguous and finite, copying only when needed.

    Args:
        values: 2-D array of any integer, boolean or real floating dtype.
        where: named in the error, usually a file.

    Raises:
        DataError: not 2-D, too small, not numeric, or not finite.
    """
    values = np.asanyarray(values)
    if values.ndim != 2:
        raise DataError(
            f"{where} holds an array of shape {values.shape}; expected 2 dimensions "
            "(rows, columns): give one row a vector"
        )
    if values.dtype.kind not in "fiub":
        raise DataError(
            f"{where} holds values of type {values.dtype}; expected real numbers "
            "(float16/32/64 or integers): convert them first"
        )
    rows, dims = values.shape
    if rows < 2 or dims < 2:
        raise DataError(
            f"{where} holds {rows} vectors of {dims} values; the projector needs at least "
            "2 vectors of 2 values: give it more"
        )
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(values, dtype=np.float32)
    # A sum is finite only if all its terms are; it needs no (N, D) mask. Overflow of finite
    # terms falls through to the exact check.
    with np.errstate(over="ignore", invalid="ignore"):
        suspects = np.flatnonzero(~np.isfinite(vectors.sum(axis=1)))
    for row in suspects:
        bad = np.flatnonzero(~np.isfinite(vectors[row]))
        if len(bad):
            got = values[row, bad[0]]
            raise DataError(
                f"{where} has {got} in row {row}, column {bad[0]}; expected numbers that are "
                "finite in float32: drop or repair the row"
            )
    return vectors


def _check_rows(columns: pl.DataFrame, n: int, what: str, where: str) -> None:
    if columns.height != n:
        raise DataError(
            f"{where} has {n} {what} but its columns have {columns.height} rows; "
            "give one row of columns for each"
        )


def _check_thumbnails(thumbnails: np.ndarray, n: int, where: str) -> None:
    shape = thumbnails.shape
    if thumbnails.dtype != np.uint8 or len(shape) != 4 or shape[0] != n or shape[3] != 4:
        raise DataError(
            f"{where} has thumbnails of shape {shape} and type {thumbnails.dtype}; expected "
            f"({n}, T, T, 4) of uint8 (RGBA), one a vector"
        )
    if shape[1] != shape[2]:
        raise DataError(f"{where} has thumbnails of {shape[1]} x {shape[2]} px; expected squares")
