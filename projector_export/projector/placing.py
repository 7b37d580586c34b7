"""From views to bookmarks: which rows a view selects and isolates, and where its points lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from projector_export.errors import OptionError
from projector_export.limits import MAX_CATEGORIES, SPHEREIZE_FROM
from projector_export.projector.selection import parse_selection, select_rows
from projector_export.projector.viewer_points import SOURCE_ROW, ViewerPoints
from projector_export.projector.views import AXES, NO_COLOR, View, default_color


@dataclass(frozen=True, eq=False)
class PlacedView:
    """A view of known points.

    Attributes:
        view: with its layout and colour chosen.
        selected: row numbers among all points; in an isolated view, of isolated ones only.
        isolated: row numbers of the points that are shown alone, ascending; None for all.
        coordinates: (N, 2) or (N, 3) float, all points'.
    """

    view: View
    selected: tuple[int, ...]
    isolated: tuple[int, ...] | None
    coordinates: np.ndarray

    @property
    def n_shown(self) -> int:
        """Points that the view shows."""
        return len(self.coordinates) if self.isolated is None else len(self.isolated)

    @property
    def size(self) -> ViewSize:
        """How many points it selects and isolates."""
        isolated = None if self.isolated is None else len(self.isolated)
        return ViewSize(self.view.title, len(self.selected), isolated)


@dataclass(frozen=True, eq=False)
class Placer:
    """Places views of one export.

    Attributes:
        points: N points as the viewer has them.
        tensor: (N, D) as the viewer has it, for its principal components.
        files: coordinates of layouts that are files, by `View.layout_key`: (N, 2) or (N, 3).
    """

    points: ViewerPoints
    tensor: np.ndarray
    files: Mapping[str, np.ndarray] = field(default_factory=dict)

    @cached_property
    def _principal(self) -> np.ndarray:
        return principal_coordinates(self.tensor)

    @cached_property
    def _umap(self) -> dict[str, np.ndarray]:
        columns = self.points.columns
        return {
            layout: columns.select(axes).to_numpy()
            for layout, axes in AXES.items()
            if set(axes) <= set(columns.columns)
        }

    def place(self, views: Iterable[View]) -> list[PlacedView]:
        """Find every view's rows and coordinates.

        Raises:
            OptionError: naming the view: an unknown column, value or layout, a column that the
                viewer cannot colour by, or a selection of no point.
        """
        placed = []
        for view in views:
            try:
                placed.append(self._place(view))
            except OptionError as error:
                raise view.error(error) from error
        return placed

    def _place(self, view: View) -> PlacedView:
        layout = view.layout or next(iter(self._umap), "pca")
        color = view.color_by or default_color(self.points.columns)
        for name in (color, view.label_by):
            if name == SOURCE_ROW:
                raise OptionError(f"{SOURCE_ROW} is not a column of the viewer; choose another")
        check_color(color, self.points)
        self.points.column(view.label_by)
        isolated = self._rows(view.isolate, view, self.points)
        if len(isolated):
            isolated = np.sort(isolated)
            alone = ViewerPoints(self.points.columns[isolated], self.points.vectors[isolated])
            selected = isolated[self._rows(view.select, view, alone)]
        else:
            selected = self._rows(view.select, view, self.points)
        return PlacedView(
            replace(view, layout=layout, color_by=color),
            tuple(selected.tolist()),
            tuple(isolated.tolist()) if view.isolate else None,
            self._coordinates(layout, view),
        )

    @staticmethod
    def _rows(text: str, view: View, among: ViewerPoints) -> np.ndarray:
        if not text:
            return np.empty(0, dtype=np.int64)
        selection = parse_selection(text, folder=view.folder)
        return select_rows(selection, among, what=text)

    def _coordinates(self, layout: str, view: View) -> np.ndarray:
        if layout == "pca":
            return self._principal
        if view.layout_file is not None:
            return self.files[view.layout_key]
        known = self._umap
        if layout not in known:
            there = ", ".join([*self._umap, "pca"])
            raise OptionError(f"there is no layout {layout}; this export has {there}")
        return known[layout]


@dataclass(frozen=True)
class ViewSize:
    """How many points a bookmark selects, and shows alone (None: it shows all)."""

    title: str
    selected: int
    isolated: int | None


def isolation_notes(views: Sequence[ViewSize]) -> list[str]:
    """Tell which views the viewer cannot open right after another one.

    Opening an isolated view, it first selects as many of its points as were selected before
    (vz-projector.ts, filterDataset), and stops where there are not so many.
    """
    most = max(views, key=lambda view: view.selected, default=None)
    if most is None:
        return []
    small = [v.title for v in views if v.isolated is not None and v.isolated < most.selected]
    if not small:
        return []
    one = f"view {small[0]!r} shows"
    named = one if len(small) == 1 else f"{len(small)} views ({small[0]!r}, ...) show"
    return [
        f"{named} fewer points than {most.title!r} selects ({most.selected}): in TensorBoard, "
        "click on an empty place to clear the selection before you open one of them"
    ]


def check_color(name: str, points: ViewerPoints) -> None:
    """Raise OptionError unless the viewer can colour by that column."""
    if name == NO_COLOR:
        return
    values = points.column(name)
    if not values.dtype.is_numeric() and values.n_unique() > MAX_CATEGORIES:
        raise OptionError(
            f"column {name!r} holds {values.n_unique()} different texts; the viewer colours by at "
            f"most {MAX_CATEGORIES}, or by a number: choose another column"
        )


def principal_coordinates(tensor: np.ndarray) -> np.ndarray:
    """Return (N, 3) principal components as the viewer computes them, of all points and columns.

    It centres the vectors and, from 50 columns on, brings them to unit length first ("Sphereize",
    vz-projector.ts and data.ts); fewer than three columns are filled up with zeros.
    """
    centred = tensor - tensor.mean(axis=0, dtype=np.float64).astype(np.float32)
    if tensor.shape[1] >= SPHEREIZE_FROM:
        norms = np.linalg.norm(centred, axis=1, keepdims=True)
        centred /= np.where(norms > 0, norms, 1)
    _, directions = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    best = directions[:, ::-1][:, :3]
    # An eigenvector's sign is arbitrary: the largest part is made positive.
    best = best * np.sign(best[np.abs(best).argmax(axis=0), np.arange(best.shape[1])])
    found = centred @ best.astype(np.float32)
    return np.pad(found, ((0, 0), (0, 3 - found.shape[1])))
