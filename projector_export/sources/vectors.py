"""A file of ready-made vectors, with or without a table of columns and images."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs

from projector_export.errors import DataError, InputNotFoundError, MissingExtraError
from projector_export.points import LABEL, Points, as_vectors
from projector_export.sources.images import list_images, path_text
from projector_export.sources.tables import TABLE_SUFFIXES, check_file, read_table
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
        clash = [c for c in own.columns if c in table.columns]
        columns = pl.concat([table, own.drop(clash)], how="horizontal")
    thumbnails, image_facts = None, {}
    if images is not None:
        files = _image_files(images, columns, base, len(vectors))
        thumbnails, failed = read_thumbnails(files, fitting_tile_px(len(files), thumbnail_px))
        if len(failed) == len(files):
            raise DataError(f"none of the {len(files)} images can be read; first: {failed[0]}")
        image_facts = {"images_unreadable": [{"row": r, "why": w} for r, w in failed.items()]}
        if "path" not in columns.columns:
            path_column = pl.DataFrame({"path": [path_text(file) for file in files]})
            columns = pl.concat([columns, path_column], how="horizontal")
    return Points(
        vectors,
        choose_label(columns, label, where=str(metadata or path)),
        name=name or path.stem,
        thumbnails=thumbnails,
        origin={"source": path.name, **image_facts},
    )


def choose_label(columns: pl.DataFrame, label: str | None, *, where: str) -> pl.DataFrame:
    """Return the columns with `label` first, copied from the column chosen.

    Raises:
        DataError: no column of that name.
    """
    if label is None:
        texts = columns.select(cs.string()).columns
        label = LABEL if LABEL in columns.columns else (texts[0] if texts else None)
    if label is None or (label == LABEL and LABEL in columns.columns):
        return columns
    if label not in columns.columns:
        raise DataError(
            f"{where} has no column {label!r} for the label; its columns are: "
            f"{', '.join(columns.columns) or '(none)'}"
        )
    if LABEL in columns.columns:
        spare = "label_original"
        while spare in columns.columns:
            spare += "_"
        columns = columns.rename({LABEL: spare})
    return columns.select(pl.col(label).alias(LABEL), pl.all())


def read_arrays(path: Path, *, label: str | None = None) -> tuple[np.ndarray, pl.DataFrame]:
    """Return a file's vectors as (N, D) float32 and its other columns (N rows, or no column).

    Raises:
        DataError: as `read_vectors`.
    """
    path = check_file(path)
    readers: dict[str, Callable[[Path], dict[str, Any]]] = {
        ".npy": _read_npy,
        ".npz": _read_npz,
        ".pt": _read_pt,
        ".safetensors": _read_safetensors,
    }
    suffix = path.suffix.lower()
    if suffix in readers:
        arrays = readers[suffix](path)
        key = _choose_array(arrays, path)
        vectors = as_vectors(arrays.pop(key), where=str(path))
        own = {k: v for k, v in arrays.items() if v.shape == (len(vectors),) and v.dtype != object}
        return vectors, pl.DataFrame(own)
    if suffix not in TABLE_SUFFIXES or suffix == ".txt":
        raise DataError(
            f"{path} ends in {suffix!r}; expected vectors as {' '.join(VECTOR_SUFFIXES)}"
        )
    header = False if suffix in (".csv", ".tsv") and _starts_with_numbers(path) else None
    return _split_table(read_table(path, header=header, loose=True), path, label)


def _split_table(
    table: pl.DataFrame, path: Path, label: str | None
) -> tuple[np.ndarray, pl.DataFrame]:
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
    numbers = [c for c in table.select(cs.numeric()).columns if c not in (label, LABEL)]
    if len(numbers) < 2:
        raise DataError(
            f"{path} has {len(numbers)} numeric columns; expected a column of lists or at least "
            "2 numeric columns"
        )
    matrix = table.select(pl.col(numbers).cast(pl.Float32)).fill_null(float("nan")).to_numpy()
    return as_vectors(matrix, where=str(path)), table.drop(numbers)


def _starts_with_numbers(path: Path) -> bool:
    """Whether a delimited file has no header: all cells of its first line are numbers."""
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        with open(path, encoding="utf-8-sig") as stream:
            cells = stream.readline().rstrip("\n").split(separator)
        for cell in cells:
            float(cell)
    except ValueError:  # UnicodeDecodeError too: read_table reports it
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


def _read_npy(path: Path) -> dict[str, Any]:
    try:
        return {path.stem: np.load(path, mmap_mode="r", allow_pickle=False)}
    except (ValueError, OSError, EOFError) as error:
        raise _not_readable(path, error) from error


def _read_npz(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _not_readable(path, error) from error


def _not_readable(path: Path, error: Exception) -> DataError:
    if "pickle" in str(error) or "Python objects" in str(error):
        return DataError(
            f"{path} holds pickled Python objects, which can run code when loaded; expected a "
            "numeric array: save it again with np.save(path, array.astype('float32'))"
        )
    return DataError(f"{path} cannot be read as NumPy data ({error}); save it again with np.save")


def _read_pt(path: Path) -> dict[str, Any]:
    import pickle

    try:
        import torch
    except ImportError as error:
        raise MissingExtraError(
            f"{path} needs torch, which is not installed: pip install 'projector-export[training]'"
        ) from error
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise DataError(
            f"{path} cannot be loaded with weights_only=True ({_reason(error)}); "
            "expected a tensor or a dict of tensors: save it with torch.save(tensor, path)"
        ) from error
    found = loaded if isinstance(loaded, dict) else {path.stem: loaded}
    tensors = {str(k): v for k, v in found.items() if isinstance(v, torch.Tensor)}
    arrays = {key: _from_torch(tensor, path) for key, tensor in tensors.items()}
    if not arrays:
        raise DataError(
            f"{path} holds {type(loaded).__name__}; expected a tensor or a dict of them"
        )
    return arrays


def _from_torch(tensor: Any, path: Path) -> np.ndarray:
    import torch

    tensor = tensor.detach()
    if tensor.is_sparse:
        tensor = tensor.to_dense()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    try:
        array: np.ndarray = tensor.numpy()
    except TypeError as error:
        raise DataError(f"{path} holds {tensor.dtype}; convert it to float32 first") from error
    return array


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as archive:
            names = archive.keys()
            return {key: archive.get_tensor(key) for key in names}
    except (TypeError, AttributeError) as error:  # types that NumPy does not have
        try:
            from safetensors.torch import load_file
        except ImportError:
            raise DataError(
                f"{path} holds a type that NumPy does not have; save it as float32, or "
                "pip install 'projector-export[training]' for bfloat16"
            ) from error
        return {key: _from_torch(tensor, path) for key, tensor in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} cannot be read as safetensors ({error})") from error


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
