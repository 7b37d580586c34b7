"""Read back an export that `log_dir` has written: columns, vectors, thumbnails, bookmarks."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from projector_export.errors import DataError, InputNotFoundError
from projector_export.limits import CONFIG_NAME
from projector_export.projector.config import Embedding, read_embeddings
from projector_export.projector.log_dir import MANIFEST, is_ours, read_manifest

_SHOWN = "shown"


@dataclass(frozen=True, eq=False)
class Export:
    """One embedding of a run that this program has made.

    Attributes:
        out: the run directory.
        embedding: its entry in the run's config.
        manifest: what manifest.json says.
    """

    out: Path
    embedding: Embedding
    manifest: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the embedding."""
        return self.embedding.name

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return self.out / self.embedding.folder

    def read(self, file: str) -> bytes:
        """Return the content of one of its files.

        Raises:
            DataError: the file is missing or cannot be read.
        """
        try:
            return (self.folder / file).read_bytes()
        except OSError as error:
            raise DataError(
                f"{self.folder / file} cannot be read ({error.strerror}); export again with --force"
            ) from error

    def _damaged(self, file: str, error: Exception) -> DataError:
        reason = str(error).split("\n")[0]
        return DataError(f"{self.folder / file} is damaged ({reason}); export again with --force")

    @cached_property
    def table(self) -> pl.DataFrame:
        """points.parquet as it is: the shown points first, in the viewer's order."""
        content = self.read("points.parquet")
        try:
            return pl.read_parquet(io.BytesIO(content))
        except pl.exceptions.PolarsError as error:
            raise self._damaged("points.parquet", error) from error

    @cached_property
    def columns(self) -> pl.DataFrame:
        """One row a point that the viewer has, in its order; all columns but `shown`."""
        table = self.table
        if _SHOWN in table.columns:
            table = table.filter(_SHOWN).drop(_SHOWN)
        rows = self.embedding.shape[0]
        if table.height != rows:
            raise DataError(
                f"{self.folder / 'points.parquet'} has {table.height} points but the run's config "
                f"says {rows}; export again with --force"
            )
        return table

    @cached_property
    def vectors(self) -> np.ndarray:
        """(N, D) float32 as the viewer has them."""
        shape = self.embedding.shape
        content = self.read(self.embedding.tensor)
        if self.embedding.tensor.endswith(".tsv"):
            frame = pl.read_csv(io.BytesIO(content), separator="\t", has_header=False)
            values = frame.to_numpy().astype(np.float32)
        else:
            values = np.frombuffer(content, dtype="<f4")
        if values.size != shape[0] * shape[1]:
            raise DataError(
                f"{self.folder / self.embedding.tensor} has {values.size} values; expected "
                f"{shape[0]} x {shape[1]}: export again with --force"
            )
        return values.reshape(shape)

    @cached_property
    def states(self) -> list[dict[str, Any]]:
        """The viewer's bookmarks, in its order; see `bookmarks` for what a state holds."""
        where = self.folder / "bookmarks.json"
        content = self.read("bookmarks.json")
        try:
            states = json.loads(content)
        except ValueError as error:
            raise self._damaged("bookmarks.json", error) from error
        if not isinstance(states, list) or not all(isinstance(s, dict) for s in states):
            raise DataError(f"{where} is no list of bookmarks; export again with --force")
        return states

    @cached_property
    def thumbnails(self) -> np.ndarray | None:
        """(N, T, T, 4) uint8 RGBA, cut out of the sprite; None without one."""
        from PIL import Image

        tile_px = self.embedding.tile_px
        if tile_px is None:
            return None
        content = self.read("sprite.png")
        try:
            with Image.open(io.BytesIO(content)) as image:
                sheet = np.asarray(image.convert("RGBA"))
        except OSError as error:
            raise self._damaged("sprite.png", error) from error
        columns = sheet.shape[1] // tile_px
        tiles = sheet.reshape(columns, tile_px, columns, tile_px, 4).swapaxes(1, 2)
        return tiles.reshape(-1, tile_px, tile_px, 4)[: self.embedding.shape[0]]


def open_export(out: str | Path, name: str | None = None) -> Export:
    """Open one embedding of a run.

    Args:
        out: the run directory.
        name: of the embedding; may be left out where the run has only one export.

    Raises:
        InputNotFoundError: no run there, or no such embedding in it.
        DataError: the embedding is not an export of this program, or several are and no name is
            given.
    """
    out = Path(out)
    config = out / CONFIG_NAME
    if not config.is_file():
        hint = ""
        if (out / MANIFEST).is_file():
            hint = f": {out} is an export's own folder, name the run above it ({out.parent})"
        elif steps := sorted(out.glob(f"*/step_*/{CONFIG_NAME}")):
            hint = f": it is a training's, name one of its steps, such as {steps[-1].parent}"
        elif inside := sorted(path.parent.name for path in out.glob(f"*/{CONFIG_NAME}")):
            hint = f": name one of the runs in it ({', '.join(inside)})"
        raise InputNotFoundError(f"{config} does not exist; expected a run directory{hint}")
    embeddings = read_embeddings(config.read_text(encoding="utf-8"), where=str(config))
    ours = {e.name: e for e in embeddings if e.folder and is_ours(out / e.folder)}
    if name is None:
        if len(ours) != 1:
            listed = ", ".join(ours) or "none"
            raise DataError(
                f"{out} holds {len(ours)} exports ({listed}); "
                + ("say which with --name" if ours else "make one with projector-export")
            )
        (name,) = ours
    if name not in ours:
        if any(e.name == name for e in embeddings):
            raise DataError(f"{name!r} in {out} was not made by this program; export it with it")
        raise InputNotFoundError(
            f"{out} has no embedding {name!r}; its exports are: {', '.join(ours) or '(none)'}"
        )
    embedding = ours[name]
    return Export(out, embedding, read_manifest(out / embedding.folder))
