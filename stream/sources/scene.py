"""The drawn world as a source: `scene:street?seconds=10&size=640x360&fps=25&seed=1&pan=1&look=clean&script=auto`."""

import time
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import parse_qsl

from headrace.stream.frame import Codec, Packet
from headrace.stream.scene import Kind, World, check_options
from headrace.stream.sources.base import SourceInfo

_DEFAULT_FPS = 25.0
_GREATEST_FPS = 1000.0


class SceneSource:
    """A camera in the drawn world. The same URL gives the same pictures, at every opening.

    Args:
        url: `scene:`, then `street` (also when left out) or `room`, then options as in a web address:
            `size=640x360`, `fps=25`, `seconds=10` (endless without), `seed=1`, `pan=1`, `shake=1`, `density=1`,
            `look=clean|surveillance|auto`, `script=auto|normal|fall|fight`.

    Raises:
        ValueError: the kind or an option is not known or has a bad value; the message lists what is allowed.
    """

    def __init__(self, url: str) -> None:
        kind, options = _parsed(url)
        self._url = url
        self._fps = options.pop("fps", _DEFAULT_FPS)
        seconds = options.pop("seconds", None)
        self._frames = None if seconds is None else round(seconds * self._fps)
        self._kind, self._options = kind, options
        try:
            check_options(kind, **options)
        except ValueError as error:
            raise ValueError(f"{url}: {error}") from None
        self._world: World | None = None
        self._codec = Codec(name="rgb", fps=self._fps, intra_only=True)
        self._next = 0

    @property
    def name(self) -> str:
        """The URL as it was given."""
        return self._url

    @property
    def is_live(self) -> bool:
        """False: it waits for its reader."""
        return False

    @property
    def world(self) -> World | None:
        """The world that is being filmed, with the truth about it; None while closed."""
        return self._world

    def open(self) -> SourceInfo:
        """Paint the background; the first picture is that of 0 s."""
        self._world, self._next = World(self._kind, **self._options), 0
        self._codec = Codec(name="rgb", fps=self._fps, intra_only=True)
        width, height = self._world.size
        return SourceInfo(width=width, height=height, codec="rgb", fps=self._fps, frames=self._frames)

    def read(self) -> Packet | None:
        """The next picture, uint8 (H, W, 3); None at the end and while closed."""
        if self._world is None or (self._frames is not None and self._next >= self._frames):
            return None
        pts_s = self._next / self._fps
        self._next += 1
        image = self._world.view(pts_s).image
        return Packet(data=image, codec=self._codec, is_keyframe=True, pts_s=pts_s, arrival_ns=time.monotonic_ns())

    def close(self) -> None:
        """Forget the world."""
        self._world = None

    def __repr__(self) -> str:
        return f"SceneSource({self._url})"


def _parsed(url: str) -> tuple[Kind, dict[str, Any]]:
    """Kind and options of a scene URL."""
    scheme, colon, rest = url.partition(":")
    if scheme.lower() != "scene" or not colon:
        raise ValueError(f"{url!r} is not a scene: it must look like scene:street?seconds=10&size=640x360")
    kind, _, query = rest.partition("?")
    options: dict[str, Any] = {}
    for key, text in parse_qsl(query, keep_blank_values=True):
        read = _OPTIONS.get(key)
        if read is None:
            raise ValueError(f"{url}: option {key!r} is not known; allowed: {', '.join(_OPTIONS)}")
        try:
            options[key] = read(text)
        except ValueError as error:
            raise ValueError(f"{url}: {key}={text!r} {error}") from None
    return cast(Kind, kind.strip("/") or "street"), options


def _size(text: str) -> tuple[int, int]:
    width, x, height = text.lower().partition("x")
    if not (x and width.isdecimal() and height.isdecimal()):
        raise ValueError("must be width x height in pixels, such as 640x360")
    return int(width), int(height)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("must be a whole number, 0 or more")
    return int(text)


def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError("must be 0 or 1")
    return text == "1"


def _number(low: float, high: float) -> Callable[[str], float]:
    """A reader of numbers above `low` and up to `high`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low < value <= high:
            raise ValueError(f"must be a number above {low:g} and up to {high:g}")
        return value

    return read


_OPTIONS: Mapping[str, Callable[[str], Any]] = {
    "seconds": _number(0, 1e6), "size": _size, "fps": _number(0, _GREATEST_FPS), "seed": _count, "pan": _flag,
    "shake": _flag, "density": _number(0, 10), "look": str, "script": str,
}  # fmt: skip
"""Options of a scene URL and how their values are read; the world checks `look` and `script`."""
