"""Puts the doubles of pycuda and TensorRT where `import` finds them, for the length of a test."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

DOUBLES = Path(__file__).with_name("doubles")
_DOUBLED = ("pycuda", "tensorrt")
_BUILT_ON_THEM = ("headrace.engines.cuda", "headrace.engines.cuda_graph", "headrace.engines.trt")


class Doubles:
    """The doubled libraries of one test."""

    def __init__(self, driver: Any, graphs: Any) -> None:
        self.driver = driver
        """The double of pycuda.driver."""
        self.graphs = graphs
        """What stands in for libcuda.so.1 where graphs are made."""

    @property
    def machine(self) -> Any:
        """What TensorRT's double runs on, and what is to go wrong there."""
        return importlib.import_module("tensorrt.machine").machine


@contextmanager
def doubled(major: int = 11) -> Iterator[Doubles]:
    """Both libraries as doubles, TensorRT as version 10 or 11; what was imported on top of them goes again.

    Raises:
        AssertionError: at the end, where a thread left a context pushed or device memory was not freed.
    """
    patch = pytest.MonkeyPatch()
    patch.setenv("DOUBLE_TRT_MAJOR", str(major))
    patch.syspath_prepend(str(DOUBLES))
    _forget()
    try:
        driver: Any = importlib.import_module("pycuda.driver")
        driver.reset()
        graphs = driver.GraphLib()
        cuda_graph: Any = importlib.import_module("headrace.engines.cuda_graph")
        cuda_graph.library = lambda: graphs
        yield Doubles(driver, graphs)
        assert not driver.leaked(), f"threads that ended with a context pushed: {driver.leaked()}"
        assert driver.held_bytes() == 0, f"{driver.held_bytes()} bytes of device memory were not freed"
        assert driver.held_host_bytes() == 0, f"{driver.held_host_bytes()} bytes of pinned memory were not freed"
        assert graphs.open_graphs == 0, f"{graphs.open_graphs} graphs were not destroyed"
    finally:
        _forget()
        patch.undo()


def _forget() -> None:
    """Take the doubles, and what was imported on top of them, out of the process."""
    for name in [*sys.modules]:
        if name.split(".")[0] in _DOUBLED or _is_or_lies_in(name, _BUILT_ON_THEM):
            del sys.modules[name]
            parent, _, child = name.rpartition(".")
            if parent in sys.modules:
                vars(sys.modules[parent]).pop(child, None)


def _is_or_lies_in(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)
