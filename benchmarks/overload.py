"""What happens when the network is slower than the camera: the age of the picture, memory and the books, each second.

    python benchmarks/overload.py [--seconds 300]

A file is played at 30 frames a second as a camera would send it, over and over, into an engine that takes 80 ms a
frame: 12.5 of 30 frames can be kept. The age at render must stay at p95 ≤ 80 ms + 1.5 frame periods + rendering, must
not grow, memory must be flat, and captured = rendered + dropped + in flight at every second.
"""

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np

from headrace.engines import Engine, Session
from headrace.engines.base import EngineInfo
from headrace.engines.inputs import Array
from headrace.engines.ports import Ports
from headrace.models import spec
from headrace.stream import Pipeline

ENGINE_MS = 80.0
FPS = 30


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=300.0)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        video = _scene_video(Path(folder) / "camera.mp4")
        _watch(video, options.seconds)


def _watch(video: Path, seconds: float) -> None:
    ages: list[list[float]] = [[]]
    memory: list[float] = []
    wrong = 0
    pipeline = Pipeline(str(video), segment=SlowEngine(), pace="live", loop=True, draw=True)
    print(f"{'s':>4}{'age p50':>10}{'age p95':>10}{'MB':>8}   books")
    with pipeline:
        started = next_s = time.monotonic()
        for result in pipeline:
            ages[-1].append(result.age_ms)
            now_s = time.monotonic()
            if now_s < next_s:
                continue
            next_s += 1.0
            (stream,) = pipeline.stats().streams.values()
            wrong += not stream.ledger.adds_up
            memory.append(_resident_mb())
            if len(memory) % 30 == 1 and ages[-1]:
                p50, p95 = np.percentile(ages[-1], (50, 95))
                books = stream.ledger
                print(
                    f"{now_s - started:4.0f}{p50:10.1f}{p95:10.1f}{memory[-1]:8.1f}   captured {books.captured} ="
                    f" rendered {books.rendered} + dropped {sum(books.dropped.values())} + in flight {books.in_flight}",
                    flush=True,
                )
                ages.append([])
            if now_s - started > seconds:
                break
    _verdict(ages, memory, wrong, pipeline)


def _verdict(ages: list[list[float]], memory: list[float], wrong: int, pipeline: Pipeline) -> None:
    (stream,) = pipeline.stats().streams.values()
    steady = ages[1:]  # the first second warms up
    everything = np.concatenate(steady)
    bound_ms = ENGINE_MS + 1.5 * 1e3 / FPS + stream.stage_ms["render"].p95
    thirds = np.array_split(everything, 3)
    print(f"\nage p50 {np.percentile(everything, 50):.1f} ms, p95 {np.percentile(everything, 95):.1f} ms,")
    render_ms = stream.stage_ms["render"].p95
    print(f"bound {ENGINE_MS:g} + 1.5 × {1e3 / FPS:.1f} + render {render_ms:.1f} = {bound_ms:.1f} ms")
    print("age p95 by thirds of the run: " + ", ".join(f"{np.percentile(third, 95):.1f}" for third in thirds) + " ms")
    print(f"memory after a tenth of the run {memory[len(memory) // 10]:.1f} MB, at its end {memory[-1]:.1f} MB")
    print(f"seconds in which the books did not add up: {wrong} of {len(memory)}")
    print(pipeline.stats())


class SlowEngine(Engine):
    """Takes its time and finds nothing."""

    def __init__(self) -> None:
        of = spec("street")
        info = EngineInfo(backend="slow", version="1", device="none", precision="fp32")
        super().__init__(of, Ports(inputs=of.inputs, outputs=of.outputs, state=()), info, sessions=1)

    def _open_session(self) -> Session:
        return _SlowSession(self)

    def _release(self) -> None:
        pass


class _SlowSession(Session):
    def _run(self, feeds: Mapping[str, Array], wanted: tuple[str, ...]) -> dict[str, Array]:
        time.sleep(ENGINE_MS / 1e3)
        return {"mask": np.zeros((1, 180, 240), np.uint8)}

    def _release(self) -> None:
        pass


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def _scene_video(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        with Pipeline(f"scene:street?size=640x360&fps={FPS}&seconds=10&seed=7") as pipeline:
            for result in pipeline:
                planes = av.VideoFrame.from_ndarray(result.frame.picture.rgb(), format="rgb24")
                container.mux(stream.encode(planes))
        container.mux(stream.encode(None))
    return path


if __name__ == "__main__":
    main()
