"""Measure shared pages: their sizes, and how long they take to open beside TensorBoard itself.

    scripts/bench share [--points 20000] [--dims 512] [--runs 1] [--work DIR]

Vectors of scripts/make_vectors.py and thumbnails of 32 px cut out of photographs (make_photos.py)
become an export; it is shared as html, site and zip. Printed is a line of JSON with

* `mb` of each, and `share_s`, the wall seconds of `projector-export share` (html: at most 60 MB);
* `tensorboard_s`, `html_s`: from the request until the same headless Chromium has the data and the
  viewer's PCA, from TensorBoard and from the page on disk (goal: at most 3 times as long);
* `view_s`: from the request until the page on disk shows the view that its address names.

The demo's page (at most 6 MB) comes first. Needs a Chromium and the extra `dev`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import polars as pl
from bench import run
from make_photos import photo
from PIL import Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

from viewer import CHROMIUM_FLAGS, DEEP, projector_url  # noqa: E402

COMMAND = str(Path(sys.executable).parent / "projector-export")
TILE_PX = 32
TILES_A_PHOTO = 100
READY = DEEP + "return !!(viewer && viewer.dataSet && viewer.projection);"
OPEN = DEEP + "return !!(bookmarks && bookmarks.savedStates.some(state => state.isSelected));"


def thumbnails(n: int) -> np.ndarray:
    """(n, 32, 32, 4) uint8: squares of many sizes out of photographs, made small."""
    rng = np.random.default_rng(0)
    tiles = np.empty((n, TILE_PX, TILE_PX, 4), dtype=np.uint8)
    for row in range(n):
        if row % TILES_A_PHOTO == 0:
            image = photo(row // TILES_A_PHOTO)
        side = int(rng.integers(3 * TILE_PX, min(image.size)))
        left, top = (int(rng.integers(length - side)) for length in image.size)
        crop = image.crop((left, top, left + side, top + side))
        tile = crop.resize((TILE_PX, TILE_PX), Image.Resampling.BICUBIC, reducing_gap=2.0)
        tiles[row] = np.asarray(tile.convert("RGBA"))
    return tiles


def make_run(out: Path, n: int, dims: int) -> None:
    """Export n points with such thumbnails."""
    from projector_export import Points, export_points

    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "vectors.npy"
        subprocess.run(
            [sys.executable, str(HERE / "make_vectors.py"), str(n), str(file)], check=True
        )
        vectors = np.load(file)[:, :dims]
    columns = pl.DataFrame(
        {"label": [f"item {i}" for i in range(n)], "group": [f"group {i % 37}" for i in range(n)]}
    )
    export_points(Points(vectors, columns, name="bench", thumbnails=thumbnails(n)), out)


def seconds_to_open(browser: Any, address: str, condition: str) -> float:
    """Return the seconds from the request until the page fulfils the condition."""
    page = browser.new_page(viewport={"width": 1500, "height": 900})
    start = time.perf_counter()
    page.goto(address)
    page.wait_for_function("() => {" + condition + "}", timeout=600_000)
    seconds = time.perf_counter() - start
    page.close()
    return seconds


def bench(work: Path, out: Path, runs: int) -> dict[str, Any]:
    """Share a run in all ways; open it from TensorBoard and from disk, in turn."""
    from playwright.sync_api import sync_playwright

    from projector_export.viewing.serve import start_tensorboard

    line: dict[str, Any] = {"mb": {}, "share_s": {}}
    for kind in ("html", "site", "zip"):
        target = work / f"{out.name}.{kind}"
        share = [COMMAND, "share", str(out), str(target), "--as", kind, "--force", "--quiet"]
        line["share_s"][kind] = round(run(share)[0], 1)
        files = [path for path in (target, *target.rglob("*")) if path.is_file()]
        line["mb"][kind] = round(sum(path.stat().st_size for path in files) / 1e6, 1)
    page = (work / f"{out.name}.html").as_uri()
    title = json.loads((next(out.glob("*/bookmarks.json"))).read_text("utf-8"))[0]["label"]
    times: dict[str, list[float]] = {"tensorboard_s": [], "html_s": [], "view_s": []}
    program = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
    server = start_tensorboard(out)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=CHROMIUM_FLAGS)
            for _ in range(runs):
                address = projector_url(server.port)
                times["tensorboard_s"].append(seconds_to_open(browser, address, READY))
                times["html_s"].append(seconds_to_open(browser, page, READY))
                view = f"{page}#view={quote(title, safe='')}"
                times["view_s"].append(seconds_to_open(browser, view, OPEN))
            browser.close()
    finally:
        server.stop()
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    line |= {name: [round(second, 1) for second in seconds] for name, seconds in times.items()}
    return {**line, "ratio": round(medians["html_s"] / medians["tensorboard_s"], 2)}


def main() -> None:
    """Measure the demo and the large run; print a line of JSON for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--points", type=int, default=20_000)
    parser.add_argument("--dims", type=int, default=512, help="at most 512")
    parser.add_argument("--runs", type=int, default=1, help="of each opening")
    parser.add_argument("--work", help="where files go; default a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(options.work or temporary)
        work.mkdir(parents=True, exist_ok=True)
        demo, large = work / "demo", work / f"bench_{options.points}x{options.dims}"
        subprocess.run([COMMAND, "demo", str(demo), "--no-serve", "--quiet"], check=True)
        print(json.dumps({"demo": bench(work, demo, options.runs)}), flush=True)
        if not large.exists():
            make_run(large, options.points, options.dims)
        print(json.dumps({large.name: bench(work, large, options.runs)}), flush=True)


if __name__ == "__main__":
    main()
