"""How items pass between threads: a bounded queue that can be closed, and says what to do when it is full."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

T = TypeVar("T")
WhenFull = Literal["wait", "drop_oldest", "drop_newest"]
POLICIES: tuple[WhenFull, ...] = ("wait", "drop_oldest", "drop_newest")


class ChannelClosed(Exception):
    """Nothing more comes out of this channel, or goes into it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelStats:
    """What passed through a channel so far."""

    depth: int
    """Items waiting now."""
    peak: int
    """The most that ever waited."""
    capacity: int
    accepted: int
    """Items taken in, later dropped ones included."""
    dropped: int
    """Items lost to the policy."""


class Channel(Generic[T]):
    """A bounded queue between threads.

    `close` lets the reader drain what is in, then ends it; `abort` ends both sides at once. No sentinel values.

    Args:
        name: for people.
        capacity: how many items wait at the most, 1 or more.
        when_full: what `put` does then: wait for room, drop the oldest item, or drop the new one.
        on_drop: called with each item that is lost, on the thread that lost it, outside the lock.
        changed: a condition to share with other channels, so that one thread can wait for any of them.
        replaces: a key of items: a new item takes the place of one that waits with the same key, which is dropped.
    """

    def __init__(
        self,
        name: str,
        capacity: int,
        when_full: WhenFull = "wait",
        *,
        on_drop: Callable[[T], None] | None = None,
        changed: threading.Condition | None = None,
        replaces: Callable[[T], object] | None = None,
    ) -> None:
        if capacity < 1:
            raise ValueError(f"channel {name!r}: capacity {capacity} is not 1 or more")
        if when_full not in POLICIES:
            raise ValueError(f"channel {name!r}: when_full {when_full!r} is not one of {', '.join(POLICIES)}")
        self.name = name
        self._capacity = capacity
        self._when_full: WhenFull = when_full
        self._on_drop = on_drop
        self._replaces = replaces
        self._changed = changed or threading.Condition()
        self._items: deque[T] = deque()
        self._closed = False
        self._peak = self._accepted = self._dropped = 0

    def put(self, item: T, timeout_s: float | None = None) -> bool:
        """Hand an item over.

        Returns:
            False where the policy or the time-out lost *this* item; it has gone to `on_drop`.

        Raises:
            ChannelClosed: the channel is closed; the item has gone to `on_drop`.
        """
        lost: T | None = None
        taken = True
        with self._changed:
            if self._when_full == "wait":
                self._changed.wait_for(lambda: self._closed or len(self._items) < self._capacity, timeout_s)
            closed = self._closed
            waiting = self._with_the_key_of(item)
            if waiting is not None and not closed:
                lost, self._items[waiting] = self._items[waiting], item
                self._accepted += 1
            elif closed or (len(self._items) >= self._capacity and self._when_full != "drop_oldest"):
                lost, taken = item, False
            else:
                if len(self._items) >= self._capacity:
                    lost = self._items.popleft()
                self._items.append(item)
                self._accepted += 1
                self._peak = max(self._peak, len(self._items))
                self._changed.notify_all()
            if lost is not None:
                self._dropped += not closed
        if lost is not None and self._on_drop:
            self._on_drop(lost)
        if closed:
            raise ChannelClosed(self.name)
        return taken

    def _with_the_key_of(self, item: T) -> int | None:
        if self._replaces is None:
            return None
        key = self._replaces(item)
        return next((at for at, each in enumerate(self._items) if self._replaces(each) == key), None)

    def get(self, timeout_s: float | None = None) -> T:
        """Take the oldest item, waiting for one.

        Raises:
            ChannelClosed: the channel is closed and drained.
            TimeoutError: nothing came in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._items or self._closed, timeout_s):
                raise TimeoutError(f"channel {self.name!r}: nothing came within {timeout_s} s")
            if not self._items:
                raise ChannelClosed(self.name)
            return self._pop()

    def head(self) -> T | None:
        """The oldest item if there is one; it stays where it is."""
        with self._changed:
            return self._items[0] if self._items else None

    def take(self) -> T | None:
        """The oldest item if there is one; None otherwise. Never waits."""
        with self._changed:
            return self._pop() if self._items else None

    def _pop(self) -> T:
        item = self._items.popleft()
        self._changed.notify_all()
        return item

    def __iter__(self) -> Iterator[T]:
        """Items until the channel is closed and drained."""
        while True:
            try:
                item = self.get()
            except ChannelClosed:
                return
            yield item

    def close(self) -> None:
        """Nothing more goes in; what is in may be read. Safe to call twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abort(self) -> None:
        """End both sides now; what is in goes to `on_drop`."""
        with self._changed:
            self._closed = True
            lost = list(self._items)
            self._items.clear()
            self._changed.notify_all()
        if self._on_drop:
            for item in lost:
                self._on_drop(item)

    @property
    def ended(self) -> bool:
        """Closed and drained: nothing will ever come out again."""
        return self._closed and not self._items

    @property
    def waiting(self) -> bool:
        """Whether an item could be taken now."""
        return bool(self._items)

    def stats(self) -> ChannelStats:
        """What passed so far."""
        with self._changed:
            return ChannelStats(
                depth=len(self._items),
                peak=self._peak,
                capacity=self._capacity,
                accepted=self._accepted,
                dropped=self._dropped,
            )
