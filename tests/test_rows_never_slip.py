"""Row i of tensor, metadata, sprite, bookmarks and parquet is the same item."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from projector_export import EncodeSettings, Points, Settings, export_points, read_vectors
from projector_export.encoding.encoder import encode
from projector_export.projector.read_back import PluginReader
from projector_export.sources.images import read_images

N = 60


def planted(order: np.ndarray) -> Points:
    """Item c has the number c in its vector, its label, its column and its thumbnail's colour."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((N, 8)).astype(np.float32)
    vectors[:, 3] = np.arange(N)
    thumbnails = np.zeros((N, 16, 16, 4), np.uint8)
    thumbnails[..., 0] = np.arange(N)[:, None, None]
    thumbnails[..., 3] = 255
    columns = pl.DataFrame({"label": [f"item {c}" for c in range(N)], "planted": np.arange(N)})
    return Points(vectors[order], columns[order], name="planted", thumbnails=thumbnails[order])


def read_export(out: Path, name: str) -> dict[str, list[object]]:
    """What each file says item by row, by routes that share nothing with the writing code."""
    reader = PluginReader(out)
    config = json.loads(reader.get("/info"))
    (entry,) = [e for e in config["embeddings"] if e["tensorName"] == name]
    shape = entry["tensorShape"]
    tensor = np.frombuffer(reader.get("/tensor", name), np.float32).reshape(shape)
    header, *lines = reader.get("/metadata", name).decode().rstrip("\n").split("\n")
    names = header.split("\t")
    cells = [dict(zip(names, line.split("\t"), strict=True)) for line in lines]
    found: dict[str, list[object]] = {
        "tensor": [round(float(v)) for v in tensor[:, 3]],
        "metadata label": [int(str(c["label"]).removeprefix("item ")) for c in cells],
        "metadata column": [int(c["planted"]) for c in cells],
    }
    if "sprite" in entry:
        side = entry["sprite"]["singleImageDim"][0]
        sprite = np.asarray(Image.open(io.BytesIO(reader.get("/sprite_image", name))))
        columns = sprite.shape[1] // side
        assert sprite.shape[0] == sprite.shape[1]
        found["sprite"] = [
            int(sprite[(i // columns) * side + side // 2, (i % columns) * side + side // 2, 0])
            for i in range(len(lines))
        ]
    for state in json.loads(reader.get("/bookmarks", name)):
        axes = "umap3d" if state["umapIs3d"] else "umap2d"
        for row, place in enumerate(state["projections"]):
            assert place["umap-0"] == pytest.approx(float(cells[row][f"{axes}_x"]), abs=2e-3)
            assert place["umap-1"] == pytest.approx(float(cells[row][f"{axes}_y"]), abs=2e-3)
        assert len(state["projections"]) == len(lines)
    parquet = pl.read_parquet(out / name / "points.parquet").head(len(lines))
    found["parquet"] = parquet["planted"].to_list()
    found["parquet label"] = [int(t.removeprefix("item ")) for t in parquet["label"]]
    for axis in ("umap3d_x", "umap2d_y"):
        shown = [float(c[axis]) for c in cells]
        assert parquet[axis].to_list() == pytest.approx(shown, rel=1e-5, abs=1e-5)
    return found


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_shuffled_items_stay_together_in_every_file(tmp_path: Path, seed: int | None) -> None:
    """A value planted in row i is found together in tensor, metadata, sprite and parquet."""
    order = np.arange(N) if seed is None else np.random.default_rng(seed).permutation(N)
    export_points(planted(order), tmp_path / "run")
    found = read_export(tmp_path / "run", "planted")
    assert set(found) >= {"tensor", "metadata label", "sprite", "parquet"}
    for where, items in found.items():
        assert items == order.tolist(), where


def test_bookmark_coordinates_follow_their_items(tmp_path: Path) -> None:
    """Two far groups are apart in every layout, whatever the order of the rows."""
    rng = np.random.default_rng(0)
    side = rng.permutation(np.repeat([0, 1], 30))
    vectors = rng.standard_normal((N, 8)).astype(np.float32) + side[:, None] * 100
    points = Points(vectors, pl.DataFrame({"label": side.astype(str)}), name="sides")
    export_points(points, tmp_path / "run", settings=Settings(metric="euclidean", clusters=2))
    states = json.loads((tmp_path / "run/sides/bookmarks.json").read_text())
    assert len(states) >= 3
    for state in states:
        places = np.array([list(p.values()) for p in state["projections"]])
        middle = [places[side == s].mean(axis=0) for s in (0, 1)]
        nearer = [int(np.argmin([np.linalg.norm(p - m) for m in middle])) for p in places]
        assert nearer == side.tolist(), state["label"]


def test_thinning_keeps_rows_together_and_every_item_in_the_parquet(tmp_path: Path) -> None:
    """--max-points thins only what the browser gets; the parquet has the shown rows first."""
    order = np.random.default_rng(3).permutation(N)
    result = export_points(planted(order), tmp_path / "run", settings=Settings(max_points=25))
    found = read_export(tmp_path / "run", "planted")
    assert result.shown == len(found["tensor"]) == 25
    for where, items in found.items():
        assert items == found["tensor"], where
    parquet = pl.read_parquet(tmp_path / "run/planted/points.parquet")
    assert sorted(parquet["planted"]) == list(range(N))
    assert parquet["planted"].to_list() == order[parquet["source_row"].to_numpy()].tolist()
    assert parquet["shown"].to_list() == [True] * 25 + [False] * 35


def test_files_of_vectors_metadata_and_images_meet_row_by_row(tmp_path: Path) -> None:
    """Row i of --metadata and its image belong to row i of the vectors, also when shuffled."""
    order = np.random.default_rng(4).permutation(N)
    points = planted(order)
    np.save(tmp_path / "v.npy", points.vectors)
    (tmp_path / "pictures").mkdir()
    for item in range(N):
        Image.new("RGB", (30, 30), (item, 0, 0)).save(tmp_path / f"pictures/{item}.png")
    table = points.columns.with_columns(
        pl.format("pictures/{}.png", pl.col("planted")).alias("file")
    )
    table.write_csv(tmp_path / "m.csv")
    read = read_vectors(
        tmp_path / "v.npy", metadata=tmp_path / "m.csv", images="file", thumbnail_px=16, name="x"
    )
    export_points(read, tmp_path / "run")
    for where, items in read_export(tmp_path / "run", "x").items():
        assert items == order.tolist(), where


class RedEncoder:
    """Arithmetic on the pixels: the vector tells the image's red value."""

    def prepare(self, image: Image.Image) -> np.ndarray:
        return np.asarray(image, np.float32)[0, 0]

    def encode(self, prepared: list[np.ndarray]) -> np.ndarray:
        red = np.array([p[0] for p in prepared], np.float32)
        return np.stack([red * 0 + 1, red**2 / 7, np.sin(red), red], axis=1)

    def describe(self) -> dict[str, str]:
        return {"encoder": "red"}


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_an_unreadable_image_is_skipped_without_shifting_rows(
    tmp_path: Path, batch_size: int
) -> None:
    """One unreadable image among many is skipped, reported and counted, not fatal."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for item in range(N):
        Image.new("RGB", (20, 10), (item, 0, 0)).save(folder / f"{item:03d}.png")
    (folder / "010.png").write_bytes(b"not an image")
    (folder / "031.png").write_bytes((folder / "031.png").read_bytes()[:50])
    kept = [i for i in range(N) if i not in (10, 31)]
    settings = EncodeSettings(batch_size=batch_size, thumbnail_px=16)
    points = encode(read_images(folder), RedEncoder(), settings=settings)
    points = points.with_columns(
        pl.DataFrame({"planted": [int(p.removesuffix(".png")) for p in points.columns["path"]]})
    )
    points = points.with_columns(pl.DataFrame({"label": [f"item {i}" for i in kept]}))
    result = export_points(points, tmp_path / "run")
    assert [s["path"] for s in result.skipped] == ["010.png", "031.png"]
    for where, items in read_export(tmp_path / "run", "pictures").items():
        assert items == kept, where
