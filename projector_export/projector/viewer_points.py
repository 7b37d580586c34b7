"""The points that a viewer has: what views and selections speak of."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from projector_export.errors import OptionError
from projector_export.points import LABEL, as_text

SOURCE_ROW = "source_row"
"""Column of points.parquet: the row of the input, before thinning."""
_MOST_LISTED = 12


@dataclass(frozen=True, eq=False)
class ViewerPoints:
    """N points as the viewer has them: what views and selections speak of.

    Attributes:
        columns: N rows, in the tensor's order, with `source_row`.
        vectors: (N, D) float32 in which Euclidean distance means nearness: of unit length for the
            cosine metric, or their principal components.
    """

    columns: pl.DataFrame
    vectors: np.ndarray

    def __len__(self) -> int:
        return self.columns.height

    @cached_property
    def labels(self) -> pl.Series:
        """The labels as text."""
        return as_text(self.columns[LABEL])

    def column(self, name: str) -> pl.Series:
        """Return a column.

        Raises:
            OptionError: there is none of that name.
        """
        check_column(name, self.columns.columns)
        return self.columns[name]

    def rows_labelled(self, label: str) -> np.ndarray:
        """Return the rows with that label.

        Raises:
            OptionError: no point has it.
        """
        rows = np.flatnonzero((self.labels == label).to_numpy())
        if not len(rows):
            raise OptionError(f"no point is labelled {label!r}{close_to(label, self.labels)}")
        return rows

    def nearest_rows(self, label: str, n: int) -> np.ndarray:
        """Return the point of that label and the n nearest others.

        Where several points have it, the n nearest to their centroid, themselves or others.
        """
        anchors = self.rows_labelled(label)
        centre = self.vectors[anchors].mean(axis=0, dtype=np.float64)
        difference = self.vectors - centre.astype(np.float32)
        squared = np.einsum("nd,nd->n", difference, difference)
        single = len(anchors) == 1
        if single:
            squared[anchors] = -1
        return np.argsort(squared, kind="stable")[: n + single]


def check_column(name: str, known: Sequence[str]) -> None:
    """Raise OptionError unless a column of that name is known."""
    if name not in known:
        raise OptionError(f"there is no column {name!r}{close_to(name, pl.Series(list(known)))}")


def close_to(wanted: str, known: pl.Series) -> str:
    """Return the end of a message: what was perhaps meant, or what there is."""
    names = known.unique(maintain_order=True).to_list()
    close = difflib.get_close_matches(wanted, [str(name) for name in names[:5000]], n=3)
    if close:
        return f"; did you mean {' or '.join(map(repr, close))}?"
    listed = ", ".join(str(name)[:40] for name in names[:_MOST_LISTED])
    return f"; there are {listed}{', ...' if len(names) > _MOST_LISTED else ''}"
