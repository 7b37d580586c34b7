"""Texts: a line each, or a column of a table."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from projector_export.errors import DataError
from projector_export.points import LABEL, Items, as_text
from projector_export.sources.tables import choose_label, read_table

LABEL_CHARS = 80


def read_texts(
    file: str | Path,
    *,
    column: str | None = None,
    label: str | None = None,
    name: str | None = None,
) -> Items:
    """Read texts from `.txt` (a line each), `.csv`, `.tsv`, `.jsonl` or `.parquet`.

    Args:
        file: the table.
        column: that holds the texts; default `text`, or the only column of text. A column `label`
            becomes `text`, or `label_text`.
        label: column to label points with; default the column `label`, or the text, shortened to
            80 characters.
        name: of the embedding; default the file's name.

    Returns:
        Items with the column `label` and the table's, the whole texts among them. Rows without
        text are in `skipped`.

    Raises:
        InputNotFoundError: no such file.
        DataError: not a table, no such column, or fewer than two texts.
    """
    file = Path(file)
    table = read_table(file)
    column = _text_column(file, table, column)
    if column == LABEL:  # the label is made of it, shortened
        column = "text"
        while column in table.columns:
            column = f"label_{column}"
        table = table.rename({LABEL: column})
    filled = as_text(table[column]).str.strip_chars() != ""
    empty = [row for row, has_text in enumerate(filled.to_list()) if not has_text]
    table = table.filter(filled).with_columns(as_text(table.filter(filled)[column]))
    if table.height < 2:
        raise DataError(f"{file} holds {table.height} texts; expected at least 2")
    if label is None:
        label = LABEL if LABEL in table.columns else column
    columns = choose_label(table, label, where=str(file))
    whole = as_text(columns[LABEL])
    labels = [shorten(text) for text in whole.to_list()]
    if label == LABEL and labels != whole.to_list() and "label_original" not in columns.columns:
        columns = columns.with_columns(whole.alias("label_original"))
    return Items(
        tuple(table[column].to_list()),
        columns.with_columns(pl.Series(LABEL, labels)),
        name or file.stem,
        source=file.name,
        skipped=tuple({"path": f"{file.name} row {row + 1}", "why": "no text"} for row in empty),
    )


def shorten(text: str) -> str:
    """Return a text as a label: one line of at most 80 characters."""
    line = " ".join(text.split())
    return line if len(line) <= LABEL_CHARS else line[: LABEL_CHARS - 1] + "…"


def _text_column(file: Path, table: pl.DataFrame, column: str | None) -> str:
    if column is not None:
        if column not in table.columns:
            raise DataError(
                f"{file} has no column {column!r} for the texts; its columns are: "
                f"{', '.join(table.columns)}"
            )
        return column
    if "text" in table.columns:
        return "text"
    texts = [name for name, dtype in table.schema.items() if dtype == pl.String]
    if len(texts) != 1:
        raise DataError(
            f"{file} has {len(texts)} columns of text; name one with --column; its columns are: "
            f"{', '.join(table.columns)}"
        )
    return texts[0]
