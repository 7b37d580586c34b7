"""Change an export that exists: some files anew, the others kept; whole or not at all.

A running TensorBoard shows new bookmarks and metadata when its page is loaded again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from projector_export.analysis.neighbors import prepare_vectors
from projector_export.errors import OptionError
from projector_export.projector.bookmarks import render_bookmarks, render_states
from projector_export.projector.exports import Export
from projector_export.projector.log_dir import Staging
from projector_export.projector.metadata import viewer_names
from projector_export.projector.placing import Placer, ViewSize, isolation_notes
from projector_export.projector.read_back import read_back
from projector_export.projector.viewer_points import SOURCE_ROW, ViewerPoints
from projector_export.projector.views import View, check_titles
from projector_export.sources.coordinates import read_coordinates


def rewrite_export(
    export: Export, changed: Mapping[str, bytes], *, facts: Mapping[str, Any] | None = None
) -> list[str]:
    """Replace some files of an export.

    The other files are kept as they are (hard links where the file system has them), all of it is
    read back through TensorBoard's own plugin, and then moved into place as a new export is.

    Args:
        export: what to change.
        changed: new contents by file name, such as `bookmarks.json`.
        facts: what the manifest is to say anew.

    Returns:
        Warnings about other embeddings of the run.

    Raises:
        OutputError: the disk refuses.
        NameTakenError: another process has changed the export since it was opened.
        ReadBackError: TensorBoard's plugin does not give back what was written.
    """
    manifest = {k: v for k, v in export.manifest.items() if k not in ("made_by", "files")}
    # The config points into a hidden folder where the last writer was killed.
    embedding = replace(export.embedding, folder=export.name)
    with Staging(export.out, export.name) as staging:
        for file in export.manifest.get("files", {}):
            if file not in changed and Path(file).name == file:  # a manifest may come from anywhere
                staging.keep(export.folder / file)
        for file, content in changed.items():
            staging.write(file, content)
        staging.write_config(embedding)
        read_back(staging.run, embedding, export.vectors)
        staging.write_manifest({**manifest, **(facts or {})})
        return staging.commit(embedding, force=True, replaces=export.manifest)


def viewer_points(export: Export) -> ViewerPoints:
    """Return the points of an export, with vectors in which distance means nearness.

    These are the viewer's own, brought to unit length for the cosine metric; where the viewer got
    principal components, these already stand for vectors of unit length.
    """
    reduced = "variance_kept" in export.manifest.get("view", {})
    metric = export.manifest.get("settings", {}).get("metric", "cosine")
    vectors = export.vectors if reduced else prepare_vectors(export.vectors, metric)
    return ViewerPoints(export.columns, vectors)


def add_views(export: Export, views: Sequence[View]) -> list[str]:
    """Add bookmarks to those that an export has, behind them.

    Returns:
        What the user should know.

    Raises:
        OptionError: a title is taken, or a view cannot be made; nothing is changed.
    """
    check_titles(views)
    taken = {str(state["label"]) for state in export.states}
    for view in views:
        if view.title in taken:
            raise view.error(f"{export.out} has a bookmark of this title; remove it, or rename")
    source_rows = export.columns[SOURCE_ROW].to_numpy()
    files = {
        view.layout_key: read_coordinates(view.layout_file, rows=export.table.height)[source_rows]
        for view in views
        if view.layout_file is not None
    }
    placed = Placer(viewer_points(export), export.vectors, files).place(views)
    names = viewer_names(export.columns.drop(SOURCE_ROW))
    fresh = render_bookmarks(placed, dimensions=export.embedding.shape, names=names)
    old = render_states(export.states)
    # Two lists become one; rendering both by themselves spares parsing what was just written.
    both = fresh if not export.states else old.rstrip()[:-1] + b",\n" + fresh[1:]
    titles = [*(state["label"] for state in export.states), *(view.title for view in views)]
    sizes = [*map(_size, export.states), *(view.size for view in placed)]
    return isolation_notes(sizes) + rewrite_export(
        export, {"bookmarks.json": both}, facts={"views": titles}
    )


def remove_views(export: Export, titles: Sequence[str]) -> list[str]:
    """Remove the bookmarks of these titles.

    Raises:
        OptionError: there is no bookmark of a title; nothing is changed.
    """
    positions = _positions(export, titles)
    kept = [i for i in range(len(export.states)) if i not in positions]
    return _rewrite_states(export, kept)


def order_views(export: Export, titles: Sequence[str]) -> list[str]:
    """Put the bookmarks of these titles first, in this order; the others keep theirs.

    Raises:
        OptionError: there is no bookmark of a title; nothing is changed.
    """
    positions = _positions(export, titles)
    rest = [i for i in range(len(export.states)) if i not in positions]
    return _rewrite_states(export, [*positions, *rest])


def _size(state: Mapping[str, Any]) -> ViewSize:
    isolated = state.get("filteredPoints") or None
    return ViewSize(
        str(state["label"]),
        len(state.get("selectedPoints") or ()),
        None if isolated is None else len(isolated),
    )


def _positions(export: Export, titles: Sequence[str]) -> list[int]:
    known = [str(state["label"]) for state in export.states]
    for title in titles:
        if title not in known:
            listed = ", ".join(map(repr, known)) or "(none)"
            raise OptionError(f"{export.out} has no bookmark {title!r}; there are {listed}")
    return [known.index(title) for title in dict.fromkeys(titles)]


def _rewrite_states(export: Export, positions: Sequence[int]) -> list[str]:
    states = [export.states[i] for i in positions]
    titles = [state["label"] for state in states]
    return rewrite_export(
        export, {"bookmarks.json": render_states(states)}, facts={"views": titles}
    )
