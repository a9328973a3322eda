"""Straight driving, and what all that drives shares."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headrace.stream.scene.camera import NEAR_M, Lens

Array = NDArray[np.float64]

DISC = np.stack([np.cos(np.linspace(0, 2 * np.pi, 18, False)), np.sin(np.linspace(0, 2 * np.pi, 18, False))], -1)
"""Corners of a round thing of radius 1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ride:
    """Straight driving at constant speed: position (X, Z) in m is `start_m` + t * `speed_mps` along `heading`."""

    start_m: tuple[float, float]
    heading: float
    """0 drives right, pi/2 away from the camera."""
    speed_mps: float

    def at(self, t_s: float) -> tuple[float, float]:
        """Where it is at `t_s`."""
        way = self.speed_mps * t_s
        return self.start_m[0] + way * math.cos(self.heading), self.start_m[1] + way * math.sin(self.heading)


class Placed:
    """A ride's place and direction at one time."""

    def __init__(self, ride: Ride, t_s: float) -> None:
        self.t_s, self.ground = t_s, ride.at(t_s)
        c, s = math.cos(ride.heading), math.sin(ride.heading)
        self._turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
        self._place = np.array([self.ground[0], 0.0, self.ground[1]])

    def turn(self, p: Array) -> Array:
        return np.asarray(p @ self._turn)

    def world(self, p: Array) -> Array:
        return np.asarray(p @ self._turn + self._place)

    def seen(self, lens: Lens, reach_m: float) -> bool:
        """Whether something this large may be in the picture, wherever the camera pans."""
        x, z = self.ground
        if z + reach_m < NEAR_M * 2:
            return False
        return abs(x) - reach_m < max(z + reach_m, NEAR_M) * lens.size[0] * 0.75 / lens.focal_px


def clip(world: Array) -> Array:
    """The part of a polygon in front of the camera."""
    z = world[:, 2]
    if bool((z >= NEAR_M).all()):
        return world
    kept = []
    for k in range(len(world)):
        a, b = world[k - 1], world[k]
        if (a[2] >= NEAR_M) != (b[2] >= NEAR_M):
            kept.append(a + (b - a) * (NEAR_M - a[2]) / (b[2] - a[2]))
        if b[2] >= NEAR_M:
            kept.append(b)
    return np.array(kept).reshape(-1, 3)
