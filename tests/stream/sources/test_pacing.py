"""Files as cameras: when packets come, and what happens at the end."""

import threading
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from scripted import JumpingClock, ScriptedSource, packet

from headrace.stream.errors import SourceError
from headrace.stream.sources.file import FileSource
from headrace.stream.sources.pacing import Looping, Paced


def paced(*times_s: float | None) -> tuple[Paced, JumpingClock]:
    clock = JumpingClock()
    source = Paced(ScriptedSource([[packet(at_s) for at_s in times_s]]), stop=threading.Event(), clock=clock)
    source.open()
    return source, clock


def arrivals_s(source: Paced, count: int, start_ns: int) -> list[float]:
    packets = [source.read() for _ in range(count)]
    return [(one.arrival_ns - start_ns) / 1e9 for one in packets if one is not None]


def test_packets_come_at_their_own_times() -> None:
    source, clock = paced(7.0, 7.04, 7.5, 7.51)
    start_ns = clock.time_ns
    assert arrivals_s(source, 4, start_ns) == pytest.approx([0, 0.04, 0.5, 0.51])
    assert clock.time_ns - start_ns == pytest.approx(0.51e9)
    assert source.read() is None
    assert source.is_live


def test_a_reader_that_is_a_little_late_catches_up() -> None:
    source, clock = paced(0.0, 0.1, 0.2, 0.3, 0.4)
    start_ns = clock.time_ns
    source.read()
    clock.time_ns += 250_000_000
    assert arrivals_s(source, 4, start_ns) == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert clock.waits_s == pytest.approx([0.05, 0.1])


def test_a_reader_that_is_very_late_goes_on_from_now() -> None:
    source, clock = paced(0.0, 0.1, 0.2, 0.3)
    start_ns = clock.time_ns
    source.read()
    clock.time_ns += 3_000_000_000
    assert arrivals_s(source, 3, start_ns) == pytest.approx([3.0, 3.1, 3.2])


def test_packets_without_times_come_at_the_rate_of_the_codec() -> None:
    source, clock = paced(None, None, None)
    assert arrivals_s(source, 3, clock.time_ns) == pytest.approx([0, 0.04, 0.08])


@pytest.mark.parametrize("jump_s", [-5.0, 3600.0])
def test_a_break_in_the_times_is_no_pause(jump_s: float) -> None:
    source, clock = paced(10.0, 10.04, 10.0 + jump_s, 10.04 + jump_s)
    assert arrivals_s(source, 4, clock.time_ns) == pytest.approx([0, 0.04, 0.08, 0.12])


def test_stop_ends_the_wait_and_reading() -> None:
    stop = threading.Event()

    class Stopper(JumpingClock):
        def wait(self, stop: threading.Event, seconds: float) -> bool:
            stop.set()
            return super().wait(stop, seconds)

    source = Paced(ScriptedSource([[packet(0.0), packet(9.0), packet(9.1)]]), stop=stop, clock=Stopper())
    source.open()
    assert source.read() is not None
    assert source.read() is None
    assert source.read() is None


def test_a_loop_begins_again_with_the_next_epoch() -> None:
    source = Looping(ScriptedSource([[packet(0.0), packet(0.04)]] * 3))
    source.open()
    packets = [source.read() for _ in range(6)]
    assert [one and (one.epoch, one.pts_s) for one in packets] == [
        (epoch, pts_s) for epoch in range(3) for pts_s in (0.0, 0.04)
    ]
    assert len({id(one.codec) for one in packets if one}) == 3


def test_a_loop_over_nothing_ends() -> None:
    source = Looping(ScriptedSource([[], [packet(0.0)]]))
    source.open()
    assert source.read() is None


def test_a_loop_that_cannot_begin_again_fails() -> None:
    source = Looping(ScriptedSource([[packet(0.0)]]))
    source.open()
    source.read()
    with pytest.raises(SourceError, match="script is over"):
        source.read()


def test_a_paced_loop_keeps_its_rate_over_the_seam() -> None:
    clock = JumpingClock()
    inner = Looping(ScriptedSource([[packet(3.0), packet(3.04)]] * 2, is_live=False))
    source = Paced(inner, stop=threading.Event(), clock=clock)
    source.open()
    assert not inner.is_live
    assert arrivals_s(source, 4, clock.time_ns) == pytest.approx([0, 0.04, 0.08, 0.12])


def test_the_epoch_of_what_is_looped_is_kept() -> None:
    part = [replace(packet(0.0), epoch=2)]
    source = Looping(ScriptedSource([part, part]))
    source.open()
    assert [one.epoch for one in (source.read(), source.read()) if one] == [2, 3]


def test_pictures_that_are_sent_out_of_order_are_paced_in_the_order_they_are_sent(shared_data: Path) -> None:
    """With B-frames the presentation times go up and down; a camera sends evenly all the same."""
    clip = shared_data / "video/odd/vali_test.mp4"
    clock = JumpingClock()
    plain, source = FileSource(clip), Paced(FileSource(clip), stop=threading.Event(), clock=clock)
    plain.open()
    source.open()
    times_s = [one.pts_s for one in iter(plain.read, None)]
    assert any(b < a for a, b in pairwise(times_s) if a is not None and b is not None), "no B-frames in it"
    arrivals_ns = [one.arrival_ns for one in iter(source.read, None)]
    plain.close()
    source.close()
    assert [b - a for a, b in pairwise(arrivals_ns)] == pytest.approx([1e9 / 30] * 95, rel=0.02)
