"""Poses of the human body as functions of time: gaits, gestures, falls and blows."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Pose = NDArray[np.float64]

# Indices into a pose. Angles in rad; pitch is forward, spread is outward; limbs are given in the frame of the
# pelvis, not of the limb above, so a blend of two poses is a pose.
PITCH, ROLL, HOP, ANCHOR, LEAN, TWIST, NOD, SEAT, AHEAD = range(9)
ARM = (9, 13)
"""Left, right: upper arm pitch, spread, forearm pitch, spread."""
LEG = (17, 21)
"""Left, right: thigh pitch, spread, shin pitch, foot pitch."""
POSE_LENGTH = 25


def pose_of(
    *,
    root: tuple[float, ...] = (),
    arms: tuple[tuple[float, ...], tuple[float, ...]],
    legs: tuple[tuple[float, ...], tuple[float, ...]],
) -> Pose:
    values = (*root, *(0.0,) * (9 - len(root)), *arms[0], *arms[1], *legs[0], *legs[1])
    return np.array(values, float)


def stand(t_s: float, style: float = 0.0) -> Pose:
    """Standing at ease, with a little sway."""
    s = 0.02 * math.sin(1.7 * t_s + 9 * style)
    arm = (0.05 + s, 0.12, 0.22 + 0.2 * style, 0.08)
    return pose_of(
        root=(0, 0, 0, 0, 0.02 + s, 0, 0.05),
        arms=(arm, (0.02 - s, 0.12, 0.3, 0.06)),
        legs=((0.03, 0.07, -0.03, 0.0), (-0.02, 0.07, -0.05, 0.0)),
    )


def talk(t_s: float, style: float = 0.0) -> Pose:
    """Standing and speaking with the hands."""
    pose = stand(t_s, style)
    a, b = math.sin(4.1 * t_s + 5 * style), math.sin(2.9 * t_s + 3 * style)
    pose[ARM[1] : ARM[1] + 4] = (0.35 + 0.2 * a, 0.2, 1.35 + 0.45 * b, 0.25 + 0.3 * a)
    pose[ARM[0] : ARM[0] + 4] = (0.2 + 0.1 * b, 0.15, 0.9 + 0.3 * a * style, 0.15)
    pose[NOD] += 0.08 * b
    return pose


def walk(phase: float, vigour: float = 1.0) -> Pose:
    """Walking; `phase` in rad, one turn per two steps."""
    swing = 0.40 * vigour
    legs, arms = [], []
    for side in (0.0, math.pi):
        p = phase + side
        hip = swing * math.sin(p) + 0.04
        knee = 0.10 + 0.95 * vigour * max(0.0, math.cos(p + 0.55)) ** 1.6
        legs.append((hip, 0.015, hip - knee, 0.35 * max(0.0, -math.sin(p + 0.6)) * -1))
        arm = -0.85 * swing * math.sin(p)
        arms.append((arm, 0.09, arm + 0.28 + 0.25 * max(0.0, -math.sin(p)), 0.05))
    root = (0, 0, 0, 0, 0.05, 0.12 * math.sin(phase), 0.02)
    return pose_of(root=root, arms=(arms[0], arms[1]), legs=(legs[0], legs[1]))


def run(phase: float, vigour: float = 1.0) -> Pose:
    """Running, with a flight between steps."""
    legs, arms = [], []
    for side in (0.0, math.pi):
        p = phase + side
        hip = 0.68 * vigour * math.sin(p) + 0.18
        knee = 0.30 + 1.55 * max(0.0, math.cos(p + 0.75)) ** 1.4
        legs.append((hip, 0.01, hip - knee, -0.5 * max(0.0, -math.sin(p + 0.5))))
        arm = -0.75 * math.sin(p) - 0.1
        arms.append((arm, 0.12, arm + 1.55, -0.05))
    root = (0, 0, 0.07 * abs(math.sin(phase + 0.6)), 0, 0.2, 0.25 * math.sin(phase), -0.05)
    return pose_of(root=root, arms=(arms[0], arms[1]), legs=(legs[0], legs[1]))


def wave(t_s: float, style: float = 0.0) -> Pose:
    """Standing and waving with one arm, or with both."""
    pose = stand(t_s, style)
    beat = math.sin(2 * math.pi * (1.5 + 0.8 * style) * t_s)
    raised = (0.35, 2.35 + 0.08 * beat, 0.35, 2.95 + 0.55 * beat)
    pose[ARM[1] : ARM[1] + 4] = raised
    if style > 0.6:
        pose[ARM[0] : ARM[0] + 4] = raised
    return pose


def sit(t_s: float, style: float = 0.0) -> Pose:
    """Sitting on a seat of knee height."""
    s = 0.02 * math.sin(1.3 * t_s + style)
    arm = (0.45, 0.14, 1.25 + 0.1 * style, 0.02)
    return pose_of(
        root=(0, 0, 0, 0, -0.05 + 0.25 * style + s, 0, 0.1 + 0.2 * style),
        arms=(arm, arm),
        legs=((1.48, 0.1, 0.02, 0.0), (1.48, 0.1, -0.08, 0.0)),
    )


def crouch() -> Pose:
    """Half way up from the floor: on bent knees, hands low."""
    return pose_of(
        root=(0.0, 0, 0, 1, 0.95, 0, -0.2),
        arms=((0.55, 0.15, 0.7, 0.05), (0.35, 0.15, 0.9, 0.05)),
        legs=((1.75, 0.15, -0.45, 0.3), (1.1, 0.1, -1.2, -0.5)),
    )


def greet(t_s: float, style: float, *, embrace: bool) -> Pose:
    """Shaking hands, or in each other's arms."""
    pose = stand(t_s, style)
    if not embrace:
        shake = 0.12 * math.sin(2 * math.pi * 2.2 * t_s)
        pose[ARM[1] : ARM[1] + 4] = (0.75 + shake, -0.05, 1.30 + shake, -0.15)
    else:
        pat = 0.10 * math.sin(2 * math.pi * 1.6 * t_s)
        pose[ARM[0] : ARM[0] + 4] = (1.30, 0.20, 1.55 + pat, -0.55)
        pose[ARM[1] : ARM[1] + 4] = (0.95, 0.20, 1.25 - pat, -0.55)
    pose[LEAN] += 0.10
    return pose


def exercise(t_s: float, style: float = 0.0) -> Pose:
    """Squats, or (from style 0.5) jumping jacks."""
    pose = stand(t_s, style)
    u = 0.5 - 0.5 * math.cos(2 * math.pi * (0.55 if style < 0.5 else 1.1) * t_s)
    for arm, leg in zip(ARM, LEG, strict=True):
        if style < 0.5:
            pose[arm : arm + 4] = (1.5 * u, 0.1, 1.55 * u, 0.0)
            pose[leg], pose[leg + 2] = 1.45 * u, -0.75 * u
        else:
            pose[arm : arm + 4] = (0.1, 0.15 + 2.5 * u, 0.1, 0.1 + 2.8 * u)
            pose[leg + 1] = 0.06 + 0.38 * u
    if style < 0.5:
        pose[LEAN] = 0.55 * u
    else:
        pose[HOP] = 0.10 * math.sin(math.pi * u)
    return pose


def bend(u: float, t_s: float, style: float = 0.0) -> Pose:
    """Picking something up from the ground; `u` from 0 to 1 through it."""
    down = crouch()
    down[ANCHOR] = 1.0
    pose = blend(stand(t_s, style), down, math.sin(math.pi * min(1.0, max(0.0, u))) * 1.05)
    return pose


def cycle(phase: float) -> Pose:
    """On a bicycle: hands on the bar, feet on the pedals (thighs and shins reach a turning crank)."""
    legs = []
    for side in (0.0, math.pi):
        x, y = 0.20 + 0.17 * math.cos(-phase + side), -0.66 + 0.17 * math.sin(-phase + side)
        thigh, shin = reach(x, y, 0.44, 0.43)
        legs.append((thigh, 0.0, shin, 0.1))
    arm = (0.98, 0.05, 1.12, -0.02)
    root = (0, 0, 0, 0, 0.62 + 0.015 * math.sin(2 * phase), 0, -0.55, 0.97)
    return pose_of(root=root, arms=(arm, arm), legs=(legs[0], legs[1]))


def reach(x_m: float, y_m: float, upper_m: float, lower_m: float) -> tuple[float, float]:
    """Pitches of a leg's two bones that put its ankle at (x forward, y up) of the hip, knee forward."""
    d = min(math.hypot(x_m, y_m), upper_m + lower_m - 1e-3)
    along = math.atan2(x_m, -y_m)
    bend = math.acos((upper_m**2 + d**2 - lower_m**2) / (2 * upper_m * d))
    thigh = along + bend
    kx, ky = upper_m * math.sin(thigh), -upper_m * math.cos(thigh)
    return thigh, math.atan2(x_m - kx, -(y_m - ky))


def lie(way: str, t_s: float = 0.0, style: float = 0.0) -> Pose:
    """On the ground: `way` is front, back, left or right."""
    s = 0.015 * math.sin(1.9 * t_s)
    bent = 0.35 + 0.7 * style
    pitch, roll = {"front": (1.53, 0), "back": (-1.50, 0), "left": (0.15, 1.45), "right": (0.15, -1.45)}[way]
    # On the front the arms lie beside or above the head, never under the chest: that would lift the body.
    arms = ((3.0 + s, 0.8, 3.2, 0.4), (-0.05, 0.5, 0.0, 0.3))
    fold = 0.1
    if way == "back":
        arms = ((0.15 + s, 0.75, 0.2, 0.5), (0.2 + 0.4 * style, 0.5, 0.5 + style, 0.3))
        fold = bent
    elif way in ("left", "right"):
        arms = ((1.2 + s, 0.05, 1.9, 0.05), (0.7, 0.1, 1.3 + style, 0.1))
        fold = bent
    legs = ((fold, 0.14, fold - 2.0 * fold, -0.6), (0.4 * fold, 0.1, -0.6 * fold - 0.1, -0.6))
    return pose_of(root=(pitch, roll, 0, 1, 0.05 + s, 0.1, 0.1), arms=arms, legs=legs)


def fall(u: float, way: str, t_s: float, style: float = 0.0) -> Pose:
    """Falling; `u` from 0 (balance lost) over 1 (impact) to 1.2 (settled). Turns about the feet, ever faster."""
    down, up = lie(way, t_s, style), stand(t_s, style)
    angle = min(1.0, max(0.0, (u - 0.12) / 0.88)) ** 2.3
    if u > 1:
        angle += 0.05 * math.sin(min(1.0, (u - 1) / 0.2) * math.pi) * -1
    settle = min(1.0, max(0.0, (u - 0.75) / 0.4))
    buckle = math.sin(math.pi * min(1.0, max(0.0, u)) ** 0.8)
    flail = math.sin(math.pi * min(1.0, u)) ** 0.7
    pose = up + (down - up) * settle
    pose[PITCH], pose[ROLL], pose[ANCHOR] = down[PITCH] * angle, down[ROLL] * angle, min(1.0, max(0.0, u) * 6)
    lift = 1.6 if way == "front" else 0.9
    for k, (arm, leg) in enumerate(zip(ARM, LEG, strict=True)):
        wild = 0.5 * math.sin(11 * t_s + 2 * k)
        pose[arm : arm + 4] += np.array([lift + wild, 0.7, lift + 0.3 + wild, 0.6]) * flail * (1 - settle)
        bend = buckle * (0.55 + 0.5 * style if way != "front" else 0.35 + 0.2 * k)
        pose[leg] += bend * (0.9 if way != "front" else 0.3)
        pose[leg + 2] -= bend * (0.8 if way != "front" else 1.2)
    pose[LEAN] += (0.45 if way != "back" else 0.3) * buckle * (1 - settle)
    return pose


def rise(u: float, way: str, t_s: float, style: float = 0.0) -> Pose:
    """Getting up again; `u` from 0 (lying) to 1 (standing)."""
    a, b, c = lie(way, t_s, style), crouch(), stand(t_s, style)
    b[ANCHOR] = 1.0
    if u < 0.55:
        return blend(a, b, u / 0.55)
    return blend(b, c, (u - 0.55) / 0.45)


def lower(u: float, way: str, t_s: float, style: float = 0.0) -> Pose:
    """Lying down on purpose, slowly; `u` from 0 (standing) to 1 (lying)."""
    return rise(1 - u, way, t_s, style)


def blend(a: Pose, b: Pose, share: float) -> Pose:
    """From `a` (0) to `b` (1), eased at both ends."""
    s = min(1.0, max(0.0, share))
    return a + (b - a) * (s * s * (3 - 2 * s))
