"""Sessions on the GPU: memory, graphs, overlap, outputs by the data, and the ways in which a run fails."""

import gc
import importlib
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from contracts import in_threads
from onnx import TensorProto, helper
from trt_bench import Bench

from headrace.engines import BuildError, EngineInputError, InferError, MissingBackendError, PrecisionError, Session
from headrace.engines.errors import DeviceError
from headrace.models.spec import ModelSpec, TensorSpec


def frames(batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    shape = (batch, 12, 16, 3)
    return {"frame": np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)}


def selector(folder: Path) -> ModelSpec:
    """x uint8 (B, 6) → y float32 (B, 6), and where it is not 0: at int64 (2, any)."""
    nodes = [
        helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT),
        helper.make_node("NonZero", ["y"], ["at"]),
    ]
    x = tiny_models.tensor("x", (None, 6), "uint8", "BC")
    y = tiny_models.tensor("y", (None, 6), "float32", "BC")
    at = TensorSpec(name="at", shape=(2, None), dtype="int64", layout="DN")
    path = folder / "selector.onnx"
    graph = helper.make_graph(
        nodes,
        "selector",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["batch", 6])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 6]),
            helper.make_tensor_value_info("at", TensorProto.INT64, [2, "found"]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    return tiny_models.described(path, (x,), (y, at))


# Graphs


def test_a_batch_length_becomes_a_graph_after_its_first_run(bench: Bench, segmenter: ModelSpec) -> None:
    with bench.open(segmenter) as engine, engine.session() as session:
        want = [session.infer(frames(3, seed))["mask"] for seed in range(4)]
        assert bench.gpu.launches == 3
        session.infer(frames(4))  # the length that 3 is padded to
        assert bench.gpu.launches == 4
        session.infer(frames(1))
        assert bench.gpu.launches == 4
        assert session._lane.graphs == (1, 4)
        np.testing.assert_array_equal(session.infer(frames(3, 2))["mask"], want[2])
        assert engine.notes == []


@pytest.mark.parametrize("call", ["cuStreamBeginCapture_v2", "cuStreamEndCapture", "cuGraphInstantiateWithFlags"])
def test_without_graphs_it_runs_as_well_and_says_so_once(bench: Bench, segmenter: ModelSpec, call: str) -> None:
    with bench.open(segmenter) as engine, engine.session() as session:
        bench.gpu.refuse(call, 801)
        masks = [session.infer(frames(1))["mask"] for _ in range(3)]
        np.testing.assert_array_equal(masks[0], masks[2])
        assert bench.gpu.launches == 0
        (note,) = engine.notes
        assert note == f"segmenter: runs without a CUDA graph: {call}: CUDA_ERROR_NOT_SUPPORTED"


# Memory


def test_a_session_that_does_not_fit_is_refused_with_what_it_needs(bench: Bench, segmenter: ModelSpec) -> None:
    bench.machine.context_bytes = 40_000_000
    bench.gpu.set_memory(100_000_000)
    frame = frames(1)
    with bench.open(segmenter) as engine:
        sessions = [engine.session(), engine.session()]
        with pytest.raises(
            DeviceError, match=r"segmenter: one more session needs 40\.0 MB .* and 20\.0 MB are free; use"
        ):
            engine.session()
        sessions.pop().close()
        with engine.session() as another:
            np.testing.assert_array_equal(another.infer(frame)["mask"], sessions[0].infer(frame)["mask"])
        sessions.pop().close()


def test_every_batch_length_of_a_session_shares_its_memory(bench: Bench, segmenter: ModelSpec) -> None:
    bench.machine.context_bytes = 10_000_000
    with bench.open(segmenter) as engine, engine.session() as session:
        session.infer(frames(1))
        held = bench.gpu.held_bytes
        for batch in (1, 2, 4, 8):
            session.infer(frames(batch))
        assert bench.machine.contexts == 4
        assert bench.gpu.held_bytes == held < 11_000_000


def test_pinned_memory_that_is_refused_leaves_nothing_behind(bench: Bench, segmenter: ModelSpec) -> None:
    with bench.open(segmenter) as engine:
        bench.gpu.set_memory(1 << 30, host_limit=5000)
        with pytest.raises(DeviceError, match=r"the host has no .* left that can be pinned"):
            engine.session()
        assert bench.gpu.held_bytes == bench.gpu.held_host_bytes == 0


def test_a_graph_that_the_driver_does_not_launch_is_given_up(bench: Bench, segmenter: ModelSpec) -> None:
    with bench.open(segmenter) as engine, engine.session() as session:
        want = session.infer(frames(1))["mask"]
        assert session._lane.graphs == (1,)
        bench.gpu.refuse("cuGraphLaunch", 2)
        for _ in range(2):
            np.testing.assert_array_equal(session.infer(frames(1))["mask"], want)
        assert engine.notes == [
            "segmenter: runs without a CUDA graph: cuGraphLaunch failed: CUDA_ERROR_OUT_OF_MEMORY"
        ]
        assert session._lane.graphs == ()
        assert bench.gpu.open_graphs == 0


def test_no_graph_is_recorded_while_another_network_is_built(
    bench: Bench, segmenter: ModelSpec, tmp_path: Path
) -> None:
    """A build may wait for the whole GPU, which fails while a graph is recorded, and spoils it."""
    with bench.open(segmenter) as engine, engine.session() as session:
        gate = bench.machine.gate = importlib.import_module("tensorrt.machine").Gate()
        building = threading.Thread(target=lambda: bench.open(tiny_models.running_total(tmp_path)).close())
        building.start()
        assert gate.arrived.wait(30)
        for _ in range(2):
            session.infer(frames(2))
        assert session._lane.graphs == ()
        gate.released.set()
        building.join()
        session.infer(frames(2))
        assert session._lane.graphs == (2,)
        assert engine.notes == []


def test_what_a_refused_graph_leaves_behind_fails_no_run(
    bench: Bench, segmenter: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT's CUDA runtime keeps the error of a broken capture for the next call on its thread."""

    def refused(graph: Any, stream_handle: int, enqueue: Any) -> bool:
        bench.machine.run_failure = "Error Code 1: Cuda Runtime (operation failed due to a previous error)"
        graph.trouble = "it is refused"
        return False

    with bench.open(segmenter) as engine, engine.session() as session:
        monkeypatch.setattr(bench.module("prepared").Graph, "capture", refused)
        want = session.infer(frames(1))["mask"]
        np.testing.assert_array_equal(session.infer(frames(1))["mask"], want)
        assert engine.notes == ["segmenter: runs without a CUDA graph: it is refused"]


# Side by side


def test_one_lanes_work_is_queued_while_another_runs(bench: Bench, segmenter: ModelSpec) -> None:
    """Each stream's pieces run in order, and pieces of both are in flight at once."""
    both = threading.Barrier(2)
    with bench.open(segmenter) as engine:

        def work() -> None:
            with engine.session() as session:
                both.wait(30)
                for seed in range(30):
                    session.infer(frames(1, seed))

        in_threads([work, work])
        journal = bench.gpu.journal()
    in_flight: dict[int, int] = {}
    most = 0
    for verb, stream, _ in journal:
        in_flight[stream] = in_flight.get(stream, 0) + (1 if verb == "queued" else -1)
        most = max(most, sum(1 for pieces in in_flight.values() if pieces))
    assert set(in_flight.values()) == {0}
    assert most == 2


# Outputs by the data


def test_an_output_whose_length_the_data_decides(bench: Bench, tmp_path: Path) -> None:
    with bench.open(selector(tmp_path)) as engine, engine.session() as session:
        assert engine.batches == ()
        for ones in (0, 3, 18, 1):
            x = np.zeros((3, 6), np.uint8)
            x.reshape(-1)[:ones] = 1
            out = session.infer({"x": x})
            np.testing.assert_array_equal(out["at"], np.stack(np.nonzero(x)))
            np.testing.assert_array_equal(out["y"], x)
        assert set(session.infer({"x": x}, outputs=["at"])) == {"at"}
        assert bench.gpu.launches == 0
        with pytest.raises(
            EngineInputError, match=r"selector: got a batch of 9, allowed: up to 8, because its outputs'"
        ):
            session.infer({"x": np.zeros((9, 6), np.uint8)})
        assert engine.notes == []


def test_an_output_that_outgrows_the_memory(bench: Bench, tmp_path: Path) -> None:
    with bench.open(selector(tmp_path)) as engine, engine.session() as session:
        x = np.zeros((1, 6), np.uint8)
        session.infer({"x": x})
        bench.gpu.set_memory(bench.gpu.held_bytes)
        with pytest.raises(DeviceError, match=r"selector on tensorrt: .*out of memory"):
            session.infer({"x": x + 1})
        bench.gpu.set_memory(1 << 30)
        assert session.infer({"x": x + 1})["at"].shape == (2, 6)


# Failures


def test_a_run_that_tensorrt_refuses(bench: Bench, segmenter: ModelSpec) -> None:
    with bench.open(segmenter) as engine, engine.session() as session:
        want = session.infer(frames(2))["mask"]
        session.infer(frames(3))
        bench.machine.run_failure = "Error Code 1: Cask (Cask convolution execution)"
        with pytest.raises(InferError, match=r"segmenter on tensorrt: .*Cask convolution execution"):
            session.infer(frames(1))
        np.testing.assert_array_equal(session.infer(frames(2))["mask"], want)


def test_an_error_on_the_gpu_ends_every_lane(bench: Bench, segmenter: ModelSpec) -> None:
    """Nothing is tried again in a broken context; closing still frees what the driver lets go."""
    engine = bench.open(segmenter)
    sessions: list[Session] = [engine.session(), engine.session()]
    for session in sessions:
        session.infer(frames(1))
    bench.gpu.fail_next()
    for session in (*sessions, *sessions):
        with pytest.raises(DeviceError, match=r"GPU 0 \(Double H9\) is lost: .*; start the program again"):
            session.infer(frames(1))
    with pytest.raises(DeviceError, match="is lost"):
        engine.session()
    for session in sessions:
        session.close()
    engine.close()


def test_a_version_outside_the_range(bench: Bench, segmenter: ModelSpec) -> None:
    for version in ("10.12.0.36", "8.6.1", "12.0.0.1"):
        bench.machine.version = version
        with pytest.raises(
            MissingBackendError, match=rf"TensorRT {version} is not supported; supported: 10\.13 to 11\.x"
        ):
            bench.open(segmenter)


def test_the_file_decides_the_precision(bench: Bench, tmp_path: Path) -> None:
    spec = tiny_models.segmenter(tmp_path)
    with pytest.raises(
        PrecisionError, match=r"segmenter\.onnx: asked for fp16; tensorrt runs it in fp32, as the file is"
    ):
        bench.open(spec, precision="fp16")
    assert bench.machine.builds == 0
    bench.open(spec).close()
    spec.weights.file.unlink()
    with pytest.raises(PrecisionError, match="asked for fp16"):
        bench.open(spec, precision="fp16")


@pytest.mark.parametrize(("kind", "precision"), [("float16", "fp16"), ("float32", "fp32")])
def test_a_half_file_is_called_fp16(bench: Bench, tmp_path: Path, kind: str, precision: str) -> None:
    number = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], to=number),
        helper.make_node("MatMul", ["half", "w"], ["product"]),
        helper.make_node("Cast", ["product"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["y"]),
    ]
    weights = [
        helper.make_tensor("w", number, (3, 3), np.eye(3).reshape(-1)),
        helper.make_tensor("scale", TensorProto.FLOAT, (1,), [2.0]),
    ]
    graph = helper.make_graph(nodes, "half", [x], [y], weights)
    path = tmp_path / "half.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()
    )
    spec = tiny_models.described(
        path,
        (tiny_models.tensor("x", (None, 3), "float32", "BC"),),
        (tiny_models.tensor("y", (None, 3), "float32", "BC"),),
    )
    with bench.open(spec, precision=precision) as engine, engine.session() as session:
        assert engine.info.precision == precision
        np.testing.assert_array_equal(session.infer({"x": np.ones((2, 3), np.float32)})["y"], np.full((2, 3), 2.0))


def test_a_plan_that_does_not_run_any_batch_is_a_build_error(bench: Bench, tmp_path: Path) -> None:
    spec = tiny_models.fails_on_odd_batches(tmp_path)
    with pytest.raises(BuildError, match="the plan does not run: a batch of 3 is refused"):
        bench.open(spec, max_batch=3)


# What it says of itself


def test_info_names_library_and_gpu(bench: Bench, segmenter: ModelSpec) -> None:
    with bench.open(segmenter, max_batch=2) as engine:
        assert engine.info.version == bench.machine.version
        assert engine.info.device == "Double H9 (9.0)"
        assert engine.batches == (1, 2)
        assert engine.sessions == 2


def test_a_network_with_fixed_shapes_takes_just_these(bench: Bench, tmp_path: Path) -> None:
    x = tiny_models.tensor("x", (2, 3), "float32", "BC")
    path = tmp_path / "fixed.onnx"
    tiny_models._save(path, [helper.make_node("Relu", ["x"], ["y"])], {}, (x,), (replace(x, name="y"),))
    spec = tiny_models.described(path, (x,), (replace(x, name="y"),))
    with bench.open(spec) as engine, engine.session() as session:
        assert engine.batches == (2,)
        out: Mapping[str, Any] = session.infer({"x": -np.ones((2, 3), np.float32)})
        np.testing.assert_array_equal(out["y"], np.zeros((2, 3)))


def test_a_description_that_fixes_the_batch_of_a_file_gets_whole_batches(bench: Bench, segmenter: ModelSpec) -> None:
    with bench.open(segmenter) as engine, engine.session() as session:
        want = session.infer(frames(4))["mask"]
    fixed = replace(segmenter, inputs=(replace(segmenter.inputs[0], shape=(4, 12, 16, 3)),))
    with bench.open(fixed) as engine, engine.session() as session:
        assert engine.batches == (4,)
        np.testing.assert_array_equal(session.infer(frames(4))["mask"], want)


@pytest.mark.parametrize("batch", [1, 4])
def test_the_state_of_a_fixed_batch_has_that_batch(bench: Bench, tmp_path: Path, batch: int) -> None:
    spec = tiny_models.running_total(tmp_path)
    fixed = replace(spec, inputs=(replace(spec.inputs[0], shape=(batch, 4)),))
    x = np.arange(batch * 4, dtype=np.float32).reshape(batch, 4)
    with bench.open(fixed) as engine, engine.session() as session:
        for calls in (1, 2, 3):
            out = session.infer({"x": x})
            np.testing.assert_array_equal(out["y"], calls * x)
            np.testing.assert_array_equal(out["count"], np.full((batch, 1), calls))


@pytest.mark.parametrize(("shape", "layout"), [((12, 16, 3), "HWC"), ((), "")])
def test_a_network_may_have_no_batch_at_all(
    bench: Bench, tmp_path: Path, shape: tuple[int, ...], layout: str
) -> None:
    x = tiny_models.tensor("x", shape, "float32", layout)
    path = tmp_path / "alone.onnx"
    tiny_models._save(path, [helper.make_node("Relu", ["x"], ["y"])], {}, (x,), (replace(x, name="y"),))
    given = np.random.default_rng(3).normal(size=shape).astype(np.float32).reshape(shape)
    with (
        bench.open(tiny_models.described(path, (x,), (replace(x, name="y"),))) as engine,
        engine.session() as session,
    ):
        assert engine.batches == (1,)
        for _ in range(2):
            np.testing.assert_array_equal(session.infer({"x": given})["y"], np.maximum(given, 0))


def test_an_output_may_have_no_elements(bench: Bench, tmp_path: Path) -> None:
    x = tiny_models.tensor("x", (None, 3), "float32", "BC")
    y, none = replace(x, name="y"), tiny_models.tensor("none", (None, 0), "float32", "BC")
    path = tmp_path / "none.onnx"
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Slice", ["x", "one", "one", "one"], ["none"])]
    tiny_models._save(path, nodes, {"one": np.array([1], np.int64)}, (x,), (y, none))
    with bench.open(tiny_models.described(path, (x,), (y, none))) as engine, engine.session() as session:
        for _ in range(2):
            out = session.infer({"x": np.ones((3, 3), np.float32)})
            assert (out["none"].shape, out["y"].shape) == ((3, 0), (3, 3))


# Beside others in one process


def test_what_fails_while_another_network_is_open_says_why_and_outlives_it(
    bench: Bench, segmenter: ModelSpec, tmp_path: Path
) -> None:
    """TensorRT uses the first logger that it is given, and its plugins the last, however long these live."""
    first = bench.open(segmenter)
    bench.machine.build_failure = "Error Code 10: Could not find any implementation for node Conv_3."
    with pytest.raises(BuildError, match=r"Could not find any implementation for node Conv_3\.; try"):
        bench.open(tiny_models.running_total(tmp_path))
    gc.collect()
    with first, first.session() as session:
        assert session.infer(frames(1))["mask"].shape == (1, 12, 16)
