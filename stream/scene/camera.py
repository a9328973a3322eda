"""The scene's camera: a pinhole lens over flat ground, and its slow pan and hand shake."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NEAR_M = 0.6
"""Nothing closer than this is drawn."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lens:
    """Pinhole camera at (0, height_m, 0) that looks along +Z; X is right, Y is up, in metres."""

    size: tuple[int, int]
    """Width and height of the picture in pixels."""
    focal_px: float
    horizon_px: float
    """Row of the horizon; may lie outside the picture."""
    height_m: float
    """Height of the camera above the ground."""

    @property
    def centre_px(self) -> float:
        """Column that looks straight ahead."""
        return (self.size[0] - 1) / 2

    @property
    def matrix(self) -> Array:
        """(3, 4): homogeneous world point in metres to homogeneous pixel."""
        f, h = self.focal_px, self.height_m
        return np.array([[f, 0, self.centre_px, 0], [0, -f, self.horizon_px, f * h], [0, 0, 1, 0]], float)

    def project(self, points: Array) -> Array:
        """(…, 3) metres to (…, 2) pixels; points nearer than `NEAR_M` are held at it."""
        z = np.maximum(points[..., 2], NEAR_M)
        px = np.empty((*points.shape[:-1], 2))
        px[..., 0] = self.centre_px + self.focal_px * points[..., 0] / z
        px[..., 1] = self.horizon_px + self.focal_px * (self.height_m - points[..., 1]) / z
        return px

    def scale(self, depth_m: float) -> float:
        """Pixels per metre at this depth."""
        return self.focal_px / max(depth_m, NEAR_M)

    def planes(self, origins: Array, along: Array, across: Array) -> Array:
        """Three (P, 3) in metres to (P, 3, 3): plane coordinates (u, v, 1) to homogeneous pixels."""
        basis = np.zeros((origins.shape[0], 4, 3))
        basis[:, :3, 0], basis[:, :3, 1], basis[:, :3, 2] = along, across, origins
        basis[:, 3, 2] = 1.0
        return np.asarray(self.matrix @ basis)

    def ground_row(self, depth_m: float) -> float:
        """Row in which the ground at this depth is seen."""
        return self.horizon_px + self.focal_px * self.height_m / depth_m


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Motion:
    """How the camera pans and shakes: a pure function of time."""

    size: tuple[int, int]
    pan_px: float = 0.0
    """Greatest sideways shift."""
    pan_period_s: float = 14.0
    shake_px: float = 0.0
    roll_rad: float = 0.0
    phase: float = 0.0

    @property
    def still(self) -> bool:
        """Whether the camera never moves."""
        return self.pan_px == 0 and self.shake_px == 0

    def at(self, t_s: float) -> Array:
        """(3, 3) affine: pixel of the resting camera to pixel of the picture at `t_s`."""
        if self.still:
            return np.eye(3)
        turn = 2 * math.pi * t_s / self.pan_period_s + self.phase
        dx = self.pan_px * (0.8 * math.sin(turn) + 0.2 * math.sin(2.3 * turn + 1))
        sx, sy, sr = (self._tremble(t_s, k) for k in range(3))
        roll = self.roll_rad * sr
        c, s = math.cos(roll), math.sin(roll)
        cx, cy = (self.size[0] - 1) / 2, (self.size[1] - 1) / 2
        tx = cx - c * cx + s * cy - dx + self.shake_px * sx
        ty = cy - s * cx - c * cy + self.shake_px * 0.7 * sy
        return np.array([[c, -s, tx], [s, c, ty], [0, 0, 1]])

    def _tremble(self, t_s: float, axis: int) -> float:
        """A hand's tremble in [-1, 1]: three incommensurate sines."""
        p = self.phase + 2.1 * axis
        rates = (1.1 + 0.2 * axis, 2.7 + 0.3 * axis, 5.3 - 0.4 * axis)
        return sum(
            a * math.sin(2 * math.pi * r * t_s + p * k)
            for k, (a, r) in enumerate(zip((0.55, 0.3, 0.15), rates, strict=True), 1)
        )

    @property
    def margin_px(self) -> tuple[int, int]:
        """How much wider and higher than the picture, on each side, the static canvas must be."""
        (w, h), roll = self.size, abs(self.roll_rad) / 2
        across = self.pan_px + self.shake_px + roll * h
        return math.ceil(across) + 2, math.ceil(self.shake_px * 0.7 + roll * w) + 2
