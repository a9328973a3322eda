"""Torch on the CPU: the contract with every length as it is and with padded lengths, bf16, threads, compilation."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tiny_models
from contracts import EngineContract, frames, in_threads, reference
from peers import missing

from headrace.engines import BuildError, Engine, MissingBackendError, PrecisionError, SpecMismatchError
from headrace.models import catalog
from headrace.models.spec import ModelSpec

torch = pytest.importorskip("torch", reason='torch is not installed: pip install "headrace[models]"')

import torch_twins  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from headrace.engines import th  # noqa: E402
from headrace.engines.ov import OpenVinoEngine  # noqa: E402
from headrace.engines.th_network import Network  # noqa: E402
from headrace.engines.th_slots import Slots  # noqa: E402
from headrace.models.create import create  # noqa: E402


def relative_error(got: np.ndarray, want: np.ndarray) -> float:
    return float(np.abs(got - want).max() / np.abs(want).max())


class TestTorch(EngineContract):
    backend = "torch"
    options: ClassVar[dict[str, Any]] = {}

    def open(self, spec: ModelSpec, **options: Any) -> Engine:
        return th.TorchEngine(spec, module=torch_twins.twin(spec), **self.options, **options)

    def test_a_quantized_file_is_called_int8(self, tmp_path: Path) -> None:
        """Torch runs definitions: a quantized file has none, and is never run as something else."""
        with pytest.raises(BuildError, match=r"quantized\.onnx: .*engines that run the file: .*openvino"):
            self.open(tiny_models.quantized(tmp_path))

    def test_an_unknown_operator_is_named(self, tmp_path: Path) -> None:
        """It is the definition that torch lacks, whatever is in the file."""
        with pytest.raises(
            BuildError, match=r"unknown_operator\.onnx: .*definition.* 'unknown_operator'; there are:"
        ):
            self.open(tiny_models.unknown_operator(tmp_path))


class TestTorchPadded(TestTorch):
    """As on a GPU: memory for some batch lengths, the others cut and padded."""

    @pytest.fixture(autouse=True)
    def _padded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(th.BATCHES, "cpu", (1, 2, 4))

    def test_it_says_so(self, segmenter: ModelSpec) -> None:
        with self.open(segmenter) as engine:
            assert engine.batches == (1, 2, 4)


@pytest.mark.slow
class TestTorchCompiled(TestTorch):
    """The same through generated C++ code."""

    backend = "torch:compile"
    options: ClassVar[dict[str, Any]] = {"mode": "compile"}

    @pytest.fixture(autouse=True)
    def _no_code_of_another_test(self) -> Iterator[None]:
        torch.compiler.reset()
        yield
        torch.compiler.reset()


@pytest.mark.gpu
class TestTorchCuda(TestTorch):
    """The same on an NVIDIA GPU: graphs, pinned memory, two sessions."""

    backend = "torch:cuda"
    options: ClassVar[dict[str, Any]] = {"device": "cuda"}

    @pytest.fixture(autouse=True)
    def _hardware(self) -> None:
        if not torch.cuda.is_available():
            missing("torch finds no GPU that it can use")

    def test_it_says_so(self, segmenter: ModelSpec) -> None:
        with self.open(segmenter) as engine:
            assert engine.batches == (1, 2, 4, 8)
            assert engine.sessions == 2
            assert engine.info.device == torch.cuda.get_device_name()


def test_bf16_runs_when_asked_for_and_shows(tmp_path: Path) -> None:
    spec = tiny_models.deep_net(tmp_path)
    frame = frames(1, spec)
    with th.TorchEngine(spec, precision="bf16", module=torch_twins.twin(spec)) as engine, engine.session() as session:
        assert engine.info.precision == "bf16"
        got = session.infer({"frame": frame})["map"]
    assert got.dtype == np.float32
    error = relative_error(got, reference(spec, {"frame": frame})["map"])
    assert 1e-3 < error < 0.5  # rounded to 8 bits of mantissa, layer after layer, but the same network


def test_the_precision_is_what_layers_are_seen_to_run_in(tmp_path: Path) -> None:
    """A definition that makes itself half is not called fp32 because nobody asked."""
    spec = tiny_models.segmenter(tmp_path)
    module = torch_twins.twin(spec)
    assert module is not None
    network = Network(module, "fp32", "cpu")
    example = [torch.zeros(2, 12, 16, 3, dtype=torch.uint8)]
    assert network.settle(*example) == "fp32"
    layer = module.get_submodule("first").to(torch.bfloat16)
    layer.register_forward_pre_hook(lambda _layer, args: (args[0].bfloat16(),))
    layer.register_forward_hook(lambda _layer, _args, result: result.float())
    assert network.settle(*example) == "bf16"
    with pytest.raises(PrecisionError, match=r"segmenter\.onnx: asked for fp32; on torch its layers run in bf16"):
        th.TorchEngine(spec, module=module)


def test_the_ends_of_a_half_network_are_float(tmp_path: Path) -> None:
    """The last convolution gives float32, so that rounding does not decide between classes that lie near."""
    spec = tiny_models.segmenter(tmp_path)
    module = torch_twins.twin(spec)
    assert module is not None
    network = Network(module, "bf16", "cpu")
    network.settle(torch.zeros(2, 12, 16, 3, dtype=torch.uint8))
    given: list[tuple[Any, Any]] = []
    for name in ("first", "second"):
        module.get_submodule(name).register_forward_hook(
            lambda layer, _args, result: given.append((layer.weight.dtype, result.dtype))
        )
    network(torch.zeros(1, 12, 16, 3, dtype=torch.uint8))
    assert given == [(torch.bfloat16, torch.bfloat16), (torch.bfloat16, torch.float32)]


def test_what_the_cpu_does_not_run_is_refused(tmp_path: Path) -> None:
    spec = tiny_models.segmenter(tmp_path)
    with pytest.raises(PrecisionError, match="asked for fp16; torch on device 'cpu' runs it in fp32, bf16"):
        th.TorchEngine(spec, precision="fp16", module=torch_twins.twin(spec))
    with pytest.raises(ValueError, match="device 'cuda', mode 'compile': allowed: 'cpu' with 'eager' or 'compile'"):
        th.TorchEngine(spec, device="cuda", mode="compile")


def test_without_a_gpu_it_says_why(tmp_path: Path) -> None:
    if th.trouble() is None:
        pytest.skip("there is a GPU here")
    spec = tiny_models.segmenter(tmp_path)
    with pytest.raises(MissingBackendError, match=r"torch \d.*(built without CUDA|finds no NVIDIA GPU)"):
        th.TorchEngine(spec, device="cuda", module=torch_twins.twin(spec))


def test_the_module_that_is_given_stays_as_it_is(tmp_path: Path) -> None:
    spec = tiny_models.segmenter(tmp_path)
    module = torch_twins.twin(spec)
    assert module is not None
    module.train()
    th.TorchEngine(spec, precision="bf16", module=module).close()
    assert module.training
    assert {each.dtype for each in module.parameters()} == {torch.float32}
    assert all(each.requires_grad for each in module.parameters())


def test_results_are_held_against_the_description(tmp_path: Path) -> None:
    spec = tiny_models.segmenter(tmp_path)
    module = torch_twins.twin(spec)
    frame, mask = spec.inputs[0], spec.outputs[0]
    larger = replace(spec, outputs=(replace(mask, shape=(None, 24, 32)),))
    with pytest.raises(SpecMismatchError, match="'mask' is uint8 any×24×32; the file has uint8 any×12×16"):
        th.TorchEngine(larger, module=module)
    flat = replace(spec, outputs=(replace(mask, shape=(None, 12), layout="BH"),))
    with pytest.raises(SpecMismatchError, match="'mask' is uint8 any×12; the file has uint8 any×12×16"):
        th.TorchEngine(flat, module=module)
    more = replace(spec, outputs=(mask, replace(mask, name="edges")))
    with pytest.raises(SpecMismatchError, match="torch gives 1 results, described are: mask, edges"):
        th.TorchEngine(more, module=module)
    grey = replace(spec, inputs=(replace(frame, shape=(None, 12, 16, 1)),))
    with pytest.raises(BuildError, match=r"segmenter\.onnx: torch cannot run it: .*channels"):
        th.TorchEngine(grey, module=module)


# Threads


def test_threads_are_shared_out_to_the_sessions(tmp_path: Path) -> None:
    spec = tiny_models.segmenter(tmp_path)
    seen: list[int] = []

    class Counting(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, frame: Any) -> Any:
            seen.append(torch.get_num_threads())
            return torch.zeros(frame.shape[:3], dtype=torch.uint8)

    frame = frames(1, spec)
    before = torch.get_num_threads()
    for sessions, each in ((1, 4), (2, 2), (None, 1), (9, 1)):
        with th.TorchEngine(spec, threads=4, sessions=sessions, module=Counting()) as engine:
            assert engine.sessions == min(sessions or 4, 4)
            seen.clear()
            with engine.session() as session:
                in_threads([lambda session=session: session.infer({"frame": frame})])  # type: ignore[misc]
                session.infer({"frame": frame})
            assert seen == [each, each]
    assert torch.get_num_threads() == before


# Networks that are defined here


@pytest.mark.parametrize("name", catalog.names())
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_bundled_networks_give_what_their_files_give(name: str, precision: Any) -> None:
    spec = catalog.spec(name)
    rows = np.random.default_rng(0)
    feeds = {
        each.name: rows.integers(0, 256, (2, *each.shape[1:]), np.uint8)  # type: ignore[arg-type]
        if each.dtype == "uint8"
        else rows.normal(0, 2, (2, *each.shape[1:])).astype(np.float32)  # type: ignore[arg-type]
        for each in spec.inputs
    }
    with OpenVinoEngine(spec, precision="fp32") as trusted, trusted.session() as session:
        want = session.infer(feeds)
    with th.TorchEngine(spec, precision=precision) as engine, engine.session() as session:
        got = session.infer(feeds)
        assert engine.info.precision == precision
    for output in spec.outputs:
        if output.dtype == "uint8":
            assert np.mean(got[output.name] == want[output.name]) > (0.999 if precision == "fp32" else 0.95)
        else:
            error = np.abs(got[output.name] - want[output.name]).max()
            assert error < (1e-3 if precision == "fp32" else 0.05)


@pytest.mark.parametrize("name", catalog.names())
def test_nothing_in_a_definition_keeps_it_from_being_captured(name: str) -> None:
    """A CUDA graph cannot hold a copy of Python's numbers to the GPU, nor a look at what was computed there."""
    called: set[str] = set()

    class Calls(TorchDispatchMode):  # type: ignore[misc]
        def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            called.add(operator._schema.name)
            return operator(*args, **(kwargs or {}))

    spec = catalog.spec(name)
    network = create(name)
    with torch.no_grad(), Calls():
        network(*(torch.zeros(2, *each.shape[1:], dtype=getattr(torch, each.dtype)) for each in spec.inputs))
    assert "aten::convolution" in called
    assert not called & {"aten::lift_fresh", "aten::_local_scalar_dense", "aten::nonzero", "aten::item"}


def test_other_weights_under_a_known_name_are_not_run_as_ours(tmp_path: Path) -> None:
    spec = replace(tiny_models.segmenter(tmp_path), name="street")
    with pytest.raises(BuildError, match=r"segmenter\.onnx: torch runs networks by their definition.*weights"):
        th.TorchEngine(spec)


# Graphs, on a stream that is none


class FakeStream:
    """What a session has of a GPU, on the CPU: runs at once, replays by running again into the same memory."""

    def __init__(self, *, captures: bool = True) -> None:
        self.captures = captures
        self.log: list[str] = []
        self.made: list[Any] = []

    def pinned(self, shape: Sequence[int], dtype: Any) -> Any:
        self.log.append("pinned")
        self.made.append(torch.empty(tuple(shape), dtype=dtype))
        return self.made[-1]

    def on_device(self, like: Any) -> Any:
        self.log.append("device")
        return torch.empty_like(like)

    def queue(self) -> AbstractContextManager[object]:
        return nullcontext()

    def synchronize(self) -> None:
        self.log.append("wait")

    def capture(self, run: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        self.log.append("capture")
        if not self.captures:
            raise RuntimeError("operation not permitted when stream is capturing")
        kept = run()

        def replay() -> None:
            self.log.append("replay")
            with torch.inference_mode():
                for memory, result in zip(kept, run(), strict=True):
                    memory.copy_(result)

        return replay, kept


@pytest.fixture
def slots(tmp_path: Path) -> Callable[[FakeStream], tuple[Slots, ModelSpec]]:
    spec = tiny_models.segmenter(tmp_path)
    module = torch_twins.twin(spec)
    assert module is not None
    network = Network(module, "fp32", "cpu")
    return lambda stream: (
        Slots(network, spec.inputs, spec.outputs, batches=(1, 2, 4), stream=stream),
        spec,
    )


@pytest.mark.parametrize("captures", [True, False])
def test_graph_slots_give_what_the_network_gives(
    slots: Callable[[FakeStream], tuple[Slots, ModelSpec]], captures: bool, caplog: pytest.LogCaptureFixture
) -> None:
    stream = FakeStream(captures=captures)
    run, spec = slots(stream)
    batch = frames(7, spec)
    want = reference(spec, {"frame": batch})["mask"]
    with caplog.at_level(logging.WARNING):
        for start in (0, 3, 6, 0, 5):
            got = run({"frame": batch[start:]}, ["mask"])["mask"]
            assert np.mean(got == want[start:]) > 0.99
            assert not any(np.shares_memory(got, each.numpy()) for each in stream.made)
    told = [record.getMessage() for record in caplog.records]
    if captures:
        assert told == []
    else:  # said once for each length
        assert sorted(told)[0] == (
            "torch runs batches of 1 without a CUDA graph: operation not permitted when stream is capturing"
        )
        assert len(told) == 3


def test_a_length_is_set_up_once_and_then_replayed(
    slots: Callable[[FakeStream], tuple[Slots, ModelSpec]],
) -> None:
    stream = FakeStream()
    run, spec = slots(stream)
    batch = frames(4, spec)
    run({"frame": batch[:3]}, ["mask"])
    # Memory, a plain run to the end, the capture, its replay, memory for the result, and the wait for it.
    assert stream.log == ["pinned", "device", "wait", "capture", "replay", "pinned", "wait"]
    stream.log.clear()
    run({"frame": batch}, ["mask"])
    run({"frame": batch[1:]}, ["mask"])
    assert stream.log == ["replay", "wait"] * 2


# Compilation


@pytest.fixture
def _compiles_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.slow
@pytest.mark.usefixtures("_compiles_anew")
def test_compiled_for_every_batch_length_before_the_first_run(tmp_path: Path) -> None:
    from torch._dynamo.utils import counters

    spec = tiny_models.segmenter(tmp_path)
    batch = frames(9, spec)
    want = reference(spec, {"frame": batch})["mask"]
    with th.TorchEngine(spec, mode="compile", module=torch_twins.twin(spec)) as engine:
        assert engine.info.backend == "torch:compile"
        compiled = counters["stats"]["unique_graphs"]
        assert compiled >= 1

        def work() -> None:
            with engine.session() as session:
                for start in (0, 8, 4, 6):
                    got = session.infer({"frame": batch[start:]})["mask"]
                    assert np.mean(got == want[start:]) > 0.99

        in_threads([work, work])
        work()
        assert counters["stats"]["unique_graphs"] == compiled


@pytest.mark.slow
@pytest.mark.usefixtures("_compiles_anew")
def test_without_a_compiler_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch._inductor.config as config

    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    spec = tiny_models.segmenter(tmp_path)
    with pytest.raises(BuildError, match=r"segmenter\.onnx: torch\.compile needs a C\+\+ compiler: install g\+\+"):
        th.TorchEngine(spec, mode="compile", module=torch_twins.twin(spec))


# On a GPU


def smooth(spec: ModelSpec, rows: int) -> dict[str, np.ndarray]:
    """Smooth pictures and flow: in pure noise half the pixels would be near ties."""
    random = np.random.default_rng(rows)
    feeds = {}
    for each in spec.inputs:
        coarse = random.uniform(0, 255, (rows, *(max(1, length // 16) for length in each.shape[1:-1])))  # type: ignore[operator]
        for axis, length in enumerate(each.shape[1:-1], 1):
            coarse = np.repeat(coarse, -(-length // coarse.shape[axis]), axis).take(range(length), axis)  # type: ignore[operator, arg-type]
        fine = np.repeat(coarse[..., None], each.shape[-1], -1)  # type: ignore[arg-type]
        feeds[each.name] = (fine if each.dtype == "uint8" else fine / 64 - 2).astype(each.dtype)
    return feeds


@pytest.mark.gpu
@pytest.mark.parametrize("name", catalog.names())
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_bundled_networks_are_captured_and_agree(name: str, precision: Any, caplog: pytest.LogCaptureFixture) -> None:
    spec = catalog.spec(name)
    with OpenVinoEngine(spec, precision="fp32") as trusted, trusted.session() as session:
        wanted = {rows: session.infer(smooth(spec, rows)) for rows in (1, 3, 8)}
    with (
        caplog.at_level(logging.WARNING),
        th.TorchEngine(spec, precision=precision, device="cuda") as engine,
        engine.session() as session,
    ):
        assert engine.info.precision == precision
        for rows in (1, 3, 8, 3, 1):
            got = session.infer(smooth(spec, rows))
            for output in spec.outputs:
                if output.dtype == "uint8":
                    assert np.mean(got[output.name] == wanted[rows][output.name]) > 0.98
                else:
                    error = np.abs(got[output.name] - wanted[rows][output.name]).max()
                    assert error < (1e-3 if precision == "fp32" else 0.05)
    assert [record.getMessage() for record in caplog.records] == []  # nothing ran without its graph


@pytest.mark.gpu
def test_fp16_runs_when_asked_for_and_shows(tmp_path: Path) -> None:
    spec = tiny_models.deep_net(tmp_path)
    frame = frames(1, spec)
    want = reference(spec, {"frame": frame})["map"]
    errors = {}
    for precision in ("fp32", "fp16"):
        engine = th.TorchEngine(spec, precision=precision, device="cuda", module=torch_twins.twin(spec))
        with engine, engine.session() as session:
            errors[precision] = relative_error(session.infer({"frame": frame})["map"], want)
    assert errors["fp32"] < 1e-4 < errors["fp16"] < 0.05  # TF32 would show here


@pytest.mark.gpu
def test_two_networks_are_captured_side_by_side(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Sessions of several engines begin at once: one's capture must not break another's."""
    spec = tiny_models.segmenter(tmp_path)
    batch = frames(8, spec)
    want = reference(spec, {"frame": batch})["mask"]

    def work() -> None:
        with (
            th.TorchEngine(spec, device="cuda", module=torch_twins.twin(spec)) as engine,
            engine.session() as session,
        ):
            for rows in (1, 2, 4, 8, 3):
                got = session.infer({"frame": batch[:rows]})["mask"]
                assert np.mean(got == want[:rows]) > 0.99

    with caplog.at_level(logging.WARNING):
        in_threads([work] * 4)
    assert [record.getMessage() for record in caplog.records] == []
