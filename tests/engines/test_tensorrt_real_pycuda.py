"""TensorRT's double on the real pycuda, over a libcuda without a GPU: engines and whole pipelines give the same."""

import pytest
from real_pycuda import RealPycuda

pytestmark = pytest.mark.pycuda
SAME = (
    "tests/engines/test_tensorrt_double.py",
    "tests/engines/trt/test_contract.py",
    "tests/engines/trt/test_engine.py",
    "tests/engines/trt/test_inspect.py",
    "tests/stream/test_tensorrt_pipeline.py",
)


@pytest.fixture(scope="module")
def pycuda() -> RealPycuda:
    built = RealPycuda()
    built.build()
    return built


@pytest.mark.parametrize("file", SAME)
def test_what_holds_on_the_double_holds_on_the_real_pycuda(pycuda: RealPycuda, file: str) -> None:
    done = pycuda.run("-m", "pytest", "-q", "-p", "no:cacheprovider", file)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
