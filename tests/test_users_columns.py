"""People's own columns come through, whatever they are called and hold."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from projector_export import Points, Settings, export_points
from projector_export.cli import main
from projector_export.errors import OutputError
from projector_export.projector import log_dir
from projector_export.projector.metadata import render_metadata
from projector_export.projector.read_back import PluginReader
from projector_export.sources.images import list_images

N = 40


def vectors(seed: int = 0) -> np.ndarray:
    """Random points."""
    return np.random.default_rng(seed).standard_normal((N, 6)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("row_number", "row_number"),
        ("row", "row"),
        ("agrees", "agrees"),
        ("predicted_score", "predicted_score"),
        ("source_row", "user_source_row"),
        ("shown", "user_shown"),
        ("cluster", "user_cluster"),
        (" cluster", "user_cluster"),
        ("名前", "名前"),
    ],
)
def test_any_name_exports_and_keeps_its_values(tmp_path: Path, name: str, kept: str) -> None:
    """Our names are fixed; a user's column of the same name is renamed, none is lost."""
    words = [f"w{i}" for i in range(N)]
    points = Points(vectors(), pl.DataFrame({"label": ["a", "b"] * (N // 2), name: words}), "e")
    result = export_points(points, tmp_path, settings=Settings(max_points=30, clusters=3))
    parquet = pl.read_parquet(tmp_path / "e/points.parquet")
    assert sorted(parquet[kept]) == sorted(words)
    assert set(parquet["cluster"]) == {"cluster_00", "cluster_01", "cluster_02"}
    assert "zero_shot" not in result.facts


@pytest.mark.parametrize(
    "labels", [[["a", "b"]] * N, [b"\xff\x00"] * N, [None, 1] * (N // 2), [1.5, None] * (N // 2)]
)
def test_labels_of_any_type_export(tmp_path: Path, labels: list[Any]) -> None:
    """Lists, bytes and numbers with gaps are labels too."""
    points = Points(vectors(), pl.DataFrame({"label": labels}), "e")
    export_points(points, tmp_path, settings=Settings(umap_dims=(2,)))
    lines = PluginReader(tmp_path).get("/metadata", "e").decode().rstrip("\n").split("\n")
    assert len(lines) == N + 1
    assert all(line.split("\t")[0].strip() for line in lines)


def test_tsv_tensors_hold_any_values(tmp_path: Path) -> None:
    """--tensor-format tsv gives zeros back as zeros."""
    zeros = np.zeros((20, 3), np.float32)
    settings = Settings(tensor_format="tsv", metric="euclidean", umap_dims=())
    export_points(Points(zeros, name="e"), tmp_path, settings=settings)
    assert set(PluginReader(tmp_path).get("/tensor", "e")) == {0}


def test_umap_options_do_not_change_anomalies(tmp_path: Path) -> None:
    """Anomalies look at 15 neighbours, whatever UMAP looks at."""
    for run, neighbors in (("a", 15), ("b", 35)):
        settings = Settings(umap_neighbors=neighbors, umap_dims=(2,), clusters=2)
        export_points(Points(vectors(), name="e"), tmp_path / run, settings=settings)
    one, two = (pl.read_parquet(tmp_path / run / "e/points.parquet") for run in "ab")
    assert one["anomaly"].to_list() == two["anomaly"].to_list()
    assert one["umap2d_x"].to_list() != two["umap2d_x"].to_list()


def test_no_character_lies_across_the_slices_that_the_viewer_decodes() -> None:
    """The viewer decodes each million bytes by themselves; labels must survive that."""
    n = 60_000
    labels = [f"{'あ' * (1 + i % 7)}{i}" for i in range(n)]
    columns = pl.DataFrame({"label": labels, "x": np.arange(n, dtype=np.float64) / 7})
    text = render_metadata(columns)
    slices = [text[i : i + 1_000_000].decode("utf-8") for i in range(0, len(text), 1_000_000)]
    assert len(slices) > 1
    rows = [line.split("\t") for line in "".join(slices).rstrip("\n").split("\n")[1:]]
    assert [row[0] for row in rows] == labels
    assert [float(row[1]) for row in rows] == pytest.approx(columns["x"].to_list(), rel=1e-6)


def test_a_folder_named_like_events_is_no_event_file(tmp_path: Path) -> None:
    """A run is a directory with an event file."""
    (tmp_path / "tfevents_backup").mkdir()
    export_points(Points(vectors(), name="e"), tmp_path, settings=Settings(umap_dims=()))
    assert any(p.is_file() for p in tmp_path.glob("events.out.tfevents.*"))


def test_a_full_disk_at_the_last_step_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says which export the run shows; that one is whole."""
    settings = Settings(umap_dims=(), force=True)
    export_points(Points(vectors(), name="e"), tmp_path, settings=settings)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(log_dir, "_replace_files", full)
        with pytest.raises(OutputError, match=r"No space left.*shows the new export"):
            export_points(Points(vectors(1), name="e"), tmp_path, settings=settings)
    served = np.frombuffer(PluginReader(tmp_path).get("/tensor", "e"), np.float32)
    np.testing.assert_array_equal(served.reshape(N, 6), vectors(1))
    export_points(Points(vectors(2), name="e"), tmp_path, settings=settings)
    served = np.frombuffer(PluginReader(tmp_path).get("/tensor", "e"), np.float32)
    np.testing.assert_array_equal(served.reshape(N, 6), vectors(2))


def test_exports_are_no_input_for_images(tmp_path: Path) -> None:
    """A sprite below the folder is not taken for one of its images."""
    (tmp_path / "a.png").touch()
    (tmp_path / "out/e").mkdir(parents=True)
    (tmp_path / "out/projector_config.pbtxt").touch()
    (tmp_path / "out/e/sprite.png").touch()
    assert list_images(tmp_path) == [tmp_path / "a.png"]


def test_demo_does_not_replace_another_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An export named digits that no demo made needs --force; nothing is written before."""
    out = tmp_path / "run"
    export_points(Points(vectors(), name="digits"), out, settings=Settings(umap_dims=()))
    before = (out / "digits/manifest.json").read_bytes()
    with pytest.raises(SystemExit) as done:
        main(["demo", str(out), "--no-serve"])
    assert done.value.code == 1
    assert "--force" in capsys.readouterr().err
    assert (out / "digits/manifest.json").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]


def test_classes_may_be_a_long_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A long comma list is no file name; it is split."""
    names = ",".join(f"種類{i}" for i in range(60))
    with pytest.raises(SystemExit):
        main(["images", str(tmp_path / "none"), "--classes", names])
    assert "does not exist" in capsys.readouterr().err


def test_reference_without_anomalies_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--normal with --no-anomalies contradicts itself."""
    np.save(tmp_path / "v.npy", vectors())
    file = str(tmp_path / "v.npy")
    with pytest.raises(SystemExit) as done:
        main(["vectors", file, str(tmp_path / "run"), "--normal", file, "--no-anomalies"])
    assert done.value.code == 1
    assert "switched off" in capsys.readouterr().err


def test_manifest_lists_every_file_with_its_hash(tmp_path: Path) -> None:
    """SHA-256 a file, over the bytes on disk."""
    import hashlib

    export_points(Points(vectors(), name="e"), tmp_path, settings=Settings(umap_dims=(2,)))
    listed = json.loads((tmp_path / "e/manifest.json").read_text(encoding="utf-8"))["files"]
    there = {p.name: p for p in (tmp_path / "e").iterdir() if p.name != "manifest.json"}
    assert set(listed) == set(there)
    for name, path in there.items():
        assert listed[name] == hashlib.sha256(path.read_bytes()).hexdigest()
