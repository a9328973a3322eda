"""The pipeline: the only file that starts threads, and the one that brings them all home."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, get_args

from headrace.engines.base import Precision
from headrace.stream import stages
from headrace.stream.batching import Batching
from headrace.stream.channel import Channel, ChannelClosed
from headrace.stream.errors import PipelineError
from headrace.stream.event import Event, EventKind, EventLog
from headrace.stream.frame import Frame, Result
from headrace.stream.networks import Model, NetworkOptions, Networks, RunningNetwork, Streams
from headrace.stream.outputs import Outputs
from headrace.stream.path import StreamPath, names_of
from headrace.stream.sinks.base import Sink
from headrace.stream.sources import SourceOptions, open_source
from headrace.stream.sources.address import masked
from headrace.stream.sources.base import Source
from headrace.stream.sources.pacing import Looping, Paced
from headrace.stream.sources.retry import Retrying
from headrace.stream.stats import PipelineStats

Keep = Literal["auto", "latest", "every"]
Pace = Literal["none", "live"]
Given = str | int | PathLike[str] | Source
"""A source as text (see `open_source`), a camera's number, a path, or one that was made already."""

_RESULTS = 4
_SETTLE_S = 2.0
"""How long a stream's last record waits for the frames that a stop has caught in mid-air."""
_PATIENCE_S = 10.0
"""How long, after a stop, each sink may take to finish."""


class Pipeline:
    """Captures, decodes, infers and renders one or more streams, each stage on a thread of its own.

    `with` starts the threads and joins them. Inside it, iterate the results, or `wait` for the end; leaving the block
    early stops the pipeline.

    Args:
        sources: what to read (see `open_source`); one, or several side by side.
        segment: a segmentation network: a name, PATH.onnx, an open engine, or None for none.
        action: an action network, likewise.
        sinks: outputs; each runs on a thread of its own.
        keep: "auto": live sources keep the newest frame, files every one; or the same for all.
        pace: "live" plays files at their own speed, as a camera would.
        loop: files begin again at their end.
        streams: which streams of a two-stream network are read.
        engine, precision: what runs the networks, see `open_engine`. With engine "auto", what this machine's GPU could
            do better is built and proven meanwhile, and takes over between two frames; should it fail as it runs, what
            ran before goes on.
        batching: whether frames of several streams go through a network as one batch; "auto": where that was measured
            to pay.
        draw: draw results even where no sink wants pictures (then read `Result.drawn`).
        source_options: what is asked of sources that are given as text: RTSP's transport, a camera's size …
        frames, seconds: end each stream after so many rendered frames, or seconds of its own time.

    Raises:
        ValueError: an argument is not one of those allowed, or a network or source is not known.
    """

    def __init__(
        self,
        sources: str | Path | Source | Sequence[str | Path | Source],
        *,
        segment: Model = None,
        action: Model = None,
        sinks: Sequence[Sink] = (),
        keep: Keep = "auto",
        pace: Pace = "none",
        loop: bool = False,
        streams: Streams = "both",
        engine: str = "auto",
        precision: Precision | Literal["auto"] = "auto",
        batching: Batching = "auto",
        draw: bool = False,
        source_options: SourceOptions | None = None,
        frames: int | None = None,
        seconds: float | None = None,
    ) -> None:
        _one_of("keep", keep, get_args(Keep))
        _one_of("pace", pace, get_args(Pace))
        _one_of("streams", streams, get_args(Streams))
        _one_of("batching", batching, get_args(Batching))
        given = [sources] if isinstance(sources, str) or not isinstance(sources, Sequence) else sources
        listed = [str(each) if isinstance(each, Path) else each for each in given]
        if not listed:
            raise ValueError("sources: none given")
        for name, limit in (("frames", frames), ("seconds", seconds)):
            if limit is not None and limit <= 0:
                raise ValueError(f"{name}={limit} must be more than 0")
        self._limits = (frames, seconds)
        self.events = EventLog()
        self._frames_changed = threading.Condition()
        self._networks = Networks(
            segment,
            action,
            options=NetworkOptions(streams=streams, engine=engine, precision=precision, batching=batching),
            count=len(listed),
            frames_changed=self._frames_changed,
            tell=self._tell,
        )
        self._changed = threading.Condition()
        self._failure: PipelineError | None = None
        self._threads: list[threading.Thread] = []
        self._started = False
        self._results: Channel[Result] | None = None
        self._source_options = source_options or SourceOptions()
        self._paths = self._lay_paths(listed, keep=keep, pace=pace, loop=loop)
        self.outputs = Outputs(tuple(sinks), streams=len(self._paths), tell=self._tell)
        self._draws = draw or self.outputs.want_pictures
        self._rendering = len(self._paths)
        self._timers = self._make_timers(seconds)

    def _lay_paths(self, sources: Sequence[Given], *, keep: Keep, pace: Pace, loop: bool) -> dict[str, StreamPath]:
        paths = {}
        texts = [str(each) if isinstance(each, str | int | PathLike) else each for each in sources]
        names = names_of([masked(each) if isinstance(each, str) else each.name for each in texts])
        for stream_id, given in zip(names, texts, strict=True):
            stop = threading.Event()
            source = self._open_source(given, stream_id)
            if loop and not source.is_live:
                source = Looping(source)
            if pace == "live" and not source.is_live:
                source = Paced(source, stop=stop)
            elif source.is_live:
                source = Retrying(source, stop=stop, events=self.events, stream_id=stream_id)
            paths[stream_id] = StreamPath(
                stream_id,
                source,
                every=keep == "every" or (keep == "auto" and not source.is_live),
                with_clips=self._networks.with_actions,
                frames=self._frames_changed,
                stop=stop,
                events=self.events,
            )
        return paths

    def _open_source(self, given: str | Source, stream_id: str) -> Source:
        if not isinstance(given, str):
            return given
        return open_source(given, replace(self._source_options, events=self.events, stream_id=stream_id))

    def _make_timers(self, seconds: float | None) -> list[threading.Timer]:
        """A file ends by its own time; a live stream by the clock, since its time stands still while it is away."""
        live = [path for path in self._paths.values() if isinstance(path.source, Retrying)]
        timers = [threading.Timer(seconds, path.end) for path in live if seconds is not None]
        for timer, path in zip(timers, live, strict=False):
            timer.name = f"hr-timer-{path.stream_id}"
        return timers

    # -- life ----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if self._started:
            raise RuntimeError("a pipeline runs once: make a new one")
        self._started = True
        if any(path.every for path in self._paths.values()):
            self._results = Channel("results", _RESULTS)
        else:
            # A slow reader of live streams gets what is new of each, not what has waited for it.
            self._results = Channel("results", len(self._paths), replaces=lambda result: result.frame.stream_id)
        try:
            # Networks first: a wrong name of one is told before any file is written or any camera asked.
            self._networks.open()
            for stage, write in self.outputs.writers().items():
                self._start(f"sink-{stage}", write)
            for path in self._paths.values():
                self._start(f"capture-{path.stream_id}", partial(stages.capture, path))
                self._start(f"decode-{path.stream_id}", partial(stages.decode, path))
            self._networks.start(self._start, self._paths)
            for path in self._paths.values():
                render = partial(self._render, path)
                self._start(f"render-{path.stream_id}", render, then=partial(self._stream_over, path))
            for timer in self._timers:
                timer.start()
        except BaseException:
            self._shut_down()
            raise
        return self

    def _start(self, stage: str, run: Callable[[], None], *, then: Callable[[], None] | None = None) -> None:
        # A sink can be stuck in a write that nothing ends; it alone must not keep the process alive.
        thread = threading.Thread(
            target=self._guard, args=(stage, run, then), name=f"hr-{stage}", daemon=stage.startswith("sink-")
        )
        self._threads.append(thread)
        thread.start()

    def _guard(self, stage: str, run: Callable[[], None], then: Callable[[], None] | None) -> None:
        """The thread boundary: the first failure of any stage ends the pipeline and is kept for the caller.

        Args:
            then: what follows in any case, once a failure is kept.
        """
        try:
            run()
        except BaseException as error:  # whatever it is, the caller gets it
            with self._changed:
                if self._failure is None:
                    self._failure = PipelineError(f"stage {stage!r} failed: {error}")
                    self._failure.__cause__ = error
            self.stop()
        finally:
            if then is not None:
                then()

    def stop(self) -> None:
        """End all streams soon, from any thread. What is under way is dropped; outputs finish what they were given."""
        for path in self._paths.values():
            path.end()
        self._networks.stop()
        self.outputs.stop()
        if self._results is not None:
            self._results.abort()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._shut_down()
        if kind is None:
            self._raise_failure()

    def _shut_down(self) -> None:
        over = all(path.over for path in self._paths.values())
        try:
            # Sinks that have all they will get may take their time over it; a stop ends their patience.
            self._bring_home_apart(patience_s=None if over else _PATIENCE_S)
        except KeyboardInterrupt:
            self._bring_home_apart(patience_s=_PATIENCE_S)
            raise
        finally:
            self._networks.close()

    def _bring_home_apart(self, patience_s: float | None) -> None:
        # On a thread of its own: Ctrl-C strikes the main thread only, wherever it is. Broken off half-way, this would
        # leave threads behind, and the process would not end.
        thread = threading.Thread(target=self._bring_home, args=(patience_s,), name="hr-end", daemon=True)
        thread.start()
        thread.join()

    def _bring_home(self, patience_s: float | None) -> None:
        self.stop()
        for timer in self._timers:
            timer.cancel()
        # A start that failed has threads that never began. The list may still grow: a build that takes over starts
        # workers, which then come behind it.
        for threads in (self._timers, self._threads):
            for thread in threads:
                if thread.ident is not None and not _writes(thread):
                    thread.join()
        # Outputs last: they write what the renderers have given them.
        self.outputs.close()
        for thread in self._threads:
            if thread.ident is not None and _writes(thread):
                thread.join(patience_s)
                if thread.is_alive():
                    self.outputs.give_up(thread.name.removeprefix("hr-sink-"))

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
        for path in self._paths.values():
            if path.failure is not None:
                raise PipelineError(f"stream {path.stream_id!r} failed: {path.failure}") from path.failure

    # -- results -------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Result]:
        """Results of all streams, each stream's in order. Live, a slow reader gets the newest; a file waits for it.

        Raises:
            PipelineError: a stage failed; or a stream did, after all others have ended.
        """
        assert self._results is not None, "iterate inside the with block"
        yield from self._results
        self._raise_failure()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until all streams have ended, without reading the results.

        Returns:
            False where the time was over first; call it again.

        Raises:
            PipelineError: as in iteration.
        """
        assert self._results is not None, "wait inside the with block"
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
            try:
                self._results.get(left_s)
            except TimeoutError:
                return False
            except ChannelClosed:
                break
            if left_s == 0.0:
                return False
        self._raise_failure()
        return True

    def stats(self) -> PipelineStats:
        """The figures of all streams now."""
        return PipelineStats(streams={stream_id: path.stats() for stream_id, path in self._paths.items()})

    @property
    def networks(self) -> Mapping[str, RunningNetwork]:
        """Which engine runs each network now and why, by the network's name; empty before the `with` block."""
        return self._networks.running

    # -- threads -------------------------------------------------------------------------------------------------

    def _render(self, path: StreamPath) -> None:
        stages.render(
            path,
            with_actions=self._networks.with_actions,
            draws=self._draws,
            deliver=self._deliver,
            enough=self._enough,
        )

    def _deliver(self, path: StreamPath, result: Result) -> None:
        self.outputs.deliver(result, every=path.every)
        assert self._results is not None, "render runs inside the with block"
        with contextlib.suppress(ChannelClosed):
            self._results.put(result, None if path.every else 0.0)

    def _stream_over(self, path: StreamPath) -> None:
        path.end()
        path.ledger.settle(_SETTLE_S)
        path.over = True
        self.outputs.deliver(path.stats(), every=path.every)
        with self._changed:
            self._rendering -= 1
            last = self._rendering == 0
        if last:
            assert self._results is not None, "render runs inside the with block"
            self._results.close()
            self.outputs.close()

    def _enough(self, path: StreamPath, frame: Frame) -> bool:
        frames, seconds = self._limits
        played_s = path.count_played(frame)
        if frames is not None and path.ledger.entry().rendered >= frames:
            return True
        # Sums of times are not exact: without this a frame too many would come now and then.
        return seconds is not None and played_s >= seconds - 1e-6

    def _tell(self, kind: EventKind, stage: str, text: str) -> None:
        self.events.add(Event(kind=kind, stream_id="", stage=stage, text=text, at_ns=time.monotonic_ns()))


def _one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is not one of {', '.join(allowed)}")


def _writes(thread: threading.Thread) -> bool:
    return thread.name.startswith("hr-sink-")
