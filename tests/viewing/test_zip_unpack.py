"""No path in an archive leads out of the folder that it is unpacked to."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest
from bundles import export_small

from projector_export.errors import DataError, InputNotFoundError
from projector_export.viewing.sharing import zip_file
from projector_export.viewing.sharing.share import share as share_run
from projector_export.viewing.sharing.zip_file import unpacked

CONFIG = b'embeddings { tensor_name: "e" tensor_path: "e/t.tsv" }'


def pack(path: Path, entries: dict[str, bytes]) -> Path:
    """Write a zip file with these names as they are."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            entry = zipfile.ZipInfo("placeholder")
            entry.filename = name  # not made harmless, as the constructor would
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return path


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../evil", "leads elsewhere"),
        ("run/../../evil", "leads elsewhere"),
        ("run/..", "leads elsewhere"),
        ("./evil", "leads elsewhere"),
        ("run//evil", "leads elsewhere"),
        ("/tmp/evil", "path is absolute"),
        ("//server/evil", "path is absolute"),
        ("C:/evil", "path is absolute"),
        ("c:evil", "path is absolute"),
        ("run\\..\\..\\evil", "characters that lead elsewhere"),
        ("run/evil:stream", "leads elsewhere"),
        ("run/evil\n", "characters that lead elsewhere"),
        ("run/evil\0.png", "characters that lead elsewhere"),
    ],
)
def test_paths_that_lead_out_are_refused(tmp_path: Path, name: str, why: str) -> None:
    """`..`, absolute paths, drive letters, backslashes; and nothing at all is unpacked."""
    file = pack(tmp_path / "evil.zip", {"run/projector_config.pbtxt": CONFIG, name: b"x"})
    with pytest.raises(DataError, match=f"{why}.*nothing was unpacked"), unpacked(file):
        pytest.fail("it was unpacked")
    assert [path.name for path in tmp_path.iterdir()] == ["evil.zip"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    """An entry that says it is a link, and so on."""
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        entry = zipfile.ZipInfo("run/link")
        entry.external_attr = (kind | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(DataError, match="link or a device"), unpacked(tmp_path / "evil.zip"):
        pytest.fail("it was unpacked")


def test_the_same_path_twice_is_refused(tmp_path: Path) -> None:
    """What is checked must be what is unpacked."""
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("run/a", "1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("run/a", "2")
    with pytest.raises(DataError, match="there twice"), unpacked(tmp_path / "evil.zip"):
        pytest.fail("it was unpacked")


def test_a_path_below_a_file_is_refused(tmp_path: Path) -> None:
    """`run/a` and `run/a/b` cannot both be; also where case makes no difference."""
    file = pack(tmp_path / "evil.zip", {"run/a": b"1", "run/a/b": b"2"})
    with pytest.raises(Exception, match="cannot be unpacked"), unpacked(file):
        pytest.fail("it was unpacked")


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Far more than a run has, or far more than the file could honestly hold."""
    bomb = pack(tmp_path / "bomb.zip", {"run/zeros": bytes(150_000_000)})
    with pytest.raises(DataError, match="more than 200 times its own size"), unpacked(bomb):
        pytest.fail("it was unpacked")
    monkeypatch.setattr(zip_file, "MAX_BYTES", 1_000_000)
    with pytest.raises(DataError, match="a run has at most 1,000,000"), unpacked(bomb):
        pytest.fail("it was unpacked")
    many = pack(tmp_path / "many.zip", {f"run/{i}": b"" for i in range(11)})
    monkeypatch.setattr(zip_file, "MAX_ENTRIES", 10)
    with pytest.raises(DataError, match="has 11 entries; a run has at most 10"), unpacked(many):
        pytest.fail("it was unpacked")


def test_a_size_that_lies_is_found(tmp_path: Path) -> None:
    """An entry that holds more than it says does not get the rest onto the disk."""
    file = pack(tmp_path / "lie.zip", {"run/a": b"x" * 5_000})
    content = file.read_bytes()
    size = (5_000).to_bytes(4, "little")
    assert content.count(size) == 2
    file.write_bytes(content.replace(size, (10).to_bytes(4, "little")))
    with pytest.raises(DataError, match="cannot be unpacked"), unpacked(file):
        pytest.fail("it was unpacked")


@pytest.mark.parametrize(
    "config",
    [
        b'embeddings { tensor_name: "e" tensor_path: "/etc/passwd" }',
        b'embeddings { tensor_name: "e" tensor_path: "t" metadata_path: "../../../etc/passwd" }',
        b'embeddings { tensor_name: "e" tensor_path: "t" sprite { image_path: "../x.png" } }',
        b'model_checkpoint_path: "/var/model"',
    ],
)
def test_a_config_that_names_other_files_is_refused(tmp_path: Path, config: bytes) -> None:
    """TensorBoard before 2.21 would show files of this machine."""
    file = pack(tmp_path / "evil.zip", {"run/projector_config.pbtxt": config})
    with pytest.raises(DataError, match="which is not in it; nothing is shown"), unpacked(file):
        pytest.fail("it was unpacked")


def test_what_is_no_zip_file_is_told(tmp_path: Path) -> None:
    """Missing, another thing, cut, encrypted."""
    with pytest.raises(InputNotFoundError, match="does not exist"), unpacked(tmp_path / "a.zip"):
        pass
    (tmp_path / "text.zip").write_text("no zip", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be unpacked"), unpacked(tmp_path / "text.zip"):
        pass
    export_small(tmp_path / "run")
    share_run(tmp_path / "run", tmp_path / "run.zip", kind="zip")
    content = bytearray((tmp_path / "run.zip").read_bytes())
    (tmp_path / "cut.zip").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="cannot be unpacked"), unpacked(tmp_path / "cut.zip"):
        pass
    content[200:210] = bytes(10)
    (tmp_path / "damaged.zip").write_bytes(content)
    with pytest.raises(DataError, match="cannot be unpacked"), unpacked(tmp_path / "damaged.zip"):
        pass
