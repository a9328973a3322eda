"""Where rendered frames go: each sink on a thread of its own, none of which can hold up another or an end."""

import time
from collections.abc import Callable
from functools import partial
from typing import Protocol, cast

from headrace.stream.channel import Channel, ChannelClosed
from headrace.stream.errors import SinkClosed, SinkError
from headrace.stream.event import EventKind
from headrace.stream.frame import Result
from headrace.stream.sinks.base import LiveSink, Sink
from headrace.stream.stats import StreamStats

Delivery = Result | StreamStats
"""What a sink gets: rendered frames, and each stream's figures when it ends."""

_WAITING = 32
_LOOK_S = 0.1
_STUCK_S = 2.0
"""How long, after a stop, a sink may go without taking anything."""


class Tell(Protocol):
    """Tells people something."""

    def __call__(self, kind: EventKind, stage: str, text: str) -> None:
        """One line: what, on which output, what to do."""


class Outputs:
    """All sinks of a pipeline.

    Args:
        sinks: each is opened, fed and closed by the thread that runs `writers()[its name]`.
        streams: how many streams there are.
        tell: where failures are told.
    """

    def __init__(self, sinks: tuple[Sink, ...], *, streams: int, tell: Tell) -> None:
        self._outputs = [_Output(sink, streams) for sink in sinks]
        self._tell = tell
        self._stopped_s: float | None = None

    @property
    def want_pictures(self) -> bool:
        """Whether any sink needs `Result.drawn`."""
        return any(output.sink.wants_pictures for output in self._outputs)

    @property
    def gone(self) -> bool:
        """There were sinks, and every one of them has failed or was closed by its user."""
        return bool(self._outputs) and all(output.failure for output in self._outputs)

    @property
    def failures(self) -> dict[str, Exception]:
        """Sinks that failed, by name; one that its user has closed has not failed."""
        return {
            output.sink.name: output.failure
            for output in self._outputs
            if output.failure and not isinstance(output.failure, SinkClosed)
        }

    def writers(self) -> dict[str, Callable[[], None]]:
        """What each sink's thread runs, by the sink's name."""
        return {output.sink.name: partial(self._write, output) for output in self._outputs}

    def deliver(self, item: Delivery, *, every: bool) -> None:
        """Hand something to every sink.

        Args:
            every: wait for sinks that want all; otherwise what they have no room for is lost to them, and told once.
        """
        for output in self._outputs:
            if output.failure is not None:
                continue
            if every or isinstance(item, StreamStats):
                self._wait_for_room(output, item)
            elif not output.put(item, 0.0) and not output.overran:
                output.overran = True
                name = output.sink.name
                self._tell("notice", f"sink-{name}", f"{name} is too slow: it does not get every frame")

    def _wait_for_room(self, output: "_Output", item: Delivery) -> None:
        started_s = time.monotonic()
        while not output.put(item, _LOOK_S):
            since_s = max(started_s, self._stopped_s or float("inf"))
            if time.monotonic() - since_s > _STUCK_S:
                self._failed(
                    output, SinkError(f"{output.sink.name} takes nothing any more: its last records are lost")
                )
                return

    def stop(self) -> None:
        """The pipeline ends early: a sink that is stuck is given up soon."""
        self._stopped_s = self._stopped_s or time.monotonic()

    def close(self) -> None:
        """Nothing more comes: sinks finish what they were given."""
        for output in self._outputs:
            output.channel.close()

    def give_up(self, name: str) -> None:
        """A sink's thread did not come home."""
        for output in self._outputs:
            if output.sink.name == name:
                self._failed(output, SinkError(f"{name} does not finish: its last records are lost"))

    def _write(self, output: "_Output") -> None:
        """Feed one sink. Its failure is told and ends it alone; what comes for it afterwards is thrown away."""
        try:
            output.sink.open()
            output.feed()
        except Exception as error:  # whatever it is, the others go on
            self._failed(output, error)
        try:
            output.sink.close()
        except Exception as error:
            self._failed(output, error)
        for _ in output.channel:
            pass

    def _failed(self, output: "_Output", error: Exception) -> None:
        if output.failure is not None:
            return
        output.failure = error
        text = str(error) if isinstance(error, SinkError) else f"{output.sink.name}: {error!r}"
        self._tell("ended" if isinstance(error, SinkClosed) else "failed", f"sink-{output.sink.name}", text)


class _Output:
    """A sink, its channel, and what became of it."""

    def __init__(self, sink: Sink, streams: int) -> None:
        self.sink = sink
        self.failure: Exception | None = None
        self.overran = False
        self.channel: Channel[Delivery]
        if sink.wants_all:
            self.channel = Channel(sink.name, _WAITING)
        else:
            self.channel = Channel(sink.name, 2 * streams, replaces=_of_which_stream)

    def put(self, item: Delivery, timeout_s: float) -> bool:
        """Whether the sink will get it."""
        try:
            return self.channel.put(item, timeout_s)
        except ChannelClosed:
            return True  # it has ended, and nothing waits for it

    def feed(self) -> None:
        """Write what comes until the channel ends."""
        if self.sink.wants_all:
            for item in self.channel:
                self._take(item)
            return
        sink = cast(LiveSink, self.sink)
        while True:
            try:
                self._take(self.channel.get(_LOOK_S))
            except TimeoutError:
                sink.idle()
            except ChannelClosed:
                return

    def _take(self, item: Delivery) -> None:
        if isinstance(item, StreamStats):
            self.sink.end(item)
        else:
            self.sink.write(item)


def _of_which_stream(item: Delivery) -> tuple[str, bool]:
    if isinstance(item, StreamStats):
        return item.stream_id, True
    return item.frame.stream_id, False
