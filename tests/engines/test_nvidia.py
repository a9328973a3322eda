"""What is said of a machine's NVIDIA parts, over a driver library that the test makes with gcc."""

import ctypes
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from peers import missing

from headrace.engines import nvidia

SOURCE = r"""
#include <string.h>
int cuInit(unsigned flags) { return INIT; }
int cuDriverGetVersion(int *v) { *v = 12040; return 0; }
int cuDeviceGetCount(int *n) { *n = 2; return 0; }
int cuDeviceGet(int *d, int i) { *d = i + 40; return 0; }
int cuDeviceGetName(char *s, int n, int d) { strncpy(s, d == 40 ? "Big" : "Old", n); return 0; }
int cuDeviceTotalMem_v2(unsigned long *n, int d) { *n = (d == 40 ? 24ul : 8ul) << 30; return 0; }
int cuDeviceGetAttribute(int *v, int a, int d) { *v = a == 75 ? (d == 40 ? 8 : 6) : (d == 40 ? 9 : 1); return 0; }
"""
SOUND = nvidia.Nvidia(
    driver="580.1",
    cuda=(13, 0),
    gpus=(nvidia.Gpu(name="Big", capability=(8, 9), memory_bytes=24 << 30),),
    tensorrt="11.4.0.106",
    tensorrt_cuda=13,
    pycuda="2026.1",
    trouble=None,
)


def driver(folder: Path, init: int = 0) -> ctypes.CDLL:
    """A driver with two GPUs, whose cuInit gives `init`."""
    if shutil.which("gcc") is None:
        missing("gcc is not installed (see .ci/packages.txt)")
    (folder / "driver.c").write_text(SOURCE, encoding="utf-8")
    library = folder / "libcuda.so.1"
    command = ["gcc", "-shared", "-fPIC", f"-DINIT={init}", "-o", str(library), str(folder / "driver.c")]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(library))


def test_the_driver_tells_its_gpus(tmp_path: Path) -> None:
    found = nvidia.look(driver(tmp_path))
    assert found.cuda == (12, 4)
    assert found.trouble is None
    assert [str(gpu) for gpu in found.gpus] == [
        "Big, compute capability 8.9, 24 GiB",
        "Old, compute capability 6.1, 8 GiB",
    ]
    assert list(replace(found, tensorrt=None, tensorrt_cuda=None).misfits()) == [
        "Old, compute capability 6.1, 8 GiB: below compute capability 7.5, which TensorRT needs:"
        " use openvino or onnxruntime"
    ]


@pytest.mark.parametrize(("init", "said"), [(100, "finds no GPU"), (999, "does not start (CUDA error 999)")])
def test_a_driver_without_a_gpu_is_said(tmp_path: Path, init: int, said: str) -> None:
    found = nvidia.look(driver(tmp_path, init))
    assert found.gpus == ()
    assert said in str(found.trouble)


def test_no_driver_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "DRIVER_LIBRARY", "libcuda-that-is-not-here.so")
    found = nvidia.look()
    assert (found.cuda, found.gpus) == (None, ())
    assert "no NVIDIA driver is visible" in str(found.trouble)


def test_parts_that_fit_are_not_complained_of() -> None:
    assert list(SOUND.misfits()) == []


def test_a_driver_older_than_tensorrts_cuda_is_said() -> None:
    (line,) = replace(SOUND, cuda=(12, 8)).misfits()
    assert line == (
        "TensorRT 11.4.0.106 is built for CUDA 13, but the driver serves CUDA 12.8 at most:"
        " update the driver, or pip install tensorrt_cu12"
    )


@pytest.mark.parametrize(
    ("version", "works"),
    [("10.12.0", False), ("10.13.3.9", True), ("10.16.1.11", True), ("11.4.0.106", True), ("12.0.0", False)],
)
def test_the_range_of_tensorrt(version: str, works: bool) -> None:
    assert nvidia.supported(version) is works
    lines = list(replace(SOUND, tensorrt=version).misfits())
    assert lines == [] if works else "supported: 10.13 to 11.x; pip install" in lines[0]
