"""TensorRT and pycuda as doubles, as both majors; every test ends with nothing left on the pretended GPU."""

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
from doubled import doubled


class Gpu:
    """The machine that a test runs on."""

    def __init__(self, machine: Any, driver: Any, graphs: Any) -> None:
        self.machine = machine
        """TensorRT's side: versions, failures to come, what was built."""
        self.driver = driver
        """pycuda's double."""
        self.graphs = graphs
        """What stands in for libcuda where graphs are made."""


@pytest.fixture(params=[10, 11], ids=["tensorrt10", "tensorrt11"])
def gpu(request: pytest.FixtureRequest) -> Iterator[Gpu]:
    with doubled(request.param) as doubles:
        module = importlib.import_module("tensorrt.machine")
        module.machine.reset()
        module.machine.version = module.VERSIONS[request.param]
        yield Gpu(module.machine, doubles.driver, doubles.graphs)
        assert module.machine.contexts == 0, f"{module.machine.contexts} execution contexts were not closed"
