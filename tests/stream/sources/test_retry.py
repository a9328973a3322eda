"""Coming back: backoff, epochs, states and events, on a clock that jumps."""

import random
import threading

import pytest
from scripted import JumpingClock, ScriptedSource, packet

from headrace.stream.errors import RefusedError, SourceError
from headrace.stream.event import EventLog
from headrace.stream.sources.lag import FellBehindError
from headrace.stream.sources.retry import Retrying


class Camera:
    """A retrying source over a script, and everything it reports to."""

    def __init__(self, *parts: object) -> None:
        self.source = ScriptedSource(parts)  # type: ignore[arg-type]
        self.clock, self.events, self.stop = JumpingClock(), EventLog(), threading.Event()
        self.retrying = Retrying(
            self.source,
            stop=self.stop,
            events=self.events,
            stream_id="gate",
            clock=self.clock,
            rng=random.Random(1),
        )


LOST, GONE = SourceError("lost"), SourceError("gone")
NO = RefusedError("wrong password")


def test_packets_pass_until_the_source_ends() -> None:
    camera = Camera([packet(0.0), packet(0.04)])
    info = camera.retrying.open()
    assert (info.width, info.height) == (2, 2)
    assert camera.retrying.state.kind == "opening"
    first, second = camera.retrying.read(), camera.retrying.read()
    assert first is not None
    assert second is not None
    assert [first.epoch, second.epoch] == [0, 0]
    assert camera.retrying.state.kind == "up"
    assert camera.retrying.read() is None
    assert [event.kind for event in camera.events.take()] == ["opened"]


def test_each_return_raises_the_epoch_and_brings_a_new_codec() -> None:
    camera = Camera([packet(5.0), LOST], [packet(0.0), LOST], [GONE], [packet(0.0)])
    camera.retrying.open()
    packets = [camera.retrying.read() for _ in range(3)]
    assert [one and one.epoch for one in packets] == [0, 1, 2]
    assert len({id(one.codec) for one in packets if one}) == 3


def test_a_source_that_ends_is_not_lost() -> None:
    camera = Camera([packet(0.0), LOST], [])
    camera.retrying.open()
    camera.retrying.read()
    assert camera.retrying.read() is None
    assert camera.source.openings == 2


def test_waits_double_to_the_limit_with_jitter() -> None:
    camera = Camera([packet(0.0), LOST], *[[GONE]] * 9, [packet(0.0)])
    camera.retrying.open()
    camera.retrying.read()
    camera.retrying.read()
    nominal = [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]
    assert len(camera.clock.waits_s) == len(nominal)
    for waited_s, want_s in zip(camera.clock.waits_s, nominal, strict=True):
        assert 0.75 * want_s <= waited_s <= min(30, 1.25 * want_s)
    assert len({waited_s / want_s for waited_s, want_s in zip(camera.clock.waits_s, nominal, strict=True)}) > 3


@pytest.mark.parametrize(("up_s", "next_wait_s"), [(59, 2.0), (61, 0.5)])
def test_a_minute_up_begins_the_waits_anew(up_s: int, next_wait_s: float) -> None:
    camera = Camera([packet(0.0), LOST], [GONE], [packet(0.0), LOST], [packet(0.0)])
    camera.retrying.open()
    for _ in range(2):
        camera.retrying.read()
    camera.clock.time_ns += up_s * 1_000_000_000
    camera.clock.waits_s.clear()
    camera.retrying.read()
    assert len(camera.clock.waits_s) == 1
    assert camera.clock.waits_s[0] == pytest.approx(next_wait_s, rel=0.25)


def test_a_source_that_is_dead_from_the_start_is_tried_until_it_lives() -> None:
    camera = Camera([GONE], [GONE], [packet(0.0)])
    camera.retrying.open()
    first = camera.retrying.read()
    assert first is not None
    assert first.epoch == 0
    assert camera.source.openings == 3


def test_refused_at_the_first_opening_is_final() -> None:
    camera = Camera([NO], [packet(0.0)])
    with pytest.raises(RefusedError, match="wrong password"):
        camera.retrying.open()
    assert camera.source.openings == 1
    assert camera.clock.waits_s == []


def test_refused_is_final_also_after_failures() -> None:
    camera = Camera([GONE], [NO])
    with pytest.raises(RefusedError):
        camera.retrying.open()


def test_refused_after_it_was_up_is_tried_again() -> None:
    camera = Camera([packet(0.0), LOST], [NO], [NO], [packet(0.0)])
    camera.retrying.open()
    camera.retrying.read()
    back = camera.retrying.read()
    assert back is not None
    assert back.epoch == 1


def test_the_state_says_since_when_why_and_how_often() -> None:
    camera = Camera([packet(0.0), LOST], [GONE], [GONE], [packet(0.0)])
    states = []

    class Spy(JumpingClock):
        def wait(self, stop: threading.Event, seconds: float) -> bool:
            states.append(camera.retrying.state)
            return super().wait(stop, seconds)

    camera.retrying._clock = spy = Spy()
    camera.retrying.open()
    camera.retrying.read()
    lost_ns = spy.time_ns
    camera.retrying.read()
    assert [(state.kind, state.reason, state.attempts) for state in states] == [
        ("retrying", "lost", 0),
        ("retrying", "gone", 1),
        ("retrying", "gone", 2),
    ]
    assert {state.since_ns for state in states} == {lost_ns}
    assert camera.retrying.state.kind == "up"
    assert camera.retrying.state.reason == ""


def test_events_tell_the_loss_each_new_reason_and_the_return() -> None:
    camera = Camera([packet(0.0), LOST], [GONE], [GONE], [packet(0.0)])
    camera.retrying.open()
    camera.retrying.read()
    camera.retrying.read()
    events = camera.events.take()
    assert [event.kind for event in events] == ["opened", "lost", "lost", "opened"]
    assert [event.text for event in events[1:3]] == ["lost", "gone"]
    assert "back after" in events[3].text
    assert {event.stream_id for event in events} == {"gate"}


def test_stop_ends_the_wait_and_reading() -> None:
    camera = Camera([packet(0.0), LOST])

    class Stopper(JumpingClock):
        def wait(self, stop: threading.Event, seconds: float) -> bool:
            stop.set()
            return super().wait(stop, seconds)

    camera.retrying._clock = Stopper()
    camera.retrying.open()
    assert camera.retrying.read() is not None
    assert camera.retrying.read() is None
    assert camera.retrying.read() is None
    assert camera.source.openings == 1


def test_stopped_before_it_opened() -> None:
    camera = Camera([packet(0.0)])
    camera.stop.set()
    assert camera.retrying.open().width == 0
    assert camera.retrying.read() is None
    assert camera.source.openings == 0


def test_a_lost_source_is_closed_before_it_is_opened_again() -> None:
    camera = Camera([packet(0.0), LOST], [packet(0.0)])
    camera.retrying.open()
    camera.retrying.read()
    closings = []
    close = camera.source.close
    camera.source.close = lambda: (closings.append(camera.source.openings), close())[1]  # type: ignore[method-assign]
    camera.retrying.read()
    assert closings == [1]
    camera.retrying.close()
    assert not camera.source.is_open


def test_what_is_not_a_failure_of_the_source_is_not_retried() -> None:
    class Broken(ScriptedSource):
        def read(self) -> None:
            raise ZeroDivisionError

    retrying = Retrying(Broken([[packet(0.0)]]), stop=threading.Event(), clock=JumpingClock())
    retrying.open()
    with pytest.raises(ZeroDivisionError):
        retrying.read()


def test_one_that_fell_behind_is_opened_again_without_longer_and_longer_waits() -> None:
    parts = [[packet(0.0), FellBehindError("late")] for _ in range(5)]
    camera = Camera(*parts, [packet(0.0)])
    camera.retrying.open()
    epochs = [one.epoch for one in (camera.retrying.read() for _ in range(6)) if one]
    assert epochs == [0, 1, 2, 3, 4, 5]
    assert max(camera.clock.waits_s) <= 0.625
