"""Painting the moving things of a view: polygons and sprites, back to front, with the id of each part."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Colour = tuple[float, float, float]

FIRST_PART = 16
"""Ids below are static classes (11 stands for void); ids from here on are parts of moving things."""
VOID_PART = 11
_SHIFT = 4
_ONE = 1 << _SHIFT


@dataclass(slots=True, kw_only=True, eq=False)
class Sprite:
    """A picture with coverage, to be put where `frame` says."""

    rgba: NDArray[np.uint8]
    """uint8 (h, w, 4), colours not premultiplied."""
    frame: Array
    """(3, 3) affine: pixel of the sprite to pixel of the resting camera."""
    part: int = 0


@dataclass(slots=True, kw_only=True, eq=False)
class Drawn:
    """What one actor looks like at one time, in pixels of the resting camera."""

    depth_m: float
    """Distance of its ground line: orders the painting."""
    polygons: list[tuple[Array, Colour, int]] = field(default_factory=list)
    """Points (K, 2), colour, part (-1: picture only), back to front."""
    parts: int = 0
    """How many parts the actor has."""
    limits: Array | None = None
    """(P, 4): least and greatest u, v of each part's material, where perspective makes it matter."""
    shadows: list[Array] = field(default_factory=list)
    """Polygons (K, 2) darkened on the ground."""
    sprite: Sprite | None = None


def shade(colour: Colour, factor: float, tint: Colour = (1.0, 1.0, 1.0)) -> Colour:
    """`colour` times `factor` and tint, held to 0..255."""
    r, g, b = colour
    return (
        min(255.0, r * factor * tint[0]),
        min(255.0, g * factor * tint[1]),
        min(255.0, b * factor * tint[2]),
    )


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """From `a` (share 0) to `b` (share 1)."""
    r, g, bl = (x + (y - x) * share for x, y in zip(a, b, strict=True))
    return (r, g, bl)


def capsules(starts: Array, ends: Array, r0: Array, r1: Array, corners: int = 7) -> Array:
    """Rounded, tapered bars: (P, 2) starts and ends, (P,) radii, all px, to (P, 2*corners, 2) outlines."""
    d = ends - starts
    d /= np.maximum(np.hypot(d[:, 0], d[:, 1]), 1e-9)[:, None]
    frame = np.empty((len(d), 2, 2))
    frame[:, 0], frame[:, 1, 0], frame[:, 1, 1] = d, -d[:, 1], d[:, 0]
    arc = _arc(corners) @ frame
    out = np.empty((len(d), 2 * corners, 2))
    out[:, :corners] = ends[:, None] + arc * r1[:, None, None]
    out[:, corners:] = starts[:, None] - arc * r0[:, None, None]
    return out


@lru_cache
def _arc(corners: int) -> Array:
    """Half a circle: how far along and across each of its corners lies."""
    turn = np.linspace(-np.pi / 2, np.pi / 2, corners)
    return np.stack([np.cos(turn), np.sin(turn)], -1)


class Easel:
    """The picture at one time, as it is being painted over the static background."""

    def __init__(
        self,
        image: NDArray[np.uint8] | None,
        parts: NDArray[np.int32],
        depth: NDArray[np.float32],
        camera: Array,
    ) -> None:
        """`image` None paints ids only; `camera` (3, 3) moves the resting camera's pixels to the picture."""
        self.image, self.parts, self._depth, self._camera = image, parts, depth, camera

    def cast_shadows(self, drawn: list[Drawn], *, strength: float, ground: NDArray[np.bool_]) -> None:
        """Darken the ground under all that is going to be painted; `ground` (H, W) tells where it shows."""
        shapes = [p for d in drawn for p in d.shadows]
        if self.image is None or strength <= 0 or not shapes:
            return
        fixed = self._fixed(np.concatenate(shapes))
        polygons = np.split(fixed, np.cumsum([len(p) for p in shapes])[:-1])
        box = self._box(fixed / _ONE, pad=3)
        if box is None:
            return
        mask = np.zeros(self.parts.shape, np.uint8)
        for p in polygons:
            cv2.fillConvexPoly(mask, p, 255, cv2.LINE_AA, _SHIFT)
        blurred = cv2.blur(mask[box], (3, 3))
        blurred[~ground[box]] = 0
        dim = cv2.LUT(blurred, (255 - np.arange(256) * strength).astype(np.uint8))
        roi = self.image[box]
        cv2.multiply(roi, cv2.merge([dim, dim, dim]), roi, 1 / 255)

    def paint(self, drawn: Drawn, first_part: int) -> None:
        """Put one actor on; static things that stand nearer stay in front of it."""
        outline = [p for p, _, _ in drawn.polygons]
        if drawn.sprite is not None:
            h, w = drawn.sprite.rgba.shape[:2]
            outline.append(_apply(drawn.sprite.frame, np.array([[0, 0], [w, 0], [w, h], [0, h]], float)))
        if not outline:
            return
        fixed = self._fixed(np.concatenate(outline))
        box = self._box(fixed / _ONE, pad=2)
        if box is None:
            return
        hidden = self._depth[box] < drawn.depth_m
        if not bool(hidden.any()):
            self._paint(drawn, fixed, first_part, box)
            return
        kept_parts = self.parts[box].copy()
        kept = self.image[box].copy() if self.image is not None else None
        self._paint(drawn, fixed, first_part, box)
        np.copyto(self.parts[box], kept_parts, where=hidden)
        if self.image is not None and kept is not None:
            cv2.copyTo(kept, hidden.view(np.uint8), self.image[box])

    def _paint(self, drawn: Drawn, fixed: NDArray[np.int32], first_part: int, box: tuple[slice, slice]) -> None:
        """`fixed`: the corners of all polygons, one after the other, in fixed point."""
        if drawn.sprite is not None:
            self._put(drawn.sprite, first_part, box)
        start = 0
        for points, colour, part in drawn.polygons:
            corners = fixed[start : start + len(points)]
            start += len(points)
            if self.image is not None:
                cv2.fillConvexPoly(self.image, corners, colour, cv2.LINE_AA, _SHIFT)
            if part >= 0:
                cv2.fillConvexPoly(self.parts, corners, first_part + part, cv2.LINE_8, _SHIFT)

    def _put(self, sprite: Sprite, first_part: int, box: tuple[slice, slice]) -> None:
        rows, cols = box
        matrix = (self._camera @ sprite.frame)[:2].copy()
        matrix[:, 2] -= (cols.start, rows.start)
        size = (cols.stop - cols.start, rows.stop - rows.start)
        warped = cv2.warpAffine(sprite.rgba, matrix, size, flags=cv2.INTER_LINEAR)
        cover = warped[..., 3]
        self.parts[box][cover > 127] = first_part + sprite.part
        if self.image is not None:
            share = cover.astype(np.float32) * np.float32(1 / 255)
            roi = self.image[box]
            roi[...] = cv2.blendLinear(np.ascontiguousarray(warped[..., :3]), roi.copy(), share, 1 - share)

    def _fixed(self, points: Array) -> NDArray[np.int32]:
        """Pixels of the resting camera to the picture's, in fixed point."""
        moved = points @ (self._camera[:2, :2].T * _ONE) + self._camera[:2, 2] * _ONE
        return np.rint(np.clip(moved, -(2**24), 2**24)).astype(np.int32)

    def _box(self, points: Array, pad: int) -> tuple[slice, slice] | None:
        """The part of the picture that holds `points`, or None."""
        h, w = self.parts.shape
        (x0, y0), (x1, y1) = points.min(0) - pad, points.max(0) + pad + 1
        left, top, right, bottom = max(0, int(x0)), max(0, int(y0)), min(w, int(x1)), min(h, int(y1))
        return (slice(top, bottom), slice(left, right)) if left < right and top < bottom else None


def _apply(frame: Array, points: Array) -> Array:
    return points @ frame[:2, :2].T + frame[:2, 2]
