"""Time as the pipeline reads it, so that tests can bring their own."""

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """The monotonic clock, and a wait that a stop cuts short."""

    def now_ns(self) -> int:
        """Monotonic nanoseconds."""

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        """Wait; True as soon as `stop` is set, False when the time is over."""


class MonotonicClock:
    """The machine's own clock."""

    def now_ns(self) -> int:
        """Monotonic nanoseconds."""
        return time.monotonic_ns()

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        """Wait; True as soon as `stop` is set, False when the time is over."""
        return stop.wait(max(0.0, seconds))
