"""One stream's way through the pipeline: its source, channels, books and meters."""

import threading
from collections.abc import Callable, Sequence

from headrace.stream.board import ActionBoard
from headrace.stream.channel import Channel
from headrace.stream.clock import MonotonicClock
from headrace.stream.event import Event, EventKind, EventLog
from headrace.stream.frame import Cause, Frame, Packet, Result
from headrace.stream.lane import Lane
from headrace.stream.ledger import Ledger
from headrace.stream.sources.base import Source
from headrace.stream.sources.retry import Retrying
from headrace.stream.stats import State, StreamMeters, StreamStats

_PACKETS = 64
_FRAMES_EVERY = 4
_MOTION = 4
_ROOM, _ROOM_EVERY = 2, 4
"""One frame being worked on, and one result for the renderer; the pipeline adds a place for each further worker. Where
every frame is kept its age does not matter, and more places keep the workers busy while a picture is drawn."""


class StreamPath:
    """What the threads of one stream share.

    Args:
        stream_id: the stream's name.
        source: where packets come from, already wrapped for retrying or pacing.
        every: keep every frame; otherwise the newest wins.
        with_clips: clips are cut for an action network.
        frames: condition that all streams of the same workers share.
        stop: set to end this stream; its source watches it too.
        events: where oddities are told.
    """

    def __init__(
        self,
        stream_id: str,
        source: Source,
        *,
        every: bool,
        with_clips: bool,
        frames: threading.Condition,
        stop: threading.Event,
        events: EventLog,
    ) -> None:
        self.stream_id = stream_id
        self.source = source
        self.every = every
        self.stop = stop
        self.ledger = Ledger(stream_id)
        self.meters = StreamMeters()
        self.board = ActionBoard()
        self.failure: Exception | None = None
        self.over = False
        self._newest: Frame | None = None
        self._played_s = self._step_s = 0.0
        self._events = events
        self._epochs = 0
        # Packets of most codecs cannot be dropped one by one, so capture decides; this channel never drops by itself.
        self.packets: Channel[Packet] = Channel("packets", _PACKETS, on_drop=self._lost("stopped"))
        self.frames: Lane[Frame, Result] = Lane(
            "frames",
            inbox=_FRAMES_EVERY if every else 1,
            when_full="wait" if every else "drop_oldest",
            room=_ROOM_EVERY if every else _ROOM,
            changed=frames,
            on_drop_in=self._frame_lost,
            on_drop_out=lambda result: self.ledger.dropped(result.frame.seq, "stopped"),
            on_failed=lambda frame: self.ledger.dropped(frame.seq, "failed"),
        )
        self.motion: Channel[Frame] | None = None
        if with_clips:
            self.motion = Channel("motion", _MOTION, "wait" if every else "drop_oldest")

    def _lost(self, cause: Cause) -> "Callable[[Packet], None]":
        return lambda packet: self.ledger.dropped(packet.seq, cause)

    def _frame_lost(self, frame: Frame) -> None:
        # The one dropping point of a live stream; after a stop nothing is dropped by policy any more.
        self.ledger.dropped(frame.seq, "stopped" if self.stop.is_set() else "policy")

    def epoch_seen(self, epoch: int) -> None:
        """A frame of this epoch was rendered."""
        self._epochs = max(self._epochs, epoch + 1)

    def count_played(self, frame: Frame) -> float:
        """Count a rendered frame in; tell how many seconds of the stream are rendered, with this frame."""
        if self._newest is not None:
            if frame.epoch == self._newest.epoch:
                self._step_s = frame.pts_s - self._newest.pts_s
            self._played_s += self._step_s
        self._newest = frame
        return self._played_s + self._step_s

    def tell(self, kind: EventKind, stage: str, text: str) -> None:
        """Tell people something, once."""
        now_ns = MonotonicClock().now_ns()
        self._events.add(Event(kind=kind, stream_id=self.stream_id, stage=stage, text=text, at_ns=now_ns))

    def end(self) -> None:
        """End this stream now: what is under way is dropped, its threads come home."""
        self.stop.set()
        self.packets.abort()
        self.frames.abort()
        if self.motion is not None:
            self.motion.abort()
        self.board.end()

    @property
    def state(self) -> tuple[State, str]:
        """How the stream is, and why where that needs a reason."""
        if self.failure is not None:
            return "failed", str(self.failure)
        captured = self.ledger.entry().captured
        away = self.source.state if isinstance(self.source, Retrying) else None
        if self.over:
            # A camera that never came is not the same as one that was read and stopped.
            return ("failed", away.reason) if away and away.reason and not captured else ("ended", "")
        if away and away.kind == "retrying":
            return "retrying", away.reason
        return ("up", "") if captured else ("waiting", "")

    def _since_s(self) -> float:
        if not isinstance(self.source, Retrying):
            return 0.0
        return (MonotonicClock().now_ns() - self.source.state.since_ns) / 1e9

    def stats(self) -> StreamStats:
        """The figures now."""
        state, reason = self.state
        meters = self.meters
        rates = (meters.capture, meters.infer, meters.render)
        running = state in ("up", "retrying", "waiting")
        capture, infer, render = (rate.recent_fps if running else rate.overall_fps for rate in rates)
        return StreamStats(
            stream_id=self.stream_id,
            source=self.source.name,
            state=state,
            reason=reason,
            every=self.every,
            ledger=self.ledger.entry(),
            epochs=self._epochs,
            capture_fps=capture,
            infer_fps=infer,
            render_fps=render,
            age_ms=meters.age.percentiles(),
            recent_age_ms=meters.recent_age.percentiles(),
            since_s=self._since_s(),
            stage_ms=meters.stages(),
        )


def names_of(sources: Sequence[str]) -> list[str]:
    """A short name for each of several sources, no two the same: the last part of a path or a URL."""
    names: list[str] = []
    for source in sources:
        short = source.rstrip("/").split("?")[0].rsplit("/", 1)[-1] or "stream"
        short = short.rsplit("@", 1)[-1]
        name, n = short, 2
        while name in names:
            name, n = f"{short}-{n}", n + 1
        names.append(name)
    return names
