"""What can be set on every export, with its defaults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from projector_export.errors import OptionError
from projector_export.limits import MAX_POINTS


@dataclass(frozen=True)
class Settings:
    """Options of analysis and output.

    Attributes:
        metric: of all analyses.
        clusters: number of K-Means clusters, "auto", or None for none.
        umap_dims: layouts to compute, of 2 and 3.
        umap_neighbors: as in umap-learn, 2 to 200.
        umap_min_dist: as in umap-learn, 0 to 1.
        anomalies: whether to add the anomaly columns.
        reference_quantile: share of the known-normal items that pass as normal.
        duplicate_angle_deg: points at most this far apart are near-duplicates.
        max_points: rows that the browser gets; the viewer itself takes no more than 100,000.
        view_dims: columns that the browser gets: "auto", "all" or a number.
        tensor_format: "bytes" (raw float32) or "tsv".
        seed: same input, settings and versions give the same bytes.
        force: replace an embedding of the same name.
        cluster_views: a bookmark a cluster, which shows it alone.

    Raises:
        OptionError: a value is out of range.
    """

    metric: Literal["cosine", "euclidean"] = "cosine"
    clusters: int | Literal["auto"] | None = "auto"
    umap_dims: tuple[int, ...] = (2, 3)
    umap_neighbors: int = 15
    umap_min_dist: float = 0.1
    anomalies: bool = True
    reference_quantile: float = 0.99
    duplicate_angle_deg: float = 3.0
    max_points: int = MAX_POINTS
    view_dims: int | Literal["auto", "all"] = "auto"
    tensor_format: Literal["bytes", "tsv"] = "bytes"
    seed: int = 0
    force: bool = False
    cluster_views: bool = False

    def __post_init__(self) -> None:
        _check(self.metric in ("cosine", "euclidean"), "metric", self.metric, "cosine or euclidean")
        clusters = self.clusters
        _check(
            clusters in ("auto", None) or (isinstance(clusters, int) and clusters >= 1),
            "clusters", clusters, "auto, none or a number from 1",
        )  # fmt: skip
        _check(set(self.umap_dims) <= {2, 3}, "umap_dims", self.umap_dims, "2, 3, both or none")
        _check(2 <= self.umap_neighbors <= 200, "umap_neighbors", self.umap_neighbors, "2 to 200")
        _check(0 <= self.umap_min_dist <= 1, "umap_min_dist", self.umap_min_dist, "0 to 1")
        _check(
            0 < self.reference_quantile <= 1,
            "reference_quantile", self.reference_quantile, "above 0, up to 1",
        )  # fmt: skip
        _check(
            0 <= self.duplicate_angle_deg < 90,
            "duplicate_angle_deg", self.duplicate_angle_deg, "0 to 90 degrees",
        )  # fmt: skip
        _check(2 <= self.max_points <= MAX_POINTS, "max_points", self.max_points, "2 to 100000")
        view_dims = self.view_dims
        _check(
            view_dims in ("auto", "all") or (isinstance(view_dims, int) and view_dims >= 2),
            "view_dims", view_dims, "auto, all or a number from 2",
        )  # fmt: skip
        _check(self.tensor_format in ("bytes", "tsv"), "tensor_format", self.tensor_format,
               "bytes or tsv")  # fmt: skip
        _check(not self.cluster_views or self.clusters is not None, "clusters", clusters,
               "a number or auto, since cluster_views shows each cluster")  # fmt: skip
        _check(0 <= self.seed < 2**31, "seed", self.seed, "0 to 2147483647")


@dataclass(frozen=True)
class EncodeSettings:
    """Options of encoding.

    Attributes:
        batch_size: items a forward pass; "auto" is the encoder's own number (64 where it has none),
            halved when memory runs out.
        thumbnail_px: side of a thumbnail; lowered when so many would not fit into a sprite.
        threads: that decode images; None is one a core.
        exact_decode: decode every JPEG at full size, also where the model takes far less.
        strict: stop at the first input that cannot be read, instead of leaving it out.
        cache: folder that keeps vectors and thumbnails for the next run, or None.

    Raises:
        OptionError: a value is out of range.
    """

    batch_size: int | Literal["auto"] = "auto"
    thumbnail_px: int = 64
    threads: int | None = None
    exact_decode: bool = False
    strict: bool = False
    cache: Path | None = None

    def __post_init__(self) -> None:
        batch_size = self.batch_size
        _check(
            batch_size == "auto" or (isinstance(batch_size, int) and batch_size >= 1),
            "batch_size", batch_size, "auto or a number from 1",
        )  # fmt: skip
        _check(1 <= self.thumbnail_px <= 1024, "thumbnail_px", self.thumbnail_px, "1 to 1024")
        _check(
            self.threads is None or 1 <= self.threads <= 256, "threads", self.threads, "1 to 256"
        )


def _check(fine: bool, option: str, got: object, expected: str) -> None:
    if not fine:
        raise OptionError(f"{option} is {got!r}; expected {expected}")
