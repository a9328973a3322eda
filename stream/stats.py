"""The figures of a run: books, rates, age of the picture, time per stage."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from headrace.stream.ledger import LedgerEntry
from headrace.stream.meter import UNMEASURED, Histogram, Percentiles, Rate, RecentHistogram

State = Literal["waiting", "up", "retrying", "ended", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStats:
    """One stream's figures at one moment."""

    stream_id: str
    source: str
    """The source as people call it, without its password."""
    state: State
    reason: str
    """Why it is retrying or failed; "" otherwise."""
    since_s: float = 0.0
    """How long it has been in this state, in seconds; 0 where that is not known."""
    every: bool
    """Every frame is kept, however long it waits; otherwise the newest wins."""
    ledger: LedgerEntry
    epochs: int
    """How many unbroken stretches there were: 1 and one more for each reconnect."""
    capture_fps: float
    infer_fps: float
    render_fps: float
    """Over the last two seconds while it runs, over the whole run once it has ended."""
    age_ms: Percentiles
    """Of the picture: from its arrival to the end of rendering. Of the whole run."""
    recent_age_ms: Percentiles = UNMEASURED
    """The same, of the last seconds."""
    stage_ms: Mapping[str, Percentiles]
    """Time that each stage works on a frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineStats:
    """All streams' figures at one moment."""

    streams: Mapping[str, StreamStats]

    def __str__(self) -> str:
        """The ledger and the latency table."""
        return "\n".join(_lines(self))


class StreamMeters:
    """What is measured of one stream while it runs; any thread may write."""

    def __init__(self) -> None:
        self.capture = Rate()
        self.infer = Rate()
        self.render = Rate()
        self.age = Histogram()
        self.recent_age = RecentHistogram()
        self._stages: dict[str, Histogram] = {}

    def stage(self, name: str, ms: float) -> None:
        """A stage has worked on a frame for so long."""
        histogram = self._stages.get(name)
        if histogram is None:
            # Atomic: two threads that meet here get the same one.
            histogram = self._stages.setdefault(name, Histogram())
        histogram.add(ms)

    def stages(self) -> dict[str, Percentiles]:
        """Of each stage so far."""
        return {name: histogram.percentiles() for name, histogram in list(self._stages.items())}


def _lines(stats: PipelineStats) -> list[str]:
    lines = []
    for stream in stats.streams.values():
        books = stream.ledger
        dropped = ", ".join(f"{cause} {n}" for cause, n in books.dropped.items() if n)
        lines.append(
            f"{stream.stream_id}: captured {books.captured} = rendered {books.rendered}"
            f" + dropped {sum(books.dropped.values())}{f' ({dropped})' if dropped else ''}"
            f" + in flight {books.in_flight};  {stream.render_fps:.1f} fps"
            f", {stream.epochs} epoch{'s' * (stream.epochs != 1)}"
        )
        if books.rendered == 0:
            continue
        # Where every frame is kept, its age says how long it queued and nothing about the stages.
        rows = {**stream.stage_ms} if stream.every else {**stream.stage_ms, "age": stream.age_ms}
        lines.append(f"  {'ms':10}{'p50':>8}{'p95':>8}{'p99':>8}")
        lines += [f"  {name:10}{row.p50:8.1f}{row.p95:8.1f}{row.p99:8.1f}" for name, row in rows.items()]
    return lines
