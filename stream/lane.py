"""How several workers serve several streams: each stream has a lane, frames leave it in the order they came."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

from headrace.stream.channel import Channel, ChannelClosed, WhenFull

In = TypeVar("In")
Out = TypeVar("Out")


class _Place(Generic[Out]):
    """A place in the queue for what is still being worked on."""

    __slots__ = ("done", "item")

    def __init__(self) -> None:
        self.done = False
        self.item: Out | None = None


class Lane(Generic[In, Out]):
    """One stream's way through the workers: an inbox, and an outbox that keeps the order.

    A worker takes an item only when the outbox has a place for it, so it never waits to hand a result over, and a slow
    reader of one lane cannot hold up a worker that other lanes need.

    Args:
        room: places in the outbox: items being worked on and results waiting to be read.
        changed: one condition for all lanes of the same workers.
        on_drop_in, on_drop_out: called with what is lost on either side.
        on_failed: called with what could not be worked on.
    """

    def __init__(
        self,
        name: str,
        *,
        inbox: int,
        when_full: WhenFull,
        room: int,
        changed: threading.Condition,
        on_drop_in: Callable[[In], None],
        on_drop_out: Callable[[Out], None],
        on_failed: Callable[[In], None],
    ) -> None:
        self.inbox: Channel[In] = Channel(name, inbox, when_full, on_drop=on_drop_in, changed=changed)
        self._changed = changed
        self.room = room
        """May be changed while `changed` is held: the lane then fills or drains to it."""
        self._on_failed = on_failed
        self._on_drop_out = on_drop_out
        self._places: deque[_Place[Out]] = deque()
        self._aborted = False

    @property
    def ready(self) -> bool:
        """Something to do, and a place for what comes of it."""
        return self.inbox.waiting and self.has_room

    @property
    def has_room(self) -> bool:
        """A place for one more result."""
        return len(self._places) < self.room

    def begin(self) -> "tuple[In, _Place[Out]] | None":
        """Take the next item and a place for its result; None where there is nothing to do."""
        with self._changed:
            if not self.ready:
                return None
            item = self.inbox.take()
            assert item is not None, "ready says that an item waits, and the lock is held"
            place: _Place[Out] = _Place()
            self._places.append(place)
            return item, place

    def finish(self, place: _Place[Out], result: Out) -> None:
        """Fill the place with the result."""
        with self._changed:
            lost = self._aborted
            if not lost:
                place.done, place.item = True, result
                self._changed.notify_all()
        if lost:
            self._on_drop_out(result)

    def give_up(self, place: _Place[Out], item: In) -> None:
        """The work failed: nothing will fill the place, and the item is lost."""
        with self._changed:
            if place in self._places:
                self._places.remove(place)
            self._changed.notify_all()
        self._on_failed(item)

    def __iter__(self) -> Iterator[Out]:
        """Results in the order of their items, until the lane is drained or aborted."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._head_done or self._over)
                if not self._head_done:
                    return
                item = self._places.popleft().item
                self._changed.notify_all()
            assert item is not None, "a done place has its result"
            yield item

    @property
    def _head_done(self) -> bool:
        return bool(self._places) and self._places[0].done

    @property
    def _over(self) -> bool:
        return self._aborted or (self.inbox.ended and not self._places)

    def abort(self) -> None:
        """End both sides now."""
        self.inbox.abort()
        with self._changed:
            self._aborted = True
            lost = [place.item for place in self._places if place.item is not None]
            self._places.clear()
            self._changed.notify_all()
        for item in lost:
            self._on_drop_out(item)


class Taken(NamedTuple, Generic[In, Out]):
    """One thing to do."""

    lane: Lane[In, Out]
    """Whose; its `finish` or `give_up` gets the place."""
    item: In
    place: _Place[Out]


def _never() -> bool:
    return False


class Workload(Generic[In, Out]):
    """All lanes of one network, as its workers see them: each is served in its turn."""

    def __init__(self, lanes: Sequence[Lane[In, Out]], changed: threading.Condition) -> None:
        self._lanes = list(lanes)
        self._changed = changed
        self.idle = 0
        """Workers that wait for something to do now."""
        self._gathering = False
        self._came_not: set[Lane[In, Out]] = set()

    def take(self) -> Taken[In, Out]:
        """The next thing to do, waiting for one.

        Raises:
            ChannelClosed: every lane has ended.
        """
        return self.take_batch(1)[0]

    def take_batch(
        self, limit: int, wait_s: float = 0.0, *, unless: Callable[[], bool] = _never
    ) -> list[Taken[In, Out]]:
        """The next things to do, at most one of each lane, waiting for a first one.

        Where another worker is free, one alone is taken: two workers at once are done before one with both.

        Args:
            limit: how many at the most; with 0 nothing is taken, and the end or `unless` waited for.
            wait_s: how long the first one waits for company. A lane that was waited for in vain is not waited for
                again until it comes in company: a camera that is away costs the others nothing.
            unless: looked at whenever `changed` is notified; once true, nothing more is taken.

        Returns:
            What to do, in the order in which it is taken; empty where `unless` was true before anything came.

        Raises:
            ChannelClosed: every lane has ended.
        """
        with self._changed:
            while not unless():
                # While one worker waits for company, another would take it away.
                if limit > 0 and not self._gathering and (first := self._next([])) is not None:
                    return self._gather(first, 1 if self.idle else limit, wait_s)
                if all(lane.inbox.ended for lane in self._lanes):
                    raise ChannelClosed("all lanes")
                self.idle += limit > 0
                self._changed.wait()
                self.idle -= limit > 0
            return []

    def _next(self, taken: Sequence[Taken[In, Out]]) -> Taken[In, Out] | None:
        served = [each.lane for each in taken]
        for at, lane in enumerate(self._lanes):
            begun = None if lane in served else lane.begin()
            if begun is not None:
                # Served lanes go to the back: no stream starves another.
                self._lanes.append(self._lanes.pop(at))
                return Taken(lane, *begun)
        return None

    def _gather(self, first: Taken[In, Out], limit: int, wait_s: float) -> list[Taken[In, Out]]:
        taken = [first]
        until_s = time.monotonic() + wait_s
        while len(taken) < limit:
            more = self._next(taken)
            if more is not None:
                taken.append(more)
                self._came_not.difference_update(each.lane for each in taken)
                continue
            awaited = self._awaited(taken)
            left_s = until_s - time.monotonic()
            if not awaited or left_s <= 0:
                # Without a wait nothing was awaited in vain.
                self._came_not.update(awaited if wait_s > 0 else ())
                break
            self._gathering = True
            self._changed.wait(left_s)
        if self._gathering:
            self._gathering = False
            self._changed.notify_all()
        return taken

    def _awaited(self, taken: Sequence[Taken[In, Out]]) -> list[Lane[In, Out]]:
        """The lanes that could still give company."""
        served = [each.lane for each in taken]
        return [
            lane
            for lane in self._lanes
            if lane not in served and lane not in self._came_not and lane.has_room and not lane.inbox.ended
        ]
