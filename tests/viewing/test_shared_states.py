"""Saved bookmarks become the run's own, once and under titles that tell them apart."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from projector_export import Points, Settings, export_points
from projector_export.errors import DataError, OptionError
from projector_export.projector.exports import Export, open_export
from projector_export.viewing.round_trip.saved_state import SavedState
from projector_export.viewing.round_trip.shared_states import new_states


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """An export with bookmarks."""
    out = tmp_path_factory.mktemp("run")
    vectors = np.random.default_rng(0).standard_normal((30, 4)).astype(np.float32)
    export_points(Points(vectors, name="e"), out, settings=Settings(umap_dims=(2,), clusters=2))
    return open_export(out)


def saved(title: str, **keys: Any) -> SavedState:
    """A bookmark that somebody saved."""
    state = {
        "label": title,
        "isSelected": True,
        "selectedProjection": "pca",
        "pcaComponentDimensions": [0, 1, 2],
        "cameraDef": {"zoom": 1},
        "projections": [{"pca-0": 0.123456789}] * 30,
        **keys,
    }
    return SavedState(title, (), None, state)


def test_new_ones_are_as_the_viewer_saved_them(export: Export) -> None:
    """Append the states as saved; none is marked as chosen."""
    one, two = new_states(export, [saved("State 4", selectedPoints=[3]), saved("外れ")])
    assert one == {**saved("State 4", selectedPoints=[3]).state, "isSelected": False}
    assert two["label"] == "外れ"


def test_the_run_s_own_are_not_added_twice(export: Export) -> None:
    """A download holds all of the panel; unchanged twins are left out, whichever was marked."""
    own = copy.deepcopy(export.states)
    own[0]["isSelected"] = True
    states = [SavedState(str(s["label"]), (), None, s) for s in own]
    assert new_states(export, states) == []
    assert [s["label"] for s in new_states(export, [*states, saved("State 9")])] == ["State 9"]


def test_a_title_that_is_taken_is_refused(export: Export) -> None:
    """Unique titles: the error says what to do, and --rename does it."""
    taken = str(export.states[0]["label"])
    changed = SavedState(taken, (), None, {**export.states[0], "selectedPoints": [1]})
    with pytest.raises(OptionError, match="--rename for another title"):
        new_states(export, [changed])
    with pytest.raises(OptionError, match="among the saved ones already"):
        new_states(export, [saved("a"), saved("a", selectedPoints=[1])])
    assert [s["label"] for s in new_states(export, [changed], rename="mine")] == ["mine"]
    both = new_states(export, [saved("a"), saved("a", selectedPoints=[1])], rename="mine")
    assert [s["label"] for s in both] == ["mine 1", "mine 2"]
    for empty in ("", "  ", "two\nlines"):
        with pytest.raises(OptionError, match="give --rename"):
            new_states(export, [saved(empty)])


def test_states_that_the_viewer_cannot_show_are_refused(export: Export) -> None:
    """A missing key throws in the viewer."""
    with pytest.raises(DataError, match="has no cameraDef"):
        new_states(export, [saved("a", cameraDef=None)])
