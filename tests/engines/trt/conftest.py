"""TensorRT and pycuda as doubles, as both majors."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_models
from trt_bench import Bench, bench_of

from headrace.models.spec import ModelSpec


@pytest.fixture(params=[10, 11], ids=["tensorrt10", "tensorrt11"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with bench_of(request.param) as found:
        yield found


@pytest.fixture
def segmenter(tmp_path: Path) -> ModelSpec:
    return tiny_models.segmenter(tmp_path)
