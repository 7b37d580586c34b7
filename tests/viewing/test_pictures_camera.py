"""Where the viewer's camera puts points; the viewer itself is asked in tests/browser."""

from __future__ import annotations

import numpy as np
import pytest

from projector_export.viewing.pictures.camera import (
    DEFAULT_2D,
    DEFAULT_3D,
    Camera,
    project,
    read_camera,
    stretch_to_cube,
)

STRAIGHT = Camera(orthographic=False, position=(0.0, 0.0, 3.0))


def test_each_axis_is_stretched_to_the_cube_by_itself() -> None:
    """projectorScatterPlotAdapter.ts: each axis from its own extent to [-1, 1]."""
    coordinates = np.array([[0.0, 500.0], [10.0, 700.0], [5.0, 550.0]])
    expected = [[-1, -1, 0], [1, 1, 0], [0, -0.5, 0]]
    assert stretch_to_cube(coordinates).tolist() == expected


def test_an_axis_of_one_value_is_in_the_middle() -> None:
    """Nothing is divided by zero."""
    stretched = stretch_to_cube(np.array([[1.0, 4.0, 7.0], [1.0, 5.0, 7.0]]))
    assert stretched.tolist() == [[0, -1, 0], [0, 1, 0]]


def test_perspective_spans_70_degrees_of_height() -> None:
    """Vertical field of view 70 degrees, whatever the aspect; x to the right, y downwards."""
    # At distance 3 half the height is 3 x tan 35 degrees = 2.10062...
    edge = 2.1006226
    places = project(
        np.array([[0, 0, 0], [0, edge, 0], [edge, 0, 0], [0, 0, 1.5]]),
        STRAIGHT,
        width=400,
        height=200,
    )
    expected = [[200, 100, 3], [200, 0, 3], [300, 100, 3], [200, 100, 1.5]]
    assert places == pytest.approx(np.array(expected), abs=1e-4)


def test_zoom_enlarges() -> None:
    """camera.zoom multiplies, in both cameras."""
    point = np.array([[0.3, 0.0, 0.0]])
    for camera in (STRAIGHT, DEFAULT_2D):
        once = project(point, camera, width=100, height=100)[0, 0] - 50
        larger = Camera(camera.orthographic, camera.position, camera.target, zoom=2.0)
        assert project(point, larger, width=100, height=100)[0, 0] - 50 == pytest.approx(2 * once)


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(240, 120, (170, 10)), (120, 240, (110, 70)), (120, 120, (110, 10))],
)
def test_flat_views_show_1_2_to_each_side_of_the_smaller_side(
    width: int, height: int, expected: tuple[float, float]
) -> None:
    """Half extent 1.2 of the smaller side: a corner of the square is 10 of 120 px from its edge."""
    place = project(np.array([[1.0, 1.0, 0.0]]), DEFAULT_2D, width=width, height=height)[0]
    assert place[:2] == pytest.approx(expected)


def test_a_moved_flat_camera_moves_the_picture() -> None:
    """Panning moves position and target together."""
    camera = Camera(orthographic=True, position=(0.6, 0.6, 4), target=(0.6, 0.6, 0))
    place = project(np.array([[0.6, 0.6, 0.0]]), camera, width=300, height=200)[0]
    assert place[:2] == pytest.approx((150, 100))


def test_points_behind_the_camera_are_nowhere() -> None:
    """They are clipped by the near plane."""
    places = project(np.array([[0, 0, 3.5], [0, 0, 0.0]]), STRAIGHT, width=100, height=100)
    assert np.isnan(places[0]).all()
    assert np.isfinite(places[1]).all()


def test_a_camera_straight_above_does_not_break() -> None:
    """three.js keeps the camera from the poles, where up is undefined."""
    above = Camera(orthographic=False, position=(0.0, 2.0, 0.0))
    places = project(np.array([[0.5, 0, 0], [0, 0, 0.5]]), above, width=200, height=200)
    assert places[0, 0] == pytest.approx(135.7, abs=0.1)  # x still points to the right
    assert places[0, 1] == pytest.approx(100, abs=0.1)
    assert places[1, 1] == pytest.approx(135.7, abs=0.1)  # and z towards the reader


def test_the_camera_stays_within_the_viewers_bounds() -> None:
    """scatterPlot.ts: the orbit controls keep the distance between 0.05 and 10."""
    far = Camera(orthographic=False, position=(0.0, 0.0, 50.0))
    assert project(np.zeros((1, 3)), far, width=10, height=10)[0, 2] == pytest.approx(10)


def test_a_state_without_a_camera_gets_the_viewers_own() -> None:
    """scatterPlot.ts, makeDefaultCameraDef."""
    assert read_camera({"cameraDef": None}, is_3d=True) == DEFAULT_3D
    assert read_camera({}, is_3d=False) == DEFAULT_2D


@pytest.mark.parametrize(
    "saved",
    ["text", {"position": [1, 2]}, {"position": [1, 2, "x"]}, {"position": [1, 2, float("nan")]},
     {"position": [0, 0, 3], "zoom": -1}, {}],
)  # fmt: skip
def test_a_broken_camera_is_refused(saved: object) -> None:
    """Unknown input is refused, not guessed."""
    with pytest.raises(ValueError, match="cameraDef"):
        read_camera({"cameraDef": saved}, is_3d=True)
