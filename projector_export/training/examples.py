"""What a recorder is told of its examples, and their vectors as plain arrays."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import polars as pl

from projector_export.errors import DataError, InputNotFoundError
from projector_export.points import LABEL
from projector_export.sources.tables import choose_label, read_table
from projector_export.thumbnails import fit_tile, fitting_tile_px


@dataclass(frozen=True, eq=False)
class Examples:
    """N examples.

    Attributes:
        columns: N rows, or none where nothing is known of them.
        thumbnails: (N, T, T, 4) uint8 RGBA, or None.
        files: N image files that thumbnails are to be made of, or none.
        thumbnail_px: side of a thumbnail.
    """

    columns: pl.DataFrame
    thumbnails: np.ndarray | None
    files: tuple[Path, ...]
    thumbnail_px: int


def read_examples(*, labels: Any, images: Any, metadata: Any, thumbnail_px: int) -> Examples:
    """Bring labels, images and metadata into one form.

    Args:
        labels: N, or None.
        images: N files or pictures, or None.
        metadata: N rows, or None.
        thumbnail_px: side of a thumbnail; lowered when so many would not fit into a sprite.

    Raises:
        DataError: their numbers differ, or a type cannot be used.
        InputNotFoundError: an image is missing altogether.
    """
    columns = _table(metadata)
    if labels is not None:
        values = _column(LABEL, labels)
        _check_number("labels", len(values), "metadata rows", columns)
        columns = _with_label(values, columns)
    elif columns.width:
        columns = choose_label(columns, None, where="metadata")
    thumbnails, files = None, tuple[Path, ...]()
    if isinstance(images, (str, os.PathLike)):
        raise DataError(f"images is {str(images)!r}; expected N files or pictures: list the files")
    if images is not None:
        n = len(images)
        if n == 0:
            raise DataError("images is empty; expected one an example, or None")
        _check_number("images", n, "labels or metadata rows", columns)
        first = images[0]
        if isinstance(first, (str, os.PathLike)):
            files = tuple(Path(file).absolute() for file in images)
            if not any(file.exists() for file in files):
                raise InputNotFoundError(f"none of the {n} images exists; the first is {files[0]}")
            if columns.width == 0:
                columns = pl.DataFrame({LABEL: [file.name for file in files]})
        else:
            thumbnails = _tiles(images, fitting_tile_px(n, thumbnail_px))
            if columns.width == 0:
                columns = pl.DataFrame({LABEL: [f"row {i}" for i in range(n)]})
    return Examples(columns, thumbnails, files, thumbnail_px)


def as_array(vectors: Any, step: int) -> np.ndarray:
    """Return a copy as (N, D) float32 in this process's memory.

    Args:
        vectors: a NumPy array, a torch tensor on any device (dense or sparse, with or without a
            graph, which is not kept), or rows of numbers.
        step: named in errors.

    Raises:
        DataError: not 2-D, or no real numbers.
    """
    if hasattr(vectors, "detach"):
        vectors = _off_graph(vectors, step)
    try:
        values = np.asarray(vectors)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"the vectors of step {step} are a {type(vectors).__name__} that is no array ({error});"
            " expected (examples, dimensions) of real numbers"
        ) from error
    if values.ndim != 2 or values.dtype.kind not in "fiub":
        raise DataError(
            f"the vectors of step {step} are of shape {values.shape} and type {values.dtype}; "
            "expected (examples, dimensions) of real numbers"
        )
    with np.errstate(over="ignore"):  # infinite then, which is told with its place
        return np.array(values, dtype=np.float32, order="C")


def _off_graph(tensor: Any, step: int) -> np.ndarray:
    """Return a torch tensor's values, which may still be the tensor's own memory."""
    if tensor.is_complex():  # torch would drop the imaginary part
        raise DataError(
            f"the vectors of step {step} are of type {tensor.dtype}; expected real numbers"
        )
    tensor = tensor.detach()
    if str(tensor.layout) != "torch.strided":
        tensor = tensor.to_dense()
    values: np.ndarray = tensor.float().numpy(force=True)
    return values


def _table(metadata: Any) -> pl.DataFrame:
    if metadata is None:
        return pl.DataFrame()
    if isinstance(metadata, pl.DataFrame):
        for column in metadata.iter_columns():
            if column.dtype == pl.Object:  # lists and structs become text
                _refuse(column)
        return metadata
    if isinstance(metadata, (str, os.PathLike)):
        return read_table(Path(metadata))
    if isinstance(metadata, Mapping):
        return _from_columns(metadata)
    if hasattr(metadata, "columns") and hasattr(metadata, "to_dict"):  # pandas
        return _from_columns(metadata.to_dict("list"))
    raise DataError(
        f"metadata is a {type(metadata).__name__}; expected a polars or pandas table, a "
        "mapping of columns, or a file"
    )


def _from_columns(columns: Mapping[Any, Any]) -> pl.DataFrame:
    found = [_column(str(name), values) for name, values in columns.items()]
    sizes = {column.name: len(column) for column in found}
    if len(set(sizes.values())) > 1:
        raise DataError(f"metadata has columns of several lengths: {sizes}; expected one")
    return pl.DataFrame(found)


def _with_label(labels: pl.Series, columns: pl.DataFrame) -> pl.DataFrame:
    """The labels before the other columns; a label among these gets another name."""
    spare = f"{LABEL}_original"
    while spare in columns.columns:
        spare += "_"
    columns = columns.rename({LABEL: spare}, strict=False)
    return pl.DataFrame([labels, *columns.get_columns()])


def _column(name: str, values: Any) -> pl.Series:
    """Return a column of values, each of them a single one.

    Raises:
        DataError: they are lists, arrays or other objects.
    """
    if isinstance(values, (str, bytes)):
        raise DataError(f"{name} is the text {values!r}; expected one value an example")
    if isinstance(values, pl.Series):
        column = values.alias(name)
    else:
        listed = [_plain(value) for value in (values.tolist() if _is_array(values) else values)]
        column = pl.Series(name, listed, strict=False)
    if column.dtype.is_nested() or column.dtype == pl.Object:
        _refuse(column)
    return column


def _refuse(column: pl.Series) -> NoReturn:
    first = next((value for value in column if value is not None), None)
    raise DataError(
        f"{column.name} has a {type(first).__name__} for an example; expected a text or a number"
    )


def _is_array(values: Any) -> bool:
    return hasattr(values, "tolist") and hasattr(values, "dtype")


def _plain(value: Any) -> Any:
    """Return a NumPy or torch value as Python's own."""
    return value.tolist() if _is_array(value) else value


def _check_number(what: str, got: int, beside: str, columns: pl.DataFrame) -> None:
    if columns.width and got != columns.height:
        raise DataError(
            f"there are {got} {what} but {columns.height} {beside}; give one an example"
        )


def _tiles(images: Any, tile_px: int) -> np.ndarray:
    """Return (N, T, T, 4) tiles of pictures."""
    from PIL import Image

    tiles = np.empty((len(images), tile_px, tile_px, 4), dtype=np.uint8)
    for row, picture in enumerate(images):
        image = picture if isinstance(picture, Image.Image) else _as_image(picture, row)
        tiles[row] = fit_tile(image, tile_px)
    return tiles


def _as_image(picture: Any, row: int) -> Any:
    from PIL import Image

    if hasattr(picture, "detach"):
        picture = picture.detach().to("cpu")
        picture = (picture.float() if picture.is_floating_point() else picture).numpy()
    values = np.asarray(picture)
    if values.ndim == 3 and values.shape[0] in (1, 3, 4) and values.shape[2] not in (1, 3, 4):
        values = values.transpose(1, 2, 0)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    is_shaped = values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (3, 4))
    if not is_shaped or values.size == 0:
        raise DataError(
            f"image {row} is of shape {np.shape(picture)}; expected (H, W), (H, W, C) or (C, H, W) "
            "with 1, 3 or 4 channels"
        )
    if values.dtype.kind == "f":
        low, high = values.min(), values.max()
        if not (low >= 0 and high <= 1):
            raise DataError(
                f"image {row} has values from {low:.4g} to {high:.4g}; expected floats from 0 to "
                "1, or uint8: undo its normalisation first"
            )
        values = np.rint(values * 255)
    elif values.dtype != np.uint8 and values.dtype != np.bool_:
        raise DataError(f"image {row} is of type {values.dtype}; expected uint8, or floats 0 to 1")
    elif values.dtype == np.bool_:
        values = values * np.uint8(255)
    return Image.fromarray(values.astype(np.uint8))
