"""Rates and percentiles against plain arithmetic."""

import math
import threading

import numpy as np
import pytest
from fakes import FakeClock
from hypothesis import given
from hypothesis import strategies as st

from headrace.stream.meter import Histogram, Rate, RecentHistogram
from headrace.stream.stats import StreamMeters


@given(st.lists(st.floats(0.011, 90_000), min_size=1, max_size=200))
def test_percentiles_are_within_two_percent(values: list[float]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    found = histogram.percentiles()
    for share, got in ((0.50, found.p50), (0.95, found.p95), (0.99, found.p99)):
        want = np.quantile(values, share, method="inverted_cdf")
        assert got == pytest.approx(want, rel=0.02)


def test_nothing_measured_is_not_zero() -> None:
    assert math.isnan(Histogram().percentiles().p50)


@pytest.mark.parametrize("value", [0.0, -1.0, 1e-9])
def test_less_than_it_can_tell_is_its_least(value: float) -> None:
    histogram = Histogram()
    histogram.add(value)
    assert histogram.percentiles().p99 == pytest.approx(0.01)


def test_more_than_it_can_tell_is_its_most() -> None:
    histogram = Histogram()
    histogram.add(1e12)
    assert histogram.percentiles().p50 > 100_000


def test_threads_add_without_loss() -> None:
    histogram = Histogram()

    def add(ms: float) -> None:
        for _ in range(2000):
            histogram.add(ms)

    threads = [threading.Thread(target=add, args=(ms,)) for ms in (1.0, 1.0, 100.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert int(histogram._counts.sum()) == 6000
    assert histogram.percentiles().p50 == pytest.approx(1.0, rel=0.02)
    assert histogram.percentiles().p95 == pytest.approx(100.0, rel=0.02)


def test_after_an_hour_a_change_shows_within_seconds() -> None:
    clock = FakeClock()
    recent, whole = RecentHistogram(clock, window_s=10.0), Histogram()
    for age_ms, seconds in ((40.0, 3600), (2000.0, 11)):
        for _ in range(seconds * 5):
            clock.move(0.2)
            recent.add(age_ms)
            whole.add(age_ms)
    assert whole.percentiles().p95 == pytest.approx(40.0, rel=0.02)
    assert recent.percentiles().p50 == pytest.approx(2000.0, rel=0.02)
    assert recent.percentiles().p99 == pytest.approx(2000.0, rel=0.02)


def test_recent_is_never_less_than_half_of_the_window_and_never_more_than_all() -> None:
    clock = FakeClock()
    recent = RecentHistogram(clock, window_s=10.0)
    at_s = 0.0
    for _ in range(400):
        recent.add(max(at_s, 0.02) * 1000)
        clock.move(0.1)
        at_s += 0.1
        if at_s < 12:
            continue
        # The values are times: the median of the last 5 s is 2.5 s old, that of the last 10 s is 5 s old.
        age_s = at_s - recent.percentiles().p50 / 1000
        assert 2.0 < age_s < 6.0


@pytest.mark.parametrize("seconds", [10.1, 14.9, 100.0])
def test_recent_is_nothing_when_nothing_came(seconds: float) -> None:
    clock = FakeClock()
    recent = RecentHistogram(clock, window_s=10.0)
    recent.add(40.0)
    assert recent.percentiles().p50 == pytest.approx(40.0, rel=0.02)
    clock.move(seconds)
    assert math.isnan(recent.percentiles().p50)
    recent.add(9.0)
    assert recent.percentiles().p99 == pytest.approx(9.0, rel=0.02)


def test_a_stage_has_one_histogram(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Histogram] = []

    class Counted(Histogram):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    meters = StreamMeters()
    monkeypatch.setattr("headrace.stream.stats.Histogram", Counted)
    for ms in (1.0, 2.0, 3.0):
        meters.stage("decode", ms)
    assert len(made) == 1
    assert meters.stages()["decode"].p99 == pytest.approx(3.0, rel=0.02)


def test_the_rate_of_all_is_from_the_first_to_the_last() -> None:
    clock = FakeClock()
    rate = Rate(clock)
    assert rate.overall_fps == 0.0
    rate.tick()
    assert rate.overall_fps == 0.0, "one frame has no rate"
    for _ in range(100):
        clock.move(0.04)
        rate.tick()
    clock.move(60)
    assert rate.overall_fps == pytest.approx(25.0)


def test_the_recent_rate_follows_and_falls_to_zero() -> None:
    clock = FakeClock()
    rate = Rate(clock, window_s=2.0)
    for _ in range(100):
        clock.move(0.04)
        rate.tick()
    assert rate.recent_fps == pytest.approx(25.0, abs=0.5)
    for _ in range(100):
        clock.move(0.1)
        rate.tick()
    assert rate.recent_fps == pytest.approx(10.0, abs=0.5)
    clock.move(2.1)
    assert rate.recent_fps == 0.0


def test_the_recent_rate_is_right_from_the_first_second_on() -> None:
    """Two seconds are not over yet: what came is not spread over time that was not."""
    clock = FakeClock()
    rate = Rate(clock, window_s=2.0)
    for _ in range(13):
        rate.tick()
        clock.move(0.04)
    assert rate.recent_fps == pytest.approx(25.0, abs=2.0)
