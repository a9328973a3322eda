"""Lanes: several workers finish out of order, and each stream's results still come in order, none lost untold."""

import contextlib
import threading
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.stream.channel import Channel, ChannelClosed, WhenFull
from headrace.stream.lane import Lane, Workload

LONG_S = 20.0


class Bench:
    """Lanes with their workload and what they lost."""

    def __init__(self, lanes: int = 1, *, inbox: int = 4, when_full: WhenFull = "wait", room: int = 3) -> None:
        self.changed = threading.Condition()
        self.lost_in: list[list[int]] = [[] for _ in range(lanes)]
        self.lost_out: list[list[str]] = [[] for _ in range(lanes)]
        self.lanes: list[Lane[int, str]] = [
            Lane(
                f"lane {at}",
                inbox=inbox,
                when_full=when_full,
                room=room,
                changed=self.changed,
                on_drop_in=self.lost_in[at].append,
                on_drop_out=self.lost_out[at].append,
                on_failed=self.lost_in[at].append,
            )
            for at in range(lanes)
        ]
        self.work: Workload[int, str] = Workload(self.lanes, self.changed)


def test_results_wait_for_the_one_before() -> None:
    bench = Bench()
    (lane,) = bench.lanes
    for at in range(3):
        lane.inbox.put(at)
    begun = [lane.begin() for _ in range(3)]
    assert all(begun)
    results = iter(lane)
    for at in (2, 1, 0):
        one = begun[at]
        assert one is not None
        lane.finish(one[1], f"result {one[0]}")
    lane.inbox.close()
    assert list(results) == ["result 0", "result 1", "result 2"]


def test_a_worker_takes_nothing_without_a_place_for_its_result() -> None:
    bench = Bench(room=2)
    (lane,) = bench.lanes
    for at in range(4):
        lane.inbox.put(at)
    first, second = lane.begin(), lane.begin()
    assert first is not None
    assert second is not None
    assert lane.begin() is None
    lane.finish(first[1], "0")
    assert lane.begin() is None, "a result that nobody has read holds its place"
    results = iter(lane)
    assert next(results) == "0"
    third = lane.begin()
    assert third is not None
    assert third[0] == 2


def test_a_place_that_is_given_up_holds_nobody_up() -> None:
    bench = Bench()
    (lane,) = bench.lanes
    for at in range(3):
        lane.inbox.put(at)
    begun = [lane.begin() for _ in range(3)]
    lane.inbox.close()
    for at, one in enumerate(begun):
        assert one is not None
        if at == 1:
            lane.give_up(one[1], one[0])
        else:
            lane.finish(one[1], str(at))
    assert list(lane) == ["0", "2"]
    assert bench.lost_in == [[1]]


def test_abort_counts_everything_once() -> None:
    bench = Bench()
    (lane,) = bench.lanes
    for at in range(4):
        lane.inbox.put(at)
    done, finishes_late, fails_late = lane.begin(), lane.begin(), lane.begin()
    assert done is not None
    assert finishes_late is not None
    assert fails_late is not None
    lane.finish(done[1], "0")
    lane.abort()
    lane.abort()
    lane.finish(finishes_late[1], "1")
    lane.give_up(fails_late[1], fails_late[0])
    assert bench.lost_out == [["0", "1"]]
    assert sorted(bench.lost_in[0]) == [2, 3]
    assert list(lane) == []
    with pytest.raises(ChannelClosed):
        lane.inbox.put(5)


def test_the_lane_that_waited_longest_is_served_next() -> None:
    bench = Bench(lanes=3, room=9)
    for at, lane in enumerate(bench.lanes):
        for n in range(3):
            lane.inbox.put(10 * at + n)
    served = [bench.work.take()[1] for _ in range(9)]
    assert served == [0, 10, 20, 1, 11, 21, 2, 12, 22]


def test_a_lane_whose_reader_sleeps_does_not_hold_the_workers() -> None:
    bench = Bench(lanes=2, room=1)
    asleep, awake = bench.lanes
    for at in range(3):
        asleep.inbox.put(at)
        awake.inbox.put(100 + at)
    read = []
    results = iter(awake)
    for _ in range(4):
        lane, item, place = bench.work.take()
        lane.finish(place, str(item))
        if lane is awake:
            read.append(next(results))
    assert read == ["100", "101", "102"]


def test_work_ends_when_every_lane_has() -> None:
    bench = Bench(lanes=2)
    bench.lanes[0].inbox.put(1)
    bench.lanes[0].inbox.close()
    bench.lanes[1].abort()
    lane, item, place = bench.work.take()
    assert item == 1
    with pytest.raises(ChannelClosed):
        bench.work.take()
    lane.finish(place, "1")
    assert list(lane) == ["1"]


# Batches


def taken(bench: Bench, limit: int, wait_s: float = 0.0) -> list[int]:
    return [each.item for each in bench.work.take_batch(limit, wait_s)]


def test_a_batch_has_one_of_each_lane_in_their_turn() -> None:
    bench = Bench(lanes=3, room=9)
    for at, lane in enumerate(bench.lanes):
        for n in range(3):
            lane.inbox.put(10 * at + n)
    assert [taken(bench, 2) for _ in range(4)] == [[0, 10], [20, 1], [11, 21], [2, 12]]
    assert taken(bench, 2) == [22], "what is left goes without waiting"


def test_a_batch_is_what_there_is() -> None:
    bench = Bench(lanes=3)
    bench.lanes[1].inbox.put(1)
    assert taken(bench, 3) == [1]
    bench.lanes[0].inbox.put(2)
    bench.lanes[0].inbox.put(3)
    bench.lanes[2].inbox.close()
    assert taken(bench, 3) == [2]
    assert taken(bench, 1) == [3]


def test_the_first_waits_for_company_of_all_who_could_give_it() -> None:
    bench = Bench(lanes=4, room=1)
    ended, full, late, first = bench.lanes
    ended.inbox.close()
    full.inbox.put(0)
    assert taken(bench, 4) == [0]
    first.inbox.put(1)
    found: list[int] = []
    worker = threading.Thread(target=lambda: found.extend(taken(bench, 4, LONG_S)))
    worker.start()
    late.inbox.put(2)
    worker.join(LONG_S / 2)
    assert not worker.is_alive(), "it waits for a lane that has ended, or whose reader sleeps"
    assert found == [1, 2]


def test_who_was_waited_for_in_vain_is_waited_for_again_only_after_coming_in_company() -> None:
    bench = Bench(lanes=2, room=9)
    here, away = bench.lanes
    here.inbox.put(1)
    assert taken(bench, 2, 1e-3) == [1]
    for item in (2, 3):
        here.inbox.put(item)
        assert taken(bench, 2, LONG_S * 10) == [item], "this would wait for ever"
    here.inbox.put(4)
    away.inbox.put(5)
    assert sorted(taken(bench, 2)) == [4, 5]
    here.inbox.put(6)
    found: list[int] = []
    worker = threading.Thread(target=lambda: found.extend(taken(bench, 2, LONG_S)))
    worker.start()
    away.inbox.put(7)
    worker.join(LONG_S / 2)
    assert found == [6, 7]


def drained(bench: Bench, into: list[list[int]], limit: int, wait_s: float = 0.0) -> threading.Thread:
    """A worker that notes what it takes until the end."""

    def work() -> None:
        with contextlib.suppress(ChannelClosed):
            while True:
                into.append(taken(bench, limit, wait_s))

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_while_one_gathers_another_takes_nothing_away() -> None:
    bench = Bench(lanes=3, room=9)
    bench.lanes[0].inbox.put(1)
    gathers: list[list[int]] = []
    free: list[list[int]] = []
    workers = [drained(bench, gathers, 3, LONG_S)]
    with bench.changed:
        assert bench.changed.wait_for(lambda: not bench.lanes[0].inbox.waiting, LONG_S)
        workers.append(drained(bench, free, 3, LONG_S))
    bench.lanes[1].inbox.put(2)
    bench.lanes[2].inbox.put(3)
    with bench.changed:
        assert bench.changed.wait_for(lambda: len(gathers) == 1 or free, LONG_S)
    for lane in bench.lanes:
        lane.inbox.close()
    for worker in workers:
        worker.join(LONG_S)
        assert not worker.is_alive()
    assert (gathers, free) == ([[1, 2, 3]], [])


def test_where_another_worker_is_free_each_takes_one() -> None:
    bench = Bench(lanes=2)
    found: list[list[int]] = []
    worker = drained(bench, found, 2)
    while not bench.work.idle:
        threading.Event().wait(0.001)
    with bench.changed:
        for at, lane in enumerate(bench.lanes):
            lane.inbox.put(at)
        assert taken(bench, 2) == [0]
        bench.changed.wait_for(lambda: not bench.lanes[1].inbox.waiting, LONG_S)
    for lane in bench.lanes:
        lane.inbox.close()
    worker.join(LONG_S)
    assert found == [[1]]


def test_a_worker_that_waits_is_called_away() -> None:
    bench = Bench()
    away = threading.Event()
    found: list[object] = []
    worker = threading.Thread(target=lambda: found.append(bench.work.take_batch(1, unless=away.is_set)))
    worker.start()
    with bench.changed:
        away.set()
        bench.changed.notify_all()
    worker.join(LONG_S)
    assert found == [[]]


def test_a_worker_that_rests_takes_nothing_and_ends_with_the_others() -> None:
    bench = Bench()
    found: list[list[int]] = []
    bench.lanes[0].inbox.put(1)
    rests = drained(bench, found, 0)
    assert taken(bench, 1) == [1]
    bench.lanes[0].inbox.close()
    rests.join(LONG_S)
    assert not rests.is_alive()
    assert found == []


@settings(max_examples=60, deadline=None)
@given(
    lanes=st.integers(1, 3),
    workers=st.integers(1, 4),
    room=st.integers(1, 5),
    when_full=st.sampled_from(["wait", "drop_oldest"]),
    abort_at=st.one_of(st.none(), st.integers(0, 40)),
    failures=st.sampled_from([0.0, 0.2]),
    batch=st.integers(1, 3),
    wait_s=st.sampled_from([0.0, 1e-4]),
    seed=st.integers(0, 2**32),
)
def test_order_and_books_under_threads(
    lanes: int,
    workers: int,
    room: int,
    when_full: WhenFull,
    abort_at: int | None,
    failures: float,
    batch: int,
    wait_s: float,
    seed: int,
) -> None:
    bench = Bench(lanes=lanes, inbox=2, when_full=when_full, room=room)
    count = 40
    read: list[list[str]] = [[] for _ in range(lanes)]
    # Workers hand their work on through this shuffle, so results come in any order.
    shuffle: Channel[None] = Channel("shuffle", 1, "drop_oldest")

    def feed(at: int) -> None:
        lane = bench.lanes[at]
        for n in range(count):
            if n == abort_at and at == 0:
                lane.abort()
            try:
                lane.inbox.put(n)
            except ChannelClosed:
                bench.lost_in[at] += range(n + 1, count)
                return
        lane.inbox.close()

    def work(at: int) -> None:
        rng = Random(seed + at)
        while True:
            try:
                batched = bench.work.take_batch(batch, wait_s)
            except ChannelClosed:
                return
            assert 1 <= len({each.lane for each in batched}) == len(batched) <= batch
            for _ in range(rng.randrange(3)):
                shuffle.put(None)  # lets another thread go first
            fails = rng.random() < failures
            for lane, item, place in batched:
                if fails:
                    lane.give_up(place, item)
                else:
                    lane.finish(place, str(item))

    threads = [threading.Thread(target=feed, args=(at,), daemon=True) for at in range(lanes)]
    threads += [threading.Thread(target=work, args=(at,), daemon=True) for at in range(workers)]
    threads += [
        threading.Thread(target=lambda at=at: read[at].extend(bench.lanes[at]), daemon=True) for at in range(lanes)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_S)
        assert not thread.is_alive(), "it waits for ever"
    for at in range(lanes):
        got = [int(item) for item in read[at]]
        assert got == sorted(got)
        assert sorted(got + bench.lost_in[at] + [int(item) for item in bench.lost_out[at]]) == list(range(count))
