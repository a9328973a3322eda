"""What the people on a stage do, period by period: ordinary life, a fall, or a fight."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from headrace.stream.scene.body import Looks
from headrace.stream.scene.figure import Light
from headrace.stream.scene.people import RUN_MPS, WALK_MPS, Action, Person, Step

Script = Literal["auto", "normal", "fall", "fight"]
Event = Literal["normal", "fall", "fight"]
Spot = tuple[float, float]

PERIOD_S = 6.5
"""Each period tells one small story, and begins and ends with everybody standing at home."""
_WAYS = ("front", "back", "left", "right")
_FALL_SETTLE = 1.2
_RISE_S = 1.2
_SHORTEST_S = 0.35
"""Nobody walks or stands for less: one pose needs that long to turn into the next."""
_BLOWS = ("jab", "jab", "hook", "hook", "kick", "push")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Home:
    """Where somebody stands between stories, and which way they look."""

    spot: Spot
    heading: float


class Stage:
    """One or two people who live around one place; a pure function of time."""

    def __init__(
        self,
        *,
        seed: int,
        first_instance: int,
        actors: Sequence[tuple[Looks, float]],
        homes: Sequence[Home],
        script: Script,
        allowed: Sequence[str],
        light: Light,
        sun: tuple[float, float],
        seat: Home | None = None,
        room_m: float = 2.5,
        deep_m: float = 1.5,
        indoors: bool = False,
    ) -> None:
        """`actors`: looks and style of each person; `room_m`: how far they may go to either side, `deep_m` away from
        the camera; `seat`: a chair; `indoors` they also lie down on purpose."""
        self._seed, self._first, self._actors, self._homes = seed, first_instance, actors, homes
        self._script, self._allowed, self._light, self._sun = script, allowed, light, sun
        self._seat, self._room_m, self._deep_m = seat, room_m, deep_m
        self._indoors = indoors
        self._people = lru_cache(maxsize=8)(self._make)

    def people(self, t_s: float) -> list[Person]:
        """Everybody on the stage at `t_s`."""
        return self._people(math.floor(t_s / PERIOD_S))

    def event(self, t_s: float) -> Event:
        """What the period that holds `t_s` is about."""
        return self._event(math.floor(t_s / PERIOD_S))

    def _rng(self, period: int) -> np.random.Generator:
        return np.random.default_rng((self._seed, period & 0xFFFFFFFF, 77))

    def _event(self, period: int) -> Event:
        possible: list[Event] = ["normal"]
        if "fall" in self._allowed:
            possible.append("fall")
        if "fight" in self._allowed and len(self._actors) > 1:
            possible.append("fight")
        if self._script in possible:
            return self._script
        if self._script != "auto":
            return "normal"
        weights = np.array([0.4, 0.3, 0.3][: len(possible)])
        return possible[int(self._rng(period).choice(len(possible), p=weights / weights.sum()))]

    def _make(self, period: int) -> list[Person]:
        rng = self._rng(period)
        rng.random(2)
        start_s, event = period * PERIOD_S, self._event(period)
        if event == "fight":
            plans = self._fight(start_s, rng)
        elif event == "normal" and len(self._actors) > 1 and rng.random() < 0.25:
            plans = self._meet(start_s, rng)
        else:
            lead = int(rng.integers(len(self._actors)))
            plans = [
                self._fall(k, start_s, rng) if event == "fall" and k == lead else self._life(k, start_s, rng)
                for k in range(len(self._actors))
            ]
        return [
            Person(
                instance=self._first + k,
                looks=looks,
                style=style,
                steps=plan,
                light=self._light,
                sun=self._sun,
            )
            for k, ((looks, style), plan) in enumerate(zip(self._actors, plans, strict=True))
        ]

    def _life(self, k: int, start_s: float, rng: np.random.Generator) -> list[Step]:
        """Ordinary life: standing, talking, waving, walking or running there and back, sitting down."""
        options = ["stand", "talk"]
        options += [a for a in ("walk", "walk", "run", "wave") if a in self._allowed]
        options += ["exercise", "bend", "rest"] if self._indoors else ["exercise", "bend"]
        if self._seat is not None and k == 0:
            options += ["sit", "sit"]
        choice = options[int(rng.integers(len(options)))]
        home, plan = self._homes[k], Plan(start_s, self._homes[k])
        plan.keep("stand", "stand", rng.uniform(0.3, 1.0))
        if choice in ("walk", "run"):
            speed = (WALK_MPS if choice == "walk" else RUN_MPS) * rng.uniform(0.75, 1.15)
            reach = rng.uniform(0.6, 1.0) * min(self._room_m, speed * 2.1)
            sign = 1.0 if home.spot[0] > 0 else -1.0
            goal = (home.spot[0] + sign * reach, home.spot[1] + rng.uniform(-0.5, 0.5))
            act: Action = "walk" if choice == "walk" else "run"
            plan.go(goal, speed, act)
            plan.keep("stand", "stand", rng.uniform(0.3, 0.7))
            plan.go(home.spot, speed, act)
        elif choice == "sit" and self._seat is not None:
            plan.go(self._seat.spot, WALK_MPS, "walk")
            plan.face(self._seat.heading)
            home_s = math.dist(plan.spot, home.spot) / WALK_MPS
            plan.keep("sit", "sit", max(0.5, start_s + PERIOD_S - 0.5 - home_s - plan.now_s))
            plan.go(home.spot, WALK_MPS, "walk")
        elif choice == "rest":
            self._rest(plan, start_s, rng)
        elif choice == "bend":
            plan.face(home.heading + float(rng.uniform(-0.7, 0.7)))
            for _ in range(int(rng.integers(1, 3))):
                plan.keep("stand", "bend", float(rng.uniform(1.2, 1.8)))
                plan.keep("stand", "stand", 0.4)
        else:
            facing = -math.pi / 2 + rng.uniform(-0.5, 0.5) if choice == "wave" else home.heading
            plan.face(facing)
            plan.keep("wave" if choice == "wave" else "stand", choice, rng.uniform(2.0, 4.2))
        return plan.done(start_s + PERIOD_S)

    def _rest(self, plan: Plan, start_s: float, rng: np.random.Generator) -> None:
        """Lie down on purpose: what a fall is to be told from."""
        way = "back" if rng.random() < 0.6 else "left"
        _, heading, _ = self._place_to_fall(plan.spot, 0.0, rng)
        plan.face(heading)
        plan.keep("stand", "stand", 0.4)
        down_s = float(rng.uniform(1.4, 1.9))
        plan.keep("sit", "lower", down_s, way=way)
        plan.keep("lie", "lie", max(0.5, start_s + PERIOD_S - 0.5 - _RISE_S - plan.now_s), way=way)
        plan.rise(way, _RISE_S)

    def _meet(self, start_s: float, rng: np.random.Generator) -> list[list[Step]]:
        """Two people go up to each other, shake hands or embrace, talk and part: close, but no fight."""
        a, b = self._homes[0], self._homes[1]
        axis = math.atan2(b.spot[1] - a.spot[1], b.spot[0] - a.spot[0])
        way = "embrace" if rng.random() < 0.5 else "hands"
        reach = 0.85 if way == "hands" else 0.45
        gap, plans = math.dist(a.spot, b.spot), []
        times = rng.uniform(0.3, 0.8), rng.uniform(1.0, 2.2), rng.uniform(0.3, 1.2)
        for home, sign in ((a, 1.0), (b, -1.0)):
            plan, far = Plan(start_s, home), (gap - reach) / 2 * sign
            plan.keep("stand", "stand", float(times[0]))
            plan.go((home.spot[0] + far * math.cos(axis), home.spot[1] + far * math.sin(axis)), 0.9, "walk")
            plan.face(axis if sign > 0 else axis + math.pi)
            plan.keep("stand", "greet", float(times[1]), way=way)
            plan.keep("stand", "talk", float(times[2]))
            plan.back(home.spot, 0.9)
            plans.append(plan)
        return [p.done(start_s + PERIOD_S) for p in plans]

    def _fall(self, k: int, start_s: float, rng: np.random.Generator) -> list[Step]:
        """Walks (or runs, or stands), falls, lies, gets up and goes home."""
        plan, home = Plan(start_s, self._homes[k]), self._homes[k]
        plan.keep("stand", "stand", rng.uniform(0.2, 0.7))
        how = rng.random()
        running = how < 0.2 and "run" in self._allowed
        speed = 0.0 if how > 0.75 else RUN_MPS * 0.8 if running else WALK_MPS
        goal, heading, way = self._place_to_fall(home.spot, speed * float(rng.uniform(0.5, 0.8)), rng)
        if speed:
            plan.go(goal, speed, "run" if running else "walk")
        plan.face(heading)
        fall_s = rng.uniform(0.65, 1.15)
        plan.fall(way, fall_s)
        home_s = math.dist(plan.spot, home.spot) / (WALK_MPS * 1.1)
        latest_s = start_s + PERIOD_S - 0.4 - home_s - _RISE_S
        plan.lie(way, min(float(rng.uniform(1.0, 2.2)), max(0.5, latest_s - plan.now_s)))
        plan.rise(way, _RISE_S)
        plan.go(home.spot, WALK_MPS * 1.1, "walk")
        return plan.done(start_s + PERIOD_S)

    def _place_to_fall(self, home: Spot, way_m: float, rng: np.random.Generator) -> tuple[Spot, float, str]:
        """Where to go, facing which way, and how to fall there, so that the whole body ends within the stage."""
        best: tuple[float, Spot, float, str] | None = None
        for _ in range(6):
            way = _WAYS[int(rng.choice(4, p=[0.35, 0.3, 0.175, 0.175]))]
            heading = float(rng.uniform(-0.7, 0.7)) + (0.0 if rng.random() < 0.5 else math.pi)
            spot = (home[0] + way_m * math.cos(heading), home[1] + way_m * math.sin(heading))
            turn = {"front": 0.0, "back": math.pi, "left": math.pi / 2, "right": -math.pi / 2}[way]
            head = (spot[0] + 1.6 * math.cos(heading + turn), spot[1] + 1.6 * math.sin(heading + turn))
            out = max(0.0, abs(head[0]) - self._room_m * 1.4) + max(0.0, abs(spot[0]) - self._room_m * 1.4)
            out += 2 * max(0.0, home[1] - 0.25 - min(head[1], spot[1])) + max(0.0, head[1] - home[1] - self._deep_m)
            if best is None or out < best[0]:
                best = (out, spot, heading, way)
        assert best is not None
        return best[1:]

    def _fight(self, start_s: float, rng: np.random.Generator) -> list[list[Step]]:
        """Two people go for each other, trade blows and part."""
        a, b = self._homes[0], self._homes[1]
        axis = math.atan2(b.spot[1] - a.spot[1], b.spot[0] - a.spot[0])
        gap = math.dist(a.spot, b.spot)
        reach = float(rng.uniform(0.78, 1.08))
        middle = np.array([(p + q) / 2 for p, q in zip(a.spot, b.spot, strict=True)])
        unit = np.array([math.cos(axis), math.sin(axis)])
        plans = [Plan(start_s, a), Plan(start_s, b)]
        pause = float(rng.uniform(0.1, 0.5))
        for plan, sign in zip(plans, (-1.0, 1.0), strict=True):
            plan.keep("stand", "stand", pause)
            where = middle + unit * (sign * reach / 2)
            plan.go((float(where[0]), float(where[1])), max(0.4, (gap - reach) / 2 / 0.55), "walk")
            plan.face(axis if sign < 0 else axis + math.pi)
        begin = max(p.now_s for p in plans)
        end = start_s + float(rng.uniform(4.7, 5.2))
        drift = 0.0
        while begin < end:
            beat = float(rng.uniform(0.26, 0.50))
            attacker = int(rng.integers(2))
            blow = _BLOWS[int(rng.integers(len(_BLOWS)))]
            beat *= 1.4 if blow == "kick" else 1.0
            answer = ("reel", "reel", "duck", "jab", "hook", "push")[int(rng.integers(6))]
            shove = (0.32 if blow in ("push", "kick") else 0.12) * (1 if attacker == 0 else -1)
            drift = float(np.clip(drift + shove * rng.uniform(0.3, 1.0), -0.7, 0.7))
            for k, plan in enumerate(plans):
                away = middle + unit * (drift + (k - 0.5) * reach * float(rng.uniform(0.9, 1.15)))
                plan.beat(
                    blow if k == attacker else answer,
                    int(rng.integers(2)),
                    begin,
                    beat,
                    (float(away[0]), float(away[1])),
                )
            begin += beat
        for plan, home in zip(plans, (a, b), strict=True):
            plan.back(home.spot, 0.9)
        return [p.done(start_s + PERIOD_S) for p in plans]


class Plan:
    """Steps of one person, written one after the other."""

    def __init__(self, start_s: float, home: Home) -> None:
        """Begins at home."""
        self.now_s, self._home, self.spot, self._heading = start_s, home, home.spot, home.heading
        self._steps: list[Step] = []

    def face(self, heading: float) -> None:
        """Turn, from the next step on."""
        self._heading = heading

    def keep(self, action: Action, pose: str, seconds: float, *, way: str = "") -> None:
        """Do something on the spot."""
        self._add(action, pose, seconds, self.spot, way=way)

    def go(self, spot: Spot, speed_mps: float, action: Action) -> None:
        """Walk or run straight to `spot`."""
        way = math.dist(spot, self.spot)
        if way < 0.05:
            return
        self._heading = math.atan2(spot[1] - self.spot[1], spot[0] - self.spot[0])
        self._add(action, str(action), max(_SHORTEST_S, way / speed_mps), spot)

    def back(self, spot: Spot, seconds: float) -> None:
        """Step back to `spot` without turning round."""
        self._add("walk", "stand", seconds, spot)

    def fall(self, way: str, fall_s: float) -> None:
        """Fall where one stands; the action lasts until the body has settled."""
        slide = 0.35 if way == "front" else 0.1
        spot = (
            self.spot[0] + slide * math.cos(self._heading),
            self.spot[1] + slide * math.sin(self._heading),
        )
        self._add("fall", "fall", fall_s * _FALL_SETTLE, spot, way=way, fall_s=fall_s)

    def lie(self, way: str, seconds: float) -> None:
        """Lie as one fell."""
        self._add("lie", "lie", seconds, self.spot, way=way)

    def rise(self, way: str, seconds: float) -> None:
        """Get up."""
        self._add("stand", "rise", seconds, self.spot, way=way)

    def beat(self, blow: str, side: int, start_s: float, seconds: float, spot: Spot) -> None:
        """One beat of a fight that begins at `start_s`."""
        if start_s > self.now_s + 1e-6:
            self._add("stand", "stand", start_s - self.now_s, self.spot)
        self._add("fight", "fight", seconds, spot, way=blow, side=side)

    def done(self, end_s: float) -> list[Step]:
        """The steps; whatever is left until `end_s` is spent standing at home."""
        self._heading = self._home.heading
        self._add("stand", "stand", max(end_s - self.now_s, _SHORTEST_S), self._home.spot)
        return self._steps

    def _add(
        self,
        action: Action,
        pose: str,
        seconds: float,
        spot: Spot,
        *,
        way: str = "",
        side: int = 0,
        fall_s: float = 1.0,
    ) -> None:
        end = self.now_s + float(seconds)
        self._steps.append(
            Step(
                start_s=self.now_s,
                end_s=end,
                action=action,
                pose=pose,
                start_m=self.spot,
                end_m=spot,
                heading=self._heading,
                way=way,
                side=side,
                fall_s=fall_s,
            )
        )
        self.now_s, self.spot = end, spot
