"""What an output is: it takes results on a thread of its own, and its failure is its own."""

from typing import Protocol

from headrace.stream.frame import Result
from headrace.stream.stats import StreamStats


class Sink(Protocol):
    """Where results go. One thread opens, writes and closes it; results of all streams come mixed, each in order.

    Every call may raise SinkError (or OSError); the pipeline then reports it and writes no more to this sink.
    """

    @property
    def name(self) -> str:
        """How people call it: "window", the file's path."""

    @property
    def wants_pictures(self) -> bool:
        """Whether it needs `Result.drawn`."""

    @property
    def wants_all(self) -> bool:
        """Whether it should get every frame (a recorder), or the newest that it has time for (a window)."""

    def open(self) -> None:
        """Get ready."""

    def write(self, result: Result) -> None:
        """Take one rendered frame."""

    def end(self, stats: StreamStats) -> None:
        """A stream has ended, with these figures."""

    def close(self) -> None:
        """Finish. Safe to call after a failure."""


class LiveSink(Sink, Protocol):
    """An output that shows the newest (`wants_all` is false), and has something to do while nothing comes."""

    def idle(self) -> None:
        """Nothing has come for a tenth of a second."""
