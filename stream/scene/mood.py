"""Time of day and weather: the colours and the light of a world."""

from __future__ import annotations

from dataclasses import dataclass

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


_DAY: dict[str, dict[str, object]] = {
    "noon": {"sky_top": (74, 144, 214), "sky_low": (196, 224, 240), "cloud": (252, 252, 252), "tint": (1.0, 1.0, 0.98),
             "bright": 1.02, "shadow": 0.42, "lit": 0.0, "haze": 0.25},
    "morning": {"sky_top": (120, 176, 222), "sky_low": (250, 226, 196), "cloud": (255, 244, 232),
                "tint": (1.03, 0.98, 0.90), "bright": 0.98, "shadow": 0.36, "lit": 0.06, "haze": 0.42},
    "golden": {"sky_top": (92, 128, 186), "sky_low": (254, 196, 132), "cloud": (255, 206, 170),
               "tint": (1.10, 0.95, 0.78), "bright": 0.95, "shadow": 0.40, "lit": 0.15, "haze": 0.40},
    "overcast": {"sky_top": (168, 178, 188), "sky_low": (216, 220, 222), "cloud": (196, 202, 208),
                 "tint": (0.96, 0.98, 1.0), "bright": 0.86, "shadow": 0.12, "lit": 0.08, "haze": 0.45},
    "dusk": {"sky_top": (44, 52, 98), "sky_low": (238, 148, 116), "cloud": (178, 112, 130), "tint": (0.86, 0.80, 0.92),
             "bright": 0.72, "shadow": 0.10, "lit": 0.45, "haze": 0.35},
    "night": {"sky_top": (14, 18, 40), "sky_low": (52, 58, 92), "cloud": (44, 48, 76), "tint": (0.80, 0.84, 1.0),
              "bright": 0.46, "shadow": 0.08, "lit": 0.55, "haze": 0.25},
}  # fmt: skip
_CHANCES = {"noon": 0.30, "morning": 0.18, "golden": 0.16, "overcast": 0.20, "dusk": 0.11, "night": 0.05}


def draw_mood(rng: np.random.Generator) -> Mood:
    """The mood of a world: one of the times of day, each a little different every time."""
    name = str(rng.choice(list(_CHANCES), p=list(_CHANCES.values())))
    base = _DAY[name]
    hue = rng.uniform(-10, 10, 3)

    def vary(colour: object) -> Colour:
        r, g, b = (float(np.clip(c + h, 0, 255)) for c, h in zip(colour, hue, strict=True))  # type: ignore[call-overload]
        return (r, g, b)

    long = 0.5 if name == "noon" else 1.5 if name in ("morning", "golden") else 0.4
    cloudiness = 0.95 if name == "overcast" else float(rng.uniform(0.1, 0.65))
    tint = mix(base["tint"], (1.0, 1.0, 1.0), float(rng.uniform(0, 0.4)))  # type: ignore[arg-type]
    return Mood(
        name=name,
        sky_top=vary(base["sky_top"]),
        sky_low=vary(base["sky_low"]),
        cloud=vary(base["cloud"]),
        cloudiness=cloudiness,
        tint=tint,
        bright=float(base["bright"]) * float(rng.uniform(0.93, 1.05)),  # type: ignore[arg-type]
        sun=(
            float(rng.choice([-1, 1])) * long * float(rng.uniform(0.4, 1.2)),
            long * float(rng.uniform(-0.1, 0.6)),
        ),
        shadow=float(base["shadow"]),
        lit=float(base["lit"]),
        haze=float(base["haze"]),  # type: ignore[arg-type]
    )
