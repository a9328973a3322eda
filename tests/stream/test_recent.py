"""The last inputs of a running network: copied only on demand, real ones, and an end that ends the waiting."""

import threading

import numpy as np

from headrace.stream.recent import Feeds, RecentFeeds

LONG_S = 20.0


class Collector:
    """Collects on a thread of its own."""

    def __init__(self, recent: RecentFeeds) -> None:
        self._found: list[Feeds] = []
        self._thread = threading.Thread(target=lambda: self._found.extend(recent.collect()))
        self._thread.start()
        while not recent.wanted and self._thread.is_alive():
            threading.Event().wait(0.001)

    def found(self) -> list[int]:
        self._thread.join(LONG_S)
        assert not self._thread.is_alive(), "it waits for ever"
        return [int(feeds["x"][0, 0]) for feeds in self._found]


def batch(*values: int) -> Feeds:
    return {"x": np.array([[value] for value in values])}


def test_nothing_is_kept_while_nobody_asks() -> None:
    recent = RecentFeeds(2)
    recent.offer(batch(1))
    collector = Collector(recent)
    for value in (2, 3, 4):
        recent.offer(batch(value))
    assert collector.found() == [2, 3]
    assert not recent.wanted


def test_of_a_batch_one_is_kept_and_it_is_a_copy() -> None:
    recent = RecentFeeds(1)
    collector = Collector(recent)
    memory = np.array([[7], [8]])
    recent.offer({"x": memory})
    memory[:] = 0
    assert collector.found() == [7]


def test_only_each_so_manieth_is_kept() -> None:
    recent = RecentFeeds(3, every=5)
    collector = Collector(recent)
    for value in range(1, 40):
        recent.offer(batch(value))
    assert collector.found() == [5, 10, 15]


def test_an_end_gives_what_there_is() -> None:
    recent = RecentFeeds(3)
    collector = Collector(recent)
    recent.offer(batch(1))
    recent.end()
    assert collector.found() == [1]
    assert recent.collect() == []


def test_it_can_be_asked_again() -> None:
    recent = RecentFeeds(1)
    for value in (1, 2):
        collector = Collector(recent)
        recent.offer(batch(value))
        assert collector.found() == [value]
