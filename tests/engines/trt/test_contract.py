"""TensorRT by the engine contract, on the double."""

import pytest
from contracts import EngineContract


@pytest.mark.usefixtures("bench")
class TestTensorRt(EngineContract):
    backend = "tensorrt"
