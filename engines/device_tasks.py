"""What a device thread does: several tasks in flight, none of which keeps another from starting."""

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

POLL_S = 0.0002
"""How long the thread waits between two looks at what is in flight.

A new task ends the wait at once, so this delays results only, by a fraction of a millisecond where a run takes some.
Looking costs a small part of one core while the GPU is busy. To wait in the driver instead would cost nothing, but
nothing new could start meanwhile.
"""

PATIENCE_S = 60.0
"""How long a task may be in flight. No run of a network takes nearly as long: a device that does not answer hangs."""


class Task(Protocol[T_co]):
    """Work that the device does by itself once it has begun; all three are called on the device thread."""

    def begin(self) -> None:
        """Queue the work and return without waiting for it."""

    def ready(self) -> bool:
        """Whether the device is done with it; asked again and again, must not wait."""

    def finish(self) -> T_co:
        """Fetch the result; called once, after `ready` said yes. Nothing in it may be pinned memory."""


class _Call(Generic[T]):
    """A plain call as a task: done as soon as it has begun."""

    def __init__(self, job: Callable[[], T]) -> None:
        self._job = job
        self._result: list[T] = []

    def begin(self) -> None:
        self._result.append(self._job())

    def ready(self) -> bool:
        return True

    def finish(self) -> T:
        return self._result.pop()


class _Flight:
    """A task and who waits for it."""

    __slots__ = ("begun_s", "cleans_up", "future", "task")

    def __init__(self, task: Task[Any], *, cleans_up: bool) -> None:
        self.task = task
        self.cleans_up = cleans_up
        self.future: Future[Any] = Future()
        self.begun_s = 0.0


class TaskLoop:
    """The queue of a device thread: any thread adds to it, one thread serves it.

    Args:
        explain: makes of what a task raised the error that its caller gets; called on the serving thread.
        lost: the error that every task gets once the device can do nothing more; None while it works.
        hung: told that a task has been in flight for longer than `PATIENCE_S`; `lost` has an error from then on.
        clock: seconds that only rise.
    """

    def __init__(
        self,
        explain: Callable[[BaseException], BaseException],
        lost: Callable[[], Exception | None],
        hung: Callable[[], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._explain = explain
        self._lost = lost
        self._hung = hung
        self._clock = clock
        self._changed = threading.Condition()
        self._queue: deque[_Flight] = deque()
        self._in_flight: list[_Flight] = []
        self._ended: Exception | None = None

    def add(self, task: Task[T]) -> "Future[T]":
        """Queue a task; the future fails at once where the loop has ended."""
        return self._add(_Flight(task, cleans_up=False))

    def call(self, job: Callable[[], T], *, cleans_up: bool = False) -> "Future[T]":
        """Queue a plain call; one that cleans up is made on a lost device too."""
        return self._add(_Flight(_Call(job), cleans_up=cleans_up))

    def end(self, why: Exception) -> None:
        """Refuse what comes and what waits with `why`; `serve` returns when what is in flight is done."""
        with self._changed:
            if self._ended is None:
                self._ended = why
                self._changed.notify_all()

    def serve(self) -> None:
        """Begin, poll and finish tasks on this thread until `end`."""
        while self._begin_new():
            self._in_flight = [flight for flight in self._in_flight if not self._settled(flight)]

    def _add(self, flight: _Flight) -> "Future[Any]":
        with self._changed:
            if self._ended is None:
                self._queue.append(flight)
                self._changed.notify_all()
                return flight.future
        _fail(flight.future, self._ended)
        return flight.future

    def _begin_new(self) -> bool:
        """Begin what is queued, after a wait where nothing is; False when all is over."""
        with self._changed:
            if self._in_flight and not self._queue:
                self._changed.wait(POLL_S)
            self._changed.wait_for(lambda: self._queue or self._in_flight or self._ended is not None)
            new, ended = list(self._queue), self._ended
            self._queue.clear()
        for flight in new:
            if ended is not None:
                _fail(flight.future, ended)
            elif flight.future.set_running_or_notify_cancel() and self._did(flight, flight.task.begin):
                flight.begun_s = self._clock()
                self._in_flight.append(flight)
        return bool(self._in_flight) or ended is None

    def _settled(self, flight: _Flight) -> bool:
        """Whether the flight's future has been answered."""
        ready: list[bool] = []
        if not self._did(flight, lambda: ready.append(flight.task.ready())):
            return True
        if not ready[0]:
            if self._clock() - flight.begun_s > PATIENCE_S:
                self._hung()  # the next look fails whatever is in flight
            return False
        results: list[object] = []
        if self._did(flight, lambda: results.append(flight.task.finish())):
            flight.future.set_result(results.pop())
        return True

    def _did(self, flight: _Flight, step: Callable[[], object]) -> bool:
        """Take one step of a task; where that is not possible its future fails."""
        lost = self._lost()
        if lost is not None and not flight.cleans_up:
            _fail(flight.future, lost)
            return False
        try:
            step()
        except BaseException as error:  # whatever it is, it must not end this thread
            _let_go(error)
            flight.future.set_exception(self._explained(error))
            return False
        return True

    def _explained(self, error: BaseException) -> BaseException:
        try:
            return self._explain(error)
        except Exception:  # the caller must get an answer, if not the best one
            return error


def _fail(future: "Future[Any]", error: Exception | None) -> None:
    assert error is not None, "a loop that has ended, or whose device is lost, knows why"
    if future.running() or future.set_running_or_notify_cancel():
        # Each waiter raises an error of its own: a raised one collects its raiser's traceback.
        future.set_exception(type(error)(*error.args))


def _let_go(error: BaseException) -> None:
    """Turn the traceback into a note: its frames hold variables, and one of these may be the last to hold pinned
    memory, which must not die on the thread that catches the error."""
    seen: set[int] = set()
    chain: list[BaseException | None] = [error]
    while chain:
        each = chain.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            frames = traceback.format_tb(each.__traceback__)
            each.__traceback__ = None
            if frames:
                each.add_note("On the device thread (most recent call last):\n" + "".join(frames).rstrip())
            chain += [each.__cause__, each.__context__]
