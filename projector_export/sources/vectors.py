"""A file of ready-made vectors, with or without a table of columns and images."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs

from projector_export.errors import DataError, InputNotFoundError
from projector_export.points import LABEL, Points, as_vectors
from projector_export.sources.arrays import ARRAY_READERS
from projector_export.sources.images import list_images, path_text
from projector_export.sources.tables import (
    LOOSE_NUMBER,
    TABLE_SUFFIXES,
    check_file,
    choose_label,
    read_table,
)
from projector_export.thumbnails import fitting_tile_px, read_thumbnails

VECTOR_SUFFIXES = (".npy", ".npz", ".csv", ".tsv", ".parquet", ".jsonl", ".pt", ".safetensors")
_USUAL_NAMES = ("vectors", "embeddings", "vector", "embedding", "arr_0")


def read_vectors(
    path: str | Path,
    *,
    metadata: str | Path | None = None,
    label: str | None = None,
    images: str | Path | None = None,
    thumbnail_px: int = 64,
    name: str | None = None,
) -> Points:
    """Read vectors and what belongs to them; row i of every file is point i.

    Args:
        path: .npy (memory-mapped), .npz, .csv, .tsv, .parquet, .jsonl, .pt or .safetensors. In a
            table, the column of lists, else all numeric columns, are the vectors; the other
            columns are kept. In .npz and .safetensors the one 2-D array is; 1-D arrays of as many
            values are kept as columns.
        metadata: a table of as many rows (csv, tsv, txt, jsonl, parquet).
        label: which column is the label; default `label`, else the first text column.
        images: a column of image paths (relative to the metadata's folder), or a folder with as
            many images, taken in sorted order.
        thumbnail_px: side of a thumbnail; lowered when so many would not fit into a sprite.
        name: of the embedding; default the file's name without its ending.

    Raises:
        InputNotFoundError: a file is missing.
        DataError: the content is not as above; says where.
        MissingExtraError: a .pt file without torch installed.
    """
    path = check_file(path)
    vectors, own = read_arrays(path, label=label)
    columns = own
    base = path.parent
    if metadata is not None:
        table = read_table(metadata)
        base = Path(metadata).parent
        if table.height != len(vectors):
            raise DataError(
                f"{metadata} has {table.height} rows but {path} has {len(vectors)} vectors; "
                "give one row a vector"
            )
        clash = {c: f"{c}_vectors" for c in own.columns if c in table.columns}
        columns = pl.concat([table, own.rename(clash)], how="horizontal")
    notes = []
    if path.suffix.lower() in (".csv", ".tsv", ".parquet", ".jsonl"):
        kept = f"; kept as columns: {', '.join(own.columns)}" if own.width else ""
        notes.append(f"the vector is {vectors.shape[1]} columns of {path.name}{kept}")
    facts: dict[str, Any] = {"source": path.name, "notes": notes}
    thumbnails, folder = None, base
    if images is not None:
        files = _image_files(images, columns, base, len(vectors))
        thumbnails, failed = read_thumbnails(files, fitting_tile_px(len(files), thumbnail_px))
        if len(failed) == len(files):
            raise DataError(f"none of the {len(files)} images can be read; first: {failed[0]}")
        facts["images_unreadable"] = [{"row": r, "why": w} for r, w in failed.items()]
        if "path" not in columns.columns:
            path_column = pl.DataFrame({"path": [path_text(file) for file in files]})
            columns = pl.concat([columns, path_column], how="horizontal")
            folder = Path()  # those paths lead from the working directory
    if "path" in columns.columns:
        facts["source_folder"] = path_text(folder.resolve())
    return Points(
        vectors,
        choose_label(columns, label, where=str(metadata or path)),
        name=name or path.stem,
        thumbnails=thumbnails,
        origin=facts,
    )


def read_arrays(path: Path, *, label: str | None = None) -> tuple[np.ndarray, pl.DataFrame]:
    """Return a file's vectors as (N, D) float32 and its other columns (N rows, or no column).

    Raises:
        DataError: as `read_vectors`.
    """
    path = check_file(path)
    suffix = path.suffix.lower()
    if suffix in ARRAY_READERS:
        arrays = ARRAY_READERS[suffix](path)
        key = _choose_array(arrays, path)
        vectors = as_vectors(arrays.pop(key), where=str(path))
        own = {
            name: values
            for name, values in arrays.items()
            if values.shape == (len(vectors),) and values.dtype.kind in "biufU"
        }
        return vectors, pl.DataFrame(own)
    if suffix not in TABLE_SUFFIXES or suffix == ".txt":
        raise DataError(
            f"{path} ends in {suffix!r}; expected vectors as {' '.join(VECTOR_SUFFIXES)}"
        )
    header = _has_header(path) if suffix in (".csv", ".tsv") else None
    return _split_table(read_table(path, header=header, loose=True), path, label)


def _split_table(
    table: pl.DataFrame, path: Path, label: str | None
) -> tuple[np.ndarray, pl.DataFrame]:
    if "" in table.columns and "index" not in table.columns:
        table = table.rename({"": "index"})
    if table.height == 0:
        raise DataError(f"{path} has no rows; the projector needs at least 2 vectors")
    lists = [c for c, t in table.schema.items() if isinstance(t, (pl.List, pl.Array))]
    if lists:
        key = _one_of(lists, "list columns", path)
        values = table[key]
        inner = values.explode()
        lengths = values.list.len() if isinstance(values.dtype, pl.List) else values.arr.len()
        sizes = lengths.fill_null(0).to_list()
        if len(set(sizes)) != 1 or sizes[0] == 0 or not inner.dtype.is_numeric():
            raise DataError(
                f"{path}, column {key!r}, holds lists of {min(sizes)} to {max(sizes)} "
                f"values of type {inner.dtype}; expected lists of equally many numbers"
            )
        flat = inner.cast(pl.Float32).fill_null(float("nan")).to_numpy()
        return as_vectors(flat.reshape(table.height, -1), where=str(path)), table.drop(key)
    for column in table.select(cs.string()).columns:
        if column not in (label, LABEL):
            _check_no_numbers_among_text(table[column], path)
    numbers = [
        c
        for c in table.select(cs.numeric()).columns
        if c not in (label, LABEL) and not _is_index(table[c])
    ]
    if len(numbers) < 2:
        raise DataError(
            f"{path} has {len(numbers)} numeric columns; expected a column of lists or at least "
            "2 numeric columns"
        )
    matrix = table.select(pl.col(numbers).cast(pl.Float32)).fill_null(float("nan")).to_numpy()
    return as_vectors(matrix, where=str(path)), table.drop(numbers)


def _is_index(values: pl.Series) -> bool:
    """Whether this is the row numbers that pandas writes as an unnamed column."""
    unnamed = values.name in ("index", "Unnamed: 0", "__index_level_0__")
    return unnamed and values.to_list() == list(range(len(values)))


def _check_no_numbers_among_text(texts: pl.Series, path: Path) -> None:
    """A column that is numbers but for some cells is a broken part of the vector, not a label."""
    numeric = texts.str.contains(LOOSE_NUMBER)
    if 2 * int(numeric.sum()) > len(texts):
        row = int((~numeric).arg_max() or 0)
        raise DataError(
            f"{path} has {texts[row]!r} in row {row}, column {texts.name!r}, where most cells are "
            "numbers; repair or drop the row, or give --label if that column is text"
        )


def _has_header(path: Path) -> bool | None:
    """Whether a delimited file's first line is a header; None leaves it to the table's reader.

    Raises:
        DataError: some of its cells are numbers as in data, others are not.
    """
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            cells = next(csv.reader(stream, delimiter=separator), [])
    except (UnicodeDecodeError, csv.Error):  # read_table says what is wrong
        return None
    numbers = [cell.strip() for cell in cells if _is_number(cell)]
    if not numbers or numbers == [str(i) for i in range(len(numbers))]:
        return True  # names, or columns as pandas numbers them
    if len(numbers) == len(cells):
        return False
    raise DataError(
        f"{path} begins with {','.join(cells[:4])!r}, which is neither a header nor a row of "
        "numbers; give it a header line"
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _choose_array(arrays: dict[str, Any], path: Path) -> str:
    if len(arrays) == 1:
        return next(iter(arrays))
    flat = [key for key, array in arrays.items() if array.ndim == 2]
    if not flat:
        shapes = ", ".join(f"{key!s} {arrays[key].shape}" for key in arrays)
        raise DataError(f"{path} holds no 2-D array; expected one of (rows, columns): {shapes}")
    return _one_of(flat, "2-D arrays", path)


def _one_of(names: list[str], what: str, path: Path) -> str:
    usual = [name for name in _USUAL_NAMES if name in names]
    if len(names) > 1 and not usual:
        raise DataError(
            f"{path} has {len(names)} {what} ({', '.join(names)}); expected one, "
            f"or one named {_USUAL_NAMES[0]!r}"
        )
    return usual[0] if usual else names[0]


def _image_files(images: str | Path, columns: pl.DataFrame, base: Path, n: int) -> list[Path]:
    if str(images) in columns.columns:
        return [base / str(file or "") for file in columns[str(images)].to_list()]
    folder = Path(images)
    if not folder.is_dir():
        raise InputNotFoundError(
            f"images is {str(images)!r}, which is neither a column "
            f"({', '.join(columns.columns) or 'there are none'}) nor a folder"
        )
    files = list_images(folder)
    if len(files) != n:
        raise DataError(
            f"{folder} holds {len(files)} images but there are {n} vectors; expected one each"
        )
    return files
