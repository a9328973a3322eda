"""The sky and what stands against it far away."""

from __future__ import annotations

import numpy as np

from headrace.stream.scene.backdrop import BUILDING, SKY, TREE, Backdrop, fork, value_noise
from headrace.stream.scene.paint import mix, shade


def paint_sky(backdrop: Backdrop, rng: np.random.Generator) -> None:
    """Gradient, clouds, sun or stars, down to the horizon."""
    mood, w = backdrop.mood, backdrop.shape[1]
    _, _, first = backdrop.grid()
    rows = max(2, first)
    share = np.clip(np.linspace(0, 1, rows) * 1.05, 0, 1)[:, None, None] ** 1.3
    sky = np.array(mood.sky_top) * (1 - share) + np.array(mood.sky_low) * share
    field = np.broadcast_to(sky, (rows, w, 3)).copy()
    pixels = fork(rng)
    cells = int(rng.integers(2, 5))
    noise = value_noise(pixels, (w, rows), cells, 6)
    cut = float(np.quantile(noise, 1 - mood.cloudiness))
    cover = np.clip((noise - cut) / (0.06 + 0.12 * mood.cloudiness), 0, 1)
    cover = cover * cover * (3 - 2 * cover) * np.clip(1.25 - share[..., 0] * 0.9, 0, 1) * 0.92
    under = np.clip((np.roll(noise, -max(1, rows // 40), 0) - noise) * 7, -0.10, 0.10)
    cloud = np.array(mood.cloud)[None, None] * (1.0 - under[..., None] * 1.2)
    field += (cloud - field) * cover[..., None]
    if mood.name == "night":
        stars = pixels.random((rows, w)) > 0.9993
        field[stars & (cover < 0.3)] = (190, 195, 220)
    backdrop.image[:rows] = np.clip(field, 0, 255).astype(np.uint8)
    backdrop.classes[:first] = SKY
    if mood.name in ("golden", "morning", "dusk", "noon"):
        width, height = backdrop.lens.size
        low = 0.25 if mood.name == "noon" else 0.85
        where = np.array([width * float(rng.uniform(0.1, 0.9)), backdrop.lens.horizon_px * low])
        backdrop.glow(where, height * 0.75, (255, 226, 180), 0.32)
        backdrop.glow(where, height * 0.09, (255, 244, 214), 0.9)


def paint_skyline(backdrop: Backdrop, rng: np.random.Generator) -> None:
    """Far houses, trees and hills as silhouettes in the haze."""
    lens, mood = backdrop.lens, backdrop.mood
    left, right = -0.7 * lens.size[0], 1.7 * lens.size[0]
    base = lens.horizon_px + 0.02 * lens.size[1]
    for layer, strength in ((1.5, 0.80), (1.0, 0.55)):
        x = left
        tone = mix(shade((96, 106, 122), mood.bright, mood.tint), mood.sky_low, strength)
        while x < right:
            w = float(rng.uniform(0.04, 0.11)) * lens.size[1] * layer
            h = float(rng.uniform(0.04, 0.16)) * lens.size[1] * layer
            colour = mix(tone, (255, 255, 255), float(rng.uniform(0, 0.06)))
            roof = float(rng.choice([0.0, 0.0, 0.25])) * w
            points = [
                (x, base),
                (x, base - h),
                (x + w / 2, base - h - roof),
                (x + w, base - h),
                (x + w, base),
            ]
            backdrop.polygon(np.array(points), colour, BUILDING)
            x += w * float(rng.uniform(0.7, 1.1))
    green = mix(shade((70, 100, 66), mood.bright, mood.tint), mood.sky_low, 0.45)
    x = left
    while x < right:
        r = float(rng.uniform(0.02, 0.05)) * lens.size[1]
        turn = np.linspace(0, 2 * np.pi, 14)
        ball = np.stack([x + np.cos(turn) * r * 1.3, base - r * 0.3 + np.sin(turn) * r], -1)
        if rng.random() < 0.75:
            backdrop.polygon(ball, mix(green, mood.sky_low, float(rng.uniform(0, 0.2))), TREE)
        x += r * float(rng.uniform(0.6, 1.6))
