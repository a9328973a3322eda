"""Cars and bicycles: solids of flat faces that drive along a lane."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from headrace.stream.scene import poses
from headrace.stream.scene.camera import NEAR_M, Lens
from headrace.stream.scene.figure import PARTS, Light, Looks, draw_figure, figure_frames, joints, to_world
from headrace.stream.scene.paint import Colour, Drawn, capsules, mix, shade

Array = NDArray[np.float64]

GLASS: Colour = (66, 84, 100)
_DISC = np.stack([np.cos(np.linspace(0, 2 * np.pi, 18, False)), np.sin(np.linspace(0, 2 * np.pi, 18, False))], -1)


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


SHAPES: dict[str, Shape] = {
    "hatch": Shape(
        long=3.9,
        wide=1.72,
        belt=0.94,
        roof=1.47,
        bonnet=(0.95, 0.70),
        roof_x=(-1.45, 0.25),
        boot=-1.90,
        wheel=0.31,
        axle=1.22,
    ),
    "sedan": Shape(
        long=4.5,
        wide=1.80,
        belt=0.92,
        roof=1.42,
        bonnet=(0.95, 0.68),
        roof_x=(-0.95, 0.25),
        boot=-1.65,
        wheel=0.32,
        axle=1.36,
    ),
    "suv": Shape(
        long=4.5,
        wide=1.88,
        belt=1.08,
        roof=1.72,
        bonnet=(1.05, 0.92),
        roof_x=(-1.75, 0.35),
        boot=-2.15,
        wheel=0.37,
        axle=1.36,
    ),
    "van": Shape(
        long=5.2,
        wide=1.98,
        belt=1.15,
        roof=2.25,
        bonnet=(1.95, 0.95),
        roof_x=(-2.52, 1.15),
        boot=-2.56,
        wheel=0.36,
        axle=1.65,
    ),
}
PAINTS: tuple[Colour, ...] = (
    (196, 48, 44), (228, 228, 224), (60, 66, 74), (34, 74, 130), (170, 178, 184), (36, 40, 46), (92, 138, 150),
    (214, 168, 60), (66, 104, 78), (150, 78, 56), (120, 134, 160),
)  # fmt: skip


class Car:
    """A car on a ride."""

    class_id = 8

    def __init__(self, *, instance: int, ride: Ride, shape: str, paint: Colour, light: Light, lamps_on: bool) -> None:
        """`shape`: a key of SHAPES; `lamps_on`: at dusk and at night."""
        self.instance, self.ride = instance, ride
        self._shape, self._light = SHAPES[shape], light
        faces = _car_faces(self._shape, paint, van=shape == "van", lamps_on=lamps_on)
        self._faces = faces
        self._points = np.concatenate([f.points for f in faces])
        self._ends = np.cumsum([len(f.points) for f in faces])
        self._normals = np.array([f.normal for f in faces])
        self._corners = np.array([f.points[0] for f in faces])
        bases = [f.basis() for f in faces]
        self._origins, self._along, self._across = (np.array([b[k] for b in bases]) for k in range(3))
        self._areas = np.array([f.area for f in faces])
        self._limits = np.array([f.limits() for f in faces])
        self._wheels = [k for k, f in enumerate(faces) if f.hub is not None]
        self._outline = np.array([[x, 0.0, z] for x, z in _corners(self._shape)])

    def draw(self, t_s: float, lens: Lens) -> Drawn | None:
        """The car at `t_s`, or None out of sight."""
        pose = _Placed(self.ride, t_s)
        if not pose.seen(lens, self._shape.long / 2 + 0.5):
            return None
        outline = _clip(pose.world(self._outline))
        drawn = Drawn(depth_m=pose.ground[1], frames=self.frames(t_s, lens), limits=self._limits)
        drawn.shadows = [lens.project(outline)] if len(outline) > 2 else []
        points, normals = pose.world(self._points), pose.turn(self._normals)
        pixels = lens.project(points)
        whole = float(points[:, 2].min()) >= NEAR_M
        eye = np.array([0.0, lens.height_m, 0.0]) - pose.world(self._corners)
        slant = (normals * eye).sum(1) / np.linalg.norm(eye, axis=1)
        facing = slant > 0
        sun = np.array([0.45 * self._light.from_side, 0.80, -0.4])
        lit = (0.62 + 0.38 * np.maximum(normals @ sun, 0.0)) * self._light.side * 1.12
        facing &= self._areas > (8.0 / lens.scale(pose.ground[1])) ** 2 * 0.6
        for k in np.flatnonzero(facing):
            face, end = self._faces[k], self._ends[k]
            rows = slice(end - len(face.points), end)
            colour = face.colour if face.glows else shade(face.colour, float(lit[k]), self._light.tint)
            shown = pixels[rows] if whole else lens.project(_clip(points[rows]))
            if len(shown) > 2:
                # A face seen so nearly edge-on that it is a mere line has no pixel whose motion it could tell.
                line = slant[k] < 0.06 and _thickness(shown) < 1.5
                drawn.polygons.append((shown, colour, -1 if line else int(k)))
                if face.hub is not None and whole and lens.scale(pose.ground[1]) > 14:
                    self._add_hub(drawn, pose, lens, face, int(k))
        return drawn

    def frames(self, t_s: float, lens: Lens) -> Array:
        """(P, 3, 3): one plane per face, wheels turning."""
        pose = _Placed(self.ride, t_s)
        turn = self.ride.speed_mps * t_s / self._shape.wheel
        c, s = math.cos(turn), math.sin(turn)
        along, across = self._along.copy(), self._across.copy()
        along[self._wheels], across[self._wheels] = (c, -s, 0.0), (s, c, 0.0)
        return lens.planes(pose.world(self._origins), pose.turn(along), pose.turn(across))

    def _add_hub(self, drawn: Drawn, pose: _Placed, lens: Lens, face: Face, part: int) -> None:
        """Rim and spokes, turned as far as the car has driven."""
        assert face.hub is not None
        angle = -self.ride.speed_mps / self._shape.wheel * pose.t_s
        spin = np.array([[math.cos(angle), math.sin(angle), 0], [-math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
        rim = face.hub + (face.points - face.hub) * 0.62
        spokes = _SPOKES * self._shape.wheel @ spin + face.hub
        px = lens.project(pose.world(np.concatenate([rim, spokes])))
        drawn.polygons.append((px[: len(rim)], shade((150, 154, 160), self._light.side), part))
        for k in range(len(rim), len(px), 3):
            drawn.polygons.append((px[k : k + 3], shade((86, 90, 96), self._light.side), part))


def _thickness(points: Array) -> float:
    """Area of a polygon over its length, px."""
    area = cv2.contourArea(points.astype(np.float32))
    return float(area / max(np.ptp(points, axis=0).max(), 1e-6))


_SPOKES = np.array([
    corner for a in np.arange(5) * 2 * np.pi / 5 for corner in (
        (0.56 * np.cos(a) - 0.13 * np.sin(a), 0.56 * np.sin(a) + 0.13 * np.cos(a), 0.0),
        (0.56 * np.cos(a) + 0.13 * np.sin(a), 0.56 * np.sin(a) - 0.13 * np.cos(a), 0.0), (0.0, 0.0, 0.0))
])  # fmt: skip
"""Five triangles, for a wheel of radius 1."""


class _Placed:
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


def _corners(s: Shape) -> list[tuple[float, float]]:
    x, z = s.long / 2 + 0.08, s.wide / 2 + 0.08
    return [(-x, -z), (x, -z), (x, z), (-x, z)]


def _car_faces(s: Shape, paint: Colour, *, van: bool, lamps_on: bool) -> list[Face]:
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
    top = z - 0.14 if not van else z - 0.06
    rear_x, front_x = s.roof_x
    for side in (-1.0, 1.0):
        w, t = (z - 0.02) * side, top * side
        corner = [(s.boot, s.belt, w), (rear_x, s.roof, t), (front_x, s.roof, t), (nose_x, s.belt, w)]
        faces.append(_face(corner, paint, (0, 0, side)))
        faces += _windows(s, side, w, t, van=van)
    for first, second, glass, out in (
        ((nose_x, s.belt), (front_x, s.roof), True, (1, 0.5, 0)),
        ((s.boot, s.belt), (rear_x, s.roof), not van, (-1, 0.2, 0)),
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


def _windows(s: Shape, side: float, w: float, t: float, *, van: bool) -> list[Face]:
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

    spans = ((0.70, 0.95),) if van else ((0.09, 0.46), (0.50, 0.91))
    return [
        _face([at(a, 0.10), at(a + 0.01, 0.86), at(b - 0.01, 0.86), at(b, 0.10)], GLASS, (0, 0, side))
        for a, b in spans
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
    points = np.zeros((len(_DISC), 3))
    points[:, 0], points[:, 1], points[:, 2] = x + _DISC[:, 0] * radius, height + _DISC[:, 1] * radius, z
    points[:, 1] = np.maximum(points[:, 1], 0.0)
    return Face(
        points=points,
        colour=colour,
        normal=np.array([0, 0, math.copysign(1.0, z)]),
        hub=np.array([x, height, z]) if hub else None,
    )


def _clip(world: Array) -> Array:
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
        pose = _Placed(self.ride, t_s)
        if pose.ground[1] < 1.6 or not pose.seen(lens, 1.2):
            return None
        rider = draw_figure(self._body(pose), self._looks, lens, self._sun, self._light)
        drawn = Drawn(depth_m=pose.ground[1], frames=self._all_frames(rider.frames, pose, lens))
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
        pose = _Placed(self.ride, t_s)
        return self._all_frames(figure_frames(self._body(pose), self._looks, lens), pose, lens)

    def _body(self, pose: _Placed) -> Array:
        phase = self.ride.speed_mps * pose.t_s / 0.85
        body = joints(poses.cycle(phase), self._looks)
        body[:, 0] += _SEAT_X
        return to_world(body, pose.ground, self.ride.heading)

    def _all_frames(self, rider: Array, pose: _Placed, lens: Lens) -> Array:
        """Seen from the side the wheels turn; seen from the front a bicycle is all edge, and moves as a cut-out."""
        origin = pose.world(np.array([[0, 0.5, 0], *([x, _RIM, 0] for x in _WHEELS_X)]))
        if abs(math.cos(self.ride.heading)) < 0.5:
            along, across = np.tile([1.0, 0, 0], (3, 1)), np.tile([0, 1.0, 0], (3, 1))
            return np.concatenate([rider, lens.planes(origin, along, across)])
        turn = self.ride.speed_mps * pose.t_s / _RIM
        c, s = math.cos(turn), math.sin(turn)
        along = pose.turn(np.array([[1.0, 0, 0], [c, -s, 0], [c, -s, 0]]))
        across = pose.turn(np.array([[0, 1.0, 0], [s, c, 0], [s, c, 0]]))
        return np.concatenate([rider, lens.planes(origin, along, across)])

    def _wheel(self, drawn: Drawn, pose: _Placed, lens: Lens, x: float, part: int) -> None:
        """A tyre as a ring of short bars: seen from the front it is still as wide as a tyre."""
        disc = _DISC if lens.scale(pose.ground[1]) > _DETAIL_PX_PER_M else _DISC[::2]
        ring = np.zeros((len(disc), 3))
        ring[:, 0], ring[:, 1] = x + disc[:, 0] * (_RIM - 0.02), _RIM + disc[:, 1] * (_RIM - 0.02)
        px = lens.project(pose.world(ring))
        radius = np.full(len(px), max(0.026 * lens.scale(pose.ground[1]), 0.5))
        for bar in capsules(px, np.roll(px, -1, 0), radius, radius, 2):
            drawn.polygons.append((bar, shade((38, 38, 42), self._light.side), part))
