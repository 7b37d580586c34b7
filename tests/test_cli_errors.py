"""One message and exit code 1 for each mistake of a user, and nothing written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from projector_export.cli import main


def _listing(folder: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with good and bad inputs, which is the working directory."""
    rng = np.random.default_rng(0)
    good = rng.standard_normal((100, 4)).astype(np.float32)
    np.save(tmp_path / "good.npy", good)
    np.save(tmp_path / "other.npy", good[:10, :3])
    with_nan = good.copy()
    with_nan[17, 2] = np.nan
    np.save(tmp_path / "nan.npy", with_nan)
    np.save(tmp_path / "flat.npy", good[:, 0])
    np.save(tmp_path / "one_row.npy", good[:1])
    objects: Any = np.array([[{"a": 1}, None], [1, 2]], dtype=object)
    np.save(tmp_path / "pickled.npy", objects, allow_pickle=True)
    (tmp_path / "unknown.h5").write_bytes(b"\x89HDF")
    lines = [f"name {i},cat" for i in range(100)]
    (tmp_path / "good.csv").write_text("\n".join(["name,species", *lines]) + "\n")
    (tmp_path / "short.csv").write_text("\n".join(["name,species", *lines[:98]]) + "\n")
    (tmp_path / "sjis.csv").write_bytes("名前\n魚\n".encode("shift_jis"))
    (tmp_path / "a_file").write_text("mine")
    (tmp_path / "foreign" / "good").mkdir(parents=True)
    (tmp_path / "foreign" / "good" / "thesis.txt").write_text("years of work")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "projector_config.pbtxt").write_text("embeddings {")
    (tmp_path / "empty").mkdir()
    (tmp_path / "pics").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "pics" / "only.png")
    (tmp_path / "flat_pics").mkdir()
    for name in "ab":
        Image.new("RGB", (4, 4)).save(tmp_path / "flat_pics" / f"{name}.png")
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.chdir(tmp_path)
    return tmp_path


MISTAKES = {
    "missing file": ("vectors nope.npy out", "nope.npy does not exist; check the path"),
    "a folder": ("vectors pics out", "pics is a folder; expected a file"),
    "unknown type": (
        "vectors unknown.h5 out",
        "unknown.h5 ends in '.h5'; expected vectors as .npy",
    ),
    "98 rows of metadata": (
        "vectors good.npy out --metadata short.csv",
        "short.csv has 98 rows but good.npy has 100 vectors; give one row a vector",
    ),
    "missing metadata": (
        "vectors good.npy out --metadata nope.csv",
        "nope.csv does not exist; check the path",
    ),
    "not UTF-8": ("vectors good.npy out --metadata sjis.csv", "; save it as UTF-8"),
    "nan in row 17": ("vectors nan.npy out", "nan.npy has nan in row 17, column 2; expected"),
    "1-D array": (
        "vectors flat.npy out",
        "flat.npy holds an array of shape (100,); expected 2 dim",
    ),
    "one row": ("vectors one_row.npy out", "one_row.npy holds 1 vectors of 4 values"),
    "pickled": ("vectors pickled.npy out", "pickled.npy holds pickled Python objects"),
    "unknown label": (
        "vectors good.npy out --metadata good.csv --label kind",
        "good.csv has no column 'kind' for the label; its columns are: name, species",
    ),
    "unknown images": (
        "vectors good.npy out --metadata good.csv --images photo",
        "images is 'photo', which is neither a column (name, species) nor a folder",
    ),
    "too few images": (
        "vectors good.npy out --images pics",
        "pics holds 1 images but there are 100 vectors",
    ),
    "OUT is a file": ("vectors good.npy a_file", "a_file is a file; expected a directory to write"),
    "OUT below a file": (
        "vectors good.npy a_file/out",
        "a_file cannot be written to; choose anoth",
    ),
    "OUT with a plus": (
        "vectors good.npy a+b",
        "a+b has + in its name, which TensorBoard cannot o",
    ),
    "somebody's folder": (
        "vectors good.npy foreign --force",
        "good exists and is not an export; choose another --name or move it away",
    ),
    "broken config": (
        "vectors good.npy broken",
        "projector_config.pbtxt is not a projector config",
    ),
    "bad name": ("vectors good.npy out --name a/b", "name is 'a/b': it contains '/'"),
    "500 clusters": (
        "vectors good.npy out --clusters 500",
        "clusters is 500 but there are 100 points; expected 1 to 100, 'auto' or 'none'",
    ),
    "0 clusters": ("vectors good.npy out --clusters 0", "clusters is 0; expected auto, none or"),
    "clusters x": (
        "vectors good.npy out --clusters x",
        "--clusters is 'x'; expected auto or none or a num",
    ),
    "view dims x": (
        "vectors good.npy out --view-dims x",
        "--view-dims is 'x'; expected auto or all or a number",
    ),
    "view dims 1": ("vectors good.npy out --view-dims 1", "view_dims is 1; expected"),
    "umap dims 4": (
        "vectors good.npy out --umap-dims 4",
        "--umap-dims is '4'; expected 2,3 or 2 or",
    ),
    "metric": (
        "vectors good.npy out --metric dot",
        "metric is 'dot'; expected cosine or euclidean",
    ),
    "tensor format": (
        "vectors good.npy out --tensor-format npy",
        "tensor_format is 'npy'; expected",
    ),
    "max points": ("vectors good.npy out --max-points 1", "max_points is 1; expected 2 to 100000"),
    "normal of another width": (
        "vectors good.npy out --normal other.npy",
        "the normal items have 3 columns but the points have 4",
    ),
    "missing normal": ("vectors good.npy out --normal nope.npy", "nope.npy does not exist"),
    "missing image folder": ("images nope out", "nope does not exist; expected a folder of images"),
    "file for a folder": ("images good.npy out", "good.npy is a file; expected a folder of images"),
    "no images": ("images empty out", "empty holds 0 images; expected at least 2 files"),
    "one image": ("images pics out", "pics holds 1 images; expected at least 2 files"),
    "batch size 0": (
        "images pics out --batch-size 0",
        "batch_size is 0; expected auto or a number from 1",
    ),
    "a loop of links": ("images loop", "loop is a link that leads nowhere, or to itself"),
    "classes in a file that is not there": (
        "images pics out --encoder pixels --classes names.txt",
        "names.txt does not exist; expected class names, or a file",
    ),
    "classes without texts": (
        "images flat_pics out --encoder pixels --classes a,b",
        "classes need an encoder of images and texts; choose --encoder clip",
    ),
    "empty pattern": ("images flat_pics out --pattern=", "pattern is empty; expected one such as"),
    "a file for the cache": (
        "images flat_pics out --encoder pixels --cache a_file",
        "a_file is a file; give --cache a folder, or --cache none",
    ),
    "nothing to view": ("view nope", "nope"),
    "default OUT": ("vectors nope.npy", "nope.npy does not exist"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.usefixtures("workplace")
def test_a_mistake_is_one_message_and_exit_code_1(
    mistake: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """1 our error (one message: got, expected, where, what to do); nothing is written."""
    command, fragment = MISTAKES[mistake]
    before = _listing(workplace)
    with pytest.raises(SystemExit) as caught:
        main(command.split())
    printed = capsys.readouterr()
    assert caught.value.code == 1
    assert printed.out == ""
    assert printed.err.startswith("projector-export: ")
    assert fragment in printed.err
    assert "Traceback" not in printed.err
    assert printed.err.count("\n") == 1
    assert _listing(workplace) == before


def test_the_same_name_twice_needs_force(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An existing embedding of that name is replaced only with `--force`."""
    quick = ["--umap-dims", "none", "--clusters", "none", "--no-anomalies", "--quiet"]
    command = ["vectors", "good.npy", "out", *quick]
    with pytest.raises(SystemExit) as caught:
        main(command)
    assert caught.value.code in (0, None)
    before = _listing(workplace)
    assert "out/good/tensor.bytes" in before
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(command)
    printed = capsys.readouterr()
    assert caught.value.code == 1
    assert printed.err == (
        "projector-export: out already has an embedding named 'good'; give --force to replace it "
        "or --name for another one\n"
    )
    assert _listing(workplace) == before
    with pytest.raises(SystemExit) as caught:
        main([*command, "--force"])
    assert caught.value.code in (0, None)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("command", "fragment"),
    [
        ("vectors", "Missing argument"),
        ("vectors good.npy out --nonsense", "No such option"),
        ("vectors good.npy out more", "unexpected extra argument"),
        ("vectors good.npy out --seed x", "Invalid value for '--seed'"),
        ("vectors good.npy out --umap-min-dist x", "Invalid value for '--umap-min-dist'"),
        ("vectors good.npy out --thumbnail 0", "Invalid value for '--thumbnail'"),
        ("vectors good.npy out --thumbnail 2000", "Invalid value for '--thumbnail'"),
        ("vectors good.npy out --name", "requires an argument"),
        ("images", "Missing argument"),
        ("export good.npy", "No such command 'export'"),
        ("view --port x", "Invalid value for '--port'"),
    ],
)
def test_wrong_usage_exits_2(
    command: str, fragment: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """2 wrong usage; nothing is written."""
    before = _listing(workplace)
    with pytest.raises(SystemExit) as caught:
        main(command.split())
    printed = capsys.readouterr()
    assert caught.value.code == 2
    assert printed.out == ""
    assert fragment in printed.err
    assert "Traceback" not in printed.err
    assert _listing(workplace) == before


@pytest.mark.parametrize("argv", [["--help"], ["vectors", "--help"], ["images", "--help"]])
def test_help_exits_0(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """0 done; help is output, not an error."""
    with pytest.raises(SystemExit) as caught:
        main(argv)
    printed = capsys.readouterr()
    assert caught.value.code in (0, None)
    assert "Usage: projector-export" in printed.out
    assert printed.err == ""


def test_a_bug_keeps_its_traceback(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error that is not ours is not hidden behind a message."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("projector_export.sources.vectors.read_vectors", broken)
    before = _listing(workplace)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        main(["vectors", "good.npy", "out"])
    assert "projector-export:" not in capsys.readouterr().err
    assert _listing(workplace) == before
