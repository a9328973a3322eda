"""Where action scores hang: the newest live, and exactly those up to a frame where every frame counts."""

import threading

from headrace.stream.board import ActionBoard
from headrace.stream.frame import Action


def scores(label: str) -> tuple[Action, ...]:
    return (Action(model="m", label=label, probability=1.0, start_s=0.0, end_s=1.0),)


def test_live_the_newest_is_shown() -> None:
    board = ActionBoard()
    assert board.newest(0) == ()
    first, second = scores("first"), scores("second")
    board.post(10, 0, first)
    board.post(20, 0, second)
    assert board.newest(0) is second


def test_nothing_from_before_a_discontinuity_is_shown() -> None:
    board = ActionBoard()
    board.post(10, 0, scores("before"))
    assert board.newest(1) == ()
    board.looked_at(30, 0)
    assert board.at(30, 1) == ()


def test_a_frame_shows_the_clips_that_end_with_it_and_none_of_later_ones() -> None:
    board = ActionBoard()
    first, second = scores("first"), scores("second")
    board.looked_at(10, 1)
    board.post(10, 0, first)
    board.looked_at(20, 1)
    board.post(20, 0, second)
    assert board.at(9, 0) == ()
    assert board.at(10, 0) is first
    assert board.at(19, 0) is first
    assert board.at(20, 0) is second


def waiting_for(board: ActionBoard, seq: int) -> "tuple[threading.Thread, list[tuple[Action, ...]]]":
    """A thread that waits for a frame's scores; returns once it really waits."""
    seen: list[tuple[Action, ...]] = []
    thread = threading.Thread(target=lambda: seen.append(board.at(seq, 0)), daemon=True)
    thread.start()
    event = threading.Event()
    for _ in range(20_000):
        if board._changed._waiters:  # type: ignore[attr-defined]
            return thread, seen
        event.wait(0.001)
    raise AssertionError("it does not wait")


def test_a_frame_waits_until_it_was_looked_at_and_its_clips_are_scored() -> None:
    board = ActionBoard()
    thread, seen = waiting_for(board, 10)
    board.looked_at(10, 2)
    assert thread.is_alive()
    board.post(10, 0, scores("one"))
    assert thread.is_alive()
    last = scores("two")
    board.post(10, 0, last)
    thread.join(20)
    assert seen == [last]


def test_a_clip_that_is_given_up_holds_nobody_up() -> None:
    board = ActionBoard()
    thread, seen = waiting_for(board, 10)
    board.looked_at(10, 1)
    board.forget(10)
    thread.join(20)
    assert seen == [()]


def test_a_later_clip_holds_no_earlier_frame_up() -> None:
    board = ActionBoard()
    board.looked_at(5, 1)
    first = scores("first")
    board.post(5, 0, first)
    board.looked_at(8, 1)
    assert board.at(7, 0) is first


def test_after_the_last_frame_the_clips_under_way_are_still_waited_for() -> None:
    board = ActionBoard()
    board.looked_at(10, 1)
    thread, seen = waiting_for(board, 12)
    board.looked_at_all()
    assert thread.is_alive()
    last = scores("last")
    board.post(10, 0, last)
    thread.join(20)
    assert seen == [last]


def test_the_end_wakes_whoever_waits() -> None:
    board = ActionBoard()
    thread, seen = waiting_for(board, 10)
    board.end()
    thread.join(20)
    assert seen == [()]
    assert board.at(99, 0) == ()
