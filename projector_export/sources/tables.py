"""Tables of people's own columns: csv, tsv, txt, jsonl, parquet.

Text stays text: a csv column becomes numeric only when every cell is a plain number, so that
`007` is not 7.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import polars.selectors as cs

from projector_export.errors import DataError, InputNotFoundError
from projector_export.points import LABEL

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".parquet")
_INTEGER = r"^-?(0|[1-9]\d{0,17})$"
_FLOAT = r"^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$|^(?i:nan|[+-]?inf(inity)?)$"
# Other spellings of numbers, which may be text in a table of people's own (+81), but hardly among
# vectors. Not 007.
LOOSE_NUMBER = r"^\s*[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*$|" + _FLOAT


def read_table(
    path: str | Path, *, header: bool | None = None, loose: bool = False
) -> pl.DataFrame:
    """Read a table, row i of the file as row i of the frame.

    csv and tsv have a header, except a tsv of one column, which TensorBoard reads without one;
    txt is a line a row. Empty cells are empty text, or missing in a numeric column.

    Args:
        path: the file; its ending says the format.
        header: whether csv and tsv have a header line; default as above.
        loose: take `+5`, `.5` and ` 5 ` for numbers too.

    Raises:
        InputNotFoundError: no such file.
        DataError: another ending, not UTF-8, or not a table.
    """
    path = check_file(path)
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            return pl.read_parquet(path, glob=False)
        if suffix == ".jsonl":
            content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
            return pl.read_ndjson(content, infer_schema_length=None)
        if suffix in (".csv", ".tsv"):
            return _read_delimited(path, "\t" if suffix == ".tsv" else ",", header, loose)
        if suffix == ".txt":
            lines = path.read_text(encoding="utf-8-sig").split("\n")
            if lines and lines[-1] == "":
                lines.pop()
            return pl.DataFrame({"label": [line.rstrip("\r") for line in lines]})
    except (pl.exceptions.PolarsError, UnicodeDecodeError, OSError) as error:
        reason = str(error).split("\n")[0]
        hint = "; save it as UTF-8" if "utf" in reason.lower() else ""
        raise DataError(f"{path} cannot be read as {suffix[1:]} ({reason}){hint}") from error
    raise DataError(f"{path} ends in {suffix!r}; expected a table: {' '.join(TABLE_SUFFIXES)}")


def choose_label(columns: pl.DataFrame, label: str | None, *, where: str) -> pl.DataFrame:
    """Return the columns with `label` first, copied from the column chosen.

    Raises:
        DataError: no column of that name.
    """
    if label is None:
        texts = columns.select(cs.string() | cs.categorical() | cs.enum()).columns
        label = LABEL if LABEL in columns.columns else (texts[0] if texts else None)
    if label is None or (label == LABEL and LABEL in columns.columns):
        return columns
    if label not in columns.columns:
        raise DataError(
            f"{where} has no column {label!r} for the label; its columns are: "
            f"{', '.join(columns.columns) or '(none)'}"
        )
    if LABEL in columns.columns:
        spare = "label_original"
        while spare in columns.columns:
            spare += "_"
        columns = columns.rename({LABEL: spare})
    return columns.select(pl.col(label).alias(LABEL), pl.all())


def check_file(path: str | Path) -> Path:
    """Return the path of an existing file.

    Raises:
        InputNotFoundError: nothing there.
        DataError: a folder.
    """
    path = Path(path)
    if not path.exists():
        raise InputNotFoundError(f"{path} does not exist; check the path")
    if path.is_dir():
        raise DataError(f"{path} is a folder; expected a file")
    return path


def _read_delimited(path: Path, separator: str, header: bool | None, loose: bool) -> pl.DataFrame:
    if header is None:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            header = separator != "\t" or "\t" in stream.readline()
    table = pl.read_csv(
        path,
        separator=separator,
        has_header=header,
        infer_schema=False,
        quote_char=None if separator == "\t" else '"',
        glob=False,
    )
    table = table.fill_null("")
    if not header:
        if table.width == 1:
            table = table.rename({table.columns[0]: "label"})
        else:
            table.columns = [str(i) for i in range(table.width)]
    return table.select(_as_numbers(table[column], loose) for column in table.columns)


def _as_numbers(texts: pl.Series, loose: bool) -> pl.Series:
    filled = texts.filter(texts != "")
    if len(filled) == 0:
        return texts
    for pattern, dtype in ((_INTEGER, pl.Int64), (LOOSE_NUMBER if loose else _FLOAT, pl.Float64)):
        if filled.str.contains(pattern).all():
            return texts.set(texts == "", None).str.strip_chars().cast(dtype)
    return texts
