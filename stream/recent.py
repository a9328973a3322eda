"""The last inputs that a running network really had, copied only while somebody wants them."""

import threading
from collections.abc import Mapping

from headrace.stream.arrays import Array

Feeds = Mapping[str, Array]
"""All of a network's inputs by name, batch first."""


class RecentFeeds:
    """What the workers of a network have just fed, for a proof of another engine on the same pictures.

    Args:
        count: how many are wanted at once.
        every: only each so-manieth is taken, since neighbouring frames show the same.
    """

    def __init__(self, count: int, *, every: int = 1) -> None:
        self._count = count
        self._every = every
        self._changed = threading.Condition()
        self.wanted = False
        """Whether somebody collects now."""
        self._ended = False
        self._seen = 0
        self._kept: list[Feeds] = []

    def offer(self, feeds: Feeds) -> None:
        """Show what was fed; of a batch its first is kept, if any is. Costs nothing while nobody collects."""
        if not self.wanted:
            return
        with self._changed:
            self._seen += 1
            if self.wanted and self._seen % self._every == 0:
                self._kept.append({name: array[:1].copy() for name, array in feeds.items()})
                self.wanted = len(self._kept) < self._count
                self._changed.notify_all()

    def collect(self) -> list[Feeds]:
        """Wait until so many have come from now on; fewer, or none, where the pipeline ends first."""
        with self._changed:
            self.wanted = not self._ended
            self._changed.wait_for(lambda: self._ended or not self.wanted)
            kept, self._kept = self._kept, []
            self.wanted = False
            return kept

    def end(self) -> None:
        """Nothing more comes; who collects goes on with what there is."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
