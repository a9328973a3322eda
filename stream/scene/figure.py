"""A person's figure: from joints in the world to painted limbs, each with its own frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from headrace.stream.scene.body import Array, J, Looks
from headrace.stream.scene.camera import Lens
from headrace.stream.scene.paint import Colour, Drawn, capsules, shade

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
_FROM = np.array([J[b[0]] for b in _BARS])
_TO = np.array([J[b[1]] for b in _BARS])
_R0 = np.array([b[3] for b in _BARS])
_R1 = np.array([b[4] for b in _BARS])
_WEARS = [b[2] for b in _BARS]
_NECK = len(_BARS) - 1
TORSO, HEAD, HAIR = len(_BARS), len(_BARS) + 1, len(_BARS) + 2
PARTS = len(_BARS) + 3
_CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 14, False)), np.sin(np.linspace(0, 2 * np.pi, 14, False))], -1)


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
        self.torso = _torso(self.px, self.scale * looks.stout)
        left = world[J["shoulder_l"]] - world[J["shoulder_r"]]
        far = max(math.hypot(left[0], left[2]), 1e-6)
        # Where the chest points, right and away from the camera.
        self.forward = float(left[2]) / far, -float(left[0]) / far

    def frames(self) -> Array:
        """(PARTS, 3, 3): material coordinates of the limbs, the torso, head and hair to pixels."""
        bars = _bar_frames(self.starts, self.ends, (self.r0 + self.r1) / 2)
        base, up = self.px[0], self.px[J["neck"]] - self.px[0]
        across = np.array([-up[1], up[0]]) / max(math.hypot(up[0], up[1]), 1e-6)
        torso = _affine(up, across * np.abs((self.torso - base) @ across).max(), base)
        up, side = self.head_axes()
        head = _affine(up, side, self.px[J["head"]])
        return np.concatenate([bars, torso[None], head[None], head[None]])

    def head_axes(self) -> tuple[Array, Array]:
        """Up and sideways through the head, 1 m long in pixels."""
        up = self.px[J["crown"]] - self.px[J["neck"]]
        up = up / max(math.hypot(up[0], up[1]), 1e-6) * self.scale[0]
        return up, np.array([-up[1], up[0]])


def figure_frames(world: Array, looks: Looks, lens: Lens) -> Array:
    """(PARTS, 3, 3): coordinates of the parts' material to pixels."""
    return _Layout(world, looks, lens).frames()


def draw_figure(world: Array, looks: Looks, lens: Lens, sun: tuple[float, float], light: Light) -> Drawn:
    """Paint a body whose joints (20, 3) stand in the world; part ids 0..PARTS-1."""
    at = _Layout(world, looks, lens)
    lies = world[J["head"], 1] < 0.6
    drawn = Drawn(depth_m=float(world[:, 2].min()) if lies else float(world[0, 2]), parts=PARTS)
    if at.scale[0] > _SHADOW_FROM:
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
            _paint_head(drawn, at, looks, light)
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
    """One (3, 3), or many, from two directions and an origin in pixels."""
    frames = np.zeros((*u.shape[:-1], 3, 3))
    frames[..., :2, 0], frames[..., :2, 1], frames[..., :2, 2] = u, v, origin
    frames[..., 2, 2] = 1
    # A bar that points straight at the camera has no direction; any will do, as long as it can be inverted.
    flat = np.abs(u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]) < 1e-9
    frames[flat, :2, :2] = np.eye(2)
    return frames


def _hull(points: Array) -> Array:
    return np.asarray(cv2.convexHull(points.astype(np.float32))[:, 0], float)


_CORNERS = [J[n] for n in ("shoulder_l", "shoulder_r", "hip_l", "hip_r")]
_CORNER_RADIUS = np.array([0.075, 0.075, 0.095, 0.095])


def _torso(px: Array, scale: Array) -> Array:
    """Outline of the trunk: around shoulders and hips."""
    centres = px[_CORNERS]
    centres[:2] += (px[J["neck"]] - centres[:2]) * 0.18
    rings = centres[:, None] + _CIRCLE[None] * (_CORNER_RADIUS * scale[_CORNERS])[:, None, None]
    return _hull(rings.reshape(-1, 2))


def _paint_torso(drawn: Drawn, at: _Layout, looks: Looks, light: Light) -> None:
    """Hips in the trousers' colour below, shirt above; a skirt goes from the waist to the knees."""
    colours, outline, px, scale = looks.colours, at.torso, at.px, at.scale
    unit = float(scale[0])
    legs = _CORNERS[2:]
    hips = px[legs][:, None] + _CIRCLE[None] * (0.103 * scale[legs] * looks.stout)[:, None, None]
    drawn.polygons.append((_hull(hips.reshape(-1, 2)), shade(colours["trousers"], light.side, light.tint), TORSO))
    drawn.polygons.append((outline, shade(colours["shirt"], light.side, light.tint), TORSO))
    if looks.skirt:
        knees = [J[n] for n in ("knee_l", "knee_r")]
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
    if looks.bag is not None and at.forward[1] > -0.35:
        # A rucksack hangs behind: one does not see it from the front.
        behind = np.array([-at.forward[0] * 0.15 * unit, 0.0])
        wide = 0.09 + 0.07 * abs(at.forward[1])
        bag = px[0] + (px[1] - px[0]) * 0.62 + behind + _CIRCLE * (wide * unit, 0.19 * unit)
        drawn.polygons.append((bag, shade(looks.bag, light.side, light.tint), TORSO))


def _paint_head(drawn: Drawn, at: _Layout, looks: Looks, light: Light) -> None:
    """Head and hair; the hair sits behind the face."""
    centre, (up, side) = at.px[J["head"]], at.head_axes()
    unit = float(at.scale[0])
    head = centre + _CIRCLE[:, :1] * side * 0.093 + _CIRCLE[:, 1:] * up * 0.125
    drawn.polygons.append((head, shade(looks.colours["skin"], light.side, light.tint), HEAD))
    cover = 0.5 + 0.5 * max(0.0, at.forward[1])
    lift = (0.032 if looks.long_hair else 0.067) * (1.15 - cover) * 1.4
    tall = (0.115 if looks.long_hair else 0.080) * (0.75 + 0.5 * cover)
    middle = centre + up * lift - np.array([at.forward[0] * 0.035 * unit, 0.0])
    hair = middle + _CIRCLE[:, :1] * side * 0.099 + _CIRCLE[:, 1:] * up * tall
    drawn.polygons.append((hair, shade(looks.colours["hair"], light.side, light.tint), HAIR))


_SHADOW_BARS = np.array([[J[a], J[b]] for a, b in (
    ("hip_l", "knee_l"), ("knee_l", "ankle_l"), ("hip_r", "knee_r"), ("knee_r", "ankle_r"), ("pelvis", "neck"),
    ("neck", "crown"), ("shoulder_l", "wrist_l"), ("shoulder_r", "wrist_r"))])  # fmt: skip
_SHADOW_FROM = 9.0
"""Pixels per metre below which nobody would see a shadow."""
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
