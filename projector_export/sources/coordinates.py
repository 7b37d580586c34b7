"""Layouts that come from elsewhere: a file of two or three coordinates a row."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from projector_export.errors import DataError
from projector_export.points import as_vectors
from projector_export.sources.arrays import ARRAY_READERS
from projector_export.sources.tables import check_file, read_table


def read_coordinates(path: Path, *, rows: int) -> np.ndarray:
    """Read a layout, one row an item that could be read, in the input's order.

    Args:
        path: .npy of (N, 2) or (N, 3), or a table whose numeric columns are two or three.
        rows: N.

    Returns:
        (N, 2) or (N, 3) float32, finite.

    Raises:
        InputNotFoundError: no such file.
        DataError: another shape, or numbers that are not finite.
    """
    path = check_file(path)
    if path.suffix.lower() == ".npy":
        (values,) = ARRAY_READERS[".npy"](path).values()
    else:
        table = read_table(path, loose=True)
        numeric = [name for name in table.columns if table.schema[name].is_numeric()]
        if len(numeric) == 3 and numeric[0].lower() in ("", "id", "index", "row", "source_row"):
            raise DataError(
                f"{path} has the number columns {', '.join(numeric)}; the first looks like a row "
                "number: leave it out, for two coordinates, or call it x"
            )
        values = table.select(numeric).to_numpy()
    if values.ndim != 2 or values.shape[0] != rows or values.shape[1] not in (2, 3):
        shape = " x ".join(map(str, values.shape))
        raise DataError(
            f"{path} holds {shape} numbers; expected {rows} rows, one an item that could be read, "
            "of 2 or 3 coordinates"
        )
    return as_vectors(values, where=str(path))
