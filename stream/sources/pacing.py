"""Files that behave as cameras do: played at their own speed, and over again."""

import threading
from dataclasses import replace

import av

from headrace.stream.clock import Clock, MonotonicClock
from headrace.stream.frame import Packet
from headrace.stream.sources.base import Source, SourceInfo

_FALLBACK_FPS = 25.0
_LONGEST_STEP_S = 10.0
"""A longer pause between two packets is a break in the clock, not a pause."""
_LATEST_S = 0.5
"""A reader that is later than this has lost its place: the rest is played from now, not all at once."""


class Paced:
    """A source played at its own speed: each packet comes when a camera would have given it.

    `arrival_ns` is the instant at which the packet was due: a late reader shows in the age of its frames.

    Args:
        source: what is played.
        stop: set by any thread; `read` then gives None at once.
        clock: where the time comes from.
    """

    def __init__(self, source: Source, *, stop: threading.Event, clock: Clock | None = None) -> None:
        self._source = source
        self._stop = stop
        self._clock: Clock = clock or MonotonicClock()
        self._due_ns: int | None = None
        self._at_s: float | None = None
        self._epoch = 0

    @property
    def name(self) -> str:
        """The source's own name."""
        return self._source.name

    @property
    def is_live(self) -> bool:
        """True: it goes on by itself."""
        return True

    def open(self) -> SourceInfo:
        """Open the source; the first packet is due when it is read."""
        self._due_ns = self._at_s = None
        return self._source.open()

    def read(self) -> Packet | None:
        """The next packet, when it is due; None at the end and as soon as `stop` is set."""
        if self._stop.is_set():
            return None
        packet = self._source.read()
        if packet is None:
            return None
        due_ns = self._next_due_ns(packet)
        wait_s = (due_ns - self._clock.now_ns()) / 1e9
        if wait_s > 0 and self._clock.wait(self._stop, wait_s):
            return None
        return replace(packet, arrival_ns=due_ns)

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def __repr__(self) -> str:
        return f"Paced({self._source!r})"

    def _next_due_ns(self, packet: Packet) -> int:
        now_ns, at_s = self._clock.now_ns(), _decoded_at_s(packet)
        if self._due_ns is None:
            due_ns = now_ns
        else:
            due_ns = self._due_ns + round(self._step_s(packet, at_s) * 1e9)
            if due_ns < now_ns - _LATEST_S * 1e9:
                due_ns = now_ns
        self._due_ns, self._at_s, self._epoch = due_ns, at_s, packet.epoch
        return due_ns

    def _step_s(self, packet: Packet, at_s: float | None) -> float:
        if at_s is not None and self._at_s is not None and packet.epoch == self._epoch:
            step_s = at_s - self._at_s
            if 0 <= step_s <= _LONGEST_STEP_S:
                return step_s
        return 1.0 / (packet.codec.fps or _FALLBACK_FPS)


class Looping:
    """A source that begins again at its end, each time with the next epoch."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._epoch = 0
        self._has_given = False

    @property
    def name(self) -> str:
        """The source's own name."""
        return self._source.name

    @property
    def is_live(self) -> bool:
        """As the source says."""
        return self._source.is_live

    def open(self) -> SourceInfo:
        """Open the source, at epoch 0."""
        self._epoch, self._has_given = 0, False
        return self._source.open()

    def read(self) -> Packet | None:
        """The next packet; None only if the source has none at all."""
        packet = self._source.read()
        if packet is None and self._has_given:
            self._source.close()
            self._source.open()
            self._epoch, self._has_given = self._epoch + 1, False
            packet = self._source.read()
        if packet is None:
            return None
        self._has_given = True
        return replace(packet, epoch=packet.epoch + self._epoch)

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def __repr__(self) -> str:
        return f"Looping({self._source!r})"


def _decoded_at_s(packet: Packet) -> float | None:
    """When a camera would send it: pictures that others build on are sent before they are shown."""
    data = packet.data
    if isinstance(data, av.Packet) and data.dts is not None and data.time_base:
        return float(data.dts * data.time_base)
    return packet.pts_s
