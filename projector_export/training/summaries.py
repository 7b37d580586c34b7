"""A recorded step -> what TensorBoard's other tabs show of it: scalars, images, a table."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from projector_export.analysis.anomalies import KINDS
from projector_export.analysis.neighbors import Metric
from projector_export.analysis.snapshot import Snapshot
from projector_export.points import LABEL, Points, as_text
from projector_export.training.measures import (
    anomaly_share,
    effective_rank,
    label_accuracy,
    label_codes,
    label_silhouette,
)

STRIP_COLUMNS = 4
STRIP_ITEMS = STRIP_COLUMNS**2
LEGIBLE_PX = 64
BACKGROUND = 224
"""Grey that dark and light pictures stand out from."""
GAP_PX = 2
TABLE_ROWS = 50
LABELS_A_CLUSTER = 3
MOST_CHARS = 60
# Letters, digits and signs that mean nothing within a cell of a markdown table, nor in HTML.
_SPECIAL = re.compile(r"[^\w\s.,:;%()/+='-]|_")


@dataclass(frozen=True)
class Numbers:
    """Which kinds of summaries to make.

    Attributes:
        scalars: curves.
        images: the most unusual and the most moved examples, where there are thumbnails.
        texts: the table of clusters.
    """

    scalars: bool = True
    images: bool = True
    texts: bool = True

    @property
    def any(self) -> bool:
        """Whether there is anything to make."""
        return self.scalars or self.images or self.texts


@dataclass(frozen=True)
class Summary:
    """What one step shows beside its embedding.

    Attributes:
        step: of the training.
        scalars: finite, by tag.
        images: PNG files, by tag.
        texts: markdown, by tag.
    """

    step: int
    scalars: Mapping[str, float] = field(default_factory=dict)
    images: Mapping[str, bytes] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


def summarize(
    points: Points,
    *,
    snapshot: Snapshot,
    step: int,
    name: str,
    first: bool,
    metric: Metric,
    numbers: Numbers | None = None,
    seed: int = 0,
) -> Summary:
    """Return the summaries of a recorded step, tagged `projector/<name>/...`.

    What the columns do not have is left out, as are label numbers where labels do not repeat.

    Args:
        points: N points with the columns of the analyses.
        snapshot: of the same points.
        step: of the training.
        name: of the embedding.
        first: whether there is no earlier step; then nothing has moved.
        metric: of the analysis.
        numbers: which kinds; default all.
        seed: of the silhouette's sample.
    """
    numbers = numbers or Numbers()
    scalars: dict[str, float | None] = {}
    images, texts = {}, {}
    if numbers.scalars:
        scalars = _measure(points, snapshot, metric, first=first, seed=seed)
    if numbers.images and points.thumbnails is not None:
        wanted = {"most_unusual": "anomaly"} | ({} if first else {"most_moved": "movement"})
        for tag, column in wanted.items():
            if column in points.columns.columns:
                rows = top_rows(points.columns[column])
                images[tag] = contact_strip(points.thumbnails[rows])
    if numbers.texts and "cluster" in points.columns.columns:
        texts["clusters"] = cluster_table(points.columns)
    place = f"projector/{name}"
    return Summary(
        step,
        {
            f"{place}/{tag}": value
            for tag, value in scalars.items()
            if value is not None and math.isfinite(value)
        },
        {f"{place}/{tag}": png for tag, png in images.items()},
        {f"{place}/{tag}": text for tag, text in texts.items()},
    )


def _measure(
    points: Points, snapshot: Snapshot, metric: Metric, *, first: bool, seed: int
) -> dict[str, float | None]:
    columns, vectors = points.columns, points.vectors
    labels = columns[LABEL]
    return {
        "label_accuracy": label_accuracy(labels, snapshot.graph),
        "label_silhouette": label_silhouette(labels, vectors, metric, seed=seed),
        "effective_rank": effective_rank(vectors),
        "mean_movement": None if first else _mean(columns, "movement"),
        "neighbours_kept": _mean(columns, "neighbours_kept"),
        "anomaly_share": anomaly_share(columns),
    }


def _mean(columns: pl.DataFrame, name: str) -> float | None:
    if name not in columns.columns:
        return None
    mean = columns[name].cast(pl.Float64).mean()
    return mean if isinstance(mean, float) else None


def top_rows(values: pl.Series) -> np.ndarray:
    """Return the rows of the largest values, at most `STRIP_ITEMS`, largest first; ties by row."""
    keys = values.cast(pl.Float64).fill_null(np.nan).to_numpy()
    order: np.ndarray = np.argsort(-keys, kind="stable")  # missing ones last
    present: np.ndarray = order[~np.isnan(keys[order])]
    return present[:STRIP_ITEMS]


def contact_strip(tiles: np.ndarray) -> bytes:
    """Return a PNG of tiles, four a row, from left to right and from top to bottom.

    Args:
        tiles: (M, T, T, 4) uint8 RGBA; enlarged by a whole factor to `LEGIBLE_PX` or more, so that
            pixels stay what they are. Transparency becomes grey.
    """
    from PIL import Image

    factor = max(1, -(-LEGIBLE_PX // tiles.shape[1]))
    side = tiles.shape[1] * factor
    rows = max(1, -(-len(tiles) // STRIP_COLUMNS))
    shape = (rows * (side + GAP_PX) + GAP_PX, STRIP_COLUMNS * (side + GAP_PX) + GAP_PX, 3)
    strip = np.full(shape, BACKGROUND, dtype=np.uint8)
    alpha = tiles[..., 3:] / 255
    opaque = np.rint(tiles[..., :3] * alpha + BACKGROUND * (1 - alpha)).astype(np.uint8)
    for i, tile in enumerate(opaque):
        top, left = (GAP_PX + n * (side + GAP_PX) for n in divmod(i, STRIP_COLUMNS))
        strip[top : top + side, left : left + side] = tile.repeat(factor, 0).repeat(factor, 1)
    buffer = io.BytesIO()
    Image.fromarray(strip).save(buffer, "PNG")
    return buffer.getvalue()


def cluster_table(columns: pl.DataFrame) -> str:
    """Return a markdown table of the clusters, largest first, at most `TABLE_ROWS` of them.

    The labels are the most frequent, each with its share of the cluster's points, rounded down;
    none where labels do not repeat.

    Args:
        columns: N rows with `cluster`; `cluster_name` and `anomaly_kind` may be missing.
    """
    frame = columns.with_columns(as_text(columns["cluster"]))
    clusters = frame.group_by("cluster").len().sort("len", "cluster", descending=[True, False])
    repeat = label_codes(columns[LABEL]) is not None
    lines = [
        "| cluster | name | points | most frequent labels | anomalies |",
        "| --- | --- | ---: | --- | ---: |",
    ]
    for cluster, size in clusters.head(TABLE_ROWS).iter_rows():
        members = frame.filter(pl.col("cluster") == cluster)
        name, anomalies = "", ""
        if "cluster_name" in members.columns:
            name = str(members["cluster_name"][0] or "")
        if "anomaly_kind" in members.columns:
            anomalies = str((members["anomaly_kind"] != KINDS[0]).sum())
        labels = _frequent(members[LABEL]) if repeat else ""
        cells = [escape_cell(cluster), escape_cell(name), str(size), labels, anomalies]
        lines.append(f"| {' | '.join(cells)} |")
    if clusters.height > TABLE_ROWS:
        lines += ["", f"{clusters.height - TABLE_ROWS} smaller clusters are not listed."]
    return "\n".join(lines)


def _frequent(labels: pl.Series) -> str:
    """The most frequent labels of a cluster, escaped, with their shares."""
    texts = as_text(labels).str.strip_chars().alias("label")
    counted = texts.to_frame().filter(pl.col("label") != "").group_by("label").len()
    counted = counted.sort("len", "label", descending=[True, False]).head(LABELS_A_CLUSTER)
    return ", ".join(
        f"{escape_cell(label)} ({100 * count // len(labels)} %)"
        for label, count in counted.iter_rows()
    )


def escape_cell(text: str) -> str:
    """Return a text of the data as one line that a markdown table shows as it is.

    Every sign that could mean something becomes a numeric entity, which neither splits a cell nor
    starts code, emphasis, a link or a tag. At most `MOST_CHARS` characters are shown.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(line) > MOST_CHARS:
        line = line[: MOST_CHARS - 1] + "…"
    return _SPECIAL.sub(lambda match: f"&#{ord(match[0])};", line)
