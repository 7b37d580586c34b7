"""A run made by others keeps its embeddings; ours are never doubled."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from projector_export import Points, Settings, export_points
from projector_export.errors import NameTakenError
from projector_export.projector.read_back import PluginReader

QUICK = Settings(umap_dims=(), clusters=None, anomalies=False)


def points(value: float = 0.0, name: str = "ours") -> Points:
    """30 points whose first number is `value`."""
    vectors = np.random.default_rng(0).standard_normal((30, 5)).astype(np.float32)
    vectors[:, 0] = value
    return Points(vectors, name=name)


def embeddings(run: Path) -> dict[str, list[int]]:
    """What the plugin lists, in order."""
    info = json.loads(PluginReader(run).get("/info"))
    names = [e["tensorName"] for e in info["embeddings"]]
    assert len(names) == len(set(names)), "an entry is doubled"
    return {e["tensorName"]: e["tensorShape"] for e in info["embeddings"]}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_exporting_into_a_run_of_summary_writer_keeps_its_embeddings(tmp_path: Path) -> None:
    """Exporting into a run made by add_embedding keeps its embeddings and adds ours."""
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    theirs = np.arange(40, dtype=np.float32).reshape(10, 4)
    with tensorboard.SummaryWriter(str(tmp_path)) as writer:
        writer.add_scalar("loss", 0.5, 1)
        writer.add_embedding(theirs, metadata=[f"m{i}" for i in range(10)], tag="theirs")
        writer.add_embedding(theirs * 2, tag="more", global_step=3)
    events = {p: p.read_bytes() for p in tmp_path.glob("*tfevents*")}
    before = embeddings(tmp_path)
    export_points(points(), tmp_path, settings=QUICK)
    export_points(points(name="second"), tmp_path, settings=QUICK)
    after = embeddings(tmp_path)
    assert {k: after[k] for k in before} == before
    assert list(after)[-2:] == ["ours", "second"]
    assert len(after) == len(before) + 2
    reader = PluginReader(tmp_path)
    got = np.frombuffer(reader.get("/tensor", next(iter(before))), np.float32).reshape(10, 4)
    np.testing.assert_array_equal(got, theirs)
    assert reader.get("/metadata", next(iter(before))).decode().split() == [
        f"m{i}" for i in range(10)
    ]
    assert {p: p.read_bytes() for p in tmp_path.glob("*tfevents*")} == events


def test_same_name_needs_force_and_is_never_doubled(tmp_path: Path) -> None:
    """Exporting the same name twice needs --force and never doubles an entry."""
    export_points(points(1.0), tmp_path, settings=QUICK)
    with pytest.raises(NameTakenError, match="--force"):
        export_points(points(2.0), tmp_path, settings=QUICK)
    tensor = np.frombuffer(PluginReader(tmp_path).get("/tensor", "ours"), np.float32)
    assert tensor[0] == 1.0
    for value in (2.0, 3.0):
        export_points(points(value), tmp_path, settings=Settings(**{**vars(QUICK), "force": True}))
        assert list(embeddings(tmp_path)) == ["ours"]
        tensor = np.frombuffer(PluginReader(tmp_path).get("/tensor", "ours"), np.float32)
        assert tensor[0] == value


def test_one_column_has_no_header_and_texts_survive(tmp_path: Path) -> None:
    """Labels with tabs, line breaks, emoji, 007, empty and Japanese are safe; parquet has them."""
    labels = ["a\tb", "c\nd", "e\r\nf", "🦊", "007", "", "アジ", "1e5", " ", "\u2028"]
    vectors = np.random.default_rng(0).standard_normal((10, 4)).astype(np.float32)
    run = tmp_path / "run"
    export_points(Points(vectors, pl.DataFrame({"label": labels}), name="e"), run, settings=QUICK)
    parquet = pl.read_parquet(run / "e/points.parquet")
    assert parquet["label"].to_list() == labels
    metadata = PluginReader(run).get("/metadata", "e").decode()
    shown = [line.split("\t")[0] for line in metadata.rstrip("\n").split("\n")]
    safe = ["a b", "c d", "e f", "🦊", "007\u2060", "(empty)", "アジ", "1e5\u2060"]
    assert shown == ["label", *safe, "(empty)", "(empty)"]


def test_the_same_input_and_seed_give_the_same_bytes(tmp_path: Path) -> None:
    """Seeded: the same input and seed give the same bytes, in another run too."""
    vectors = np.random.default_rng(0).standard_normal((300, 20)).astype(np.float32)
    vectors[7] = vectors[8]
    thumbnails = np.random.default_rng(1).integers(0, 255, (300, 8, 8, 4)).astype(np.uint8)
    made = Points(vectors, name="e", thumbnails=thumbnails)
    for run in ("one", "two"):
        export_points(made, tmp_path / run)
    export_points(made, tmp_path / "other", settings=Settings(seed=1))
    files = sorted(p.name for p in (tmp_path / "one/e").iterdir())
    assert files == [
        "bookmarks.json", "manifest.json", "metadata.tsv", "points.parquet", "sprite.png",
        "tensor.bytes",
    ]  # fmt: skip
    for file in files:
        if file != "manifest.json":
            same = (tmp_path / "one/e" / file).read_bytes()
            assert (tmp_path / "two/e" / file).read_bytes() == same, file
    other = (tmp_path / "other/e/bookmarks.json").read_bytes()
    assert other != (tmp_path / "one/e/bookmarks.json").read_bytes()


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(
    ("rows", "dims"), [(2, 2), (2, 4096), (3, 2), (16, 5), (40, 2), (20, 4096)]
)
def test_small_and_odd_shapes_export(tmp_path: Path, metric: str, rows: int, dims: int) -> None:
    """2 points, fewer points than neighbours, D = 2 and D = 4096 work."""
    vectors = np.random.default_rng(0).standard_normal((rows, dims)).astype(np.float32)
    made = Points(vectors, name="e")
    result = export_points(made, tmp_path / "run", settings=Settings(metric=metric))  # type: ignore[arg-type]
    assert result.shown == rows


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_points_export(tmp_path: Path, metric: str, value: float) -> None:
    """All points equal, and many exact duplicates, work."""
    vectors = np.full((100, 8), value, np.float32)
    settings = Settings(metric=metric)  # type: ignore[arg-type]
    export_points(Points(vectors, name="e"), tmp_path / "run", settings=settings)
    parquet = pl.read_parquet(tmp_path / "run/e/points.parquet")
    assert set(parquet["anomaly_kind"]) == {"normal"}
    assert set(parquet["duplicate_group"]) == {"dup_00"}
    vectors[60:] = np.random.default_rng(0).standard_normal((40, 8))
    export_points(Points(vectors, name="mixed"), tmp_path / "run", settings=settings)
    parquet = pl.read_parquet(tmp_path / "run/mixed/points.parquet")
    assert parquet["duplicate_group"].to_list()[:60] == ["dup_00"] * 60
