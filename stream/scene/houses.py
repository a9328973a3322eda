"""The houses of a street, with their gardens and the trees that go with them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from headrace.stream.scene.backdrop import BUILDING, Backdrop
from headrace.stream.scene.facade import COARSE_PX_PER_M, FINE_PX_PER_M, facade
from headrace.stream.scene.furniture import fence
from headrace.stream.scene.mood import Mood
from headrace.stream.scene.trees import Foliage, plant


class Houses:
    """Builds houses and plants trees onto a backdrop."""

    def __init__(self, paint: Backdrop, rng: np.random.Generator) -> None:
        """In winter most trees have no leaves."""
        self._paint, self._rng = paint, rng
        self._bare = 0.85 if rng.random() < 0.22 else 0.0
        self.foliage: list[Foliage] = []

    def row(self, wall: float, half: float) -> None:
        """Fronts across the view, from -`half` to `half`, some set back behind a fence and a garden tree."""
        rng, paint = self._rng, self._paint
        x, end = -half, half
        garden: list[tuple[float, float]] = []
        while x < end:
            wide = float(rng.uniform(5, 11))
            if rng.random() < 0.3:
                garden.append((x, wide))
            else:
                self._house((x, 0.0, wall), (1.0, 0.0, 0.0), wide, int(rng.integers(1, 5)), 1.0)
            x += wide
        for x, wide in garden:
            back = wall + float(rng.uniform(4, 8))
            if rng.random() < 0.5:
                self._house((x + 0.5, 0.0, back), (1.0, 0.0, 0.0), wide - 1, int(rng.integers(1, 4)), 0.95)
            for _ in range(int(rng.integers(1, 3))):
                self.tree(x + wide * float(rng.uniform(0.2, 0.8)), wall + 1.5 + float(rng.uniform(0, 1.5)))
            fence(paint, rng, (x, 0.0, wall), (1.0, 0.0, 0.0), wide)

    def _house(
        self,
        corner: tuple[float, float, float],
        along: tuple[float, float, float],
        wide: float,
        floors: int,
        lit: float,
    ) -> None:
        # As fine as it is seen in the middle of its front.
        middle_m = corner[2] + along[2] * wide / 2
        seen = self._paint.lens.scale(middle_m) * self._paint.fine * 0.6
        px_per_m = max(COARSE_PX_PER_M, min(FINE_PX_PER_M, seen))
        rgba = facade(self._rng, self._paint.mood, wide_m=wide, floors=floors, lit_side=lit, px_per_m=px_per_m)
        self._paint.texture(_hazed(rgba, self._paint.mood, middle_m), px_per_m, corner, along, BUILDING)

    def end(self, walls: tuple[float, float], far: float) -> None:
        """The houses that close a street far away."""
        x = walls[0] - 25
        while x < walls[1] + 25:
            wide = float(self._rng.uniform(8, 14))
            self._house((x, 0.0, far + 4), (1.0, 0.0, 0.0), wide, int(self._rng.integers(2, 5)), 0.9)
            x += wide

    def canyon(self, x: float, facing: float, far: float) -> None:
        """Houses, garden fences and trees along one side, from the far end to the camera."""
        rng, paint = self._rng, self._paint
        lit = 1.05 if (self._paint.mood.sun[0] > 0) == (facing > 0) else 0.80
        z = far
        while z > 1.2:
            wide = min(float(rng.uniform(6, 12)), z - 0.8)
            if wide < 2.0:
                break
            z -= wide
            # The picture's left edge is at the far end of a wall on the right and at the near end on the left.
            corner, along = ((x, 0.0, z), (0.0, 0.0, 1.0)) if facing > 0 else ((x, 0.0, z + wide), (0.0, 0.0, -1.0))
            if rng.random() < 0.2:
                for _ in range(2):
                    self.tree(x - facing * float(rng.uniform(1.5, 3.5)), z + wide * float(rng.uniform(0.2, 0.9)))
                fence(paint, rng, corner, along, wide)
                continue
            floors = int(rng.integers(2, 5))
            self._gable(x, facing, z, floors * 2.9, lit)
            self._house(corner, along, wide, floors, lit)

    def _gable(self, x: float, facing: float, z: float, tall: float, lit: float) -> None:
        """The end wall that shows where the neighbour nearer to the camera is lower or set back."""
        if z > 1.5:
            corner = (x, 0.0, z) if facing < 0 else (x - 9.0, 0.0, z)
            self._house(corner, (1.0, 0.0, 0.0), 9.0, max(1, round(tall / 2.9)), 0.85 * lit)

    def tree(self, x: float, z: float) -> None:
        """Plant a tree."""
        rng = self._rng
        crown, stem = float(rng.uniform(2.2, 4.2)), float(rng.uniform(1.9, 3.0))
        bare = bool(rng.random() < self._bare)
        foliage = plant(self._paint, rng, x, z, crown_m=crown, stem_m=stem, bare=bare)
        if foliage is not None:
            self.foliage.append(foliage)


def _hazed(rgba: NDArray[np.uint8], mood: Mood, depth_m: float) -> NDArray[np.uint8]:
    share = mood.haze * (1 - math.exp(-depth_m / 55))
    out = rgba.copy()
    out[..., :3] = (rgba[..., :3] * (1 - share) + np.array(mood.sky_low) * share).astype(np.uint8)
    return out
