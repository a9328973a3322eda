"""A room seen by a camera on a shelf or under the ceiling: one or two people walk, sit, fall."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from headrace.stream.scene.acts import Home, Script, Stage
from headrace.stream.scene.backdrop import Backdrop, fork, value_noise
from headrace.stream.scene.camera import Lens, Motion
from headrace.stream.scene.figure import Light
from headrace.stream.scene.mood import Mood
from headrace.stream.scene.paint import VOID_PART, Colour, mix, shade
from headrace.stream.scene.people import dress
from headrace.stream.scene.setting import Setting

_WALLS: tuple[Colour, ...] = (
    (214, 206, 190), (150, 196, 202), (206, 186, 160), (188, 198, 180), (222, 214, 214), (168, 178, 196),
    (226, 206, 170),
)  # fmt: skip
_FLOORS: tuple[Colour, ...] = (
    (164, 122, 82),
    (128, 92, 64),
    (196, 186, 172),
    (150, 150, 154),
    (186, 150, 110),
)
_CLOTH: tuple[Colour, ...] = (
    (122, 66, 62),
    (64, 86, 112),
    (92, 112, 84),
    (150, 132, 108),
    (96, 78, 110),
    (58, 60, 68),
)


class Room:
    """Builds a room; everything follows from the seed."""

    def __init__(
        self,
        seed: int,
        size: tuple[int, int],
        *,
        pan: bool,
        shake: bool,
        high: bool,
        script: Script,
        actions: Sequence[str],
        density: float,
        muted: float,
    ) -> None:
        """As `Street`; `density` above 1 puts a second person in, as does a fight."""
        rng = self._rng = np.random.default_rng((seed, 2))
        self._seed, self._script, self._actions, self._muted = seed, script, tuple(actions), muted
        w, h = size
        tall, foot = float(rng.uniform(0.38, 0.62)), float(rng.uniform(0.86, 0.95))
        horizon = float(rng.uniform(0.0, 0.2) if high else rng.uniform(0.28, 0.45))
        self._z = float(rng.uniform(3.6, 5.2))
        focal = tall * h * self._z / 1.74
        self._lens = Lens(size=size, focal_px=focal, horizon_px=horizon * h, height_m=1.74 * (foot - horizon) / tall)
        self._half = w / 2 / focal
        bright = float(rng.uniform(0.7, 1.02))
        warm = float(rng.random())
        self._mood = Mood(
            name="room",
            sky_top=(150, 190, 220),
            sky_low=(220, 230, 236),
            cloud=(250, 250, 250),
            cloudiness=0.3,
            tint=mix((1.05, 0.98, 0.86), (0.96, 1.0, 1.04), warm),
            bright=bright,
            sun=(float(rng.uniform(-0.35, 0.35)), 0.15),
            shadow=0.25,
            lit=0.0,
            haze=0.0,
        )
        self._motion = Motion(
            size=size,
            pan_px=w * float(rng.uniform(0.03, 0.08)) * pan,
            pan_period_s=float(rng.uniform(11, 20)),
            shake_px=h * float(rng.uniform(0.004, 0.01)) * shake,
            roll_rad=0.005 * shake,
            phase=float(rng.uniform(0, 6)),
        )
        self._paint = Backdrop(self._lens, self._mood, margin_px=self._motion.margin_px)
        self._wall_z = self._z + float(rng.uniform(1.3, 2.4))

    def build(self) -> Setting:
        """The whole room."""
        rng = self._rng
        side = float(rng.choice([-1, 1]))
        self._shell()
        self._window(-side)
        self._door(side)
        self._picture()
        if rng.random() < 0.7:
            self._sofa(-side)
        if rng.random() < 0.6:
            self._shelf(side)
        seat = self._chair(side) if rng.random() < 0.75 else None
        if rng.random() < 0.5:
            self._table(-side)
        return Setting(
            lens=self._lens,
            motion=self._motion,
            mood=self._mood,
            scenery=self._paint.finish(),
            stages=[self._stage(seat)],
        )

    def _stage(self, seat: Home | None) -> Stage:
        rng = self._rng
        two = self._script == "fight" or rng.random() < 0.2
        gap, turn = float(rng.uniform(1.1, 1.6)), float(rng.uniform(-0.5, 0.5))
        dx, dz = math.cos(turn) * gap / 2, math.sin(turn) * gap / 2
        homes = [
            Home(spot=(-dx, self._z - dz), heading=turn),
            Home(spot=(dx, self._z + dz), heading=turn + math.pi),
        ]
        count = 2 if two else 1
        actors = [(dress(rng, muted=self._muted), float(rng.random())) for _ in range(count)]
        light = Light(side=self._mood.bright, tint=self._mood.tint, from_side=1.0)
        actions = self._actions if two else tuple(a for a in self._actions if a != "fight")
        return Stage(
            seed=self._seed * 19,
            first_instance=1,
            actors=actors,
            homes=homes[:count],
            script=self._script,
            allowed=[a for a in actions if a != "run"],
            light=light,
            sun=self._mood.sun,
            seat=seat,
            room_m=self._half * self._z * 0.6,
            indoors=True,
            deep_m=self._wall_z - self._z - 0.9,
        )

    def _shell(self) -> None:
        """Back wall, side walls, floor and skirting."""
        rng, paint = self._rng, self._paint
        wall, floor = (t[int(rng.integers(len(t)))] for t in (_WALLS, _FLOORS))
        h, w = paint.shape
        reach = self._half * self._wall_z * float(rng.uniform(0.75, 1.15))
        z = self._wall_z
        canvas = np.empty((h, w, 3), np.float32)
        canvas[:] = shade(wall, self._mood.bright, self._mood.tint)
        canvas += (value_noise(fork(rng), (w, h), 2, 3)[..., None] - 0.5) * 18
        canvas *= np.linspace(1.06, 0.92, h)[:, None, None]
        paint.image[:] = np.clip(canvas, 0, 255).astype(np.uint8)
        for s, factor in ((-1.0, 0.86), (1.0, 0.78)):
            side = np.array([(s * reach, -9, z), (s * reach, -9, 0.7), (s * reach, 9, 0.7), (s * reach, 9, z)], float)
            paint.polygon(side, paint.dye(wall, z, factor), VOID_PART)
        self._floor(floor, reach)
        rows = [(-reach, 0.0, z), (reach, 0.0, z), (reach, 0.11, z), (-reach, 0.11, z)]
        paint.polygon(np.array(rows), paint.dye(mix(wall, (255, 255, 255), 0.5), z), VOID_PART)
        if rng.random() < 0.5:
            self._rug()

    def _floor(self, floor: Colour, reach: float) -> None:
        rng, paint = self._rng, self._paint
        x, z, first = paint.grid()
        inside = (z < self._wall_z) & (np.abs(x) < reach)
        colour = np.empty((*x.shape, 3), np.float32)
        colour[:] = floor
        if rng.random() < 0.55:  # boards
            line = (np.mod(z, 0.22) < 0.02) | ((np.mod(x + np.floor(z / 0.22) * 0.7, 1.6)) < 0.015)
            tone = np.sin(np.floor(z / 0.22) * 17.1 + np.floor((x + np.floor(z / 0.22) * 0.7) / 1.6) * 5.3) * 9
        else:
            line = (np.mod(x, 0.45) < 0.02) | (np.mod(z, 0.45) < 0.03)
            tone = ((np.floor(x / 0.45) + np.floor(z / 0.45)) % 2) * float(rng.uniform(4, 24))
        colour += np.where(line, -22, tone)[..., None].astype(np.float32)
        colour *= (0.86 + 0.14 * np.clip(1 - (z - self._z) / 4, 0, 1))[..., None].astype(np.float32)
        colour *= (np.array(self._mood.tint) * self._mood.bright).astype(np.float32)
        colour += fork(rng).normal(0, 2, x.shape)[..., None].astype(np.float32)
        image = paint.image[first:]
        image[inside] = np.clip(colour, 0, 255).astype(np.uint8)[inside]
        low = np.abs(x) >= reach
        image[low & (z < self._wall_z)] = (image[low & (z < self._wall_z)] * 0.93).astype(np.uint8)

    def _rug(self) -> None:
        turn = np.linspace(0, 2 * np.pi, 40)
        cloth = _CLOTH[int(self._rng.integers(len(_CLOTH)))]
        for share, colour in ((1.0, cloth), (0.86, mix(cloth, (240, 230, 210), 0.45)), (0.78, cloth)):
            ring = np.stack([np.cos(turn) * 1.5 * share, np.zeros(40), self._z + np.sin(turn) * 0.8 * share], -1)
            self._paint.polygon(ring, self._paint.dye(colour, self._z), VOID_PART)

    def _panel(self, x: float, y: float, w: float, h: float, colour: Colour, *, raw: bool = False) -> None:
        z = self._wall_z
        points = np.array([(x, y, z), (x + w, y, z), (x + w, y + h, z), (x, y + h, z)], float)
        self._paint.polygon(points, colour if raw else self._paint.dye(colour, z), VOID_PART)

    def _window(self, side: float) -> None:
        x, w = side * self._half * self._wall_z * 0.45 - 0.6, 1.3
        self._panel(x - 0.08, 0.92, w + 0.16, 1.3, (236, 234, 228))
        night = self._rng.random() < 0.3
        for k, tone in enumerate(((176, 208, 232), (206, 224, 236), (228, 236, 238))):
            self._panel(x, 1.0 + (2 - k) * 0.38, w, 0.38, (30 + 6 * k, 36 + 6 * k, 58) if night else tone, raw=True)
        self._panel(x + w / 2 - 0.03, 1.0, 0.06, 1.14, (236, 234, 228))
        curtain = _CLOTH[int(self._rng.integers(len(_CLOTH)))]
        for a in (x - 0.3, x + w - 0.05):
            for k in range(4):
                self._panel(a + k * 0.09, 0.55, 0.09, 1.85, mix(curtain, (255, 255, 255), 0.12 * (k % 2)))
        self._panel(x - 0.4, 2.38, w + 0.8, 0.05, (90, 80, 72))

    def _door(self, side: float) -> None:
        x = side * self._half * self._wall_z * 0.6 - 0.45
        door = mix(_CLOTH[int(self._rng.integers(len(_CLOTH)))], (190, 160, 130), 0.5)
        self._panel(x - 0.08, 0, 1.06, 2.15, (232, 228, 220))
        self._panel(x, 0, 0.9, 2.06, door)
        for y in (0.2, 1.15):
            for k in (0.1, 0.5):
                self._panel(x + k, y, 0.3, 0.75, mix(door, (0, 0, 0), 0.16))
        self._panel(x + 0.8, 1.0, 0.06, 0.05, (220, 206, 150))

    def _picture(self) -> None:
        rng = self._rng
        for place in (-0.13, 0.09)[: int(rng.integers(0, 3))]:
            w, h = float(rng.uniform(0.35, 0.7)), float(rng.uniform(0.3, 0.6))
            x, y = place * self._half * self._wall_z - w / 2, float(rng.uniform(1.35, 1.75))
            self._panel(x, y, w, h, (60, 48, 40))
            self._panel(x + 0.04, y + 0.04, w - 0.08, h - 0.08, (238, 232, 220))
            for k in range(3):
                tone = _CLOTH[int(rng.integers(len(_CLOTH)))]
                self._panel(
                    x + 0.09,
                    y + 0.08 + k * (h - 0.16) / 3,
                    w - 0.18,
                    (h - 0.16) / 3,
                    mix(tone, (255, 255, 255), 0.3),
                )

    def _block(self, x: float, z: float, size: tuple[float, float, float], base: float, colour: Colour) -> None:
        """A box of width, height and depth: front, top and the side that shows."""
        w, h, d = size
        depth = z + d / 2
        low, high, near, far = base, base + h, z, z + d
        dye = self._paint.dye
        a, b = x - w / 2, x + w / 2
        side = a if x > 0 else b
        faces = [
            ([(a, high, near), (b, high, near), (b, high, far), (a, high, far)], 1.1),
            ([(side, low, near), (side, low, far), (side, high, far), (side, high, near)], 0.8),
            ([(a, low, near), (b, low, near), (b, high, near), (a, high, near)], 0.95),
        ]
        for points, factor in faces:
            self._paint.polygon(np.array(points, float), dye(colour, z, factor), VOID_PART, depth_m=depth)

    def _sofa(self, side: float) -> None:
        x, z = side * self._half * self._wall_z * 0.5, self._wall_z - 0.95
        cloth = _CLOTH[int(self._rng.integers(len(_CLOTH)))]
        self._block(x, z + 0.6, (1.9, 0.85, 0.25), 0.0, cloth)
        self._block(x, z + 0.1, (1.9, 0.42, 0.55), 0.0, mix(cloth, (255, 255, 255), 0.08))
        for k in (-0.9, 0.9):
            self._block(x + k, z, (0.2, 0.6, 0.75), 0.0, mix(cloth, (0, 0, 0), 0.08))
        self._block(x - 0.4, z + 0.45, (0.45, 0.35, 0.12), 0.42, _CLOTH[int(self._rng.integers(len(_CLOTH)))])

    def _shelf(self, side: float) -> None:
        rng = self._rng
        x, z = side * self._half * self._wall_z * 0.32, self._wall_z - 0.35
        wood = (140, 102, 70)
        self._block(x, z, (1.0, 1.8, 0.3), 0.0, wood)
        for k in range(4):
            low = 0.1 + k * 0.43
            self._paint.box(x, z, (0.9, 0.36), low, mix(wood, (20, 16, 12), 0.5), VOID_PART)
            at = x - 0.43
            while at < x + 0.3:
                w = float(rng.uniform(0.03, 0.08))
                self._paint.box(
                    at + w / 2,
                    z,
                    (w, float(rng.uniform(0.2, 0.32))),
                    low,
                    _CLOTH[int(rng.integers(len(_CLOTH)))],
                    VOID_PART,
                )
                at += w + 0.005 + (0.15 if rng.random() < 0.1 else 0)

    def _chair(self, side: float) -> Home:
        """A chair that can be sat on: where to stand, and facing which way."""
        x, z = side * self._half * self._z * 0.5, self._z + 0.55
        wood = mix((150, 104, 66), (60, 50, 44), float(self._rng.random()))
        for dx in (-0.2, 0.2):
            for dz in (0.4, 0.0):
                self._block(x + dx, z + dz, (0.05, 0.44, 0.05), 0.0, wood)
        self._block(x, z, (0.46, 0.05, 0.45), 0.42, mix(wood, (255, 255, 255), 0.15))
        self._block(x, z + 0.42, (0.46, 0.5, 0.04), 0.47, wood)
        return Home(spot=(x, z + 0.2), heading=-math.pi / 2 - side * 0.5)

    def _table(self, side: float) -> None:
        x, z = side * self._half * self._z * 0.8, self._z + 0.4
        wood = (166, 124, 84)
        for dx in (-0.5, 0.5):
            for dz in (0.5, 0.0):
                self._block(x + dx, z + dz, (0.06, 0.7, 0.06), 0.0, mix(wood, (0, 0, 0), 0.2))
        self._block(x, z, (1.2, 0.05, 0.6), 0.7, wood)
        self._block(x + 0.2, z + 0.2, (0.12, 0.2, 0.12), 0.75, (90, 130, 150))
