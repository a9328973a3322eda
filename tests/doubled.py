"""Puts the doubles of pycuda and TensorRT where `import` finds them, for the length of a test.

In a process that tests/real_pycuda.py started, pycuda is the real one over a libcuda without a GPU, and only TensorRT
is doubled; the same tests run on both.
"""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from real_pycuda import MARK, LibcudaGpu

DOUBLES = Path(__file__).with_name("doubles")
VERSIONS = {10: "10.16.1.11", 11: "11.4.0.106"}
_BUILT_ON_THEM = ("headrace.engines.cuda", "headrace.engines.cuda_graph", "headrace.engines.trt", "tensorrt")

real = MARK in os.environ
"""Whether pycuda is the real one."""


class Gpu(Protocol):
    """The machine that a test runs on, as both kinds offer it."""

    launches: int
    """How many graphs were launched."""
    open_graphs: int
    """How many graphs and executables were not destroyed."""
    held_bytes: int
    """Device memory that was not freed."""
    held_host_bytes: int
    """Pinned memory that was not freed."""

    def journal(self) -> list[tuple[str, int, str]]:
        """What happened on the streams, in order: (queued or ran, stream handle, what)."""

    def fail_next(self, text: str = ...) -> None:
        """Let the next piece of work on the device fail, and with it every later call."""

    def set_memory(self, total: int, host_limit: int = 0) -> None:
        """Bytes of the device; bytes that may be pinned, 0 for no limit."""

    def set_devices(self, count: int) -> None:
        """How many GPUs the driver finds."""

    def refuse(self, call: str, code: int) -> None:
        """Let the next call of that function of the driver's (of those for graphs) return the code."""

    def leaked(self) -> list[str]:
        """Threads that ended with a context pushed: there the real pycuda aborts the process."""

    def reset(self) -> None:
        """A machine as new."""


class Doubles:
    """The libraries of one test."""

    def __init__(self, driver: Any, gpu: Gpu) -> None:
        self.driver = driver
        """pycuda.driver."""
        self.gpu = gpu
        self.graphs = gpu


@contextmanager
def doubled(major: int = 11) -> Iterator[Doubles]:
    """Both libraries, TensorRT as version 10 or 11; what was imported on top of them goes again.

    Raises:
        AssertionError: at the end, where a thread left a context pushed or something was not freed.
    """
    patch = pytest.MonkeyPatch()
    patch.setenv("DOUBLE_TRT_VERSION", VERSIONS[major])
    patch.syspath_prepend(str(DOUBLES))
    if real:
        sys.path.append(sys.path.pop(0))  # behind the folder with the real pycuda
    _forget()
    try:
        driver: Any = importlib.import_module("pycuda.driver")
        gpu: Gpu
        if real:
            gpu = LibcudaGpu()
        else:
            gpu = driver.gpu
            cuda_graph: Any = importlib.import_module("headrace.engines.cuda_graph")
            cuda_graph.library = lambda: driver.libcuda
        gpu.reset()
        yield Doubles(driver, gpu)
        assert not gpu.leaked(), f"threads that ended with a context pushed: {gpu.leaked()}"
        assert gpu.held_bytes == 0, f"{gpu.held_bytes} bytes of device memory were not freed"
        assert gpu.held_host_bytes == 0, f"{gpu.held_host_bytes} bytes of pinned memory were not freed"
        assert gpu.open_graphs == 0, f"{gpu.open_graphs} graphs were not destroyed"
    finally:
        _forget()
        patch.undo()


def _forget() -> None:
    """Take the doubles, and what was imported on top of them, out of the process; a real library stays loaded."""
    names = _BUILT_ON_THEM if real else (*_BUILT_ON_THEM, "pycuda")
    for name in [*sys.modules]:
        if any(name == each or name.startswith(each + ".") for each in names):
            del sys.modules[name]
            parent, _, child = name.rpartition(".")
            if parent in sys.modules:
                vars(sys.modules[parent]).pop(child, None)
