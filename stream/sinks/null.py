"""An output that keeps nothing: for measuring, and for networks whose records are all that is wanted."""

from headrace.stream.frame import Result
from headrace.stream.stats import StreamStats


class NullSink:
    """Takes results and forgets them.

    Args:
        wants_pictures: have the pictures drawn all the same, so that drawing is part of what is measured.
    """

    name = "null"
    wants_all = True

    def __init__(self, *, wants_pictures: bool = False) -> None:
        self.wants_pictures = wants_pictures

    def open(self) -> None:
        """Nothing to open."""

    def write(self, result: Result) -> None:
        """Forget it."""

    def end(self, stats: StreamStats) -> None:
        """Nothing to finish."""

    def close(self) -> None:
        """Nothing to close."""
