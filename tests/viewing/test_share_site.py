"""A site is plain files: any static web server will do, and texts of the data stay texts."""

from __future__ import annotations

import json
import os
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from bundles import ATTACK, JAPANESE, QUOTES, add_bookmarks, everything_in, export_small

from projector_export.errors import NameTakenError, OptionError, OutputError
from projector_export.projector.read_back import PluginReader
from projector_export.viewing.sharing.share import share as share_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two embeddings, one with thumbnails, one with hostile texts."""
    out = tmp_path_factory.mktemp("share") / "run"
    export_small(out, "pictures", tile_px=8)
    export_small(out, "テキスト", n=30, columns={"label": [ATTACK] * 15 + [JAPANESE] * 15})
    add_bookmarks(out, "テキスト", {ATTACK: {}, QUOTES: {}, JAPANESE: {}})
    return out


class Links(HTMLParser):
    """Collects links with their texts, and pictures."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self.pictures: list[str] = []
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        assert not [name for name in given if name.startswith("on")]
        if tag == "a":
            self.inside = True
            self.links.append((given["href"] or "", ""))
        if tag == "img":
            self.pictures.append(given["src"] or "")

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "a"

    def handle_data(self, data: str) -> None:
        if self.inside:
            href, text = self.links[-1]
            self.links[-1] = (href, text + data)


def test_files_are_what_tensorboard_serves(run: Path, tmp_path: Path) -> None:
    """Each of the viewer's routes has its file, named in the page and in projector_config.json."""
    target = tmp_path / "site"
    share_run(run, target, kind="site")
    reader = PluginReader(run)
    config = json.loads((target / "projector_config.json").read_text(encoding="utf-8"))
    assert [e["tensorName"] for e in config["embeddings"]] == ["pictures", "テキスト"]
    for entry in config["embeddings"]:
        name = entry["tensorName"]
        for key, route in (("tensor", "/tensor"), ("metadata", "/metadata"),
                           ("bookmarks", "/bookmarks")):  # fmt: skip
            assert (target / entry[f"{key}Path"]).read_bytes() == reader.get(route, name)
        assert entry["tensorPath"].endswith(".bytes")  # what tells raw float32 there
    pictures, texts = config["embeddings"]
    assert pictures["sprite"]["singleImageDim"] == [8, 8]
    assert (target / pictures["sprite"]["imagePath"]).is_file()
    assert "sprite" not in texts
    assert "Copyright 2019 The TensorFlow Authors" in (target / "projector.html").read_text("utf-8")
    assert "TERMS AND CONDITIONS" in (target / "LICENSE.tensorboard").read_text("utf-8")
    for path in target.rglob("*"):
        assert path.relative_to(target).as_posix().isascii()


def test_index_shows_a_picture_and_title_a_view(run: Path, tmp_path: Path) -> None:
    """Each view is a link with its picture and its title as text, whatever the title."""
    pytest.importorskip("matplotlib")
    pytest.importorskip("adjustText")
    shared = share_run(run, tmp_path / "site", kind="site")
    page = (tmp_path / "site/index.html").read_text(encoding="utf-8")
    assert ATTACK not in page
    found = Links(page)
    views = [(one.name, title) for one in shared.embeddings for title in one.titles]
    links = [link for link in found.links if "#view=" in link[0]]
    assert [text.strip() for _, text in links] == [title for _, title in views]
    assert links[-2][0] == (
        "projector.html#view=A%20%22quoted%22%20%26%20%27single%27%20%231%20%3Cb%3E100%25%3C%2Fb%3E"
        "&embedding=%E3%83%86%E3%82%AD%E3%82%B9%E3%83%88"
    )
    assert len(found.pictures) == len(views)
    for picture in found.pictures:
        assert (tmp_path / "site" / picture).read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_index_has_titles(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sharing needs no extra; a note says how to get pictures."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    shared = share_run(run, tmp_path / "site", kind="site")
    (warning,) = shared.warnings
    assert "the index has titles only" in warning
    assert "pip install 'projector-export[plots]'" in warning
    found = Links((tmp_path / "site/index.html").read_text(encoding="utf-8"))
    assert found.pictures == []
    assert len([link for link in found.links if "#view=" in link[0]]) > 4


def test_same_input_same_bytes(run: Path, tmp_path: Path) -> None:
    """The same input gives the same bundle bytes, also over an earlier one."""
    share_run(run, tmp_path / "one", kind="site")
    share_run(run, tmp_path / "two", kind="site", names=["pictures"])
    with pytest.raises(NameTakenError, match="give --force to replace it"):
        share_run(run, tmp_path / "two", kind="site")
    share_run(run, tmp_path / "two", kind="site", force=True)
    assert everything_in(tmp_path / "one") == everything_in(tmp_path / "two")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_an_empty_folder_is_filled(run: Path, tmp_path: Path) -> None:
    """What is there already is nothing."""
    (tmp_path / "site").mkdir()
    share_run(run, tmp_path / "site", kind="site")
    assert (tmp_path / "site/index.html").is_file()


def test_a_file_of_the_user_in_it_stays(run: Path, tmp_path: Path) -> None:
    """A site is replaced as a whole, so not where somebody has put a file into it."""
    share_run(run, tmp_path / "site", kind="site")
    (tmp_path / "site/data/CNAME").write_text("example.org", encoding="utf-8")
    with pytest.raises(NameTakenError, match="holds data/CNAME, which is not the site's"):
        share_run(run, tmp_path / "site", kind="site", force=True)
    assert (tmp_path / "site/data/CNAME").is_file()
    assert (tmp_path / "site/index.html").is_file()


@pytest.mark.parametrize("step", [1, 2])
def test_a_failure_leaves_the_old_site(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """While writing, or while the new folder is moved into place."""
    share_run(run, tmp_path / "site", kind="site", names=["pictures"])
    before = everything_in(tmp_path / "site")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    rename = Path.rename
    calls = []

    def rename_once(path: Path, target: Path) -> Path:
        calls.append(path)
        if len(calls) == 2:  # the old one is aside already
            full()
        return rename(path, target)

    if step == 1:
        write = Path.write_bytes
        monkeypatch.setattr(
            Path, "write_bytes", lambda p, b: full() if p.name == "page.js" else write(p, b)
        )
    else:
        monkeypatch.setattr(Path, "rename", rename_once)
    with pytest.raises(OutputError, match=r"No space left on device.*nothing was changed"):
        share_run(run, tmp_path / "site", kind="site", force=True)
    assert everything_in(tmp_path / "site") == before
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_a_site_that_a_killed_run_left_aside_is_put_back(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the two moves; then the next run fails too, and the old site is there."""
    share_run(run, tmp_path / "site", kind="site", names=["pictures"])
    before = everything_in(tmp_path / "site")
    for name in (".site.abcd1234", ".site.mine"):
        (tmp_path / name).mkdir()
    (tmp_path / "site").rename(tmp_path / ".site.abcd1234/old")
    (tmp_path / ".site.mine/old").mkdir()
    write = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if path.name == "page.js":
            raise OSError(28, "No space left on device")
        return write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputError, match="No space left"):
            share_run(run, tmp_path / "site", kind="site")
    assert everything_in(tmp_path / "site") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [".site.mine", "site"]


def test_leftovers_of_killed_runs_go(run: Path, tmp_path: Path) -> None:
    """Once a site is in place; not what is somebody's, nor what a run may be writing now."""
    share_run(run, tmp_path / "site", kind="site", names=["pictures"])
    (tmp_path / ".site.replaced").mkdir()
    shutil.copytree(tmp_path / "site", tmp_path / ".site.replaced/old")
    for name in (".site.stale_00", ".site.writing0", ".site.foreign0", ".site.notours0"):
        (tmp_path / name / "new").mkdir(parents=True)
    (tmp_path / ".site.foreign0/old").mkdir()
    (tmp_path / ".site.foreign0/old/mine.txt").write_text("mine", encoding="utf-8")
    (tmp_path / ".site.notours0/notes").mkdir()
    for name in (".site.stale_00", ".site.foreign0", ".site.notours0"):
        os.utime(tmp_path / name, (0, 0))
    share_run(run, tmp_path / "site", kind="site", force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".site.foreign0", ".site.notours0", ".site.writing0", "site"
    ]  # fmt: skip


def test_base_url_makes_whole_addresses(run: Path, tmp_path: Path) -> None:
    """projector.tensorflow.org takes relative paths as its own, so a config needs whole ones."""
    url = "https://example.org/share/"
    share_run(run, tmp_path / "site", kind="site", base_url=url)
    config = json.loads((tmp_path / "site/projector_config.json").read_text(encoding="utf-8"))
    first = config["embeddings"][0]
    assert first["tensorPath"] == "https://example.org/share/data/0/tensor.bytes"
    assert first["sprite"]["imagePath"].startswith("https://example.org/share/data/0/sprite.")
    for kind, wrong in (("html", url), ("site", "example.org")):
        with pytest.raises(OptionError, match="base_url is"):
            share_run(run, tmp_path / "x", kind=kind, base_url=wrong)  # type: ignore[arg-type]
