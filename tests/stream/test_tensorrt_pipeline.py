"""The whole pipeline on TensorRT: files, a camera, several streams as one batch. TensorRT and pycuda are doubles.

The double runs the same ONNX file, so that what comes out must be what ONNX Runtime gives; how it gets there (device
thread, pinned memory, CUDA graphs, padded batches) is all ours.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media import even_times, write_video
from peers import need_rtsp_server
from rtsp_server import RtspServer
from runs import LONG_S, books
from trt_bench import Bench, bench_of

from headrace.engines import open_engine
from headrace.stream import Pipeline, Result

FPS = 12.5
CLIP_FRAMES = 28
"""A little over the two seconds of one clip."""


@dataclass(frozen=True)
class Said:
    """What the networks said of one frame."""

    seq: int
    mask: "np.ndarray[Any, Any] | None"
    actions: tuple[tuple[str, float, float, float], ...]

    @classmethod
    def of(cls, result: Result) -> "Said":
        told = tuple((each.label, each.probability, each.start_s, each.end_s) for each in result.actions)
        return cls(result.frame.seq, result.mask, told)


@pytest.fixture(params=[10, 11], ids=["tensorrt10", "tensorrt11"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with bench_of(request.param) as found:
        yield found


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "a.mp4"
    return write_video(path, times_s=even_times(CLIP_FRAMES, FPS), size=(320, 240))


@pytest.fixture(scope="module")
def other_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "b.mp4"
    return write_video(path, times_s=even_times(CLIP_FRAMES, FPS), size=(256, 192), first_number=100)


@pytest.fixture(scope="module")
def wanted(video: Path) -> list[Said]:
    return played(video, engine="onnxruntime", segment="street", action="two_stream")["a.mp4"]


def played(*sources: Path | str, engine: str, **options: Any) -> dict[str, list[Said]]:
    """What was said of each stream's frames, by the stream's name."""
    found: dict[str, list[Said]] = {}
    with Pipeline(list(sources), engine=engine, **options) as pipeline:
        for result in pipeline:
            found.setdefault(result.frame.stream_id, []).append(Said.of(result))
        backends = {each.engine.backend for each in pipeline.networks.values()}
    assert backends == {engine}
    for stream_id in pipeline.stats().streams:
        assert books(pipeline, stream_id).keys() == {"captured", "rendered"}
    return found


def assert_same(got: Sequence[Said], want: Sequence[Said]) -> None:
    assert [each.seq for each in got] == [each.seq for each in want]
    for ours, theirs in zip(got, want, strict=True):
        assert ours.mask is not None
        assert theirs.mask is not None
        assert (ours.mask == theirs.mask).mean() > 0.9999, ours.seq
        assert [each[::2] for each in ours.actions] == [each[::2] for each in theirs.actions]
        assert np.allclose([each[1] for each in ours.actions], [each[1] for each in theirs.actions], atol=1e-5)


def test_a_file_gives_what_onnx_runtime_gives(bench: Bench, video: Path, wanted: list[Said]) -> None:
    got = played(video, engine="tensorrt", segment="street", action="two_stream")["a.mp4"]
    assert_same(got, wanted)
    assert len(got) == CLIP_FRAMES
    assert got[-1].actions, "the last frame is after the end of a clip"
    assert bench.machine.builds == 2
    assert bench.gpu.launches > CLIP_FRAMES // 2, "most frames run as a CUDA graph"


def test_the_second_run_builds_nothing(bench: Bench, video: Path, wanted: list[Said]) -> None:
    for _ in range(2):
        got = played(video, engine="tensorrt", segment="street")["a.mp4"]
    assert bench.machine.builds == 1
    assert [each.seq for each in got] == [each.seq for each in wanted]


def test_two_streams_go_as_batches(bench: Bench, video: Path, other_video: Path, wanted: list[Said]) -> None:
    both = {"segment": "street", "action": "two_stream"}
    got = played(video, other_video, engine="tensorrt", batching="always", **both)
    assert_same(got["a.mp4"], wanted)
    assert_same(got["b.mp4"], played(other_video, engine="onnxruntime", **both)["b.mp4"])


@pytest.mark.rtsp
def test_a_camera_is_segmented(bench: Bench) -> None:
    need_rtsp_server()
    camera = RtspServer()
    try:
        with Pipeline(camera.url("h264"), segment="street", engine="tensorrt", frames=12) as pipeline:
            results = list(pipeline)
    finally:
        camera.kill()
    assert len(results) == 12
    (stream,) = pipeline.stats().streams.values()
    assert stream.ledger.adds_up
    with open_engine("street", engine="onnxruntime") as engine, engine.session() as session:
        for result in results:
            height, width = engine.inputs[0].shape[1:3]
            assert height is not None
            assert width is not None
            frame = result.frame.picture.rgb((width, height))
            mask = session.infer({"frame": frame[None]})["mask"][0]
            assert result.mask is not None
            assert (result.mask == mask).mean() > 0.9999
    assert LONG_S
