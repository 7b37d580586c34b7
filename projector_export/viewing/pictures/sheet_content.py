"""What stands on a contact sheet: which points, in which order, under which names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from projector_export.errors import DataError
from projector_export.points import LABEL, as_text
from projector_export.projector.exports import Export
from projector_export.viewing.pictures.fonts import drawable

Sheet = Literal["unusual", "typical"]
SHEET_TITLES: dict[Sheet, str] = {
    "unusual": "Most unusual points",
    "typical": "Most typical items of each cluster",
}
MOST_UNUSUAL = 40
TYPICAL = 10
TYPICAL_LINES = 5
"""Items of a cluster in a list, where each takes a line."""
MOST_CLUSTERS = 60
_NEEDED: dict[Sheet, tuple[str, ...]] = {
    "unusual": ("anomaly",),
    "typical": ("cluster", "cluster_distance"),
}


@dataclass(frozen=True)
class Item:
    """One point on a sheet.

    Attributes:
        row: its row number.
        label: what it is called.
        remark: a second line.
    """

    row: int
    label: str
    remark: str = ""


@dataclass(frozen=True)
class Group:
    """Points that stand together on a sheet.

    Attributes:
        items: in their order.
        title: empty for none.
        remark: below the title.
    """

    items: list[Item] = field(default_factory=list)
    title: str = ""
    remark: str = ""


@dataclass(frozen=True)
class Content:
    """What a sheet shows.

    Attributes:
        title: of the sheet.
        subtitle: the line below it.
        groups: from top to bottom.
    """

    title: str
    subtitle: str
    groups: list[Group]

    @property
    def texts(self) -> list[str]:
        """All that is written on it."""
        return [drawable(text) for text in (self.title, self.subtitle, *_texts(self.groups))]


def available_sheets(export: Export) -> list[Sheet]:
    """Return the sheets that the export's columns allow."""
    return [s for s, needed in _NEEDED.items() if set(needed) <= set(export.columns.columns)]


def sheet_content(export: Export, sheet: Sheet) -> Content:
    """Choose the points of a sheet.

    Args:
        export: its points.
        sheet: `unusual`: those with the highest `anomaly`, the first one first; `typical`: of each
            cluster those with the lowest `cluster_distance`.

    Raises:
        DataError: the export has not the columns for this sheet.
    """
    if sheet not in available_sheets(export):
        needed = " and ".join(_NEEDED[sheet])
        raise DataError(f"{export.folder} has no column {needed}, which this sheet is made from")
    if sheet == "unusual":
        groups, left_out = [_unusual(export)], 0
    else:
        most = TYPICAL_LINES if export.embedding.tile_px is None else TYPICAL
        groups, left_out = typical_groups(export, most)
    title = f"{SHEET_TITLES[sheet]} · {export.name}"
    return Content(title, _subtitle(export, sheet, groups, left_out), groups)


def typical_groups(export: Export, most: int) -> tuple[list[Group], int]:
    """Return each cluster's items nearest to its centroid, and how many clusters are left out."""
    columns = export.columns.with_row_index("row")
    groups = []
    names = columns["cluster"].drop_nulls().unique().sort().to_list()
    for cluster in names[:MOST_CLUSTERS]:
        members = columns.filter(pl.col("cluster") == cluster)
        nearest = members.sort("cluster_distance", maintain_order=True, nulls_last=True).head(most)
        name = nearest["cluster_name"][0] if "cluster_name" in columns.columns else None
        count = f"{members.height:,} item{'s' if members.height != 1 else ''}"
        groups.append(
            Group(
                _items(nearest),
                title=str(name or cluster),
                remark=f"{cluster} · {count}" if name else count,
            )
        )
    return groups, len(names) - len(groups)


def _unusual(export: Export) -> Group:
    columns = export.columns.with_row_index("row")
    ranked = columns.sort("anomaly", descending=True, maintain_order=True, nulls_last=True)
    return Group(_items(ranked.head(MOST_UNUSUAL), "anomaly_kind"))


def _items(rows: pl.DataFrame, remark: str = "") -> list[Item]:
    labels = as_text(rows[LABEL]).to_list()
    has_remark = remark in rows.columns
    remarks = as_text(rows[remark]).to_list() if has_remark else [""] * rows.height
    return [
        Item(row, drawable(label), drawable(text))
        for row, label, text in zip(rows["row"].to_list(), labels, remarks, strict=True)
    ]


def _subtitle(export: Export, sheet: Sheet, groups: Sequence[Group], left_out: int) -> str:
    n = f"{export.columns.height:,} points"
    if sheet == "unusual":
        return f"the {len(groups[0].items)} highest of {n} by anomaly, the first one first"
    more = f" (and {left_out} more, not shown)" if left_out else ""
    return f"nearest to the centroid first · {len(groups)} clusters{more} of {n}"


def _texts(groups: Sequence[Group]) -> list[str]:
    return [
        text
        for group in groups
        for text in (
            group.title,
            group.remark,
            *(item.label for item in group.items),
            *(item.remark for item in group.items),
        )
    ]
