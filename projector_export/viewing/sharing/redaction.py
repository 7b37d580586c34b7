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

import polars as pl

from projector_export.points import LABEL, as_text
from projector_export.projector.metadata import one_line

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
    " kind umap3d_x umap3d_y umap3d_z umap2d_x umap2d_y source_row shown".split()
)
_ABSOLUTE = r"^(?:(?:~|/[^/\s]+)/[^/\s]|[A-Za-z]:[\\/]|\\\\|file:)"
_LOOKS_LIKE_PATH = rf"{_ABSOLUTE}|^\.{{1,2}}[\\/]|[^\s\\/][\\/][^\\/]+\.\w{{1,5}}$"
_LAST_PART = r"([^\\/]*)[\\/]*$"
_CUT = "paths cut to file names"
_MOST = 0.9  # share of the rows: some may be empty or differ
_WORD = re.compile(r"\w+")


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
        words: shorter ones, telling only where they stand alone.
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
        return not self.words.isdisjoint(_WORD.findall(text))


def find_secrets(frames: Sequence[pl.DataFrame], redaction: Redaction) -> Secrets:
    """Collect the redacted columns' names and texts over all embeddings."""
    texts: set[str] = set()
    words: set[str] = set()
    for frame in frames:
        for name in set(redaction.columns) & set(frame.columns):
            found = set(_texts(frame[name]).to_list()) - {""}
            telling = {text for text in found if _is_telling(text)}
            texts |= telling
            if frame[name].dtype not in (pl.Boolean, pl.Float32, pl.Float64):
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
        if _names_it_in_most_rows(texts, frame[other]):
            return f"tells {other}"
    return ""


def _names_it_in_most_rows(texts: pl.Series, other: pl.Series) -> bool:
    """Whether short words, or numbers, of the other column stand in the same row's text."""
    if other.dtype.is_float() or other.dtype == pl.Boolean:
        return False
    pairs = [(v, t) for v, t in zip(_texts(other), texts, strict=True) if v]
    if len({value for value, _ in pairs}) < 2:
        return False
    named = sum(value in _words(text) for value, text in pairs)
    return named >= _MOST * len(pairs)


def _words(text: str) -> set[str]:
    """Return a text's words, and its words' parts: `img_012` is `img`, `012` and `12`, too."""
    words = set(_WORD.findall(text))
    parts = {part for word in words for part in re.findall(r"[^\W\d_]+|\d+", word)}
    return words | parts | {part.lstrip("0") for part in parts}


def _is_telling(text: str) -> bool:
    """Whether a text is long enough to be known wherever it stands, and no number."""
    has_letter = any(c.isalpha() for c in text)
    return has_letter and len(text) >= (3 if text.isascii() else 2)


def _texts(values: pl.Series) -> pl.Series:
    """Return a column's texts as the viewer would show them, on one line, and folded."""
    frame = pl.DataFrame({"text": as_text(values)})
    lines = frame.select(one_line(pl.col("text"))).to_series()
    return pl.Series([_fold(text) for text in lines], dtype=pl.String)


def _fold(text: str) -> str:
    """Return a text so that case and ways of writing the same characters make no difference."""
    return unicodedata.normalize("NFKC", text).casefold()


def _holds_paths(values: pl.Series) -> bool:
    if values.dtype != pl.String:
        return False
    given = values.drop_nulls().filter(values.drop_nulls() != "")
    if not len(given):
        return False
    is_path = given.str.contains(_LOOKS_LIKE_PATH)
    return bool(given.str.contains(_ABSOLUTE).any() or (is_path.mean() or 0) >= 0.5)  # type: ignore[operator]
