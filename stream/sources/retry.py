"""The one wrapper that brings a live source back: backoff, epochs, and a state for people to see."""

import random
import threading
from dataclasses import dataclass, replace
from typing import Literal

from headrace.stream.clock import Clock, MonotonicClock
from headrace.stream.errors import RefusedError, SourceError
from headrace.stream.event import Event, EventKind, EventLog
from headrace.stream.frame import Packet
from headrace.stream.sources.base import Source, SourceInfo
from headrace.stream.sources.lag import FellBehindError

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_SETTLED_S = 60.0
"""After this long without a failure the waits begin anew."""
_JITTER = (0.75, 1.25)
"""Cameras that went together do not come back together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """How a live source is."""

    kind: Literal["opening", "up", "retrying"]
    since_ns: int
    """On the monotonic clock."""
    reason: str = ""
    """Why it is retrying, as one line for people."""
    attempts: int = 0
    """Openings tried since it was lost, or since the first."""


class Retrying:
    """A source that comes back. What is refused at the first opening is final: a wrong password stays wrong.

    After that everything is tried again, a refusal as well: a camera that boots answers 401 and 404 for a
    while. Each return raises the epoch.

    Args:
        source: what is opened, read and opened again.
        stop: set by any thread; the wait for the next attempt ends at once.
        events: where "lost" and "opened" are told.
        stream_id: under which stream.
        clock: where the time comes from.
        rng: where the jitter comes from.
    """

    def __init__(
        self,
        source: Source,
        *,
        stop: threading.Event,
        events: EventLog | None = None,
        stream_id: str = "",
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._source = source
        self._stop = stop
        self._events = events
        self._stream_id = stream_id
        self._clock: Clock = clock or MonotonicClock()
        self._rng = rng or random.Random()
        self._wait_s = _FIRST_WAIT_S
        self._is_open = False
        self._has_been_up = False
        self._epoch_base = 0
        self._epoch = 0
        self._info = SourceInfo(width=0, height=0, codec="")
        self._state = SourceState(kind="opening", since_ns=self._clock.now_ns())

    @property
    def name(self) -> str:
        """The source's own name."""
        return self._source.name

    @property
    def is_live(self) -> bool:
        """As the source says."""
        return self._source.is_live

    @property
    def state(self) -> SourceState:
        """How it is now; may be read by any thread."""
        return self._state

    def open(self) -> SourceInfo:
        """Open it, however many attempts that takes.

        Stopped before that, it gives an info of size 0, and `read` gives None.

        Raises:
            RefusedError: it was refused; another attempt is no use.
        """
        self._state = SourceState(kind="opening", since_ns=self._clock.now_ns())
        while not self._is_open and not self._stop.is_set():
            self._try_to_open()
        return self._info

    def read(self) -> Packet | None:
        """The next packet; None at the end of a source that ends, and as soon as `stop` is set."""
        while not self._stop.is_set():
            if not self._is_open:
                self._try_to_open()
                continue
            try:
                packet = self._source.read()
            except SourceError as error:
                self._lose(error)
                continue
            if packet is None:
                return None
            if self._state.kind != "up":
                self._come_up()
            self._epoch = self._epoch_base + packet.epoch
            return replace(packet, epoch=self._epoch)
        return None

    def close(self) -> None:
        """Close the source."""
        self._is_open = False
        self._source.close()

    def __repr__(self) -> str:
        return f"Retrying({self._source!r}, {self._state.kind})"

    def _try_to_open(self) -> None:
        """One attempt, after the wait that is due."""
        if self._state.kind == "retrying" and self._wait():
            return
        self._state = replace(self._state, attempts=self._state.attempts + 1)
        try:
            self._info = self._source.open()
            self._is_open = True
        except SourceError as error:
            if isinstance(error, RefusedError) and not self._has_been_up:
                self._source.close()
                raise
            self._lose(error)

    def _wait(self) -> bool:
        seconds = min(_LONGEST_WAIT_S, self._wait_s * self._rng.uniform(*_JITTER))
        self._wait_s = min(_LONGEST_WAIT_S, 2 * self._wait_s)
        return self._clock.wait(self._stop, seconds)

    def _come_up(self) -> None:
        """A packet is there: only that is a camera that works."""
        if self._has_been_up:
            self._epoch_base = self._epoch + 1
        self._has_been_up = True
        lost, now_ns = self._state, self._clock.now_ns()
        self._state = SourceState(kind="up", since_ns=now_ns)
        what = f"{self.name}: "
        what += self._info.granted or f"{self._info.codec} {self._info.width}×{self._info.height}"
        if lost.kind == "retrying":
            what += f", back after {(now_ns - lost.since_ns) / 1e9:.1f} s (attempt {lost.attempts})"
        self._tell("opened", what)

    def _lose(self, error: SourceError) -> None:
        """The connection failed, or an attempt to get it back did."""
        self._is_open = False
        self._source.close()
        before, now_ns = self._state, self._clock.now_ns()
        settled = before.kind == "up" and now_ns - before.since_ns >= _SETTLED_S * 1e9
        # One that fell behind is well: there is nothing to wait for.
        if settled or isinstance(error, FellBehindError):
            self._wait_s = _FIRST_WAIT_S
        again = before.kind == "retrying"
        self._state = SourceState(
            kind="retrying",
            since_ns=before.since_ns if again else now_ns,
            reason=str(error),
            attempts=0 if before.kind == "up" else before.attempts,
        )
        if self._state.reason != before.reason:
            self._tell("lost", self._state.reason)

    def _tell(self, kind: EventKind, text: str) -> None:
        if self._events is not None:
            now_ns = self._clock.now_ns()
            self._events.add(Event(kind=kind, stream_id=self._stream_id, stage="capture", text=text, at_ns=now_ns))
