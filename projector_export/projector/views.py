"""Views: what a bookmark shows, said in words that fit any export of the same columns.

One line (`--view`):  Odd ones; layout=umap2d; color_by=anomaly; select=top 20 by anomaly
A TOML file:          [[view]] with title, layout, color_by, label_by, select, isolate, camera
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from projector_export.errors import InputNotFoundError, OptionError
from projector_export.limits import MAX_CATEGORIES
from projector_export.points import LABEL
from projector_export.projector.selection import parse_selection
from projector_export.projector.viewer_points import check_column

MOST_UNUSUAL = 30
MOST_SELECTED = 60
"""Selected points are listed and drawn with labels; more are not readable."""

LAYOUTS = ("umap3d", "umap2d", "pca")
AXES = {
    "umap3d": ("umap3d_x", "umap3d_y", "umap3d_z"),
    "umap2d": ("umap2d_x", "umap2d_y"),
}
NO_COLOR = "none"
_FILE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet", ".npy")
_PART = re.compile(r"""((?:"[^"]*"|'[^']*'|`[^`]*`|[^;"'`])*)(;|$)""")


@dataclass(frozen=True)
class Camera:
    """Where the viewer looks from; the points fill the cube from -1 to 1.

    Attributes:
        position: x, y, z of the eye; for flat layouts only its x and y matter, as the target's do.
        target: what it looks at.
        zoom: factor, 1 is the viewer's own.
    """

    position: tuple[float, float, float]
    target: tuple[float, float, float] = (0.0, 0.0, 0.0)
    zoom: float = 1.0


@dataclass(frozen=True)
class View:
    """One bookmark, before its points are known.

    Attributes:
        title: shown in the bookmark panel; unique within an export.
        layout: `umap3d`, `umap2d`, `pca`, a file of coordinates (a row an input item, two or three
            columns), or None for the best there is.
        color_by: a column, "none", or None for `cluster`, or else the label.
        label_by: a column.
        select: which of the points shown to select; see `selection` for the language. Empty for
            none.
        isolate: which points alone to show. Empty for all.
        camera: None for the layout's own.
        folder: that files named in it are relative to.

    Raises:
        OptionError: no title, a title of several lines, or a selection that cannot be read.
    """

    title: str
    layout: str | None = None
    color_by: str | None = None
    label_by: str = LABEL
    select: str = ""
    isolate: str = ""
    camera: Camera | None = None
    folder: Path = Path()

    def __post_init__(self) -> None:
        if not self.title.strip() or not self.title.isprintable():
            raise OptionError(f"a view's title is {self.title!r}; expected one line of text")
        if self.layout is not None and self.layout not in LAYOUTS and self.layout_file is None:
            raise self.error(
                f"layout is {self.layout!r}; expected {', '.join(LAYOUTS)} or a file of "
                f"coordinates ({' '.join(_FILE_SUFFIXES)})"
            )
        for text in filter(None, (self.select, self.isolate)):
            self._parse(text)

    @property
    def layout_file(self) -> Path | None:
        """The file of coordinates, where the layout is one."""
        if self.layout is None or Path(self.layout).suffix.lower() not in _FILE_SUFFIXES:
            return None
        return self.folder / self.layout

    @property
    def layout_key(self) -> str:
        """What tells its layout from others."""
        return str(self.layout_file or self.layout)

    def error(self, why: object) -> OptionError:
        """Return an error that says which view."""
        return OptionError(f"view {self.title!r}: {why}")

    def _parse(self, text: str) -> set[str]:
        try:
            return parse_selection(text, folder=self.folder).names()
        except OptionError as error:
            raise self.error(error) from error

    def check_columns(self, known: Sequence[str]) -> None:
        """Raise OptionError unless all columns that the view names are known."""
        names = {self.label_by}
        for text in filter(None, (self.select, self.isolate)):
            names |= self._parse(text)
        if self.color_by not in (None, NO_COLOR):
            names.add(str(self.color_by))
        try:
            for name in sorted(names):
                check_column(name, known)
        except OptionError as error:
            raise self.error(error) from error

    def as_dict(self) -> dict[str, Any]:
        """Return what differs from the defaults, for TOML and the bookmark itself."""
        found: dict[str, Any] = {"title": self.title}
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name not in ("title", "folder") and value != one.default:
                found[one.name] = value
        if self.layout_file is not None:
            # Kept in a bookmark or another TOML file it must still lead there.
            found["layout"] = self.layout_file.absolute().as_posix()
        if self.camera is not None:
            found["camera"] = {
                "position": list(self.camera.position),
                "target": list(self.camera.target),
                "zoom": self.camera.zoom,
            }
        return found


def view_from_dict(values: Mapping[str, Any], *, folder: Path = Path()) -> View:
    """Return the view that `as_dict` or a TOML table describes.

    Raises:
        OptionError: an unknown key, or a value of another type.
    """
    title = values.get("title", "")
    texts = [one.name for one in fields(View) if one.name not in ("camera", "folder")]
    for key, value in values.items():
        if key not in (*texts, "camera"):
            raise OptionError(
                f"view {title!r}: there is no {key!r}; expected {', '.join(texts)} and camera"
            )
        if key in texts and not isinstance(value, str):
            raise OptionError(f"view {title!r}: {key} is {value!r}; expected text")
    camera = values.get("camera")
    if isinstance(camera, str):
        camera = parse_camera(camera)
    rest = {key: value for key, value in values.items() if key != "camera"}
    view = View(**{"title": title, **rest}, folder=folder)
    return view if camera is None else replace(view, camera=_camera_from(camera, view))


def parse_view(text: str) -> list[View]:
    """Read one `--view`: a line of text (one view), or the name of a TOML file (all of its views).

    Raises:
        OptionError: it cannot be read.
        InputNotFoundError: no such file.
    """
    if text.endswith(".toml"):
        return read_views(Path(text))
    title, _, rest = text.partition(";")
    values: dict[str, Any] = {"title": title.strip()}
    for part in filter(None, _split(rest, text)):
        key, equals, value = part.partition("=")
        if not equals:
            raise OptionError(
                f"--view {text!r}: {part!r} cannot be read; expected TITLE; layout=...; "
                "color_by=...; label_by=...; select=...; isolate=...; camera=X,Y,Z"
            )
        values[key.strip().replace("-", "_")] = value.strip()
    return [view_from_dict(values)]


def _split(rest: str, text: str) -> list[str]:
    """Split at semicolons, but not within quotes."""
    parts, at = [], 0
    while at < len(rest):
        part = _PART.match(rest, at)
        if part is None or part.end() == at:
            raise OptionError(f"--view {text!r}: a quote is not closed in {rest[at:].strip()!r}")
        parts.append(part[1].strip())
        at = part.end()
    return parts


def parse_camera(text: str) -> dict[str, Any]:
    """Read `X,Y,Z` or `X,Y,Z,ZOOM`.

    Raises:
        OptionError: anything else.
    """
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (3, 4):
        raise OptionError(f"camera is {text!r}; expected X,Y,Z or X,Y,Z,ZOOM")
    return {"position": numbers[:3], **({"zoom": numbers[3]} if numbers[3:] else {})}


def read_views(path: Path) -> list[View]:
    """Read a TOML file of `[[view]]` tables, which files named in it are relative to.

    Raises:
        InputNotFoundError: no such file.
        OptionError: no TOML, or no views.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputNotFoundError(f"{path} does not exist; expected a TOML file of views") from error
    except (OSError, ValueError) as error:
        raise OptionError(f"{path} cannot be read as TOML ({error})") from error
    views = content.get("view")
    if not isinstance(views, list) or not all(isinstance(view, dict) for view in views):
        raise OptionError(f"{path} has no [[view]] tables; expected one a view, each with a title")
    return [view_from_dict(view, folder=path.parent) for view in views]


def render_views(views: Iterable[View]) -> str:
    """Return the TOML file that `read_views` reads."""
    return "\n".join("[[view]]\n" + _toml_table(view.as_dict()) for view in views)


def check_titles(views: Sequence[View]) -> None:
    """Raise OptionError when a title is there twice."""
    seen: set[str] = set()
    for view in views:
        if view.title in seen:
            raise view.error("there are two of this title; titles are unique, choose another")
        seen.add(view.title)


def default_views(columns: pl.DataFrame) -> list[View]:
    """Choose the views that these columns allow; none without a layout."""
    layouts = [layout for layout, axes in AXES.items() if axes[0] in columns.columns]
    if not layouts:
        return []
    deep, flat = layouts[0], layouts[-1]
    sizes = {"umap3d": "3D", "umap2d": "2D"}
    views = []
    if "cluster" in columns.columns:
        color = "cluster" if _is_colorable(columns, "cluster") else "cluster_distance"
        views.append(View(f"UMAP {sizes[deep]} by {color.replace('_', ' ')}", deep, color))
    if 2 <= columns[LABEL].n_unique() <= MAX_CATEGORIES:
        views.append(View(f"UMAP {sizes[flat]} by label", flat, LABEL))
    if "kind" in columns.columns and 2 <= columns["kind"].n_unique() <= MAX_CATEGORIES:
        views.append(View(f"UMAP {sizes[deep]} by kind", deep, "kind"))
    own = "predicted" in columns.columns and "agrees" not in columns.columns
    if own and 2 <= columns["predicted"].n_unique() <= MAX_CATEGORIES:
        views.append(View(f"UMAP {sizes[flat]} by predicted class", flat, "predicted"))
    if "anomaly" in columns.columns:
        unusual = f"top {MOST_UNUSUAL} by anomaly"
        views.append(View("Most unusual points", flat, "anomaly_kind", select=unusual))
        views.append(View("Anomaly score", flat, "anomaly"))
    if "duplicate_group" in columns.columns and (columns["duplicate_group"] != "unique").any():
        color = "duplicate_group" if _is_colorable(columns, "duplicate_group") else "nearest_angle"
        pairs = f"bottom {MOST_SELECTED} by nearest_angle where duplicate_group contains dup_"
        views.append(View("Near duplicates", flat, color, select=pairs))
    if _has_disagreements(columns):
        wrong = f"top {MOST_SELECTED} by predicted_score where agrees == false"
        views.append(View("Zero-shot disagreements", flat, "agrees", select=wrong))
    return views or [View(f"UMAP {sizes[deep]}", deep, default_color(columns))]


def step_views(columns: pl.DataFrame) -> list[View]:
    """Choose the views of one step of a training: the same at every step, whatever it shows."""
    layouts = [layout for layout, axes in AXES.items() if axes[0] in columns.columns]
    if not layouts:
        return []
    flat = layouts[-1]
    moved, changed = f"top {MOST_UNUSUAL} by movement", f"bottom {MOST_UNUSUAL} by neighbours_kept"
    return [
        # Near duplicates come and go; where they were the only view, there would be another.
        *default_views(columns.drop("duplicate_group", strict=False)),
        View("Moved most", flat, "movement", select=moved),
        View("Neighbours changed most", flat, "neighbours_kept", select=changed),
    ]


def default_color(columns: pl.DataFrame) -> str:
    """Return the first of `cluster` and `label` that the viewer can colour by, or "none"."""
    choices = [name for name in ("cluster", LABEL) if name in columns.columns]
    return next((name for name in choices if _is_colorable(columns, name)), NO_COLOR)


def _has_disagreements(columns: pl.DataFrame) -> bool:
    """Whether some points disagree that have a score; both columns may be the user's own."""
    score = columns.schema.get("predicted_score")
    if columns.schema.get("agrees") != pl.Boolean or score is None or not score.is_numeric():
        return False
    scores = columns.filter(~pl.col("agrees"))["predicted_score"].cast(pl.Float64)
    return bool(scores.is_not_nan().any())


def cluster_views(columns: pl.DataFrame) -> list[View]:
    """One view a cluster, alone, coloured by label where there are few, else by anomaly."""
    if "cluster" not in columns.columns:
        return []
    named = columns.select("cluster", "cluster_name").unique()
    named = named.sort(pl.col("cluster").str.len_chars(), "cluster")  # 99 before 100
    choices = [name for name in (LABEL, "anomaly", "cluster_distance") if name in columns.columns]
    color = next(name for name in choices if _is_colorable(columns, name))
    return [
        View(f"{cluster}: {name}", color_by=color, isolate=f"cluster == {cluster}")
        for cluster, name in named.iter_rows()
    ]


def _is_colorable(columns: pl.DataFrame, name: str) -> bool:
    """Whether the viewer offers the column under "Color by" and it tells something."""
    return columns.schema[name].is_numeric() or 1 <= columns[name].n_unique() <= MAX_CATEGORIES


def _camera_from(values: Any, view: View) -> Camera:
    try:
        position, target = values["position"], values.get("target", (0, 0, 0))
        zoom = float(values.get("zoom", 1))
        places = [tuple(float(x) for x in place) for place in (position, target)]
        numbers = [*places[0], *places[1], zoom]
        if len(numbers) != 7 or not np.isfinite(numbers).all() or zoom <= 0:
            raise ValueError
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise view.error(
            f"camera is {values!r}; expected a position of finite numbers (three), and if wanted "
            "a target and a zoom above 0"
        ) from error
    return Camera(places[0], places[1], zoom)  # type: ignore[arg-type]


def _toml_table(values: Mapping[str, Any]) -> str:
    # JSON's escapes of text are TOML's, but for DEL, which no title or selection may hold.
    lines = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            inner = ", ".join(f"{k} = {json.dumps(v)}" for k, v in value.items())
            lines.append(f"{key} = {{{inner}}}")
        else:
            lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"
