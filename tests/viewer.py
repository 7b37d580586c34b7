"""Read the state of the projector's page through its shadow roots."""

from __future__ import annotations

import json
from typing import Any

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
DEEP = """
function deep(root, selector, found) {
  root.querySelectorAll('*').forEach(e => {
    if (e.matches(selector)) found.push(e);
    if (e.shadowRoot) deep(e.shadowRoot, selector, found);
  });
  return found;
}
const viewer = deep(document, 'vz-projector', [])[0];
const bookmarks = deep(document, 'vz-projector-bookmark-panel', [])[0];
const data = deep(document, 'vz-projector-data-panel', [])[0];
"""
READY = DEEP + "return !!(viewer && viewer.dataSet && viewer.dataSet.projections['pca-0']);"
STATE = (
    DEEP
    + """
const points = viewer.dataSet.points;
const keys = viewer.umapKeys || ['umap-0', 'umap-1'];
return {
  points: points.length,
  dimensions: viewer.dim,
  projection: viewer.projection && viewer.projection.projectionType,
  placed: points.filter(p => Number.isFinite(p.projections['umap-0'])
                          && Number.isFinite(p.projections['umap-1'])).length,
  coordinates: points.map(p => [p.projections['umap-0'], p.projections['umap-1']]),
  metadata: points.map(p => p.metadata),
  bookmarks: (bookmarks.savedStates || []).map(s => s.label),
  color_by: viewer.selectedColorOption && viewer.selectedColorOption.name,
  color_options: data.colorOptions.map(c => c.name),
  label_by: viewer.selectedLabelOption,
  selected: viewer.selectedPointIndices,
  sprite: !!(viewer.dataSet.spriteAndMetadataInfo
             && viewer.dataSet.spriteAndMetadataInfo.spriteImage),
};
"""
)
SELECT_RUN = DEEP + "\ndata.selectedRun = %s;"
RUN_READY = (
    DEEP
    + """
return viewer.dataSet && data.selectedRun === %s && !!viewer.dataSet.projections['pca-0']
  && viewer.dataSet !== window.formerDataSet;
"""
)
SEQUENCES = DEEP + "return viewer.dataSet.sequences.map(s => s.pointIndices);"
OPEN = (
    DEEP
    + """
bookmarks.loadSavedState(bookmarks.savedStates.findIndex(s => s.label === %s));
"""
)


class ProjectorPage:
    """A projector page in a browser."""

    def __init__(self, browser: Any, url: str) -> None:
        self.errors: list[str] = []
        self.page = browser.new_page(viewport={"width": 1500, "height": 900})
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(url)
        self.page.wait_for_function("() => {" + READY + "}", timeout=120_000)

    def select_run(self, run: str) -> None:
        """Choose a run in the data panel, and wait until its points are there."""
        self.page.evaluate("() => {" + DEEP + "window.formerDataSet = viewer.dataSet; }")
        if self.page.evaluate("() => {" + DEEP + "return data.selectedRun}") == run:
            return
        self.page.evaluate("() => {" + SELECT_RUN % json.dumps(run) + "}")
        ready = "() => {" + RUN_READY % json.dumps(run) + "}"
        self.page.wait_for_function(ready, timeout=120_000)

    def sequences(self) -> list[list[int]]:
        """Return the rows of each line that the viewer draws."""
        found: list[list[int]] = self.page.evaluate("() => {" + SEQUENCES + "}")
        return found

    def open_bookmark(self, title: str) -> None:
        """Click a bookmark, and wait until it is drawn."""
        self.page.evaluate("() => {" + OPEN % json.dumps(title) + "}")
        self.page.wait_for_timeout(1500)

    def state(self) -> dict[str, Any]:
        """Return what the viewer holds."""
        state: dict[str, Any] = self.page.evaluate("() => {" + STATE + "}")
        return state

    def close(self) -> None:
        """Close the page."""
        self.page.close()


def projector_url(port: int) -> str:
    """Return the address of the projector's own page in a TensorBoard."""
    return f"http://127.0.0.1:{port}/data/plugin/projector/projector_binary.html"
