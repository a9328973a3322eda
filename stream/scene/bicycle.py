"""Bicycles and those who ride them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from headrace.stream.scene import poses
from headrace.stream.scene.body import Looks, joints, to_world
from headrace.stream.scene.camera import Lens
from headrace.stream.scene.figure import PARTS, Light, draw_figure, figure_frames
from headrace.stream.scene.paint import Colour, Drawn, capsules, shade
from headrace.stream.scene.ride import DISC, Placed, Ride

Array = NDArray[np.float64]

_TUBES = np.array([
    [[-0.50, 0.34, 0], [-0.05, 0.30, 0]], [[-0.05, 0.30, 0], [-0.16, 0.90, 0]], [[-0.14, 0.78, 0], [0.40, 0.80, 0]],
    [[-0.05, 0.30, 0], [0.40, 0.72, 0]], [[0.40, 0.84, 0], [0.55, 0.34, 0]], [[-0.50, 0.34, 0], [-0.14, 0.78, 0]],
    [[0.38, 0.98, 0.22], [0.38, 0.98, -0.22]], [[0.40, 0.84, 0], [0.38, 0.98, 0]], [[-0.28, 0.92, 0], [-0.04, 0.92, 0]],
])  # fmt: skip
_TUBE_RADIUS = np.array([0.016, 0.018, 0.02, 0.022, 0.02, 0.014, 0.018, 0.018, 0.04])
_RIM = 0.34
_DETAIL_PX_PER_M = 30.0
"""Below this scale wheels have half as many corners."""
_WHEELS_X = (-0.50, 0.55)
_SEAT_X = -0.17


class Cyclist:
    """A person who rides a bicycle."""

    class_id = 10

    def __init__(
        self,
        *,
        instance: int,
        ride: Ride,
        looks: Looks,
        paint: Colour,
        light: Light,
        sun: tuple[float, float],
    ) -> None:
        """`paint`: colour of the frame."""
        self.instance, self.ride = instance, ride
        self._looks, self._paint, self._light, self._sun = looks, paint, light, sun

    def draw(self, t_s: float, lens: Lens) -> Drawn | None:
        """Bicycle and rider at `t_s`, or None out of sight."""
        pose = Placed(self.ride, t_s)
        if pose.ground[1] < 1.6 or not pose.seen(lens, 1.2):
            return None
        rider = draw_figure(self._body(pose), self._looks, lens, self._sun, self._light)
        drawn = Drawn(depth_m=pose.ground[1], parts=PARTS + 3)
        drawn.shadows = rider.shadows
        for k, x in enumerate(_WHEELS_X):
            self._wheel(drawn, pose, lens, x, PARTS + 1 + k)
        tubes = pose.world(_TUBES.reshape(-1, 3)).reshape(-1, 2, 3)
        px = lens.project(tubes)
        radius = np.maximum(_TUBE_RADIUS * lens.scale(pose.ground[1]), 0.45)
        for bar in capsules(px[:, 0], px[:, 1], radius, radius, 3):
            drawn.polygons.append((bar, shade(self._paint, self._light.side, self._light.tint), PARTS))
        drawn.polygons += rider.polygons
        return drawn

    def frames(self, t_s: float, lens: Lens) -> Array:
        """(P, 3, 3): the rider's parts, the frame, two wheels."""
        pose = Placed(self.ride, t_s)
        rider = figure_frames(self._body(pose), self._looks, lens)
        return np.concatenate([rider, self._bicycle_frames(pose, lens)])

    def _body(self, pose: Placed) -> Array:
        phase = self.ride.speed_mps * pose.t_s / 0.85
        body = joints(poses.cycle(phase), self._looks)
        body[:, 0] += _SEAT_X
        return to_world(body, pose.ground, self.ride.heading)

    def _bicycle_frames(self, pose: Placed, lens: Lens) -> Array:
        """Seen from the side the wheels turn; seen from the front a bicycle is all edge, and moves as a cut-out."""
        origin = pose.world(np.array([[0, 0.5, 0], *([x, _RIM, 0] for x in _WHEELS_X)]))
        if abs(math.cos(self.ride.heading)) < 0.5:
            along, across = np.tile([1.0, 0, 0], (3, 1)), np.tile([0, 1.0, 0], (3, 1))
            return lens.planes(origin, along, across)
        turn = self.ride.speed_mps * pose.t_s / _RIM
        c, s = math.cos(turn), math.sin(turn)
        along = pose.turn(np.array([[1.0, 0, 0], [c, -s, 0], [c, -s, 0]]))
        across = pose.turn(np.array([[0, 1.0, 0], [s, c, 0], [s, c, 0]]))
        return lens.planes(origin, along, across)

    def _wheel(self, drawn: Drawn, pose: Placed, lens: Lens, x: float, part: int) -> None:
        """A tyre as a ring of short bars: seen from the front it is still as wide as a tyre."""
        disc = DISC if lens.scale(pose.ground[1]) > _DETAIL_PX_PER_M else DISC[::2]
        ring = np.zeros((len(disc), 3))
        ring[:, 0], ring[:, 1] = x + disc[:, 0] * (_RIM - 0.02), _RIM + disc[:, 1] * (_RIM - 0.02)
        px = lens.project(pose.world(ring))
        radius = np.full(len(px), max(0.026 * lens.scale(pose.ground[1]), 0.5))
        for bar in capsules(px, np.roll(px, -1, 0), radius, radius, 2):
            drawn.polygons.append((bar, shade((38, 38, 42), self._light.side), part))
