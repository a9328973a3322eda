"""What is drawn on a picture: the tinted classes, their legend, the actions, one line of figures."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import cv2
import numpy as np

from headrace.models.palette import Rgb, colours
from headrace.models.spec import IGNORE, ModelSpec
from headrace.stream.arrays import U8
from headrace.stream.frame import Action, Result

TINT = 0.45
"""How strongly classes colour the picture."""
_LEGEND_ROWS = 5
_LEGEND_SHARE = 0.01
_LEAST_HEIGHT_PX = 120
"""On smaller pictures text would hide more than it tells."""
_WHITE: Rgb = (245, 245, 245)
_QUIET: Rgb = (200, 204, 208)
_ALARM: Rgb = (255, 96, 84)
_SHADE = 0.45
_WEIGHT = 500

_per_thread = threading.local()


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of a panel."""

    text: str
    colour: Rgb
    swatch: Rgb | None = None


def draw(result: Result, figures: str = "") -> U8:
    """The picture with everything on it, at its own size.

    Args:
        result: the frame, its mask and its actions.
        figures: one line for the lower right corner.

    Returns:
        uint8 (H, W, 3), a new array.
    """
    picture = result.frame.picture.rgb()
    if result.mask is not None and result.model is not None:
        canvas = tinted(picture, result.mask, colours(result.model))
    else:
        canvas = picture if picture.flags.writeable else picture.copy()
    height = canvas.shape[0]
    if height < _LEAST_HEIGHT_PX:
        return canvas
    text_px = max(11, min(30, height // 26))
    margin = text_px // 2
    if result.actions:
        _panel(canvas, _action_rows(result.actions, result.frame.pts_s), text_px, margin, margin)
    if result.model is not None and result.mask is not None:
        rows = _legend_rows(result.shares(), result.model)
        _panel(canvas, rows, text_px, margin, -margin)
    if figures:
        _panel(canvas, [_Row(figures, _QUIET)], max(10, text_px * 3 // 4), -margin, -margin)
    return canvas


def tinted(picture: U8, mask: U8, palette: Sequence[Rgb]) -> U8:
    """The picture under a veil of class colours.

    The small mask is coloured and then scaled: nine times fewer bytes than scaling first, and its edges come out soft.

    Args:
        picture: uint8 (H, W, 3), left as it is.
        mask: uint8 (h, w) class ids that cover the whole picture; 255 leaves the picture clear.
        palette: RGB of each class id.
    """
    size = (picture.shape[1], picture.shape[0])
    table = _table(tuple(palette))
    veil = cv2.resize(table[mask], size, interpolation=cv2.INTER_LINEAR)
    cv2.addWeighted(picture, 1 - TINT, veil, TINT, 0, dst=veil)
    if (mask == IGNORE).any():
        clear = cv2.resize((mask == IGNORE).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        cv2.copyTo(picture, clear, veil)
    return cast(U8, veil)


@lru_cache(maxsize=16)
def _table(palette: tuple[Rgb, ...]) -> U8:
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = palette
    return table


def _action_rows(actions: Sequence[Action], now_s: float) -> list[_Row]:
    first, *others = actions
    age_s = max(0.0, now_s - first.end_s)
    colour = _ALARM if first.label in ("fight", "fall") else _WHITE
    rows = [_Row(f"{first.label} {first.probability:.0%}  {age_s:.1f} s ago", colour)]
    return rows + [_Row(f"{other.label} {other.probability:.0%}", _QUIET) for other in others[:2]]


def _legend_rows(shares: dict[str, float], spec: ModelSpec) -> list[_Row]:
    palette = dict(zip(spec.labels, colours(spec), strict=True))
    largest = sorted(shares.items(), key=lambda item: -item[1])[:_LEGEND_ROWS]
    return [
        _Row(f"{label} {share:.0%}", _WHITE, swatch=palette[label])
        for label, share in largest
        if share >= _LEGEND_SHARE
    ]


def _panel(canvas: U8, rows: Sequence[_Row], text_px: int, x: int, y: int) -> None:
    """A shaded box of lines; negative x and y count from the right and the bottom."""
    if not rows:
        return
    strips = [_strip(row, text_px) for row in rows]
    pad = text_px // 3
    width = max(strip.shape[1] for strip in strips) + 2 * pad
    height = sum(strip.shape[0] for strip in strips) + 2 * pad
    left = x if x >= 0 else canvas.shape[1] + x - width
    top = y if y >= 0 else canvas.shape[0] + y - height
    left, top = max(0, left), max(0, top)
    box = canvas[top : top + height, left : left + width]
    cv2.convertScaleAbs(box, dst=box, alpha=1 - _SHADE)
    line = pad
    for row, strip in zip(rows, strips, strict=True):
        room = box[line : line + strip.shape[0], pad : pad + strip.shape[1]]
        np.maximum(room, strip[: room.shape[0], : room.shape[1]], out=room)
        if row.swatch:  # not as light on what is there: it must be the class's very colour
            room[text_px // 4 : text_px + 1, : text_px * 4 // 5 + 1] = row.swatch
        line += strip.shape[0]


def _font() -> cv2.FontFace:
    # One for each thread: two that measure text with the same one get each other's widths.
    if not hasattr(_per_thread, "font"):
        _per_thread.font = cv2.FontFace("sans")
    return cast(cv2.FontFace, _per_thread.font)


@lru_cache(maxsize=512)
def _strip(row: _Row, text_px: int) -> U8:
    """One line as light on black, (text_px * 1.4, width, 3); most lines come again and are drawn once."""
    height = text_px * 7 // 5
    indent = text_px * 5 // 4 if row.swatch else 0
    strip = np.zeros((height, max(1, indent + text_px * len(row.text)), 3), np.uint8)
    sans = _font()
    x_px, _, width, _ = cv2.getTextSize((strip.shape[1], height), row.text, (0, 0), sans, text_px, _WEIGHT)
    cv2.putText(strip, row.text, (indent, text_px), row.colour, sans, text_px, _WEIGHT)
    strip = np.ascontiguousarray(strip[:, : indent + x_px + width + 1])
    strip.setflags(write=False)
    return strip
