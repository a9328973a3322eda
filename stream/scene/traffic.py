"""Who passes through: cars and bicycles on lanes, walkers on paths. No end and no beginning, any time can be asked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from headrace.stream.scene.bicycle import Cyclist
from headrace.stream.scene.bodywork import SHAPES
from headrace.stream.scene.car import PAINTS, Car
from headrace.stream.scene.figure import Light
from headrace.stream.scene.people import RUN_MPS, WALK_MPS, Action, Person, Step, dress
from headrace.stream.scene.ride import Ride

Spot = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lane:
    """A straight lane along which things pass at one speed, so that none runs into another."""

    entry_m: Spot
    """(X, Z) where things enter."""
    heading: float
    long_m: float
    speed_mps: float
    gap_m: float
    """Least distance between two; up to 1.6 times as much by chance."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Style:
    """What passers-by have in common in one world."""

    seed: int
    light: Light
    sun: tuple[float, float]
    lamps_on: bool
    muted: float
    actions: tuple[str, ...]


class Stream:
    """What passes along one lane: `make(n, ride, rng)` builds the n-th."""

    def __init__(
        self, lane: Lane, seed: int, make: Callable[[int, Ride, np.random.Generator], Car | Cyclist]
    ) -> None:
        """Remembers a few dozen of those it built."""
        self._lane, self._seed, self._make = lane, seed, make
        self._nth = lru_cache(maxsize=64)(self._build)

    def _build(self, n: int) -> tuple[float, Car | Cyclist]:
        rng = np.random.default_rng((self._seed, n & 0xFFFFFFFF, 5))
        lane = self._lane
        behind = (n + float(rng.uniform(0, 0.6))) * lane.gap_m * 1.6
        c, s = math.cos(lane.heading), math.sin(lane.heading)
        start = (lane.entry_m[0] - behind * c, lane.entry_m[1] - behind * s)
        return behind, self._make(n, Ride(start_m=start, heading=lane.heading, speed_mps=lane.speed_mps), rng)

    def at(self, t_s: float) -> list[Car | Cyclist]:
        """Everything on the lane at `t_s`."""
        way, pitch = self._lane.speed_mps * t_s, self._lane.gap_m * 1.6
        first, last = math.floor((way - self._lane.long_m) / pitch) - 1, math.floor(way / pitch)
        found = (self._nth(n) for n in range(first, last + 1))
        return [thing for behind, thing in found if 0 <= way - behind <= self._lane.long_m]


def cars(lane: Lane, style: Style, first_instance: int, seed: int) -> Stream:
    """Cars of all shapes and paints."""

    def make(n: int, ride: Ride, rng: np.random.Generator) -> Car:
        bus = 0.12 if lane.gap_m * 0.64 > SHAPES["bus"].long + 1 else 0.0
        shape = str(rng.choice(list(SHAPES), p=[0.35 - bus, 0.3, 0.22, 0.13, bus]))
        paint = PAINTS[int(rng.integers(len(PAINTS)))]
        return Car(
            instance=first_instance + n % 900,
            ride=ride,
            shape=shape,
            paint=paint,
            light=style.light,
            lamps_on=style.lamps_on,
        )

    return Stream(lane, seed, make)


def cyclists(lane: Lane, style: Style, first_instance: int, seed: int) -> Stream:
    """People on bicycles."""

    def make(n: int, ride: Ride, rng: np.random.Generator) -> Cyclist:
        return Cyclist(
            instance=first_instance + n % 900,
            ride=ride,
            looks=dress(rng, muted=style.muted),
            paint=PAINTS[int(rng.integers(len(PAINTS)))],
            light=style.light,
            sun=style.sun,
        )

    return Stream(lane, seed, make)


class Path:
    """A stretch of pavement that people walk or run along; some stop on the way and wave."""

    def __init__(
        self, start_m: Spot, end_m: Spot, *, every_s: float, first_instance: int, seed: int, style: Style
    ) -> None:
        """Somebody sets out about `every_s` seconds, from either end."""
        self._ends, self._every_s, self._first, self._seed, self._style = (
            (start_m, end_m),
            every_s,
            first_instance,
            seed,
            style,
        )
        self._long_m = math.dist(start_m, end_m)
        self._nth = lru_cache(maxsize=64)(self._build)

    def at(self, t_s: float) -> list[Person]:
        """Everybody on the path at `t_s`."""
        longest_s = self._long_m / (WALK_MPS * 0.75) + 6
        first, last = math.floor((t_s - longest_s) / self._every_s) - 1, math.floor(t_s / self._every_s)
        people = (self._nth(n) for n in range(first, last + 1))
        return [p for p in people if p.steps[0].start_s <= t_s < p.steps[-1].end_s]

    def _build(self, n: int) -> Person:
        rng = np.random.default_rng((self._seed, n & 0xFFFFFFFF, 9))
        now = (n + float(rng.random())) * self._every_s
        start, end = self._ends if rng.random() < 0.5 else self._ends[::-1]
        aside = float(rng.uniform(-0.45, 0.45))
        heading = math.atan2(end[1] - start[1], end[0] - start[0])
        start, end = (_aside(p, heading, aside) for p in (start, end))
        running = "run" in self._style.actions and rng.random() < 0.15
        speed = float(rng.uniform(0.85, 1.15)) * (RUN_MPS if running else WALK_MPS)
        steps: list[Step] = []
        stop = float(rng.uniform(0.3, 0.7)) if rng.random() < 0.3 and not running else 1.0
        halt = (start[0] + (end[0] - start[0]) * stop, start[1] + (end[1] - start[1]) * stop)
        way_s = self._long_m / speed

        def add(seconds: float, action: Action, a: Spot, b: Spot, facing: float) -> None:
            begin = steps[-1].end_s if steps else now
            steps.append(
                Step(
                    start_s=begin,
                    end_s=begin + seconds,
                    action=action,
                    pose=action,
                    start_m=a,
                    end_m=b,
                    heading=facing,
                )
            )

        add(way_s * stop, "run" if running else "walk", start, halt, heading)
        if stop < 1:
            waves = "wave" in self._style.actions and rng.random() < 0.6
            add(
                float(rng.uniform(2, 4)),
                "wave" if waves else "stand",
                halt,
                halt,
                -math.pi / 2 + float(rng.uniform(-0.6, 0.6)),
            )
            add(way_s * (1 - stop), "walk", halt, end, heading)
        return Person(
            instance=self._first + n % 900,
            looks=dress(rng, muted=self._style.muted),
            steps=steps,
            style=float(rng.random()),
            light=self._style.light,
            sun=self._style.sun,
        )


def _aside(spot: Spot, heading: float, metres: float) -> Spot:
    return spot[0] - math.sin(heading) * metres, spot[1] + math.cos(heading) * metres
