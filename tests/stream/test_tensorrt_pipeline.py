"""The whole pipeline on TensorRT: files, a camera, several streams as one batch. TensorRT and pycuda are doubles.

The double runs the same ONNX file, so that what comes out must be what ONNX Runtime gives; how it gets there (device
thread, pinned memory, CUDA graphs, padded batches) is all ours.
"""

import importlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import yaml
from media import even_times, write_video
from peers import need_rtsp_server
from rtsp_server import RtspServer
from runs import books
from trt_bench import Bench, bench_of

from headrace.engines import open_engine, ov, verdicts
from headrace.models import catalog
from headrace.models.spec import TensorSpec
from headrace.stream import Pipeline, PipelineError, Result

FPS = 12.5
MANY = 5000
"""Far more frames than any test needs: reached only where what it waits for never comes."""
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
        assert found.machine.other_loggers == 0


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
    batches = [shape[0] for shape in bench.machine.ran]
    assert max(batches) == 2, "frames of both streams went as one"
    assert sum(batches) >= 2 * CLIP_FRAMES
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
    (stream,) = pipeline.stats().streams.values()
    assert (stream.ledger.rendered, stream.ledger.adds_up) == (12, True)
    assert results
    with open_engine("street", engine="onnxruntime") as engine, engine.session() as session:
        for result in results:
            height, width = engine.inputs[0].shape[1:3]
            assert height is not None
            assert width is not None
            frame = result.frame.picture.rgb((width, height))
            mask = session.infer({"frame": frame[None]})["mask"][0]
            assert result.mask is not None
            assert (result.mask == mask).mean() > 0.9999


@pytest.fixture
def small_network(tmp_path: Path) -> Path:
    """A small network with its description beside it."""
    spec = tiny_models.segmenter(tmp_path)
    told = {
        **{name: getattr(spec, name) for name in ("name", "task", "summary", "paper", "year", "parameters")},
        "size": [16, 12],
        "inputs": [port(each) for each in spec.inputs],
        "outputs": [port(each) for each in spec.outputs],
        "labels": list(spec.labels),
        "weights": {name: getattr(spec.weights, name) for name in ("licence", "trained_on", "recipe", "score")},
    }
    spec.weights.file.with_suffix(".yaml").write_text(yaml.safe_dump(told))
    return spec.weights.file


def port(tensor: TensorSpec) -> dict[str, Any]:
    return {"name": tensor.name, "shape": list(tensor.shape), "dtype": tensor.dtype, "layout": tensor.layout}


@pytest.fixture
def slow_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO as slow as beside a GPU: here both are the same processor."""
    never, run = threading.Event(), ov._OpenVinoSession._run

    def slowly(session: Any, feeds: Any, wanted: Any) -> Any:
        never.wait(0.03)
        return run(session, feeds, wanted)

    monkeypatch.setattr(ov._OpenVinoSession, "_run", slowly)


@pytest.mark.usefixtures("slow_processor")
def test_a_gpu_takes_over_between_two_frames(bench: Bench, small_network: Path) -> None:
    gate = bench.machine.gate = importlib.import_module("tensorrt.machine").Gate()
    lines: list[str] = []
    held, after = 0, 0
    seqs: list[int] = []
    with Pipeline("scene:street?size=160x120", segment=str(small_network)) as pipeline:
        for result in pipeline:
            lines += [event.text for event in pipeline.events.take()]
            seqs.append(result.frame.seq)
            backend = pipeline.networks["segmenter"].engine.backend
            held += gate.arrived.is_set()
            if held == 10:
                assert backend == "openvino"
                gate.released.set()
            after += backend == "tensorrt"
            if after == 10 or len(seqs) == MANY:
                break
    lines += [event.text for event in pipeline.events.take()]
    assert after == 10, lines
    assert seqs == list(range(len(seqs)))
    assert any("built and proven while openvino fp32 ran" in line for line in lines), lines


def test_a_run_that_ends_cancels_the_build_beside_it(bench: Bench, small_network: Path) -> None:
    gate = bench.machine.gate = importlib.import_module("tensorrt.machine").Gate()
    with Pipeline("scene:street?size=160x120", segment=str(small_network)) as pipeline:
        for count, _ in enumerate(pipeline):
            if gate.arrived.is_set() or count == MANY:
                break
    assert gate.arrived.is_set()
    assert not gate.released.is_set()
    assert bench.kept(".plan") == []


def test_a_gpu_that_fails_ends_the_run_with_one_clear_error(bench: Bench, small_network: Path) -> None:
    seen: list[int] = []

    def play() -> None:
        with Pipeline("scene:street?size=160x120", segment=str(small_network), engine="tensorrt") as pipeline:
            for result in pipeline:
                seen.append(result.frame.seq)
                if len(seen) == 5:
                    bench.gpu.fail_next("unspecified launch failure")

    with pytest.raises(PipelineError, match=r"GPU 0 .* is lost.*unspecified launch failure"):
        play()
    assert len(seen) >= 5


@pytest.mark.usefixtures("slow_processor")
def test_a_gpu_that_took_over_and_fails_gives_the_network_back(bench: Bench, small_network: Path) -> None:
    lines: list[str] = []
    seqs: list[int] = []
    failed, after = False, 0
    with Pipeline("scene:street?size=160x120", segment=str(small_network)) as pipeline:
        for result in pipeline:
            lines += [event.text for event in pipeline.events.take()]
            seqs.append(result.frame.seq)
            backend = pipeline.networks["segmenter"].engine.backend
            if backend == "tensorrt" and not failed:
                bench.gpu.fail_next("unspecified launch failure")
                failed = True
            after += failed and backend == "openvino"
            if after == 10 or len(seqs) == MANY:
                break
    lines += [event.text for event in pipeline.events.take()]
    assert after == 10, lines
    assert seqs == list(range(len(seqs)))
    assert (
        sum("tensorrt failed (" in line and "openvino fp32, which ran before, goes on" in line for line in lines) == 1
    )
    kept = {each.candidate.engine: each for each in verdicts.read(catalog.spec(str(small_network)))}
    assert kept["tensorrt"].verdict == "failed", "the next run must not begin with it"
