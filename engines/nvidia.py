"""What NVIDIA hardware and software a machine has, and whether the parts fit; the driver itself is asked."""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

DRIVER_LIBRARY = "libcuda.so.1"
TENSORRT_FROM, TENSORRT_BEFORE = (10, 13), (12,)
"""The TensorRT versions that the code was checked against: strong typing is whole from 10.13 on."""
SUPPORTED = f"{'.'.join(map(str, TENSORRT_FROM))} to {TENSORRT_BEFORE[0] - 1}.x"
"""The same as people write them."""
INSTALL = 'pip install "headrace[tensorrt]"'
NO_DRIVER = (
    f"no NVIDIA driver is visible ({DRIVER_LIBRARY} does not load): install the driver; in a container, start it with "
    "the NVIDIA runtime (docker run --gpus all)"
)
LEAST_CAPABILITY = (7, 5)
"""What CUDA 13 and TensorRT from 10.13 on still run on."""
_NO_DEVICE = 100
_MAJOR_ATTRIBUTE, _MINOR_ATTRIBUTE = 75, 76
_KERNEL_MODULE = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU as the driver names it."""

    name: str
    capability: tuple[int, int]
    memory_bytes: int

    def __str__(self) -> str:
        major, minor = self.capability
        return f"{self.name}, compute capability {major}.{minor}, {self.memory_bytes / 2**30:.0f} GiB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nvidia:
    """The driver, its GPUs, and the libraries that would use them."""

    driver: str | None
    """The driver's own version; None where its kernel module does not tell."""
    cuda: tuple[int, int] | None
    """The newest CUDA that the driver serves; None without a driver."""
    gpus: tuple[Gpu, ...]
    tensorrt: str | None
    """The installed version; None where it is not installed."""
    tensorrt_cuda: int | None
    """The CUDA major that TensorRT was built for."""
    pycuda: str | None
    trouble: str | None
    """Why there is no GPU to use, and what to do; None where there is one."""

    def misfits(self) -> Iterator[str]:
        """What does not fit together, each as a line that says what to do; nothing where all fits."""
        if self.tensorrt is not None and not supported(self.tensorrt):
            yield f"TensorRT {self.tensorrt} is not supported; supported: {SUPPORTED}; {INSTALL}"
        if self.cuda is not None and self.tensorrt_cuda is not None and self.tensorrt_cuda > self.cuda[0]:
            yield (
                f"TensorRT {self.tensorrt} is built for CUDA {self.tensorrt_cuda}, but the driver serves CUDA"
                f" {self.cuda[0]}.{self.cuda[1]} at most: update the driver, or pip install tensorrt_cu{self.cuda[0]}"
            )
        for gpu in self.gpus:
            if gpu.capability < LEAST_CAPABILITY:
                yield f"{gpu}: below compute capability 7.5, which TensorRT needs: use openvino or onnxruntime"


def supported(tensorrt: str) -> bool:
    """Whether a version of TensorRT is one that the code was checked against."""
    parts = tuple(int(part) for part in tensorrt.split(".")[:2])
    return TENSORRT_FROM <= parts < TENSORRT_BEFORE


def look(library: Any = None) -> Nvidia:
    """Ask the driver; nothing is set up on a GPU, and nothing is left behind.

    Args:
        library: libcuda; None to load the machine's.
    """
    cuda: tuple[int, int] | None = None
    gpus: tuple[Gpu, ...] = ()
    trouble: str | None = None
    try:
        driver = library or ctypes.CDLL(DRIVER_LIBRARY)
    except OSError:
        trouble = NO_DRIVER
    else:
        cuda = _cuda_version(driver)
        gpus, trouble = _gpus(driver)
    name, tensorrt_cuda = _tensorrt()
    return Nvidia(
        driver=_kernel_module(),
        cuda=cuda,
        gpus=gpus,
        tensorrt=name,
        tensorrt_cuda=tensorrt_cuda,
        pycuda=_version("pycuda"),
        trouble=trouble,
    )


def _cuda_version(driver: Any) -> tuple[int, int]:
    number = ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(number))
    return number.value // 1000, number.value % 1000 // 10


def _gpus(driver: Any) -> tuple[tuple[Gpu, ...], str | None]:
    answer = driver.cuInit(0)
    count = ctypes.c_int()
    if answer == 0:
        answer = driver.cuDeviceGetCount(ctypes.byref(count))
    if answer == _NO_DEVICE or (answer == 0 and count.value == 0):
        return (), "the NVIDIA driver finds no GPU: see nvidia-smi; in a container, start it with --gpus all"
    if answer != 0:
        return (), f"the NVIDIA driver does not start (CUDA error {answer}): see nvidia-smi, or restart the machine"
    return tuple(_gpu(driver, index) for index in range(count.value)), None


def _gpu(driver: Any, index: int) -> Gpu:
    device, number, size = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(256)
    driver.cuDeviceGet(ctypes.byref(device), index)
    driver.cuDeviceGetName(name, len(name), device)
    driver.cuDeviceTotalMem_v2(ctypes.byref(size), device)
    capability = []
    for attribute in (_MAJOR_ATTRIBUTE, _MINOR_ATTRIBUTE):
        driver.cuDeviceGetAttribute(ctypes.byref(number), attribute, device)
        capability.append(number.value)
    major, minor = capability
    return Gpu(name=name.value.decode(errors="replace"), capability=(major, minor), memory_bytes=size.value)


def _tensorrt() -> tuple[str | None, int | None]:
    """TensorRT's version and its CUDA major, from what pip installed: importing it would load a gigabyte."""
    for name, cuda in (("tensorrt_cu13", 13), ("tensorrt_cu12", 12)):
        found = _version(name)
        if found is not None:
            return found, cuda
    return _version("tensorrt"), None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _kernel_module() -> str | None:
    try:
        words = _KERNEL_MODULE.read_text(encoding="utf-8").split()
    except OSError:
        return None
    return next((word for word in words if word[0].isdigit() and word.count(".") >= 1), None)
