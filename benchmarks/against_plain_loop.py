"""Frames per second of the pipeline against a plain loop, and against what the machine could give at best.

    python benchmarks/against_plain_loop.py [VIDEO] [--segment NAME] [--rounds 3] [--also bf16 int8]

Programs run in turn, the same clip and network in each, in float32, every picture drawn:

- loop: read with OpenCV, resize, the network with OpenVINO as it comes (latency mode), tint the picture;
- headrace: the pipeline, with drawing on and nothing saved;
- headrace bf16, headrace int8: the same in another precision, where `--also` names it; int8 is made by
  `headrace build street --precision int8`;
- bare: the network alone, OpenVINO's queue of asynchronous requests in throughput mode.

What the machine could give: each frame costs the bare network's share of all cores, plus the processor time of bare
decoding, of one conversion and of drawing; all cores busy all the time give cores / (sum of these) frames a second.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import cv2
import numpy as np

from headrace.engines import Precision
from headrace.engines.quiet_openvino import openvino as ov
from headrace.models import ModelSpec, spec
from headrace.models.palette import colours
from headrace.stream import Pipeline
from headrace.stream.overlay import tinted
from headrace.stream.picture import DecodedPicture

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("video", nargs="?", type=Path, help="default: twelve seconds of the scene, saved as H.264")
    parser.add_argument("--segment", default="street")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=300, help="of the video, in each round (%(default)s)")
    parser.add_argument("--also", nargs="*", default=[], metavar="PRECISION", help="run the pipeline in these too")
    options = parser.parse_args()
    network = spec(options.segment)
    system = f"{platform.system()} {platform.release()}"
    print(f"{_processor()}, {CORES} cores, {system}, Python {platform.python_version()}")
    print(f"OpenVINO {ov.__version__.split('-')[0]} fp32, OpenCV {cv2.__version__}, PyAV {av.__version__}")
    with TemporaryDirectory() as folder:
        video = options.video or _scene_video(Path(folder) / "scene.mp4")
        _compare(video, network, options)


def _compare(video: Path, network: ModelSpec, options: argparse.Namespace) -> None:
    picture, frames = _last_frame(video, options.frames)
    width, height = network.size
    print(f"{video.name}: {picture.width}×{picture.height}, {frames} frames; {network.name} {width}×{height}\n")
    programs: dict[str, Callable[[], float]] = {
        "loop": lambda: _plain_loop(video, network, frames),
        "headrace": lambda: _headrace(video, options.segment, frames, "fp32"),
        **{f"headrace {each}": partial(_headrace, video, options.segment, frames, each) for each in options.also},
        "bare": lambda: _bare_network(network),
    }
    rates: dict[str, list[float]] = {each: [] for each in programs}
    for _ in range(options.rounds):
        for each, program in programs.items():
            rates[each].append(program())
    costs = _bare_costs(video, network, picture, frames)
    medians = {each: statistics.median(values) for each, values in rates.items()}
    for each, values in rates.items():
        print(f"{each:13} {medians[each]:7.1f} fps   ({', '.join(f'{value:.1f}' for value in values)})")
    print("bare costs in ms of one core: " + ", ".join(f"{stage} {ms:.2f}" for stage, ms in costs.items()))
    ceiling = CORES / (CORES / medians["bare"] + sum(costs.values()) / 1e3)
    print(f"ceiling       {ceiling:7.1f} fps\n")
    for each in (name for name in rates if name.startswith("headrace")):
        print(f"{each} / loop".ljust(22) + f"{statistics.median(_ratios(rates[each], rates['loop'])):.2f}")
    print("headrace / ceiling".ljust(22) + f"{medians['headrace'] / ceiling:.2f}")


def _ratios(ours: list[float], theirs: list[float]) -> list[float]:
    return [mine / other for mine, other in zip(ours, theirs, strict=True)]


def _plain_loop(video: Path, network: ModelSpec, limit: int) -> float:
    core = ov.Core()
    compiled = core.compile_model(core.read_model(network.weights.file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    cv2.setNumThreads(-1)  # as it comes
    capture = cv2.VideoCapture(str(video))
    palette, frames = colours(network), 0
    started = time.perf_counter()
    while frames < limit:
        _, picture = capture.read()
        small = cv2.cvtColor(cv2.resize(picture, network.size), cv2.COLOR_BGR2RGB)
        mask = compiled(small[None])[0][0]
        tinted(picture, mask, palette)
        frames += 1
        if frames == 1:
            started = time.perf_counter()  # the first one warms up
    capture.release()
    return (frames - 1) / (time.perf_counter() - started)


def _headrace(video: Path, name: str, limit: int, precision: Precision) -> float:
    cv2.setNumThreads(1)  # as `headrace run` has it
    started, frames = 0.0, 0
    pipeline = Pipeline(str(video), segment=name, engine="openvino", precision=precision, draw=True, frames=limit)
    with pipeline:
        for _ in pipeline:
            frames += 1
            if frames == 1:
                started = time.perf_counter()
    return (frames - 1) / (time.perf_counter() - started)


def _bare_network(network: ModelSpec, seconds: float = 4.0) -> float:
    core = ov.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "THROUGHPUT"}
    compiled = core.compile_model(core.read_model(network.weights.file), "CPU", settings)
    queue = ov.AsyncInferQueue(compiled)
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (1, network.size[1], network.size[0], 3), np.uint8)
    for _ in range(2 * len(queue)):
        queue.start_async([picture])
    queue.wait_all()
    started, frames = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        queue.start_async([picture])
        frames += 1
    queue.wait_all()
    return frames / (time.perf_counter() - started)


def _bare_costs(video: Path, network: ModelSpec, planes: av.VideoFrame, frames: int) -> dict[str, float]:
    cv2.setNumThreads(1)
    picture = DecodedPicture(planes)
    full = picture.rgb()
    mask = np.zeros((network.size[1] // 2, network.size[0] // 2), np.uint8)
    return {
        "decode": _decode_ms(video, frames),
        "convert": _cpu_ms(lambda: picture.rgb(network.size)),
        "draw": _cpu_ms(lambda: (picture.rgb(), tinted(full, mask, colours(network)))),
    }


def _decode_ms(video: Path, frames: int) -> float:
    with av.open(str(video)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        started = time.thread_time()
        for _ in islice(container.decode(video=0), frames):
            pass
        return (time.thread_time() - started) / frames * 1e3


def _cpu_ms(work: Callable[[], object], times: int = 100) -> float:
    work()
    started = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - started) / times * 1e3


def _last_frame(video: Path, limit: int) -> tuple[av.VideoFrame, int]:
    frames = 0
    with av.open(str(video)) as container:
        for frame in islice(container.decode(video=0), limit):
            last, frames = frame, frames + 1
    return last, frames


def _scene_video(path: Path) -> Path:
    """The scene as a camera would send it: 720p H.264."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        with Pipeline("scene:street?size=1280x720&fps=25&seconds=12&seed=7") as pipeline:
            for result in pipeline:
                planes = av.VideoFrame.from_ndarray(result.frame.picture.rgb(), format="rgb24")
                container.mux(stream.encode(planes))
        container.mux(stream.encode(None))
    return path


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    main()
