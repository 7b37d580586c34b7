"""Time projector-export against scripts/naive_export.py as whole processes, in turn.

    scripts/bench [--points 2000,20000,100000] [--runs 3] [--work DIR]

Prints the median wall seconds of each, the ratio of the medians, the peak memory of our command
with all its children, and (unless --no-quality) trustworthiness and K-Means inertia of both.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import faiss
import numpy as np
import polars as pl

HERE = Path(__file__).parent
GOALS = {2_000: 2.2, 20_000: 3.2, 100_000: 4.0}
N_SAMPLED = 2_000
K = 15


def run(command: list[str]) -> tuple[float, float]:
    """Run a process; return its wall seconds and the peak memory in GB of it and its children."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
        peak = [0.0]
        watcher = threading.Thread(target=watch_memory, args=(process, peak))
        watcher.start()
        status = process.wait()
        seconds = time.perf_counter() - start
        watcher.join()
        if status:
            said.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{said.read().decode()}")
    return seconds, peak[0]


def watch_memory(process: subprocess.Popen[bytes], peak: list[float]) -> None:
    """Sum the resident memory of a process and its children ten times a second (Linux)."""
    while process.poll() is None:
        total, pids = 0.0, [process.pid]
        while pids:
            pid = pids.pop()
            try:
                status = Path(f"/proc/{pid}/status").read_text()
                children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
            except OSError:
                continue
            total += next(
                (int(line.split()[1]) for line in status.splitlines() if line[:6] == "VmRSS:"), 0
            )
            pids += [int(child) for child in children.split()]
        peak[0] = max(peak[0], total / 1e6)
        time.sleep(0.1)


def trustworthiness(vectors: np.ndarray, layout: np.ndarray) -> float:
    """Trustworthiness (Venna & Kaski 2001) of K neighbours, over sampled points among all."""
    n = len(vectors)
    rows = np.random.default_rng(0).choice(n, min(n, N_SAMPLED), replace=False)
    _, found = faiss.knn(layout[rows], layout, K + 1)
    squares = np.einsum("nd,nd->n", vectors, vectors)
    penalty = 0.0
    for row, hits in zip(rows, found, strict=True):
        distances = squares - 2 * (vectors @ vectors[row])
        distances[row] = -np.inf
        neighbours = [hit for hit in hits if hit != row][:K]
        for hit in neighbours:
            rank = int((distances < distances[hit]).sum())  # the point itself is one of them
            penalty += max(rank - K, 0)
    return 1 - penalty * 2 / (len(rows) * K * (2 * n - 3 * K - 1))


def inertia(vectors: np.ndarray, labels: np.ndarray) -> float:
    """Sum of squared distances to the mean of the own cluster."""
    total = 0.0
    for label in np.unique(labels):
        members = vectors[labels == label].astype(np.float64)
        total += float(np.square(members - members.mean(axis=0)).sum())
    return total


def compare_quality(vectors_file: Path, naive: Path, ours: Path) -> dict[str, float]:
    """Trustworthiness and inertia of both results on the same vectors."""
    vectors = np.load(vectors_file)
    naive_layout = np.load(naive / "layout.npy").astype(np.float32)
    (metadata,) = naive.glob("**/metadata.tsv")
    naive_labels = pl.read_csv(metadata, separator="\t")["cluster"].to_numpy()
    points = pl.read_parquet(ours / "bench/points.parquet")
    layout = points.select("umap3d_x", "umap3d_y", "umap3d_z").to_numpy().astype(np.float32)
    return {
        "trustworthiness_naive": trustworthiness(vectors, np.ascontiguousarray(naive_layout)),
        "trustworthiness_ours": trustworthiness(vectors, np.ascontiguousarray(layout)),
        "inertia_ratio": inertia(vectors, points["cluster"].to_numpy())
        / inertia(vectors, naive_labels),
    }


def main() -> None:
    """Run the comparison and print a line of JSON for each number of points."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--points", default="2000,20000,100000")
    parser.add_argument("--runs", type=int, default=3, help="pairs of runs at each size")
    parser.add_argument("--work", help="where files go; default a temporary folder")
    parser.add_argument("--no-quality", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(options.work or temporary)
        work.mkdir(parents=True, exist_ok=True)
        for n in map(int, options.points.split(",")):
            file, naive, ours = work / f"{n}.npy", work / f"naive_{n}", work / f"ours_{n}"
            if not file.exists():
                run([sys.executable, str(HERE / "make_vectors.py"), str(n), str(file)])
            naive_command = [sys.executable, str(HERE / "naive_export.py"), str(file), str(naive)]
            our_command = [
                str(Path(sys.executable).parent / "projector-export"), "vectors", str(file),
                str(ours), "--name", "bench", "--umap-dims", "3", "--clusters", "20",
                "--seed", "0", "--force", "--quiet",
            ]  # fmt: skip
            seconds: dict[str, list[float]] = {"naive": [], "ours": []}
            peaks: dict[str, list[float]] = {"naive": [], "ours": []}
            for _ in range(options.runs):
                subprocess.run(["rm", "-rf", str(naive)], check=True)
                for who, command in (("naive", naive_command), ("ours", our_command)):
                    wall, peak = run(command)
                    seconds[who].append(round(wall, 1))
                    peaks[who].append(round(peak, 2))
            medians = {who: statistics.median(walls) for who, walls in seconds.items()}
            line = {
                "points": n,
                "cores": os.cpu_count(),
                "seconds": seconds,
                "median_naive": medians["naive"],
                "median_ours": medians["ours"],
                "ratio": round(medians["naive"] / medians["ours"], 2),
                "goal": GOALS.get(n),
                "peak_gb_naive": max(peaks["naive"]),
                "peak_gb_ours": max(peaks["ours"]),
            }
            if not options.no_quality:
                quality = compare_quality(file, naive, ours)
                line |= {key: round(value, 4) for key, value in quality.items()}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
