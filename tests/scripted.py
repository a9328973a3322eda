"""Stand-ins that tests drive: a clock that jumps, and a source that plays a script."""

import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from headrace.stream.errors import SourceError
from headrace.stream.frame import Codec, Packet
from headrace.stream.sources.base import SourceInfo

CODEC = Codec(name="rgb", fps=25.0, intra_only=True)


def packet(pts_s: float | None, codec: Codec = CODEC) -> Packet:
    """A tiny picture with a time."""
    return Packet(data=np.zeros((2, 2, 3), np.uint8), codec=codec, is_keyframe=True, pts_s=pts_s, arrival_ns=0)


class JumpingClock:
    """A clock whose waits take no time: each one is noted, and the time moves on by it."""

    def __init__(self) -> None:
        self.time_ns = 1_000_000_000
        self.waits_s: list[float] = []

    def now_ns(self) -> int:
        return self.time_ns

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        self.waits_s.append(seconds)
        if not stop.is_set():
            self.time_ns += round(max(0.0, seconds) * 1e9)
        return stop.is_set()


class ScriptedSource:
    """Each opening plays one part of the script: packets and errors in turn, then the end.

    An error as the first thing of a part is raised by `open`. When the parts are over, opening fails.
    """

    def __init__(self, parts: Sequence[Sequence[Packet | SourceError]], *, is_live: bool = True) -> None:
        self.name = "scripted"
        self.is_live = is_live
        self.openings = 0
        self.is_open = False
        self._parts = list(parts)
        self._left: list[Packet | SourceError] = []

    def open(self) -> SourceInfo:
        self.openings += 1
        if not self._parts:
            raise SourceError("the script is over")
        part = list(self._parts.pop(0))
        if part and isinstance(part[0], SourceError):
            raise part[0]
        # A new opening has a new codec, as real sources do.
        codec = replace(CODEC)
        self._left = [replace(item, codec=codec) if isinstance(item, Packet) else item for item in part]
        self.is_open = True
        return SourceInfo(width=2 * self.openings, height=2, codec="rgb")

    def read(self) -> Packet | None:
        assert self.is_open, "read while closed"
        if not self._left:
            return None
        item = self._left.pop(0)
        if isinstance(item, SourceError):
            raise item
        return item

    def close(self) -> None:
        self.is_open = False
