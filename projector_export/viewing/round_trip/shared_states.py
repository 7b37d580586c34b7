"""Bookmarks that somebody saved in the browser become bookmarks of the run, for everybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from projector_export.errors import DataError, OptionError
from projector_export.projector.exports import Export
from projector_export.viewing.round_trip.saved_state import SavedState

# Without these the viewer throws when it opens a bookmark (data.ts, stateGetAccessorDimensions;
# vz-projector.ts, loadState).
_NEEDED = ("projections", "pcaComponentDimensions", "cameraDef", "selectedProjection")


def leave_out_known(export: Export, states: Sequence[SavedState]) -> list[SavedState]:
    """Return the saved bookmarks that the run does not have, in their order."""
    known = [_content(state) for state in export.states]
    return [saved for saved in states if _content(saved.state) not in known]


def new_states(
    export: Export, states: Sequence[SavedState], *, rename: str | None = None
) -> list[dict[str, Any]]:
    """Return the states that the run does not have, as the viewer saved them.

    A download holds all bookmarks of the panel, the run's own among them: those are left out where
    they are unchanged.

    Args:
        export: to whose bookmarks they are to be added.
        states: from `read_states`.
        rename: title of the new one; several get it with a number.

    Raises:
        OptionError: a title is empty, or taken.
        DataError: a state lacks what the viewer needs to show it.
    """
    fresh = [dict(saved.state) for saved in leave_out_known(export, states)]
    if rename is not None:
        for number, state in enumerate(fresh, start=1):
            state["label"] = rename if len(fresh) == 1 else f"{rename} {number}"
    taken = {str(state.get("label")) for state in export.states}
    for state in fresh:
        _check(state, taken, export)
        taken.add(state["label"])
        state["isSelected"] = False
    return fresh


def _check(state: Mapping[str, Any], taken: set[str], export: Export) -> None:
    title = state["label"]
    lacking = [key for key in _NEEDED if state.get(key) is None]
    if lacking:
        raise DataError(
            f"bookmark {title!r} has no {', '.join(lacking)}, which the viewer needs to show it; "
            "save it again in the viewer"
        )
    if not title.strip() or not title.isprintable():
        raise OptionError(f"a bookmark's title is {title!r}; give --rename TITLE")
    if title in taken:
        raise OptionError(
            f"there is a bookmark {title!r} in {export.folder} or among the saved ones already; "
            "give --bookmark to choose one and --rename for another title"
        )


def _content(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return all but which bookmark of the panel is marked."""
    return {key: value for key, value in state.items() if key != "isSelected"}
