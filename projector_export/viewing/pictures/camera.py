"""Where the viewer's camera puts points on its plot.

The same arithmetic as the viewer's: each axis is stretched to [-1, 1] by itself
(projectorScatterPlotAdapter.ts, generatePointPositionArray), then three.js projects with the
cameras of scatterPlot.ts, whose orbit controls have the last word on the position.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

FIELD_OF_VIEW_DEG = 70.0
"""Vertical; scatterPlot.ts, PERSP_CAMERA_FOV_VERTICAL."""
HALF_EXTENT = 1.2
"""Of the smaller side; scatterPlot.ts, ORTHO_CAMERA_FRUSTUM_HALF_EXTENT."""
_NEAR = 0.01
_NEAREST, _FARTHEST = 0.05, 10.0  # scatterPlot.ts, MIN_ZOOM and MAX_ZOOM of the orbit controls
_STEEPEST = 1e-6  # three.js, Spherical.makeSafe: never straight from above


@dataclass(frozen=True)
class Camera:
    """The viewer's camera.

    Attributes:
        orthographic: as flat views have it; else perspective.
        position: of the eye, in the units of the cube [-1, 1].
        target: what it looks at; y is up.
        zoom: 1 is as is.
    """

    orthographic: bool
    position: tuple[float, float, float]
    target: tuple[float, float, float] = (0.0, 0.0, 0.0)
    zoom: float = 1.0


DEFAULT_3D = Camera(orthographic=False, position=(0.45, 0.9, 1.6))
DEFAULT_2D = Camera(orthographic=True, position=(0.0, 0.0, 4.0))


def read_camera(state: Mapping[str, Any], *, is_3d: bool) -> Camera:
    """Return the camera of a bookmark's state, or the viewer's own where it has none.

    Raises:
        ValueError: the state's camera is not one.
    """
    saved = state.get("cameraDef")
    if saved is None:
        return DEFAULT_3D if is_3d else DEFAULT_2D
    if not isinstance(saved, Mapping):
        raise ValueError(f"cameraDef is {saved!r}; expected an object")
    try:
        camera = Camera(
            orthographic=bool(saved.get("orthographic", not is_3d)),
            position=_triple(saved["position"]),
            target=_triple(saved.get("target", (0, 0, 0))),
            zoom=float(saved.get("zoom") or 1),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"cameraDef cannot be read ({error!r})") from error
    numbers = (*camera.position, *camera.target, camera.zoom)
    if not all(map(math.isfinite, numbers)) or camera.zoom <= 0:
        raise ValueError(f"cameraDef is {dict(saved)}; expected finite numbers and zoom above 0")
    return camera


def stretch_to_cube(coordinates: np.ndarray) -> np.ndarray:
    """Return (N, 3) float64 positions in [-1, 1].

    Args:
        coordinates: (N, 2) or (N, 3), finite; an axis with one value only goes to 0, and so does
            the third of flat ones.
    """
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    stretched = np.where(high > low, 2 * (coordinates - low) / span - 1, 0.0)
    positions = np.zeros((len(coordinates), 3))
    positions[:, : coordinates.shape[1]] = stretched
    return positions


def project(positions: np.ndarray, camera: Camera, *, width: float, height: float) -> np.ndarray:
    """Return where points are on a plot.

    Args:
        positions: (N, 3) in the units of the cube.
        camera: the viewer's.
        width: of the plot, in pixels or any other unit.
        height: in the same unit.

    Returns:
        (N, 3) float64: x to the right and y downwards from the upper left corner, in that unit, and
        the distance along the view. Points that are not before the camera are nan.
    """
    eye = _orbit_position(camera)
    backwards = eye - np.asarray(camera.target)
    backwards /= np.linalg.norm(backwards)
    right = np.cross((0.0, 1.0, 0.0), backwards)
    right /= np.linalg.norm(right)
    up = np.cross(backwards, right)
    relative = positions - eye
    across, along, depth = relative @ right, relative @ up, -(relative @ backwards)
    if camera.orthographic:
        scale = np.full(len(positions), min(width, height) / 2 / HALF_EXTENT)
    else:
        before = depth > _NEAR
        depth = np.where(before, depth, np.nan)
        scale = height / 2 / math.tan(math.radians(FIELD_OF_VIEW_DEG / 2)) / depth
    scale = scale * camera.zoom
    return np.stack([width / 2 + across * scale, height / 2 - along * scale, depth], axis=1)


def _orbit_position(camera: Camera) -> np.ndarray:
    """Return the eye as three.js' OrbitControls leave it: not too near or far, not at a pole."""
    target = np.asarray(camera.target)
    offset = np.asarray(camera.position) - target
    radius = float(np.linalg.norm(offset))
    polar = math.acos(offset[1] / radius) if radius > 0 else 0.0
    azimuth = math.atan2(offset[0], offset[2])
    polar = min(max(polar, _STEEPEST), math.pi - _STEEPEST)
    radius = min(max(radius, _NEAREST), _FARTHEST)
    flat = math.sin(polar) * radius
    direction = (flat * math.sin(azimuth), math.cos(polar) * radius, flat * math.cos(azimuth))
    eye: np.ndarray = target + np.array(direction)
    return eye


def _triple(values: Any) -> tuple[float, float, float]:
    x, y, z = values
    return float(x), float(y), float(z)
