"""A shared page in Firefox: it inflates, redirects and shows there as in Chromium."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from bundles import JAPANESE, add_bookmarks, export_small
from conftest import skip_unless_required
from firefox import NO_WEBGL, Firefox, has_display
from viewer import DEEP, STATE

from projector_export.viewing.sharing.share import share

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shared page with thumbnails."""
    folder = tmp_path_factory.mktemp("shared")
    export_small(folder / "run", "small", n=50, tile_px=16)
    add_bookmarks(folder / "run", "small", {JAPANESE: {"selectedPoints": [4, 2]}})
    share(folder / "run", folder / "page.html", kind="html")
    return folder / "page.html"


@pytest.mark.parametrize("is_drawn", [False, True])
def test_page_loads_its_points_from_disk(page: Path, tmp_path: Path, is_drawn: bool) -> None:
    """No server, no network: points, metadata, sprite, bookmarks and the view of the address."""
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if program is None:
        skip_unless_required("firefox", "no Firefox is installed (Debian: firefox-esr)")
    if is_drawn and not has_display():
        skip_unless_required("firefox_display", "Firefox draws WebGL on a display only (xvfb)")
    target = page
    if not is_drawn:
        target = tmp_path / "page.html"
        text = page.read_text(encoding="utf-8")
        charset = '<meta charset="utf-8">'
        target.write_text(
            text.replace(charset, f"{charset}<script>{NO_WEBGL}</script>", 1), "utf-8"
        )
    with Firefox(str(program), on_display=is_drawn) as firefox:
        firefox.open(f"{target.as_uri()}#view={quote(JAPANESE)}")
        firefox.wait_for(DEEP + "return !!(viewer && viewer.dataSet && viewer.projection);")
        firefox.wait_for(
            "return document.querySelector('[aria-current]')?.textContent ?? '';", timeout_s=10
        )
        state: dict[str, Any] = firefox.run(STATE)
        assert (state["points"], state["placed"], state["dimensions"]) == (50, 50, 6)
        assert state["sprite"]
        assert state["projection"] == "umap"
        assert state["selected"] == [4, 2]
        assert state["metadata"][7]["label"] == "item 7"
        assert JAPANESE in state["bookmarks"]
        assert firefox.run("return document.querySelector('.shared-note').textContent") == ""
        assert (
            firefox.run("return document.querySelector('[aria-current]').textContent") == JAPANESE
        )
