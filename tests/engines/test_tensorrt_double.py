"""TensorRT's double keeps the contracts of the real library that our code relies on, with and against it."""

import importlib
import threading
from collections.abc import Iterator
from typing import Any

import graphs
import numpy as np
import pytest
from doubled import Doubles, doubled

SHAPES = {"x": ((1, 3), (2, 3), (4, 3))}
WIDER = {"x": ((1, 3), (8, 3), (8, 3))}


def doubling(factor: float = 2.0, operator: str = "Relu") -> bytes:
    """x uint8 (B, 3) → y float32 (B, 3), each value times the factor."""
    nodes = [
        graphs.node("Cast", ["x"], ["f"], to=graphs.FLOAT),
        graphs.node("Mul", ["f", "k"], ["m"], name="times"),
        graphs.node(operator, ["m"], ["y"], name="last"),
    ]
    ports = {"x": (graphs.UINT8, ["B", 3])}, {"y": (graphs.FLOAT, ["B", 3])}
    data: bytes = graphs.network(nodes, *ports, {"k": np.float32(factor)}).SerializeToString()
    return data


def finding() -> bytes:
    """x uint8 (B, 3) → where int64 (2, ?): the places of what is not 0."""
    nodes = [
        graphs.node("Cast", ["x"], ["f"], to=graphs.FLOAT),
        graphs.node("NonZero", ["f"], ["where"]),
    ]
    ports = {"x": (graphs.UINT8, ["B", 3])}, {"where": (graphs.INT64, [2, "n"])}
    data: bytes = graphs.network(nodes, *ports).SerializeToString()
    return data


class Rig:
    """The library on a GPU whose context is current on the test's thread, with a log that is kept."""

    def __init__(self, doubles: Doubles) -> None:
        self.trt: Any = importlib.import_module("tensorrt")
        self.machine: Any = importlib.import_module("tensorrt.machine").machine
        self.callbacks: Any = importlib.import_module("headrace.engines.trt.callbacks")
        self.driver = doubles.driver
        self.gpu = doubles.gpu
        self.log = self.callbacks.Log()

    def build(self, network: bytes, *profiles: Any, flags: tuple[str, ...] = (), monitor: Any = None) -> Any:
        trt = self.trt
        builder = trt.Builder(self.log.native)
        described = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(described, self.log.native)
        assert parser.parse(network), [str(parser.get_error(at)) for at in range(parser.num_errors)]
        config = builder.create_builder_config()
        config.progress_monitor = monitor
        for flag in flags:
            config.set_flag(getattr(trt.BuilderFlag, flag))
        for shapes in profiles:
            profile = builder.create_optimization_profile()
            for name, three in shapes.items():
                profile.set_shape(name, *three)
            config.add_optimization_profile(profile)
        return builder.build_serialized_network(described, config)

    def load(self, plan: Any) -> Any:
        return self.trt.Runtime(self.log.native).deserialize_cuda_engine(plan)

    def refusals(self, network: bytes) -> list[str]:
        """What the parser refuses."""
        described = self.trt.Builder(self.log.native).create_network(0)
        parser = self.trt.OnnxParser(described, self.log.native)
        parser.parse(network)
        return [
            f"{each.code().name} {each.node_operator()}" for each in map(parser.get_error, range(parser.num_errors))
        ]

    def run(self, context: Any, array: Any, length: int = 3) -> Any:
        """The output of one run on a stream of its own."""
        stream = self.driver.Stream()
        held = self.driver.mem_alloc(max(1, array.nbytes)), self.driver.mem_alloc(len(array) * length * 4)
        result = np.empty((len(array), length), np.float32)
        assert context.set_input_shape("x", array.shape)
        assert context.set_tensor_address("x", int(held[0]))
        assert context.set_tensor_address("y", int(held[1]))
        self.driver.memcpy_htod_async(held[0], array, stream)
        assert context.execute_async_v3(stream.handle)
        self.driver.memcpy_dtoh_async(result, held[1], stream)
        stream.synchronize()
        return result


@pytest.fixture(params=[10, 11], ids=["tensorrt10", "tensorrt11"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with doubled(request.param) as doubles:
        driver = doubles.driver
        driver.init()
        context = driver.Device(0).retain_primary_context()
        context.push()
        try:
            yield Rig(doubles)
        finally:
            driver.Context.pop()


def test_a_run_computes_what_the_network_says(rig: Rig) -> None:
    context = rig.load(rig.build(doubling(), SHAPES)).create_execution_context()
    frame = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert np.array_equal(rig.run(context, frame), frame * 2.0)


def test_a_profile_change_forgets_the_shapes(rig: Rig) -> None:
    context = rig.load(rig.build(doubling(), SHAPES, WIDER)).create_execution_context()
    assert context.infer_shapes() == ["x"]
    assert context.set_input_shape("x", (4, 3))
    assert (context.infer_shapes(), tuple(context.get_tensor_shape("y"))) == ([], (4, 3))
    stream = rig.driver.Stream()
    assert context.set_optimization_profile_async(1, stream.handle)
    assert (context.infer_shapes(), tuple(context.get_tensor_shape("y"))) == (["x"], (-1, 3))
    assert context.set_input_shape("x", (8, 3))
    assert not context.set_optimization_profile_async(2, stream.handle)


def test_what_does_not_fit_is_false_and_told(rig: Rig) -> None:
    context = rig.load(rig.build(doubling(), SHAPES)).create_execution_context()
    recorder = context.error_recorder = rig.callbacks.Errors()
    for refused, said in (
        (lambda: context.set_input_shape("x", (5, 3)), "does not satisfy optimization profile 0"),
        (lambda: context.set_input_shape("y", (1, 3)), "no input is named y"),
        (lambda: context.set_tensor_address("x", 128), "not aligned to 256"),
        (lambda: context.execute_async_v3(16), "the shape of input x is not set"),
    ):
        assert refused() is False
        assert said in recorder.why()
    assert context.set_input_shape("x", (1, 3))
    assert context.execute_async_v3(16) is False
    assert "Neither address or allocator is set for input tensor x" in recorder.why()


def test_memory_of_the_callers_must_be_given(rig: Rig) -> None:
    engine = rig.load(rig.build(doubling(), SHAPES))
    held = rig.gpu.held_bytes
    context = engine.create_execution_context(rig.trt.ExecutionContextAllocationStrategy.USER_MANAGED)
    assert rig.gpu.held_bytes == held
    recorder = context.error_recorder = rig.callbacks.Errors()
    with pytest.raises(AssertionError):
        rig.run(context, np.ones((1, 3), np.uint8))
    assert "call setDeviceMemory" in recorder.why()
    memory = rig.driver.mem_alloc(engine.device_memory_size_v2)
    context.set_device_memory(int(memory), engine.device_memory_size_v2 - 1)
    assert "needed" in recorder.why()
    context.set_device_memory(int(memory), engine.device_memory_size_v2)
    assert np.array_equal(rig.run(context, np.ones((1, 3), np.uint8)), np.full((1, 3), 2.0))


def test_a_context_takes_device_memory_and_is_none_without(rig: Rig) -> None:
    engine = rig.load(rig.build(doubling(), SHAPES))
    held = rig.gpu.held_bytes
    context = engine.create_execution_context()
    assert rig.gpu.held_bytes == held + engine.device_memory_size_v2
    rig.gpu.set_memory(rig.gpu.held_bytes + 10)
    assert engine.create_execution_context() is None
    assert "OutOfMemory" in rig.log.why()
    del context
    assert rig.gpu.held_bytes == held
    assert rig.machine.contexts == 0


def test_an_output_whose_size_depends_on_data_goes_through_the_allocator(rig: Rig) -> None:
    context = rig.load(rig.build(finding(), SHAPES)).create_execution_context()
    stream, memory = rig.driver.Stream(), rig.driver.mem_alloc(256)
    found = rig.driver.mem_alloc(1024)
    allocator = rig.callbacks.OutputMemory(lambda size: int(found))
    rig.driver.memcpy_htod_async(memory, np.array([[0, 4, 5], [6, 0, 0]], np.uint8), stream)
    assert context.set_input_shape("x", (2, 3))
    assert context.set_tensor_address("x", int(memory))
    assert tuple(context.get_tensor_shape("where")) == (2, -1)
    assert context.set_tensor_address("where", int(found))
    assert context.execute_async_v3(stream.handle) is False
    assert "it needs an allocator" in rig.log.why()
    assert context.set_output_allocator("where", allocator)
    assert context.execute_async_v3(stream.handle)
    places = np.empty((2, 3), np.int64)
    rig.driver.memcpy_dtoh_async(places, found, stream)
    stream.synchronize()
    assert allocator.shape == (2, 3)
    assert places.tolist() == [[0, 0, 1], [1, 2, 0]]


def test_two_threads_in_one_context_are_caught(rig: Rig) -> None:
    context = rig.load(rig.build(doubling(), SHAPES)).create_execution_context()
    context.set_input_shape("x", (1, 3))
    current, caught = rig.driver.Context.get_current(), []

    def other(push: bool) -> None:
        if push:
            current.push()
        try:
            context.set_input_shape("x", (1, 3))
        except AssertionError as error:
            caught.append(str(error))
        finally:
            if push:
                type(current).pop()

    for push in (True, False):
        thread = threading.Thread(target=other, args=(push,))
        thread.start()
        thread.join()
    assert "two threads use one execution context" in caught[0]
    assert "no CUDA context is current in this thread" in caught[1]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"version": "11.9.0.1"}, "not compatible with this version"),
        ({"platform": "windows x86_64"}, "Platform specific tag mismatch"),
    ],
)
def test_a_plan_from_elsewhere_is_refused(rig: Rig, changed: dict[str, str], said: str) -> None:
    plan = rig.build(doubling(), SHAPES)
    for name, value in changed.items():
        setattr(rig.machine, name, value)
    assert rig.load(plan) is None
    assert said in rig.log.why()


def test_a_plan_for_another_device_is_refused_unless_it_was_built_for_more(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = rig.build(doubling(), SHAPES)
    monkeypatch.setenv("DOUBLE_TRT_CAPABILITY", "8.6")
    assert rig.load(plan) is None
    assert "expecting compute 8.6 got compute 9.0" in rig.log.why()
    monkeypatch.setenv("DOUBLE_TRT_CAPABILITY", "9.0")
    monkeypatch.setenv("DOUBLE_TRT_GPU", "another H9")
    assert rig.load(plan) is not None
    assert "different models of devices" in rig.log.why()


@pytest.mark.parametrize("keep", [0, 3, 40, -1])
def test_a_truncated_plan_is_refused(rig: Rig, keep: int) -> None:
    assert rig.load(bytes(rig.build(doubling(), SHAPES))[:keep]) is None
    assert "Error Code 1: Serialization" in rig.log.why()


def test_stripped_weights_come_back_by_refit(rig: Rig) -> None:
    trt = rig.trt
    engine = rig.load(rig.build(doubling(), SHAPES, flags=("STRIP_PLAN", "REFIT")))
    assert engine.create_execution_context() is None
    assert "refit the engine first" in rig.log.why()
    refitter = trt.Refitter(engine, rig.log.native)
    assert refitter.get_missing_weights() == ["k"]
    parser = trt.OnnxParserRefitter(refitter, rig.log.native)
    assert not parser.refit_from_bytes(doubling(operator="Neg"))
    assert parser.get_error(0).code() == trt.ErrorCode.REFIT_FAILED
    assert parser.refit_from_bytes(doubling(3.0))
    assert refitter.refit_cuda_engine()
    context = engine.create_execution_context()
    assert np.array_equal(rig.run(context, np.ones((1, 3), np.uint8)), np.full((1, 3), 3.0))
    with pytest.raises(TypeError, match="nullptr"):
        trt.Refitter(rig.load(rig.build(doubling(), SHAPES)), rig.log.native)


def test_a_build_needs_profiles_for_free_lengths(rig: Rig) -> None:
    assert rig.build(doubling()) is None
    assert "no optimization profile has been defined" in rig.log.why()
    assert rig.build(doubling(), {"x": ((1, 4), (1, 4), (1, 4))}) is None
    assert "does not fit the network" in rig.log.why()
    with pytest.raises(RuntimeError, match="inconsistent"):
        rig.build(doubling(), {"x": ((2, 3), (1, 3), (4, 3))})


def test_a_build_tells_its_phases_and_waits_and_can_be_cancelled(rig: Rig) -> None:
    heard: list[tuple[str, int, int]] = []
    monitor = rig.callbacks.Progress(lambda *told: heard.append(told), lambda: False)
    assert rig.build(doubling(), SHAPES, monitor=monitor) is not None
    assert len({phase for phase, _, _ in heard}) == 3
    gate = rig.machine.gate = importlib.import_module("tensorrt.machine").Gate()
    waiting = rig.callbacks.Progress(lambda *told: None, gate.arrived.is_set)
    assert rig.build(doubling(), SHAPES, monitor=waiting) is None
    assert "cancelled" in rig.log.why()
    assert not gate.released.is_set()
    gate.released.set()
    assert rig.build(doubling(), SHAPES) is not None


def test_failures_come_when_they_are_asked_for(rig: Rig) -> None:
    rig.machine.build_failure = "Error Code 2: OutOfMemory (no further information)"
    assert rig.build(doubling(), SHAPES) is None
    assert "OutOfMemory" in rig.log.why()
    context = rig.load(rig.build(doubling(), SHAPES)).create_execution_context()
    rig.machine.run_failure = "Error Code 1: Cask (Cask Convolution execution)"
    with pytest.raises(AssertionError):
        rig.run(context, np.ones((1, 3), np.uint8))
    assert "Cask" in rig.log.why()
    rig.machine.fault = "unspecified launch failure"
    with pytest.raises(rig.driver.LaunchError, match="unspecified launch failure"):
        rig.run(context, np.ones((1, 3), np.uint8))
    rig.gpu.reset()


def test_without_a_gpu_nothing_is_made(rig: Rig) -> None:
    rig.machine.has_gpu = False
    for made in (rig.trt.Builder, rig.trt.Runtime):
        with pytest.raises(TypeError, match="factory function returned nullptr"):
            made(rig.log.native)
    assert "CUDA initialization failure" in rig.log.why()


def test_a_second_logger_is_told_that_it_is_not_used(rig: Rig) -> None:
    heard: list[str] = []

    class Other(rig.trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()

        def log(self, severity: Any, msg: str) -> None:
            heard.append(msg)

    rig.trt.Builder(rig.log.native)
    rig.trt.Runtime(rig.log.native)
    assert rig.machine.other_loggers == 0
    rig.trt.Runtime(Other())
    assert rig.machine.other_loggers == 1
    assert "differs from one already registered" in heard[0]


def test_the_parser_refuses_what_the_operator_table_refuses(rig: Rig) -> None:
    def refused(*nodes: Any, opset: int = 18, x: int = graphs.FLOAT, y: int = graphs.FLOAT) -> list[str]:
        ports = {"x": (x, [1, 1, 4, 4])}, {"y": (y, None)}
        network = graphs.network(nodes, *ports, opset=opset)
        del network.graph.output[0].type.tensor_type.shape.dim[:]
        return rig.refusals(network.SerializeToString())

    cast = graphs.node("Cast", ["x"], ["y"], to=graphs.UINT8)
    pooled = graphs.node("MaxPool", ["x"], ["y", "at"], kernel_shape=[2, 2], strides=[2, 2])
    assert refused(graphs.node("Det", ["x"], ["y"])) == ["UNSUPPORTED_NODE Det"]
    assert refused(pooled) == ["UNSUPPORTED_NODE MaxPool"]
    assert refused(cast, x=graphs.INT64, y=graphs.UINT8) == ["UNSUPPORTED_NODE_DATATYPE Cast"]
    assert refused(cast, y=graphs.UINT8) == []
    transposed = graphs.node("Transpose", ["x"], ["y"], perm=[0, 1, 3, 2])
    assert refused(transposed, x=graphs.UINT8, y=graphs.UINT8) == ["UNSUPPORTED_NODE_DATATYPE Transpose"]
    assert refused(graphs.node("Relu", ["x"], ["y"]), opset=8) == ["UNSUPPORTED_GRAPH "]
    assert rig.refusals(b"junk") == ["MODEL_DESERIALIZE_FAILED "]
