"""metadata.tsv: tab-separated cells without quoting, exactly one line a point.

The viewer splits on tabs and line feeds, skips blank lines (so that all later labels slip), turns
text that looks like a number into one, and takes one column without a header (data-provider.ts,
parseMetadata and analyzeMetadata). `points.parquet` keeps what is made safe here.
"""

from __future__ import annotations

import io

import polars as pl

from projector_export.points import LABEL, as_text

EMPTY = "(empty)"
"""Shown for an empty or missing text: an empty cell breaks the viewer's search."""

TEXT_MARK = "\u2060"
"""WORD JOINER, invisible: after a text that JavaScript would read as a number (007, 1e5, 0x10)."""

JS_WHITE = (
    " \t\n\v\f\r\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
"""What JavaScript's trim() and Number() pass over."""

# Control characters, and what some readers take for a line end (U+0085 is a control character).
_UNSAFE = r"[\p{Cc}\u{2028}\u{2029}]+"
# What JavaScript's Number() takes, once white space around it is gone.
_NUMBER = (
    r"^(?:[+-]?(?:Infinity|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+)$"
)
SLICE_BYTES = 1_000_000
_TAB = ord("\t")
MAX_CELL_CHARS = 500
"""Longer texts are cut in the viewer, which loads all of them at once."""
_DECIMALS = 6


def render_metadata(columns: pl.DataFrame) -> bytes:
    """Return metadata.tsv for N rows of columns.

    Args:
        columns: N rows. Numbers and booleans keep their values (floats to 6 significant digits or
            more; nan and infinity become empty cells, since their text would make the whole
            column text); everything else is shown as text on one line.

    Returns:
        UTF-8; N lines, and a header line before them when there are two columns or more.
    """
    names = list(viewer_names(columns).values())
    cells = pl.DataFrame(
        [
            _render_column(columns[old]).alias(new)
            for old, new in zip(columns.columns, names, strict=True)
        ]
    )
    blank = cells.select(pl.all_horizontal(pl.all().str.strip_chars(JS_WHITE) == "")).to_series()
    first = cells.to_series(0)
    cells = cells.with_columns(
        pl.select(pl.when(blank).then(pl.lit(EMPTY)).otherwise(first)).to_series().alias(names[0])
    )
    buffer = io.BytesIO()
    cells.write_csv(buffer, separator="\t", include_header=cells.width > 1, quote_style="never")
    last_is_float = columns.dtypes[-1].is_float() and cells.width > 1
    return _pad_slices(buffer.getvalue()) if last_is_float else buffer.getvalue()


def viewer_names(columns: pl.DataFrame) -> dict[str, str]:
    """Return what each column is called in metadata.tsv, by its own name."""
    return dict(zip(columns.columns, _column_names(columns.columns), strict=True))


def _pad_slices(text: bytes) -> bytes:
    """Move characters off the edges of the slices in which the viewer decodes the file.

    It decodes every million bytes by themselves, which spoils a character that lies across
    (data-provider.ts, streamParse). A space after the number that ends a line is not seen.
    """
    edge = SLICE_BYTES
    while edge < len(text):
        start = edge
        while text[start] & 0xC0 == 0x80:
            start -= 1
        line_end = text.rindex(b"\n", 0, start)
        while text[line_end - 1] == _TAB and line_end > edge - SLICE_BYTES:
            # Behind an empty cell spaces would be read as 0.
            line_end = text.rindex(b"\n", 0, line_end)
        if start < edge and line_end > edge - SLICE_BYTES:
            text = text[:line_end] + b" " * (edge - start) + text[line_end:]
        edge += SLICE_BYTES
    return text


def one_line(text: pl.Expr) -> pl.Expr:
    """Return the texts with every control character and line separator replaced by a space."""
    return text.str.replace_all(_UNSAFE, " ").str.strip_chars(JS_WHITE)


def _render_column(values: pl.Series) -> pl.Series:
    dtype = values.dtype
    if values.name == LABEL and values.null_count():
        dtype = pl.String()  # every view labels by it, and a missing number cannot be searched
    if dtype.is_integer():
        return values.cast(pl.String).fill_null("")
    if dtype.is_float() or dtype.is_decimal():
        numbers = values.cast(pl.Float64)
        finite = numbers.is_finite().fill_null(value=False)
        shown = numbers.round_sig_figs(_DECIMALS + 1).cast(pl.String)
        return pl.select(pl.when(finite).then(shown).otherwise(pl.lit(""))).to_series()
    frame = pl.DataFrame({"text": as_text(values)})
    text = one_line(pl.col("text"))
    cut = text.str.slice(0, MAX_CELL_CHARS - 1) + "…"
    frame = frame.select(
        pl.when(text.str.len_chars() > MAX_CELL_CHARS).then(cut).otherwise(text).alias("text")
    )
    text = pl.col("text")
    return frame.select(
        pl.when(text == "")
        .then(pl.lit(EMPTY))
        .when(text.str.contains(_NUMBER))
        .then(text + TEXT_MARK)
        .otherwise(text)
    ).to_series()


def _column_names(names: list[str]) -> list[str]:
    """Return the names on one line and unique."""
    clean = pl.DataFrame({"name": names}).select(one_line(pl.col("name"))).to_series().to_list()
    taken: set[str] = set()
    for i, name in enumerate(clean):
        candidate = base = name or "column"
        number = 2
        while candidate in taken:
            candidate = f"{base}_{number}"
            number += 1
        taken.add(candidate)
        clean[i] = candidate
    return clean
