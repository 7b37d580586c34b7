"""projector_config.pbtxt: all embeddings of a run. Existing entries belong to the user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from projector_export.errors import DataError


@dataclass(frozen=True)
class Embedding:
    """One entry; paths are relative to the config's directory.

    Attributes:
        name: `tensor_name`, the key.
        shape: rows and columns of the tensor.
        folder: where the files lie.
        tensor: file name of the tensor in it.
        tile_px: side of a sprite tile, or None without a sprite.
    """

    name: str
    shape: tuple[int, int]
    folder: str
    tensor: str
    tile_px: int | None


def merge_config(existing: str, embedding: Embedding, *, where: str) -> str:
    """Return the config text with this entry put in, replacing one of the same name.

    Everything else is kept, in its order. `name` and `name:0` are the same tensor.

    Raises:
        DataError: the existing text is not a projector config.
    """
    from google.protobuf import text_format

    config = _parse(existing, where)
    same = [e for e in config.embeddings if _same_name(e.tensor_name, embedding.name)]
    entry = same[0] if same else config.embeddings.add()
    for extra in same[1:]:
        config.embeddings.remove(extra)
    entry.Clear()
    entry.tensor_name = embedding.name
    entry.tensor_shape.extend(embedding.shape)
    entry.tensor_path = f"{embedding.folder}/{embedding.tensor}"
    entry.metadata_path = f"{embedding.folder}/metadata.tsv"
    entry.bookmarks_path = f"{embedding.folder}/bookmarks.json"
    if embedding.tile_px is not None:
        entry.sprite.image_path = f"{embedding.folder}/sprite.png"
        entry.sprite.single_image_dim.extend([embedding.tile_px, embedding.tile_px])
    return str(text_format.MessageToString(config, as_utf8=True))


def tensor_paths(existing: str, *, where: str) -> dict[str, str]:
    """Return the tensor path of every entry, by name without `:0`."""
    config = _parse(existing, where)
    return {_plain(e.tensor_name): e.tensor_path for e in config.embeddings}


def read_embeddings(existing: str, *, where: str) -> list[Embedding]:
    """Return the entries whose files lie in one folder each, as those of exports do."""
    config = _parse(existing, where)
    found = []
    for entry in config.embeddings:
        folder, _, tensor = entry.tensor_path.rpartition("/")
        shape = tuple(entry.tensor_shape)
        if tensor and len(shape) == 2:
            dim = entry.sprite.single_image_dim
            tile_px = dim[0] if entry.sprite.image_path and dim else None
            name = _plain(entry.tensor_name)
            found.append(Embedding(name, (shape[0], shape[1]), folder, tensor, tile_px))
    return found


def _parse(text: str, where: str) -> Any:
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    try:
        return text_format.Parse(text, ProjectorConfig())
    except text_format.ParseError as error:
        raise DataError(
            f"{where} is not a projector config ({error}); repair or move it, then export again"
        ) from error


def _same_name(one: str, other: str) -> bool:
    return _plain(one) == _plain(other)


def _plain(name: str) -> str:
    return name.removesuffix(":0")
