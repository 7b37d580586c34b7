"""Which points: `cluster == cluster_03 and anomaly > 0.95`, `top 20 by anomaly`, ...

    selection := part (or part)*        part := one (and one)*
    one       := ( selection ) | column op value | nearest N to LABEL | rows FILE
               | top N by column [where selection] | bottom N by column [where selection]
    op        := == != < <= > >= contains

`and` binds closer than `or`; `where` reaches to the end, or to the closing bracket. Names and
values with spaces or signs are quoted ("a b", 'a b' or `a b`). A missing value meets no condition.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass, field
from operator import eq, ge, gt, le, lt, ne
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl

from projector_export.errors import OptionError
from projector_export.points import LABEL, as_text
from projector_export.projector.viewer_points import SOURCE_ROW, ViewerPoints, close_to

OPERATORS = ("==", "!=", "<=", ">=", "<", ">", "contains")
_TOKEN = re.compile(
    r"""\s*(?:(?P<quoted>"[^"]*"|'[^']*'|`[^`]*`)|(?P<sign>==|!=|<=|>=|<|>|\(|\))"""
    r"""|(?P<word>[^\s()<>=!"'`]+))"""
)


class Selection(Protocol):
    """A parsed selection."""

    def names(self) -> set[str]:
        """Return the columns that it reads."""

    def rows(self, points: ViewerPoints) -> np.ndarray:
        """Return row numbers, ranked or else ascending."""


def parse_selection(text: str, *, folder: Path = Path()) -> Selection:
    """Parse a selection.

    Args:
        text: as in this module's docstring.
        folder: that `rows FILE` is relative to.

    Raises:
        OptionError: where and why it cannot be read.
    """
    parser = _Parser(text, folder)
    selection = parser.either()
    if parser.here < len(parser.tokens):
        raise parser.error("'and', 'or' or the end")
    return selection


def select_rows(selection: Selection, points: ViewerPoints, *, what: str) -> np.ndarray:
    """Return the rows of a selection, at least one.

    Args:
        selection: from `parse_selection`.
        points: N points.
        what: the selection's text, for the message.

    Raises:
        OptionError: an unknown column or value, or no point is left.
    """
    rows = selection.rows(points)
    if not len(rows):
        raise OptionError(f"{what!r} selects none of {len(points)} points; loosen it")
    return rows


@dataclass(frozen=True)
class _Compare:
    column: str
    operator: str
    value: str

    def names(self) -> set[str]:
        return {self.column}

    def rows(self, points: ViewerPoints) -> np.ndarray:
        values = points.column(self.column)
        if values.dtype.is_numeric():
            mask = self._compare_numbers(values)
        elif values.dtype.is_temporal() and self.operator != "contains":
            # ISO texts are ordered as the times are.
            mask = _OPERATIONS[self.operator](as_text(values), self.value)
        elif values.dtype == pl.Boolean:
            mask = self._compare_texts(as_text(values), self.value.lower())
        else:
            mask = self._compare_texts(as_text(values), self.value)
        mask = mask & values.is_not_null()
        return np.flatnonzero(mask.fill_null(value=False).to_numpy())

    def _compare_numbers(self, values: pl.Series) -> pl.Series:
        number = _number(self.value)
        if self.operator == "contains" or number is None:
            raise OptionError(
                f"column {self.column!r} holds numbers; expected == != < <= > or >= and a number, "
                f"got {self.operator} {self.value!r}"
            )
        if values.dtype.is_decimal():
            values = values.cast(pl.Float64)
        mask: pl.Series = _OPERATIONS[self.operator](values, number)
        return mask & values.is_not_nan() if values.dtype.is_float() else mask

    def _compare_texts(self, values: pl.Series, value: str) -> pl.Series:
        if self.operator == "contains":
            return values.str.to_lowercase().str.contains(value.lower(), literal=True)
        if self.operator not in ("==", "!="):
            raise OptionError(
                f"column {self.column!r} holds texts; expected ==, != or contains, "
                f"got {self.operator}"
            )
        if not (values == value).any():
            raise OptionError(f"no point has {self.column} {value!r}{close_to(value, values)}")
        return values == value if self.operator == "==" else values != value


_OPERATIONS = {"==": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge}


def _number(text: str) -> int | float | None:
    """Return a number, a whole one exactly; None for anything else."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            number = kind(text)
            return None if number != number else number
    return None


@dataclass(frozen=True)
class _Ranked:
    n: int
    column: str
    largest: bool
    where: Selection | None

    def names(self) -> set[str]:
        return {self.column} | (self.where.names() if self.where else set())

    def rows(self, points: ViewerPoints) -> np.ndarray:
        values = points.column(self.column)
        if not values.dtype.is_numeric():
            raise OptionError(
                f"column {self.column!r} holds no numbers, so it has no top or bottom"
            )
        scores = values.cast(pl.Float64).fill_null(np.nan).to_numpy()
        rows = np.arange(len(points)) if self.where is None else np.sort(self.where.rows(points))
        rows = rows[~np.isnan(scores[rows])]
        order = np.argsort(-scores[rows] if self.largest else scores[rows], kind="stable")
        return np.asarray(rows[order][: self.n])


@dataclass(frozen=True)
class _Nearest:
    n: int
    label: str

    def names(self) -> set[str]:
        return {LABEL}

    def rows(self, points: ViewerPoints) -> np.ndarray:
        return points.nearest_rows(self.label, self.n)


@dataclass(frozen=True)
class _FromFile:
    path: Path

    def names(self) -> set[str]:
        return set()

    def rows(self, points: ViewerPoints) -> np.ndarray:
        wanted = self._read()
        here = {row: i for i, row in enumerate(points.columns[SOURCE_ROW].to_list())}
        rows = sorted({here[row] for row in wanted if row in here})
        return np.array(rows, dtype=np.int64)

    def _read(self) -> list[int]:
        try:
            text = self.path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise OptionError(f"{self.path} cannot be read ({error})") from error
        try:
            rows = json.loads(text) if text.lstrip().startswith("[") else map(int, text.split())
            rows = list(rows)
            if any(type(row) is not int or row < 0 for row in rows):
                raise ValueError("a row is no whole number from 0")
            return rows
        except (ValueError, TypeError) as error:
            raise OptionError(
                f"{self.path} is no list of row numbers ({error}); expected one a line, counted "
                "from 0 over the items that could be read"
            ) from error


@dataclass(frozen=True)
class _Both:
    one: Selection
    other: Selection

    def names(self) -> set[str]:
        return self.one.names() | self.other.names()

    def rows(self, points: ViewerPoints) -> np.ndarray:
        rows = self.one.rows(points)
        return rows[np.isin(rows, self.other.rows(points))]


@dataclass(frozen=True)
class _Either:
    one: Selection
    other: Selection

    def names(self) -> set[str]:
        return self.one.names() | self.other.names()

    def rows(self, points: ViewerPoints) -> np.ndarray:
        rows, more = self.one.rows(points), self.other.rows(points)
        return np.concatenate([rows, more[~np.isin(more, rows)]])


@dataclass
class _Parser:
    text: str
    folder: Path
    tokens: list[re.Match[str]] = field(default_factory=list)
    here: int = 0

    def __post_init__(self) -> None:
        at = 0
        text = self.text.rstrip()
        while at < len(text):
            token = _TOKEN.match(text, at)
            if token is None:
                raise OptionError(
                    f"{self.text!r} cannot be read from {text[at:].strip()!r} on; names and values "
                    'with spaces or signs need quotes: "a b"'
                )
            self.tokens.append(token)
            at = token.end()

    def error(self, expected: str) -> OptionError:
        got = self.tokens[self.here][0].strip() if self.here < len(self.tokens) else "the end"
        return OptionError(
            f"{self.text!r} cannot be read: expected {expected}, got {got}; "
            "write for example 'cluster == cluster_03 and anomaly > 0.95' or 'top 20 by anomaly', "
            "and quotes around names and values with spaces"
        )

    def at(self, *words: str) -> bool:
        """Whether one of these (unquoted) comes next."""
        if self.here >= len(self.tokens):
            return False
        token = self.tokens[self.here]
        return token["quoted"] is None and token[0].strip() in words

    def take(self, *words: str) -> bool:
        found = self.at(*words)
        self.here += found
        return found

    def value(self, expected: str) -> str:
        if self.here >= len(self.tokens) or self.tokens[self.here]["sign"]:
            raise self.error(expected)
        token = self.tokens[self.here]
        self.here += 1
        return token["quoted"][1:-1] if token["quoted"] is not None else token["word"]

    def number(self) -> int:
        text = self.value("a number from 1")
        if not text.isdecimal() or int(text) < 1:
            self.here -= 1
            raise self.error("a number from 1")
        return int(text)

    def either(self) -> Selection:
        selection = self.both()
        while self.take("or"):
            selection = _Either(selection, self.both())
        return selection

    def both(self) -> Selection:
        selection = self.one()
        while self.take("and"):
            selection = _Both(selection, self.one())
        return selection

    def one(self) -> Selection:
        if self.take("("):
            selection = self.either()
            if not self.take(")"):
                raise self.error("')'")
            return selection
        following = self.tokens[self.here + 1 : self.here + 2]
        is_column = bool(following) and following[0][0].strip() in OPERATORS
        if not is_column:
            if self.at("top", "bottom"):
                return self.ranked()
            if self.take("nearest"):
                n = self.number()
                if not self.take("to"):
                    raise self.error("'to' and a label")
                return _Nearest(n, self.value("a label"))
            if self.take("rows"):
                return _FromFile(self.folder / self.value("a file"))
        column = self.value("a condition")
        for operator in OPERATORS:
            if self.take(operator):
                return _Compare(column, operator, self.value("a value"))
        raise self.error(" ".join(OPERATORS))

    def ranked(self) -> Selection:
        largest = self.at("top")
        self.here += 1
        n = self.number()
        if not self.take("by"):
            raise self.error("'by' and a column")
        column = self.value("a column")
        return _Ranked(n, column, largest, self.either() if self.take("where") else None)
