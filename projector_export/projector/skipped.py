"""skipped.tsv: the inputs that an export had to leave out, each with the reason."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import polars as pl

from projector_export.projector.metadata import one_line


def render_skipped(skipped: Sequence[Mapping[str, str]]) -> bytes:
    """Return a tab-separated table of `path` and `why`, a line each, with a header; UTF-8."""
    table = pl.DataFrame([{"path": one["path"], "why": one["why"]} for one in skipped])
    table = table.select(one_line(pl.col("path")), one_line(pl.col("why")))
    buffer = io.BytesIO()
    table.write_csv(buffer, separator="\t", quote_style="never")
    return buffer.getvalue()
