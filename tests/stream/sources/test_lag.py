"""Too late, or only unsteady: judged by the times of packets."""

from collections.abc import Iterable

import pytest

from headrace.stream.sources.lag import FellBehindError, Lag


def watch(packets: Iterable[tuple[float, float]], limit_s: float = 5.0, away: float = 0.0) -> list[float]:
    """The lag after each (arrival_s, pts_s).

    Args:
        away: the share of its time that the reader is elsewhere; for the rest it waits.
    """
    lag, lags, before_s = Lag(limit_s), [], 0.0
    for arrival_s, pts_s in packets:
        waited_s = (1 - away) * (arrival_s - before_s)
        lags.append(lag.of(round(arrival_s * 1e9), pts_s, waited_s))
        before_s = arrival_s
    return lags


def test_a_steady_stream_is_not_late() -> None:
    assert max(watch((100 + at / 25, at / 25) for at in range(1000))) == pytest.approx(0, abs=1e-6)


def test_a_first_burst_is_what_the_rest_is_measured_against() -> None:
    burst = [(100.0, at / 25) for at in range(25)]
    lags = watch([*burst, *((100 + at / 25, 1 + at / 25) for at in range(100))])
    assert lags[24] == pytest.approx(0, abs=1e-6)
    assert lags[-1] == pytest.approx(0, abs=0.05)


def test_a_link_that_is_too_thin_is_named() -> None:
    """Two thirds of the stream get through."""
    with pytest.raises(FellBehindError, match="too thin") as caught:
        watch((100 + 1.5 * at / 25, at / 25) for at in range(1000))
    assert "later and later" in str(caught.value)


@pytest.mark.parametrize("away", [1.0, 0.8])
def test_a_reader_that_takes_its_time_is_late_by_its_own_doing(away: float) -> None:
    """A slow network behind it, and every frame is kept: packets are there as soon as they are asked for."""
    lags = watch(((100 + 1.5 * at / 25, at / 25) for at in range(2500)), away=away)
    assert lags[-1] == pytest.approx(50, abs=0.1)


def test_a_link_is_too_thin_also_for_a_reader_with_other_things_to_do() -> None:
    with pytest.raises(FellBehindError, match="too thin"):
        watch(((100 + 1.5 * at / 25, at / 25) for at in range(1000)), away=0.3)


def test_a_link_that_becomes_too_thin_after_a_slow_reader_is_named() -> None:
    lag, arrival_s = Lag(5.0), 100.0
    for at in range(1000):
        arrival_s += 1.5 / 25
        lag.of(round(arrival_s * 1e9), at / 25, 0.0)
    packets = [(arrival_s + 1.5 * at / 25, 40 + at / 25) for at in range(1, 200)]
    with pytest.raises(FellBehindError, match="too thin"):
        [lag.of(round(arrival_s * 1e9), pts_s, 1.5 / 25) for arrival_s, pts_s in packets]


def test_a_link_that_was_cut_for_a_while_catches_up() -> None:
    before = [(100 + at / 25, at / 25) for at in range(50)]
    backlog = [(110.0 + at / 1000, 2 + at / 25) for at in range(205)]
    lags = watch([*before, *backlog, *((110.2 + at / 25, 10.2 + at / 25) for at in range(100))])
    assert max(lags) == pytest.approx(8, abs=0.1)
    assert lags[-1] == pytest.approx(0, abs=0.1)


def test_a_clock_that_is_set_is_no_lag() -> None:
    lags = watch(
        [
            *((100 + at / 25, 5000 + at / 25) for at in range(50)),
            *((102 + at / 25, at / 25) for at in range(500)),
        ]
    )
    assert max(lags) < 0.1


def test_a_camera_s_clock_that_is_slow_is_no_lag() -> None:
    """100 millionths, over 15 hours: 5.4 s."""
    assert max(watch((float(at), at * (1 - 1e-4)) for at in range(0, 54_000, 2))) < 0.1


def test_a_lag_within_the_limit_is_borne() -> None:
    lags = watch([(100.0, 0.0), *((104.0 + at / 25, at / 25) for at in range(1000))])
    assert max(lags) == pytest.approx(4, abs=0.1)
