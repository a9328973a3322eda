"""`headrace demo`: the main job on the scene that ships with the package."""

import argparse
import sys
from pathlib import Path

import cv2

from headrace.models.catalog import DEFAULTS
from headrace.stream import Pipeline, Result
from headrace.stream.arrays import U8
from headrace.stream.sinks.base import Sink
from headrace.stream.sinks.jsonl import JsonlSink
from headrace.stream.sinks.video import VideoSink
from headrace.stream.sinks.window import WindowSink, window_trouble
from headrace.tools.keys import TerminalKeys
from headrace.tools.live_line import LiveLine

SCENE = "scene:street?size=960x540&fps=25&seed={seed}&look=clean&seconds={seconds:g}"


def main(argv: list[str]) -> int:
    """Run the demo; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="headrace demo",
        description="Run the whole pipeline on a drawn street, and leave a video, a JSONL file and a picture.",
        epilog="example: headrace demo --out /tmp/demo",
    )
    parser.add_argument("--out", type=Path, default=Path("headrace-demo"), help="folder to write (%(default)s)")
    parser.add_argument("--seconds", type=float, default=12.0, help="how long the scene lasts (%(default)s)")
    parser.add_argument("--seed", type=int, default=10, help="which street (%(default)s)")
    parser.add_argument("--show", choices=("auto", "window", "none"), default="auto")
    parser.add_argument("--debug", action="store_true")
    options = parser.parse_args(argv)
    cv2.setNumThreads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    video, records, picture = (options.out / name for name in ("demo.mp4", "demo.jsonl", "demo.png"))
    trouble = "--show none" if options.show == "none" else window_trouble()
    if options.show == "window" and trouble:
        raise ValueError(f"--show window: {trouble}")
    sinks: list[Sink] = [VideoSink(video), JsonlSink(records)]
    if not trouble:
        sinks.append(WindowSink(lambda: pipeline.stop(), title="Headrace demo: q ends it"))
    pipeline = Pipeline(
        SCENE.format(seed=options.seed, seconds=options.seconds),
        segment=DEFAULTS["segment"],
        action=DEFAULTS["action"],
        sinks=sinks,
        # In front of an audience at the speed of life, and without losing a frame of the film.
        pace="none" if trouble else "live",
        keep="every",
    )
    line = LiveLine(sys.stderr)
    best = _Best()
    with TerminalKeys() as keys, pipeline:
        for result in pipeline:
            best.see(result)
            if keys.quit_pressed():
                break
            line.show(pipeline.stats(), pipeline.events.take())
    line.finish(pipeline.events.take())
    print(pipeline.stats())
    if trouble:
        print(f"no window: {trouble}")
    if best.drawn is None:
        return 1
    cv2.imwrite(str(picture), cv2.cvtColor(best.drawn, cv2.COLOR_RGB2BGR))
    print(f"wrote {video}, {records}, {picture}")
    return 1 if pipeline.outputs.failures else 0


class _Best:
    """Keeps the picture that shows most: the most people, and an action if there is one."""

    def __init__(self) -> None:
        self.drawn: U8 | None = None
        self._worth = -1.0

    def see(self, result: Result) -> None:
        """Look at one more."""
        shares = result.shares()
        worth = shares.get("pedestrian", 0.0) + shares.get("bicyclist", 0.0) + 0.2 * shares.get("car", 0.0)
        if result.actions and result.actions[0].label != "normal":
            worth += 0.05 * result.actions[0].probability
        if worth > self._worth:
            self.drawn, self._worth = result.drawn, worth
