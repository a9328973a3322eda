"""Prints frames per second of several streams through one network, each frame alone and as batches.

    python benchmarks/batching.py
    python benchmarks/batching.py --engine onnxruntime --streams 1 4 --seconds 5 --repeats 5

First what one session takes for a frame by the length of the batch, since that decides. Then the whole pipeline: each
stream plays pictures of the scene that were drawn before, as fast as they are taken, so that the network is what the
streams share. "never" and "always" take turns, `--repeats` times, so that what else the machine does hits both; the
table has the median. "auto" is what the pipeline decides by itself as it starts, and its line says why.
"""

import argparse
import statistics
import time
from collections.abc import Iterator

import cv2
import numpy as np

from headrace.engines import Engine, open_engine
from headrace.engines.cores import usable_cores
from headrace.stream import Packet, Pipeline, open_source
from headrace.stream.arrays import U8
from headrace.stream.batching import Batching
from headrace.stream.frame import Codec
from headrace.stream.sources.base import SourceInfo

PICTURES = 25
LENGTHS = (1, 2, 4, 8)


class Drawn:
    """Plays the same pictures over and over, without end."""

    is_live = False

    def __init__(self, name: str, pictures: list[U8]) -> None:
        self.name = name
        self._pictures = pictures
        self._codec = Codec(name="rgb", fps=25.0, intra_only=True)
        self._at = 0

    def open(self) -> SourceInfo:
        """Begin."""
        height, width, _ = self._pictures[0].shape
        return SourceInfo(width=width, height=height, codec="rgb", fps=25.0)

    def read(self) -> Packet:
        """The next picture."""
        at, self._at = self._at, self._at + 1
        return Packet(
            data=self._pictures[at % len(self._pictures)],
            codec=self._codec,
            is_keyframe=True,
            pts_s=at / 25,
            arrival_ns=time.monotonic_ns(),
        )

    def close(self) -> None:
        """Nothing is held."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segment", default="street", help="a bundled network or a PATH.onnx (%(default)s)")
    parser.add_argument("--engine", default="auto", help="see headrace doctor (%(default)s)")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    pictures = [_pictures(seed) for seed in range(max(options.streams))]
    with open_engine(options.segment, engine=options.engine) as engine:
        info = engine.info
        print(f"{engine.spec.name} in {info.precision} on {info.backend} {info.version}, {engine.sessions} sessions")
        print(f"{info.device}, {usable_cores()} cores\n")
        print("one session alone, ms a frame in a batch of " + ", ".join(_bare(engine)))
        print(f"\nframes/s of all streams, median of {options.repeats} × {options.seconds:g} s")
        print(f"{'streams':>7}{'never':>9}{'always':>9}{'ratio':>8}   auto")
        for count in options.streams:
            _line(engine, pictures[:count], options.seconds, options.repeats)


def _pictures(seed: int) -> list[U8]:
    source = open_source(f"scene:street?size=640x360&fps=25&seconds={PICTURES / 25:g}&seed={seed}")
    source.open()
    packets = iter(source.read, None)
    return [packet.data for packet in packets if packet is not None and isinstance(packet.data, np.ndarray)]


def _bare(engine: Engine) -> Iterator[str]:
    """What a frame takes in batches of each length, the lengths in turn."""
    lengths = [length for length in LENGTHS if not engine.batches or length <= engine.batches[-1]]
    width, height = engine.spec.size
    feeds = {n: {engine.inputs[0].name: np.zeros((n, height, width, 3), np.uint8)} for n in lengths}
    times_ms: dict[int, list[float]] = {length: [] for length in lengths}
    with engine.session() as session:
        for turn in range(12):
            for length in lengths:
                started = time.perf_counter()
                session.infer(feeds[length])
                if turn > 1:
                    times_ms[length].append((time.perf_counter() - started) * 1e3 / length)
    for length, each_ms in times_ms.items():
        yield f"{length}: {statistics.median(each_ms):.2f}"


def _line(engine: Engine, pictures: list[list[U8]], seconds: float, repeats: int) -> None:
    runs: dict[Batching, list[float]] = {"never": [], "always": []}
    for _ in range(repeats):
        for mode, fps in runs.items():
            fps.append(_fps(engine, pictures, mode, seconds))
    never, always = (statistics.median(fps) for fps in runs.values())
    print(
        f"{len(pictures):7}{never:9.1f}{always:9.1f}{always / never:8.2f}   {_decision(engine, pictures)}", flush=True
    )


def _fps(engine: Engine, pictures: list[list[U8]], mode: Batching, seconds: float) -> float:
    sources = [Drawn(f"stream {at}", each) for at, each in enumerate(pictures)]
    with Pipeline(sources, segment=engine, batching=mode) as pipeline:
        results = iter(pipeline)
        for _ in range(4 * len(sources)):  # the first runs of an engine are not like the others
            next(results)
        started, count = time.perf_counter(), 0
        while (took := time.perf_counter() - started) < seconds:
            next(results)
            count += 1
    return count / took


def _decision(engine: Engine, pictures: list[list[U8]]) -> str:
    sources = [Drawn(f"stream {at}", each) for at, each in enumerate(pictures)]
    with Pipeline(sources, segment=engine) as pipeline:
        for _ in zip(range(len(sources)), pipeline, strict=False):
            pass
        return pipeline.networks[engine.spec.name].batching or "nothing to decide"


if __name__ == "__main__":
    main()
