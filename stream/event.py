"""What happened to a stream, for people: lost, back, an output that failed. Counted things are in the ledger."""

import threading
from collections import deque
from dataclasses import dataclass
from typing import Literal

EventKind = Literal["opened", "lost", "ended", "failed", "notice"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened."""

    kind: EventKind
    stream_id: str
    """Which stream; "" for the pipeline as a whole."""
    stage: str
    text: str
    """One line for people: what, on which input, what to do. Never a password."""
    at_ns: int
    """On the monotonic clock."""


class EventLog:
    """The last events, written by any thread and read by one."""

    def __init__(self, capacity: int = 256) -> None:
        self._events: deque[Event] = deque(maxlen=capacity)
        self._lock = threading.Lock()

    def add(self, event: Event) -> None:
        """Keep an event; the oldest goes when the log is full."""
        with self._lock:
            self._events.append(event)

    def take(self) -> list[Event]:
        """Everything since the last call, oldest first."""
        with self._lock:
            taken = list(self._events)
            self._events.clear()
            return taken
