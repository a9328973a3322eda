"""Rates and percentiles of what is going on, in constant memory."""

import math
import threading
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headrace.stream.clock import Clock, MonotonicClock


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """Of a time in milliseconds; nan while there is nothing to tell of."""

    p50: float
    p95: float
    p99: float


UNMEASURED = Percentiles(p50=math.nan, p95=math.nan, p99=math.nan)

_LOW_MS, _STEP, _BINS = 0.01, 1.02, 820
_LOG_LOW, _LOG_STEP = math.log(_LOW_MS), math.log(_STEP)


class Histogram:
    """Percentiles of times between 10 µs and 100 s to within 2 %, whatever their number.

    Counts go into logarithmic bins, so a month of frames takes the memory of a second.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, np.int64)
        self._lock = threading.Lock()

    def add(self, value_ms: float) -> None:
        """Count one value."""
        at = _bin(value_ms)
        with self._lock:
            self._counts[at] += 1

    def percentiles(self) -> Percentiles:
        """Of all values so far."""
        with self._lock:
            heights = np.cumsum(self._counts)
        return _percentiles(heights)


class RecentHistogram:
    """Percentiles of the values of the last seconds, in constant memory.

    Values go into the newer of two halves; when a half's time is over, the older one is emptied and takes its place.

    Args:
        clock: where the time comes from.
        window_s: how far back it looks at the most; at the least, half of that.
    """

    def __init__(self, clock: Clock | None = None, window_s: float = 10.0) -> None:
        self._clock = clock or MonotonicClock()
        self._half_ns = int(window_s * 1e9 / 2)
        self._newer, self._older = np.zeros(_BINS, np.int64), np.zeros(_BINS, np.int64)
        self._since_ns = self._clock.now_ns()
        self._lock = threading.Lock()

    def add(self, value_ms: float) -> None:
        """Count one value."""
        at = _bin(value_ms)
        with self._lock:
            self._turn()
            self._newer[at] += 1

    def percentiles(self) -> Percentiles:
        """Of the values of the last seconds; nan where there were none."""
        with self._lock:
            self._turn()
            heights = np.cumsum(self._newer + self._older)
        return _percentiles(heights)

    def _turn(self) -> None:
        halves = (self._clock.now_ns() - self._since_ns) // self._half_ns
        if halves <= 0:
            return
        self._since_ns += halves * self._half_ns
        self._newer, self._older = self._older, self._newer
        self._newer[:] = 0
        if halves > 1:
            self._older[:] = 0


def _bin(value_ms: float) -> int:
    if value_ms <= _LOW_MS:
        return 0
    return min(int((math.log(value_ms) - _LOG_LOW) / _LOG_STEP) + 1, _BINS - 1)


def _percentiles(heights: NDArray[np.int64]) -> Percentiles:
    """Of bins whose counts are added up: int64 (bins,)."""
    if heights[-1] == 0:
        return UNMEASURED
    p50, p95, p99 = (_value(heights, share) for share in (0.50, 0.95, 0.99))
    return Percentiles(p50=p50, p95=p95, p99=p99)


def _value(heights: NDArray[np.int64], share: float) -> float:
    at = int(np.searchsorted(heights, share * heights[-1]))
    return float(_LOW_MS * _STEP ** (at - 0.5)) if at else _LOW_MS


class Rate:
    """Frames per second: since the start, and over the last seconds."""

    def __init__(self, clock: Clock | None = None, window_s: float = 2.0) -> None:
        self._clock = clock or MonotonicClock()
        self._window_ns = int(window_s * 1e9)
        self._recent: deque[int] = deque(maxlen=4096)
        self._count = 0
        self._first_ns = self._last_ns = 0
        self._lock = threading.Lock()

    def tick(self) -> None:
        """One more."""
        now = self._clock.now_ns()
        with self._lock:
            if self._count == 0:
                self._first_ns = now
            self._count += 1
            self._last_ns = now
            self._recent.append(now)

    @property
    def overall_fps(self) -> float:
        """From the first tick to the last."""
        with self._lock:
            span_ns = self._last_ns - self._first_ns
            return (self._count - 1) / (span_ns / 1e9) if span_ns > 0 else 0.0

    @property
    def recent_fps(self) -> float:
        """Over the last two seconds; falls to 0 when nothing comes."""
        now = self._clock.now_ns()
        with self._lock:
            since_ns = now - self._first_ns
            if 0 < since_ns < self._window_ns:  # not yet two seconds old
                return max(0, len(self._recent) - 1) / (since_ns / 1e9)
            while self._recent and self._recent[0] < now - self._window_ns:
                self._recent.popleft()
            return len(self._recent) / (self._window_ns / 1e9)
