"""The books of a stream: every frame that was captured is rendered, dropped for a cause, or in flight."""

import threading
from collections import Counter
from dataclasses import dataclass
from typing import get_args

from headrace.stream.frame import Cause

CAUSES: tuple[Cause, ...] = get_args(Cause)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """The books at one moment."""

    captured: int
    rendered: int
    dropped: dict[Cause, int]
    in_flight: int
    """Frames that are somewhere between capture and render; each was seen to go in and not yet to come out."""

    @property
    def adds_up(self) -> bool:
        """captured = rendered + dropped + in flight."""
        return self.captured == self.rendered + sum(self.dropped.values()) + self.in_flight


class Ledger:
    """Counts each frame in once and out once.

    `in_flight` is not derived from the counts: the frames under way are remembered one by one, so a frame that is
    lost without a cause stays visible, and one that leaves twice is an error.
    """

    def __init__(self, stream_id: str) -> None:
        self.stream_id = stream_id
        self._lock = threading.Condition()
        self._under_way: set[int] = set()
        self._captured = 0
        self._rendered = 0
        self._dropped: Counter[Cause] = Counter()

    def captured(self, seq: int) -> None:
        """A frame came in."""
        with self._lock:
            if seq in self._under_way:
                raise RuntimeError(f"{self.stream_id}: frame {seq} was captured twice")
            self._under_way.add(seq)
            self._captured += 1

    def rendered(self, seq: int) -> None:
        """A frame came out."""
        with self._lock:
            self._leave(seq)
            self._rendered += 1

    def dropped(self, seq: int, cause: Cause) -> None:
        """A frame was given up."""
        with self._lock:
            self._leave(seq)
            self._dropped[cause] += 1

    def _leave(self, seq: int) -> None:
        if seq not in self._under_way:
            raise RuntimeError(f"{self.stream_id}: frame {seq} left twice, or never came in")
        self._under_way.remove(seq)
        if not self._under_way:
            self._lock.notify_all()

    def settle(self, timeout_s: float) -> bool:
        """Wait until nothing is in flight; False where the time was over first."""
        with self._lock:
            return self._lock.wait_for(lambda: not self._under_way, timeout_s)

    def entry(self) -> LedgerEntry:
        """The books now."""
        with self._lock:
            return LedgerEntry(
                captured=self._captured,
                rendered=self._rendered,
                dropped={cause: self._dropped[cause] for cause in CAUSES},
                in_flight=len(self._under_way),
            )
