"""Rigid alignment: a planted turn, mirror and shift are undone, and nothing is scaled."""

from __future__ import annotations

import numpy as np
import pytest

from projector_export.analysis.alignment import align

CORNERS = np.array([[0, 0], [4, 0], [4, 2], [0, 1]], dtype=np.float32)


def _turn(n_dims: int, seed: int, *, mirrored: bool) -> np.ndarray:
    turn, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((n_dims, n_dims)))
    if (np.linalg.det(turn) < 0) != mirrored:
        turn[:, 0] *= -1
    return turn


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("n_dims", [2, 3])
def test_a_planted_turn_and_shift_are_undone(n_dims: int, mirrored: bool) -> None:
    """`align`: turned, mirrored and shifted to lie as near to the reference as it can."""
    reference = np.random.default_rng(3).standard_normal((50, n_dims)) * 10
    moved = reference @ _turn(n_dims, 4, mirrored=mirrored) + [100, -20, 7][:n_dims]
    np.testing.assert_allclose(align(moved, reference), reference, atol=1e-9)


def test_a_quarter_turn_in_numbers() -> None:
    """Row i is the same point: corners turned by 90 degrees come back to theirs."""
    turned = np.array([[5, 5], [5, 9], [3, 9], [4, 5]], dtype=np.float32)
    aligned = align(turned, CORNERS)
    np.testing.assert_allclose(aligned, CORNERS, atol=1e-5)
    assert aligned.dtype == np.float32


def test_nothing_is_scaled() -> None:
    """Distances between its points are those of `layout`."""
    reference = np.random.default_rng(0).standard_normal((30, 3))
    half = reference @ _turn(3, 1, mirrored=False) / 2
    aligned = align(half, reference)
    expected = reference.mean(axis=0) + (reference - reference.mean(axis=0)) / 2
    np.testing.assert_allclose(aligned, expected, atol=1e-9)


def test_points_of_no_weight_do_not_count() -> None:
    """`weights`: how much each point counts."""
    rng = np.random.default_rng(1)
    reference = rng.standard_normal((40, 2))
    moved = reference @ _turn(2, 2, mirrored=False) + 3
    moved[:10] += 50 * rng.standard_normal((10, 2))
    weights = np.ones(40)
    weights[:10] = 0
    aligned = align(moved, reference, weights)
    np.testing.assert_allclose(aligned[10:], reference[10:], atol=1e-9)
    assert np.abs(align(moved, reference)[10:] - reference[10:]).max() > 1


def test_a_point_of_weight_two_counts_twice() -> None:
    """`weights`: the weighted sum of squared distances is least."""
    rng = np.random.default_rng(5)
    layout, reference = rng.standard_normal((12, 3)), rng.standard_normal((12, 3))
    weights = np.ones(12)
    weights[4] = 2
    twice = [*range(12), 4]
    expected = align(layout[twice], reference[twice])[:12]
    np.testing.assert_allclose(align(layout, reference, weights), expected, atol=1e-9)


def test_no_weight_at_all_is_equal_weight() -> None:
    """`weights`: None or all zero: all the same."""
    turned = CORNERS @ np.array([[0, 1], [-1, 0]], dtype=np.float32)
    np.testing.assert_allclose(align(turned, CORNERS, np.zeros(4)), CORNERS, atol=1e-6)


def test_permuting_points_permutes_the_result() -> None:
    """Permuting the items permutes every output."""
    rng = np.random.default_rng(6)
    layout, reference, weights = rng.random((20, 2)), rng.random((20, 2)), rng.random(20)
    order = rng.permutation(20)
    moved = align(layout[order], reference[order], weights[order])
    np.testing.assert_allclose(moved, align(layout, reference, weights)[order], atol=1e-12)


def test_the_arguments_stay_as_they_are() -> None:
    """Pure: a new array."""
    layout, reference = CORNERS.astype(np.float64) + 1, CORNERS.astype(np.float64)
    weights = np.ones(4)
    align(layout, reference, weights)
    np.testing.assert_array_equal(layout, CORNERS + 1)
    np.testing.assert_array_equal(reference, CORNERS)
    assert weights.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("layout", [np.zeros((4, 2)), np.ones((4, 2)), CORNERS * [1, 0]])
def test_flat_layouts_are_finite(layout: np.ndarray) -> None:
    """Points on one spot or on a line have no unique turn; any will do."""
    assert np.isfinite(align(layout, CORNERS)).all()


def test_layouts_of_different_points_are_refused() -> None:
    """ValueError: the shapes differ; says which."""
    with pytest.raises(ValueError, match=r"layout is \(3, 2\) but its reference is \(4, 2\)"):
        align(CORNERS[:3], CORNERS)
