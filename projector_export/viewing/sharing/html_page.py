"""One self-contained HTML file: the viewer and its data, opened from disk, without any network.

Whatever is large is compressed with zlib and written as base64 into script elements that a browser
does not run; the page's script inflates them (DecompressionStream) when the viewer asks.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from projector_export.progress import Progress, Step
from projector_export.viewing.sharing.bundle import SharedEmbedding
from projector_export.viewing.sharing.sprite import encode_sprite, image_type
from projector_export.viewing.sharing.viewer_page import (
    asset,
    csp_hash,
    page_facts,
    read_viewer,
    render_page,
)

LIMIT_BYTES = 60_000_000
"""Larger files take long to send and to open: a site is better then."""
_PIECE_BYTES = 6_000_000
"""Of base64 in one element; divisible by 4. Browsers refuse texts of 512 MB."""


def render_html(embeddings: Sequence[SharedEmbedding], *, progress: Progress) -> bytes:
    """Return the page; the same input gives the same bytes.

    Raises:
        DataError: the installed tensorboard is not as expected.
    """
    viewer = read_viewer()
    parts = {"viewer": _compress(viewer.script)}
    files = []
    for number, one in enumerate(embeddings):
        progress(Step(f"compressing {one.name}"))
        files.append(_add_parts(parts, number, one))
    for number, one in enumerate(embeddings):
        if one.sprite is not None:
            progress(Step(f"compressing the thumbnails of {one.name}"))
            n_sprites = sum(other.sprite is not None for other in embeddings)
            room = (LIMIT_BYTES - _base64_bytes(parts)) * 3 // 4 // n_sprites
            image = encode_sprite(one.sprite, one.shape[0], room_bytes=room)
            parts[f"{number}-sprite_image"] = zlib.compress(image, 0)
            files[number]["sprite_image"]["type"] = image_type(image)
    facts = page_facts(embeddings, files, viewer={"part": "viewer"})
    script = f"\n{asset('viewer_page.js')}"
    policy = (
        "default-src 'none'; "
        # numeric.js in the viewer makes functions from text.
        f"script-src 'unsafe-eval' {csp_hash(script.encode())} {csp_hash(viewer.script)}; "
        "style-src 'unsafe-inline'; img-src blob: data:; connect-src blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    page = render_page(
        viewer,
        facts,
        policy=policy,
        style=f"<style>\n{asset('viewer_page.css')}</style>",
        parts="\n".join(_render_parts(parts)),
        scripts=f"<script>{script}</script>",
    )
    return page.encode("utf-8")


def _add_parts(
    parts: dict[str, bytes], number: int, one: SharedEmbedding
) -> dict[str, dict[str, Any]]:
    """Compress what an embedding has, but for its sprite; return where the answers lie."""
    files: dict[str, dict[str, Any]] = {}
    contents = {
        "tensor": (_to_planes(one.read_tensor()), "application/octet-stream"),
        "metadata": (one.metadata, "text/tab-separated-values"),
        "bookmarks": (one.bookmarks, "application/json"),
    }
    for route, (content, kind) in contents.items():
        if content is not None:
            part = f"{number}-{route}"
            parts[part] = _compress(content)
            files[route] = {"part": part, "type": kind}
    files["tensor"]["planes"] = True
    if one.sprite is not None:
        files["sprite_image"] = {"part": f"{number}-sprite_image"}
    return files


def _compress(content: bytes) -> bytes:
    return zlib.compress(content, 6)


def _to_planes(values: bytes) -> bytes:
    """Return the first bytes of all float32, then all second ones, ...: these compress better."""
    return np.frombuffer(values, dtype=np.uint8).reshape(-1, 4).T.tobytes()


def _base64_bytes(parts: dict[str, bytes]) -> int:
    return sum(len(part) for part in parts.values()) * 4 // 3


def _render_parts(parts: dict[str, bytes]) -> Iterator[str]:
    for name, content in parts.items():
        text = base64.b64encode(content).decode("ascii")
        for start in range(0, len(text), _PIECE_BYTES):
            piece = text[start : start + _PIECE_BYTES]
            yield f'<script type="application/x-part" data-part="{name}">{piece}</script>'
