"""A person's body: from a pose to joints in the world, and from joints to painted limbs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from headrace.stream.scene.camera import Lens
from headrace.stream.scene.paint import Colour, Drawn, capsules, shade
from headrace.stream.scene.poses import (
    AHEAD,
    ANCHOR,
    ARM,
    HOP,
    LEAN,
    LEG,
    NOD,
    PITCH,
    ROLL,
    SEAT,
    TWIST,
    Pose,
)

Array = NDArray[np.float64]

JOINTS = (
    "pelvis", "neck", "head", "crown",
    "shoulder_l", "elbow_l", "wrist_l", "hand_l", "shoulder_r", "elbow_r", "wrist_r", "hand_r",
    "hip_l", "knee_l", "ankle_l", "toe_l", "hip_r", "knee_r", "ankle_r", "toe_r",
)  # fmt: skip
_J = {name: k for k, name in enumerate(JOINTS)}

_BARS: tuple[tuple[str, str, str, float, float], ...] = (
    ("shoulder_l", "elbow_l", "sleeve", 0.058, 0.046), ("elbow_l", "wrist_l", "forearm", 0.046, 0.036),
    ("wrist_l", "hand_l", "skin", 0.040, 0.042), ("shoulder_r", "elbow_r", "sleeve", 0.058, 0.046),
    ("elbow_r", "wrist_r", "forearm", 0.046, 0.036), ("wrist_r", "hand_r", "skin", 0.040, 0.042),
    ("hip_l", "knee_l", "trousers", 0.092, 0.066), ("knee_l", "ankle_l", "shin", 0.064, 0.046),
    ("ankle_l", "toe_l", "shoes", 0.052, 0.040), ("hip_r", "knee_r", "trousers", 0.092, 0.066),
    ("knee_r", "ankle_r", "shin", 0.064, 0.046), ("ankle_r", "toe_r", "shoes", 0.052, 0.040),
    ("neck", "head", "skin", 0.052, 0.050),
)  # fmt: skip
"""Limbs as tapered bars: from, to, what it wears, radii in m."""
_FROM = np.array([_J[b[0]] for b in _BARS])
_TO = np.array([_J[b[1]] for b in _BARS])
_R0 = np.array([b[3] for b in _BARS])
_R1 = np.array([b[4] for b in _BARS])
_WEARS = [b[2] for b in _BARS]
_NECK = len(_BARS) - 1
TORSO, HEAD, HAIR = len(_BARS), len(_BARS) + 1, len(_BARS) + 2
PARTS = len(_BARS) + 3
_RADIUS = np.full(len(JOINTS), 0.05)
_RADIUS[[_J[n] for n in ("pelvis", "hip_l", "hip_r")]] = 0.10
_RADIUS[[_J[n] for n in ("neck", "shoulder_l", "shoulder_r", "head", "crown")]] = 0.09
_RADIUS[[_J[n] for n in ("toe_l", "toe_r")]] = 0.03
_CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 10, False)), np.sin(np.linspace(0, 2 * np.pi, 10, False))], -1)


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
    lean, twist, nod = float(pose[LEAN]), float(pose[TWIST]), float(pose[NOD])
    p = np.zeros((len(JOINTS), 3))
    up = np.array([math.sin(lean), math.cos(lean), 0.0])
    p[1] = 0.50 * up
    gaze = lean * 0.6 + nod
    crown = np.array([math.sin(gaze), math.cos(gaze), 0.0])
    p[2] = p[1] + 0.17 * crown
    p[3] = p[1] + 0.29 * crown
    aside = np.array([math.sin(twist), 0.0, math.cos(twist)])
    for k, side in enumerate((1.0, -1.0)):
        a, b, s, h = ARM[k], LEG[k], 4 + 4 * k, 12 + 4 * k
        p[s] = 0.455 * up + aside * (0.185 * looks.stout * side)
        p[s + 1] = p[s] + 0.285 * _along(pose[a], pose[a + 1] * side)
        fore = _along(pose[a + 2], pose[a + 3] * side)
        p[s + 2] = p[s + 1] + 0.245 * fore
        p[s + 3] = p[s + 2] + 0.075 * fore
        p[h] = (0.0, -0.02, 0.095 * side)
        spread = float(pose[b + 1]) * side
        p[h + 1] = p[h] + 0.44 * _along(pose[b], spread)
        p[h + 2] = p[h + 1] + 0.43 * _along(pose[b + 2], spread * 0.6)
        p[h + 3] = p[h + 2] + 0.17 * _along(pose[b + 2] + 1.40 + pose[b + 3], spread)
    p *= looks.tall
    return _plant(_turned(p, float(pose[PITCH]), float(pose[ROLL])), pose, looks)


def _along(pitch: float, spread: float) -> Array:
    c = math.cos(spread)
    return np.array([math.sin(pitch) * c, -math.cos(pitch) * c, math.sin(spread)])


def _turned(p: Array, pitch: float, roll: float) -> Array:
    c, s = math.cos(pitch), math.sin(pitch)
    x, y, z = p[:, 0] * c + p[:, 1] * s, p[:, 1] * c - p[:, 0] * s, p[:, 2]
    c, s = math.cos(roll), math.sin(roll)
    return np.stack([x, y * c - z * s, y * s + z * c], -1)


def _plant(p: Array, pose: Pose, looks: Looks) -> Array:
    """Stand it on the ground; an anchored pose keeps its feet where they are, not its pelvis."""
    if pose[SEAT] > 0:
        p[:, 1] += float(pose[SEAT])
    else:
        p[:, 1] += float(pose[HOP]) - float((p[:, 1] - _RADIUS * looks.tall).min())
    feet = (p[_J["ankle_l"]] + p[_J["ankle_r"]]) / 2
    p[:, [0, 2]] -= feet[[0, 2]] * float(pose[ANCHOR])
    p[:, 0] += float(pose[AHEAD])
    return p


def to_world(p: Array, ground: tuple[float, float], heading: float) -> Array:
    """Body coordinates to the world: `heading` 0 faces right, pi/2 away from the camera."""
    c, s = math.cos(heading), math.sin(heading)
    x = ground[0] + p[:, 0] * c - p[:, 2] * s
    z = ground[1] + p[:, 0] * s + p[:, 2] * c
    return np.stack([x, p[:, 1], z], -1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Light:
    """How bright and of what colour the light on moving things is."""

    side: float = 1.0
    tint: Colour = (1.0, 1.0, 1.0)
    from_side: float = 1.0
    """-1: the sun stands left, 1: right."""


class _Layout:
    """A body in the picture: where its parts lie, before they are coloured."""

    def __init__(self, world: Array, looks: Looks, lens: Lens) -> None:
        self.px = lens.project(world)
        self.scale = lens.focal_px / np.maximum(world[:, 2], 0.6) * looks.tall
        self.starts, self.ends = self.px[_FROM], self.px[_TO]
        girth = math.sqrt(looks.stout)
        self.r0 = np.maximum(_R0 * self.scale[_FROM] * girth, 0.5)
        self.r1 = np.maximum(_R1 * self.scale[_TO] * girth, 0.5)
        self.torso, torso_frame = _torso(self.px, self.scale * looks.stout, looks)
        self.head, self.hair, head_frame = _head(self.px, float(self.scale[0]), world, looks)
        bars = _bar_frames(self.starts, self.ends, (self.r0 + self.r1) / 2)
        self.frames = np.concatenate([bars, torso_frame[None], head_frame[None], head_frame[None]])


def figure_frames(world: Array, looks: Looks, lens: Lens) -> Array:
    """(PARTS, 3, 3): what `draw_figure` gives as frames."""
    return _Layout(world, looks, lens).frames


def draw_figure(world: Array, looks: Looks, lens: Lens, sun: tuple[float, float], light: Light) -> Drawn:
    """Paint a body whose joints (20, 3) stand in the world; part ids 0..PARTS-1."""
    at = _Layout(world, looks, lens)
    lies = world[_J["head"], 1] < 0.6
    drawn = Drawn(depth_m=float(world[:, 2].min()) if lies else float(world[0, 2]), frames=at.frames)
    drawn.shadows = _shadows(world, lens, sun, looks)
    bars = capsules(at.starts, at.ends, at.r0, at.r1, 7 if at.scale[0] > 30 else 4)
    cores = _cores(bars, at, light)
    depth = ((world[_FROM, 2] + world[_TO, 2]) / 2).tolist()
    middle = float(world[[0, 1], 2].mean())
    head_z = middle - 0.01 + float(world[2, 2] - world[1, 2])
    order = sorted([*((z, k) for k, z in enumerate(depth)), (middle + 0.02, TORSO), (head_z, HEAD)], reverse=True)
    for z, k in order:
        if k == TORSO:
            _paint_torso(drawn, at, looks, light)
        elif k == HEAD:
            drawn.polygons.append((at.head, shade(looks.colours["skin"], light.side, light.tint), HEAD))
            drawn.polygons.append((at.hair, shade(looks.colours["hair"], light.side, light.tint), HAIR))
        else:
            far = z > middle + 0.1
            dim, colour = light.side * (0.80 if far else 1.0), looks.colours[_WEARS[k]]
            drawn.polygons.append((bars[k], shade(colour, dim, light.tint), k))
            if at.r0[k] > 2.2 and not far and k != _NECK:
                drawn.polygons.append((cores[k], shade(colour, dim * 1.18, light.tint), -1))
    return drawn


def _cores(bars: Array, at: _Layout, light: Light) -> Array:
    """The lit middle of each limb: half as wide, moved towards the sun."""
    d = at.ends - at.starts
    d = d / np.maximum(np.hypot(d[:, 0], d[:, 1]), 1e-6)[:, None]
    n = np.stack([-d[:, 1], d[:, 0]], -1)
    off = bars - ((at.starts + at.ends) / 2)[:, None]
    across = (off * n[:, None]).sum(-1, keepdims=True) * n[:, None]
    return np.asarray(bars - across * 0.45 + np.array([light.from_side * 0.28, -0.22]) * at.r0[:, None, None])


def _bar_frames(starts: Array, ends: Array, radius: Array) -> Array:
    """(P, 3, 3): u runs along the bar (0..1), v across it (in radii)."""
    d = ends - starts
    length = np.hypot(d[:, 0], d[:, 1])
    unit = d / np.maximum(length, 1e-6)[:, None]
    along = unit * np.maximum(length, radius * 0.5)[:, None]
    return _affine(along, np.stack([-unit[:, 1], unit[:, 0]], -1) * radius[:, None], starts)


def _affine(u: Array, v: Array, origin: Array) -> Array:
    frames = np.zeros((u.shape[0], 3, 3))
    frames[:, :2, 0], frames[:, :2, 1], frames[:, :2, 2] = u, v, origin
    frames[:, 2, 2] = 1
    # A bar that points straight at the camera has no direction; any will do, as long as it can be inverted.
    flat = np.abs(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]) < 1e-9
    frames[flat, :2, :2] = np.eye(2)
    return frames


def _hull(points: Array) -> Array:
    return np.asarray(cv2.convexHull(points.astype(np.float32))[:, 0], float)


def _torso(px: Array, scale: Array, looks: Looks) -> tuple[Array, Array]:
    corner = [_J[n] for n in ("shoulder_l", "shoulder_r", "hip_l", "hip_r")]
    radius = np.array([0.075, 0.075, 0.095, 0.095])
    centres = px[corner].copy()
    centres[:2] += (px[_J["neck"]] - centres[:2]) * 0.18
    rings = centres[:, None] + _CIRCLE[None] * (radius * scale[corner])[:, None, None]
    outline = _hull(rings.reshape(-1, 2))
    base, top = px[0], px[1]
    along = top - base
    n = np.array([-along[1], along[0]])
    n = n / max(float(np.hypot(*n)), 1e-6)
    width = np.abs((outline - base) @ n).max()
    return outline, _affine(along[None], (n * width)[None], base[None])[0]


def _paint_torso(drawn: Drawn, at: _Layout, looks: Looks, light: Light) -> None:
    """Hips in the trousers' colour below, shirt above; a skirt goes from the waist to the knees."""
    colours, outline, px, scale = looks.colours, at.torso, at.px, at.scale
    unit = float(scale[0])
    legs = [_J[n] for n in ("hip_l", "hip_r")]
    hips = px[legs][:, None] + _CIRCLE[None] * (0.103 * scale[legs] * looks.stout)[:, None, None]
    drawn.polygons.append((_hull(hips.reshape(-1, 2)), shade(colours["trousers"], light.side, light.tint), TORSO))
    drawn.polygons.append((outline, shade(colours["shirt"], light.side, light.tint), TORSO))
    if looks.skirt:
        knees = [_J[n] for n in ("knee_l", "knee_r")]
        hem = px[knees] + (px[legs] - px[knees]) * 0.15
        ring = hem[:, None] + _CIRCLE[None] * (0.10 * scale[knees])[:, None, None]
        skirt = _hull(np.concatenate([hips.reshape(-1, 2), ring.reshape(-1, 2)]))
        drawn.polygons.append((skirt, shade(colours["trousers"], light.side * 0.96, light.tint), TORSO))
    if unit > 22:
        lit = (
            (outline - outline.mean(0)) * (0.62, 0.86)
            + outline.mean(0)
            + np.array([light.from_side * 0.025, -0.012]) * unit
        )
        drawn.polygons.append((lit, shade(colours["shirt"], light.side * 1.13, light.tint), -1))
    if looks.bag is not None:
        middle = px[0] + (px[1] - px[0]) * 0.62
        bag = middle + _CIRCLE * (0.11 * unit, 0.17 * unit)
        drawn.polygons.append((bag, shade(looks.bag, light.side, light.tint), TORSO))


def _head(px: Array, unit: float, world: Array, looks: Looks) -> tuple[Array, Array, Array]:
    """Outlines of head and hair, and the head's frame; the hair sits behind the face."""
    neck, centre = px[_J["neck"]], px[_J["head"]]
    up = px[_J["crown"]] - neck
    up = up / max(float(np.hypot(*up)), 1e-6)
    side = np.array([-up[1], up[0]])
    # The face looks across the shoulders: forward, as seen in the picture.
    left = world[_J["shoulder_l"]] - world[_J["shoulder_r"]]
    forward = np.array([left[2], 0.0, -left[0]])
    forward = forward / max(float(np.linalg.norm(forward)), 1e-6)
    back = -forward[0] * np.array([1.0, 0.0])
    ellipse = _CIRCLE[:, :1] * side * (0.093 * unit) + _CIRCLE[:, 1:] * up * (0.125 * unit)
    head = centre + ellipse
    cover = 0.5 + 0.5 * max(0.0, float(forward[2]))
    drop = 0.02 if looks.long_hair else 0.055
    hair_centre = centre + up * (drop + 0.012) * unit * (1.15 - cover) * 1.4 + back * 0.035 * unit
    tall = (0.115 if looks.long_hair else 0.080) * (0.75 + 0.5 * cover)
    hair = hair_centre + _CIRCLE[:, :1] * side * (0.099 * unit) + _CIRCLE[:, 1:] * up * (tall * unit)
    return head, hair, _affine((up * unit)[None], (side * unit)[None], centre[None])[0]


_SHADOW_BARS = np.array([[_J[a], _J[b]] for a, b in (
    ("hip_l", "knee_l"), ("knee_l", "ankle_l"), ("hip_r", "knee_r"), ("knee_r", "ankle_r"), ("pelvis", "neck"),
    ("neck", "crown"), ("shoulder_l", "wrist_l"), ("shoulder_r", "wrist_r"))])  # fmt: skip
_SHADOW_RADIUS = np.array([0.08, 0.06, 0.08, 0.06, 0.17, 0.10, 0.05, 0.05])


def _shadows(world: Array, lens: Lens, sun: tuple[float, float], looks: Looks) -> list[Array]:
    """Where the sun's rays, `sun` metres sideways and away per metre of height, put the body on the ground."""
    flat = world.copy()
    flat[:, 0] += world[:, 1] * sun[0]
    flat[:, 2] = np.maximum(world[:, 2] + world[:, 1] * sun[1], 1.0)
    flat[:, 1] = 0
    px = lens.project(flat)
    radius = _SHADOW_RADIUS * lens.scale(float(world[0, 2])) * looks.stout
    squash = min(1.0, lens.height_m / max(float(world[0, 2]), 1.0) * 1.6 + 0.25)
    bars = capsules(px[_SHADOW_BARS[:, 0]], px[_SHADOW_BARS[:, 1]], radius * squash, radius * squash, 4)
    return list(bars)
