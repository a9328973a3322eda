"""The books of a stream: in once, out once, and they add up whenever somebody looks."""

import threading
from random import Random

import pytest

from headrace.stream.ledger import CAUSES, Ledger


def test_a_frame_goes_in_once_and_out_once() -> None:
    ledger = Ledger("gate")
    for seq in range(4):
        ledger.captured(seq)
    ledger.rendered(1)
    ledger.dropped(0, "policy")
    ledger.dropped(3, "corrupt")
    entry = ledger.entry()
    assert (entry.captured, entry.rendered, entry.in_flight) == (4, 1, 1)
    assert entry.dropped == {"policy": 1, "corrupt": 1, "reconnect": 0, "stopped": 0, "failed": 0}
    assert entry.adds_up


def test_leaving_twice_is_an_error() -> None:
    ledger = Ledger("gate")
    ledger.captured(0)
    ledger.rendered(0)
    with pytest.raises(RuntimeError, match="gate: frame 0 left twice"):
        ledger.rendered(0)
    with pytest.raises(RuntimeError, match="gate: frame 0 left twice"):
        ledger.dropped(0, "policy")
    assert ledger.entry().adds_up
    assert ledger.entry().rendered == 1


def test_leaving_without_having_come_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="gate: frame 7 left twice, or never came in"):
        Ledger("gate").dropped(7, "stopped")


def test_coming_twice_is_an_error() -> None:
    ledger = Ledger("gate")
    ledger.captured(0)
    with pytest.raises(RuntimeError, match="gate: frame 0 was captured twice"):
        ledger.captured(0)
    assert ledger.entry().captured == 1


def test_a_frame_that_nobody_counted_out_stays_visible() -> None:
    ledger = Ledger("gate")
    ledger.captured(0)
    ledger.captured(1)
    ledger.rendered(1)
    assert not ledger.settle(0.0)
    assert ledger.entry().in_flight == 1


def test_settling_ends_with_the_last_frame() -> None:
    ledger = Ledger("gate")
    assert ledger.settle(0.0), "nothing is under way"
    ledger.captured(0)
    settled: list[bool] = []
    thread = threading.Thread(target=lambda: settled.append(ledger.settle(20.0)))
    thread.start()
    ledger.dropped(0, "stopped")
    thread.join()
    assert settled == [True]


def test_the_books_add_up_at_every_moment() -> None:
    ledger = Ledger("gate")
    count, parts = 4000, 4
    moving = threading.Barrier(parts + 1)

    def move(part: int) -> None:
        rng = Random(part)
        moving.wait()
        for seq in range(part * count, (part + 1) * count):
            ledger.captured(seq)
            if rng.random() < 0.5:
                ledger.rendered(seq)
            else:
                ledger.dropped(seq, rng.choice(CAUSES))

    threads = [threading.Thread(target=move, args=(part,)) for part in range(parts)]
    for thread in threads:
        thread.start()
    moving.wait()
    seen = []
    while any(thread.is_alive() for thread in threads):
        entry = ledger.entry()
        assert entry.adds_up, entry
        assert 0 <= entry.in_flight <= parts
        seen.append(entry.captured)
    assert seen == sorted(seen)
    assert ledger.entry().captured == parts * count
    assert ledger.entry().in_flight == 0
