"""The lines that a run shows while it goes: one per stream, redrawn in place, and what happens above them."""

import math
import shutil
import time
from collections.abc import Sequence
from typing import TextIO

from headrace.stream.event import Event
from headrace.stream.stats import PipelineStats, StreamStats

_EVERY_S = 0.5


class LiveLine:
    """Draws on a terminal; elsewhere only events are written, each as a line.

    Args:
        out: where to.
        quiet: only failures are written.
    """

    def __init__(self, out: TextIO, *, quiet: bool = False) -> None:
        self._out = out
        self._quiet = quiet
        self._redraws = out.isatty() and not quiet
        self._lines = 0
        self._next_s = 0.0

    def show(self, stats: PipelineStats, events: Sequence[Event]) -> None:
        """Write what happened, and redraw the lines when it is time."""
        now_s = time.monotonic()
        if not events and now_s < self._next_s:
            return
        self._next_s = now_s + _EVERY_S
        self._clear()
        self._tell(events)
        if self._redraws:
            # A line that wraps would leave rows behind when it is taken away.
            room = shutil.get_terminal_size().columns - 1
            lines = [_cut(_line(stream), room) for stream in stats.streams.values()]
            self._out.write("".join(line + "\n" for line in lines))
            self._lines = len(lines)
        self._out.flush()

    def finish(self, events: Sequence[Event]) -> None:
        """Take the lines away and write what happened last."""
        self._clear()
        self._tell(events)
        self._out.flush()

    def _clear(self) -> None:
        if self._lines:
            self._out.write(f"\x1b[{self._lines}A\x1b[J")
            self._lines = 0

    def _tell(self, events: Sequence[Event]) -> None:
        for event in events:
            if not self._quiet or event.kind == "failed":
                who = f"{event.stream_id}: " if event.stream_id else ""
                again = "; it is tried again" if event.kind == "lost" else ""
                self._out.write(f"{who}{event.text}{again}\n")


def _line(stream: StreamStats) -> str:
    p95_ms = stream.recent_age_ms.p95
    age = "–" if math.isnan(p95_ms) else f"{p95_ms:.0f} ms"
    dropped = sum(stream.ledger.dropped.values())
    return (
        f"{stream.stream_id}  {_state(stream)}  capture {stream.capture_fps:.1f}  infer {stream.infer_fps:.1f}"
        f"  display {stream.render_fps:.1f} fps  age p95 {age}  dropped {dropped}"
    )


def _state(stream: StreamStats) -> str:
    """ "up", or "retrying for 12 s: why"."""
    away = f" for {stream.since_s:.0f} s" if stream.state == "retrying" and stream.since_s else ""
    return f"{stream.state}{away}{f': {stream.reason}' if stream.reason else ''}"


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: max(0, room - 1)] + "…"
