"""Bookmarks and manifests without what a redaction leaves out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from projector_export.points import LABEL
from projector_export.projector.bookmarks import DESCRIPTION, NO_COLOR_OPTION
from projector_export.viewing.sharing.redaction import Secrets

_COLOR_INSTEAD = ("cluster", "anomaly_kind")
_NO_LABELS = "__index__"  # vz-projector.ts, INDEX_METADATA_FIELD: without any metadata
# What users have typed into the viewer's "Custom" tab.
_TYPED = ("customXLeftText", "customXRightText", "customYUpText", "customYDownText")
# All that a manifest may still say: it names sources, prompts, classes and views elsewhere.
_HARMLESS = (
    "made_by", "version", "created", "versions", "settings", "points", "dimensions", "shown",
    "neighbours", "view", "anomaly_kinds", "duplicate_groups", "sprite", "seconds",
)  # fmt: skip


def clean_states(
    states: Sequence[Mapping[str, Any]],
    *,
    columns: Sequence[str],
    colors: Sequence[str],
    secrets: Secrets,
) -> list[dict[str, Any]]:
    """Return the bookmarks without redacted names and texts; each keeps its layout and points.

    Where a view was coloured or labelled by a column that went, others take its place; a title
    that tells something, or names the colour that went, becomes `View` and its number.

    Args:
        states: as the viewer saves them.
        columns: that the viewer still has.
        colors: those of them that may be coloured by.
        secrets: what must not stand in them.
    """
    instead = next((name for name in _COLOR_INSTEAD if name in colors), NO_COLOR_OPTION)
    label = LABEL if LABEL in columns else next(iter(columns), _NO_LABELS)
    cleaned = []
    taken = {str(state.get("label")) for state in states}
    for number, state in enumerate(states, 1):
        kept = {key: value for key, value in state.items() if key != DESCRIPTION}
        title, color = str(state.get("label")), str(state.get("selectedColorOptionName"))
        is_gone = color not in (*colors, NO_COLOR_OPTION)
        if secrets.stand_in(title) or (is_gone and color.casefold() in title.casefold()):
            kept["label"] = _free_title(number, taken)
        if is_gone:
            kept["selectedColorOptionName"] = instead
        for key in ("selectedLabelOption", "customSelectedSearchByMetadataOption"):
            if state.get(key) not in columns:
                kept[key] = label
        cleaned.append(kept | {key: "" for key in _TYPED if key in state})
    return cleaned


def clean_manifest(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a manifest says of numbers and versions, and no word of the data's."""
    kept = {key: manifest[key] for key in _HARMLESS if key in manifest}
    clusters = manifest.get("clusters")
    if isinstance(clusters, Mapping):
        kept["clusters"] = {k: v for k, v in clusters.items() if isinstance(v, int | float)}
    return kept


def _free_title(number: int, taken: set[str]) -> str:
    title, again = f"View {number}", 2
    while title in taken:
        title, again = f"View {number} ({again})", again + 1
    taken.add(title)
    return title
