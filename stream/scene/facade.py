"""Fronts of buildings: walls, windows, shops and roofs as pictures with coverage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from headrace.stream.scene.backdrop import fork, value_noise
from headrace.stream.scene.mood import Mood
from headrace.stream.scene.paint import Colour, mix, shade

COARSE_PX_PER_M, FINE_PX_PER_M = 22.0, 72.0
"""Fronts are painted at a scale between these."""
_WALLS: tuple[Colour, ...] = (
    (176, 96, 74), (150, 82, 66), (206, 186, 154), (226, 212, 190), (196, 160, 118), (168, 172, 176), (134, 142, 152),
    (214, 178, 160), (186, 196, 186), (120, 92, 80), (230, 222, 206), (172, 128, 100), (152, 164, 178),
)  # fmt: skip
_ROOFS: tuple[Colour, ...] = ((122, 68, 56), (84, 80, 86), (104, 92, 84), (70, 76, 90), (138, 90, 68))
_AWNINGS: tuple[Colour, ...] = (
    (186, 56, 52),
    (40, 96, 84),
    (44, 78, 136),
    (208, 150, 60),
    (120, 60, 100),
    (60, 60, 66),
)
Dye = Callable[[Colour], Colour]


@dataclass(slots=True, kw_only=True, eq=False)
class _Front:
    """A front while it is painted; x to the right and y up from its foot, in m."""

    image: NDArray[np.uint8]
    dye: Dye
    roof_m: float
    px_per_m: float

    def bar(self, x: float, y: float, w: float, h: float, colour: Colour, *, raw: bool = False) -> None:
        rows = self.image.shape[0]
        x0, x1 = round(x * self.px_per_m), round((x + w) * self.px_per_m) - 1
        y0, y1 = rows - round((y + h) * self.px_per_m), rows - round(y * self.px_per_m) - 1
        c = colour if raw else self.dye(colour)
        cv2.rectangle(self.image, (x0, y0), (x1, y1), (*c, 255), cv2.FILLED)

    def patch(self, points: list[tuple[float, float]], colour: Colour) -> None:
        rows = self.image.shape[0]
        px = np.array([(x * self.px_per_m, rows - y * self.px_per_m) for x, y in points]).round().astype(np.int32)
        cv2.fillPoly(self.image, [px], (*self.dye(colour), 255), cv2.LINE_AA)


def facade(
    rng: np.random.Generator,
    mood: Mood,
    *,
    wide_m: float,
    floors: int,
    lit_side: float,
    px_per_m: float = COARSE_PX_PER_M,
) -> NDArray[np.uint8]:
    """A house front, uint8 (h, w, 4) at `px_per_m`; `lit_side` is how much light falls on this side."""
    floor_m = float(rng.uniform(2.8, 3.3))
    shop = bool(rng.random() < 0.5)
    ground_m = 3.5 if shop else floor_m
    wall_m = ground_m + (floors - 1) * floor_m
    pitched = bool(rng.random() < 0.5) and floors <= 4
    roof_m = float(rng.uniform(1.4, 2.4)) if pitched else 0.6
    rows, cols = round((wall_m + roof_m) * px_per_m), round(wide_m * px_per_m)
    wall = _WALLS[int(rng.integers(len(_WALLS)))]

    def dye(colour: Colour) -> Colour:
        return shade(colour, mood.bright * lit_side, mood.tint)

    front = _Front(image=np.zeros((rows, cols, 4), np.uint8), dye=dye, roof_m=roof_m, px_per_m=px_per_m)
    _wall(front, rng, wall, wide_m, wall_m)
    _windows(front, rng, mood, wall, (wide_m, ground_m, floor_m), floors, shop)
    (_shop if shop else _door)(front, rng, mood, wall, wide_m)
    _roof(front, rng, wall, wide_m, wall_m, pitched)
    return front.image


def _wall(front: _Front, rng: np.random.Generator, wall: Colour, wide_m: float, wall_m: float) -> None:
    front.bar(0, 0, wide_m, wall_m, wall)
    rows, cols = front.image.shape[:2]
    top = rows - round(wall_m * front.px_per_m)
    rng = fork(rng)
    stain = (value_noise(rng, (cols, rows), 3, 5) - 0.5) * 26
    if rng.random() < 0.6:  # courses of brick
        tall, wide = round(0.18 * front.px_per_m), round(0.27 * front.px_per_m)
        shape = (rows // tall + 1, cols // wide + 1)
        bricks = rng.normal(0, 5, shape).repeat(tall, 0).repeat(wide, 1)
        stain += bricks[:rows, :cols]
        for k in range(max(1, tall // 5)):
            stain[k::tall] -= 9
    body = front.image[top:, :, :3]
    body[...] = np.clip(body + stain[top:, :, None], 0, 255).astype(np.uint8)
    front.bar(0, 0, wide_m, 0.45, mix(wall, (60, 58, 60), 0.5))
    front.bar(0, 0, 0.12, wall_m, mix(wall, (20, 20, 24), 0.25))


def _windows(
    front: _Front,
    rng: np.random.Generator,
    mood: Mood,
    wall: Colour,
    size: tuple[float, float, float],
    floors: int,
    shop: bool,
) -> None:
    wide_m, ground_m, floor_m = size
    bays = max(1, round((wide_m - 0.6) / float(rng.uniform(1.7, 2.8))))
    pitch = (wide_m - 0.6) / bays
    w, h = pitch * float(rng.uniform(0.45, 0.62)), floor_m * float(rng.uniform(0.45, 0.6))
    frame = (236, 234, 228) if rng.random() < 0.65 else mix(wall, (30, 30, 34), 0.65)
    balcony = bool(rng.random() < 0.2)
    shutters = bool(rng.random() < 0.25)
    shutter = _AWNINGS[int(rng.integers(len(_AWNINGS)))]
    for storey in range(0 if not shop else 1, floors):
        y = (ground_m + (storey - 1) * floor_m if storey else 0.0) + floor_m * 0.28
        if storey:
            front.bar(0, y - floor_m * 0.24, wide_m, 0.10, mix(wall, (255, 255, 255), 0.25))
        for bay in range(bays):
            if storey == 0 and bay == bays // 2:
                continue
            x = 0.3 + pitch * (bay + 0.5) - w / 2
            _window(front, rng, mood, (x, y, w, h), frame)
            front.bar(x - 0.08, y - 0.12, w + 0.16, 0.12, mix(wall, (255, 255, 255), 0.35))
            front.bar(x - 0.05, y - 0.18, w + 0.1, 0.06, mix(wall, (10, 10, 14), 0.4))
            if shutters:
                front.bar(x - 0.32, y, 0.27, h, shutter)
                front.bar(x + w + 0.05, y, 0.27, h, shutter)
            if balcony and storey and bay % 2 == 0:
                front.bar(x - 0.25, y - 0.25, w + 0.5, 0.10, (90, 90, 94))
                for k in range(int((w + 0.5) / 0.16)):
                    front.bar(x - 0.25 + k * 0.16, y - 0.2, 0.05, 0.75, (58, 60, 66))
                front.bar(x - 0.25, y + 0.52, w + 0.5, 0.06, (58, 60, 66))


def _window(
    front: _Front, rng: np.random.Generator, mood: Mood, box: tuple[float, float, float, float], frame: Colour
) -> None:
    x, y, w, h = box
    front.bar(x - 0.07, y - 0.05, w + 0.14, h + 0.12, frame)
    if rng.random() < mood.lit:
        warm = mix((255, 214, 130), (255, 238, 190), float(rng.random()))
        front.bar(x, y, w, h, warm, raw=True)
        front.bar(x, y + h * 0.8, w, h * 0.2, mix(warm, (190, 130, 70), 0.5), raw=True)
    else:
        glass = mix(mix((56, 72, 90), mood.sky_top, 0.25), (20, 24, 32), float(rng.uniform(0, 0.5)))
        front.bar(x, y, w, h, glass)
        front.bar(x, y + h * 0.5, w, h * 0.5, mix(glass, mood.sky_low, 0.28))
        if rng.random() < 0.4:
            curtain = mix((232, 226, 214), glass, 0.35)
            front.bar(x, y, w * 0.22, h, curtain)
            front.bar(x + w * 0.78, y, w * 0.22, h, curtain)
    front.bar(x + w / 2 - 0.03, y, 0.06, h, frame)
    front.bar(x, y + h * 0.58, w, 0.06, frame)


def _door(front: _Front, rng: np.random.Generator, mood: Mood, wall: Colour, wide_m: float) -> None:
    bays = max(1, round((wide_m - 0.6) / 2.2))
    x = 0.3 + (wide_m - 0.6) / bays * (bays // 2 + 0.5) - 0.5
    door = _AWNINGS[int(rng.integers(len(_AWNINGS)))]
    front.bar(x - 0.15, 0, 1.3, 2.45, mix(wall, (255, 255, 255), 0.45))
    front.bar(x, 0, 1.0, 2.1, door)
    front.bar(x, 2.12, 1.0, 0.25, mix((90, 110, 130), mood.sky_low, 0.3))
    for k in (0.12, 0.56):
        front.bar(x + k, 0.25, 0.32, 0.7, mix(door, (0, 0, 0), 0.25))
        front.bar(x + k, 1.15, 0.32, 0.7, mix(door, (255, 255, 255), 0.18))


def _shop(front: _Front, rng: np.random.Generator, mood: Mood, wall: Colour, wide_m: float) -> None:
    colour = _AWNINGS[int(rng.integers(len(_AWNINGS)))]
    front.bar(0.2, 0, wide_m - 0.4, 3.0, mix(colour, (20, 20, 24), 0.45))
    shine = mood.lit > 0.3
    glass: Colour = (255, 226, 160) if shine else mix((70, 84, 96), mood.sky_low, 0.30)
    panes = max(2, round(wide_m / 2.2))
    pitch = (wide_m - 0.6) / panes
    door = int(rng.integers(panes))
    for k in range(panes):
        x, low = 0.3 + pitch * k + 0.08, 0.12 if k == door else 0.55
        front.bar(x, low, pitch - 0.16, 2.35 - low, glass, raw=shine)
        if k != door:
            for _ in range(4):  # goods on show
                gx, gw = float(rng.uniform(0, pitch - 0.5)), float(rng.uniform(0.15, 0.35))
                goods = mix(_AWNINGS[int(rng.integers(len(_AWNINGS)))], glass, 0.45)
                front.bar(x + gx, low, gw, float(rng.uniform(0.3, 1.0)), goods)
        front.bar(x, 1.9, pitch - 0.16, 0.06, mix(colour, (20, 20, 24), 0.3))
    front.bar(0.2, 2.75, wide_m - 0.4, 0.6, colour)
    pale = mix(colour, (255, 255, 255), 0.75)
    x = wide_m * float(rng.uniform(0.15, 0.3))
    while x < wide_m * 0.75:  # lettering, too far away to read
        step = float(rng.uniform(0.14, 0.3))
        front.bar(x, 2.92, step * 0.7, 0.26, pale)
        x += step
    if rng.random() < 0.6:
        for k in range(int((wide_m - 0.4) / 0.4)):
            stripe = colour if k % 2 else (238, 234, 224)
            a = 0.2 + k * 0.4
            front.patch([(a, 2.75), (a + 0.4, 2.75), (a + 0.4, 2.15), (a + 0.2, 2.05), (a, 2.15)], stripe)


def _roof(front: _Front, rng: np.random.Generator, wall: Colour, wide_m: float, wall_m: float, pitched: bool) -> None:
    roof = _ROOFS[int(rng.integers(len(_ROOFS)))]
    top = wall_m + front.roof_m
    if pitched:
        hip = min(front.roof_m * 0.7, wide_m / 2.5) if rng.random() < 0.5 else 0.0
        for _ in range(int(rng.integers(0, 3))):
            x = float(rng.uniform(0.25, 0.8)) * wide_m
            front.bar(x, wall_m + front.roof_m * 0.4, 0.6, front.roof_m * 0.58, mix(wall, (90, 60, 50), 0.5))
        high = top - 0.3
        front.patch([(0, wall_m), (wide_m, wall_m), (wide_m - hip, high), (hip, high)], roof)
        for k in range(1, 6):
            y, cut = wall_m + (high - wall_m) * k / 6, hip * k / 6
            front.bar(cut, y, wide_m - 2 * cut, 0.05, mix(roof, (0, 0, 0), 0.22))
        if wide_m > 6 and rng.random() < 0.6:
            for x in (wide_m * 0.3, wide_m * 0.64):
                front.bar(x, wall_m + 0.3, 0.8, 0.75, (238, 234, 226))
                front.bar(x + 0.1, wall_m + 0.38, 0.6, 0.55, (70, 86, 104))
    else:
        front.bar(0, wall_m - 0.1, wide_m, 0.5, mix(wall, (255, 255, 255), 0.3))
        front.bar(0, wall_m + 0.32, wide_m, 0.08, mix(wall, (0, 0, 0), 0.3))
