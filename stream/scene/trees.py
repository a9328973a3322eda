"""Trees: a trunk that stands still and foliage that sways."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from headrace.stream.scene.backdrop import TREE, Backdrop, fork
from headrace.stream.scene.camera import Lens
from headrace.stream.scene.paint import Colour, Drawn, Sprite, mix

Array = NDArray[np.float64]

_GREENS: tuple[Colour, ...] = (
    (88, 136, 62), (66, 116, 66), (120, 150, 60), (74, 128, 88), (150, 142, 52), (196, 128, 52), (58, 100, 58),
)  # fmt: skip

_SWAYS_FROM = 0.2
"""A crown narrower than this share of the picture's height stands still."""


class Foliage:
    """The crown of one tree as a sprite that leans to and fro."""

    class_id, instance = TREE, 0

    def __init__(self, *, rgba: NDArray[np.uint8], foot_px: Array, depth_m: float, sway: float, phase: float) -> None:
        """`foot_px`: pixel of the resting camera under the middle of the sprite's lower edge."""
        self._rgba, self._foot, self._depth, self._sway, self._phase = rgba, foot_px, depth_m, sway, phase

    def draw(self, t_s: float, lens: Lens) -> Drawn:
        """The crown at `t_s`."""
        sprite = Sprite(rgba=self._rgba, frame=self.frames(t_s, lens)[0])
        return Drawn(depth_m=self._depth, parts=1, sprite=sprite)

    def frames(self, t_s: float, lens: Lens) -> Array:
        """(1, 3, 3): pixel of the sprite to pixel of the resting camera."""
        h, w = self._rgba.shape[:2]
        p = self._phase
        shear = self._sway * (math.sin(1.3 * t_s + p) + 0.5 * math.sin(2.9 * t_s + 2 * p))
        swell = 1 + 0.3 * self._sway * math.sin(2.1 * t_s + 3 * p)
        fx, fy = self._foot
        # x moves with the height above the sprite's foot.
        return np.array(
            [
                [
                    [swell, -shear, fx - swell * (w - 1) / 2 + shear * (h - 1)],
                    [0, swell, fy - swell * (h - 1)],
                    [0, 0, 1],
                ]
            ]
        )


def plant(
    backdrop: Backdrop,
    rng: np.random.Generator,
    x_m: float,
    z_m: float,
    *,
    crown_m: float,
    stem_m: float,
    bare: bool = False,
) -> Foliage | None:
    """Paint the trunk and return the foliage: a crown `crown_m` wide on a stem `stem_m` high.

    Far trees are painted whole, since nobody would see them sway: they have no foliage of their own.
    """
    lens, mood = backdrop.lens, backdrop.mood
    bark = mix((96, 74, 58), (60, 52, 46), float(rng.random()))
    side = -1.0 if mood.sun[0] > 0 else 1.0
    _trunk(backdrop, bark, (x_m, z_m), (crown_m, stem_m), side)
    green = _GREENS[int(rng.choice(len(_GREENS), p=[0.22, 0.2, 0.15, 0.15, 0.08, 0.08, 0.12]))]
    wide_px = max(6, round(crown_m * 1.25 * lens.scale(z_m)))
    colours = [backdrop.dye(mix(green, (20, 40, 36), d), z_m, f) for d, f in ((0.5, 0.75), (0.22, 0.92), (0.0, 1.05))]
    colours.append(backdrop.dye(mix(green, (240, 236, 150), 0.3), z_m, 1.15))
    foot = lens.project(np.array([[x_m, stem_m * 0.88, z_m]]))[0]
    if bare:
        colours = [backdrop.dye(bark, z_m, f) for f in (0.72, 0.95)]
    paint, leaves = _twigs if bare else _crown, fork(rng)
    sway, phase = float(rng.uniform(0.012, 0.03)), float(rng.uniform(0, 6))
    if wide_px < lens.size[1] * _SWAYS_FROM:
        rgba = paint(leaves, max(4, wide_px * backdrop.fine), colours, side)
        corner = backdrop.pixels(foot) - ((rgba.shape[1] - 1) / 2, rgba.shape[0] - 1)
        backdrop.stamp(rgba, round(float(corner[0])), round(float(corner[1])), TREE, z_m)
        return None
    rgba = paint(leaves, wide_px, colours, side)
    return Foliage(
        rgba=rgba,
        foot_px=foot,
        depth_m=z_m - 0.01,
        sway=sway,
        phase=phase,
    )


def _trunk(
    backdrop: Backdrop, bark: Colour, place: tuple[float, float], size: tuple[float, float], side: float
) -> None:
    """Trunk and two boughs at (X, Z) for a crown and stem of this size; the sunny `side` is lighter."""
    (x_m, z_m), (crown_m, stem_m) = place, size
    thick = 0.10 + 0.03 * crown_m
    top = stem_m + crown_m * 0.45
    shapes = [
        (0.85, [(-thick * 1.25, 0), (thick * 1.25, 0), (thick * 0.7, top), (-thick * 0.7, top)]),
        (
            1.10,
            [(a * side, y) for a, y in ((0.1 * thick, 0), (thick * 1.25, 0), (thick * 0.7, top), (0.1 * thick, top))],
        ),
    ]
    for k in (-1, 1):
        bough = [
            (0.0, stem_m * 0.8),
            (k * thick * 0.3, stem_m * 0.75),
            (k * crown_m * 0.28, top),
            (k * crown_m * 0.24, top),
        ]
        shapes.append((0.8, bough))
    for factor, corners in shapes:
        points = np.array([(x_m + x, y, z_m) for x, y in corners])
        backdrop.polygon(points, backdrop.dye(bark, z_m, factor), TREE, depth_m=z_m)


def _twigs(rng: np.random.Generator, wide_px: int, colours: list[Colour], side: float) -> NDArray[np.uint8]:
    """The branches of a tree in winter: each forks into two or three thinner ones."""
    fine = 3
    w, h = wide_px * fine, round(wide_px * fine * 1.05)
    canvas = np.zeros((h, w, 4), np.uint8)
    canvas[..., :3] = colours[0]
    grown = [(w / 2, h - 1.0, math.pi / 2 + float(rng.uniform(-0.5, 0.5)), h * 0.30, w * 0.035) for _ in range(3)]
    while grown:
        x, y, angle, far, thick = grown.pop()
        to_x, to_y = x + far * math.cos(angle), y - far * math.sin(angle)
        tone = colours[1] if math.cos(angle) * side > 0 else colours[0]
        ends = (round(x), round(y)), (round(to_x), round(to_y))
        cv2.line(canvas, *ends, (*tone, 255), max(1, round(thick)), cv2.LINE_AA)
        if thick > max(1.2, w * 0.004):
            for _ in range(int(rng.integers(2, 4))):
                turn = angle + float(rng.normal(0, 0.48))
                grown.append((to_x, to_y, turn, far * float(rng.uniform(0.62, 0.86)), thick * 0.62))
    return np.asarray(cv2.resize(canvas, (wide_px, h // fine), interpolation=cv2.INTER_AREA), np.uint8)


def _crown(rng: np.random.Generator, wide_px: int, colours: list[Colour], side: float) -> NDArray[np.uint8]:
    """Leaves in four tones over a cluster of balls, the light ones on the sunny upper side."""
    fine = 2 if wide_px < 260 else 1
    w = wide_px * fine
    h = round(w * float(rng.uniform(0.85, 1.1)))
    canvas = np.zeros((h, w, 4), np.uint8)
    canvas[..., :3] = colours[0]
    balls = [(0.5, 0.55, 0.30)] + [
        (0.5 + 0.25 * math.cos(a), 0.56 + 0.24 * math.sin(a), float(rng.uniform(0.15, 0.21)))
        for a in np.arange(7) * 2 * math.pi / 7 + float(rng.uniform(0, 1))
    ]  # fmt: skip
    leaf = max(1.0, w * 0.022)
    for tone, (colour, reach) in enumerate(zip(colours, (1.0, 0.98, 0.86, 0.66), strict=True)):
        for bx, by, br in balls:
            count = (34, 40, 30, 16)[tone] if wide_px > 40 else (16, 14, 10, 5)[tone]
            angle, far = rng.uniform(0, 2 * math.pi, count), np.sqrt(rng.random(count)) * br * reach
            shift = 0.0 if tone < 2 else 0.30 * br * (tone - 1)
            xs = (bx + far * np.cos(angle) + side * shift) * w
            ys = (by + far * np.sin(angle) - shift) * h
            size = leaf * rng.uniform(0.8, 1.9, count) * (1.3 if tone == 0 else 1.0)
            tone_rgba = (*colour, 255)
            for x, y, s in np.rint(np.stack([xs, ys, np.maximum(size, 1)], -1)).astype(int).tolist():
                cv2.circle(canvas, (x, y), s, tone_rgba, cv2.FILLED)
    if fine > 1:
        small = (wide_px, h // fine)
        return np.asarray(cv2.resize(canvas, small, interpolation=cv2.INTER_AREA), np.uint8)
    return canvas
