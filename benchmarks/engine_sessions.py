"""Prints frames per second and times of a network by sessions, threads and pinning.

    python benchmarks/engine_sessions.py street
    python benchmarks/engine_sessions.py street --engine onnxruntime --beside 1
    python benchmarks/engine_sessions.py path/to/net.onnx --seconds 5 --repeats 5

Every session runs on a thread of its own and calls `infer` in a loop, batch 1. The settings take turns,
`--repeats` times, so that what else the machine does hits all of them; the table has the median of the repeats.
`cpu ms` is the processor time of this process per frame, which a busy machine disturbs least. `--beside N` runs
N threads beside it that scale pictures without pause, as decoding and drawing would; `side/s` is how many they
managed, and their processor time is in `cpu ms` too.
"""

import argparse
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np

from headrace.engines import Engine
from headrace.engines.cores import usable_cores
from headrace.models import ModelSpec, spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One line of the table."""

    sessions: int
    threads: int
    pinned: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one run gave."""

    fps: float
    p50_ms: float
    p95_ms: float
    cpu_ms: float
    """Processor time per frame, all threads of this process; counts the work beside it too."""
    side_per_s: float


def main() -> None:
    """Measure and print."""
    options = _options()
    network = spec(options.model)
    settings = _settings(options.engine)
    runs: dict[Setting, list[Measured]] = {setting: [] for setting in settings}
    for _ in range(options.repeats):
        for setting in settings:
            with _opened(network, options.engine, options.precision, setting) as engine:
                info = engine.info
                runs[setting].append(_measure(engine, setting.sessions, options.seconds, options.beside))
    print(f"{network.name} in {info.precision} on {info.backend} {info.version}")
    print(f"{info.device}, {usable_cores()} cores")
    print(f"{options.repeats} × {options.seconds:g} s each, {options.beside} threads beside")
    print("sessions  threads  pinned  frames/s  p50 ms  p95 ms  cpu ms  side/s   frames/s of each repeat")
    for setting, measured in runs.items():
        print(_line(setting, measured))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a bundled network or a PATH.onnx with its description beside it")
    parser.add_argument("--engine", choices=("openvino", "onnxruntime"), default="openvino")
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16", "int8"))
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--beside", type=int, default=0, help="threads that scale pictures meanwhile")
    return parser.parse_args()


def _settings(engine: str) -> list[Setting]:
    """One thread; all cores on one session, shared out, and over-subscribed; pinned where the engine can."""
    cores = usable_cores()
    shares = dict.fromkeys([(1, 1), (1, cores), (2, cores), (cores, cores), (2 * cores, cores)])
    pins = (False, True) if engine == "openvino" else (False,)
    return [Setting(sessions=s, threads=t, pinned=p) for s, t in shares for p in pins]


def _opened(network: ModelSpec, backend: str, precision: str | None, setting: Setting) -> Engine:
    if backend == "openvino":
        from headrace.engines.ov import OpenVinoEngine

        return OpenVinoEngine(
            network,
            precision=precision,  # type: ignore[arg-type]
            sessions=setting.sessions,
            threads=setting.threads,
            pinned=setting.pinned,
        )
    from headrace.engines.ort import OnnxRuntimeEngine

    return OnnxRuntimeEngine(network, precision=precision, sessions=setting.sessions, threads=setting.threads)  # type: ignore[arg-type]


def _measure(engine: Engine, sessions: int, seconds: float, beside: int) -> Measured:
    times_s: list[float] = []
    stop = threading.Event()
    ready = threading.Barrier(sessions + 1)

    def run() -> None:
        feeds = {each.name: _random(each.shape, each.dtype) for each in engine.inputs}
        with engine.session() as session:
            for _ in range(3):
                session.infer(feeds)
            ready.wait()
            while not stop.is_set():
                begin = time.perf_counter()
                session.infer(feeds)
                times_s.append(time.perf_counter() - begin)

    with _side_work(beside) as side:
        threads = [threading.Thread(target=run) for _ in range(sessions)]
        for thread in threads:
            thread.start()
        ready.wait()
        begin, begin_cpu, begin_side = time.perf_counter(), time.process_time(), sum(side)
        stop.wait(seconds)
        stop.set()
        for thread in threads:
            thread.join()
        took, cpu, done = time.perf_counter() - begin, time.process_time() - begin_cpu, sum(side) - begin_side
    p50, p95 = np.percentile(times_s, (50, 95)) * 1e3
    return Measured(
        fps=len(times_s) / took,
        p50_ms=float(p50),
        p95_ms=float(p95),
        cpu_ms=cpu / len(times_s) * 1e3,
        side_per_s=done / took,
    )


def _random(shape: tuple[int | None, ...], dtype: str) -> np.ndarray:
    lengths = [1 if length is None else length for length in shape]
    numbers = np.random.default_rng(0)
    return numbers.integers(0, 256, lengths, np.uint8) if dtype == "uint8" else numbers.random(lengths).astype(dtype)


@contextmanager
def _side_work(threads: int) -> Iterator[list[int]]:
    """Scale 1080p pictures on some threads; yields how many each has done."""
    done = [0] * threads
    stop = threading.Event()
    picture = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), np.uint8)
    cv2.setNumThreads(1)

    def scale(at: int) -> None:
        while not stop.is_set():
            cv2.resize(picture, (640, 384), interpolation=cv2.INTER_AREA)
            done[at] += 1

    workers = [threading.Thread(target=scale, args=(at,)) for at in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield done
    finally:
        stop.set()
        for worker in workers:
            worker.join()


def _line(setting: Setting, runs: list[Measured]) -> str:
    def median(name: str) -> float:
        return float(statistics.median(getattr(run, name) for run in runs))

    pinned = "yes" if setting.pinned else "no"
    figures = f"{median('fps'):8.1f}  {median('p50_ms'):6.1f}  {median('p95_ms'):6.1f}  {median('cpu_ms'):6.1f}"
    each = " ".join(f"{run.fps:.1f}" for run in runs)
    return f"{setting.sessions:8}  {setting.threads:7}  {pinned:>6}  {figures}  {median('side_per_s'):6.0f}   {each}"


if __name__ == "__main__":
    main()
