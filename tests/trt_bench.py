"""A machine with a pretended GPU, for the tests of the TensorRT engine."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from doubled import Gpu, doubled

from headrace.engines.store import cache_root
from headrace.models.spec import ModelSpec

_OF_THE_ENGINE = frozenset({"precision", "sessions", "build", "progress", "cancelled"})


class Bench:
    """The machine that a test runs on."""

    def __init__(self, machine: Any, gpu: Gpu) -> None:
        self.machine = machine
        """TensorRT's side: versions, failures to come, what was built."""
        self.gpu = gpu
        """CUDA's side: memory, streams, graphs."""

    def module(self, name: str) -> Any:
        """A module of headrace.engines.trt, as it is imported on top of the doubles."""
        return importlib.import_module(f"headrace.engines.trt.{name}")

    def open(self, spec: ModelSpec, **options: Any) -> Any:
        """The engine; `options` are its own, or those of its build."""
        module = self.module("engine")
        own = {name: value for name, value in options.items() if name in _OF_THE_ENGINE}
        build = {name: value for name, value in options.items() if name not in own}
        return module.TensorRtEngine(spec, options=module.BuildOptions(**build), **own)

    @property
    def plans(self) -> Path:
        """The folder of what was built."""
        return cache_root() / "plans"

    def kept(self, suffix: str = "") -> list[Path]:
        """Its files of that kind: no locks, which are empty, but drafts that were left behind."""
        return [path for path in sorted(self.plans.glob("*" + suffix)) if path.suffix != ".lock"]


@contextmanager
def bench_of(major: int) -> Iterator[Bench]:
    """TensorRT and pycuda as doubles; at the end nothing may be left on the pretended GPU."""
    with doubled(major) as doubles:
        machine = importlib.import_module("tensorrt.machine").machine
        machine.reset()
        yield Bench(machine, doubles.gpu)
        assert machine.contexts == 0, f"{machine.contexts} execution contexts were not closed"
