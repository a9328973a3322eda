"""Channels under threads: nothing is lost without being told, order is kept, and nobody waits for ever."""

import threading
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headrace.stream.channel import POLICIES, Channel, ChannelClosed, WhenFull

LONG_S = 20.0
"""Far more than any test needs: reached only where somebody waits for ever."""


class Threads:
    """Threads that a test starts and brings home; a thread that does not come home fails the test."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []

    def start(self, run: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=self._guarded, args=(run,), daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _guarded(self, run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException as error:
            self._failures.append(error)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(LONG_S)
            assert not thread.is_alive(), "it waits for ever"
        if self._failures:
            raise self._failures[0]


def waits_in(channel: Channel[int]) -> bool:
    """Whether some thread waits for this channel to change."""
    return bool(channel._changed._waiters)  # type: ignore[attr-defined]


def until(happens: Callable[[], bool]) -> None:
    """Give other threads the processor until it happens."""
    event = threading.Event()
    for _ in range(20_000):
        if happens():
            return
        event.wait(0.001)
    raise AssertionError("it never happens")


# One thread


def test_what_goes_in_comes_out_in_order() -> None:
    channel: Channel[int] = Channel("c", 3)
    assert [channel.put(at) for at in range(3)] == [True] * 3
    assert [channel.get() for _ in range(3)] == [0, 1, 2]
    stats = channel.stats()
    assert (stats.depth, stats.peak, stats.capacity, stats.accepted, stats.dropped) == (0, 3, 3, 3, 0)


def test_close_lets_the_reader_drain() -> None:
    channel: Channel[int] = Channel("c", 3)
    channel.put(1)
    channel.put(2)
    channel.close()
    channel.close()
    assert not channel.ended
    assert list(channel) == [1, 2]
    assert channel.ended
    with pytest.raises(ChannelClosed):
        channel.get()
    assert channel.take() is None


def test_put_on_a_closed_channel_hands_the_item_back() -> None:
    lost: list[int] = []
    channel: Channel[int] = Channel("c", 1, on_drop=lost.append)
    channel.close()
    with pytest.raises(ChannelClosed):
        channel.put(1)
    assert lost == [1]
    assert channel.stats().dropped == 0, "the policy lost nothing"


def test_abort_gives_up_what_is_in() -> None:
    lost: list[int] = []
    channel: Channel[int] = Channel("c", 3, on_drop=lost.append)
    channel.put(1)
    channel.put(2)
    channel.abort()
    channel.abort()
    assert lost == [1, 2]
    with pytest.raises(ChannelClosed):
        channel.get()


def test_drop_oldest_keeps_the_newest() -> None:
    lost: list[int] = []
    channel: Channel[int] = Channel("c", 2, "drop_oldest", on_drop=lost.append)
    assert all(channel.put(at) for at in range(5))
    channel.close()
    assert (lost, list(channel)) == ([0, 1, 2], [3, 4])
    assert channel.stats().dropped == 3


def test_drop_newest_keeps_the_oldest() -> None:
    lost: list[int] = []
    channel: Channel[int] = Channel("c", 2, "drop_newest", on_drop=lost.append)
    assert [channel.put(at) for at in range(5)] == [True, True, False, False, False]
    channel.close()
    assert (lost, list(channel)) == ([2, 3, 4], [0, 1])


def test_waiting_to_put_may_be_bounded() -> None:
    lost: list[int] = []
    channel: Channel[int] = Channel("c", 1, on_drop=lost.append)
    channel.put(1)
    assert channel.put(2, timeout_s=0.0) is False
    assert lost == [2]
    assert channel.stats().dropped == 1


def test_waiting_to_get_may_be_bounded() -> None:
    with pytest.raises(TimeoutError, match=r"'c'.*0\.0 s"):
        Channel("c", 1).get(timeout_s=0.0)


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_capacity_below_one_is_refused(capacity: int) -> None:
    with pytest.raises(ValueError, match=f"'c': capacity {capacity}"):
        Channel("c", capacity)


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'drop_all' is not one of wait, drop_oldest, drop_newest"):
        Channel("c", 1, "drop_all")  # type: ignore[arg-type]


class ChannelModel(RuleBasedStateMachine):
    """Any order of calls on one thread, against a list that does the same."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: list[int] = []
        self.expected_lost: list[int] = []
        self.inside: deque[int] = deque()
        self.closed = False
        self.next = 0
        self.channel: Channel[int] = Channel("c", 3, self.policy, on_drop=self.lost.append)

    policy: WhenFull = "wait"

    @rule()
    def put(self) -> None:
        item, self.next = self.next, self.next + 1
        if self.closed:
            self.expected_lost.append(item)
            with pytest.raises(ChannelClosed):
                self.channel.put(item, timeout_s=0.0)
            return
        full = len(self.inside) == 3
        stays = not full or self.policy == "drop_oldest"
        if full:
            self.expected_lost.append(self.inside.popleft() if stays else item)
        if stays:
            self.inside.append(item)
        assert self.channel.put(item, timeout_s=0.0) is stays

    @precondition(lambda self: self.inside)
    @rule()
    def get(self) -> None:
        assert self.channel.get(timeout_s=0.0) == self.inside.popleft()

    @rule()
    def take(self) -> None:
        assert self.channel.take() == (self.inside.popleft() if self.inside else None)

    @rule()
    def close(self) -> None:
        self.closed = True
        self.channel.close()

    @rule()
    def abort(self) -> None:
        self.closed = True
        self.expected_lost += self.inside
        self.inside.clear()
        self.channel.abort()

    @invariant()
    def every_item_is_somewhere(self) -> None:
        assert self.lost == self.expected_lost
        assert self.channel.stats().depth == len(self.inside)
        assert self.channel.ended == (self.closed and not self.inside)
        assert self.channel.waiting == bool(self.inside)


@pytest.mark.parametrize("policy", POLICIES)
def test_any_order_of_calls(policy: WhenFull) -> None:
    machine: Any = type("Model", (ChannelModel,), {"policy": policy})
    machine.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
    machine.TestCase().runTest()


# Several threads


def test_close_wakes_a_reader_that_waits() -> None:
    channel: Channel[int] = Channel("c", 1)
    seen: list[int] = []
    threads = Threads()
    threads.start(lambda: seen.extend(channel))
    until(lambda: waits_in(channel))
    channel.close()
    threads.join()
    assert seen == []


@pytest.mark.parametrize("end", ["close", "abort"])
def test_the_end_wakes_a_writer_that_waits(end: str) -> None:
    lost: list[int] = []
    channel: Channel[int] = Channel("c", 1, on_drop=lost.append)
    channel.put(1)
    threads = Threads()

    def write() -> None:
        with pytest.raises(ChannelClosed):
            channel.put(2)

    threads.start(write)
    until(lambda: waits_in(channel))
    getattr(channel, end)()
    threads.join()
    assert sorted(lost) == ([2] if end == "close" else [1, 2])


def test_on_drop_may_use_the_channel() -> None:
    """It is called outside the lock: a callback that looks at the channel, on another thread, does not hang."""
    depths: list[int] = []

    def look(item: int) -> None:
        threads = Threads()
        threads.start(lambda: depths.append(channel.stats().depth))
        threads.join()

    channel: Channel[int] = Channel("c", 1, "drop_oldest", on_drop=look)
    channel.put(1)
    channel.put(2)
    channel.abort()
    assert depths == [1, 0]


def test_one_condition_for_several_channels() -> None:
    changed = threading.Condition()
    channels: list[Channel[int]] = [Channel(str(at), 1, changed=changed) for at in range(3)]
    threads = Threads()
    seen: list[int] = []

    def wait_for_any() -> None:
        with changed:
            assert changed.wait_for(lambda: any(channel.waiting for channel in channels), LONG_S)
            seen.append(next(at for at, channel in enumerate(channels) if channel.waiting))

    threads.start(wait_for_any)
    until(lambda: waits_in(channels[0]))
    channels[2].put(5)
    threads.join()
    assert seen == [2]


@settings(max_examples=60, deadline=None)
@given(
    policy=st.sampled_from(POLICIES),
    capacity=st.integers(1, 5),
    writers=st.integers(1, 3),
    readers=st.integers(1, 3),
    end=st.sampled_from(["close", "abort", "abort early"]),
    seed=st.integers(0, 2**32),
)
def test_every_item_is_read_or_told_lost(
    policy: WhenFull, capacity: int, writers: int, readers: int, end: str, seed: int
) -> None:
    lost: list[tuple[int, int]] = []
    read: list[list[tuple[int, int]]] = [[] for _ in range(readers)]
    channel: Channel[tuple[int, int]] = Channel("c", capacity, policy, on_drop=lost.append)
    per_writer = 40
    writing, reading = Threads(), Threads()

    def write(writer: int) -> None:
        rng = Random(seed + writer)
        for at in range(per_writer):
            try:
                channel.put((writer, at), timeout_s=rng.choice([None, None, 0.0]))
            except ChannelClosed:
                for rest in range(at + 1, per_writer):
                    lost.append((writer, rest))
                return
            if end == "abort early" and writer == 0 and at == seed % per_writer:
                channel.abort()

    for at in range(readers):
        reading.start(lambda at=at: read[at].extend(channel))  # type: ignore[misc]
    for at in range(writers):
        writing.start(lambda at=at: write(at))  # type: ignore[misc]
    writing.join()
    channel.close() if end == "close" else channel.abort()
    reading.join()
    everything = sorted(item for part in [*read, lost] for item in part)
    assert everything == [(writer, at) for writer in range(writers) for at in range(per_writer)]
    for part in read:
        for writer in range(writers):
            of_writer = [at for by, at in part if by == writer]
            assert of_writer == sorted(of_writer), "no reader sees an item before an older one"
    assert channel.stats().peak <= capacity
