"""Runs to share, and what is in the bundles made of them."""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from projector_export import Points, Settings, export_points
from projector_export.editing import rewrite_export
from projector_export.projector.exports import open_export
from projector_export.viewing.sharing.targets import GENERATOR

SETTINGS = Settings(clusters=3, umap_dims=(2,), umap_neighbors=5)
ATTACK = "</script><img src=x onerror=alert(1)>"
QUOTES = "A \"quoted\" & 'single' #1 <b>100%</b>"
JAPANESE = "デモ の 眺め"
PART = re.compile(r'<script type="application/x-part" data-part="([^"]+)">([^<]*)</script>')


def export_small(
    out: Path,
    name: str = "small",
    *,
    n: int = 40,
    columns: dict[str, list[Any]] | None = None,
    tile_px: int | None = None,
    seed: int = 0,
    origin: dict[str, Any] | None = None,
) -> Path:
    """Export n random points of 6 dimensions; return the run directory."""
    rng = np.random.default_rng(seed)
    labels = {"label": [f"item {i}" for i in range(n)]}
    tiles = None
    if tile_px is not None:
        tiles = rng.integers(0, 256, (n, tile_px, tile_px, 4)).astype(np.uint8)
        tiles[:, :, : tile_px // 2, 3] = 255
    points = Points(
        rng.standard_normal((n, 6)).astype(np.float32),
        pl.DataFrame(columns or labels),
        name=name,
        thumbnails=tiles,
        origin=origin or {},
    )
    export_points(points, out, settings=SETTINGS)
    return out


def add_bookmarks(out: Path, name: str, bookmarks: dict[str, dict[str, Any]]) -> None:
    """Add copies of an export's first bookmark, with these titles and changes."""
    export = open_export(out, name)
    states = [dict(state) for state in export.states]
    for title, changes in bookmarks.items():
        state = {**states[0], "label": title, **changes}
        if shown := state["filteredPoints"]:
            state["projections"] = [states[0]["projections"][row] for row in shown]
        states.append(state)
    rewrite_export(export, {"bookmarks.json": json.dumps(states, ensure_ascii=False).encode()})


def parts_of(page: bytes) -> dict[str, bytes]:
    """Inflate what is packed in a shared page."""
    pieces: dict[str, str] = {}
    for name, text in PART.findall(page.decode("utf-8")):
        pieces[name] = pieces.get(name, "") + text
    return {name: zlib.decompress(base64.b64decode(text)) for name, text in pieces.items()}


def facts_of(page: bytes) -> dict[str, Any]:
    """Return what a shared page's script reads."""
    found = re.search(rb'<script type="application/json" id="shared-page">(.*?)</script>', page)
    assert found is not None
    facts: dict[str, Any] = json.loads(found.group(1))
    return facts


def everything_in(target: Path) -> dict[str, bytes]:
    """Return all contents of a bundle, inflated; a table also as text."""
    contents: dict[str, bytes] = {}
    if target.is_dir():
        files = [path for path in target.rglob("*") if path.is_file()]
        contents = {path.relative_to(target).as_posix(): path.read_bytes() for path in files}
    elif target.suffix == ".zip":
        with zipfile.ZipFile(target) as archive:
            contents = {name: archive.read(name) for name in archive.namelist()}
    else:
        contents = {"page": target.read_bytes(), **parts_of(target.read_bytes())}
    for name in list(contents):
        if name.endswith(".parquet"):
            table = pl.read_parquet(io.BytesIO(contents[name]))
            contents[f"{name} as text"] = table.write_csv().encode()
    assert any(GENERATOR.encode() in content for content in contents.values()) or (
        target.suffix == ".zip"
    )
    return contents
