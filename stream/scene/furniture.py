"""What stands in a street: lamps, signs, fences, railings, benches and bins."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from headrace.stream.scene.backdrop import FENCE, POLE, SIGN, TREE, Backdrop
from headrace.stream.scene.paint import VOID_PART, Colour, mix, shade

Array = NDArray[np.float64]
_STEEL: Colour = (92, 96, 104)


def _upright(x: float, z: float, points: list[tuple[float, float]]) -> Array:
    return np.array([(x + a, b, z) for a, b in points], float)


def lamp(backdrop: Backdrop, x: float, z: float, *, reach: float) -> None:
    """A street lamp, 5.4 m high, its arm `reach` to the right (or left when negative)."""
    steel = backdrop.dye(_STEEL, z)
    dark = backdrop.dye(mix(_STEEL, (20, 20, 24), 0.4), z)
    foot = [(-0.12, 0), (0.12, 0), (0.10, 0.9), (-0.10, 0.9)]
    backdrop.polygon(_upright(x, z, foot), dark, POLE, depth_m=z)
    backdrop.polygon(_upright(x, z, [(-0.07, 0.5), (0.07, 0.5), (0.045, 5.4), (-0.045, 5.4)]), steel, POLE, depth_m=z)
    s = math.copysign(1.0, reach)
    arm = [(0, 5.3), (0.5 * s, 5.62), (1.1 * s, 5.70), (1.1 * s, 5.78), (0.45 * s, 5.71), (0, 5.42)]
    backdrop.polygon(_upright(x, z, arm), steel, POLE, depth_m=z)
    head = [(1.0 * s, 5.62), (1.6 * s, 5.66), (1.55 * s, 5.80), (1.0 * s, 5.82)]
    backdrop.polygon(_upright(x, z, head), dark, POLE, depth_m=z)
    if backdrop.mood.lit > 0.3:
        backdrop.polygon(
            _upright(x, z, [(1.05 * s, 5.56), (1.5 * s, 5.60), (1.5 * s, 5.66), (1.05 * s, 5.64)]),
            (255, 240, 196),
            POLE,
            depth_m=z,
        )
        centre = backdrop.lens.project(np.array([[x + 1.3 * s, 5.6, z]]))[0]
        backdrop.glow(centre, 2.4 * backdrop.lens.scale(z), (255, 206, 130), 0.55)
        pool = backdrop.lens.project(np.array([[x + 1.3 * s, 0.0, z]]))[0]
        backdrop.glow(pool, 3.0 * backdrop.lens.scale(z), (255, 196, 120), 0.22)


def sign(backdrop: Backdrop, rng: np.random.Generator, x: float, z: float) -> None:
    """A traffic sign on its pole: round, triangular, square or with a name."""
    backdrop.polygon(
        _upright(x, z, [(-0.045, 0), (0.045, 0), (0.045, 2.3), (-0.045, 2.3)]),
        backdrop.dye((150, 152, 156), z),
        POLE,
        depth_m=z,
    )
    kind = int(rng.integers(5))
    y = 2.55
    turn = np.linspace(0, 2 * math.pi, 20, endpoint=False)
    disc = [(math.cos(a), math.sin(a)) for a in turn]
    triangle = [(-0.95, -0.6), (0.95, -0.6), (0.0, 1.05)]
    square = [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)]
    eight = [(math.cos(a), math.sin(a)) for a in np.arange(8) * math.pi / 4 + math.pi / 8]
    red, blue, white = (204, 40, 44), (34, 86, 168), (240, 240, 236)
    plates: list[list[tuple[list[tuple[float, float]], float, Colour]]] = [
        [(disc, 0.36, red), (disc, 0.27, white),
         ([(-0.7, -0.2), (0.7, -0.2), (0.7, 0.2), (-0.7, 0.2)], 0.27, (40, 40, 44))],
        [(triangle, 0.42, red), (triangle, 0.29, white), ([(-0.12, -0.4), (0.12, -0.4), (0.12, 0.4), (-0.12, 0.4)], 0.3,
                                                          (40, 40, 44))],
        [(square, 0.36, blue), ([(-0.4, -0.6), (-0.15, -0.6), (-0.15, 0.6), (-0.4, 0.6)], 0.36, white),
         ([(-0.3, 0.0), (0.4, 0.0), (0.4, 0.6), (-0.3, 0.6)], 0.36, white),
         ([(-0.12, 0.18), (0.2, 0.18), (0.2, 0.42), (-0.12, 0.42)], 0.36, blue)],
        [(eight, 0.38, white), (eight, 0.35, red),
         ([(-0.7, -0.18), (0.7, -0.18), (0.7, 0.18), (-0.7, 0.18)], 0.33, white)],
        [(disc, 0.36, blue), ([(0.0, 0.6), (0.45, 0.1), (0.15, 0.1), (0.15, -0.6), (-0.15, -0.6), (-0.15, 0.1),
                               (-0.45, 0.1)], 0.36, white)],
    ]  # fmt: skip
    for points, size, colour in plates[kind]:
        plate = _upright(x, z, [(a * size, y + b * size) for a, b in points])
        backdrop.polygon(plate, backdrop.dye(colour, z), SIGN, depth_m=z)


def fence(
    backdrop: Backdrop,
    rng: np.random.Generator,
    corner: tuple[float, float, float],
    along: tuple[float, float, float],
    wide_m: float,
) -> None:
    """A garden fence: boards, iron bars, or a hedge."""
    kind = int(rng.choice(3, p=[0.4, 0.4, 0.2]))
    scale = 40.0
    high = (1.15, 1.3, 1.2)[kind]
    rows, cols = round(high * scale), round(wide_m * scale)
    canvas = np.zeros((rows, cols, 4), np.uint8)
    mood = backdrop.mood
    tone = ((168, 126, 86), (60, 66, 70), (74, 112, 60))[kind]
    if rng.random() < 0.4 and kind == 0:
        tone = (226, 224, 216)

    def dye(colour: Colour, factor: float) -> tuple[float, float, float, float]:
        return (*shade(colour, factor * mood.bright, mood.tint), 255.0)

    if kind == 2:
        cv2.rectangle(canvas, (0, 6), (cols, rows), dye(tone, 0.85), cv2.FILLED)
        for _ in range(int(wide_m * 90)):
            at = (int(rng.integers(cols)), int(rng.integers(4, rows)))
            cv2.circle(canvas, at, int(rng.integers(2, 5)), dye(tone, float(rng.uniform(0.7, 1.25))), cv2.FILLED)
    else:
        step, thick = ((0.16, 0.13), (0.15, 0.045))[kind]
        for y in (0.25, 0.8):
            a = rows - round(high * y * scale)
            cv2.rectangle(canvas, (0, a - 3), (cols, a + 2), dye(tone, 0.8), cv2.FILLED)
        for k in range(int(wide_m / step)):
            x = round(k * step * scale)
            lift = round(float(rng.uniform(0, 1.5))) if kind == 0 else 0
            cv2.rectangle(
                canvas,
                (x, 3 + lift),
                (x + round(thick * scale), rows),
                dye(tone, float(rng.uniform(0.92, 1.06))),
                cv2.FILLED,
            )
    backdrop.texture(canvas, scale, corner, along, TREE if kind == 2 else FENCE)


def railing(backdrop: Backdrop, x0: float, x1: float, z: float) -> None:
    """A pedestrian railing along the kerb."""
    steel = backdrop.dye((156, 160, 166), z)
    left, right = min(x0, x1), max(x0, x1)
    for y in (0.35, 0.98):
        bar = [(left, y, z), (right, y, z), (right, y + 0.06, z), (left, y + 0.06, z)]
        backdrop.polygon(np.array(bar, float), steel, FENCE, depth_m=z)
    for k in range(int((right - left) / 0.16) + 1):
        thick = 0.03 if k % 12 == 0 else 0.012
        post = [(-thick, 0), (thick, 0), (thick, 1.0), (-thick, 1.0)]
        backdrop.polygon(_upright(left + k * 0.16, z, post), steel, FENCE, depth_m=z)


def bench(backdrop: Backdrop, x: float, z: float) -> None:
    """A park bench."""
    wood = (150, 104, 66)
    for leg in (-0.65, 0.65):
        backdrop.box(x + leg, z, (0.07, 0.45), 0.0, (70, 72, 76), VOID_PART)
    for k, y in enumerate((0.42, 0.58, 0.74)):
        backdrop.box(x, z, (1.6, 0.11), y, mix(wood, (255, 255, 255), 0.05 * k), VOID_PART)


def bin_(backdrop: Backdrop, x: float, z: float) -> None:
    """A litter bin."""
    body = [(-0.22, 0), (0.22, 0), (0.27, 0.85), (-0.27, 0.85)]
    backdrop.polygon(_upright(x, z, body), backdrop.dye((62, 96, 78), z), VOID_PART, depth_m=z)
    backdrop.box(x, z, (0.58, 0.10), 0.85, (44, 60, 54), VOID_PART)
