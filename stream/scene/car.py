"""Cars: solids of flat faces, each with its own plane, so that their flow is exact in perspective."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from headrace.stream.scene.bodywork import SHAPES, Face, car_faces
from headrace.stream.scene.camera import NEAR_M, Lens
from headrace.stream.scene.figure import Light
from headrace.stream.scene.paint import Colour, Drawn, shade
from headrace.stream.scene.ride import Placed, Ride, clip

Array = NDArray[np.float64]

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
        faces = car_faces(self._shape, paint, lamps_on=lamps_on)
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
        self._outline = np.array([[x, 0.0, z] for x, z in self._shape.corners()])

    def draw(self, t_s: float, lens: Lens) -> Drawn | None:
        """The car at `t_s`, or None out of sight."""
        pose = Placed(self.ride, t_s)
        if not pose.seen(lens, self._shape.long / 2 + 0.5):
            return None
        outline = clip(pose.world(self._outline))
        drawn = Drawn(depth_m=pose.ground[1], parts=len(self._faces), limits=self._limits)
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
            shown = pixels[rows] if whole else lens.project(clip(points[rows]))
            if len(shown) > 2:
                # A face seen so nearly edge-on that it is a mere line has no pixel whose motion it could tell.
                line = slant[k] < 0.06 and _thickness(shown) < 1.5
                drawn.polygons.append((shown, colour, -1 if line else int(k)))
                if face.hub is not None and whole and lens.scale(pose.ground[1]) > 14:
                    self._add_hub(drawn, pose, lens, face, int(k))
        return drawn

    def frames(self, t_s: float, lens: Lens) -> Array:
        """(P, 3, 3): one plane per face, wheels turning."""
        pose = Placed(self.ride, t_s)
        turn = self.ride.speed_mps * t_s / self._shape.wheel
        c, s = math.cos(turn), math.sin(turn)
        along, across = self._along.copy(), self._across.copy()
        along[self._wheels], across[self._wheels] = (c, -s, 0.0), (s, c, 0.0)
        return lens.planes(pose.world(self._origins), pose.turn(along), pose.turn(across))

    def _add_hub(self, drawn: Drawn, pose: Placed, lens: Lens, face: Face, part: int) -> None:
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
