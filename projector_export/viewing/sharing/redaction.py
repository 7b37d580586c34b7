"""What is left out of a bundle: columns asked for, and all that would tell what was in them.

To leave a column out is not enough: its values may stand in the label, in a path, or in the name of
a cluster. So a column also goes when it repeats a redacted one, when it is made from one, or when a
redacted text stands in it. Our own scores and cluster numbers stay; their words are not the data's.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from projector_export.points import LABEL, as_text
from projector_export.projector.metadata import EMPTY, TEXT_MARK, one_line

PATH_NAMES = frozenset(
    "path file image filename file_name filepath file_path image_path absolute_path".split()
)
"""Names of columns that hold paths."""

# What goes with a column, since it was made from it.
_MADE_FROM = {
    LABEL: ("nearest", "cluster_name", "agrees"),
    "predicted": ("predicted_score", "predicted_margin", "agrees", "cluster_name"),
    "cluster": ("cluster_name", "cluster_distance"),
    "nearest": ("nearest_angle",),
}
_OWN_WORDS = frozenset(
    "cluster cluster_distance anomaly anomaly_kind anomaly_global anomaly_group anomaly_local"
    " anomaly_reference nearest_angle duplicate_group predicted_score predicted_margin known_normal"
    " kind movement movement_since_first neighbours_kept neighbour_overlap"
    " umap3d_x umap3d_y umap3d_z umap2d_x umap2d_y source_row shown".split()
)
_ABSOLUTE = r"^(?:(?:~|/[^/\s]+)/[^/\s]|[A-Za-z]:[\\/]|\\\\|file:)"
_LOOKS_LIKE_PATH = rf"{_ABSOLUTE}|^\.{{1,2}}[\\/]|[^\s\\/][\\/][^\\/]+\.\w{{1,5}}$"
# The same within a text; a slash of HTML's is none.
_ABSOLUTE_WITHIN = (
    r"(?:^|[^\w.\\/<~])"
    r"(?:~/\S|/[^/\s<>]+/[^/\s]|/[^/\s<>]+\.\w{1,5}\b|[A-Za-z]:[\\/]|\\\\\w|file:/)"
)
_PATH_WITHIN = re.compile(
    rf"{_ABSOLUTE_WITHIN}|(?:^|\s)\.{{1,2}}[\\/]\w|[^\s\\/<][\\/][^\\/\s<>]+\.\w{{1,5}}(?!\w)"
)
_LAST_PART = r"([^\\/]*)[\\/]*$"
_CUT = "paths cut to file names"
_MOST = 0.9  # share of the rows: some may be empty or differ
_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"[+-]?[\d.,]+(?:e[+-]?\d+)?")
_LONG_NUMBER = 6  # characters: shorter ones stand in other texts by chance
_LONG = 4
_SHOWN_DIGITS = 7  # of floats in metadata.tsv


@dataclass(frozen=True)
class Redaction:
    """What is left out.

    Attributes:
        columns: names, as in points.parquet or as the viewer shows them; `a,b` may be two.
        sprite: leave the thumbnails out.
        paths: leave out columns that hold paths, and files that name some.
    """

    columns: tuple[str, ...] = ()
    sprite: bool = False
    paths: bool = False

    @property
    def is_of_texts(self) -> bool:
        """Whether any text is left out."""
        return bool(self.columns) or self.paths


@dataclass(frozen=True)
class Secrets:
    """What must not stand in a bundle.

    Attributes:
        names: of redacted columns, but for `label`, which every export has.
        texts: that are telling wherever they stand; folded, see `_fold`.
        words: shorter ones and short numbers, telling only where they stand alone.
    """

    names: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    words: frozenset[str] = frozenset()

    def stand_in(self, text: str) -> bool:
        """Whether a text, such as the title of a view, tells one of them."""
        text = _fold(text)
        names = [_fold(name) for name in self.names]
        spaced = [name.replace("_", " ") for name in names]
        if any(known in text for known in (*self.texts, *names, *spaced)):
            return True
        return any(_stands_alone(word, text) for word in self.words)

    def stand_in_name(self, name: str) -> bool:
        """Whether one is a part of a name between underscores, as in `is_alice`."""
        parts = _as_name(name).split("_")
        runs = {"_".join(parts[i:j]) for j in range(len(parts) + 1) for i in range(j)}
        return not self._as_names.isdisjoint(runs)

    @cached_property
    def _as_names(self) -> frozenset[str]:
        words = (word for word in self.words if not _NUMBER.fullmatch(word))
        return frozenset(_as_name(text) for text in (*self.texts, *words)) - {""}


def find_secrets(frames: Sequence[pl.DataFrame], redaction: Redaction) -> Secrets:
    """Collect the redacted columns' names and texts over all embeddings."""
    texts: set[str] = set()
    words: set[str] = set()
    for frame in frames:
        for name in set(redaction.columns) & set(frame.columns):
            found = set().union(*_forms(frame[name]))
            telling = {text for text in found if _is_telling(text)}
            texts |= telling
            if frame[name].dtype.is_float():
                words |= {text for text in found - telling if len(text) >= _LONG}
            elif frame[name].dtype != pl.Boolean:
                words |= found - telling
    names = tuple(sorted(set(redaction.columns) - {LABEL}))
    return Secrets(names, tuple(sorted(texts)), frozenset(words))


def choose_columns(
    frame: pl.DataFrame, redaction: Redaction, secrets: Secrets, *, is_ours: bool
) -> dict[str, str]:
    """Return the columns that are left out, each with the reason.

    Args:
        frame: N rows, all columns of an embedding.
        redaction: what is asked for.
        secrets: of all embeddings that are shared together.
        is_ours: whether this program made it; then its own columns are known by name.
    """
    own = _OWN_WORDS if is_ours else frozenset()
    asked = [name for name in frame.columns if name in redaction.columns]
    chosen = dict.fromkeys(asked, "asked for")
    for name in frame.columns:
        if name not in chosen and name not in own:
            told = _what_it_tells(frame, name, asked, secrets)
            if told:
                chosen[name] = told
    for name in list(chosen) if is_ours else ():
        for made in _MADE_FROM.get(name, ()):
            if made in frame.columns:
                chosen.setdefault(made, f"made from {name}")
    for name in path_columns(frame) if redaction.paths else ():
        chosen.setdefault(name, _CUT if name == LABEL else "holds paths")
    for name in ("nearest", "cluster_name") if redaction.paths and is_ours else ():
        if name in frame.columns and any(map(holds_path, as_text(frame[name]).unique())):
            chosen.setdefault(name, "holds paths")
    return {name: chosen[name] for name in frame.columns if name in chosen}


def strip_columns(frame: pl.DataFrame, left_out: Mapping[str, str]) -> pl.DataFrame:
    """Return the columns that stay; a label that goes becomes `row 0`, `row 1`, ..."""
    kept = frame.drop([name for name in left_out if name != LABEL])
    if LABEL not in left_out:
        return kept
    if left_out[LABEL] == _CUT:
        return kept.with_columns(as_text(frame[LABEL]).str.extract(_LAST_PART).alias(LABEL))
    rows = [f"row {i}" for i in range(frame.height)]
    return kept.with_columns(pl.Series(LABEL, rows, dtype=pl.String))


def path_columns(frame: pl.DataFrame) -> list[str]:
    """Return the columns that hold paths: by their name, or by most of what is in them."""
    return [
        name
        for name in frame.columns
        if name.casefold().removeprefix("user_") in PATH_NAMES or _holds_paths(frame[name])
    ]


def label_is_a_path(frame: pl.DataFrame) -> bool:
    """Whether the labels repeat the paths of another column, or their file names."""
    if LABEL not in frame.columns:
        return False
    labels = _texts(frame[LABEL])
    for name in path_columns(frame):
        if name == LABEL:
            return True
        paths = _texts(frame[name])
        names = paths.str.extract(_LAST_PART)
        stems = names.str.replace(r"\.\w+$", "")
        if any((labels == texts).mean() == 1 for texts in (paths, names, stems)):
            return True
    return False


def holds_path(text: str) -> bool:
    """Whether a path stands anywhere in a text, such as the title of a view."""
    return _PATH_WITHIN.search(text) is not None


def names_paths(value: object) -> bool:
    """Whether a text that looks like a path stands anywhere in a manifest."""
    if isinstance(value, Mapping):
        return any(names_paths(one) for one in value.values())
    if isinstance(value, list | tuple):
        return any(names_paths(one) for one in value)
    return isinstance(value, str) and re.search(_LOOKS_LIKE_PATH, value) is not None


def _what_it_tells(
    frame: pl.DataFrame, name: str, redacted: Sequence[str], secrets: Secrets
) -> str:
    """Return why a column goes, or nothing."""
    if name != LABEL and secrets.stand_in_name(name):
        return "is named after what was left out"
    texts = _texts(frame[name])
    for other in redacted:
        others = _texts(frame[other])
        if others.n_unique() > 1 and (texts == others).mean() == 1:
            return f"repeats {other}"
    if frame[name].dtype.is_numeric() or frame[name].dtype == pl.Boolean:
        return ""
    if secrets.texts and texts.str.contains_any(list(secrets.texts)).any():
        return "tells what was left out"
    for other in redacted:
        if _names_it(texts, frame[other]):
            return f"tells {other}"
    return ""


def _names_it(texts: pl.Series, other: pl.Series) -> bool:
    """Whether rows' texts name the other column's value: one a long value, most a short one."""
    if other.dtype == pl.Boolean:
        return False
    pairs = [(v, t) for v, t in zip(_forms(other), texts, strict=True) if v]
    named = 0
    for values, text in pairs:
        told = {v for v in values if v in text and _stands_alone(v, text)}
        if any(_is_long(value) for value in told):
            return True
        named += bool(told or not values.isdisjoint(_words(text)))
    if len({value for value, _ in pairs}) < 2:
        return False
    return named >= _MOST * len(pairs)


def _stands_alone(word: str, text: str) -> bool:
    """Whether a word stands in a text, and not as a part of a longer one."""
    at = text.find(word)
    while at >= 0:
        around = text[max(at - 1, 0) : at] + text[at + len(word) : at + len(word) + 1]
        if not _WORD.search(around):
            return True
        at = text.find(word, at + 1)
    return False


def _is_long(text: str) -> bool:
    """Whether a text hardly stands by chance in the very row that it belongs to."""
    is_marked = bool(re.search(r"\w", text) and re.search(r"\W", text))  # as A+
    return len(text) >= _LONG or (is_marked and not _NUMBER.fullmatch(text))


def _words(text: str) -> set[str]:
    """Return a text's words, and its words' parts: `img_012` is `img`, `012` and `12`, too."""
    words = set(_WORD.findall(text))
    parts = {part for word in words for part in re.findall(r"[^\W\d_]+|\d+", word)}
    return words | parts | {part.lstrip("0") for part in parts}


def _is_telling(text: str) -> bool:
    """Whether a text is long enough to be known wherever it stands."""
    if _NUMBER.fullmatch(text):
        return len(text) >= _LONG_NUMBER
    has_letter = any(c.isalpha() for c in text)
    return len(text) >= _LONG or (has_letter and len(text) >= (3 if text.isascii() else 2))


def _as_name(text: str) -> str:
    """Return a text as a column's name would have it: its words between underscores."""
    return re.sub(r"[\W_]+", "_", _fold(text)).strip("_")


def _forms(values: pl.Series) -> list[frozenset[str]]:
    """Return all ways of writing each row's value: a float also as the viewer shows it."""
    texts = _texts(values).to_list()
    if not (values.dtype.is_float() or values.dtype.is_decimal()):
        return [frozenset({text} - {"", EMPTY}) for text in texts]
    numbers = values.cast(pl.Float64)
    finite = numbers.is_finite().fill_null(value=False).to_list()
    shown = numbers.round_sig_figs(_SHOWN_DIGITS).cast(pl.String).to_list()
    return [
        frozenset({text, short, short.removesuffix(".0")}) if is_finite else frozenset()
        for text, short, is_finite in zip(texts, shown, finite, strict=True)
    ]


def _texts(values: pl.Series) -> pl.Series:
    """Return a column's texts as the viewer would show them, on one line, and folded."""
    frame = pl.DataFrame({"text": as_text(values)})
    lines = frame.select(one_line(pl.col("text"))).to_series()
    return pl.Series([_fold(text) for text in lines], dtype=pl.String)


def _fold(text: str) -> str:
    """Return a text so that case and ways of writing the same characters make no difference."""
    return unicodedata.normalize("NFKC", text.replace(TEXT_MARK, "")).casefold()


def _holds_paths(values: pl.Series) -> bool:
    if values.dtype != pl.String:
        return False
    given = values.drop_nulls().filter(values.drop_nulls() != "")
    if not len(given):
        return False
    is_path = given.str.contains(_LOOKS_LIKE_PATH)
    return bool(given.str.contains(_ABSOLUTE_WITHIN).any() or (is_path.mean() or 0) >= 0.5)  # type: ignore[operator]
