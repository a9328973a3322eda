"""How people fight: a stance, and blows that leave it and come back to it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from headrace.stream.scene.poses import AHEAD, ARM, LEAN, LEG, NOD, ROLL, TWIST, Pose, pose_of


def guard(t_s: float, style: float = 0.0) -> Pose:
    """A fighter's stance: knees bent, fists up, never still."""
    s = math.sin(7.5 * t_s + 6 * style)
    return pose_of(
        root=(
            0.0,
            0,
            0.02 * abs(s),
            0,
            0.22 + 0.06 * s,
            0.25 + 0.1 * s,
            0.0,
            0,
            0.05 * math.sin(4.3 * t_s + style),
        ),
        arms=((0.75 + 0.15 * s, 0.15, 2.25, -0.1), (0.55 - 0.12 * s, 0.2, 2.15, -0.1)),
        legs=((0.48, 0.12, -0.12 + 0.1 * s, 0.0), (-0.12, 0.14, -0.62 - 0.1 * s, -0.2)),
    )


def _jab(arm: int, pose: Pose, force: float) -> Pose:
    pose[ARM[arm] : ARM[arm] + 4] += np.array([0.85, -0.1, -0.75, 0.05]) * force
    pose[TWIST] += (-0.9 if arm == 0 else 0.9) * force
    pose[LEAN] += 0.22 * force
    pose[AHEAD] += 0.16 * force
    return pose


def _hook(arm: int, pose: Pose, force: float) -> Pose:
    pose[ARM[arm] : ARM[arm] + 4] += np.array([0.65, 0.9, -0.5, 0.5]) * force
    pose[TWIST] += (-1.2 if arm == 0 else 1.2) * force
    pose[ROLL] += (0.18 if arm == 0 else -0.18) * force
    pose[AHEAD] += 0.1 * force
    return pose


def _kick(arm: int, pose: Pose, force: float) -> Pose:
    leg = LEG[arm]
    pose[leg : leg + 4] += np.array([1.25, 0.05, 1.75, 0.1]) * force
    pose[LEAN] -= 0.55 * force
    pose[AHEAD] += 0.15 * force
    return pose


def _push(arm: int, pose: Pose, force: float) -> Pose:
    for a in (0, 1):
        pose[ARM[a] : ARM[a] + 4] += np.array([0.8, -0.05, -0.7, 0.1]) * force
    pose[LEAN] += 0.4 * force
    pose[AHEAD] += 0.28 * force
    return pose


def _reel(arm: int, pose: Pose, force: float) -> Pose:
    pose[LEAN] -= 0.55 * force
    pose[NOD] -= 0.4 * force
    pose[AHEAD] -= 0.3 * force
    pose[ARM[0]] += 0.5 * force
    pose[ARM[1] + 1] += 0.7 * force
    return pose


def _duck(arm: int, pose: Pose, force: float) -> Pose:
    pose[LEAN] += 0.6 * force
    for leg in LEG:
        pose[leg] += 0.35 * force
        pose[leg + 2] -= 0.35 * force
    return pose


BLOWS: dict[str, Callable[[int, Pose, float], Pose]] = {
    "jab": _jab,
    "hook": _hook,
    "kick": _kick,
    "push": _push,
    "reel": _reel,
    "duck": _duck,
}
"""What a fighter does within one beat: (which side, stance to change, force 0..1)."""


def fight(t_s: float, blow: str, side: int, u: float, style: float = 0.0) -> Pose:
    """One beat of a fight; `u` from 0 to 1 through the beat: fast out, slower back."""
    force = math.sin(math.pi * min(1.0, max(0.0, u)) ** 0.8) ** 2
    return BLOWS[blow](side, guard(t_s, style), force)
