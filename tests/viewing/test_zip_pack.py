"""A packed run is a run: TensorBoard and this program open it, and nothing else is in it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from bundles import add_bookmarks, export_small

from projector_export.errors import NameTakenError
from projector_export.projector.exports import open_export
from projector_export.projector.log_dir import read_manifest
from projector_export.projector.read_back import PluginReader
from projector_export.viewing.sharing.redaction import Redaction
from projector_export.viewing.sharing.share import share as share_run
from projector_export.viewing.sharing.zip_file import unpacked


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one export of ours, one of another program, and other things beside."""
    out = tmp_path_factory.mktemp("share") / "demo run"
    export_small(out, "ours", tile_px=8)
    (out / "theirs").mkdir()
    vectors = np.arange(20, dtype=np.float32).reshape(5, 4)
    np.savetxt(out / "theirs/t.tsv", vectors, delimiter="\t")
    (out / "theirs/m.tsv").write_text("a\nb\nc\nd\ne\n", encoding="utf-8")
    config = out / "projector_config.pbtxt"
    text = config.read_text(encoding="utf-8")
    text += 'embeddings { tensor_name: "a/b" tensor_path: "theirs/t.tsv" '
    text += 'metadata_path: "theirs/m.tsv" }\n'
    config.write_text(text, encoding="utf-8")
    (out / ".staging-left").mkdir()
    (out / ".staging-left/secret").write_text("secret", encoding="utf-8")
    (out / "notes.txt").write_text("secret", encoding="utf-8")
    return out


def test_only_what_belongs_to_it_is_packed(run: Path, tmp_path: Path) -> None:
    """Config, event file and the embeddings' files; no locks, staging folders or other files."""
    share_run(run, tmp_path / "run.zip", kind="zip")
    with zipfile.ZipFile(tmp_path / "run.zip") as archive:
        names = archive.namelist()
        readme = archive.read("demo run/README.txt").decode()
        dates = {entry.date_time for entry in archive.infolist()}
    assert names == [
        "demo run/README.txt",
        "demo run/a_b/metadata.tsv",
        "demo run/a_b/tensor.bytes",
        "demo run/events.out.tfevents.0.projector_export",
        "demo run/ours/bookmarks.json",
        "demo run/ours/manifest.json",
        "demo run/ours/metadata.tsv",
        "demo run/ours/points.parquet",
        "demo run/ours/sprite.png",
        "demo run/ours/tensor.bytes",
        "demo run/projector_config.json",
        "demo run/projector_config.pbtxt",
    ]
    assert len(readme.splitlines()) == 3
    assert "projector-export view" in readme
    assert dates == {(1980, 1, 1, 0, 0, 0)}


def test_unpacked_it_is_the_same_run(run: Path, tmp_path: Path) -> None:
    """TensorBoard serves the same; our files are the same, byte by byte, the manifest too."""
    share_run(run, tmp_path / "run.zip", kind="zip")
    with unpacked(tmp_path / "run.zip") as folder:
        again = folder / "demo run"
        before, after = PluginReader(run), PluginReader(again)
        for route in ("/tensor", "/metadata", "/bookmarks", "/sprite_image"):
            assert after.get(route, "ours") == before.get(route, "ours"), route
        for route in ("/tensor", "/metadata"):
            assert after.get(route, "a/b") == before.get(route, "a/b"), route
        for path in (run / "ours").iterdir():
            assert (again / "ours" / path.name).read_bytes() == path.read_bytes(), path.name
        assert open_export(again, "ours").table.equals(open_export(run, "ours").table)
        add_bookmarks(again, "ours", {"more": {}})  # it can be worked on
        assert open_export(again, "ours").states[-1]["label"] == "more"
    assert not folder.exists()


def test_what_was_left_out_leaves_a_sound_export(run: Path, tmp_path: Path) -> None:
    """The manifest's hashes and views are those of the files that are there."""
    redaction = Redaction(("label",), sprite=True, paths=True)
    title = open_export(run, "ours").states[0]["label"]
    share_run(
        run, tmp_path / "run.zip", kind="zip", names=["ours"], views=[title], redaction=redaction
    )
    with unpacked(tmp_path / "run.zip") as folder:
        export = open_export(folder / "demo run")
        manifest = read_manifest(export.folder)
        assert set(manifest["files"]) == {path.name for path in export.folder.iterdir()} - {
            "manifest.json"
        }
        assert manifest["views"] == [title]
        assert export.thumbnails is None
        assert export.columns["label"].to_list()[:2] == ["row 0", "row 1"]
        add_bookmarks(folder / "demo run", "ours", {"more": {}})


def test_same_input_same_bytes(run: Path, tmp_path: Path) -> None:
    """Packed reproducibly; an earlier one is replaced with force only."""
    share_run(run, tmp_path / "one.zip", kind="zip")
    share_run(run, tmp_path / "two.zip", kind="zip", names=["ours"])
    with pytest.raises(NameTakenError, match="give --force to replace it"):
        share_run(run, tmp_path / "two.zip", kind="zip")
    share_run(run, tmp_path / "two.zip", kind="zip", force=True)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_config_for_the_public_projector_lies_beside(run: Path, tmp_path: Path) -> None:
    """projector_config.json names the raw float32 by its ending, relative or as an address."""
    share_run(run, tmp_path / "run.zip", kind="zip", base_url="https://example.org/d")
    with zipfile.ZipFile(tmp_path / "run.zip") as archive:
        config = json.loads(archive.read("demo run/projector_config.json"))
        text = archive.read("demo run/projector_config.pbtxt").decode()
    assert config["embeddings"][0] == {
        "tensorName": "ours",
        "tensorShape": [40, 6],
        "tensorPath": "https://example.org/d/ours/tensor.bytes",
        "metadataPath": "https://example.org/d/ours/metadata.tsv",
        "bookmarksPath": "https://example.org/d/ours/bookmarks.json",
        "sprite": {
            "imagePath": "https://example.org/d/ours/sprite.png",
            "singleImageDim": [8, 8],
        },
    }
    assert 'tensor_path: "ours/tensor.bytes"' in text
