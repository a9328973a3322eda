"""What each failure says; `pytest tests/engines/trt/test_messages.py -s -k tensorrt11` prints the table."""

import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from trt_bench import Bench

from headrace.engines import BuildError, EngineInputError, InferError, MissingBackendError
from headrace.engines.errors import CacheError, CancelledError, DeviceError, EngineError, NotBuiltError
from headrace.models.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Scene:
    """A machine, and a network to be run on it."""

    bench: Bench
    folder: Path
    patch: pytest.MonkeyPatch

    def package(self, name: str, **modules: str) -> None:
        """Put a package in the place of a double: as it is installed on a machine that lacks something."""
        folder = self.folder / "packages" / name
        folder.mkdir(parents=True)
        for module, text in modules.items():
            (folder / f"{module}.py").write_text(text)
        for loaded in [each for each in sys.modules if each.split(".")[0] == name or "engines.trt" in each]:
            self.patch.delitem(sys.modules, loaded)
        self.patch.syspath_prepend(str(folder.parent))

    def segmenter(self) -> ModelSpec:
        return tiny_models.segmenter(self.folder)

    def open(self, spec: ModelSpec | None = None, **options: Any) -> None:
        self.bench.open(spec or self.segmenter(), **options).close()

    def built_and_gone(self) -> ModelSpec:
        """A network whose plan is kept, and whose file is gone."""
        spec = self.segmenter()
        self.open(spec)
        spec.weights.file.unlink()
        return spec

    def infer(self, batch: int = 1, *, width_px: int = 16, before: Callable[[], None] = lambda: None) -> None:
        with self.bench.open(self.segmenter()) as engine, engine.session() as session:
            before()
            session.infer({"frame": np.zeros((batch, 12, width_px, 3), np.uint8)})


def not_installed(scene: Scene) -> None:
    scene.package("tensorrt", __init__="raise ModuleNotFoundError(\"No module named 'tensorrt'\", name='tensorrt')")
    scene.open()


def no_libraries(scene: Scene) -> None:
    text = "libnvonnxparser.so.11: cannot open shared object file: No such file or directory"
    scene.package("tensorrt", __init__=f"raise ImportError({text!r})")
    scene.open()


def no_pycuda(scene: Scene) -> None:
    scene.package("pycuda", __init__="raise ModuleNotFoundError(\"No module named 'pycuda'\", name='pycuda')")
    scene.open()


def no_driver(scene: Scene) -> None:
    text = "libcuda.so.1: cannot open shared object file: No such file or directory"
    scene.package("pycuda", __init__="", driver=f"raise ImportError({text!r})")
    scene.open()


def no_gpu(scene: Scene) -> None:
    scene.bench.gpu.set_devices(0)
    scene.open()


def old_driver(scene: Scene) -> None:
    scene.bench.machine.has_gpu = False
    scene.open()


def wrong_version(scene: Scene) -> None:
    scene.bench.machine.version = "10.12.0.36"
    scene.open()


def unsupported_operator(scene: Scene) -> None:
    scene.open(tiny_models.unknown_operator(scene.folder))


def not_onnx(scene: Scene) -> None:
    path = scene.folder / "text.onnx"
    path.write_text("not a network")
    scene.open(tiny_models.described(path, (), ()))


def no_file(scene: Scene) -> None:
    spec = scene.segmenter()
    spec.weights.file.unlink()
    scene.open(spec)


def free_length(scene: Scene) -> None:
    x = tiny_models.tensor("x", (None, None), "float32", "BC")
    path = scene.folder / "wide.onnx"
    nodes = [tiny_models.helper.make_node("Relu", ["x"], ["y"])]
    tiny_models._save(path, nodes, {}, (x,), (replace(x, name="y"),))
    scene.open(tiny_models.described(path, (x,), (replace(x, name="y"),)))


def build_failed(scene: Scene) -> None:
    scene.bench.machine.build_failure = "Error Code 10: Could not find any implementation for node Conv_3 + Relu_4."
    scene.open()


def build_out_of_memory(scene: Scene) -> None:
    scene.bench.machine.build_failure = "Error Code 2: OutOfMemory (Requested size was 17179869184 bytes.)"
    scene.open()


def cancelled(scene: Scene) -> None:
    scene.open(cancelled=lambda: True)


def not_built(scene: Scene) -> None:
    scene.open(build=False)


def full_disk(scene: Scene) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    scene.patch.setattr(os, "fsync", full)
    scene.open()


def no_room(scene: Scene) -> None:
    shutil = scene.bench.module("cache").shutil
    usage = shutil.disk_usage("/")._replace(free=1000)
    scene.patch.setattr(shutil, "disk_usage", lambda path: usage)
    scene.open()


def truncated(scene: Scene) -> None:
    spec = scene.built_and_gone()
    (plan,) = scene.bench.kept(".plan")
    plan.write_bytes(plan.read_bytes()[:-100])
    scene.open(spec)


def another_gpu(scene: Scene) -> None:
    spec = scene.built_and_gone()
    scene.patch.setenv("DOUBLE_TRT_GPU", "Double A9")
    scene.patch.setenv("DOUBLE_TRT_CAPABILITY", "8.0")
    scene.open(spec)


def another_version(scene: Scene) -> None:
    spec = scene.built_and_gone()
    scene.bench.machine.version = "11.5.0.1"
    scene.open(spec)


def refused_plan(scene: Scene) -> None:
    """The library takes no plan of this platform: as where a cache was copied between systems."""
    spec = scene.built_and_gone()
    scene.bench.machine.platform = "windows x86_64"
    scene.open(spec)


def no_memory(scene: Scene) -> None:
    scene.bench.machine.context_bytes = 3_000_000_000
    scene.bench.gpu.set_memory(2_000_000_000)
    scene.infer()


def no_memory_for_the_plan(scene: Scene) -> None:
    scene.open()
    scene.bench.gpu.set_memory(2000)
    scene.open()


def wrong_shape(scene: Scene) -> None:
    scene.infer(width_px=15)


def run_failed(scene: Scene) -> None:
    def fail() -> None:
        scene.bench.machine.run_failure = "Error Code 1: Cask (Cask convolution execution)"

    scene.infer(before=fail)


def device_lost(scene: Scene) -> None:
    scene.infer(before=lambda: scene.bench.gpu.fail_next("an illegal memory access was encountered"))


FAILURES: dict[Callable[[Scene], None], tuple[type[EngineError], str]] = {
    not_installed: (
        MissingBackendError,
        r'TensorRT is not installed.*pip install "headrace\[tensorrt\]".*other engines',
    ),
    no_libraries: (MissingBackendError, r"libraries do not load \(libnvonnxparser\.so\.11.*LD_LIBRARY_PATH"),
    wrong_version: (MissingBackendError, r"TensorRT 10\.12\.0\.36 is not supported; supported: 10\.13 to 11\.x"),
    no_pycuda: (MissingBackendError, r'pycuda is not installed.*pip install "headrace\[tensorrt\]"'),
    no_driver: (DeviceError, r"no NVIDIA driver is visible.*docker run --gpus all"),
    no_gpu: (DeviceError, r"finds no GPU that can be used \(cuInit failed: no CUDA-capable device is detected\)"),
    old_driver: (DeviceError, r"TensorRT 1.* finds no usable GPU: CUDA initialization failure.*driver may be older"),
    no_file: (BuildError, r"segmenter\.onnx: no such file$"),
    not_onnx: (BuildError, r"text\.onnx: not an ONNX network"),
    unsupported_operator: (BuildError, r"unknown_operator\.onnx: TensorRT cannot take it: .*Frobnicate"),
    free_length: (BuildError, r"wide\.onnx: input 'x' any×any has a free length beside its batch: fix it"),
    build_failed: (BuildError, r"segmenter\.onnx: TensorRT cannot build it: .*Conv_3.*try another level"),
    build_out_of_memory: (BuildError, r"cannot build it: .*OutOfMemory.*try a smaller max_batch \(8\)"),
    cancelled: (CancelledError, r"segmenter\.onnx: the build was cancelled; nothing was written"),
    not_built: (NotBuiltError, r"no plan for it is built here yet; here: TensorRT .*; run: headrace build"),
    full_disk: (CacheError, r"\.plan: the disk is full \(.* MB needed, .* MB free\); make room"),
    no_room: (CacheError, r"cannot keep a plan in .*: the disk is full \(about .* MB needed"),
    truncated: (BuildError, r"no such file, and no plan .* has \d+ bytes, and \d+ were written"),
    another_gpu: (BuildError, r"here: .* on Double A9 \(8\.0\).*; found: .* on Double H9 \(9\.0\).*built elsewhere"),
    another_version: (BuildError, r"here: TensorRT 11\.5\.0\.1 .*; found: TensorRT 1.*built elsewhere"),
    refused_plan: (BuildError, r"no plan that was built from it runs here .*Platform specific tag mismatch"),
    no_memory: (DeviceError, r"one more session needs 3000\.0 MB .* and 2000\.0 MB are free; use fewer sessions"),
    no_memory_for_the_plan: (DeviceError, r"the plan takes .* MB of the GPU's memory and more .* MB are free: end"),
    wrong_shape: (EngineInputError, r"input 'frame': got shape 1×12×15×3, allowed: uint8 any×12×16×3"),
    run_failed: (InferError, r"segmenter on tensorrt: .*Cask convolution execution"),
    device_lost: (DeviceError, r"is lost: .*illegal memory access.*what ran on it is gone; start the program again"),
}
"""Where it happens, the class of its error, and what it says."""


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.__name__)
def test_the_message(
    failure: Callable[[Scene], None], bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, said = FAILURES[failure]
    with pytest.raises(kind, match=said) as caught:
        failure(Scene(bench, tmp_path, monkeypatch))
    monkeypatch.undo()
    message = str(caught.value)
    assert type(caught.value) is kind
    assert "\n" not in message
    print(f"\n{failure.__name__.replace('_', ' ')}\n    {kind.__name__}: {message.replace(str(tmp_path), '…')}")


def truncated_plan(scene: Scene) -> None:
    scene.open()
    (plan,) = scene.bench.kept(".plan")
    plan.write_bytes(plan.read_bytes()[:-100])


def newer_tensorrt(scene: Scene) -> None:
    scene.open()
    scene.bench.machine.version = "11.5.0.1"


def graphs_refused(scene: Scene) -> None:
    scene.bench.gpu.refuse("cuStreamBeginCapture_v2", 801)


NOTES: dict[Callable[[Scene], None], str] = {
    truncated_plan: r"the kept plan of segmenter is refused and built again: .* has \d+ bytes, and \d+ were written",
    newer_tensorrt: r"removed an older plan of segmenter, built for TensorRT 1.* on Double H9 \(9\.0\)",
    graphs_refused: r"segmenter: runs without a CUDA graph: cuStreamBeginCapture_v2: CUDA_ERROR_NOT_SUPPORTED",
}
"""What stops nothing, and is noted."""


@pytest.mark.parametrize("happening", NOTES, ids=lambda happening: happening.__name__)
def test_the_note(
    happening: Callable[[Scene], None], bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(bench, tmp_path, monkeypatch)
    happening(scene)
    with bench.open(scene.segmenter()) as engine, engine.session() as session:
        for _ in range(3):
            session.infer({"frame": np.zeros((1, 12, 16, 3), np.uint8)})
    (note,) = engine.notes
    assert re.fullmatch(NOTES[happening] + ".*", note)
    print(f"\n{happening.__name__.replace('_', ' ')}\n    runs on, and notes: {note}")


def test_every_message_is_its_own() -> None:
    assert len({said for _, said in FAILURES.values()}) == len(FAILURES)
