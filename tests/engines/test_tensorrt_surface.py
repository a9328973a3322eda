"""Our code uses names that both majors of TensorRT and pycuda have; so do their doubles, which have nothing else."""

import inspect
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from doubled import doubled
from surface import HOOKS, Code, Surface, misuses

ENGINES = Path(__file__).parents[2] / "engines"
TENSORRT = (Surface("tensorrt_10"), Surface("tensorrt_11"))
PYCUDA = Surface("pycuda")
KNOWN: dict[str, dict[str, str]] = {
    "build.py": {
        "builder": "Builder",
        "config": "IBuilderConfig",
        "error": "ParserError",
        "tensor": "ITensor",
    },
    "plan.py": {"engine": "ICudaEngine", "context": "IExecutionContext", "Plan._engine": "ICudaEngine"},
    "prepared.py": {"Prepared._context": "IExecutionContext"},
    "inspect.py": {"plan.engine": "ICudaEngine"},
}
"""By file of engines/trt: what is a native object there, though only Any in its types."""
CUDA = {
    file: Code(name=file, text=(ENGINES / file).read_text(), library=("driver", "_driver()"), known=known)
    for file, known in {
        "cuda.py": {"Device._context": "Context", "context": "Context"},
        "cuda_memory.py": {"Stream._native": "Stream", "Stream._event": "Event"},
    }.items()
}
CONTROLS = {"gpu", "libcuda"}
"""What tests steer pycuda's double with."""


def trt_code(text: str, **known: str) -> Code:
    return Code(name="snippet", text=text, library=("trt",), known=known)


@pytest.mark.parametrize("file", sorted((ENGINES / "trt").glob("*.py")), ids=lambda file: file.name)
def test_engines_use_what_both_majors_have(file: Path) -> None:
    code = Code(name=file.name, text=file.read_text(), library=("trt",), known=KNOWN.get(file.name, {}))
    assert misuses(code, TENSORRT) == []


@pytest.mark.parametrize("file", CUDA)
def test_cuda_uses_what_pycuda_has(file: str) -> None:
    assert misuses(CUDA[file], [PYCUDA]) == []


def test_what_is_said_of_native_objects_is_about_code_that_is_there() -> None:
    texts = {name: (ENGINES / "trt" / name).read_text() for name in KNOWN}
    gone = [
        f"{name}: {known}"
        for name, text in texts.items()
        for known in KNOWN[name]
        if f"{known.replace('Plan._', 'self._').replace('Prepared._', 'self._')}." not in text
    ]
    assert gone == []


@pytest.mark.parametrize(
    ("file", "was", "now", "found"),
    [
        ("build.py", "trt.BuilderFlag.TF32", "trt.BuilderFlag.FP16", "BuilderFlag.FP16"),
        ("build.py", "config.builder_optimization_level", "config.level", "IBuilderConfig.level"),
        ("build.py", "get_timing_cache()", "timing_cache()", "IBuilderConfig.timing_cache"),
        ("callbacks.py", "def get_num_errors", "def errors", "without IErrorRecorder.get_num_errors"),
        ("callbacks.py", "trt.IProfiler.__init__(self)", "pass", "without a call of IProfiler.__init__"),
        ("plan.py", "device_memory_size_v2", "device_memory_size", "ICudaEngine.device_memory_size"),
        ("plan.py", "refit_from_bytes(", "refit_bytes(", "OnnxParserRefitter.refit_bytes"),
        ("prepared.py", "set_device_memory(", "set_memory(", "IExecutionContext.set_memory"),
    ],
)
def test_a_slip_in_our_own_code_would_be_found(file: str, was: str, now: str, found: str) -> None:
    text = (ENGINES / "trt" / file).read_text()
    assert was in text
    slipped = Code(name=file, text=text.replace(was, now), library=("trt",), known=KNOWN.get(file, {}))
    assert any(found in line for line in misuses(slipped, TENSORRT[1:]))


@pytest.mark.parametrize(
    ("file", "was", "now", "found"),
    [
        ("cuda.py", "device.total_memory()", "device.memory()", "Device.memory is not in pycuda"),
        ("cuda.py", "driver.Context.pop()", "driver.Context.leave()", "Context.leave is not in pycuda"),
        ("cuda_memory.py", "memcpy_htod_async(", "memcpy_to_device(", "memcpy_to_device is not in pycuda"),
        ("cuda_memory.py", "self._native.synchronize()", "self._native.wait()", "Stream.wait is not in pycuda"),
        (
            "cuda_memory.py",
            "event_flags.DISABLE_TIMING",
            "event_flags.UNTIMED",
            "event_flags.UNTIMED is not in pycuda",
        ),
    ],
)
def test_a_slip_about_pycuda_would_be_found(file: str, was: str, now: str, found: str) -> None:
    code = CUDA[file]
    assert was in code.text
    assert any(found in line for line in misuses(replace(code, text=code.text.replace(was, now)), [PYCUDA]))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("config.set_flag(trt.BuilderFlag.FP16)", ["BuilderFlag.FP16"]),
        ("flags = 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)", ["EXPLICIT_BATCH"]),
        ("calibrator = trt.IInt8EntropyCalibrator2()", ["IInt8EntropyCalibrator2"]),
        ("builder = trt.Builder(log)\nbuilder.platform_has_fast_fp16", ["Builder.platform_has_fast_fp16"]),
        (
            "engine = trt.Runtime(log).deserialize_cuda_engine(plan)\nengine.device_memory_size",
            ["ICudaEngine.device_memory_size"],
        ),
        (
            "class Lane:\n def __init__(self, b):\n  self._n = trt.Builder(b).create_network()\n"
            " def go(self):\n  self._n.add_relu()",
            ["INetworkDefinition.add_relu"],
        ),
        ("trt.Builder(log).create_network(flag=1)", ["create_network(flag=1)"]),
        ("trt.Builder(log).create_builder_config(1)", ["create_builder_config(1)"]),
        ("trt.init_libnvinfer_plugins(log)\ntrt.nptype(a, b)", ["nptype(a, b)"]),
        (
            "class Log(trt.ILogger):\n def __init__(self):\n  self.lines = []\n def log(self, severity, msg): ...",
            ["Log without a call of ILogger.__init__"],
        ),
        (
            "class Errors(trt.IErrorRecorder):\n def report_error(self, code, desc): ...\n def num_errors(self): ...\n"
            " def get_error_code(self, i): ...\n def get_error_desc(self, i): ...\n def has_overflowed(self): ...\n"
            " def clear(self): ...",
            ["Errors without IErrorRecorder.get_num_errors"],
        ),
        (
            "class Out(trt.IOutputAllocator):\n def reallocate_output(self, n, m, s, a): ...\n"
            " def reallocate_output_async(self, n, m, s, a): ...\n def notify_shape(self, n, s): ...",
            ["Out.reallocate_output_async with other than 5 arguments"],
        ),
        (
            "class Progress(trt.IProgressMonitor):\n def step_complete(self, phase, step): ...",
            ["phase_start", "_finish"],
        ),
    ],
)
def test_misuse_of_tensorrt_is_found(text: str, found: list[str]) -> None:
    lines = misuses(trt_code(text, config="IBuilderConfig"), TENSORRT[1:])
    assert len(lines) == len(found), lines
    assert all(any(each in line for line in lines) for each in found), lines


def test_a_name_of_one_major_is_found_with_that_major_named() -> None:
    lines = misuses(trt_code("trt.BuilderFlag.FP16"), TENSORRT)
    assert lines == ["snippet:1: BuilderFlag.FP16 is not in tensorrt_bindings 11.4.0.106"]
    assert misuses(trt_code("trt.IBuilderConfig.build_route"), TENSORRT) == [
        "snippet:1: IBuilderConfig.build_route is not in tensorrt_bindings 10.16.1.11"
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("driver.mem_free(address)", "mem_free"),
        ("_driver().Stream().begin_capture()", "Stream.begin_capture"),
        ("driver.Event(driver.event_flags.NO_TIMING)", "event_flags.NO_TIMING"),
        ("device = driver.Device(0)\ndevice.get_name()", "Device.get_name"),
        ("driver.Stream().synchronize(1)", "synchronize(1)"),
    ],
)
def test_misuse_of_pycuda_is_found(text: str, found: str) -> None:
    lines = misuses(Code(name="snippet", text=text, library=("driver", "_driver()")), [PYCUDA])
    assert len(lines) == 1, lines
    assert found in lines[0]


def test_right_use_is_not_found() -> None:
    text = (
        "runtime = trt.Runtime(log)\nengine = runtime.deserialize_cuda_engine(plan)\n"
        "context = engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)\n"
        "context.set_input_shape('x', (1, 2))\ncontext.execute_async_v3(stream_handle=3)\n"
        "class Log(trt.ILogger):\n def __init__(self): super().__init__()\n def log(self, severity, msg): ...\n"
    )
    assert misuses(trt_code(text), TENSORRT) == []


@pytest.fixture(params=[10, 11], ids=["tensorrt10", "tensorrt11"])
def double(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Surface]]:
    with doubled(request.param):
        import tensorrt

        yield tensorrt, TENSORRT[request.param - 10]


def test_the_double_has_no_name_that_the_real_bindings_lack(double: tuple[Any, Surface]) -> None:
    library, real = double
    assert library.__version__ == real.version.split()[-1]
    names = [name for name in dir(library) if not name.startswith("_")]
    assert len(names) >= 25
    assert [name for name in names if not real.has([name])] == []
    for name in names:
        if inspect.isclass(getattr(library, name)):
            assert list(_unreal(getattr(library, name), name, real)) == []


def test_the_double_of_pycuda_has_no_name_that_the_real_one_lacks() -> None:
    with doubled() as doubles:
        public = {name: each for name, each in vars(doubles.driver).items() if not name.startswith("_")}
    ours = {
        name: each
        for name, each in public.items()
        if not isinstance(each, types.ModuleType) and getattr(each, "__module__", "pycuda").split(".")[0] == "pycuda"
    }
    assert ours.keys() >= CONTROLS | {"Stream", "mem_alloc", "LaunchError"}
    for name, each in ours.items():
        if name in CONTROLS:
            continue
        assert PYCUDA.has([name]), name
        if inspect.isclass(each):
            assert list(_unreal(each, name, PYCUDA)) == []
        else:
            assert _fits(each, PYCUDA.signatures(None, name)), name


def test_a_wrong_double_is_found() -> None:
    class ITimingCache:
        size = 3

        def serialize(self) -> bytes:
            return b""

        def combine(self, other: object, ignore_mismatch: bool) -> bool:
            return ignore_mismatch

    lines = list(_unreal(ITimingCache, "ITimingCache", TENSORRT[1]))
    assert lines == ["ITimingCache.size does not exist", "ITimingCache.combine has other parameters"]

    class ICudaEngine:
        __slots__ = ("name",)

    assert list(_unreal(ICudaEngine, "ICudaEngine", TENSORRT[1])) == ["ICudaEngine.name can be set"]


@pytest.mark.parametrize("name", ["IInt8Calibrator", "BuilderFlags", "machine", "np", "enums", "Native"])
def test_the_double_refuses_names_that_are_not_there(double: tuple[Any, Surface], name: str) -> None:
    library, _ = double
    with pytest.raises(AttributeError, match=name):
        getattr(library, name)


def test_the_double_has_each_majors_own_numbers(double: tuple[Any, Surface]) -> None:
    library, real = double
    is_11 = "11." in real.version
    assert int(library.NetworkDefinitionCreationFlag.STRONGLY_TYPED) == (0 if is_11 else 1)
    assert int(library.BuilderFlag.VERSION_COMPATIBLE) == (12 if is_11 else 13)
    assert hasattr(library.BuilderFlag, "FP16") is not is_11
    assert hasattr(library.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH") is not is_11


def test_the_doubles_enumerations_do_what_real_ones_do(double: tuple[Any, Surface]) -> None:
    flag = double[0].BuilderFlag
    assert flag(6) is flag.TF32
    assert (str(flag.TF32), flag.TF32.name, flag.TF32.value, hash(flag.TF32)) == ("BuilderFlag.TF32", "TF32", 6, 6)
    assert flag.TF32 != 6
    assert 1 << int(flag.TF32) == 64
    for use in (lambda: 1 << flag.TF32, lambda: flag["TF32"], lambda: list(flag), lambda: flag.TF32 < 7):
        with pytest.raises(TypeError):
            use()


def _unreal(ours: type, name: str, real: Surface) -> Iterator[str]:
    if "enum" in real.classes[name]:
        yield from (f"{name}.{each} has another number" for each in _renumbered(ours, name, real))
        return
    for member, value in vars(ours).items():
        if member.startswith("_"):
            continue
        told = real.member(name, member)
        if told is None and member not in HOOKS.get(name, {}):
            yield f"{name}.{member} does not exist"
        elif inspect.isfunction(value) and not _fits(value, real.signatures(name, member)):
            yield f"{name}.{member} has other parameters"
        elif _can_be_set(value) and str(told).startswith("ro"):
            yield f"{name}.{member} can be set"


def _renumbered(ours: Any, name: str, real: Surface) -> list[str]:
    numbers: dict[str, int] = real.classes[name]["enum"]
    return [each for each, value in ours.__members__.items() if numbers.get(each) != int(value)]


def _can_be_set(value: Any) -> bool:
    return inspect.ismemberdescriptor(value) or (isinstance(value, property) and value.fset is not None)


def _fits(function: Any, overloads: list[list[str]]) -> bool:
    ours = [name for name in inspect.signature(function).parameters if name not in ("self", "cls")]
    return not overloads or any(
        len(ours) <= len(each)
        and all(got == want or want.startswith("arg") for got, want in zip(ours, each, strict=False))
        for each in overloads
    )
