"""metadata.tsv of any program, as a table of texts and back."""

from __future__ import annotations

import polars as pl

from projector_export.points import LABEL
from projector_export.projector.metadata import EMPTY


def read_metadata(metadata: bytes | None) -> pl.DataFrame:
    """Read metadata.tsv as the viewer does (data-provider.ts, parseMetadata): all text."""
    lines = [
        line for line in (metadata or b"").decode("utf-8", "replace").split("\n") if line.strip()
    ]
    names = [LABEL]
    if lines and "\t" in lines[0]:
        names, lines = lines[0].split("\t"), lines[1:]
    rows = [line.split("\t") for line in lines]
    cells = {name: [row[i] if i < len(row) else "" for row in rows] for i, name in enumerate(names)}
    return pl.DataFrame(cells if rows else {}, schema_overrides=dict.fromkeys(cells, pl.String))


def write_metadata(frame: pl.DataFrame) -> bytes:
    """Return metadata.tsv for columns that `read_metadata` has given; no line is blank."""
    if not frame.width:
        return b""
    lines = ["\t".join(row) for row in frame.iter_rows()]
    lines = [line if line.strip() else EMPTY + line for line in lines]  # no line may be blank
    if frame.width > 1:
        lines.insert(0, "\t".join(frame.columns))
    return ("\n".join(lines) + "\n").encode("utf-8")
