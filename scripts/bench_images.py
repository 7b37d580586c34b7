"""Time encoding images against the least that it could take, as whole processes, in turn.

    scripts/bench images [--images 2000] [--runs 1] [--work DIR] [--memory]

Photographs of about one megapixel and a ViT-B-32 of random weights are made in DIR. Printed are

* `clip`: the whole command's wall seconds, those of the bare forward pass over as many random
  images at the same batch size and threads, their ratio (goal: at most 1.15), and a second run of
  the command on the same folder with the cache of the first (goal: 10 times faster);
* `pixels`: images a second of `--encoder pixels`, over the encoding and over the whole command, and
  of a plain loop that only decodes the same files with as many threads (goal: 90 % of it);
* `memory` (with --memory): peak GB of `--encoder pixels` with so many images and with ten times as
  many, and both without the vectors and what the sprite takes (goal: 10 % more at most).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import run

HERE = Path(__file__).parent
COMMAND = str(Path(sys.executable).parent / "projector-export")
BATCH_SIZE = 64
THREADS = os.cpu_count() or 1

MAKE_WEIGHTS = """
import sys, torch, open_clip
torch.manual_seed(0)
torch.save(open_clip.create_model("ViT-B-32", pretrained=None).state_dict(), sys.argv[1])
"""
BARE_FORWARD = """
import sys, time, torch, open_clip
n, batch_size, weights = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
model = open_clip.create_model("ViT-B-32", pretrained=weights).eval()
batch = torch.randn(batch_size, 3, 224, 224)
with torch.inference_mode():
    model.encode_image(batch)
    start = time.perf_counter()
    for first in range(0, n, batch_size):
        model.encode_image(batch[: min(batch_size, n - first)])
    print(time.perf_counter() - start)
"""
PLAIN_LOOP = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from PIL import Image

def decode(path):
    with Image.open(path) as image:
        image.load()

files = sorted(Path(sys.argv[1]).iterdir())
start = time.perf_counter()
with ThreadPoolExecutor(int(sys.argv[2])) as pool:
    list(pool.map(decode, files))
print(time.perf_counter() - start)
"""


def printed(code: str, *arguments: object) -> float:
    """Run Python code in a process of its own; return the number that it prints."""
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def export(work: Path, photos: Path, *options: str) -> dict[str, Any]:
    """Run the command; return wall seconds, peak GB and the manifest's facts."""
    out = work / "run"
    command = [COMMAND, "images", str(photos), str(out), "--name", "bench", "--force", "--quiet"]
    wall, peak = run([*command, "--threads", str(THREADS), *options])
    manifest = json.loads((out / "bench/manifest.json").read_text(encoding="utf-8"))
    return {"wall": wall, "peak_gb": peak, "manifest": manifest}


def bench_clip(work: Path, photos: Path, n: int, runs: int) -> dict[str, Any]:
    """Whole command against the bare forward pass, and a second run against the first."""
    weights = work / "vit_b_32.pt"
    if not weights.exists():
        subprocess.run([sys.executable, "-c", MAKE_WEIGHTS, str(weights)], check=True)
    model = ["--model", "ViT-B-32", "--weights", str(weights), "--batch-size", str(BATCH_SIZE)]
    bare: list[float] = []
    ours: list[float] = []
    again: list[float] = []
    counts: list[int] = []
    for number in range(runs):
        folder = work / f"cache_{number}"
        shutil.rmtree(folder, ignore_errors=True)
        cache = ["--cache", str(folder)]
        # Half before and half after: the machine may be busier at one time than at another.
        half = n // 2
        before = printed(BARE_FORWARD, half, BATCH_SIZE, weights)
        ours.append(export(work, photos, *model, *cache)["wall"])
        bare.append(before + printed(BARE_FORWARD, n - half, BATCH_SIZE, weights))
        second = export(work, photos, *model, *cache)
        again.append(second["wall"])
        counts.append(second["manifest"]["encoded"]["computed"])
    medians = [statistics.median(seconds) for seconds in (bare, ours, again)]
    return {
        "images": n,
        "bare_forward_s": [round(s, 1) for s in bare],
        "command_s": [round(s, 1) for s in ours],
        "ratio": round(medians[1] / medians[0], 3),
        "second_run_s": [round(s, 1) for s in again],
        "second_run_embedded": counts,
        "second_run_times_faster": round(medians[1] / medians[2], 1),
    }


def bench_pixels(work: Path, photos: Path, n: int, runs: int) -> dict[str, Any]:
    """Images a second of the pixels encoder and of a loop that only decodes."""
    plain, encoding, whole = [], [], []
    for _ in range(runs):
        plain.append(n / printed(PLAIN_LOOP, photos, THREADS))
        pixels = ["--encoder", "pixels", "--cache", "none"]
        whole.append(n / export(work, photos, *pixels)["wall"])
        # Without layouts, so that umap-learn is not imported beside the encoding.
        ours = export(work, photos, *pixels, "--umap-dims", "none")
        encoding.append(n / ours["manifest"]["encode_seconds"])
    decode = statistics.median(plain)
    return {
        "images": n,
        "decode_only_per_s": [round(r, 1) for r in plain],
        "encoding_per_s": [round(r, 1) for r in encoding],
        "command_per_s": [round(r, 1) for r in whole],
        "encoding_share": round(statistics.median(encoding) / decode, 2),
        "command_share": round(statistics.median(whole) / decode, 2),
    }


def bench_memory(work: Path, photos: Path, n: int) -> dict[str, Any]:
    """Peak memory at n and ten times n images (hard links to the same files)."""
    many = work / f"{photos.name}_many"
    many.mkdir(exist_ok=True)
    for copy in range(10):
        for path in photos.iterdir():
            link = many / f"{copy}_{path.name}"
            if not link.exists():
                os.link(path, link)
    line: dict[str, Any] = {"images": [n, 10 * n]}
    rest = []
    for folder in (photos, many):
        ours = export(work, folder, "--encoder", "pixels", "--cache", "none", "--umap-dims", "none",
                      "--clusters", "none", "--no-anomalies")  # fmt: skip
        facts = ours["manifest"]
        vectors = facts["points"] * facts["dimensions"] * 4 / 1e9
        # Tiles, the grid that they are laid out in, and the PNG made of it.
        sprite = Path(work / "run/bench/sprite.png")
        side = facts["sprite"]["px"]
        tiles = facts["points"] * facts["sprite"]["tile_px"] ** 2 * 4 / 1e9
        held = vectors + tiles + side * side * 4 / 1e9 + sprite.stat().st_size / 1e9
        line.setdefault("peak_gb", []).append(round(ours["peak_gb"], 3))
        line.setdefault("vectors_and_sprite_gb", []).append(round(held, 3))
        rest.append(ours["peak_gb"] - held)
    return {**line, "ratio_of_the_rest": round(rest[1] / rest[0], 3)}


def main() -> None:
    """Run the comparisons and print a line of JSON for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--runs", type=int, default=1, help="of each comparison")
    parser.add_argument("--work", help="where files go; default a temporary folder")
    parser.add_argument("--only", default="clip,pixels", help="clip, pixels or both")
    parser.add_argument("--memory", action="store_true", help="compare peak memory, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(options.work or temporary)
        photos = work / f"photos_{options.images}"
        maker = [sys.executable, str(HERE / "make_photos.py"), str(options.images), str(photos)]
        subprocess.run(maker, check=True)
        n, runs = options.images, options.runs
        if "pixels" in options.only:
            print(json.dumps({"pixels": bench_pixels(work, photos, n, runs)}), flush=True)
        if "clip" in options.only:
            print(json.dumps({"clip": bench_clip(work, photos, n, runs)}), flush=True)
        if options.memory:
            print(json.dumps({"memory": bench_memory(work, photos, n)}), flush=True)


if __name__ == "__main__":
    main()
