"""The loop of a device thread, without any device."""

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from headrace.engines.device_tasks import PATIENCE_S, TaskLoop

WAIT_S = 20


class Kept(Exception):
    """What a task raises."""


class Ended(Exception):
    """What an ended loop raises."""


class Gated:
    """A task that is ready when the test says so, and notes what happens to it."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log
        self.begun = threading.Event()
        self.done = threading.Event()
        self.looks = 0

    def begin(self) -> None:
        self.log.append(f"begin {self.name}")
        self.begun.set()

    def ready(self) -> bool:
        self.looks += 1
        return self.done.is_set()

    def finish(self) -> str:
        self.log.append(f"finish {self.name}")
        return self.name


@contextmanager
def served(loop: TaskLoop) -> Iterator[None]:
    thread = threading.Thread(target=loop.serve)
    thread.start()
    try:
        yield
    finally:
        loop.end(Ended("the test is over"))
        thread.join(WAIT_S)
        assert not thread.is_alive()


def a_loop(lost: Callable[[], Exception | None] = lambda: None) -> TaskLoop:
    return TaskLoop(lambda error: error, lost, lambda: None)


def test_a_call_gives_what_it_returns_and_raises_what_it_raises() -> None:
    def fails() -> None:
        raise Kept("told")

    loop = a_loop()
    with served(loop):
        assert loop.call(lambda: 3).result(WAIT_S) == 3
        with pytest.raises(Kept, match="told"):
            loop.call(fails).result(WAIT_S)


def test_tasks_begin_while_others_are_in_flight_and_finish_as_they_are_ready() -> None:
    log: list[str] = []
    loop, first, second = a_loop(), Gated("first", log), Gated("second", log)
    with served(loop):
        one = loop.add(first)
        assert first.begun.wait(WAIT_S)
        two = loop.add(second)
        assert second.begun.wait(WAIT_S), "a task in flight kept the next from starting"
        second.done.set()
        assert two.result(WAIT_S) == "second"
        assert not one.done()
        first.done.set()
        assert one.result(WAIT_S) == "first"
    assert log == ["begin first", "begin second", "finish second", "finish first"]


def test_a_call_is_made_while_a_task_is_in_flight() -> None:
    loop, task = a_loop(), Gated("task", [])
    with served(loop):
        running = loop.add(task)
        assert loop.call(lambda: 5).result(WAIT_S) == 5
        task.done.set()
        assert running.result(WAIT_S) == "task"


def test_what_is_in_flight_is_finished_before_the_loop_ends_and_what_waits_is_refused() -> None:
    loop, task = a_loop(), Gated("task", [])
    held, entered = threading.Event(), threading.Event()

    def holds() -> None:
        entered.set()
        held.wait(WAIT_S)

    with served(loop):
        running = loop.add(task)
        holding = loop.call(holds)
        assert entered.wait(WAIT_S)
        waiting = loop.add(Gated("late", []))
        loop.end(Ended("closed"))
        held.set()
        holding.result(WAIT_S)
        with pytest.raises(Ended, match="closed"):
            waiting.result(WAIT_S)
        task.done.set()
        assert running.result(WAIT_S) == "task"
        with pytest.raises(Ended, match="closed"):
            loop.add(Gated("later", [])).result(WAIT_S)


@pytest.mark.parametrize("step", ["begin", "ready", "finish"])
def test_a_task_that_raises_fails_alone(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise Kept(step)

    loop, bad, good = a_loop(), Gated("bad", []), Gated("good", [])
    monkeypatch.setattr(bad, step, fails)
    bad.done.set()
    with served(loop):
        with pytest.raises(Kept, match=step):
            loop.add(bad).result(WAIT_S)
        good.done.set()
        assert loop.add(good).result(WAIT_S) == "good"


def test_a_future_that_was_cancelled_in_the_queue_is_never_begun() -> None:
    loop, log = a_loop(), list[str]()
    cancelled, kept = loop.add(Gated("cancelled", log)), loop.call(lambda: 1)
    assert cancelled.cancel()
    with served(loop):
        assert kept.result(WAIT_S) == 1
    assert log == []


def test_a_lost_device_fails_what_is_in_flight_and_what_comes_but_still_cleans_up() -> None:
    lost: list[Exception] = []
    loop, task = a_loop(lambda: lost[0] if lost else None), Gated("task", [])
    with served(loop):
        running = loop.add(task)
        assert task.begun.wait(WAIT_S)
        lost.append(Kept("lost"))
        for future in (running, loop.call(lambda: 1), loop.add(Gated("next", []))):
            with pytest.raises(Kept, match="lost"):
                future.result(WAIT_S)
        assert loop.call(lambda: "freed", cleans_up=True).result(WAIT_S) == "freed"


def test_an_error_keeps_no_variable_of_the_frames_that_it_passed() -> None:
    class Native:
        """Stands for what must not die on the thread that catches the error."""

    gone: list[str] = []

    def fails() -> None:
        native = Native()
        weakly(native, gone)
        try:
            raise Kept("inner")
        except Kept as inner:
            raise Kept("outer") from inner

    loop = a_loop()
    with served(loop):
        failed = loop.call(fails).exception(WAIT_S)
    assert isinstance(failed, Kept)
    assert gone == ["gone"]
    for each, line in ((failed, 'raise Kept("outer") from inner'), (failed.__cause__, 'raise Kept("inner")')):
        assert each is not None
        assert line in "".join(each.__notes__), "where it was raised is still told"


def test_an_error_does_not_keep_its_task() -> None:
    gone: list[str] = []

    class Bad(Gated):
        def begin(self) -> None:
            raise Kept("bad")

    def failed(loop: TaskLoop) -> BaseException | None:
        bad = Bad("bad", [])
        weakly(bad, gone)
        return loop.add(bad).exception(WAIT_S)

    loop = a_loop()
    with served(loop):
        error = failed(loop)
        loop.call(lambda: None).result(WAIT_S)  # the loop has let go of the last one when it takes the next
    assert isinstance(error, Kept)
    assert gone == ["gone"]


def test_what_would_end_a_thread_ends_only_its_task() -> None:
    def leaves() -> None:
        raise SystemExit(3)

    loop = a_loop()
    with served(loop):
        with pytest.raises(SystemExit):
            loop.call(leaves).result(WAIT_S)
        assert loop.call(lambda: 1).result(WAIT_S) == 1


def weakly(native: object, gone: list[str]) -> None:
    weakref.finalize(native, gone.append, "gone")


def test_a_task_that_hangs_fails_with_all_that_is_in_flight() -> None:
    now_s = [0.0]
    verdict: list[Exception] = []
    loop = TaskLoop(
        lambda error: error,
        lambda: verdict[0] if verdict else None,
        lambda: verdict.append(Kept("hangs")),
        clock=lambda: now_s[0],
    )
    first, second = Gated("first", []), Gated("second", [])
    with served(loop):
        one = loop.add(first)
        assert first.begun.wait(WAIT_S)
        now_s[0] = PATIENCE_S - 1
        two = loop.add(second)
        assert second.begun.wait(WAIT_S)
        assert not one.done()
        now_s[0] = PATIENCE_S + 1
        for future in (one, two):
            with pytest.raises(Kept, match="hangs"):
                future.result(WAIT_S)
    assert len(verdict) == 1


def test_a_caller_is_answered_where_its_error_cannot_be_explained() -> None:
    def confused(error: BaseException) -> BaseException:
        raise RuntimeError("no idea")

    def fails() -> None:
        raise Kept("told")

    loop = TaskLoop(confused, lambda: None, lambda: None)
    with served(loop):
        with pytest.raises(Kept, match="told"):
            loop.call(fails).result(WAIT_S)
        assert loop.call(lambda: 3).result(WAIT_S) == 3
