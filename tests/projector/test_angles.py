"""Angles and distances in float64, where float32 and arc cosines would blur them."""

from __future__ import annotations

import numpy as np
import pytest

from projector_export.projector.angles import angles_to, find_nearest


def test_tiny_and_straight_angles_are_exact() -> None:
    """An arc cosine of a product knows no angle below 1e-6 degrees; this does."""
    steps = np.array([0, 1e-9, 3e-9, np.pi, np.pi / 2])
    vectors = np.stack([np.cos(steps), np.sin(steps)], axis=1)
    found = find_nearest(vectors, np.array([0]), k=4, measure="angle")
    assert found.rows.tolist() == [[1, 2, 4, 3]]
    assert found.values[0] == pytest.approx([5.7296e-8, 1.71887e-7, 90, 180], rel=1e-4)


def test_what_is_near_is_told_apart_by_exact_values() -> None:
    """Products that round to one number are no order."""
    rng = np.random.default_rng(0)
    base = rng.standard_normal(50)
    steps = rng.permutation(np.arange(1, 200)) * 1e-10
    vectors = np.concatenate([base[None], base + steps[:, None] * rng.standard_normal((199, 50))])
    found = find_nearest(vectors, np.array([0]), k=3, measure="angle")
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    apart = np.linalg.norm(unit - unit[0], axis=1)
    assert found.rows[0].tolist() == np.argsort(apart)[1:4].tolist()


def test_a_zero_vector_has_no_direction() -> None:
    """It is at 0 degrees to another one and at 90 to all else."""
    vectors = np.float32([[0, 0], [1, 0], [0, 0], [-1, 0]])
    found = find_nearest(vectors, np.array([0, 1]), k=3, measure="angle")
    assert found.rows.tolist() == [[2, 1, 3], [0, 2, 3]]
    assert found.values.tolist() == [[0, 90, 90], [90, 90, 180]]


def test_equal_points_are_in_row_order_and_never_themselves() -> None:
    """Of equally near ones the first row comes first."""
    vectors = np.ones((200, 3), np.float32)
    found = find_nearest(vectors, np.array([0, 3, 199]), k=3, measure="distance")
    assert found.rows.tolist() == [[1, 2, 3], [0, 1, 2], [0, 1, 2]]
    assert (found.values == 0).all()


def test_distances_far_from_the_origin_are_exact() -> None:
    """An offset of a million spreads of the data uses up no digits."""
    rng = np.random.default_rng(0)
    vectors = (rng.standard_normal((9000, 4)) + 1e6).astype(np.float32)
    found = find_nearest(vectors, np.array([17, 8999]), k=3, measure="distance")
    for row, rows, values in zip((17, 8999), found.rows, found.values, strict=True):
        apart = np.linalg.norm(vectors.astype(np.float64) - vectors[row].astype(np.float64), axis=1)
        order = [i for i in np.argsort(apart, kind="stable") if i != row][:3]
        assert rows.tolist() == order
        np.testing.assert_allclose(values, apart[order])


def test_a_chord_is_an_angle_between_unit_vectors() -> None:
    """2 asin(d / 2) in degrees; rounding beyond the diameter is the straight angle."""
    vectors = np.float32([[0.5, 0], [-0.5, 0], [0, 1.6]])
    found = find_nearest(vectors, np.array([0, 1]), k=1, measure="chord")
    assert found.values[:, 0] == pytest.approx([60, 60])
    vectors = np.float32([[1.01, 0], [-1, 0]])
    assert find_nearest(vectors, np.array([0]), k=1, measure="chord").values[0, 0] == 180


def test_angles_to_come_in_blocks_of_all_rows() -> None:
    """(B, R) blocks make (N, R) together."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((10_000, 3)).astype(np.float32)
    angles = np.concatenate(list(angles_to(vectors, np.array([5, 7]))))
    assert angles.shape == (10_000, 2)
    assert angles[5, 0] == pytest.approx(0, abs=2e-6)
    unit = vectors[[5, 9_999]].astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    assert angles[9_999, 0] == pytest.approx(np.degrees(np.arccos(unit[0] @ unit[1])), abs=1e-6)
