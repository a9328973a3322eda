"""The ground of a street: asphalt, lane markings, kerbs and paving, painted per pixel from ground coordinates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headrace.stream.scene.backdrop import PAVEMENT, ROAD, Backdrop, fork, value_noise
from headrace.stream.scene.paint import Colour, mix

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
_ASPHALTS: tuple[Colour, ...] = ((96, 98, 104), (112, 112, 114), (84, 86, 94), (124, 118, 112))
_PAVINGS: tuple[Colour, ...] = (
    (176, 170, 160),
    (164, 164, 166),
    (188, 172, 152),
    (150, 142, 138),
    (196, 190, 180),
)
_PAINT: Colour = (232, 232, 226)


class Ground:
    """The ground while it is painted: one colour per pixel, X and Z in m."""

    def __init__(self, backdrop: Backdrop, rng: np.random.Generator) -> None:
        """Starts as paving everywhere."""
        self.x, self.z, self._first = backdrop.grid()
        self._backdrop = backdrop
        self._metre_px = backdrop.lens.focal_px / np.maximum(self.z, 0.5)
        self.colour = np.empty((*self.x.shape, 3), np.float32)
        self.classes = np.full(self.x.shape, PAVEMENT, np.uint8)
        paving = _PAVINGS[int(rng.integers(len(_PAVINGS)))]
        self.asphalt = _ASPHALTS[int(rng.integers(len(_ASPHALTS)))]
        self.colour[:] = paving
        self._joints(paving, float(rng.choice([0.5, 0.6, 0.9])))

    def _joints(self, paving: Colour, slab_m: float) -> None:
        """Slabs, fading out where they become finer than pixels."""
        clear = np.clip((self._metre_px * slab_m - 5) / 14, 0, 1)
        line = (np.mod(self.x, slab_m) < 0.035) | (np.mod(self.z, slab_m) < 0.05)
        tone = np.sin(np.floor(self.x / slab_m) * 12.9898 + np.floor(self.z / slab_m) * 78.233) * 43758.5453
        tone = (tone - np.floor(tone) - 0.5) * 12
        self.colour += (np.where(line, -26, tone) * clear)[..., None].astype(np.float32)

    def road(self, where: Mask) -> None:
        """Asphalt."""
        self.colour[where] = self.asphalt
        self.classes[where] = ROAD

    def line(self, where: Mask, colour: Colour = _PAINT, strength: float = 0.86) -> None:
        """Paint on the road."""
        self.colour[where] += (np.array(colour, np.float32) - self.colour[where]) * strength

    def kerb(self, where: Mask, bright: float) -> None:
        """A kerb's stone."""
        stone: Colour = (190, 188, 182)
        self.colour[where] = np.array(mix(stone, (60, 60, 62), 1 - bright), np.float32)

    def grass(self, where: Mask, rng: np.random.Generator) -> None:
        """A verge: it counts as pavement's neighbour, tree (CamVid calls vegetation so)."""
        self.colour[where] = (104, 138, 70)
        self.classes[where] = 5

    def finish(self, rng: np.random.Generator) -> None:
        """Grain, stains, haze and light, onto the backdrop."""
        rng = fork(rng)
        h, w = self.x.shape
        if h == 0:
            return
        mood = self._backdrop.mood
        grain = rng.normal(0, 3.2, (h, w)).astype(np.float32)
        grain += (value_noise(rng, (w, h), 4, 6) - 0.5) * 22
        colour = (self.colour + grain[..., None]) * (np.array(mood.tint) * mood.bright).astype(np.float32)
        haze = (mood.haze * (1 - np.exp(-self.z / 55)))[..., None].astype(np.float32)
        colour += (np.array(mood.sky_low, np.float32) - colour) * haze
        self._backdrop.image[self._first :] = np.clip(colour, 0, 255).astype(np.uint8)
        self._backdrop.classes[self._first :] = self.classes


def across(backdrop: Backdrop, rng: np.random.Generator, k1: float, k2: float, wall: float) -> None:
    """Near pavement up to `k1`, road up to `k2`, far pavement (depths in m)."""
    g = Ground(backdrop, rng)
    road = (g.z > k1) & (g.z < k2)
    g.road(road)
    middle = (k1 + k2) / 2
    dash = float(rng.choice([2.0, 3.0]))
    g.line((np.abs(g.z - middle) < 0.10) & (np.mod(g.x, dash * 2) < dash))
    edge = bool(rng.random() < 0.5)
    if edge:
        yellow: Colour = (226, 188, 60) if rng.random() < 0.5 else _PAINT
        g.line((np.abs(g.z - k1 - 0.35) < 0.07) | (np.abs(g.z - k2 + 0.35) < 0.09), yellow)
    if rng.random() < 0.4:
        at = float(rng.uniform(-0.3, 0.3)) * k1
        g.line(road & (np.abs(g.x - at) < 1.6) & (np.mod(g.x - at, 0.9) < 0.45))
    g.kerb((g.z > k1 - 0.22) & (g.z <= k1), 1.0)
    g.kerb((g.z >= k2) & (g.z < k2 + 0.10), 0.62)
    g.kerb((g.z >= k2 + 0.10) & (g.z < k2 + 0.35), 1.0)
    if rng.random() < 0.5:
        g.grass(g.z > wall + 0.02, rng)
    g.finish(rng)


def along(
    backdrop: Backdrop,
    rng: np.random.Generator,
    road: tuple[float, float],
    walls: tuple[float, float],
    island: tuple[float, float] | None,
) -> None:
    """A road between two X, pavements out to the walls; `island`: depths between which one parts the lanes."""
    g = Ground(backdrop, rng)
    on = (g.x > road[0]) & (g.x < road[1])
    g.road(on)
    middle = (road[0] + road[1]) / 2
    dash = float(rng.choice([2.5, 4.0]))
    if island is None:
        g.line((np.abs(g.x - middle) < 0.08) & (np.mod(g.z, dash * 2) < dash))
    else:
        inside = (np.abs(g.x) < 1.45) & on
        hatch = inside & (np.mod(g.z + g.x, 2.4) < 0.5)
        g.line(hatch & (np.abs(g.x) < 1.3))
        g.line(on & (np.abs(np.abs(g.x) - 1.45) < 0.08))
        refuge = (np.abs(g.x) < 2.0) & (g.z > island[0]) & (g.z < island[1])
        g.colour[refuge] = (178, 172, 164)
        g.classes[refuge] = PAVEMENT
        rim = refuge & ((np.abs(g.x) > 1.86) | (g.z < island[0] + 0.2) | (g.z > island[1] - 0.2))
        g.kerb(rim, 1.0)
        zebra = on & ~refuge & (np.abs(g.z - island[1] - 1.6) < 1.1)
        g.line(zebra & (np.mod(g.x, 0.9) < 0.45))
    if rng.random() < 0.6:
        yellow: Colour = (226, 188, 60) if rng.random() < 0.5 else _PAINT
        g.line((np.abs(g.x - road[0] - 0.3) < 0.06) | (np.abs(g.x - road[1] + 0.3) < 0.06), yellow)
    for edge, sign in ((road[0], -1.0), (road[1], 1.0)):
        out = (g.x - edge) * sign
        g.kerb((out >= 0) & (out < 0.09), 0.62)
        g.kerb((out >= 0.09) & (out < 0.32), 1.0)
    g.finish(rng)
