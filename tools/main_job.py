"""The main job: a pipeline made of the options of `headrace run`, and what people see of it."""

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import cv2

from headrace.stream import Pipeline, PipelineError
from headrace.stream.sinks.base import Sink
from headrace.stream.sinks.jsonl import JsonlSink
from headrace.stream.sinks.null import NullSink
from headrace.stream.sinks.video import VideoSink
from headrace.stream.sinks.window import WindowSink, window_trouble
from headrace.stream.sources import SourceOptions
from headrace.tools.keys import TerminalKeys
from headrace.tools.live_line import LiveLine


def run(options: argparse.Namespace) -> int:
    """Run the pipeline that the options state."""
    # Many threads run as it is: OpenCV's own would only get in their way.
    cv2.setNumThreads(1)
    stops = _Stop()
    sinks = _sinks(options, stops)
    pipeline = Pipeline(
        options.sources,
        segment=_network(options.segment),
        action=_network(options.action),
        sinks=sinks,
        keep=options.keep,
        pace=options.pace,
        loop=options.loop,
        streams=options.streams,
        engine=options.engine,
        precision=options.precision,
        source_options=SourceOptions(
            transport=options.transport,
            size=options.camera_size,
            fps=options.camera_fps,
            pixel_format=options.camera_format,
        ),
        frames=options.frames,
        seconds=options.seconds,
    )
    tables = sys.stderr if options.jsonl == "-" else sys.stdout
    line = LiveLine(sys.stderr, quiet=options.quiet)
    failure: PipelineError | None = None
    with stops, TerminalKeys() as keys:
        try:
            with pipeline:
                while not (stops.asked or keys.quit_pressed() or pipeline.outputs.gone or pipeline.wait(0.2)):
                    line.show(pipeline.stats(), pipeline.events.take())
        except PipelineError as error:
            failure = error
    line.finish(pipeline.events.take())
    if not options.quiet:
        print(pipeline.stats(), file=tables)
        for path in [path for sink in sinks if isinstance(sink, VideoSink) for path in sink.written]:
            print(f"wrote {path}", file=tables)
    return _exit_code(pipeline, failure, stops, options.debug)


def _exit_code(pipeline: Pipeline, failure: PipelineError | None, stops: "_Stop", debug: bool) -> int:
    if failure is not None and debug:
        raise failure
    reasons = [stream.reason for stream in pipeline.stats().streams.values() if stream.state == "failed"]
    if failure is not None and not reasons:
        reasons = [str(failure)]
    for reason in reasons:
        print(f"headrace run: {reason}", file=sys.stderr)
    if stops.interrupted:
        return 130
    return 1 if reasons or pipeline.outputs.failures else 0


_STOPPING = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
"""Ctrl-C, a request to end, a terminal that goes away."""


class _Stop:
    """Ctrl-C, a request to terminate, the window's keys: each asks for a clean stop. A second Ctrl-C is not asked."""

    def __init__(self) -> None:
        self.asked = False
        self.interrupted = False
        self._before: dict[signal.Signals, Any] = {}

    def ask(self) -> None:
        """Stop soon."""
        self.asked = True

    def _on_signal(self, number: int, at: FrameType | None) -> None:
        self.asked = self.interrupted = True
        signal.signal(number, self._before[signal.Signals(number)])

    def __enter__(self) -> "_Stop":
        for number in _STOPPING:
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *failure: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)


def _spare_the_sources(options: argparse.Namespace) -> None:
    """See that nothing which is read would be written over."""
    written = [Path(path) for path in (options.save, options.jsonl) if path not in (None, "-")]
    if len(options.sources) > 1 and options.save is not None:
        written += options.save.parent.glob(f"{options.save.stem}-*{options.save.suffix}")
    for path in written:
        if not path.parent.is_dir():
            raise ValueError(f"cannot write {path}: the folder {path.parent} does not exist")
        for source in options.sources:
            if path.exists() and Path(source).exists() and path.samefile(source):
                raise ValueError(f"{path} is the source itself: writing would destroy it; take another name")


def _network(name: str) -> str | None:
    return None if name == "none" else name


def _sinks(options: argparse.Namespace, stops: _Stop) -> list[Sink]:
    _spare_the_sources(options)
    if options.save is not None and options.save.suffix.lower() != ".mp4":
        raise ValueError(f"cannot write {options.save}: the name must end in .mp4")
    sinks: list[Sink] = []
    trouble = window_trouble() if options.show != "none" else ""
    if options.show == "window" and trouble:
        raise ValueError(f"--show window: {trouble}")
    if options.show != "none" and not trouble:
        sinks.append(WindowSink(stops.ask))
    if options.save is not None:
        sinks.append(VideoSink(options.save, per_stream=len(options.sources) > 1))
    if options.jsonl is not None:
        sinks.append(JsonlSink(options.jsonl))
    if options.draw:
        sinks.append(NullSink(wants_pictures=True))
    return sinks
