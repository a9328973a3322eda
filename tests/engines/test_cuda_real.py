"""The same tests on the real pycuda, built from its source over a libcuda without a GPU; minutes the first time."""

import shutil
from ctypes.util import find_library

import pytest
from peers import missing
from real_pycuda import RealPycuda

pytestmark = pytest.mark.pycuda
SAME = [f"tests/engines/test_cuda{name}.py" for name in ("", "_graph", "_rules")]


@pytest.fixture(scope="module")
def pycuda() -> RealPycuda:
    if shutil.which("gcc") is None or shutil.which("g++") is None:
        missing("a C++ compiler is needed to build pycuda: apt-get install g++")
    built = RealPycuda()
    built.build()
    return built


@pytest.mark.parametrize("file", SAME)
def test_what_holds_on_the_double_holds_on_the_real_pycuda(pycuda: RealPycuda, file: str) -> None:
    done = pycuda.run("-m", "pytest", "-q", "-p", "no:cacheprovider", file)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


ASK = """
from headrace.engines import cuda, cuda_graph
import pycuda.driver as driver
print(cuda.trouble(), driver.__file__)
print(cuda_graph.library())
"""


def test_the_real_library_loads(pycuda: RealPycuda) -> None:
    done = pycuda.run("-W", "error", "-c", ASK)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"None {pycuda.site}")
    assert "libcuda.so.1" in done.stdout


def test_a_device_that_was_not_closed_lets_the_process_end(pycuda: RealPycuda) -> None:
    code = "from headrace.engines import cuda; cuda.open_device().run(lambda: (cuda.Stream(), cuda.Buffer(1000)))"
    done = pycuda.run("-W", "error", "-c", code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_tests_for_a_gpu_pass_where_there_is_none(pycuda: RealPycuda) -> None:
    done = pycuda.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", "tests/engines/test_cuda_gpu.py")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


def test_without_libcuda_the_real_pycuda_is_no_driver(pycuda: RealPycuda) -> None:
    if find_library("cuda") is not None:
        pytest.skip("this machine has a driver")
    code = "from headrace.engines import cuda; print(cuda.trouble())"
    done = pycuda.run("-W", "error", "-c", code, LD_LIBRARY_PATH="")
    assert "no NVIDIA driver is visible (libcuda.so.1 does not load)" in done.stdout, done.stdout + done.stderr
