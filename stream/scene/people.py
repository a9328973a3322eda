"""The people of the scene: who they are, what they wear, and what they do when."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from headrace.stream.scene import blows, poses
from headrace.stream.scene.body import Looks, joints, to_world
from headrace.stream.scene.camera import Lens
from headrace.stream.scene.figure import Light, draw_figure, figure_frames
from headrace.stream.scene.paint import Colour, Drawn, mix

Array = NDArray[np.float64]
Action = Literal["walk", "run", "stand", "wave", "fall", "lie", "sit", "fight"]

WALK_MPS = 1.35
RUN_MPS = 3.2
_BLEND_S = 0.28


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """One thing that a person does, from `start_s` to `end_s`."""

    start_s: float
    end_s: float
    action: Action
    pose: str
    """walk, run, fall, lie, rise, lower, bend, greet, fight, or one of those on the spot."""
    start_m: tuple[float, float]
    """Ground position (X, Z) at the start; it goes straight to `end_m`."""
    end_m: tuple[float, float]
    heading: float
    """Direction the body faces: 0 right, pi/2 away."""
    way: str = ""
    """Direction of a fall, or the blow of a beat in a fight."""
    side: int = 0
    fall_s: float = 1.0
    """Time from losing balance to hitting the ground."""

    def ground(self, t_s: float) -> tuple[float, float]:
        """Where the person is at `t_s`; a walk goes on past its ends, anything else stays."""
        u = (t_s - self.start_s) / max(self.end_s - self.start_s, 1e-6)
        if self.pose not in ("walk", "run"):
            u = min(1.0, max(0.0, u))
            u = u * u * (3 - 2 * u)
        (x0, z0), (x1, z1) = self.start_m, self.end_m
        return x0 + (x1 - x0) * u, z0 + (z1 - z0) * u


@dataclass(slots=True, kw_only=True, eq=False)
class Person:
    """A person with a past and a future: `steps` in order of time, without gaps."""

    instance: int
    looks: Looks
    steps: list[Step]
    style: float = 0.0
    light: Light = field(default_factory=Light)
    sun: tuple[float, float] = (0.0, 0.0)
    class_id: int = 9

    def step_at(self, t_s: float) -> int:
        """Index of the step in force."""
        for k, step in enumerate(self.steps):
            if t_s < step.end_s:
                return k
        return len(self.steps) - 1

    def action(self, t_s: float) -> Action:
        """What the person does at `t_s`."""
        return self.steps[self.step_at(t_s)].action

    def ground(self, t_s: float) -> tuple[float, float]:
        """Position (X, Z) on the ground in metres."""
        return self.steps[self.step_at(t_s)].ground(t_s)

    def body(self, t_s: float) -> Array:
        """(20, 3) joints in the world, in metres."""
        k = self.step_at(t_s)
        step = self.steps[k]
        pose, heading = self._pose(step, t_s), step.heading
        before = t_s - step.start_s
        last = self.steps[max(0, k - 1)]
        # What follows from the last pose by itself (fall, lie, rise; one blow after the other) is not blended.
        flows = step.pose in ("lie", "rise", "lower", "bend") or step.pose == last.pose == "fight"
        blend_s = min(_BLEND_S, step.end_s - step.start_s)
        if k > 0 and 0 <= before < blend_s and not flows:
            share = before / blend_s
            if last.pose not in ("fall", "lie"):
                pose = poses.blend(self._pose(last, t_s), pose, share)
            turn = math.remainder(step.heading - last.heading, 2 * math.pi)
            heading = last.heading + turn * share * share * (3 - 2 * share)
        return to_world(joints(pose, self.looks), step.ground(t_s), heading)

    def draw(self, t_s: float, lens: Lens) -> Drawn | None:
        """The person at `t_s`, or None out of sight."""
        x, z = self.ground(t_s)
        if z < 2.0 or abs(x) - 2 > z * lens.size[0] * 0.75 / lens.focal_px:
            return None
        return draw_figure(self.body(t_s), self.looks, lens, self.sun, self.light)

    def frames(self, t_s: float, lens: Lens) -> Array:
        """(P, 3, 3) of its parts at `t_s`."""
        return figure_frames(self.body(t_s), self.looks, lens)

    def _pose(self, step: Step, t_s: float) -> poses.Pose:
        since, style = t_s - step.start_s, self.style
        u = since / max(step.end_s - step.start_s, 1e-6)
        if step.pose in ("walk", "run"):
            return self._gait(step, t_s)
        if step.pose == "fall":
            return poses.fall(since / step.fall_s, step.way, t_s, style)
        if step.pose == "lie":
            return poses.lie(step.way, t_s, style)
        if step.pose == "rise":
            return poses.rise(u, step.way, t_s, style)
        if step.pose == "lower":
            return poses.lower(u, step.way, t_s, style)
        if step.pose == "greet":
            return poses.greet(t_s, style, embrace=step.way == "embrace")
        if step.pose == "bend":
            return poses.bend(u, t_s, style)
        if step.pose == "fight":
            return blows.fight(t_s, step.way, step.side, u, style)
        return _STILL[step.pose](t_s, style)

    def _gait(self, step: Step, t_s: float) -> poses.Pose:
        (x0, z0), (x1, z1) = step.start_m, step.end_m
        speed = math.hypot(x1 - x0, z1 - z0) / max(step.end_s - step.start_s, 1e-6)
        size = self.looks.tall
        if step.pose == "run":
            return poses.run(2 * math.pi * speed * t_s / (2.5 * size) + self.style * 6)
        vigour = min(1.25, max(0.55, math.sqrt(speed / WALK_MPS)))
        stride_m = 4 * 0.87 * size * math.sin(0.40 * vigour)
        return poses.walk(2 * math.pi * speed * t_s / stride_m + self.style * 6, vigour)


_STILL = {
    "stand": poses.stand, "talk": poses.talk, "wave": poses.wave, "sit": poses.sit,
    "exercise": poses.exercise,
}  # fmt: skip
"""Poses on the spot: functions of time and of the person's style."""

_SKINS: tuple[Colour, ...] = (
    (247, 214, 189), (232, 190, 158), (214, 165, 128), (178, 124, 88), (134, 88, 60), (96, 62, 44),
)  # fmt: skip
_HAIRS: tuple[Colour, ...] = (
    (38, 30, 28),
    (70, 46, 30),
    (120, 78, 44),
    (190, 150, 90),
    (150, 150, 152),
    (28, 26, 34),
)
_SHIRTS: tuple[Colour, ...] = (
    (198, 62, 58), (226, 128, 62), (240, 196, 84), (92, 152, 96), (58, 128, 150), (54, 92, 168), (116, 84, 160),
    (206, 104, 142), (236, 232, 222), (58, 62, 72), (128, 134, 142), (164, 124, 92), (38, 60, 78), (190, 214, 226),
)  # fmt: skip
_TROUSERS: tuple[Colour, ...] = (
    (48, 58, 88), (66, 84, 120), (44, 44, 50), (92, 84, 74), (150, 132, 104), (72, 78, 70), (110, 112, 118),
    (34, 38, 54),
)  # fmt: skip


def dress(rng: np.random.Generator, *, muted: float = 0.0) -> Looks:
    """Someone new; `muted` 0..1 takes the colour out of the clothes."""

    def pick(table: tuple[Colour, ...]) -> Colour:
        colour = table[int(rng.integers(len(table)))]
        jitter = rng.uniform(-14, 14, 3)
        r, g, b = (float(np.clip(c + j, 8, 250)) for c, j in zip(colour, jitter, strict=True))
        grey = (r + g + b) / 3
        return mix((r, g, b), (grey, grey, grey), muted)

    skin, shirt, trousers = pick(_SKINS), pick(_SHIRTS), pick(_TROUSERS)
    bare_arms, bare_legs, skirt = rng.random() < 0.4, rng.random() < 0.15, rng.random() < 0.16
    colours: dict[str, Colour] = {
        "skin": skin, "hair": pick(_HAIRS), "shirt": shirt, "sleeve": shirt,
        "forearm": skin if bare_arms else shirt, "trousers": pick(_SHIRTS) if skirt else trousers,
        "shin": skin if bare_legs or skirt else trousers, "shoes": pick(_TROUSERS if rng.random() < 0.7 else _SHIRTS),
    }  # fmt: skip
    bag = pick(_SHIRTS) if rng.random() < 0.22 else None
    return Looks(
        tall=float(np.clip(rng.normal(1.0, 0.05), 0.86, 1.12)),
        stout=float(np.clip(rng.normal(1.05, 0.11), 0.85, 1.4)),
        colours=colours,
        skirt=skirt,
        long_hair=bool(rng.random() < 0.42),
        bag=bag,
    )
