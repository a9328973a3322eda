"""What tests of whole runs share: gates that hold a stage, and the books and pictures of a run."""

import threading
from collections.abc import Callable

from media import number_of

from headrace.stream import Pipeline, Result

LONG_S = 20.0
"""Far more than any test needs: reached only where somebody waits for ever."""


def gate() -> tuple[threading.Event, Callable[[int], None]]:
    """An event, and a hook that waits for it."""
    event = threading.Event()

    def wait(at: int) -> None:
        assert event.wait(LONG_S), "nobody opens the gate"

    return event, wait


def books(pipeline: Pipeline, stream_id: str = "fake") -> dict[str, int]:
    """One stream's books, checked: what is not zero."""
    entry = pipeline.stats().streams[stream_id].ledger
    assert entry.adds_up
    found = {"captured": entry.captured, "rendered": entry.rendered, "in_flight": entry.in_flight}
    return {key: n for key, n in [*found.items(), *entry.dropped.items()] if n}


def numbers(results: list[Result]) -> list[int]:
    return [number_of(result.frame.picture.rgb()) for result in results]
