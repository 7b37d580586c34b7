"""Bookmarks and manifests without what a redaction leaves out."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from projector_export.errors import OptionError
from projector_export.points import LABEL
from projector_export.projector.bookmarks import DESCRIPTION, NO_COLOR_OPTION
from projector_export.projector.selection import parse_selection
from projector_export.projector.views import LAYOUTS
from projector_export.viewing.sharing.redaction import Secrets, holds_path

_COLOR_INSTEAD = ("cluster", "anomaly_kind")
_LABEL_OPTION = "selectedLabelOption"
_NO_LABELS = "__index__"  # vz-projector.ts, INDEX_METADATA_FIELD: without any metadata
# What users have typed into the viewer's "Custom" tab.
_TYPED = ("customXLeftText", "customXRightText", "customYUpText", "customYDownText")
# What the viewer saves, all numbers, choices and names of columns; others' keys may say anything.
_VIEWERS_KEYS = frozenset(
    "projections label isSelected selectedProjection dataSetDimensions tSNEIteration tSNEPerplexity"
    " tSNELearningRate tSNEis3d umapIs3d umapNeighbors umapMinDist pcaComponentDimensions"
    " customSelectedSearchByMetadataOption customXLeftText customXLeftRegex customXRightText"
    " customXRightRegex customYUpText customYUpRegex customYDownText customYDownRegex"
    " filteredPoints selectedPoints shuffledDataIndices cameraDef selectedColorOptionName"
    " forceCategoricalColoring selectedLabelOption".split()
)
_SELECTIONS = ("select", "isolate")
_DESCRIBED = ("layout", "color_by", "label_by", *_SELECTIONS)
_ROWS_FILE = re.compile(r"""\brows\b(?!\s*(?:[=!<>]|contains[\s"'`]))""")
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
    gone: Collection[str],
    secrets: Secrets,
    paths: bool = False,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the bookmarks without redacted names and texts; each keeps its layout and points.

    Where a view was coloured or labelled by a column that went, others take its place; a title
    that tells something, or is of a view that names a column that went, becomes `View` and its
    number. Descriptions that tell something go.

    Args:
        states: as the viewer saves them.
        columns: that the viewer still has.
        colors: those of them that may be coloured by.
        gone: columns that went, by their own names and the viewer's.
        secrets: what must not stand in them.
        paths: whether paths must not, either.

    Returns:
        The bookmarks, and the new titles of those whose points were chosen by what went.
    """
    instead = next((name for name in _COLOR_INSTEAD if name in colors), NO_COLOR_OPTION)
    label = LABEL if LABEL in columns else next(iter(columns), _NO_LABELS)
    cleaned, chosen = [], []
    taken = {str(state.get("label")) for state in states}

    def tells(text: str) -> bool:
        return secrets.stand_in(text) or (paths and holds_path(text))

    for number, state in enumerate(states, 1):
        kept = {key: value for key, value in state.items() if key in _VIEWERS_KEYS}
        whole, described = _described(state), _described(without_files(state))
        choices = [whole[key] for key in _SELECTIONS if key in whole]
        is_chosen = any(
            secrets.stand_in(text) or not _selected_by(text).isdisjoint(gone) for text in choices
        )
        color, labelled = str(state.get("selectedColorOptionName")), state.get(_LABEL_OPTION)
        named = _columns_named(whole) | {color, *({labelled} - {LABEL})}
        is_told = is_chosen or not named.isdisjoint(gone)
        is_told = is_told or any(tells(described.get(key, "")) for key in _DESCRIBED)
        if is_told or tells(str(state.get("label"))):
            kept["label"] = _free_title(number, taken)
        if isinstance(state.get(DESCRIPTION), Mapping) and not is_told:
            kept[DESCRIPTION] = described
        if color not in (*colors, NO_COLOR_OPTION):
            kept["selectedColorOptionName"] = instead
        for key in (_LABEL_OPTION, "customSelectedSearchByMetadataOption"):
            if state.get(key) not in columns:
                kept[key] = label
        if is_chosen:
            chosen.append(str(kept["label"]))
        cleaned.append(kept | {key: "" for key in _TYPED if key in state})
    return cleaned, chosen


def without_files(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a bookmark whose description names no file of this machine."""
    described = state.get(DESCRIPTION)
    if not isinstance(described, Mapping):
        return dict(state)
    named = {key for key in _SELECTIONS if _ROWS_FILE.search(str(described.get(key, "")))}
    if described.get("layout") not in LAYOUTS:
        named.add("layout")
    return {**state, DESCRIPTION: {k: v for k, v in described.items() if k not in named}}


def state_names_paths(state: Mapping[str, Any]) -> bool:
    """Whether a path stands in a bookmark's title, its description or what was typed."""
    described = state.get(DESCRIPTION)
    texts = [state.get(key) for key in ("label", *_TYPED)]
    texts += described.values() if isinstance(described, Mapping) else [described]
    return any(holds_path(text) for text in texts if isinstance(text, str))


def clean_manifest(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a manifest says of numbers and versions, and no word of the data's."""
    kept = {key: manifest[key] for key in _HARMLESS if key in manifest}
    clusters = manifest.get("clusters")
    if isinstance(clusters, Mapping):
        kept["clusters"] = {k: v for k, v in clusters.items() if isinstance(v, int | float)}
    return kept


def _described(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a description says under the keys that are known."""
    described = state.get(DESCRIPTION)
    if not isinstance(described, Mapping):
        return {}
    kept = {k: described[k] for k in _DESCRIBED if isinstance(described.get(k), str)}
    camera = described.get("camera")
    if isinstance(camera, Mapping):
        kept["camera"] = {k: camera[k] for k in ("position", "target", "zoom") if k in camera}
    return kept


def _columns_named(described: Mapping[str, Any]) -> set[str]:
    names = {described[key] for key in ("color_by", "label_by") if key in described}
    return names.union(*(_selected_by(described[key]) for key in _SELECTIONS if key in described))


def _selected_by(text: str) -> set[str]:
    """Return the columns that a selection reads; none where it cannot be read."""
    try:
        return parse_selection(text).names() if text else set()
    except OptionError:
        return set()


def _free_title(number: int, taken: set[str]) -> str:
    title, again = f"View {number}", 2
    while title in taken:
        title, again = f"View {number} ({again})", again + 1
    taken.add(title)
    return title
