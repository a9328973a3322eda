"""What a camera does to the picture: noise, blur, faded or missing colours, a clock in the corner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

LookName = Literal["auto", "clean", "surveillance"]
_TILE = 512


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """One camera's looks."""

    grey: bool = False
    coarse: float = 1.0
    """The picture is taken at this share of its size, 0..1."""
    blur_px: float = 0.0
    noise: float = 0.0
    """Standard deviation, of 255."""
    curve: NDArray[np.uint8] | None = None
    """uint8 (256, 1, 3): tone curve with contrast and tint."""
    saturation: float = 1.0
    clock: bool = False
    surveillance: bool = False
    """It is a surveillance camera: it often hangs high."""
    seed: int = 0

    def apply(self, image: NDArray[np.uint8], t_s: float) -> NDArray[np.uint8]:
        """`image` (H, W, 3) as this camera hands it out at `t_s`."""
        h, w = image.shape[:2]
        if self.coarse < 1:
            small = cv2.resize(
                image,
                (max(8, round(w * self.coarse)), max(8, round(h * self.coarse))),
                interpolation=cv2.INTER_AREA,
            )
            image = np.asarray(cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR), np.uint8)
        if self.blur_px > 0:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), self.blur_px), np.uint8)
        if self.grey or self.saturation != 1:
            grey = cv2.merge([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)] * 3)
            share = 0.0 if self.grey else self.saturation
            image = np.asarray(cv2.addWeighted(image, share, grey, 1 - share, 0), np.uint8)
        if self.curve is not None:
            image = np.asarray(cv2.LUT(image, self.curve), np.uint8)
        if self.noise > 0:
            image = self._noisy(image, t_s)
        if self.clock:
            self._stamp(image, t_s)
        return image

    def _noisy(self, image: NDArray[np.uint8], t_s: float) -> NDArray[np.uint8]:
        h, w = image.shape[:2]
        up, down = _grain(self.seed % 16, self.noise)
        rng = np.random.default_rng((self.seed, round(t_s * 1000) & 0xFFFFFFFF))
        y, x = (int(v) for v in rng.integers(0, _TILE, 2))
        rows, cols = (y + np.arange(h)) % _TILE, (x + np.arange(w)) % _TILE
        lift, drop = up[rows][:, cols], down[rows][:, cols]
        return np.asarray(cv2.subtract(cv2.add(image, cv2.merge([lift] * 3)), cv2.merge([drop] * 3)), np.uint8)

    def _stamp(self, image: NDArray[np.uint8], t_s: float) -> None:
        h = image.shape[0]
        seconds = int(t_s) + self.seed % 80000
        text = f"CAM {self.seed % 16:02d}  {seconds // 3600 % 24:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        size = h / 700
        for colour, thick in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(image, text, (h // 40, h // 16), cv2.FONT_HERSHEY_SIMPLEX, size, colour, thick, cv2.LINE_AA)


_GRAINS: dict[tuple[int, float], tuple[NDArray[np.uint8], NDArray[np.uint8]]] = {}


def _grain(seed: int, noise: float) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """What to add and what to take away: two uint8 tiles, made once."""
    key = (seed, noise)
    if key not in _GRAINS:
        if len(_GRAINS) > 32:
            _GRAINS.clear()
        field = np.random.default_rng((seed, 31)).normal(0, noise, (_TILE, _TILE))
        _GRAINS[key] = (np.clip(field, 0, 255).astype(np.uint8), np.clip(-field, 0, 255).astype(np.uint8))
    return _GRAINS[key]


def draw_look(name: LookName, seed: int) -> Look:
    """This seed's camera: `clean` does nothing; `auto` is a surveillance camera half the time, else some other."""
    rng = np.random.default_rng((seed, 3))
    if name == "clean":
        return Look(seed=seed)
    if name == "auto" and rng.random() < 0.5:
        return Look(
            seed=seed,
            saturation=float(rng.uniform(0.35, 1.1)),
            blur_px=float(rng.choice([0.0, 0.0, 0.5])),
            noise=round(float(rng.uniform(0, 4))),
            curve=_curve(
                float(rng.uniform(0.85, 1.4)),
                float(rng.uniform(-25, 20)),
                float(rng.uniform(0.75, 1.5)),
                rng.uniform(0.94, 1.06, 3),
            ),
        )
    contrast, lift, gamma = (float(rng.uniform(*span)) for span in ((0.62, 1.05), (0, 45), (0.7, 1.1)))
    return Look(
        grey=bool(rng.random() < 0.35),
        coarse=float(rng.choice([1.0, 1.0, 0.7, 0.5])),
        blur_px=float(rng.choice([0.0, 0.6, 1.0])),
        noise=round(float(rng.uniform(2, 9))),
        curve=_curve(contrast, lift, gamma, rng.uniform(0.88, 1.08, 3)),
        saturation=float(rng.uniform(0.4, 1.0)),
        clock=bool(rng.random() < 0.5),
        surveillance=True,
        seed=seed,
    )


def _curve(contrast: float, lift: float, gamma: float, tint: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A tone curve for each colour, uint8 (256, 1, 3)."""
    ramp = np.clip(np.arange(256)[:, None] * contrast * tint[None] + lift, 0, 255)
    return np.asarray(255 * (ramp / 255) ** gamma, np.uint8)[:, None, :]
