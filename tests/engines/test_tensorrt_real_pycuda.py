"""The real pycuda over a libcuda without a GPU: its interface, and TensorRT's double on it, engines and pipelines."""

from pathlib import Path

import pytest
from real_pycuda import RealPycuda

pytestmark = pytest.mark.pycuda
API = Path(__file__).parents[1] / "api"
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


def test_the_kept_interface_is_that_of_the_real_pycuda(pycuda: RealPycuda, tmp_path: Path) -> None:
    done = pycuda.run(str(API / "read_pycuda.py"), str(tmp_path / "read.json"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "read.json").read_text() == (API / "pycuda.json").read_text()
