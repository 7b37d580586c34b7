"""Captions beside the images that they describe, in one embedding."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

import polars as pl

from projector_export.errors import DataError
from projector_export.points import LABEL, Items, as_text
from projector_export.sources.images import path_column
from projector_export.sources.tables import TABLE_SUFFIXES, read_table
from projector_export.sources.texts import shorten

CAPTION_COLUMNS = ("caption", "text", "description", "title")


def add_captions(images: Items, captions: str) -> Items:
    """Add an item for each caption, after all images.

    Args:
        images: N image files with the column `path`.
        captions: a column of the images' table, or a file: a table with a column of image paths
            and one of captions (`caption`, `text`, ...). An image may have several there.

    Returns:
        Items with the column `kind` (`image`, `text`) after the label; a caption's `path` is its
        image's, its label the shortened caption, its `text` the whole one.

    Raises:
        DataError: no such column or file, or no caption of any of the images. A caption of an
            image that is not there is left out, and listed in `skipped`.
    """
    skipped = list(images.skipped)
    if captions in (LABEL, "path"):
        raise DataError(f"captions is {captions!r}, which the images need; name another column")
    if captions in images.columns.columns:
        column = as_text(images.columns[captions])
        links = [(row, text) for row, text in enumerate(column.to_list()) if text.strip()]
        columns = images.columns.drop(captions)
    elif os.path.isfile(captions) or Path(captions).suffix.lower() in TABLE_SUFFIXES:
        links, columns = _read(Path(captions), images, skipped), images.columns
    else:
        raise DataError(
            f"captions is {captions!r}, which is neither a column "
            f"({', '.join(images.columns.columns)}) nor a file"
        )
    if not links:
        raise DataError(
            f"{captions} holds no caption of an image in {images.name}; expected paths such as "
            f"{images.columns['path'][0]}"
        )
    texts = [text for _, text in links]
    # The user's own columns of these names stay, under another.
    own = {name: f"user_{name}" for name in ("kind", "text")}
    columns = columns.rename(own, strict=False).with_columns(as_text(columns[LABEL]))
    beside = columns[[row for row, _ in links]].with_columns(
        pl.Series(LABEL, [shorten(text) for text in texts]),
        pl.lit("text").alias("kind"),
        pl.Series("text", texts),
    )
    columns = columns.with_columns(pl.lit("image").alias("kind"), pl.lit("").alias("text"))
    both = pl.concat([columns, beside.select(columns.columns)])
    both = both.select(LABEL, "kind", pl.exclude(LABEL, "kind"))
    return replace(
        images,
        contents=(*images.contents, *texts),
        columns=both,
        skipped=tuple(skipped),
        made=(*images.made, "kind"),
    )


def _read(file: Path, images: Items, skipped: list[Mapping[str, str]]) -> list[tuple[int, str]]:
    """Return the image's row and the text of each caption, in the images' order."""
    table = read_table(file)
    column = next((name for name in CAPTION_COLUMNS if name in table.columns), None)
    if column is None:
        raise DataError(
            f"{file} has no column {', '.join(CAPTION_COLUMNS[:-1])} or {CAPTION_COLUMNS[-1]}; "
            f"its columns are: {', '.join(table.columns)}"
        )
    rows = {path: row for row, path in enumerate(images.columns["path"].to_list())}
    paths = as_text(table[path_column(file, table)]).to_list()
    links = []
    for line, (path, text) in enumerate(zip(paths, as_text(table[column]).to_list(), strict=True)):
        row = rows.get(PurePosixPath(path).as_posix())
        if row is None:
            where = f"{file.name} row {line + 1}"
            skipped.append({"path": where, "why": f"a caption of {path}, which is not there"})
        elif text.strip():
            links.append((row, text))
    return sorted(links, key=lambda link: link[0])
