"""Work on a CUDA stream, with pycuda's double and with the real one: queued in order, recorded while it captures."""

import ctypes
import traceback
from collections.abc import Callable
from typing import Any

_HostFunction = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_kept: list[Any] = []
"""What was handed to the driver: a graph may call it at any later time."""


def require_context(what: str) -> None:
    """Every call needs a CUDA context that is current in its thread, as the real library does when asked to run.

    Raises:
        AssertionError: the calling thread has none.
    """
    from pycuda import driver

    assert driver.Context.get_current() is not None, f"{what}: no CUDA context is current in this thread"


def enqueue(stream_handle: int, job: Callable[[], None]) -> None:
    """Have the job done when the stream comes to it."""
    from pycuda import driver

    if not _is_double(driver):
        function = _HostFunction(lambda _: _told(job))
        _kept.append(function)
        _call("cuLaunchHostFunc", ctypes.c_void_p(stream_handle), function, None)
    elif stream_handle:
        driver._enqueue(stream_handle, job)
    else:
        driver.Context.synchronize()
        job()


def drain(stream_handle: int) -> None:
    """Wait for what was queued before: outputs that depend on data are told to the host."""
    from pycuda import driver

    if not _is_double(driver):
        _call("cuStreamSynchronize", ctypes.c_void_p(stream_handle))
    elif stream_handle:
        driver._drain(stream_handle)
    else:
        driver.Context.synchronize()


def is_capturing(stream_handle: int) -> bool:
    """Whether what is queued now is recorded instead of run."""
    from pycuda import driver

    if _is_double(driver):
        return stream_handle in driver._streams and driver._streams[stream_handle]._capture is not None
    status = ctypes.c_int()
    _call("cuStreamIsCapturing", ctypes.c_void_p(stream_handle), ctypes.byref(status))
    return status.value != 0


def check_address(address: int, size: int) -> None:
    """Device memory that the work uses must be somebody's, or the device faults."""
    from pycuda import driver

    if _is_double(driver):
        driver._inside(address, size, "cuLaunchKernel")


def break_device(text: str) -> None:
    """What a faulting kernel does: the next look at the device tells it, and so does every call after."""
    from pycuda import driver

    raise driver.LaunchError(f"cuLaunchKernel failed: {text}")


def _call(function: str, *arguments: Any) -> None:
    result = getattr(ctypes.CDLL("libcuda.so.1"), function)(*arguments)
    assert result == 0, f"{function}: CUDA error {result}"


def _is_double(driver: Any) -> bool:
    return hasattr(driver, "_enqueue")


def _told(job: Callable[[], None]) -> None:
    try:
        job()
    except Exception:  # nothing can pass through the driver's frames
        traceback.print_exc()
