"""Time of day and weather: the colours and the light of a world."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from headrace.stream.scene.figure import Light
from headrace.stream.scene.paint import Colour, mix


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mood:
    """How the light is."""

    name: str
    sky_top: Colour
    sky_low: Colour
    cloud: Colour
    cloudiness: float
    """Share of the sky under cloud, 0..1."""
    tint: Colour
    """Factors that the light puts on every colour."""
    bright: float
    sun: tuple[float, float]
    """Metres that a shadow runs sideways and away per metre of height."""
    shadow: float
    """How much a shadow darkens, 0..1."""
    lit: float
    """Share of windows with a lamp behind them; above 0.3 street lamps and cars shine too."""
    haze: float
    """How much distance fades into the sky's colour, 0..1."""

    @property
    def light(self) -> Light:
        """The light on moving things."""
        return Light(side=self.bright, tint=self.tint, from_side=-1.0 if self.sun[0] > 0 else 1.0)


def _day(
    name: str, top: Colour, low: Colour, cloud: Colour, tint: Colour, light: tuple[float, float, float, float, float]
) -> Mood:
    """`light`: how bright, how dark the shadows, how many windows lit, how hazy, how long the shadows."""
    bright, shadow, lit, haze, long = light
    return Mood(
        name=name, sky_top=top, sky_low=low, cloud=cloud, cloudiness=0.95 if name == "overcast" else 0.4, tint=tint,
        bright=bright, sun=(long, long), shadow=shadow, lit=lit, haze=haze,
    )  # fmt: skip


_DAY: tuple[tuple[float, Mood], ...] = (
    (0.30, _day("noon", (74, 144, 214), (196, 224, 240), (252, 252, 252), (1.0, 1.0, 0.98),
                (1.02, 0.42, 0.0, 0.25, 0.5))),
    (0.18, _day("morning", (120, 176, 222), (250, 226, 196), (255, 244, 232), (1.03, 0.98, 0.90),
                (0.98, 0.36, 0.06, 0.42, 1.5))),
    (0.16, _day("golden", (92, 128, 186), (254, 196, 132), (255, 206, 170), (1.10, 0.95, 0.78),
                (0.95, 0.40, 0.15, 0.40, 1.5))),
    (0.20, _day("overcast", (168, 178, 188), (216, 220, 222), (196, 202, 208), (0.96, 0.98, 1.0),
                (0.86, 0.12, 0.08, 0.45, 0.4))),
    (0.11, _day("dusk", (44, 52, 98), (238, 148, 116), (178, 112, 130), (0.86, 0.80, 0.92),
                (0.74, 0.10, 0.45, 0.35, 0.4))),
    (0.05, _day("night", (14, 18, 40), (52, 58, 92), (44, 48, 76), (0.80, 0.84, 1.0), (0.52, 0.08, 0.55, 0.25, 0.4))),
)  # fmt: skip
"""How likely each time of day is, and how it looks."""


def draw_mood(rng: np.random.Generator) -> Mood:
    """The mood of a world: one of the times of day, each a little different every time."""
    base = _DAY[int(rng.choice(len(_DAY), p=[chance for chance, _ in _DAY]))][1]
    hue = rng.uniform(-10, 10, 3).tolist()

    def vary(colour: Colour) -> Colour:
        r, g, b = (min(255.0, max(0.0, c + h)) for c, h in zip(colour, hue, strict=True))
        return (r, g, b)

    aside, away = base.sun
    clouds = base.cloudiness + (float(rng.uniform(-0.3, 0.25)) if base.name != "overcast" else 0.0)
    return replace(
        base,
        sky_top=vary(base.sky_top),
        sky_low=vary(base.sky_low),
        cloud=vary(base.cloud),
        cloudiness=clouds,
        tint=mix(base.tint, (1.0, 1.0, 1.0), float(rng.uniform(0, 0.4))),
        bright=base.bright * float(rng.uniform(0.93, 1.05)),
        sun=(aside * float(rng.choice([-1, 1])) * float(rng.uniform(0.4, 1.2)), away * float(rng.uniform(-0.1, 0.6))),
    )
