"""Rates and percentiles of what is going on, in constant memory."""

import threading
from collections import deque
from dataclasses import dataclass

import numpy as np

from headrace.stream.clock import Clock, MonotonicClock


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """Of a time in milliseconds; nan while there is nothing to tell of."""

    p50: float
    p95: float
    p99: float


class Histogram:
    """Percentiles of times between 10 µs and 100 s to within 2 %, whatever their number.

    Counts go into logarithmic bins, so a month of frames takes the memory of a second.
    """

    _LOW_MS, _STEP = 0.01, 1.02
    _BINS = 820

    def __init__(self) -> None:
        self._counts = np.zeros(self._BINS, np.int64)
        self._lock = threading.Lock()

    def add(self, value_ms: float) -> None:
        """Count one value."""
        at = 0 if value_ms <= self._LOW_MS else int(np.log(value_ms / self._LOW_MS) / np.log(self._STEP)) + 1
        with self._lock:
            self._counts[min(at, self._BINS - 1)] += 1

    def percentiles(self) -> Percentiles:
        """Of all values so far."""
        with self._lock:
            heights = np.cumsum(self._counts)
        if heights[-1] == 0:
            return Percentiles(p50=float("nan"), p95=float("nan"), p99=float("nan"))
        p50, p95, p99 = (self._value(heights, share) for share in (0.50, 0.95, 0.99))
        return Percentiles(p50=p50, p95=p95, p99=p99)

    def _value(self, heights: np.ndarray, share: float) -> float:
        at = int(np.searchsorted(heights, share * heights[-1]))
        return float(self._LOW_MS * self._STEP ** (at - 0.5)) if at else self._LOW_MS


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
