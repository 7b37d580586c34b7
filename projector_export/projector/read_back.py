"""Ask TensorBoard's own plugin, in this process, for what was written, and compare."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import numpy as np

from projector_export.errors import ReadBackError
from projector_export.limits import MAX_POINTS, MAX_SPRITE_PX
from projector_export.projector.config import Embedding
from projector_export.projector.tensor import render_tensor_bytes


class PluginReader:
    """TensorBoard's ProjectorPlugin over one run directory, without a server."""

    def __init__(self, run: Path) -> None:
        from tensorboard.plugins.base_plugin import TBContext
        from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin

        no_runs = SimpleNamespace(list_runs=lambda *_, **__: [])  # leaves the root, "."
        plugin = ProjectorPlugin(TBContext(logdir=str(run), data_provider=no_runs))
        self._apps = plugin.get_plugin_apps()

    def get(self, route: str, name: str | None = None) -> bytes:
        """Return the plugin's answer to GET `route` for one embedding of the run.

        Raises:
            ReadBackError: the plugin refuses or breaks.
        """
        from werkzeug.test import Client

        query = "run=." if name is None else f"run=.&name={quote(name)}&num_rows={MAX_POINTS}"
        try:
            response = Client(self._apps[route]).get(f"{route}?{query}")
        except (ValueError, OSError) as error:
            raise ReadBackError(f"TensorBoard's plugin broke on {route}: {error}") from error
        if response.status_code != 200:
            answer = response.get_data(as_text=True)[:200]
            raise ReadBackError(
                f"TensorBoard's plugin answers {response.status_code} to {route}: {answer}"
            )
        return bytes(response.get_data())


def read_back(
    run: Path, embedding: Embedding, vectors: np.ndarray, n_placed: int | None = None
) -> None:
    """Compare what the plugin serves with what was meant.

    Args:
        run: directory with the config; files lie below it.
        embedding: the entry to ask for.
        vectors: (N, D) float32, N rows as the browser gets them.
        n_placed: points with coordinates, over all bookmarks; None to leave them uncounted.

    Raises:
        ReadBackError: any difference, named.
    """
    reader = PluginReader(run)
    n, name = len(vectors), embedding.name
    _expect(json.loads(reader.get("/runs")), ["."], "runs")
    info: dict[str, Any] = json.loads(reader.get("/info"))
    _expect(
        [(e["tensorName"], e["tensorShape"]) for e in info["embeddings"]],
        [(name, list(vectors.shape))],
        "embeddings",
    )
    served = np.frombuffer(reader.get("/tensor", name), dtype=np.uint8)
    as_text = embedding.tensor.endswith(".tsv")
    meant = vectors.reshape(-1).view(np.uint8) if as_text else render_tensor_bytes(vectors)
    if not np.array_equal(served, meant):
        raise ReadBackError(f"the tensor that TensorBoard reads for {name!r} is not the one meant")
    folder = run / embedding.folder
    metadata = reader.get("/metadata", name)
    _expect(metadata == (folder / "metadata.tsv").read_bytes(), True, "metadata unchanged")
    lines = metadata.decode("utf-8").split("\n")[:-1]
    header = 1 if b"\t" in metadata.split(b"\n", 1)[0] else 0
    _expect(sum(1 for line in lines if line.strip()) - header, n, "rows of metadata")
    if embedding.tile_px is not None:
        _check_sprite(reader.get("/sprite_image", name), n, embedding.tile_px)
    bookmarks = reader.get("/bookmarks", name)
    _expect(bookmarks == (folder / "bookmarks.json").read_bytes(), True, "bookmarks unchanged")
    if n_placed is not None:
        # Counted, not parsed: 100,000 points in six views make 600,000 dictionaries.
        placed = bookmarks.count(b'"umap-0":') + bookmarks.count(b'"pca-0":')
        _expect(placed, n_placed, "coordinates in the bookmarks")


def _check_sprite(png: bytes, n: int, tile_px: int) -> None:
    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        width, height = image.size
    columns = width // tile_px
    _expect((width, height), (columns * tile_px, columns * tile_px), "size of the sprite")
    _expect(columns**2 >= n and width <= MAX_SPRITE_PX, True, f"sprite of {width} px holds {n}")


def _expect(got: object, expected: object, what: str) -> None:
    if got != expected:
        raise ReadBackError(
            f"TensorBoard's plugin gives {what}: {got}; expected {expected}. "
            "The export was not put into place"
        )
