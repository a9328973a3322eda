"""What cars are made of: shapes, panels, windows, lamps and wheels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headrace.stream.scene.paint import Colour, mix
from headrace.stream.scene.ride import DISC

Array = NDArray[np.float64]

GLASS: Colour = (66, 84, 100)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shape:
    """A car's side view: x forward of the middle and heights, in m."""

    long: float
    wide: float
    belt: float
    """Height of the window line."""
    roof: float
    bonnet: tuple[float, float]
    """x where the windscreen starts, height of the nose."""
    roof_x: tuple[float, float]
    """Rear and front end of the roof."""
    boot: float
    """x where the rear window starts."""
    wheel: float
    axle: float
    panes: tuple[tuple[float, float], ...] = ((0.09, 0.46), (0.50, 0.91))
    """Side windows: from and to, as shares of the cabin's length."""
    boxy: bool = False
    """Sides that hardly lean in, and no rear window."""

    def corners(self) -> list[tuple[float, float]]:
        """Forward and left of the four corners of its shadow."""
        x, z = self.long / 2 + 0.08, self.wide / 2 + 0.08
        return [(-x, -z), (x, -z), (x, z), (-x, z)]


SHAPES: dict[str, Shape] = {
    "hatch": Shape(long=3.9, wide=1.72, belt=0.94, roof=1.47, bonnet=(0.95, 0.70), roof_x=(-1.45, 0.25), boot=-1.90,
                   wheel=0.31, axle=1.22),
    "sedan": Shape(long=4.5, wide=1.80, belt=0.92, roof=1.42, bonnet=(0.95, 0.68), roof_x=(-0.95, 0.25), boot=-1.65,
                   wheel=0.32, axle=1.36),
    "suv": Shape(long=4.5, wide=1.88, belt=1.08, roof=1.72, bonnet=(1.05, 0.92), roof_x=(-1.75, 0.35), boot=-2.15,
                 wheel=0.37, axle=1.36),
    "van": Shape(long=5.2, wide=1.98, belt=1.15, roof=2.25, bonnet=(1.95, 0.95), roof_x=(-2.52, 1.15), boot=-2.56,
                 wheel=0.36, axle=1.65, panes=((0.70, 0.95),), boxy=True),
    "bus": Shape(long=9.6, wide=2.45, belt=1.25, roof=2.95, bonnet=(4.70, 1.18), roof_x=(-4.74, 4.55), boot=-4.76,
                 wheel=0.48, axle=3.0, panes=tuple((0.03 + 0.137 * k, 0.155 + 0.137 * k) for k in range(7)), boxy=True),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Face:
    """A flat polygon of a car, corners in car coordinates (forward, up, left)."""

    points: Array
    colour: Colour
    normal: Array
    glows: bool = False
    hub: Array | None = None
    """Centre, where the face is a wheel."""

    @property
    def area(self) -> float:
        """About how large it is, in square metres: what is too small to be seen is not painted."""
        sides = np.sort(np.ptp(self.points, axis=0))
        return float(sides[1] * sides[2])

    def basis(self) -> tuple[Array, Array, Array]:
        """Origin and two directions of its plane."""
        along = self.points[1] - self.points[0]
        along = along / np.linalg.norm(along)
        origin = self.points[0] if self.hub is None else self.hub
        return origin, along, np.cross(self.normal, along)

    def limits(self) -> tuple[float, float, float, float]:
        """Least and greatest coordinate along each direction of the basis; a wheel's hold for any turn."""
        origin, along, across = self.basis()
        u, v = (self.points - origin) @ along, (self.points - origin) @ across
        if self.hub is not None:
            r = float(np.hypot(u, v).max())
            return -r, r, -r, r
        return float(u.min()), float(u.max()), float(v.min()), float(v.max())


def _face(
    points: list[tuple[float, float, float]],
    colour: Colour,
    out: tuple[float, float, float],
    glows: bool = False,
) -> Face:
    p = np.array(points, float)
    normal = np.cross(p[1] - p[0], p[2] - p[0])
    normal /= np.linalg.norm(normal)
    if float(normal @ np.array(out)) < 0:
        normal = -normal
    return Face(points=p, colour=colour, normal=normal, glows=glows)


def car_faces(s: Shape, paint: Colour, *, lamps_on: bool) -> list[Face]:
    """Faces from the lower body up, so that painting them in order and leaving out those turned away is right."""
    x1, z, low = s.long / 2, s.wide / 2, 0.26
    nose_x, nose_y = s.bonnet
    dark = mix(paint, (10, 10, 14), 0.55)
    faces: list[Face] = []
    for side in (-1.0, 1.0):
        w = z * side
        body = [
            (-x1, low, w),
            (-x1, s.belt - 0.12, w),
            (s.boot, s.belt, w),
            (nose_x, s.belt, w),
            (x1 - 0.06, nose_y, w),
            (x1, low + 0.1, w),
            (x1 - 0.1, low, w),
        ]
        faces.append(_face(body, paint, (0, 0, side)))
        faces.append(
            _face(
                [
                    (-x1 + 0.05, low, w),
                    (-x1 + 0.05, low + 0.12, w),
                    (x1 - 0.05, low + 0.12, w),
                    (x1 - 0.05, low, w),
                ],
                dark,
                (0, 0, side),
            )
        )
        for ax in (-s.axle, s.axle):
            faces.append(_wheel(ax, s.wheel * 1.2, w * 1.004, s.wheel, dark, hub=False))
            faces.append(_wheel(ax, s.wheel, w * 1.008, s.wheel, (34, 35, 38), hub=True))
    faces += _ends(s, paint, lamps_on=lamps_on)
    top = z - 0.14 if not s.boxy else z - 0.06
    rear_x, front_x = s.roof_x
    for side in (-1.0, 1.0):
        w, t = (z - 0.02) * side, top * side
        corner = [(s.boot, s.belt, w), (rear_x, s.roof, t), (front_x, s.roof, t), (nose_x, s.belt, w)]
        faces.append(_face(corner, paint, (0, 0, side)))
        faces += _windows(s, side, w, t)
    for first, second, glass, out in (
        ((nose_x, s.belt), (front_x, s.roof), True, (1, 0.5, 0)),
        ((s.boot, s.belt), (rear_x, s.roof), not s.boxy, (-1, 0.2, 0)),
    ):
        (xa, ya), (xb, yb) = first, second
        faces.append(_face([(xa, ya, -z + 0.02), (xa, ya, z - 0.02), (xb, yb, top), (xb, yb, -top)], paint, out))
        if glass:
            a, b = 0.12, 0.90
            q = [
                (xa + (xb - xa) * a, ya + (yb - ya) * a, -z + 0.13),
                (xa + (xb - xa) * a, ya + (yb - ya) * a, z - 0.13),
                (xa + (xb - xa) * b, ya + (yb - ya) * b, top - 0.06),
                (xa + (xb - xa) * b, ya + (yb - ya) * b, -top + 0.06),
            ]
            faces.append(_face(q, GLASS, out))
    faces.append(
        _face(
            [(rear_x, s.roof, -top), (rear_x, s.roof, top), (front_x, s.roof, top), (front_x, s.roof, -top)],
            mix(paint, (255, 255, 255), 0.08),
            (0, 1, 0),
        )
    )
    return faces


def _windows(s: Shape, side: float, w: float, t: float) -> list[Face]:
    """Side windows: on the cabin's slanted side, with a pillar between them."""
    rear_x, front_x = s.roof_x
    nose_x = s.bonnet[0]

    def at(share_x: float, share_y: float) -> tuple[float, float, float]:
        left, right = s.boot + (rear_x - s.boot) * share_y, nose_x + (front_x - nose_x) * share_y
        return (
            left + (right - left) * share_x,
            s.belt + (s.roof - s.belt) * share_y,
            (w + (t - w) * share_y) * 1.004,
        )

    return [
        _face([at(a, 0.10), at(a + 0.01, 0.86), at(b - 0.01, 0.86), at(b, 0.10)], GLASS, (0, 0, side))
        for a, b in s.panes
    ]


def _ends(s: Shape, paint: Colour, *, lamps_on: bool) -> list[Face]:
    """Bonnet, boot, front and rear panels with their lamps and plates."""
    x1, z, low = s.long / 2, s.wide / 2, 0.26
    nose_x, nose_y = s.bonnet
    tail = s.belt - 0.12
    white: Colour = (255, 246, 214) if lamps_on else (222, 228, 232)
    red: Colour = (255, 60, 44) if lamps_on else (176, 36, 34)
    faces = [
        _face(
            [(nose_x, s.belt, -z), (nose_x, s.belt, z), (x1 - 0.06, nose_y, z), (x1 - 0.06, nose_y, -z)],
            mix(paint, (255, 255, 255), 0.05),
            (0.3, 1, 0),
        ),
        _face([(s.boot, s.belt, -z), (s.boot, s.belt, z), (-x1, tail, z), (-x1, tail, -z)], paint, (-0.2, 1, 0)),
    ]
    for front in (True, False):
        x, top, out = (x1, nose_y, 1.0) if front else (-x1, tail, -1.0)
        e = 0.004 * out
        faces.append(
            _face(
                [
                    (x, low, -z),
                    (x, low, z),
                    (x - (0.06 if front else 0), top, z),
                    (x - (0.06 if front else 0), top, -z),
                ],
                paint,
                (out, 0, 0),
            )
        )
        x += e
        faces.append(
            _face(
                [(x, low, -z), (x, low, z), (x, low + 0.16, z), (x, low + 0.16, -z)],
                mix(paint, (10, 10, 14), 0.6),
                (out, 0, 0),
            )
        )
        if front:
            faces.append(
                _face(
                    [
                        (x, low + 0.2, -z * 0.5),
                        (x, low + 0.2, z * 0.5),
                        (x - 0.03, top - 0.06, z * 0.5),
                        (x - 0.03, top - 0.06, -z * 0.5),
                    ],
                    (30, 32, 36),
                    (1, 0, 0),
                )
            )
        faces.append(
            _face(
                [(x, 0.42, -0.24), (x, 0.42, 0.24), (x, 0.53, 0.24), (x, 0.53, -0.24)],
                (236, 236, 226) if front else (240, 206, 70),
                (out, 0, 0),
            )
        )
        for side in (-1.0, 1.0):
            a, b = z * 0.60 * side, z * 0.95 * side
            faces.append(
                _face(
                    [
                        (x, top - 0.22, a),
                        (x, top - 0.22, b),
                        (x - 0.03 * out, top - 0.04, b),
                        (x - 0.03 * out, top - 0.04, a),
                    ],
                    white if front else red,
                    (out, 0, 0),
                    glows=lamps_on,
                )
            )
    return faces


def _wheel(x: float, radius: float, z: float, height: float, colour: Colour, *, hub: bool) -> Face:
    points = np.zeros((len(DISC), 3))
    points[:, 0], points[:, 1], points[:, 2] = x + DISC[:, 0] * radius, height + DISC[:, 1] * radius, z
    points[:, 1] = np.maximum(points[:, 1], 0.0)
    return Face(
        points=points,
        colour=colour,
        normal=np.array([0, 0, math.copysign(1.0, z)]),
        hub=np.array([x, height, z]) if hub else None,
    )
