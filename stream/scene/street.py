"""The street: seen across or along, with houses, trees, lamps, signs, fences, traffic and people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headrace.stream.scene import ground
from headrace.stream.scene.acts import Home, Script, Stage
from headrace.stream.scene.backdrop import Backdrop
from headrace.stream.scene.camera import Lens, Motion
from headrace.stream.scene.car import PAINTS, Car
from headrace.stream.scene.furniture import bench, bin_, lamp, railing, sign
from headrace.stream.scene.houses import Houses
from headrace.stream.scene.mood import Mood, draw_mood
from headrace.stream.scene.people import dress
from headrace.stream.scene.ride import Ride
from headrace.stream.scene.setting import Actor, Crowd, Setting
from headrace.stream.scene.sky import paint_sky, paint_skyline
from headrace.stream.scene.traffic import Lane, Path, Style, cars, cyclists

_WIDEST_PAN = 0.12
"""Of the picture's width."""
RIGHT, AWAY, LEFT, NEAR = 0.0, math.pi / 2, math.pi, -math.pi / 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """How the camera was set up: the stage is where events are seen best."""

    lens: Lens
    stage_z_m: float
    half_view: float
    """Tangent of half the angle of view."""


def place_camera(rng: np.random.Generator, size: tuple[int, int], *, high: bool) -> View:
    """A camera that sees a person on the stage at a quarter to a half of the picture's height."""
    w, h = size
    tall = float(rng.uniform(0.25, 0.46))
    horizon = float(rng.uniform(-0.12, 0.22) if high else rng.uniform(0.34, 0.5))
    foot = float(rng.uniform(0.80, 0.93))
    z = float(rng.uniform(7.5, 11.0))
    focal = tall * h * z / 1.74
    lens = Lens(size=size, focal_px=focal, horizon_px=horizon * h, height_m=1.74 * (foot - horizon) / tall)
    return View(lens=lens, stage_z_m=z, half_view=w / 2 / focal)


class Street:
    """Builds a street; everything follows from the seed."""

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
        """`high`: a surveillance camera's view from above; `density` scales traffic and passers-by."""
        self._rng = np.random.default_rng((seed, 1))
        self._seed, self._size, self._density, self._script = seed, size, density, script
        self.mood: Mood = draw_mood(self._rng)
        self._view = place_camera(self._rng, size, high=high)
        rng = self._rng
        self.motion = Motion(
            size=size,
            pan_px=size[0] * float(rng.uniform(0.05, _WIDEST_PAN)) * pan,
            pan_period_s=float(rng.uniform(11, 20)),
            shake_px=size[1] * float(rng.uniform(0.006, 0.014)) * shake,
            roll_rad=0.006 * shake,
            phase=float(rng.uniform(0, 6)),
        )
        self._style = Style(
            seed=seed,
            light=self.mood.light,
            sun=self.mood.sun,
            lamps_on=self.mood.lit > 0.3,
            muted=muted,
            actions=tuple(actions),
        )
        self._paint = Backdrop(self._view.lens, self.mood, margin_px=self.motion.margin_px)
        self._crowds: list[Crowd] = []
        self._fixtures: list[Actor] = []
        self._stages: list[Stage] = []
        self._houses = Houses(self._paint, rng)

    def build(self) -> Setting:
        """The whole street."""
        paint_sky(self._paint, self._rng)
        paint_skyline(self._paint, self._rng)
        if self._rng.random() < 0.5:
            self._across()
        else:
            self._along()
        return Setting(
            lens=self._view.lens,
            motion=self.motion,
            mood=self.mood,
            scenery=self._paint.finish(),
            stages=self._stages,
            crowds=self._crowds if self._density > 0 else [],
            fixtures=[*self._fixtures, *self._houses.foliage],
        )

    def _half(self, z_m: float) -> float:
        """Half of the width of what could be seen at this depth if the camera panned, whether it does or not."""
        return self._view.half_view * (1 + 2 * _WIDEST_PAN) * z_m

    def _across(self) -> None:
        """The camera looks over a near pavement and the road to the houses opposite."""
        rng, paint = self._rng, self._paint
        zs = self._view.stage_z_m
        k1 = zs + float(rng.uniform(1.3, 2.4))
        k2 = k1 + float(rng.uniform(6.4, 7.6))
        wall = k2 + float(rng.uniform(3.0, 4.6))
        ground.across(paint, rng, k1, k2, wall)
        self._houses.row(wall, self._half(wall + 9) + 3)
        for z in sorted(rng.uniform(k2 + 0.4, k2 + 0.8, 1)):
            self._roadside(float(z), trees=0.6)
        first, second = (RIGHT, LEFT) if rng.random() < 0.5 else (LEFT, RIGHT)
        wide = self._half(k2) + 6
        for k, (z, heading) in enumerate(((k2 - 1.9, second), (k1 + 1.9, first))):
            self._lane(k, (wide if heading == LEFT else -wide, z), heading, 2 * wide)
        for k, (z, heading) in enumerate(((k2 - 0.7, second), (k1 + 0.7, first))):
            self._cycle_lane(k, (wide if heading == LEFT else -wide, z), heading, 2 * wide)
        if rng.random() < 0.45:
            self._parked(
                [(float(x), k2 - 0.75, second) for x in np.arange(-wide + 3, wide, 6.5) if rng.random() < 0.3]
            )
        self._path((-wide, (k2 + wall) / 2 + 0.4), (wide, (k2 + wall) / 2 + 0.4), 0, 1.0)
        near = self._half(k1) + 1.5
        self._path((-near, k1 - 0.75), (near, k1 - 0.75), 1, 0.5)
        if rng.random() < 0.4:
            side = float(rng.choice([-1, 1]))
            railing(paint, side * self._half(k1) * 0.35, side * self._half(k1) * 1.1, k1 - 0.15)
        if rng.random() < 0.7:
            self._near_props(k1 - 0.3)
        self._stage(zs, (-1e3, 1e3), more=True)

    def _along(self) -> None:
        """The camera looks down the street, from a pavement or from an island between the lanes."""
        rng, paint = self._rng, self._paint
        zs, far = self._view.stage_z_m, 95.0
        island = bool(rng.random() < 0.4)
        side = float(rng.choice([-1, 1]))
        if island:
            road = (-5.2, 5.2)
            lanes, walks = ((-3.3, 3.3)), (4.0, 4.0)
        else:
            edge = float(rng.uniform(2.2, 2.8)) * side
            other = edge + 7.0 * side
            road = (min(edge, other), max(edge, other))
            lanes = (road[0] + 1.75, road[1] - 1.75)
            walks = (float(rng.uniform(5.2, 5.9)), float(rng.uniform(2.8, 3.6)))
            walks = walks if side > 0 else (walks[1], walks[0])
        walls = (road[0] - walks[0], road[1] + walks[1])
        ground.along(paint, rng, road, walls, (zs - 2.2, zs + 2.2) if island else None)
        self._houses.end(walls, far)
        for x, facing in zip(walls, (1.0, -1.0), strict=True):
            self._houses.canyon(x, facing, far)
        self._alley(road, far)
        drives_left = bool(rng.random() < 0.5)
        for k, x in enumerate(lanes):
            away = (k == 0) == drives_left
            entry = (x, 1.0) if away else (x, far)
            self._lane(k, entry, AWAY if away else NEAR, far - 1)
            gutter = road[k] + (0.55 if k == 0 else -0.55)
            self._cycle_lane(k, (gutter, 1.0 if away else 60.0), AWAY if away else NEAR, 59.0)
        for k, x in enumerate(walls):
            inner = (x + road[k]) / 2 + (0.5 if k else -0.5)
            if not island and (k == 0) == (side > 0):
                inner = x + 0.85 * side  # along the wall, past the camera and the stage
            self._path((inner, 2.6), (inner, 70.0), k, 0.6)
        near = (-1.9, 1.9) if island else (walls[0], road[0]) if side > 0 else (road[1], walls[1])
        self._stage(zs, near, more=not island)
        if island:
            self._path((walls[0] + 0.3, zs + 3.2), (walls[1] - 0.3, zs + 3.2), 2, 0.4)

    def _lane(self, k: int, entry: tuple[float, float], heading: float, long_m: float) -> None:
        rng = self._rng
        speed = float(rng.uniform(5, 11))
        lane = Lane(
            entry_m=entry,
            heading=heading,
            long_m=long_m,
            speed_mps=speed,
            gap_m=max(9.0, float(rng.uniform(9, 24)) / max(self._density, 0.05)),
        )
        self._crowds.append(cars(lane, self._style, 10_000 + 1000 * k, self._seed * 7 + k))

    def _cycle_lane(self, k: int, entry: tuple[float, float], heading: float, long_m: float) -> None:
        rng = self._rng
        lane = Lane(
            entry_m=entry,
            heading=heading,
            long_m=long_m,
            speed_mps=float(rng.uniform(3, 5.5)),
            gap_m=max(4.0, float(rng.uniform(12, 35)) / max(self._density, 0.05)),
        )
        if rng.random() < 0.75:
            self._crowds.append(cyclists(lane, self._style, 20_000 + 1000 * k, self._seed * 11 + k))

    def _path(self, start: tuple[float, float], end: tuple[float, float], k: int, share: float) -> None:
        every = math.dist(start, end) / 1.35 / (float(self._rng.uniform(1.5, 5)) * share * max(self._density, 0.05))
        self._crowds.append(
            Path(
                start,
                end,
                every_s=every,
                first_instance=100 + 1000 * k,
                seed=self._seed * 13 + k,
                style=self._style,
            )
        )

    def _parked(self, spots: Sequence[tuple[float, float, float]]) -> None:
        rng = self._rng
        for k, (x, z, heading) in enumerate(spots[:5]):
            ride = Ride(start_m=(x, z), heading=heading, speed_mps=0.0)
            self._fixtures.append(
                Car(
                    instance=30_000 + k,
                    ride=ride,
                    shape=str(rng.choice(["hatch", "sedan", "suv", "van"])),
                    light=self._style.light,
                    paint=PAINTS[int(rng.integers(len(PAINTS)))],
                    lamps_on=False,
                )
            )

    def _stage(self, z: float, walkable: tuple[float, float], *, more: bool) -> None:
        """The scripted pair, where nothing is in front of it, and perhaps (`more`) two who stand and talk behind.

        `walkable`: between which X people may be.
        """
        self._stages.append(self._pair(0, 0.0, z, walkable))
        if more and self._rng.random() < 0.35 * self._density:
            side = float(self._rng.choice([-1, 1]))
            deeper = 0.8 if walkable[1] > self._half(z) else 4.0
            self._stages.append(self._pair(1, side * self._view.half_view * z * 0.6, z + deeper, walkable))

    def _pair(self, k: int, x: float, z: float, walkable: tuple[float, float]) -> Stage:
        """The k-th stage: only the first follows the script."""
        rng = self._rng
        gap, turn = float(rng.uniform(1.3, 2.2)), float(rng.uniform(-0.55, 0.55))
        low, high = walkable[0] + gap / 2 + 0.3, walkable[1] - gap / 2 - 0.3
        x = max(low, min(high, x + float(rng.uniform(-0.12, 0.12)) * self._view.half_view * z))
        dx, dz = math.cos(turn) * gap / 2, math.sin(turn) * gap / 2
        homes = [Home(spot=(x - dx, z - dz), heading=turn), Home(spot=(x + dx, z + dz), heading=turn + math.pi)]
        count = 2 if k or self._script == "fight" or rng.random() < 0.8 else 1
        actors = [(dress(rng, muted=self._style.muted), float(rng.random())) for _ in range(count)]
        return Stage(
            seed=self._seed * 17 + k,
            first_instance=1 + 10 * k,
            actors=actors,
            homes=homes[:count],
            script=self._script if k == 0 else "normal",
            allowed=self._style.actions if k == 0 else tuple(a for a in self._style.actions if a == "wave"),
            light=self._style.light,
            sun=self._style.sun,
            room_m=max(1.0, min(self._view.half_view * z * 0.35, -walkable[0] - 0.4, walkable[1] - 0.4)),
        )

    def _roadside(self, z: float, *, trees: float) -> None:
        """Trees, lamps, signs, bins and benches at the far kerb."""
        rng, paint = self._rng, self._paint
        x = -self._half(z) + float(rng.uniform(0, 3))
        while x < self._half(z):
            draw = rng.random()
            if draw < trees * 0.6:
                self._houses.tree(x, z)
            elif draw < 0.55:
                lamp(paint, x, z, reach=float(rng.choice([-1, 1])))
            elif draw < 0.8:
                sign(paint, rng, x, z)
            elif draw < 0.9:
                bench(paint, x, z + 1.2)
            else:
                bin_(paint, x, z)
            x += float(rng.uniform(2.5, 5.5))

    def _near_props(self, z: float) -> None:
        rng, paint = self._rng, self._paint
        side = float(rng.choice([-1, 1]))
        for place in (0.62, 0.85):
            draw, x = rng.random(), side * self._half(z) * place
            if draw < 0.4:
                lamp(paint, x, z, reach=-side)
            elif draw < 0.75:
                sign(paint, rng, x, z)
            side = -side

    def _alley(self, road: tuple[float, float], far: float) -> None:
        """Trees, lamps, signs and railings at both kerbs, far ones first."""
        rng, paint = self._rng, self._paint
        planted = float(rng.uniform(0.1, 0.6))
        things = [(float(z) + float(rng.uniform(-1, 1)), k) for z in np.arange(13, far * 0.7, 6.5) for k in (0, 1)]
        for z, k in sorted(things, reverse=True):
            x = road[k] + (-0.6 if k == 0 else 0.6)
            # Nothing stands between the camera and the stage.
            if abs(x) < 0.45 * self._view.half_view * z and z < self._view.stage_z_m + 1:
                continue
            draw = rng.random()
            if draw < planted and z > 13:
                self._houses.tree(x, z)
            elif draw < 0.62:
                lamp(paint, x, z, reach=1.0 if k == 0 else -1.0)
            elif draw < 0.8:
                sign(paint, rng, x, z)
            elif draw < 0.87:
                bin_(paint, x, z)
