"""ONNX Runtime: the contract on the CPU, what layers are seen to run in, and providers that are not there."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import tiny_models
from contracts import EngineContract, frames, reference

from headrace.engines import BuildError, Engine, MissingBackendError, Precision, PrecisionError
from headrace.models.graph import half
from headrace.models.spec import ModelSpec

onnxruntime = pytest.importorskip("onnxruntime", reason='ONNX Runtime is not installed: pip install "headrace[onnx]"')

from headrace.engines import ort, ort_tensorrt  # noqa: E402
from headrace.engines.ort import OnnxRuntimeEngine  # noqa: E402
from headrace.engines.ort_layers import check_provider, precision_of, read_profile  # noqa: E402

CPU, CUDA, TENSORRT = ort.PROVIDERS.values()


def halved(spec: ModelSpec) -> ModelSpec:
    """The network with an fp16 body, in the same file."""
    onnx.save(half.to_half(onnx.load(spec.weights.file)), spec.weights.file)
    return spec


def profile(folder: Path, *ran: tuple[str, str, str]) -> Path:
    """A profile as ONNX Runtime writes it: operator, provider, kind of the first input."""
    events = [
        {
            "cat": "Node",
            "name": f"node_{at}_kernel_time",
            "args": {"op_name": operator, "provider": provider, "input_type_shape": [{kind: [1, 3]}, {"int64": [1]}]},
        }
        for at, (operator, provider, kind) in enumerate(ran)
    ]
    begun = {"cat": "Node", "name": "node_0_fence_before", "args": {"op_name": "Conv"}}
    (folder / "run.json").write_text(
        json.dumps([{"cat": "Session", "name": "model_run", "args": {}}, begun, *events])
    )
    return folder / "run.json"


class TestOnnxRuntime(EngineContract):
    backend = "onnxruntime"

    @pytest.mark.parametrize("precision", ["bf16", "fp16"])
    def test_half_precisions_are_refused(self, tmp_path: Path, precision: Precision) -> None:
        spec = tiny_models.segmenter(tmp_path)
        with pytest.raises(PrecisionError, match=f"asked for {precision}; onnxruntime runs it on the CPU in fp32"):
            self.open(spec, precision=precision)


@pytest.mark.gpu
class TestOnnxRuntimeCuda(EngineContract):
    backend = "onnxruntime:cuda"

    def open(self, spec: ModelSpec, **options: Any) -> Engine:
        if problem := ort.trouble("cuda"):
            pytest.skip(problem)
        return OnnxRuntimeEngine(spec, provider="cuda", **options)

    def test_a_quantized_file_is_called_int8(self, tmp_path: Path) -> None:
        """CUDA has no int8 convolution in ONNX Runtime: such a file is computed in floats, and called so."""
        with self.open(tiny_models.quantized(tmp_path)) as engine:
            assert engine.info.precision == "fp32"

    def test_fp16_is_fp16(self, tmp_path: Path) -> None:
        with self.open(halved(tiny_models.deep_net(tmp_path)), precision="fp16") as engine:
            assert engine.info.precision == "fp16"


@pytest.mark.gpu
class TestOnnxRuntimeTensorRt(EngineContract):
    backend = "onnxruntime:tensorrt"

    def open(self, spec: ModelSpec, **options: Any) -> Engine:
        if problem := ort.trouble("tensorrt"):
            pytest.skip(problem)
        return OnnxRuntimeEngine(spec, provider="tensorrt", **options)


# What layers run in


def test_an_fp16_file_is_called_what_the_cpu_makes_of_it(tmp_path: Path) -> None:
    """Its convolutions are computed in fp32 between casts, unless this CPU has half arithmetic of its own."""
    spec = halved(tiny_models.deep_net(tmp_path))
    frame = frames(1, spec)
    with OnnxRuntimeEngine(spec) as engine, engine.session() as session:
        ran = engine.info.precision
        got = session.infer({"frame": frame})["map"]
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, reference(spec, {"frame": frame})["map"], atol=0.02)
    if ran == "fp16":
        pytest.skip("this CPU computes convolutions in fp16")
    assert ran == "fp32"
    with pytest.raises(
        PrecisionError, match=r"deep_net\.onnx: asked for fp16; onnxruntime runs it on the CPU in fp32"
    ):
        OnnxRuntimeEngine(spec, precision="fp16")


def test_a_quantized_file_that_runs_in_floats_is_not_called_int8(tmp_path: Path) -> None:
    """ONNX Runtime leaves a convolution in float whose result is quantized only after another operator."""
    spec = tiny_models.quantized(tmp_path)
    model = onnx.load(spec.weights.file)
    kept = [node for node in model.graph.node if not {"c_q", "c_q_d"} & set(node.output)]
    for node in kept:
        node.input[:] = ["c" if name == "c_q_d" else name for name in node.input]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    onnx.save(model, spec.weights.file)
    assert b"QuantizeLinear" in spec.weights.file.read_bytes()
    with OnnxRuntimeEngine(spec) as engine:
        assert engine.info.precision == "fp32"


@pytest.mark.parametrize(
    ("ran", "want"),
    [
        ([("Conv", CPU, "float"), ("Add", CPU, "float16")], "fp32"),
        ([("Conv", CUDA, "float16"), ("Gemm", CUDA, "float")], "fp16"),
        ([("MatMul", CUDA, "bfloat16"), ("Conv", CUDA, "float16")], "bf16"),
        ([("QLinearConv", CPU, "uint8"), ("Conv", CPU, "float")], "int8"),
        ([("Add", CPU, "float")], "fp32"),
        ([], "fp32"),
    ],
)
def test_a_network_is_as_precise_as_its_least_precise_layer(
    tmp_path: Path, ran: list[tuple[str, str, str]], want: str
) -> None:
    assert precision_of(tmp_path / "net.onnx", read_profile(profile(tmp_path, *ran))) == want


def test_layers_in_a_precision_without_a_name(tmp_path: Path) -> None:
    ran = read_profile(profile(tmp_path, ("Conv", CPU, "double")))
    with pytest.raises(PrecisionError, match=r"net\.onnx: onnxruntime runs layers in double"):
        precision_of(tmp_path / "net.onnx", ran)


def test_nothing_of_the_first_run_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder := tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.chdir(folder)
    spec = tiny_models.segmenter(tmp_path)
    with OnnxRuntimeEngine(spec) as engine, engine.session() as session:
        session.infer({"frame": frames(1, spec)})
        assert list(folder.iterdir()) == []
    assert list(folder.iterdir()) == []


def test_weights_in_two_files_beside_it(tmp_path: Path) -> None:
    spec = tiny_models.deep_net(tmp_path, layers=3)
    tiny_models.scatter_weights(spec.weights.file, ["w_in", "w1"])
    frame = frames(1, spec)
    want = reference(spec, {"frame": frame})["map"]
    with OnnxRuntimeEngine(spec) as engine, engine.session() as session:
        np.testing.assert_allclose(session.infer({"frame": frame})["map"], want, atol=1e-4)
    (tmp_path / "w1.bin").unlink()
    with pytest.raises(BuildError, match=r"deep_net\.onnx: onnxruntime cannot load it: .*w1\.bin"):
        OnnxRuntimeEngine(spec)


# Providers


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_this_package_lacks(tmp_path: Path, provider: ort.Provider) -> None:
    if ort.trouble(provider) is None:
        pytest.skip("this onnxruntime has it")
    want = rf"has no {ort.PROVIDERS[provider]}, only .*CPUExecutionProvider; .*pip install onnxruntime-gpu"
    with pytest.raises(MissingBackendError, match=want):
        OnnxRuntimeEngine(tiny_models.segmenter(tmp_path), provider=provider)


def test_an_unknown_provider(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="provider 'rocm': allowed: cpu, cuda, tensorrt"):
        OnnxRuntimeEngine(tiny_models.segmenter(tmp_path), provider="rocm")  # type: ignore[arg-type]


def test_a_provider_that_is_dropped_without_a_word_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As onnxruntime-gpu does where cuDNN is missing: it lists CUDA, takes it, and goes on on the CPU."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    real = onnxruntime.InferenceSession

    def dropping(file: Path, options: Any, *, providers: list[Any], enable_fallback: int) -> Any:
        assert providers[0][0] == CUDA
        assert enable_fallback == 0
        return real(file, options, providers=[CPU], enable_fallback=0)

    monkeypatch.setattr(onnxruntime, "InferenceSession", dropping)
    with pytest.raises(MissingBackendError, match=f"dropped {CUDA} without a word and would run on {CPU}: .*cuDNN"):
        OnnxRuntimeEngine(tiny_models.segmenter(tmp_path), provider="cuda")
    assert capfd.readouterr().out == ""


def test_layers_that_would_run_elsewhere_are_named(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    ran = read_profile(profile(tmp_path, ("Conv", CUDA, "float"), ("Shape", CPU, "float"), ("LSTM", CPU, "float")))
    with pytest.raises(BuildError, match=f"net.onnx: .* 1 of its layers elsewhere than on {CUDA}: LSTM 'node_2' on"):
        check_provider(file, ran, CUDA)
    check_provider(file, ran[:2], CUDA)
    with pytest.raises(BuildError, match=f"runs all of its layers elsewhere than on {TENSORRT}"):
        check_provider(file, ran[1:2], TENSORRT)


class GpuSession:
    """Stands for a session of onnxruntime-gpu: the CPU computes, the providers are said to be the GPU's."""

    def __init__(self, real: Any, providers: list[Any]) -> None:
        self._real = real
        self.asked = providers

    def get_providers(self) -> list[str]:
        return [each if isinstance(each, str) else each[0] for each in self.asked]

    def end_profiling(self) -> str:
        path = Path(self._real.end_profiling())
        path.write_text(path.read_text(encoding="utf-8").replace(CPU, self.get_providers()[0]), encoding="utf-8")
        return str(path)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    made = SimpleNamespace(sessions=[])
    real = onnxruntime.InferenceSession

    def session(file: Path, options: Any, *, providers: list[Any], enable_fallback: int) -> GpuSession:
        found = GpuSession(real(file, options, providers=[CPU], enable_fallback=0), providers)
        made.sessions.append(found)
        return found

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    return made


def test_cuda_is_asked_for_exact_floats(tmp_path: Path, gpu: SimpleNamespace) -> None:
    spec = tiny_models.segmenter(tmp_path)
    with OnnxRuntimeEngine(spec, provider="cuda") as engine:
        assert engine.info.backend == "onnxruntime:cuda"
        assert (engine.info.precision, engine.sessions) == ("fp32", 2)
    assert gpu.sessions[0].asked == [(CUDA, {"device_id": 0, "use_tf32": 0}), CPU]


@pytest.mark.parametrize("kind", ["fp32", "fp16", "int8"])
def test_tensorrt_is_told_the_files_types_and_lengths(tmp_path: Path, gpu: SimpleNamespace, kind: Precision) -> None:
    spec = tiny_models.quantized(tmp_path) if kind == "int8" else tiny_models.segmenter(tmp_path)
    if kind == "fp16":
        halved(spec)
    with OnnxRuntimeEngine(spec, provider="tensorrt", precision=kind) as engine:
        assert engine.info.backend == "onnxruntime:tensorrt"
        assert engine.info.precision == kind
    (name, told), *rest = gpu.sessions[0].asked
    assert (name, rest[0][0], rest[1]) == (TENSORRT, CUDA, CPU)
    assert [told[f"trt_{each}_enable"] for each in ("fp16", "int8")] == [kind == "fp16", kind == "int8"]
    rows = "x:{}x16x8x8" if kind == "int8" else "frame:{}x12x16x3"
    assert told["trt_profile_min_shapes"] == rows.format(1)
    assert told["trt_profile_max_shapes"] == rows.format(8)


def test_tensorrt_is_told_the_lengths_of_states(tmp_path: Path) -> None:
    told = ort_tensorrt.options(tiny_models.running_total(tmp_path).weights.file)
    assert told["trt_profile_max_shapes"] == "x:8x4,total:8x4,calls:8x1"
