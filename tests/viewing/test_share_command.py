"""The command says what is in the bundle, and opens what it has packed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import pytest
from bundles import JAPANESE, add_bookmarks, export_small

from projector_export.cli import main


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one export."""
    out = tmp_path_factory.mktemp("share") / "run"
    columns = {
        "label": [f"item {i}" for i in range(12)],
        "town": ["Ōsaka", "Nara"] * 6,
        "a,b": list(range(100, 112)),
        "file": [f"p/{i}.png" for i in range(12)],
    }
    export_small(out, "small", n=12, columns=columns, tile_px=8)
    add_bookmarks(out, "small", {JAPANESE: {}})
    return out


def share(*argv: object) -> int:
    """Run the command; return its exit code."""
    with pytest.raises(SystemExit) as done:
        main(["share", *map(str, argv)])
    return int(done.value.code or 0)


def test_the_contents_are_printed(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Embeddings, points, columns, views, thumbnails, what mentions paths, what was left out."""
    assert share(run, tmp_path / "a.html", "--redact", "town,a,b") == 1
    assert "has no column 'a'; it has: label, town, a,b, file" in capsys.readouterr().err
    assert share(run, tmp_path / "a.html", "--redact", "town", "--redact", "a,b") == 0
    said = capsys.readouterr().out
    size = (tmp_path / "a.html").stat().st_size
    assert f"a.html: {size / 1e6:.1f} MB, which holds" in said
    assert "small: 12 points, 6 dimensions, thumbnails of 8 px" in said
    assert "    columns: label, file, cluster, cluster_distance" in said
    assert "    left out: town (asked for), a,b (asked for)" in said
    assert f"    views: UMAP 2D by cluster, Anomaly score, {JAPANESE}" in re.sub(
        r"UMAP 2D by cluster, .*Anomaly", "UMAP 2D by cluster, Anomaly", said
    )
    assert "paths are named in: small/metadata.tsv (file)" in said
    assert "a.html#view=UMAP%202D%20by%20cluster opens one view" in said


def test_one_json_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--json prints one line, --quiet nothing; the kind follows from the target's ending."""
    argv = ["--no-sprite", "--no-paths", "--view", JAPANESE, "--name", "small", "--json"]
    assert share(run, tmp_path / "a.zip", *argv) == 0
    (line,) = capsys.readouterr().out.splitlines()
    said = json.loads(line)
    assert said["kind"] == "zip"
    assert said["bytes"] == (tmp_path / "a.zip").stat().st_size
    (one,) = said["embeddings"]
    assert (one["views"], one["sprite"], one["shape"]) == ([JAPANESE], False, [12, 6])
    assert one["left_out"] == {"file": "holds paths"}
    assert said["path_files"] == []
    assert share(run, tmp_path / "site", "--as", "site", "--quiet") == 0
    assert (tmp_path / "site/index.html").is_file()
    said = capsys.readouterr()
    assert said.out == said.err == ""
    assert share(run, tmp_path / "thing") == 1
    assert "say --as html, --as site or --as zip" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_packed_run_is_served_and_leaves_nothing(run: Path, tmp_path: Path) -> None:
    """`view FILE.zip` serves what is in it; when it ends, the unpacked files are gone."""
    share(run, tmp_path / "packed.zip", "--quiet")
    places = tmp_path / "temporary"
    places.mkdir()
    environment = {**os.environ, "TMPDIR": str(places), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "projector_export", "view", str(tmp_path / "packed.zip")]
    viewer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert viewer.stdout is not None
        address = re.search(r"http://\S+/", viewer.stdout.readline())
        assert address is not None
        plugin = f"{address.group()}data/plugin/projector"
        with urllib.request.urlopen(f"{plugin}/runs") as answer:
            assert json.load(answer) == ["run"]
        with urllib.request.urlopen(f"{plugin}/tensor?run=run&name=small") as answer:
            assert len(answer.read()) == 12 * 6 * 4
        assert any(path.name.startswith("projector_export-") for path in places.iterdir())
    finally:
        viewer.send_signal(signal.SIGTERM)
        viewer.wait(30)
        viewer.stdout.close()
    assert not [path for path in places.iterdir() if path.name.startswith("projector_export-")]
    assert tempfile.gettempdir() != str(places)


def test_view_refuses_what_leads_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One message and exit code 1, nothing served."""
    import zipfile

    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../evil", "x")
    with pytest.raises(SystemExit) as done:
        main(["view", str(tmp_path / "evil.zip")])
    assert done.value.code == 1
    assert "'../evil', whose path leads elsewhere" in capsys.readouterr().err
