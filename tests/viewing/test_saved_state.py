"""Bookmarks saved in the browser: which rows of the tensor they mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from projector_export import Points, Settings, export_points
from projector_export.errors import DataError, InputNotFoundError, OptionError
from projector_export.projector.exports import Export, open_export
from projector_export.viewing.round_trip.saved_state import choose_states, read_states

N, D = 12, 4


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """An export of 12 points with 4 values."""
    out = tmp_path_factory.mktemp("run")
    vectors = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)
    settings = Settings(umap_dims=(), clusters=None, anomalies=False)
    export_points(Points(vectors, name="e"), out, settings=settings)
    return open_export(out)


def state(title: str = "State 0", n: int = N, **keys: Any) -> dict[str, Any]:
    """A state of n points, as the viewer saves it."""
    return {
        "label": title,
        "dataSetDimensions": [n, D],
        "projections": [{"pca-0": 0.5}] * n,
        "selectedPoints": [],
        "filteredPoints": None,
        **keys,
    }


def write(folder: Path, *states: object) -> Path:
    """Write STATE.txt."""
    file = folder / "STATE.txt"
    file.write_text(json.dumps(states, ensure_ascii=False), encoding="utf-8")
    return file


@pytest.mark.parametrize("none", [None, []])
def test_selected_points_are_rows_where_none_is_isolated(
    export: Export, tmp_path: Path, none: object
) -> None:
    """Null or [] in `filteredPoints` is no isolation; the order of selecting is kept."""
    file = write(tmp_path, state("外れ", selectedPoints=[7, 2, 11], filteredPoints=none))
    (saved,) = read_states(file, export)
    assert (saved.title, saved.selected, saved.isolated) == ("外れ", (7, 2, 11), None)


def test_selected_points_are_positions_among_isolated_ones(export: Export, tmp_path: Path) -> None:
    """In an isolated state `selectedPoints` are positions within `filteredPoints`."""
    file = write(tmp_path, state(n=3, selectedPoints=[2, 0], filteredPoints=[9, 4, 1]))
    (saved,) = read_states(file, export)
    assert (saved.selected, saved.isolated) == ((1, 9), (9, 4, 1))


def test_all_points_isolated_in_another_order(export: Export, tmp_path: Path) -> None:
    """Isolating all of them still makes positions of the selection."""
    rows = list(range(N))[::-1]
    file = write(tmp_path, state(selectedPoints=[0], filteredPoints=rows))
    (saved,) = read_states(file, export)
    assert (saved.selected, saved.isolated) == ((11,), tuple(rows))


def test_an_isolation_that_has_ended_is_none(export: Export, tmp_path: Path) -> None:
    """After the Sphereize switch all points are there, though filteredPoints still names some."""
    file = write(tmp_path, state(selectedPoints=[5, 6], filteredPoints=[3, 0]))
    (saved,) = read_states(file, export)
    assert (saved.selected, saved.isolated) == ((5, 6), None)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (state(n=13), "is of 13 points with 4 values but 'e' in .* has 12 with 4"),
        (state(dataSetDimensions=[N, 5]), "12 points with 5 values"),
        (state(n=2, filteredPoints=[1, 2, 3]), "has 12 with 4, or the 3 isolated ones"),
        (state(selectedPoints=[12]), "selectedPoints has 12; expected row numbers from 0 to 11"),
        (state(selectedPoints=[-1]), "selectedPoints has -1"),
        (state(selectedPoints=[True]), "selectedPoints has True"),
        (state(selectedPoints=["3"]), "selectedPoints has '3'"),
        (state(selectedPoints={}), "selectedPoints is no list"),
        (state(n=1, filteredPoints=[12]), "filteredPoints has 12"),
        (state(n=2, filteredPoints=[3, 4], selectedPoints=[2]), "from 0 to 1"),
        (state(dataSetDimensions=None), "does not say how many points"),
        (state(label=None), "bookmark 2, has no title"),
    ],
)
def test_states_of_another_data_set_are_refused(
    export: Export, tmp_path: Path, wrong: dict[str, Any], message: str
) -> None:
    """Dimensions that do not fit, and row numbers out of range, say which bookmark."""
    with pytest.raises(DataError, match=message) as caught:
        read_states(write(tmp_path, state(), wrong), export)
    assert "bookmark 2" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[1]", "nonsense", "[", "[NaN]", '[{"label": "a", "x": Infinity}]', "[" * 9999],
)
def test_what_is_no_list_of_bookmarks_is_refused(export: Export, tmp_path: Path, text: str) -> None:
    """The message says what is expected."""
    file = tmp_path / "STATE.txt"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="bookmark panel downloads"):
        read_states(file, export)


def test_nothing_saved_and_nothing_there(export: Export, tmp_path: Path) -> None:
    """An empty list and a missing file have a message of their own."""
    with pytest.raises(DataError, match="holds no bookmark; add one"):
        read_states(write(tmp_path), export)
    with pytest.raises(InputNotFoundError, match="does not exist"):
        read_states(tmp_path / "none.txt", export)


def test_bookmarks_are_chosen_by_title(export: Export, tmp_path: Path) -> None:
    """--bookmark TITLE, repeatable; an unknown one names those that are there."""
    saved = read_states(write(tmp_path, state("a"), state("b"), state("a"), state("c")), export)
    assert [one.title for one in choose_states(saved, ["c", "a"])] == ["a", "a", "c"]
    assert choose_states(saved, []) == saved
    with pytest.raises(OptionError, match="no bookmark 'd' among those saved: 'a', 'b', 'a', 'c'"):
        choose_states(saved, ["d"])
