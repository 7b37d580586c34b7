"""A run may come from anywhere: what its files say of names and paths leads nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from projector_export import Points, Settings, View, add_views, export_points, open_export
from projector_export.viewing.sharing.share import share
from projector_export.viewing.sharing.zip_file import unpacked


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose config and manifest have been tampered with."""
    out = tmp_path / "deep/er/run"
    vectors = np.random.default_rng(0).standard_normal((20, 4))
    settings = Settings(umap_dims=(2,), clusters=2, anomalies=False)
    export_points(Points(vectors, name="e"), out, settings=settings)
    (tmp_path / "secret.txt").write_text("a secret")
    manifest = json.loads((out / "e/manifest.json").read_text(encoding="utf-8"))
    manifest["files"] |= {"../../../../secret.txt": "x", str(tmp_path / "secret.txt"): "x"}
    (out / "e/manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    config = out / "projector_config.pbtxt"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace('tensor_name: "e"', 'tensor_name: "../../pwned"'))
    return out


@pytest.mark.parametrize("kind", ["html", "site", "zip"])
def test_names_and_files_of_a_hostile_run_stay_inside(run: Path, tmp_path: Path, kind: str) -> None:
    """No file is written beside the target, and none is packed that is not the export's."""
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    target = tmp_path / "bundle" / f"x.{kind}"
    target.parent.mkdir()
    shared = share(run, target, kind=kind)  # type: ignore[arg-type]
    fresh = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert all(path.is_relative_to(tmp_path / "bundle") for path in fresh)
    assert not [name for name in shared.file_bytes if ".." in Path(name).parts or name[0] == "/"]
    if kind == "zip":
        with unpacked(target) as folder:
            texts = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
        assert not [text for text in texts if text == b"a secret"]


def test_an_edit_takes_over_only_the_exports_own_files(run: Path) -> None:
    """A manifest that lists other files does not pull them in."""
    config = run / "projector_config.pbtxt"
    config.write_text(config.read_text(encoding="utf-8").replace("../../pwned", "e"))
    add_views(open_export(run), [View("new")])
    names = {path.name for path in (run / "e").iterdir()}
    assert "secret.txt" not in names
    assert "secret.txt" not in json.dumps(open_export(run).manifest["files"])
