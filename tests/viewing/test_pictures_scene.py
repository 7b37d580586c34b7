"""The state is the single source of truth: what it says is shown, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import make_export, make_state

from projector_export.errors import DataError
from projector_export.projector.exports import Export
from projector_export.viewing.pictures.scene import read_scene

COORDINATES = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 8.0], [4.0, 8.0], [2.0, 4.0]])


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Five points."""
    columns = {"label": ["a", "b", "007", "d", "e"], "色": ["赤", "青", "赤", "黄", "青"]}
    return make_export(tmp_path_factory.mktemp("logs") / "run", columns)


def test_all_points_are_shown_in_row_order(export: Export) -> None:
    """No filteredPoints, null or [], is all points."""
    for isolated in (None, []):
        scene = read_scene(export, make_state(COORDINATES, isolated=isolated))
        assert scene.rows.tolist() == [0, 1, 2, 3, 4]
        assert not scene.isolated
        assert scene.positions[:, :2].tolist() == [[-1, -1], [1, -1], [-1, 1], [1, 1], [0, 0]]
        assert scene.labels.to_list() == ["a", "b", "007", "d", "e"]
        assert scene.projection == "UMAP"


def test_isolated_points_keep_the_states_order(export: Export) -> None:
    """Projections list just the isolated points in that order; selectedPoints are positions
    within them.
    """  # noqa: D205
    state = make_state(COORDINATES[[3, 0, 2]], isolated=[3, 0, 2], selected=[2, 0])
    scene = read_scene(export, state)
    assert scene.isolated
    assert scene.rows.tolist() == [3, 0, 2]
    assert scene.labels.to_list() == ["d", "a", "007"]
    assert scene.selected.tolist() == [2, 0]
    assert [scene.labels[int(i)] for i in scene.selected] == ["007", "d"]


def test_points_without_coordinates_are_left_out(export: Export) -> None:
    """The viewer samples for t-SNE: the others have no coordinates and are not drawn."""
    state = make_state(COORDINATES, selected=[4, 1, 2])
    state["projections"][1] = {}
    state["projections"][3]["umap-1"] = None
    scene = read_scene(export, state)
    assert scene.unplaced == 2
    assert scene.rows.tolist() == [0, 2, 4]
    assert scene.selected.tolist() == [2, 1]
    assert [scene.labels[int(i)] for i in scene.selected] == ["e", "007"]


def test_a_path_links_each_point_to_the_next(tmp_path: Path) -> None:
    """`__seq_next__` is a row number; links count the points shown, in the state's order."""
    columns = {"label": list("abcde"), "__seq_next__": [1, 2, None, 0, None]}
    export = make_export(tmp_path / "run", columns)
    assert read_scene(export, make_state(COORDINATES)).links.tolist() == [[0, 1], [1, 2], [3, 0]]
    isolated = make_state(COORDINATES[[3, 2, 1, 0]], isolated=[3, 2, 1, 0])
    assert read_scene(export, isolated).links.tolist() == [[0, 3], [2, 1], [3, 2]]
    without_b = make_state(COORDINATES[[0, 2, 3]], isolated=[0, 2, 3])
    assert read_scene(export, without_b).links.tolist() == [[2, 0]]
    unplaced = make_state(COORDINATES)
    unplaced["projections"][0] = {}
    assert read_scene(export, unplaced).links.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("values", "links"),
    [
        ([1.0, 2.5, None, float("inf"), float("nan")], [[0, 1]]),
        ([0, 5, -1, 10**12, 3], [[4, 3]]),
        (["x", "", "2 3", "0b1", None], []),
        ([True, True, False, False, None], []),
        ([None] * 5, []),
    ],
)
def test_what_is_no_row_number_links_nothing(
    tmp_path: Path, values: list[Any], links: list[list[int]]
) -> None:
    """Not a number, out of range or the point itself: passed over, never an error."""
    export = make_export(tmp_path / "run", {"label": list("abcde"), "__seq_next__": values})
    assert read_scene(export, make_state(COORDINATES)).links.tolist() == links


def test_without_paths_there_are_no_links(export: Export) -> None:
    """No `__seq_next__`, no lines."""
    assert read_scene(export, make_state(COORDINATES)).links.shape == (0, 2)


@pytest.mark.parametrize(
    ("state", "keys", "is_3d", "name"),
    [
        ({"selectedProjection": "umap", "umapIs3d": True}, "umap-0 umap-1 umap-2", True, "UMAP"),
        ({"selectedProjection": "umap", "umapIs3d": False}, "umap-0 umap-1", False, "UMAP"),
        ({"selectedProjection": "tsne", "tSNEis3d": True}, "tsne-0 tsne-1 tsne-2", True, "t-SNE"),
        ({"selectedProjection": "tsne", "tSNEis3d": False}, "tsne-0 tsne-1", False, "t-SNE"),
        ({"selectedProjection": "pca", "pcaComponentDimensions": [0, 2, 5]},
         "pca-0 pca-2 pca-5", True, "PCA"),
        ({"selectedProjection": "pca", "pcaComponentDimensions": [3, 1]},
         "pca-3 pca-1", False, "PCA"),
        ({"selectedProjection": "custom"}, "linear-x linear-y", False, "custom projection"),
    ],
)  # fmt: skip
def test_every_projection_of_the_viewer_is_read(
    export: Export, state: dict[str, Any], keys: str, is_3d: bool, name: str
) -> None:
    """data.ts, stateGetAccessorDimensions and getProjectionComponents."""
    names = keys.split()
    values = np.arange(5.0)
    point = [{key: (d + 1) * value for d, key in enumerate(names)} for value in values]
    decoys = {"umap-0": 9.0, "umap-1": 9.0, "pca-0": 9.0, "pca-1": 9.0, "tsne-0": 9.0}
    full = {**make_state(COORDINATES), **state, "projections": [{**decoys, **p} for p in point]}
    full["cameraDef"] = None
    scene = read_scene(export, full)
    assert scene.is_3d is is_3d
    assert scene.projection == name
    assert scene.camera.orthographic is not is_3d
    assert scene.positions[:, 0].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert scene.positions[:, 2].tolist() == ([-1, -0.5, 0, 0.5, 1] if is_3d else [0] * 5)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"selectedProjection": "map"}, "selectedProjection is 'map'; expected umap, tsne, pca"),
        ({"projections": []}, "it has coordinates of 0 points; expected 5, one a point shown"),
        ({"projections": [{"pca-0": 1}] * 5}, r"it holds no coordinates \(umap-0, umap-1\)"),
        ({"filteredPoints": [9]}, "filteredPoints names point 9, but there are 5 points"),
        ({"selectedPoints": [-1]}, "selectedPoints names point -1, but there are 5 points"),
        ({"cameraDef": {"position": "x"}}, "cameraDef cannot be read"),
        ({"projections": [1, 2, 3, 4, 5]}, "not one of the viewer's"),
        ({"selectedPoints": ["x"]}, "not one of the viewer's"),
        ({"selectedProjection": "pca", "pcaComponentDimensions": [0]}, "it has 1 axes"),
    ],
)
def test_a_state_that_cannot_be_drawn_says_why(
    export: Export, changed: dict[str, Any], message: str
) -> None:
    """A state that cannot be drawn gives a clear error."""
    state = {**make_state(COORDINATES, label="見出し"), **changed}
    with pytest.raises(DataError, match="the view '見出し' cannot be drawn: .*" + message):
        read_scene(export, state)


def test_an_export_of_labels_alone_is_read(tmp_path: Path) -> None:
    """metadata.tsv of one column has no header; here the file is what the viewer would read."""
    export = make_export(tmp_path / "run", {"label": ["a", "b", "c"]})
    (export.folder / "metadata.tsv").write_text("あ\ni\nう\n", encoding="utf-8")
    scene = read_scene(export, make_state(COORDINATES[:3]))
    assert scene.labels.to_list() == ["あ", "i", "う"]
    assert [category.label for category in scene.coloring.categories] == ["あ", "i", "う"]


def test_metadata_of_other_length_is_refused(tmp_path: Path) -> None:
    """Rows never slip."""
    export = make_export(tmp_path / "run", {"label": ["a", "b", "c"]})
    (export.folder / "metadata.tsv").write_text("a\nb\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"metadata\.tsv has 2 rows .* says 3 points"):
        read_scene(export, make_state(COORDINATES[:3]))
