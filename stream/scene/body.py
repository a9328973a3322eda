"""A person's body: from a pose to joints in the world."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headrace.stream.scene.paint import Colour
from headrace.stream.scene.poses import AHEAD, ANCHOR, ARM, HOP, LEAN, LEG, NOD, PITCH, ROLL, SEAT, TWIST, Pose

Array = NDArray[np.float64]
Point = tuple[float, float, float]

JOINTS = (
    "pelvis", "neck", "head", "crown",
    "shoulder_l", "elbow_l", "wrist_l", "hand_l", "shoulder_r", "elbow_r", "wrist_r", "hand_r",
    "hip_l", "knee_l", "ankle_l", "toe_l", "hip_r", "knee_r", "ankle_r", "toe_r",
)  # fmt: skip
J = {name: k for k, name in enumerate(JOINTS)}
"""Row of each joint."""
_RADIUS = np.full(len(JOINTS), 0.05)
_RADIUS[[J[n] for n in ("pelvis", "hip_l", "hip_r")]] = 0.10
_RADIUS[[J[n] for n in ("neck", "shoulder_l", "shoulder_r", "head", "crown")]] = 0.09
_RADIUS[[J[n] for n in ("toe_l", "toe_r")]] = 0.03


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Looks:
    """Build and clothes of a person."""

    tall: float
    """Height over that of a 1.74 m person."""
    stout: float
    """Width over that of an average person."""
    colours: dict[str, Colour]
    """Keys: skin, hair, shirt, sleeve, forearm, trousers, shin, shoes."""
    skirt: bool = False
    long_hair: bool = False
    bag: Colour | None = None


def joints(pose: Pose, looks: Looks) -> Array:
    """(20, 3): forward, up, left of the ground point, in metres, with the lowest joint on the ground."""
    # Plain numbers: for a few dozen of them this is several times faster than arrays.
    v = pose.tolist()
    lean, gaze = v[LEAN], v[LEAN] * 0.6 + v[NOD]
    up_x, up_y = math.sin(lean), math.cos(lean)
    crown_x, crown_y = math.sin(gaze), math.cos(gaze)
    neck_x, neck_y = 0.50 * up_x, 0.50 * up_y
    p: list[tuple[float, float, float]] = [(0.0, 0.0, 0.0), (neck_x, neck_y, 0.0)]
    p += [(neck_x + far * crown_x, neck_y + far * crown_y, 0.0) for far in (0.17, 0.29)]
    aside_x, aside_z = math.sin(v[TWIST]) * 0.185 * looks.stout, math.cos(v[TWIST]) * 0.185 * looks.stout
    for k, side in enumerate((1.0, -1.0)):
        a = ARM[k]
        shoulder = (0.455 * up_x + aside_x * side, 0.455 * up_y, aside_z * side)
        elbow = _along(shoulder, 0.285, v[a], v[a + 1] * side)
        wrist = _along(elbow, 0.245, v[a + 2], v[a + 3] * side)
        p += [shoulder, elbow, wrist, _along(wrist, 0.075, v[a + 2], v[a + 3] * side)]
    for k, side in enumerate((1.0, -1.0)):
        b = LEG[k]
        spread = v[b + 1] * side
        hip = (0.0, -0.02, 0.095 * side)
        knee = _along(hip, 0.44, v[b], spread)
        ankle = _along(knee, 0.43, v[b + 2], spread * 0.6)
        p += [hip, knee, ankle, _along(ankle, 0.17, v[b + 2] + 1.40 + v[b + 3], spread)]
    return _planted(np.array(p) @ (_tilt(v[PITCH], v[ROLL]) * looks.tall), v, looks)


def _along(start: Point, far: float, pitch: float, spread: float) -> Point:
    """The end of a limb of length `far`."""
    c = math.cos(spread) * far
    return start[0] + math.sin(pitch) * c, start[1] - math.cos(pitch) * c, start[2] + math.sin(spread) * far


def _tilt(pitch: float, roll: float) -> Array:
    """(3, 3), for rows: first forward by `pitch`, then sideways by `roll`."""
    c, s, cr, sr = math.cos(pitch), math.sin(pitch), math.cos(roll), math.sin(roll)
    return np.array([[c, -s * cr, -s * sr], [s, c * cr, c * sr], [0.0, -sr, cr]])


def _planted(p: Array, pose: list[float], looks: Looks) -> Array:
    """Stand it on the ground; an anchored pose keeps its feet where they are, not its pelvis."""
    if pose[SEAT] > 0:
        p[:, 1] += pose[SEAT]
    else:
        p[:, 1] += pose[HOP] - float((p[:, 1] - _RADIUS * looks.tall).min())
    if pose[ANCHOR]:
        p[:, [0, 2]] -= (p[J["ankle_l"]] + p[J["ankle_r"]])[[0, 2]] / 2 * pose[ANCHOR]
    p[:, 0] += pose[AHEAD]
    return p


def to_world(p: Array, ground: tuple[float, float], heading: float) -> Array:
    """Body coordinates to the world: `heading` 0 faces right, pi/2 away from the camera."""
    c, s = math.cos(heading), math.sin(heading)
    return np.asarray(p @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) + np.array([ground[0], 0.0, ground[1]]))
