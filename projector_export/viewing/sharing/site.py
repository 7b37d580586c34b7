"""A folder for any static web server: the viewer, its data as plain files, and an index of views.

The page's script turns the viewer's requests into the files' own addresses, so that a server need
not know queries, and several embeddings work. All of it is static; nothing needs to be configured.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

from projector_export.progress import Progress, Step
from projector_export.viewing.sharing.bundle import SharedEmbedding
from projector_export.viewing.sharing.run_files import CONFIG_JSON, render_config_json
from projector_export.viewing.sharing.sprite import encode_sprite, image_suffix
from projector_export.viewing.sharing.viewer_page import (
    GENERATOR,
    VIEWER_SCRIPT,
    Viewer,
    asset,
    page_facts,
    read_viewer,
    render_page,
)

PAGE = "projector.html"
MARKER = "projector_export_share.json"
"""Says that the folder is a site of ours, and which files are."""

Picture = Callable[[str, int], bytes | None]
"""From an embedding's name and a bookmark's number to a PNG, if there is one."""


def render_site(
    embeddings: Sequence[SharedEmbedding],
    *,
    base_url: str = "",
    draw: Picture,
    progress: Progress,
) -> dict[str, bytes]:
    """Return every file's content by its path; the same input gives the same bytes.

    Args:
        embeddings: what is shared.
        base_url: put before the paths in projector_config.json.
        draw: gives the pictures of the index.
        progress: called when a step begins.

    Raises:
        DataError: the installed tensorboard is not as expected.
    """
    viewer = read_viewer()
    files: dict[str, bytes] = {}
    paths: list[dict[str, str]] = []
    for number, one in enumerate(embeddings):
        progress(Step(f"writing {one.name}"))
        paths.append(_add_data(files, f"data/{number}", one))
    files[PAGE] = _render_projector(viewer, embeddings, paths)
    files |= {"page.js": asset("viewer_page.js").encode(), VIEWER_SCRIPT: viewer.script}
    files |= {
        "page.css": asset("viewer_page.css").encode(),
        "index.css": asset("index.css").encode(),
    }
    files["LICENSE.tensorboard"] = viewer.licence.encode()
    files[CONFIG_JSON] = render_config_json(embeddings, paths, base_url=base_url)
    files["index.html"] = _render_index(viewer, embeddings, files, draw, progress)
    marker = {"made_by": GENERATOR, "files": sorted([*files, MARKER])}
    files[MARKER] = f"{json.dumps(marker, ensure_ascii=False, indent=1)}\n".encode()
    return dict(sorted(files.items()))


def _add_data(files: dict[str, bytes], folder: str, one: SharedEmbedding) -> dict[str, str]:
    """Add an embedding's files; return the path that answers each of the viewer's routes."""
    contents = {"tensor": (f"{folder}/tensor.bytes", one.read_tensor())}
    if one.metadata is not None:
        contents["metadata"] = (f"{folder}/metadata.tsv", one.metadata)
    if one.bookmarks is not None:
        contents["bookmarks"] = (f"{folder}/bookmarks.json", one.bookmarks)
    if one.sprite is not None:
        sprite = encode_sprite(one.sprite, one.shape[0])
        contents["sprite_image"] = (f"{folder}/sprite{image_suffix(sprite)}", sprite)
    files |= dict(contents.values())
    return {route: path for route, (path, _) in contents.items()}


def _render_projector(
    viewer: Viewer, embeddings: Sequence[SharedEmbedding], paths: Sequence[Mapping[str, str]]
) -> bytes:
    routes = [{route: {"url": path} for route, path in one.items()} for one in paths]
    page = render_page(
        viewer,
        page_facts(embeddings, routes),
        policy=(
            "default-src 'none'; script-src 'self' 'unsafe-eval'; "
            "style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; "
            "connect-src 'self' blob:; base-uri 'none'; form-action 'none'"
        ),
        style='<link rel="stylesheet" href="page.css">',
        parts="",
        scripts=f'<script src="page.js"></script><script src="{VIEWER_SCRIPT}"></script>',
    )
    return page.encode("utf-8")


def _render_index(
    viewer: Viewer,
    embeddings: Sequence[SharedEmbedding],
    files: dict[str, bytes],
    draw: Picture,
    progress: Progress,
) -> bytes:
    """Return index.html, and add its pictures to the files."""
    sections = []
    for number, one in enumerate(embeddings):
        cards = []
        for view, title in enumerate(one.titles):
            progress(Step(f"drawing views of {one.name}", view, len(one.titles)))
            picture = draw(one.name, view)
            image = ""
            if picture is not None:
                path = f"views/{number}-{view}.png"
                files[path] = picture
                image = f'<img src="{path}" alt="" loading="lazy">'
            link = _link(one.name, title)
            cards.append(f'<li><a href="{link}">{image}<span>{html.escape(title)}</span></a></li>')
        sections.append(_head(one, "h2") if len(embeddings) > 1 else "")
        sections.append('<ul class="views">\n' + "\n".join(cards) + "\n</ul>")
    names = html.escape(", ".join(one.name for one in embeddings))
    head = f"<h1>{names}</h1>" if len(embeddings) > 1 else _head(embeddings[0], "h1")
    policy = "default-src 'none'; img-src 'self' data:; style-src 'self'; base-uri 'none'"
    lines = (
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        f'<meta name="generator" content="{GENERATOR}">',
        '<meta name="viewport" content="width=device-width">',
        '<link rel="icon" href="data:,">',
        '<link rel="stylesheet" href="index.css">',
        f"<title>{names} – views</title></head><body>",
        head,
        f'<p class="about">Choose a view, or open the <a href="{PAGE}">projector</a>.</p>',
        *sections,
        "<footer>Made with projector-export. What shows the points is the Embedding Projector of "
        f"TensorBoard {html.escape(viewer.version)}, © The TensorFlow Authors, under the "
        '<a href="LICENSE.tensorboard">Apache License 2.0</a>.</footer>',
        "</body></html>\n",
    )
    return "\n".join(lines).encode("utf-8")


def _head(one: SharedEmbedding, tag: str) -> str:
    rows, columns = one.shape
    name = f'<a href="{_link(one.name)}">{html.escape(one.name)}</a>'
    about = f"{rows:,} points, {columns:,} dimensions"
    return f'<{tag}>{name}</{tag}>\n<p class="about">{about}</p>'


def _link(name: str, title: str | None = None) -> str:
    view = "" if title is None else f"view={quote(title, safe='')}&amp;"
    return f"{PAGE}#{view}embedding={quote(name, safe='')}"
