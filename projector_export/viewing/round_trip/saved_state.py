"""STATE.txt: the bookmarks that the viewer's download button saves, and the points that they mean.

It is a JSON array of states (vz-projector.ts, getCurrentState). In a state,

* `selectedPoints` are positions among the points that the viewer had then; of one selected point
  it shows the neighbours too, but saves only the point itself;
* `filteredPoints` are the isolated points' row numbers. Null and an empty list mean that none are;
* `dataSetDimensions` and `projections` count the points that the viewer had: the isolated ones.

After the "Sphereize data" switch the viewer shows all points again while it still names the last
isolation; the count tells. Points that were isolated out of isolated ones are saved as positions
among those, which nothing in a state tells.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from projector_export.errors import DataError, InputNotFoundError, OptionError
from projector_export.projector.exports import Export


@dataclass(frozen=True, eq=False)
class SavedState:
    """One bookmark, and its points as row numbers of the tensor.

    Attributes:
        title: as shown in the bookmark panel.
        selected: rows in the order in which they were selected.
        isolated: rows in the viewer's order; None when all points were shown.
        state: as the viewer saved it.
    """

    title: str
    selected: tuple[int, ...]
    isolated: tuple[int, ...] | None
    state: Mapping[str, Any]


def read_states(file: str | Path, export: Export) -> list[SavedState]:
    """Read the bookmarks that were downloaded from the viewer.

    Args:
        file: what the viewer saved.
        export: the embedding that was shown.

    Raises:
        InputNotFoundError: no such file.
        DataError: no bookmarks, or some of other points than the export's; says which.
    """
    file = Path(file)
    try:
        states = json.loads(file.read_text(encoding="utf-8-sig"), parse_constant=_refuse)
    except FileNotFoundError as error:
        raise InputNotFoundError(f"{file} does not exist; expected saved bookmarks") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"{file} cannot be read as bookmarks ({error}); expected the file that the viewer's "
            "bookmark panel downloads"
        ) from error
    if not isinstance(states, list) or not all(isinstance(state, dict) for state in states):
        raise DataError(
            f"{file} is no list of bookmarks; expected the file that the viewer's bookmark panel "
            "downloads"
        )
    if not states:
        raise DataError(f"{file} holds no bookmark; add one in the viewer before you download them")
    return [_read_state(state, number, file, export) for number, state in enumerate(states)]


def choose_states(states: Sequence[SavedState], titles: Sequence[str]) -> list[SavedState]:
    """Return the states of these titles, in the file's order; all without a title.

    Raises:
        OptionError: no state has one of them.
    """
    there = [state.title for state in states]
    for title in titles:
        if title not in there:
            raise OptionError(
                f"there is no bookmark {title!r} among those saved: {', '.join(map(repr, there))}"
            )
    return [state for state in states if not titles or state.title in titles]


def _read_state(state: dict[str, Any], number: int, file: Path, export: Export) -> SavedState:
    title = state.get("label")
    where = f"{file}, bookmark {number + 1}"
    if not isinstance(title, str):
        raise DataError(f"{where}, has no title; expected a file that the viewer saved")
    where += f" ({title!r})"
    isolated = _row_numbers(state, "filteredPoints", export.embedding.shape[0], where)
    n = _check_shape(state, isolated, where, export)
    selected = _row_numbers(state, "selectedPoints", n, where)
    if n != len(isolated):
        return SavedState(title, _each_once(selected), None, state)
    selected = [isolated[position] for position in selected]
    return SavedState(title, _each_once(selected), _each_once(isolated), state)


def _check_shape(
    state: Mapping[str, Any], isolated: Sequence[int], where: str, export: Export
) -> int:
    """Return how many points the viewer had."""
    rows, columns = export.embedding.shape
    dimensions = state.get("dataSetDimensions")
    projections = state.get("projections")
    if not isinstance(dimensions, list) or len(dimensions) != 2:
        raise DataError(f"{where}, does not say how many points it had; save it again")
    n = len(projections) if isinstance(projections, list) else dimensions[0]
    known = {rows, len(isolated)} if isolated else {rows}
    if dimensions[1] != columns or dimensions[0] not in known or n not in known:
        alone = f", or the {len(isolated)} isolated ones" if isolated else ""
        raise DataError(
            f"{where}, is of {dimensions[0]} points with {dimensions[1]} values but "
            f"{export.name!r} in {export.out} has {rows} with {columns}{alone}: it was saved from "
            "another embedding, or before this one was exported anew; say which with --name"
        )
    return int(n)


def _row_numbers(state: Mapping[str, Any], key: str, n: int, where: str) -> list[int]:
    """Return a list of numbers from 0 to n - 1; none where the state has null."""
    rows = state.get(key)
    if rows is None:
        return []
    if not isinstance(rows, list):
        raise DataError(f"{where}: {key} is no list; expected row numbers")
    for row in rows:
        if type(row) is not int or not 0 <= row < n:
            raise DataError(
                f"{where}: {key} has {row!r}; expected row numbers from 0 to {n - 1}: it was saved "
                "from another embedding"
            )
    return rows


def _each_once(rows: Sequence[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(rows))


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
