"""Chooses what to ask of a camera: which of the modes it lists comes nearest to what is wanted."""

from collections.abc import Sequence
from dataclasses import dataclass

from headrace.stream.errors import RefusedError
from headrace.stream.picture import Size

FFMPEG_NAMES = {
    "YUYV": "yuyv422",
    "UYVY": "uyvy422",
    "NV12": "nv12",
    "YU12": "yuv420p",
    "YV12": "yuv420p",
    "422P": "yuv422p",
    "BGR3": "bgr24",
    "RGB3": "rgb24",
    "GREY": "gray",
    "MJPG": "mjpeg",
    "JPEG": "mjpeg",
}
"""FFmpeg's names of the pixel formats that we take, best first: those that need no decoding, and then JPEG.

H.264 from a camera is not among them: a dropped packet would cost every picture up to the next keyframe.
"""

_ORDER = {fourcc: place for place, fourcc in enumerate(FFMPEG_NAMES)}
_SMOOTH_FPS = 25.0
_USUAL_FPS = 30.0
_USUAL_SIZE = (1280, 720)


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One pixel format at one size, as a camera's driver lists it."""

    fourcc: str
    """Four letters: "YUYV", "MJPG"."""
    width: int
    height: int
    """In pixels."""
    fps: tuple[float, ...] = ()
    """The rates it can have, highest first; empty where the driver does not say."""

    def __str__(self) -> str:
        rates = f" at {', '.join(f'{rate:g}' for rate in self.fps)} fps" if self.fps else ""
        return f"{self.fourcc} {self.width}x{self.height}{rates}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for; None leaves it to us."""

    size: Size | None = None
    fps: float | None = None
    pixel_format: str | None = None
    """The four letters or FFmpeg's name, in any case: "MJPG", "mjpeg", "yuyv"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """What to ask the driver for."""

    size: Size
    fps: float
    fourcc: str = ""
    """"" where the driver lists nothing: it then keeps the format it has."""


def choose_mode(formats: Sequence[Format], wanted: Wanted) -> Mode:
    """The mode nearest to what is wanted.

    A size that was asked for comes before the rate. Where none was, the rate comes first: a camera that gives
    raw 720p at 10 fps is used in MJPG, or else in the largest size that it gives at 25.

    Raises:
        RefusedError: the camera has no such pixel format.
    """
    size, fps = wanted.size or _USUAL_SIZE, wanted.fps or _USUAL_FPS
    if not formats:
        return Mode(size=size, fps=fps)
    usable = [it for it in formats if it.fourcc in FFMPEG_NAMES and _is_called(it.fourcc, wanted.pixel_format)]
    if not usable:
        has = ", ".join(dict.fromkeys(it.fourcc for it in formats))
        takes = ", ".join(FFMPEG_NAMES)
        asked = wanted.pixel_format or f"that can be used here ({takes})"
        raise RefusedError(f"it has no pixel format {asked}; it has {has}")
    best = min(usable, key=lambda it: _rank(it, wanted))
    return Mode(size=(best.width, best.height), fps=_rate(best, fps), fourcc=best.fourcc)


def _rank(it: Format, wanted: Wanted) -> tuple[float, ...]:
    width, height = wanted.size or _USUAL_SIZE
    distance = abs(it.width - width) + abs(it.height - height)
    enough = wanted.fps or _SMOOTH_FPS
    # Rounded: 29.97 is as good as 30.
    too_slow = enough - min(enough, round(max(it.fps, default=enough)))
    order = _ORDER[it.fourcc]
    return (distance, too_slow, order) if wanted.size else (too_slow, distance, order)


def _rate(it: Format, fps: float) -> float:
    return min(it.fps, key=lambda rate: abs(rate - fps), default=fps)


def _is_called(fourcc: str, name: str | None) -> bool:
    return name is None or name.lower() in (fourcc.lower(), FFMPEG_NAMES[fourcc])
