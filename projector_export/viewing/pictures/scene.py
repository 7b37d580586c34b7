"""What one bookmark's state shows: which points, where, in which colours, with which labels.

The state says it all; nothing is taken from elsewhere but the cells of metadata.tsv, which are the
columns that the viewer colours and labels by.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from projector_export.errors import DataError
from projector_export.points import LABEL
from projector_export.projector.exports import Export
from projector_export.projector.metadata import TEXT_MARK
from projector_export.viewing.pictures.camera import Camera, read_camera, stretch_to_cube
from projector_export.viewing.pictures.colors import Coloring, color_points, color_selection

# data.ts, getProjectionComponents: the keys of a projection's coordinates.
_PREFIXES = {"umap": "umap", "tsne": "tsne", "pca": "pca", "custom": "linear"}
_NAMES = {"umap": "UMAP", "tsne": "t-SNE", "pca": "PCA", "custom": "custom projection"}
_NEXT = "__seq_next__"  # data.ts, SEQUENCE_METADATA_ATTRS


@dataclass(frozen=True, eq=False)
class Scene:
    """What a view shows.

    Attributes:
        title: of the bookmark.
        rows: (n,) row numbers of the points shown, in the viewer's order.
        positions: (n, 3) in the cube [-1, 1].
        is_3d: whether the third coordinate means something.
        camera: where it is seen from.
        coloring: of the n points; by selection where there is one, as in the viewer.
        labels: n texts.
        label_by: the column they are from.
        selected: numbers below n, in the state's order.
        projection: `UMAP`, `PCA`, `t-SNE` or `custom projection`.
        isolated: whether other points are hidden.
        unplaced: points without coordinates, which the viewer does not draw either.
        links: (m, 2) numbers below n: a point and the next one of its path.
    """

    title: str
    rows: np.ndarray
    positions: np.ndarray
    is_3d: bool
    camera: Camera
    coloring: Coloring
    labels: pl.Series
    label_by: str
    selected: np.ndarray
    projection: str
    isolated: bool
    unplaced: int
    links: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


def read_scene(export: Export, state: Mapping[str, Any]) -> Scene:
    """Read one bookmark's state.

    Args:
        export: whose bookmark it is.
        state: as the viewer saves it.

    Raises:
        DataError: the state cannot be drawn; the message says why.
    """
    title = state_title(state)
    try:
        return _read_scene(read_cells(export), state, title)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise DataError(f"the view {title!r} cannot be drawn: {error}") from error
        raise DataError(
            f"the view {title!r} cannot be drawn: its state is not one of the viewer's "
            f"({error!r}); make the view anew"
        ) from error


def state_title(state: Mapping[str, Any]) -> str:
    """Return a state's title; `untitled` where it has none."""
    label = state.get("label")
    return label.strip() if isinstance(label, str) and label.strip() else "untitled"


def read_cells(export: Export) -> pl.DataFrame:
    """Return metadata.tsv: N rows of text, as the viewer has them; an empty cell is null.

    Raises:
        DataError: the file is missing, or has not one row a point.
    """
    content = export.read("metadata.tsv")
    has_header = b"\t" in content.split(b"\n", 1)[0]
    cells = pl.read_csv(
        io.BytesIO(content),
        separator="\t",
        quote_char=None,
        infer_schema=False,
        has_header=has_header,
        new_columns=None if has_header else [LABEL],
    )
    if cells.height != export.embedding.shape[0]:
        raise DataError(
            f"{export.folder / 'metadata.tsv'} has {cells.height} rows but the run's config says "
            f"{export.embedding.shape[0]} points; export again with --force"
        )
    return cells


def shown_texts(cells: pl.Series, rows: np.ndarray) -> pl.Series:
    """Return cells as people read them: without the marks that keep texts from being numbers."""
    texts = cells.gather(rows.tolist()).fill_null("")
    return texts.str.replace_all(TEXT_MARK, "", literal=True)


def _read_scene(cells: pl.DataFrame, state: Mapping[str, Any], title: str) -> Scene:
    rows = _isolated_rows(state, cells.height)
    isolated = rows is not None
    if rows is None:
        rows = np.arange(cells.height)
    kind, keys = _coordinate_keys(state)
    coordinates = _coordinates(state, keys, len(rows))
    placed = np.isfinite(coordinates).all(axis=1)
    if not placed.any():
        raise DataError(
            f"it holds no coordinates ({', '.join(keys)}); open it in the viewer instead"
        )
    selected = _selected(state, len(rows))
    # The numbers of the points that are drawn, in the order of all.
    renumbered = np.where(placed, np.cumsum(placed) - 1, -1)
    selected = renumbered[selected]
    selected = selected[selected >= 0]
    rows, coordinates = rows[placed], coordinates[placed]
    return Scene(
        title=title,
        rows=rows,
        positions=stretch_to_cube(coordinates),
        is_3d=len(keys) == 3,
        camera=read_camera(state, is_3d=len(keys) == 3),
        coloring=_coloring(cells, state, rows, selected),
        labels=_labels(cells, state.get("selectedLabelOption"), rows),
        label_by=str(state.get("selectedLabelOption") or LABEL),
        selected=selected,
        projection=_NAMES[kind],
        isolated=isolated,
        unplaced=int((~placed).sum()),
        links=_links(cells, rows),
    )


def _isolated_rows(state: Mapping[str, Any], n: int) -> np.ndarray | None:
    """Return the row numbers of the points that are shown; None for all (data.ts, getSubset)."""
    filtered = state.get("filteredPoints")
    return _numbers_below(filtered, n, "filteredPoints") if filtered else None


def _selected(state: Mapping[str, Any], n: int) -> np.ndarray:
    selected = _numbers_below(state.get("selectedPoints") or [], n, "selectedPoints")
    _, first = np.unique(selected, return_index=True)
    return selected[np.sort(first)]


def _numbers_below(values: Sequence[Any], n: int, key: str) -> np.ndarray:
    numbers = np.array([int(value) for value in values], dtype=np.int64)
    bad = numbers[(numbers < 0) | (numbers >= n)]
    if len(bad):
        raise DataError(f"{key} names point {bad[0]}, but there are {n} points; make the view anew")
    return numbers


def _coordinate_keys(state: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return the projection and the keys of its axes (data.ts, stateGetAccessorDimensions)."""
    kind = state.get("selectedProjection")
    if kind not in _PREFIXES:
        raise DataError(f"selectedProjection is {kind!r}; expected {', '.join(_PREFIXES)}")
    if kind == "pca":
        axes = [str(int(axis)) for axis in state["pcaComponentDimensions"] if axis is not None]
    elif kind == "custom":
        axes = ["x", "y"]
    else:
        axes = ["0", "1", "2"] if state.get(f"{_IS_3D[kind]}") else ["0", "1"]
    if len(axes) not in (2, 3):
        raise DataError(f"it has {len(axes)} axes; expected 2 or 3")
    return kind, [f"{_PREFIXES[kind]}-{axis}" for axis in axes]


_IS_3D = {"umap": "umapIs3d", "tsne": "tSNEis3d"}


def _coordinates(state: Mapping[str, Any], keys: list[str], n: int) -> np.ndarray:
    """Return (n, 2) or (n, 3) float64, nan where a point has none."""
    points = state.get("projections") or []
    if len(points) != n:
        raise DataError(
            f"it has coordinates of {len(points)} points; expected {n}, one a point shown"
        )
    columns = [[point.get(key) for point in points] for key in keys]
    return np.array(columns, dtype=np.float64).T


def _coloring(
    cells: pl.DataFrame, state: Mapping[str, Any], rows: np.ndarray, selected: np.ndarray
) -> Coloring:
    if len(selected):
        return color_selection(len(rows), selected)
    column = state.get("selectedColorOptionName")
    return color_points(
        cells[column] if column in cells.columns else None,
        rows,
        as_categories=bool(state.get("forceCategoricalColoring")),
    )


def _links(cells: pl.DataFrame, rows: np.ndarray) -> np.ndarray:
    """Return which of the points shown a line joins; values that name none are passed over.

    Args:
        cells: of all points; `__seq_next__` is the row number of the next point.
        rows: (n,) row numbers of the points that are drawn.
    """
    if _NEXT not in cells.columns:
        return np.empty((0, 2), dtype=np.int64)
    values = cells[_NEXT].str.strip_chars().cast(pl.Float64, strict=False).to_numpy()[rows]
    shown = dict(zip(rows.tolist(), range(len(rows)), strict=True))
    # A float finds the row number that it equals; nan, infinity and fractions find none.
    ends = np.array([shown.get(value, -1) for value in values.tolist()], dtype=np.int64)
    starts = np.arange(len(rows))
    links: np.ndarray = np.stack([starts, ends], axis=1)[(ends >= 0) & (ends != starts)]
    return links


def _labels(cells: pl.DataFrame, column: Any, rows: np.ndarray) -> pl.Series:
    if column in cells.columns:
        # Marks that keep texts from being read as numbers are of no use on paper.
        return shown_texts(cells[column], rows)
    return pl.Series(LABEL, [f"Unknown #{row}" for row in range(len(rows))], dtype=pl.String)
