"""Settings: every option has a range, and a value outside it is refused by name."""

from __future__ import annotations

import math
from typing import Any

import pytest

from projector_export.errors import OptionError
from projector_export.settings import Settings


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("metric", "manhattan"),
        ("metric", ""),
        ("clusters", 0),
        ("clusters", -3),
        ("clusters", 2.5),
        ("clusters", "many"),
        ("umap_dims", (2, 4)),
        ("umap_dims", (1,)),
        ("umap_neighbors", 1),
        ("umap_neighbors", -15),
        ("umap_min_dist", -0.1),
        ("umap_min_dist", 1.1),
        ("umap_min_dist", math.nan),
        ("reference_quantile", 0.0),
        ("reference_quantile", 1.01),
        ("reference_quantile", math.nan),
        ("duplicate_angle_deg", -1.0),
        ("duplicate_angle_deg", 90.0),
        ("duplicate_angle_deg", math.nan),
        ("max_points", 1),
        ("max_points", 100_001),
        ("view_dims", 1),
        ("view_dims", "some"),
        ("tensor_format", "npy"),
        ("seed", -1),
        ("seed", 2**31),
    ],
)
def test_value_out_of_range_is_refused_by_name(option: str, value: Any) -> None:
    """OptionError: a value is out of range. The message says which option and what was got."""
    with pytest.raises(OptionError) as caught:
        Settings(**{option: value})
    message = str(caught.value)
    assert message.startswith(f"{option} is {value!r}; expected ")


def test_cluster_views_need_clusters() -> None:
    """Options that contradict one another are refused."""
    with pytest.raises(OptionError, match="clusters is None; expected a number or auto"):
        Settings(cluster_views=True, clusters=None)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("metric", "euclidean"),
        ("clusters", 1),
        ("clusters", None),
        ("umap_dims", ()),
        ("umap_dims", (3, 2)),
        ("umap_neighbors", 2),
        ("umap_min_dist", 0.0),
        ("umap_min_dist", 1.0),
        ("reference_quantile", 1.0),
        ("duplicate_angle_deg", 0.0),
        ("max_points", 2),
        ("max_points", 100_000),
        ("view_dims", "all"),
        ("view_dims", 2),
        ("tensor_format", "tsv"),
        ("seed", 2**31 - 1),
    ],
)
def test_ends_of_each_range_are_accepted(option: str, value: Any) -> None:
    """The ranges in the docstring include their ends."""
    assert getattr(Settings(**{option: value}), option) == value


def test_defaults_are_those_of_the_documentation() -> None:
    """The defaults are public: the command line and the README state the same."""
    settings = Settings()
    assert (settings.metric, settings.clusters, settings.umap_dims) == ("cosine", "auto", (2, 3))
    assert (settings.umap_neighbors, settings.umap_min_dist) == (15, 0.1)
    assert (settings.max_points, settings.view_dims, settings.tensor_format) == (
        100_000,
        "auto",
        "bytes",
    )
    assert (settings.seed, settings.force, settings.anomalies) == (0, False, True)


def test_a_bad_option_is_a_value_error_too() -> None:
    """An input error also inherits the builtin."""
    with pytest.raises(ValueError, match="seed is -1"):
        Settings(seed=-1)
