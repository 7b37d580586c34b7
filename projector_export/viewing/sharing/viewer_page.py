"""TensorBoard's projector as a page of its own: what a shared file and a shared folder have alike.

The viewer is taken from the installed tensorboard package, unchanged but for its web fonts, which
are not fetched from anywhere; its licence and notices come along.
"""

from __future__ import annotations

import base64
import hashlib
import html
import importlib.metadata
import importlib.resources
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from projector_export.errors import DataError
from projector_export.viewing.sharing.bundle import SharedEmbedding

GENERATOR = "projector-export share"
"""Content of the meta element `generator`, which tells our pages from others."""

VIEWER_SCRIPT = "projector_binary.js"
_PAGE = "projector_binary.html"
_SHOWN_NAMES = {
    "tensor": "tensor.bytes",
    "metadata": "metadata.tsv",
    "bookmarks": "bookmarks.json",
    "sprite_image": "sprite",
}
_FONT = re.compile(r"@font-face\s*\{[^}]*\}\s*")
_COMMENT = re.compile(r"<!--(.*?)-->", re.DOTALL)
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)


@dataclass(frozen=True)
class Viewer:
    """The front end of the installed tensorboard.

    Attributes:
        version: of tensorboard.
        notice: the licence notice at the top of its page.
        style: its page's own style.
        script: JavaScript.
        licence: all of tensorboard's licence file.
    """

    version: str
    notice: str
    style: str
    script: bytes
    licence: str


def read_viewer() -> Viewer:
    """Read the front end of the installed tensorboard.

    Raises:
        DataError: it is not as expected.
    """
    import tensorboard.plugins.projector as plugin

    version = importlib.metadata.version("tensorboard")
    folder = importlib.resources.files(plugin) / "tf_projector_plugin"
    try:
        page = (folder / _PAGE).read_text(encoding="utf-8")
        script = (folder / VIEWER_SCRIPT).read_bytes()
    except OSError as error:
        raise DataError(
            f"tensorboard {version} has no {error.filename}; install tensorboard 2.18 or newer"
        ) from error
    style = "\n".join(_FONT.sub("", text).strip() for text in _STYLE.findall(page)).strip()
    notice = _COMMENT.search(page)
    if "<vz-projector-dashboard>" not in page or notice is None or "url(" in style:
        raise DataError(
            f"the projector's page of tensorboard {version} is not as expected; "
            "install a release that this program knows, such as 2.21"
        )
    return Viewer(version, notice.group(1).strip(), style, script, _read_licence())


def asset(name: str) -> str:
    """Return one of our own scripts and styles."""
    folder = importlib.resources.files("projector_export.viewing.sharing") / "assets"
    return (folder / name).read_text(encoding="utf-8")


def page_facts(
    embeddings: Sequence[SharedEmbedding],
    files: Sequence[Mapping[str, Any]],
    viewer: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what the page's script reads.

    Args:
        embeddings: N of them.
        files: N mappings from the viewer's routes (`tensor`, `metadata`, `bookmarks`,
            `sprite_image`) to where the answers lie.
        viewer: where the viewer's script lies, when the page's own starts it.
    """
    listed = [
        {"name": one.name, "shape": one.shape, "views": one.titles, "files": its_files}
        for one, its_files in zip(embeddings, files, strict=True)
    ]
    # The viewer shows these names, and asks for routes.
    paths = [{route: f"{one.name}/{_SHOWN_NAMES[route]}" for route in its_files}
             for one, its_files in zip(embeddings, files, strict=True)]  # fmt: skip
    info = config_json(embeddings, paths)
    return {"embeddings": listed, "info": info} | ({"viewer": viewer} if viewer else {})


def config_json(
    embeddings: Sequence[SharedEmbedding], paths: Sequence[Mapping[str, str]]
) -> dict[str, Any]:
    """Return projector_config.json: the config as the viewer reads it."""
    entries = []
    for one, its_paths in zip(embeddings, paths, strict=True):
        entry: dict[str, Any] = {
            "tensorName": one.name,
            "tensorShape": list(one.shape),
            "tensorPath": its_paths["tensor"],
        }
        if "metadata" in its_paths:
            entry["metadataPath"] = its_paths["metadata"]
        if "bookmarks" in its_paths:
            entry["bookmarksPath"] = its_paths["bookmarks"]
        if "sprite_image" in its_paths and one.tile_px is not None:
            path = its_paths["sprite_image"]
            entry["sprite"] = {"imagePath": path, "singleImageDim": list(one.tile_px)}
        entries.append(entry)
    return {"embeddings": entries}


def render_page(
    viewer: Viewer, facts: Mapping[str, Any], *, policy: str, style: str, parts: str, scripts: str
) -> str:
    """Return the page's HTML.

    Args:
        viewer: the front end.
        facts: see `page_facts`.
        policy: Content-Security-Policy.
        style: element with our style.
        parts: elements that hold data.
        scripts: elements that start our script and the viewer.
    """
    names = ", ".join(one["name"] for one in facts["embeddings"])
    made_from = (
        f"The projector below is {_PAGE} of TensorBoard {viewer.version}, changed by "
        "projector-export: web fonts left out; a bar, data and a script that answers from them "
        "added."
    )
    return "\n".join(
        (
            "<!doctype html>",
            f"<!--\n{_in_comment(viewer.notice)}\n\n{made_from}\n-->",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{html.escape(policy)}">',
            f'<meta name="generator" content="{GENERATOR}">',
            '<meta name="viewport" content="width=device-width">',
            '<link rel="icon" href="data:,">',
            f"<title>{html.escape(names)} – Embedding Projector</title>",
            f"<style>\n{viewer.style}\n</style>",
            style,
            "</head><body>",
            '<header id="shared-bar" hidden></header>',
            '<div id="shared-stage"><vz-projector-dashboard></vz-projector-dashboard></div>',
            _about(viewer),
            f'<script type="application/json" id="shared-page">{json_in_html(facts)}</script>',
            parts,
            scripts,
            "</body></html>\n",
        )
    )


def json_in_html(value: object) -> str:
    """Return JSON that can stand in a script element, whatever texts are in it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def csp_hash(script: bytes) -> str:
    """Return a script's hash as Content-Security-Policy wants it."""
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode("ascii")
    return f"'sha256-{digest}'"


def _about(viewer: Viewer) -> str:
    return (
        '<dialog id="shared-about"><form method="dialog">'
        '<button class="shared-button">Close</button></form>'
        "<p>Made with projector-export. What shows the points is the Embedding Projector of "
        f"TensorBoard {viewer.version}, © The TensorFlow Authors, under the Apache License 2.0. "
        f"Nothing is sent anywhere.</p><pre>{html.escape(viewer.licence)}</pre></dialog>"
    )


def _read_licence() -> str:
    files = importlib.metadata.files("tensorboard") or []
    for path in files:
        if path.name.startswith("LICENSE") and ".dist-info" in path.parts[0]:
            return path.read_text(encoding="utf-8")
    raise DataError("the installed tensorboard comes without its licence; install it with pip")


def _in_comment(text: str) -> str:
    return text.replace("--", "- -")
