"""One HTML file has all that the viewer asks for, and nothing that asks elsewhere."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from bundles import ATTACK, JAPANESE, QUOTES, add_bookmarks, export_small, facts_of, parts_of
from PIL import Image

from projector_export.errors import InputNotFoundError, NameTakenError, OptionError, OutputError
from projector_export.projector.read_back import PluginReader
from projector_export.viewing.sharing import html_page, share, targets
from projector_export.viewing.sharing.share import share as share_run
from projector_export.viewing.sharing.viewer_page import json_in_html


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two embeddings, one with thumbnails, one with hostile texts."""
    out = tmp_path_factory.mktemp("share") / "run"
    export_small(out, "pictures", tile_px=8)
    export_small(out, "texts", n=30, columns={"label": [ATTACK] * 15 + [JAPANESE] * 15})
    add_bookmarks(out, "texts", {ATTACK: {}, QUOTES: {}, JAPANESE: {}})
    return out


@pytest.fixture(scope="module")
def page(run: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The page made of it."""
    target = tmp_path_factory.mktemp("page") / "page.html"
    share_run(run, target, kind="html")
    return target.read_bytes()


class Elements(HTMLParser):
    """Collects elements as a browser would see them."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page.decode("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_page_holds_exactly_what_tensorboard_serves(run: Path, page: bytes) -> None:
    """All embeddings of the run: tensors bit by bit, metadata and bookmarks byte by byte."""
    reader, parts = PluginReader(run), parts_of(page)
    facts = facts_of(page)
    assert [one["name"] for one in facts["embeddings"]] == ["pictures", "texts"]
    for number, one in enumerate(facts["embeddings"]):
        planes = np.frombuffer(parts[f"{number}-tensor"], np.uint8).reshape(4, -1)
        assert planes.T.tobytes() == reader.get("/tensor", one["name"])
        assert parts[f"{number}-metadata"] == reader.get("/metadata", one["name"])
        assert parts[f"{number}-bookmarks"] == reader.get("/bookmarks", one["name"])
    assert facts["embeddings"][1]["views"][-3:] == [ATTACK, QUOTES, JAPANESE]
    assert "1-sprite_image" not in parts


def test_small_thumbnails_lose_nothing(run: Path, page: bytes) -> None:
    """A sprite that is small is the same picture, pixel by pixel, where it can be seen."""
    with Image.open(io.BytesIO(parts_of(page)["0-sprite_image"])) as image:
        shared = np.asarray(image.convert("RGBA"))
    with Image.open(run / "pictures/sprite.png") as image:
        meant = np.asarray(image.convert("RGBA"))
    np.testing.assert_array_equal(shared[..., 3], meant[..., 3])
    seen = meant[..., 3] > 0
    np.testing.assert_array_equal(shared[seen], meant[seen])


def test_viewer_is_tensorboards_own_with_licence_and_notice(page: bytes) -> None:
    """The real projector of the installed package; its Apache licence and notice included."""
    import tensorboard.plugins.projector as plugin

    folder = Path(next(iter(plugin.__path__))) / "tf_projector_plugin"
    assert parts_of(page)["viewer"] == (folder / "projector_binary.js").read_bytes()
    text = page.decode("utf-8")
    assert "Copyright 2019 The TensorFlow Authors" in text
    assert "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION" in text
    assert "com_google_fonts_roboto" in text  # all of what tensorboard is licensed with
    assert "changed by projector-export" in text


def test_page_names_nothing_outside_of_itself(page: bytes) -> None:
    """No font, script, style or picture is fetched from anywhere."""
    text = page.decode("utf-8")
    assert "@font-face" not in text
    assert "url(" not in text
    for tag, attributes in Elements(page).found:
        assert tag not in ("iframe", "object", "embed", "base", "img")
        for name in ("src", "href", "action"):
            assert (attributes.get(name) or "data:,") == "data:,", (tag, attributes)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert "default-src &#x27;none&#x27;" in policy
    assert "connect-src blob:;" in policy
    assert "unsafe-inline" not in policy.split("style-src")[0]


def test_texts_of_the_data_become_no_elements(page: bytes) -> None:
    """Labels and titles with markup: JSON in a script element escapes what could end it."""
    tags = [tag for tag, _ in Elements(page).found]
    assert tags.count("script") == len(parts_of(page)) + 2
    assert ATTACK not in page.decode("utf-8")
    assert b"\xe2\x80\xa8" not in json_in_html("a\u2028b</script>").encode()
    assert json_in_html("a\u2028b</script>") == '"a\\u2028b\\u003c/script\\u003e"'


def test_same_input_same_bytes_and_force_replaces(run: Path, page: bytes, tmp_path: Path) -> None:
    """The same input gives the same bundle bytes; an earlier bundle is replaced with force only."""
    target = tmp_path / "page.html"
    shared = share_run(run, target, kind="html")
    assert target.read_bytes() == page
    assert shared.size_bytes == len(page)
    with pytest.raises(NameTakenError, match="give --force to replace it"):
        share_run(run, target, kind="html")
    share_run(run, target, kind="html", names=["texts"], force=True)
    assert [one["name"] for one in facts_of(target.read_bytes())["embeddings"]] == ["texts"]
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.parametrize("kind", ["html", "zip", "site"])
def test_what_is_no_bundle_is_never_replaced(run: Path, tmp_path: Path, kind: str) -> None:
    """Not with force either: neither a file, nor a folder, nor a link."""
    file, folder, link = tmp_path / "file", tmp_path / "folder", tmp_path / "link"
    file.write_text("mine", encoding="utf-8")
    folder.mkdir()
    (folder / "mine").write_text("mine", encoding="utf-8")
    link.symlink_to(file)
    for target in (file, folder, link):
        with pytest.raises(NameTakenError, match="choose another TARGET"):
            share_run(run, target, kind=kind, force=True)  # type: ignore[arg-type]
    assert file.read_text(encoding="utf-8") == "mine"
    assert (folder / "mine").is_file()
    with pytest.raises(OutputError, match="no folder that can be written to"):
        share_run(run, tmp_path / "missing" / "target", kind=kind)  # type: ignore[arg-type]


def test_a_failure_leaves_the_old_page(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written beside and moved into place: a full disk changes nothing."""
    target = tmp_path / "page.html"
    share_run(run, target, kind="html", names=["texts"])
    before = target.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(targets.os, "fsync", full)
    with pytest.raises(OutputError, match=r"No space left on device.*nothing was changed"):
        share_run(run, target, kind="html", force=True)
    assert target.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_large_pages_are_told(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes over a stated limit warn and suggest a site."""
    assert html_page.LIMIT_BYTES == 60_000_000
    shared = share_run(run, tmp_path / "a.html", kind="html")
    assert shared.warnings == ()
    monkeypatch.setattr(share, "LIMIT_BYTES", 100_000)
    shared = share_run(run, tmp_path / "b.html", kind="html")
    assert "--as site is better" in shared.warnings[0]


def test_long_parts_lie_in_pieces(
    run: Path, page: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No element holds more than a browser takes for one text; together they are the same."""
    monkeypatch.setattr(html_page, "_PIECE_BYTES", 40_000)
    share_run(run, tmp_path / "page.html", kind="html")
    split = (tmp_path / "page.html").read_bytes()
    assert split.count(b'data-part="viewer"') > 10
    assert parts_of(split) == parts_of(page)


def test_only_some_embeddings_and_views(run: Path, tmp_path: Path) -> None:
    """--name and --view choose; unknown ones are told with those that there are."""
    shared = share_run(run, tmp_path / "a.html", kind="html", views=[JAPANESE], names=["texts"])
    assert [one.titles for one in shared.embeddings] == [(JAPANESE,)]
    assert parts_of((tmp_path / "a.html").read_bytes())["0-bookmarks"].count(b'"label": ') == 1
    with pytest.raises(OptionError, match=r"no embedding 'other'; it has: pictures, texts"):
        share_run(run, tmp_path / "b.html", kind="html", names=["other"])
    with pytest.raises(OptionError, match=r"no view 'other'; it has: .*UMAP 2D by cluster"):
        share_run(run, tmp_path / "b.html", kind="html", views=["other"])
    with pytest.raises(InputNotFoundError, match=r"name one of the runs in it \(run\)"):
        share_run(run.parent, tmp_path / "b.html", kind="html")
    with pytest.raises(OptionError, match="kind is 'pdf'; expected html, site, zip"):
        share_run(run, tmp_path / "b.html", kind="pdf")  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]
