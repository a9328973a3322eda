"""Stand-ins for what a pipeline is made of: sources that play a script, engines that wait, outputs that remember."""

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from media import numbered

from headrace.engines.base import Engine, EngineInfo, Session
from headrace.engines.inputs import Array
from headrace.engines.ports import Ports
from headrace.models.spec import ClipSpec, ModelSpec, Task, TensorSpec, Weights
from headrace.stream.errors import SourceError
from headrace.stream.frame import Cause, Codec, Frame, Packet, Result
from headrace.stream.ledger import CAUSES, LedgerEntry
from headrace.stream.meter import Percentiles
from headrace.stream.picture import RgbPicture
from headrace.stream.sources.base import SourceInfo
from headrace.stream.stats import StreamStats

SIZE = (64, 48)
_NOTHING = Weights(file=Path("none"), licence="none", trained_on="nothing", recipe="none", score="none")


class FakeClock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.time_ns = 1_000_000_000

    def now_ns(self) -> int:
        return self.time_ns

    def move(self, seconds: float) -> None:
        """Let this much time pass."""
        self.time_ns += round(seconds * 1e9)

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        self.move(max(0.0, seconds))
        return stop.is_set()


class FakeSource:
    """Numbered pictures at 25 fps, and a failure or a wait where the test wants one.

    Args:
        count: how many pictures; None for no end.
        fails: what is raised instead of picture number so-and-so; -1 is the opening, -2 the closing.
        before: called before each picture, with its number: a test's hook to wait or to count.
    """

    def __init__(
        self,
        count: int | None = 20,
        *,
        name: str = "fake",
        is_live: bool = False,
        fails: Mapping[int, Exception] | None = None,
        before: Callable[[int], object] | None = None,
        size: tuple[int, int] = SIZE,
        start_s: float = 0.0,
    ) -> None:
        self.name = name
        self.is_live = is_live
        self.closed = 0
        self._count = count
        self._fails = dict(fails or {})
        self._before = before
        self._size = size
        self._start_s = start_s
        self._codec = Codec(name="rgb", fps=25.0, intra_only=True)
        self._next = 0

    def open(self) -> SourceInfo:
        self._fail(-1)
        self._codec = Codec(name="rgb", fps=25.0, intra_only=True)
        self._next = 0
        return SourceInfo(width=self._size[0], height=self._size[1], codec="rgb", fps=25.0, frames=self._count)

    def read(self) -> Packet | None:
        at = self._next
        if self._before is not None:
            self._before(at)
        self._fail(at)
        if self._count is not None and at >= self._count:
            return None
        self._next += 1
        return Packet(
            data=numbered(at % 256, self._size),
            codec=self._codec,
            is_keyframe=True,
            pts_s=self._start_s + at / 25,
            arrival_ns=time.monotonic_ns(),
        )

    def close(self) -> None:
        self.closed += 1
        self._fail(-2)

    def _fail(self, at: int) -> None:
        if at in self._fails:
            raise self._fails.pop(at)


def dead_source(name: str = "dead") -> FakeSource:
    """A source that does not open."""
    return FakeSource(name=name, fails={-1: SourceError(f"{name}: nobody answers")})


class FakeEngine(Engine):
    """A network that is a Python function of its inputs; the function may wait, or fail.

    Args:
        work: takes the feeds by name, gives the outputs by name.
        batches: lengths that it says it is prepared for.
        opens: called before each session is opened; raises where the test wants no session.
    """

    def __init__(
        self,
        spec: ModelSpec,
        work: Callable[[Mapping[str, Array]], dict[str, Array]],
        *,
        sessions: int = 2,
        batches: tuple[int, ...] = (),
        opens: Callable[[], object] | None = None,
    ) -> None:
        self.work = work
        self.ran: list[int] = []
        """How many rows each run had; the newest may still be under way."""
        self.opened: list[str] = []
        """The thread that opened each session, and in `closed` the one that closed it."""
        self.closed: list[str] = []
        self.released = threading.Event()
        self._batches = batches
        self._opens = opens
        info = EngineInfo(backend="fake", version="1", device="none", precision="fp32")
        super().__init__(spec, Ports(inputs=spec.inputs, outputs=spec.outputs, state=()), info, sessions)

    @property
    def batches(self) -> tuple[int, ...]:
        return self._batches

    def _open_session(self) -> Session:
        if self._opens is not None:
            self._opens()
        self.opened.append(threading.current_thread().name)
        return _FakeSession(self)

    def _release(self) -> None:
        self.released.set()


class _FakeSession(Session):
    def __init__(self, engine: FakeEngine) -> None:
        super().__init__(engine)
        self._fake = engine

    def _run(self, feeds: Mapping[str, Array], wanted: tuple[str, ...]) -> dict[str, Array]:
        self._fake.ran.append(len(next(iter(feeds.values()))))
        outputs = self._fake.work(feeds)
        return {name: outputs[name] for name in wanted}

    def _release(self) -> None:
        self._fake.closed.append(threading.current_thread().name)


def segment_engine(
    before: Callable[[int], object] | None = None,
    *,
    sessions: int = 2,
    labels: Sequence[str] = ("dark", "light"),
    batches: tuple[int, ...] = (),
    opens: Callable[[], object] | None = None,
) -> FakeEngine:
    """Class 1 where the picture is light; `before` is called with the number of the run, counted from 0."""
    spec = _spec(
        "fake_segment",
        "segment",
        inputs=(TensorSpec(name="frame", shape=(None, 24, 32, 3), dtype="uint8", layout="BHWC"),),
        outputs=(TensorSpec(name="mask", shape=(None, 24, 32), dtype="uint8", layout="BHW"),),
        labels=tuple(labels),
    )
    runs = _Counter()

    def work(feeds: Mapping[str, Array]) -> dict[str, Array]:
        at = runs.next()
        if before is not None:
            before(at)
        return {"mask": (feeds["frame"].mean(axis=3) > 125).astype(np.uint8)}

    return FakeEngine(spec, work, sessions=sessions, batches=batches, opens=opens)


def action_engine(before: Callable[[int], object] | None = None) -> FakeEngine:
    """Scores of clips of 0.4 s every 0.2 s: the share of light in the clip's pictures decides."""
    clip = ClipSpec(length_s=0.4, spacing_s=0.1, hop_s=0.2, size=(32, 24), images_at=(0, 2, 4))
    spec = _spec(
        "fake_action",
        "action",
        inputs=(
            TensorSpec(name="images", shape=(None, 3, 24, 32, 3), dtype="uint8", layout="BTHWC"),
            TensorSpec(name="flows", shape=(None, 4, 24, 32, 2), dtype="float32", layout="BTHWC"),
        ),
        outputs=tuple(
            TensorSpec(name=name, shape=(None, 2), dtype="float32", layout="BC")
            for name in ("scores", "scores_rgb", "scores_flow")
        ),
        labels=("normal", "fight"),
        clip=clip,
    )
    runs = _Counter()

    def work(feeds: Mapping[str, Array]) -> dict[str, Array]:
        at = runs.next()
        if before is not None:
            before(at)
        light = feeds["images"].mean(axis=(1, 2, 3, 4)) / 255
        scores = np.stack([1 - light, light], axis=1).astype(np.float32)
        return dict.fromkeys(("scores", "scores_rgb", "scores_flow"), scores)

    return FakeEngine(spec, work, sessions=1)


def _spec(
    name: str,
    task: Task,
    *,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    labels: tuple[str, ...],
    clip: ClipSpec | None = None,
) -> ModelSpec:
    return ModelSpec(
        name=name,
        task=task,
        summary="made for a test",
        paper="none",
        year=2026,
        parameters=0,
        size=(32, 24),
        inputs=inputs,
        outputs=outputs,
        labels=labels,
        weights=_NOTHING,
        clip=clip,
    )


class _Counter:
    def __init__(self) -> None:
        self._next = 0
        self._lock = threading.Lock()

    def next(self) -> int:
        with self._lock:
            self._next += 1
            return self._next - 1


class FakeSink:
    """Remembers what it got, and fails where the test wants it.

    Args:
        fails: what is raised by "open", "end", "close", or by writing result number so-and-so.
        before: called before each result is taken, with its number.
    """

    def __init__(
        self,
        *,
        name: str = "fake sink",
        wants_pictures: bool = False,
        wants_all: bool = True,
        fails: Mapping[str | int, Exception] | None = None,
        before: Callable[[int], object] | None = None,
    ) -> None:
        self.name = name
        self.wants_pictures = wants_pictures
        self.wants_all = wants_all
        self.results: list[Result] = []
        self.ends: list[StreamStats] = []
        self.calls: list[str] = []
        self.threads: set[str] = set()
        self._fails = dict(fails or {})
        self._before = before

    def seqs(self, stream_id: str) -> list[int]:
        """Numbers of the frames of one stream, as they came."""
        return [result.frame.seq for result in self.results if result.frame.stream_id == stream_id]

    def open(self) -> None:
        self._called("open")

    def write(self, result: Result) -> None:
        at = len(self.results)
        if self._before is not None:
            self._before(at)
        self._called("write")
        if at in self._fails:
            raise self._fails.pop(at)
        self.results.append(result)

    def end(self, stats: StreamStats) -> None:
        self._called("end")
        self.ends.append(stats)

    def idle(self) -> None:
        self._called("idle")

    def close(self) -> None:
        self._called("close")

    def _called(self, what: str) -> None:
        self.calls.append(what)
        self.threads.add(threading.current_thread().name)
        if what in self._fails:
            raise self._fails.pop(what)


def result(
    seq: int = 0,
    pts_s: float = 0.0,
    *,
    stream_id: str = "one",
    epoch: int = 0,
    arrival_s: float | None = None,
    size: tuple[int, int] = SIZE,
    **fields: Any,
) -> Result:
    """A rendered frame of numbered pictures, as sinks get it."""
    picture = numbered(seq % 256, size)
    frame = Frame(
        picture=RgbPicture(picture),
        stream_id=stream_id,
        seq=seq,
        epoch=epoch,
        pts_s=pts_s,
        arrival_ns=round((pts_s if arrival_s is None else arrival_s) * 1e9) + 10**12,
    )
    return Result(frame=frame, drawn=picture, **fields)


def stream_stats(stream_id: str = "one", *, rendered: int = 0, **fields: Any) -> StreamStats:
    """A stream's figures when it has ended."""
    dropped: dict[Cause, int] = dict.fromkeys(CAUSES, 0)
    nothing = Percentiles(p50=math.nan, p95=math.nan, p99=math.nan)
    found: dict[str, Any] = {
        "stream_id": stream_id,
        "source": stream_id,
        "state": "ended",
        "reason": "",
        "every": True,
        "ledger": LedgerEntry(captured=rendered, rendered=rendered, dropped=dropped, in_flight=0),
        "epochs": 1,
        "capture_fps": 25.0,
        "infer_fps": 25.0,
        "render_fps": 25.0,
        "age_ms": nothing,
        "stage_ms": {},
    }
    return StreamStats(**{**found, **fields})
