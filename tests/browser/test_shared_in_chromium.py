"""Shared bundles, as those who get them see them: real Chromium, no TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from bundles import ATTACK, JAPANESE, QUOTES, add_bookmarks, export_small
from shared_page import LOADED, SHOWN, SharedPage, serve
from viewer import DEEP

from projector_export.cli import main
from projector_export.viewing.sharing.share import share

pytestmark = [
    pytest.mark.browser,
    # torch and open_clip deprecate things of one another on import.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

TITLE = "Near duplicates"
WATCH_COPIES = """() => {
  window.copied = [];
  document.addEventListener('copy', () => copied.push(document.activeElement.value));
  navigator.clipboard.writeText = (text) => Promise.reject(copied.push(text));
}"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's run, with a second embedding whose texts are hostile."""
    pytest.importorskip("open_clip")
    out = tmp_path_factory.mktemp("logs") / "demo"
    with pytest.raises(SystemExit) as done:
        main(["demo", str(out), "--no-serve", "--quiet"])
    assert done.value.code == 0
    return out


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two embeddings, one of them with hostile texts."""
    out = tmp_path_factory.mktemp("two") / "run"
    export_small(out, "first", n=60, tile_px=8)
    labels = [ATTACK, QUOTES, JAPANESE] + [f"item {i}" for i in range(37)]
    export_small(out, "第二", n=40, columns={"label": labels, ATTACK: ["x", "y"] * 20})
    bookmarks = {
        ATTACK: {"selectedPoints": [0, 1, 2]},
        QUOTES: {"selectedPoints": [1], "selectedColorOptionName": "cluster"},
        JAPANESE: {"selectedPoints": [2, 3]},
        "all selected": {"selectedPoints": list(range(40))},
        "ten alone": {"filteredPoints": list(range(20, 30)), "selectedPoints": [3]},
    }
    add_bookmarks(out, "第二", bookmarks)
    return out


@pytest.fixture(scope="module")
def addresses(two: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """That run as a file, and as a site under Python's own web server."""
    folder = tmp_path_factory.mktemp("shared")
    share(two, folder / "two.html", kind="html")
    share(two, folder / "two", kind="site")
    with serve(folder / "two") as address:
        yield {"html": (folder / "two.html").as_uri(), "site": f"{address}/projector.html"}


def test_the_demo_opens_from_disk_without_a_network(
    run: Path, tmp_path: Path, chromium: Any
) -> None:
    """At most 6 MB; points, sprite and bookmarks present; no page error, no request leaves."""
    target = tmp_path / "demo of digits.html"
    shared = share(run, target, kind="html")
    assert shared.size_bytes <= 6_000_000
    page = SharedPage(chromium, target.as_uri())
    page.wait_for(LOADED)
    state = page.state()
    assert (state["points"], state["dimensions"]) == (1797, 64)
    assert state["sprite"]
    assert state["bookmarks"] == list(shared.embeddings[0].titles)
    assert state["metadata"][0]["path"] == "zero/digit_0000.png"
    assert state["projection"] == "pca"
    page.close()
    view = SharedPage(chromium, f"{target.as_uri()}#view={quote(TITLE)}")
    assert view.wait_until_shown(TITLE) < 10
    state = view.state()
    assert state["projection"] == "umap"
    assert state["placed"] == 1797
    assert state["color_by"] == "nearest_angle"
    assert len(state["selected"]) == 60
    view.close()


@pytest.mark.parametrize("kind", ["html", "site"])
@pytest.mark.parametrize("title", [JAPANESE, QUOTES, ATTACK])
def test_an_address_opens_its_view(
    addresses: dict[str, str], chromium: Any, kind: str, title: str
) -> None:
    """`#view=` opens the view within 10 s, also of the embedding that is not the first."""
    selected = {JAPANESE: [2, 3], QUOTES: [1], ATTACK: [0, 1, 2]}[title]
    for hash_ in (
        f"#view={quote(title, safe='')}",
        f"#embedding={quote('第二')}&view={quote(title, safe='')}",
    ):
        page = SharedPage(chromium, addresses[kind] + hash_)
        assert page.wait_until_shown(title) < 10
        state = page.state()
        assert state["points"] == state["placed"] == 40
        assert state["selected"] == selected
        assert state["label_by"] == "label"
        assert page.run("return data.selectedTensor") == "第二"
        assert page.page.inner_text("[aria-current]") == title
        page.close()


@pytest.mark.parametrize("kind", ["html", "site"])
def test_all_embeddings_are_there(addresses: dict[str, str], chromium: Any, kind: str) -> None:
    """Links, the address and the viewer's own list change the embedding; each has its own data."""
    page = SharedPage(chromium, addresses[kind])
    page.wait_for(LOADED)
    assert page.run("return data.tensorNames.map(t => t.name)") == ["first", "第二"]
    state = page.state()
    assert (state["points"], state["sprite"]) == (60, True)
    page.page.click(f"text={JAPANESE}")
    page.wait_until_shown(JAPANESE)
    state = page.state()
    assert (state["points"], state["sprite"]) == (40, False)
    assert [m["label"] for m in state["metadata"][:3]] == [ATTACK, QUOTES, JAPANESE]
    assert state["bookmarks"][-5:] == [ATTACK, QUOTES, JAPANESE, "all selected", "ten alone"]
    page.run("data.selectedTensor = 'first'")
    page.wait_for(DEEP + "return viewer.dataSet && viewer.dataSet.points.length === 60;")
    page.page.wait_for_timeout(500)
    assert "all selected" not in page.state()["bookmarks"]
    page.page.evaluate(f"location.hash = '#embedding={quote('第二')}&view=ten%20alone'")
    page.wait_until_shown("ten alone")
    assert page.state()["points"] == 10
    page.page.go_back()
    page.page.evaluate("location.hash = '#embedding=nothing'")
    page.wait_for("return !!document.querySelector('.shared-note').textContent;")
    assert page.note() == "There is no embedding “nothing” here."
    page.close()


def test_of_addresses_in_a_row_the_last_one_is_shown(
    addresses: dict[str, str], chromium: Any
) -> None:
    """Answers for an embedding that is not wanted any more do not come in between."""
    page = SharedPage(chromium, addresses["html"])
    views = [
        f"#embedding={quote('第二')}&view=all%20selected",
        "#embedding=first",
        f"#view={quote(JAPANESE)}",
        "#embedding=first&view=UMAP%202D%20by%20cluster",
    ]
    for delay, view in enumerate(views):
        page.page.evaluate(f"setTimeout(() => (location.hash = {json.dumps(view)}), {delay * 40})")
    page.wait_for(SHOWN % json.dumps("UMAP 2D by cluster"))
    page.page.wait_for_timeout(1000)
    state = page.state()
    assert state["points"] == 60
    assert page.run("return data.selectedTensor") == "first"
    assert len(state["bookmarks"]) == len(set(state["bookmarks"]))
    page.close()


def test_a_view_of_few_points_opens_while_many_are_selected(
    addresses: dict[str, str], chromium: Any
) -> None:
    """The viewer itself breaks there: it selects as many points as before, which are not shown."""
    page = SharedPage(chromium, f"{addresses['html']}#view=all%20selected")
    page.wait_until_shown("all selected")
    for title, points, selected in (
        ("ten alone", 10, [3]),
        ("all selected", 40, list(range(40))),
        ("ten alone", 10, [3]),
        (JAPANESE, 40, [2, 3]),
    ):
        page.page.click(f"#shared-bar >> text={title}")
        page.wait_until_shown(title)
        state = page.state()
        assert (state["points"], state["selected"]) == (points, selected)
    # The viewer's own list has the same cure.
    page.run("bookmarks.loadSavedState(bookmarks.savedStates.length - 2)")
    page.run("bookmarks.loadSavedState(bookmarks.savedStates.length - 1)")
    assert page.state()["points"] == 10
    assert page.page.inner_text("[aria-current]") == "ten alone"
    assert "view=ten%20alone" in page.page.url
    page.close()


@pytest.mark.parametrize("kind", ["html", "site"])
def test_texts_of_the_data_run_nowhere(addresses: dict[str, str], chromium: Any, kind: str) -> None:
    """Hovered, selected, searched for, edited and coloured by: nothing runs, the texts show."""
    page = SharedPage(chromium, f"{addresses[kind]}#view={quote(ATTACK)}")
    page.wait_until_shown(ATTACK)
    page.run("viewer.notifySelectionChanged([]); viewer.notifyHoverOverPoint(0);")
    page.page.wait_for_timeout(200)
    assert ATTACK in page.run("return viewer.statusBar.innerText")
    page.run("viewer.notifyHoverOverPoint(null); viewer.notifySelectionChanged([0]);")
    page.page.wait_for_timeout(300)
    card = "return deep(document, 'vz-projector-metadata-card', [])[0].shadowRoot.textContent"
    assert ATTACK in page.run(card)
    page.run(f"data.selectedColorOptionName = {json.dumps(ATTACK)}")
    page.run(f"data.selectedLabelOption = {json.dumps(ATTACK)}")
    page.run("data.selectedLabelOption = 'label'; data.metadataEditorColumn = 'label'")
    page.run("viewer.projectorScatterPlotAdapter.set3DLabelMode(true)")
    page.page.wait_for_timeout(500)
    list_ = "return deep(document, 'vz-projector-inspector-panel', [])[0].shadowRoot.textContent"
    page.run("viewer.notifySelectionChanged([0, 1, 2])")
    page.page.wait_for_timeout(300)
    for text in (ATTACK, QUOTES, JAPANESE):
        assert text in page.run(list_)
        assert text in page.page.inner_text("#shared-bar")
    images = "return deep(document, 'img, b', []).map(e => e.outerHTML)"
    assert [e for e in page.run(images) if "onerror" in e or "100%" in e] == []
    page.close()
    if kind == "site":
        index = SharedPage(chromium, addresses[kind].replace("projector.html", "index.html"))
        assert ATTACK in index.page.inner_text("body")
        index.page.click(f"text={JAPANESE}")
        index.wait_until_shown(JAPANESE)
        index.close()


def test_the_bar_covers_nothing_folds_and_copies(addresses: dict[str, str], chromium: Any) -> None:
    """The viewer lies below the bar, takes its place when folded, and a link can be copied."""
    page = SharedPage(chromium, addresses["html"])
    page.wait_for(LOADED)
    box = "e => { const b = e.getBoundingClientRect(); return [b.top, b.bottom] }"

    def places() -> list[list[float]]:
        page.page.wait_for_timeout(200)
        parts = [page.page.query_selector(s) for s in ("#shared-bar", "#shared-stage")]
        canvas = page.run("const b = viewer.shadowRoot.querySelector('#scatter canvas')"
                          ".getBoundingClientRect(); return [b.top, b.bottom]")  # fmt: skip
        return [*(part.evaluate(box) for part in parts), canvas]

    bar, stage, canvas = places()
    assert bar == [0, 40]
    assert stage == [40, 900]
    assert 40 <= canvas[0] < canvas[1] == 900
    page.page.click('[aria-label="Fold this bar"]')
    bar, stage, folded_canvas = places()
    assert bar[1] == stage[0] < 20
    assert folded_canvas[0] < canvas[0]
    assert folded_canvas[1] == 900
    page.page.click('[aria-label="Show the views"]')
    assert places()[0] == [0, 40]
    page.page.click(f"#shared-bar >> text={JAPANESE}")
    page.wait_until_shown(JAPANESE)
    page.page.evaluate(WATCH_COPIES)
    page.page.click("text=Copy link")
    page.page.wait_for_timeout(300)
    link = f"{addresses['html']}#view={quote(JAPANESE)}&embedding={quote('第二')}"
    assert page.page.evaluate("copied") == [link, link]
    again = SharedPage(chromium, link)
    again.wait_until_shown(JAPANESE)
    again.close()
    page.page.click('[aria-label="About this page"]')
    assert "Apache License" in page.page.inner_text("#shared-about")
    page.close()


def test_a_large_view_opens_without_computing_pca(tmp_path: Path, chromium: Any) -> None:
    """A finished layout is shown at once; PCA is computed when its tab is chosen."""
    import numpy as np
    from bundles import SETTINGS

    from projector_export import Points, export_points

    vectors = np.random.default_rng(0).standard_normal((6_000, 400)).astype(np.float32)
    export_points(Points(vectors, name="large"), tmp_path / "run", settings=SETTINGS)
    shared = share(tmp_path / "run", tmp_path / "large.html", kind="html")
    title = shared.embeddings[0].titles[0]
    page = SharedPage(chromium, f"{(tmp_path / 'large.html').as_uri()}#view={quote(title)}")
    page.wait_until_shown(title, timeout_s=30)
    state = page.state()
    assert state["points"] == state["placed"] == 6_000
    assert not page.run("return !!viewer.dataSet.projections['pca-0']")
    page.run("viewer.projectionsPanel.showTab('pca')")
    page.wait_for(DEEP + "return viewer.projection && viewer.projection.projectionType === 'pca';")
    page.close()


def test_a_site_opened_from_disk_says_what_it_needs(
    two: Path, tmp_path: Path, chromium: Any
) -> None:
    """Browsers read no files beside a page from disk; the page says so."""
    share(two, tmp_path / "two", kind="site")
    page = SharedPage(chromium, (tmp_path / "two/projector.html").as_uri())
    page.page.wait_for_timeout(1500)
    assert "only from a web server: python -m http.server" in page.page.inner_text("body")
    page.context.close()


def test_damaged_data_are_told(addresses: dict[str, str], tmp_path: Path, chromium: Any) -> None:
    """A page that was cut or changed on its way says that it cannot be shown."""
    text = Path(addresses["html"].removeprefix("file://")).read_text(encoding="utf-8")
    start = text.index('data-part="0-tensor">') + len('data-part="0-tensor">')
    damaged = text[: start + 40] + "A" * 40 + text[start + 80 :]
    (tmp_path / "damaged.html").write_text(damaged, encoding="utf-8")
    page = SharedPage(chromium, (tmp_path / "damaged.html").as_uri())
    page.wait_for("return !!document.querySelector('.shared-note').textContent;")
    assert page.note().startswith("This page cannot be shown:")
    page.context.close()


def test_the_public_projectors_own_reader_opens_the_config(
    two: Path, tmp_path: Path, chromium: Any
) -> None:
    """projector_config.json is what the viewer reads for `?config=` (its mode `demo`)."""
    with serve(tmp_path / "two") as address:
        share(two, tmp_path / "two", kind="site", base_url=address)
        (tmp_path / "two/public.html").write_text(
            "<!doctype html><html><body style='height:100vh;margin:0'>"
            "<vz-projector-app serving-mode=demo projector-config-json-path=no.json>"
            "</vz-projector-app><script src=projector_binary.js></script></body></html>",
            encoding="utf-8",
        )
        config = f"{address}/projector_config.json"
        page = SharedPage(chromium, f"{address}/public.html?config={config}")
        page.wait_for(LOADED)
        page.page.wait_for_timeout(500)
        state = page.state()
        assert (state["points"], state["sprite"]) == (60, True)
        assert page.run("return data.tensorNames.map(t => t.name)") == ["first", "第二"]
        assert "UMAP 2D by cluster" in state["bookmarks"]
        page.context.close()
        assert [e for e in page.errors if "404" not in e] == []
