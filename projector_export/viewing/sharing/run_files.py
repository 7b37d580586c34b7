"""What is shared of a run, as a run again: the files by their paths below its directory.

The event file, which makes a directory a run, is a new one: that of a training run has all of its
summaries, and its name tells the machine's.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence

import numpy as np

from projector_export.limits import CONFIG_NAME
from projector_export.projector.log_dir import MANIFEST, safe_name
from projector_export.projector.tensor import render_tensor_bytes
from projector_export.viewing.sharing.bundle import SharedEmbedding
from projector_export.viewing.sharing.sprite import image_suffix
from projector_export.viewing.sharing.viewer_page import config_json

EVENT_FILE = "events.out.tfevents.0.projector_export"
CONFIG_JSON = "projector_config.json"


def render_run(embeddings: Sequence[SharedEmbedding], *, base_url: str = "") -> dict[str, bytes]:
    """Return every file's content by its path; the same input gives the same bytes.

    Args:
        embeddings: what is shared.
        base_url: put before the paths in projector_config.json.
    """
    files: dict[str, bytes] = {}
    paths = []
    for one, folder in zip(embeddings, _folders(embeddings), strict=True):
        contents = _contents(one)
        paths.append(_paths(contents, folder))
        files |= {f"{folder}/{name}": content for name, content in contents.items()}
    files[CONFIG_NAME] = _config(embeddings, paths).encode("utf-8")
    files[CONFIG_JSON] = render_config_json(embeddings, paths, base_url=base_url)
    files[EVENT_FILE] = _event_file()
    return dict(sorted(files.items()))


def render_config_json(
    embeddings: Sequence[SharedEmbedding], paths: Sequence[dict[str, str]], *, base_url: str
) -> bytes:
    """Return projector_config.json, for projector.tensorflow.org's `?config=`.

    That page takes a relative path as one of its own (data-provider-demo.ts), so only a config with
    whole addresses can be opened there.
    """
    prefix = f"{base_url.rstrip('/')}/" if base_url else ""
    whole = [{route: prefix + path for route, path in its_paths.items()} for its_paths in paths]
    text = json.dumps(config_json(embeddings, whole), ensure_ascii=False, indent=1)
    return f"{text}\n".encode()


def _folders(embeddings: Sequence[SharedEmbedding]) -> list[str]:
    """Return a folder's name for each; a config may call embeddings anything, `../x` too."""
    folders: dict[int, str] = {}
    # Those of exports first: they keep their folders' names.
    order = sorted(range(len(embeddings)), key=lambda i: embeddings[i].manifest is None)
    for i in order:
        folder = base = safe_name(embeddings[i].name)
        number = 2
        while folder in folders.values():
            folder, number = f"{base}_{number}", number + 1
        folders[i] = folder
    return [folders[i] for i in range(len(embeddings))]


def _contents(one: SharedEmbedding) -> dict[str, bytes]:
    vectors = np.frombuffer(one.read_tensor(), dtype="<f4").reshape(one.shape)
    contents = {"tensor.bytes": render_tensor_bytes(vectors).tobytes()}
    if one.metadata is not None:
        contents["metadata.tsv"] = one.metadata
    if one.bookmarks is not None:
        contents["bookmarks.json"] = one.bookmarks
    if one.sprite is not None:
        contents[f"sprite{image_suffix(one.sprite)}"] = one.sprite
    contents |= one.own_files
    if one.manifest is not None:
        hashes = {name: hashlib.sha256(contents[name]).hexdigest() for name in sorted(contents)}
        manifest = {**one.manifest, "views": list(one.titles), "files": hashes}
        text = json.dumps(manifest, ensure_ascii=False, indent=1)
        contents[MANIFEST] = f"{text}\n".encode()
    return contents


def _paths(contents: dict[str, bytes], folder: str) -> dict[str, str]:
    routes = {"tensor.": "tensor", "metadata.": "metadata", "bookmarks.": "bookmarks",
              "sprite.": "sprite_image"}  # fmt: skip
    return {
        route: f"{folder}/{name}"
        for name in contents
        for start, route in routes.items()
        if name.startswith(start)
    }


def _config(embeddings: Sequence[SharedEmbedding], paths: Sequence[dict[str, str]]) -> str:
    from google.protobuf import json_format, text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    config = json_format.ParseDict(config_json(embeddings, paths), ProjectorConfig())
    return str(text_format.MessageToString(config, as_utf8=True))


def _event_file() -> bytes:
    """Return an event file with its version only, as `EventFileWriter` begins one, at time 0."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    buffer = io.BytesIO()
    event = Event(wall_time=0, file_version="brain.Event:2")
    RecordWriter(buffer).write(event.SerializeToString())
    return buffer.getvalue()
