"""What is said where there is no pycuda, no driver or no GPU: each in a process of its own, for an import is once."""

import subprocess
import sys
from pathlib import Path

import pytest

ASK = """
from headrace.engines import cuda
print(cuda.trouble())
try:
    cuda.open_device()
except Exception as error:
    print(type(error).__name__)
    assert str(error) == cuda.trouble()
import threading
print([thread.name for thread in threading.enumerate() if thread.name.startswith("hr-")])
"""


def ask(folder: Path, driver: str | None) -> list[str]:
    """What the module says where `import pycuda.driver` does what the source of `driver` does; None: no pycuda."""
    (folder / "pycuda").mkdir()
    if driver is None:
        (folder / "pycuda" / "__init__.py").write_text("raise ModuleNotFoundError('no pycuda', name='pycuda')\n")
    else:
        (folder / "pycuda" / "__init__.py").touch()
        (folder / "pycuda" / "driver.py").write_text(driver)
    code = f"import sys; sys.path.insert(0, {str(folder)!r})\n{ASK}"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


LOADS = """
class Error(Exception): pass
class RuntimeError(Error): pass
class Device:
    count = staticmethod(lambda: {count})
def init(): {init}
"""


@pytest.mark.parametrize(
    ("driver", "kind", "words"),
    [
        (None, "MissingBackendError", ["pycuda is not installed", 'pip install "headrace[tensorrt]"']),
        (
            "import pytools_that_is_not_there",
            "MissingBackendError",
            ["pycuda needs pytools_that_is_not_there", 'pip install "headrace[tensorrt]"'],
        ),
        (
            "raise ImportError('libcuda.so.1: cannot open shared object file: No such file or directory')",
            "DeviceError",
            ["no NVIDIA driver is visible", "install the driver", "docker run --gpus all"],
        ),
        (
            "raise ImportError('libcurand.so.10: cannot open shared object file: No such file or directory')",
            "MissingBackendError",
            ["pycuda does not load (libcurand.so.10", "build it anew"],
        ),
        (
            "raise ImportError('_driver.so: undefined symbol: cuCtxCreate_v4')",
            "DeviceError",
            ["driver is older than the CUDA that pycuda was built for (", "cuCtxCreate_v4", "update the driver"],
        ),
        (
            LOADS.format(count=0, init="raise RuntimeError('cuInit failed: no CUDA-capable device is detected')"),
            "DeviceError",
            ["finds no GPU that can be used (cuInit failed: no CUDA-capable device is detected)", "nvidia-smi"],
        ),
        (
            LOADS.format(count=0, init="pass"),
            "DeviceError",
            ["finds no GPU that can be used", "CUDA_VISIBLE_DEVICES"],
        ),
    ],
    ids=[
        "no pycuda",
        "no requirement of pycuda",
        "no driver",
        "no cuRAND",
        "old driver",
        "cuInit fails",
        "no device",
    ],
)
def test_each_lack_has_its_own_words(tmp_path: Path, driver: str | None, kind: str, words: list[str]) -> None:
    says, raised, threads = ask(tmp_path, driver)
    for word in words:
        assert word in says
    assert raised == kind
    assert threads == "[]"
