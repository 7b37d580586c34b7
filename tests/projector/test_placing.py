"""From views to rows and coordinates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from projector_export.errors import OptionError
from projector_export.projector.placing import (
    PlacedView,
    Placer,
    ViewSize,
    isolation_notes,
    principal_coordinates,
)
from projector_export.projector.viewer_points import ViewerPoints
from projector_export.projector.views import View

N = 60


def _placer(*, drop: tuple[str, ...] = (), files: dict[str, np.ndarray] | None = None) -> Placer:
    rng = np.random.default_rng(0)
    tensor = rng.standard_normal((N, 8)).astype(np.float32)
    columns = pl.DataFrame(
        {
            "label": [f"item {i}" for i in range(N)],
            "cluster": [f"cluster_0{i % 3}" for i in range(N)],
            "w": [float(i) for i in range(N)],
            **{f"umap3d_{axis}": rng.standard_normal(N) for axis in "xyz"},
            **{f"umap2d_{axis}": rng.standard_normal(N) for axis in "xy"},
            "source_row": list(range(N)),
        }
    ).drop(drop)
    return Placer(ViewerPoints(columns, tensor), tensor, files or {})


def _place(view: View, placer: Placer | None = None) -> PlacedView:
    (placed,) = (placer or _placer()).place([view])
    return placed


def test_layout_and_colour_are_chosen() -> None:
    """The best layout there is, coloured by cluster, or else by label."""
    assert (_place(View("v")).view.layout, _place(View("v")).view.color_by) == ("umap3d", "cluster")
    flat = _placer(drop=("umap3d_x", "umap3d_y", "umap3d_z"))
    assert _place(View("v"), flat).view.layout == "umap2d"
    bare = _placer(drop=("umap3d_x", "umap3d_y", "umap3d_z", "umap2d_x", "umap2d_y", "cluster"))
    assert (_place(View("v"), bare).view.layout, _place(View("v"), bare).view.color_by) == (
        "pca",
        "none",  # the viewer cannot colour by 60 different labels
    )


def test_coordinates_are_the_points_own() -> None:
    """Row i is point i: UMAP from the columns, a file's as it is given."""
    placer = _placer()
    placed = _place(View("v", "umap2d"), placer)
    assert placed.coordinates[7].tolist() == [
        placer.points.columns["umap2d_x"][7],
        placer.points.columns["umap2d_y"][7],
    ]
    places = np.arange(2 * N, dtype=np.float32).reshape(N, 2)
    from_file = _place(View("v", "my.npy"), _placer(files={"my.npy": places}))
    assert from_file.coordinates[7].tolist() == [14, 15]


def test_what_is_selected_is_among_what_is_isolated() -> None:
    """In an isolated view the selection is made among the points that are shown."""
    view = View("v", isolate="cluster == cluster_01", select="top 3 by w")
    placed = _place(view)
    assert placed.isolated == tuple(range(1, 60, 3))
    assert placed.selected == (58, 55, 52)
    assert placed.n_shown == 20
    nothing = View("v", isolate="cluster == cluster_00", select="w == 58")
    with pytest.raises(OptionError, match="'w == 58' selects none of 20 points"):
        _place(nothing)


@pytest.mark.parametrize(
    ("view", "said"),
    [
        (View("v", select="w > 99"), "view 'v': 'w > 99' selects none of 60 points"),
        (View("v", isolate="cluster == x"), "view 'v': no point has cluster 'x'"),
        (View("v", color_by="label"), "view 'v': column 'label' holds 60 different texts"),
        (View("v", color_by="source_row"), "view 'v': source_row is not a column of the viewer"),
        (View("v", label_by="z"), "view 'v': there is no column 'z'"),
    ],
)
def test_a_wrong_view_is_named(view: View, said: str) -> None:
    """The message says which view and why."""
    with pytest.raises(OptionError) as error:
        _place(view)
    assert said in str(error.value)


def test_a_layout_that_was_not_computed_is_told() -> None:
    """What there is, is listed."""
    flat = _placer(drop=("umap3d_x", "umap3d_y", "umap3d_z"))
    with pytest.raises(OptionError, match="no layout umap3d; this export has umap2d, pca"):
        _place(View("v", "umap3d"), flat)


@pytest.mark.parametrize("dims", [2, 3, 20, 64])
def test_principal_components_are_the_viewers(dims: int) -> None:
    """Centred, of unit length from 50 columns on; the axes of most variance, most first."""
    rng = np.random.default_rng(1)
    tensor = (rng.standard_normal((200, dims)) * np.linspace(3, 1, dims) + 5).astype(np.float32)
    found = principal_coordinates(tensor)
    assert found.shape == (200, 3)
    expected = tensor.astype(np.float64) - tensor.mean(axis=0)
    if dims == 64:
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    values = np.linalg.svd(expected, compute_uv=False)
    kept = min(3, dims)
    assert np.linalg.norm(found, axis=0)[:kept] == pytest.approx(values[:kept], rel=1e-4)
    # Distances along all axes of a plane are those of the data itself.
    if dims <= 3:
        one, other = found[:50, None] - found[None, :50], expected[:50, None] - expected[None, :50]
        assert np.linalg.norm(one, axis=2) == pytest.approx(np.linalg.norm(other, axis=2), abs=1e-4)


def test_equal_vectors_have_a_place_too() -> None:
    """No direction of variance: all at the origin, nothing infinite."""
    assert not principal_coordinates(np.ones((5, 60), dtype=np.float32)).any()


def test_small_isolated_views_are_noted() -> None:
    """TensorBoard's viewer stops at a view with fewer points than are selected before it."""
    placer = _placer()
    few = View("few", isolate="w < 5")
    many = View("many", select="w < 30")
    sizes = [view.size for view in placer.place([few, many])]
    assert sizes == [ViewSize("few", 0, 5), ViewSize("many", 30, None)]
    (note,) = isolation_notes(sizes)
    assert "'few'" in note
    assert "'many' selects (30)" in note
    some = placer.place([View("some", isolate="w < 40"), many])
    assert isolation_notes([view.size for view in some]) == []
    assert isolation_notes([]) == []


def test_layouts_of_one_name_in_two_folders_differ() -> None:
    """A file's name is relative to the folder of its TOML file."""
    one = View("a", "xy.npy", folder=Path("one"))
    other = View("b", "xy.npy", folder=Path("other"))
    assert one.layout_key != other.layout_key
