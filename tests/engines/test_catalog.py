"""Engines by name: what is taken, what is missing, what is refused."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_models

from headrace.engines import (
    MissingBackendError,
    PrecisionError,
    UnknownEngineError,
    available,
    nvidia,
    open_engine,
)
from headrace.engines.catalog import BACKENDS
from headrace.engines.nvidia import Gpu, Nvidia
from headrace.models import UnknownModelError

MODULES = {
    "openvino": ("headrace.engines.ov", "headrace.engines.quiet_openvino"),
    "onnxruntime": ("headrace.engines.ort", "headrace.models.quiet_onnxruntime"),
    "torch": ("headrace.engines.th", "headrace.engines.th_network", "headrace.engines.th_slots"),
}


def uninstall(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    """Make an import of the library fail, as on a machine without it."""
    monkeypatch.setitem(sys.modules, library, None)
    for module in MODULES[library]:
        monkeypatch.delitem(sys.modules, module, raising=False)


def test_auto_is_openvino_where_nothing_is_proven(tmp_path: Path) -> None:
    with open_engine(tiny_models.segmenter(tmp_path)) as engine:
        assert engine.info.backend == "openvino"


def test_auto_without_openvino_is_onnxruntime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uninstall(monkeypatch, "openvino")
    with open_engine(tiny_models.segmenter(tmp_path)) as engine:
        assert engine.info.backend == "onnxruntime"


def test_auto_without_any_lists_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in MODULES:
        uninstall(monkeypatch, library)
    with pytest.raises(MissingBackendError, match=r'no engine works here.*"headrace\[onnx\]"'):
        open_engine(tiny_models.segmenter(tmp_path))


def test_a_missing_backend_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uninstall(monkeypatch, "onnxruntime")
    with pytest.raises(MissingBackendError, match=r'onnxruntime.*pip install "headrace\[onnx\]"'):
        open_engine(tiny_models.segmenter(tmp_path), engine="onnxruntime")


def test_available(monkeypatch: pytest.MonkeyPatch) -> None:
    uninstall(monkeypatch, "onnxruntime")
    found = available()
    assert list(found) == list(BACKENDS)
    assert found["openvino"].version
    assert found["openvino"].reason is None
    assert found["onnxruntime"].version is None
    assert 'pip install "headrace[onnx]"' in str(found["onnxruntime"])


def test_unknown_names_list_what_is_allowed(tmp_path: Path) -> None:
    spec = tiny_models.segmenter(tmp_path)
    with pytest.raises(
        UnknownEngineError, match="'tensorflow' is not known; allowed: auto, tensorrt, openvino, onnxruntime"
    ):
        open_engine(spec, engine="tensorflow")
    with pytest.raises(PrecisionError, match="'fp8' is not known; allowed: auto, fp32, fp16, bf16, int8"):
        open_engine(spec, precision="fp8")  # type: ignore[arg-type]
    with pytest.raises(UnknownModelError, match="'no-such-network'"):
        open_engine("no-such-network")
    with pytest.raises(ValueError, match="sessions: got 0, allowed: 1 or more"):
        open_engine(spec, sessions=0)


def test_no_backend_is_imported_before_it_is_used() -> None:
    code = "import sys, headrace.engines; print({'openvino', 'onnxruntime', 'onnx', 'torch'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


GPU = Gpu(name="Some GPU", capability=(9, 0), memory_bytes=1 << 30)
NO_NVIDIA = Nvidia(
    driver=None,
    cuda=None,
    gpus=(),
    tensorrt=None,
    tensorrt_cuda=None,
    pycuda=None,
    trouble="no NVIDIA driver visible",
)


@pytest.mark.parametrize("name", ["onnxruntime:cuda", "onnxruntime:tensorrt"])
def test_engines_for_a_gpu_say_that_there_is_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "look", lambda: NO_NVIDIA)
    assert available()[name].reason == "no NVIDIA driver visible"


def test_a_library_without_the_gpu_says_which_one_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "look", lambda: replace(NO_NVIDIA, cuda=(13, 0), gpus=(GPU,), trouble=None))
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    reason = available()["onnxruntime:cuda"].reason
    assert reason is not None
    assert "has no CUDAExecutionProvider" in reason
    assert "pip install onnxruntime-gpu" in reason


def test_the_version_is_told_without_loading_the_library() -> None:
    code = (
        "import sys; from headrace.engines.catalog import version; "
        "print(version('openvino'), {'openvino', 'onnxruntime', 'torch'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found, loaded = run.stdout.split(" ", 1)
    assert found[0].isdigit()
    assert loaded.strip() == "set()"
