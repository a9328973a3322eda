"""The static part of a world, painted once on a canvas wider than the picture: sky, ground, walls, props."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from headrace.stream.scene.camera import NEAR_M, Lens
from headrace.stream.scene.mood import Mood
from headrace.stream.scene.paint import VOID_PART, Colour, Drawn, mix, shade

Array = NDArray[np.float64]

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(11)
_FAR = np.float32(1e6)
_SHIFT = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scenery:
    """A finished canvas."""

    image: NDArray[np.uint8]
    """uint8 (H + 2m, W + 2m, 3) RGB."""
    classes: NDArray[np.uint8]
    """uint8, same height and width: class ids, 11 = void."""
    depth: NDArray[np.float32]
    """float32: distance in m of things that can hide others; very far elsewhere."""
    margin_px: tuple[int, int]
    """How much wider and higher than the picture, on each side."""


class Backdrop:
    """A canvas to paint on in world coordinates, from far to near."""

    def __init__(self, lens: Lens, mood: Mood, *, margin_px: tuple[int, int]) -> None:
        """Paints at twice the picture's size, so that edges come out smooth, unless the picture is large."""
        self.lens, self.mood, self._margin = lens, mood, margin_px
        w, h = lens.size[0] + 2 * margin_px[0], lens.size[1] + 2 * margin_px[1]
        # How many canvas pixels make one of the picture's, in each direction.
        self.fine = 2 if w * h <= 900_000 else 1
        self.shape = (h * self.fine, w * self.fine)
        self.image = np.zeros((*self.shape, 3), np.uint8)
        self.classes = np.full(self.shape, VOID_PART, np.uint8)
        self.depth = np.full(self.shape, _FAR, np.float32)

    def finish(self) -> Scenery:
        """The canvas at the picture's scale."""
        n = self.fine
        size = (self.shape[1] // n, self.shape[0] // n)
        image = cv2.resize(self.image, size, interpolation=cv2.INTER_AREA) if n > 1 else self.image
        return Scenery(
            image=np.asarray(image, np.uint8),
            classes=self.classes[::n, ::n].copy(),
            depth=self.depth[::n, ::n].copy(),
            margin_px=self._margin,
        )

    def pixels(self, points: Array) -> Array:
        """Pixels of the resting camera to pixels of the fine canvas."""
        return (points + self._margin) * self.fine + (self.fine - 1) / 2

    def grid(self) -> tuple[Array, Array, int]:
        """Ground coordinates X, Z (m) of every canvas pixel below the horizon, and the first such row."""
        h, w = self.shape
        rows = (np.arange(h) - (self.fine - 1) / 2) / self.fine - self._margin[1] - self.lens.horizon_px
        first = int(np.argmax(rows > 0.4)) if bool((rows > 0.4).any()) else h
        cols = (np.arange(w) - (self.fine - 1) / 2) / self.fine - self._margin[0] - self.lens.centre_px
        z = self.lens.focal_px * self.lens.height_m / rows[first:]
        zz = np.broadcast_to(z[:, None], (h - first, w))
        return cols[None] * zz / self.lens.focal_px, zz, first

    def fade(self, colour: Colour, depth_m: float) -> Colour:
        """`colour` as haze leaves it at this distance."""
        return mix(colour, self.mood.sky_low, self.mood.haze * (1 - float(np.exp(-depth_m / 55))))

    def dye(self, colour: Colour, depth_m: float, factor: float = 1.0) -> Colour:
        """`colour` in this world's light and haze."""
        return self.fade(shade(colour, factor * self.mood.bright, self.mood.tint), depth_m)

    def polygon(self, points: Array, colour: Colour, class_id: int, *, depth_m: float | None = None) -> None:
        """Fill a polygon (K, 3) m or (K, 2) px; with a depth it hides what moves behind it."""
        px = self.lens.project(points) if points.shape[1] == 3 else points
        fixed = np.rint(self.pixels(px) * (1 << _SHIFT)).clip(-(2**26), 2**26).astype(np.int32)
        cv2.fillPoly(self.image, [fixed], colour, cv2.LINE_AA, _SHIFT)
        cv2.fillPoly(self.classes, [fixed], class_id, cv2.LINE_8, _SHIFT)
        if depth_m is not None:
            cv2.fillPoly(self.depth, [fixed], depth_m, cv2.LINE_8, _SHIFT)

    def box(
        self,
        x_m: float,
        z_m: float,
        size_m: tuple[float, float],
        base_m: float,
        colour: Colour,
        class_id: int,
        *,
        hides: bool = True,
    ) -> None:
        """An upright rectangle that faces the camera: middle of its foot, width and height."""
        w, h = size_m
        corners = [
            (x_m - w / 2, base_m),
            (x_m + w / 2, base_m),
            (x_m + w / 2, base_m + h),
            (x_m - w / 2, base_m + h),
        ]
        points = np.array([(x, y, z_m) for x, y in corners], float)
        self.polygon(points, self.dye(colour, z_m), class_id, depth_m=z_m if hides else None)

    def drawn(self, drawn: Drawn, class_id: int) -> None:
        """Paint an actor that never moves."""
        for points, colour, _ in drawn.polygons:
            self.polygon(points, colour, class_id, depth_m=drawn.depth_m)

    def texture(
        self,
        rgba: NDArray[np.uint8],
        px_per_m: float,
        corner: Sequence[float],
        along: Sequence[float],
        class_id: int,
    ) -> None:
        """Hang an upright picture: `corner` is its lower left corner, `along` the direction of its lower edge.

        It hides what is behind it, and is hidden by what was painted before and stands nearer.
        """
        h, w = rgba.shape[:2]
        o, a, u = np.array(corner, float), np.array(along, float), np.array((0.0, 1.0, 0.0))
        quad = np.array([o, o + a * w / px_per_m, o + a * w / px_per_m + u * h / px_per_m, o + u * h / px_per_m])
        if float(quad[:, 2].min()) < NEAR_M:
            return
        px = self.pixels(self.lens.project(quad))
        low, high = np.floor(px.min(0)).astype(int) - 1, np.ceil(px.max(0)).astype(int) + 2
        x0, y0 = max(0, int(low[0])), max(0, int(low[1]))
        x1, y1 = min(self.shape[1], int(high[0])), min(self.shape[0], int(high[1]))
        if x0 >= x1 or y0 >= y1:
            return
        shrink = max(
            1.0, min(w / max(px[:, 0].max() - px[:, 0].min(), 1), h / max(px[:, 1].max() - px[:, 1].min(), 1))
        )
        if shrink > 1.4:
            rgba = np.asarray(
                cv2.resize(
                    rgba, (max(2, round(w / shrink)), max(2, round(h / shrink))), interpolation=cv2.INTER_AREA
                ),
                np.uint8,
            )
            h, w = rgba.shape[:2]
        corners = np.array([[0, h], [w, h], [w, 0], [0, 0]], np.float32) - 0.5
        matrix = cv2.getPerspectiveTransform(corners, (px - (x0, y0)).astype(np.float32))
        warped = cv2.warpPerspective(rgba, matrix, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)
        # On a plane, one over the depth is linear in the pixel's place; this one stands upright, so x is enough.
        rate = (1 / quad[1, 2] - 1 / quad[0, 2]) / ((px[1, 0] - px[0, 0]) or 1.0)
        depth = 1 / np.maximum(1 / quad[0, 2] + rate * (np.arange(x0, x1) - px[0, 0]), 1e-4)
        self.stamp(np.asarray(warped, np.uint8), x0, y0, class_id, depth.astype(np.float32))

    def stamp(
        self, rgba: NDArray[np.uint8], x0: int, y0: int, class_id: int, depth_m: float | NDArray[np.float32]
    ) -> None:
        """Lay a picture with coverage at a pixel of the fine canvas; `depth_m` is one, or one for each column."""
        columns = slice(max(0, -x0), max(0, self.shape[1] - x0))
        rgba = rgba[max(0, -y0) : max(0, self.shape[0] - y0), columns]
        depth = np.broadcast_to(
            np.float32(depth_m) if isinstance(depth_m, float) else depth_m[columns], rgba.shape[:2]
        )
        x0, y0 = max(0, x0), max(0, y0)
        h, w = rgba.shape[:2]
        where = (slice(y0, y0 + h), slice(x0, x0 + w))
        free = self.depth[where] >= depth
        cover = rgba[..., 3:].astype(np.float32) / 255 * free[..., None]
        roi = self.image[where]
        roi[...] = (rgba[..., :3] * cover + roi * (1 - cover) + 0.5).astype(np.uint8)
        solid = (rgba[..., 3] > 127) & free
        self.classes[where][solid] = class_id
        self.depth[where][solid] = depth[solid]

    def glow(self, centre: Array, radius_px: float, colour: Colour, strength: float) -> None:
        """Add a soft disc of light at a pixel of the resting camera."""
        (cx, cy), r = self.pixels(centre[None])[0], radius_px * self.fine
        x0, y0 = max(0, int(cx - r)), max(0, int(cy - r))
        x1, y1 = min(self.shape[1], int(cx + r) + 1), min(self.shape[0], int(cy + r) + 1)
        if x0 >= x1 or y0 >= y1:
            return
        yy, xx = np.mgrid[y0:y1, x0:x1]
        fall = np.clip(1 - np.hypot(xx - cx, yy - cy) / r, 0, 1)[..., None] ** 2 * strength
        roi = self.image[y0:y1, x0:x1]
        roi[...] = np.clip(roi + fall * np.array(colour), 0, 255).astype(np.uint8)


def fork(rng: np.random.Generator) -> np.random.Generator:
    """A generator of its own for what depends on the number of pixels: all else is the same at any size."""
    return np.random.default_rng(int(rng.integers(2**62)))


def value_noise(rng: np.random.Generator, size: tuple[int, int], cells: int, octaves: int = 4) -> NDArray[np.float32]:
    """Smooth noise in 0..1: float32 (height, width) from (width, height); `cells` across the width."""
    w, h = size
    total = np.zeros((h, w), np.float32)
    weight, rest = 0.5, 0.0
    for k in range(octaves):
        across = max(2, cells * 2**k)
        down = max(2, round(across * h / w))
        coarse = rng.random((down, across), np.float32)
        total += weight * np.asarray(cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC), np.float32)
        rest, weight = rest + weight, weight / 2
    return total / np.float32(rest)
