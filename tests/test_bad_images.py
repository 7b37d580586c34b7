"""Nothing fatal, nothing silent: bad files among good ones."""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path

import polars as pl
import pytest
from bad.make_bad_images import KINDS, make_bad_images
from encoding_doubles import colour, write_pictures

from projector_export.cli import main
from projector_export.errors import DataError
from projector_export.image_files import open_image
from projector_export.projector.read_back import PluginReader

N_GOOD = 200


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder of 200 good and 40 bad files in a random order of names, and the bad ones' words."""
    folder = tmp_path_factory.mktemp("bad") / "pictures"
    reasons = make_bad_images(folder)
    names = [f"{number:04d}" for number in range(N_GOOD + len(reasons))]
    random.Random(0).shuffle(names)
    said = {}
    for name, (file, words) in zip(names, reasons.items(), strict=False):
        path = folder / file
        if path.is_symlink() and path.readlink().name == file:  # a link to itself stays one
            path.unlink()
            (folder / f"{name}_{file}").symlink_to(f"{name}_{file}")
        else:
            path.rename(folder / f"{name}_{file}")
        said[f"{name}_{file}"] = words
    for item, name in enumerate(names[len(reasons) :]):
        write_pictures(folder, 1, first=item)
        (folder / f"{item:04d}.png").rename(folder / f"{name}_good_{item:03d}.png")
    return folder, said


def run(*argv: str) -> int:
    """Run the command line; return its exit code."""
    with pytest.raises(SystemExit) as done:
        main(list(argv))
    return int(done.value.code or 0)


def test_40_bad_files_among_200_good_ones(
    tmp_path: Path, mixed: tuple[Path, dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 0, 200 points, 40 rows in skipped.tsv, each with a true reason; rows aligned."""
    folder, said = mixed
    assert (len(KINDS), len(said)) == (20, 40)
    options = ["--encoder", "encoding_doubles:ColourEncoder", "--thumbnail", "8", "--json"]
    assert run("images", str(folder), str(tmp_path / "run"), "--name", "e", *options) == 0
    told = capsys.readouterr()
    assert "40 inputs skipped" in told.err
    facts = json.loads(told.out)
    assert (facts["points"], facts["skipped"]) == (N_GOOD, 40)
    lines = (tmp_path / "run/e/skipped.tsv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "path\twhy"
    reasons = dict(line.split("\t") for line in lines[1:])
    assert set(reasons) == set(said)
    for name, words in said.items():
        assert words in reasons[name], (name, reasons[name])
        assert str(folder) not in reasons[name]
    manifest = json.loads((tmp_path / "run/e/manifest.json").read_text(encoding="utf-8"))
    assert {one["path"] for one in manifest["skipped"]} == set(said)
    paths = pl.read_parquet(tmp_path / "run/e/points.parquet")["path"].to_list()
    assert paths == sorted(path.name for path in folder.iterdir() if "_good_" in path.name)
    items = [int(path[-7:-4]) for path in paths]
    reader = PluginReader(tmp_path / "run")
    import numpy as np

    tensor = np.frombuffer(reader.get("/tensor", "e"), np.float32).reshape(N_GOOD, 4)
    assert [(int(r), int(g), int(b)) for r, g, b, _ in tensor] == [colour(i) for i in items]


def test_strict_names_the_first_bad_file(
    tmp_path: Path, mixed: tuple[Path, dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """The same with `--strict`: exit 1, names the file, writes nothing."""
    folder, said = mixed
    options = ["--encoder", "encoding_doubles:ColourEncoder", "--strict"]
    assert run("images", str(folder), str(tmp_path / "run"), *options) == 1
    told = capsys.readouterr().err
    first = min(name for name in said if name.endswith(".heic"))  # the source tells first
    assert first in told
    for path in folder.glob("*.heic"):
        path.rename(path.with_suffix(".was_heic"))
    try:
        assert run("images", str(folder), str(tmp_path / "run"), *options) == 1
    finally:
        for path in folder.glob("*.was_heic"):
            path.rename(path.with_suffix(".heic"))
    first = min(name for name in said if not name.endswith(".heic"))
    assert f"{first} cannot be read as an image" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes of POSIX")
def test_a_named_pipe_does_not_hang(tmp_path: Path) -> None:
    """Opening a pipe that nobody writes to would wait for ever."""
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match=r"pipe\.png cannot be read .*it is no regular file"):
        open_image(tmp_path / "pipe.png")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may read all")
def test_a_file_without_permission(tmp_path: Path) -> None:
    """The system's reason is told."""
    write_pictures(tmp_path, 1)
    (tmp_path / "0000.png").chmod(0)
    with pytest.raises(DataError, match="Permission denied"):
        open_image(tmp_path / "0000.png")
