"""Work on a CUDA stream, with pycuda's double and with the real one: queued in order, recorded while it captures."""

import ctypes
import traceback
from collections.abc import Callable
from typing import Any

_HostFunction = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_LAUNCH_FAILED = 719
_kept: list[Any] = []
"""What was handed to the driver: a graph may call it at any later time."""


def require_context(what: str) -> None:
    """Every call needs a CUDA context that is current in its thread, as the real library does when asked to run.

    Raises:
        AssertionError: the calling thread has none.
    """
    from pycuda import driver

    assert driver.Context.get_current() is not None, f"{what}: no CUDA context is current in this thread"


def wait_for_the_device() -> None:
    """What the library may do at any time outside of a run: where a graph is recorded, it fails, and the graph too."""
    from pycuda import driver

    driver.Context.synchronize()


def enqueue(stream_handle: int, job: Callable[[], None]) -> None:
    """Have the job done when the stream comes to it."""
    from pycuda import driver

    if not _is_double(driver):
        function = _HostFunction(lambda _: _told(job))
        _kept.append(function)
        result = ctypes.CDLL("libcuda.so.1").cuLaunchHostFunc(ctypes.c_void_p(stream_handle), function, None)
        assert result == 0, f"cuLaunchHostFunc: CUDA error {result}"
    elif stream_handle:
        driver._enqueue(stream_handle, job)
    else:
        driver.Context.synchronize()
        job()


def drain(stream_handle: int) -> bool:
    """Wait for what was queued before, as outputs do whose size depends on data; False while the stream captures."""
    from pycuda import driver

    if not _is_double(driver):
        return ctypes.CDLL("libcuda.so.1").cuStreamSynchronize(ctypes.c_void_p(stream_handle)) == 0
    if stream_handle and driver._streams[stream_handle]._capture is not None:
        return False
    if stream_handle:
        driver._drain(stream_handle)
    return True


def check_address(address: int, size: int) -> None:
    """Device memory that the work uses must be somebody's, or the device faults."""
    from pycuda import driver

    if _is_double(driver):
        driver._inside(address, size, "cuLaunchKernel")


def break_device(text: str) -> None:
    """What a faulting kernel does: the next look at the device tells it, and so does every call after."""
    from pycuda import driver

    if _is_double(driver):
        raise driver.LaunchError(f"cuLaunchKernel failed: {text}")
    ctypes.CDLL("libcuda.so.1").fake_fail_next(_LAUNCH_FAILED)  # of the library that stands in for the real one


def _is_double(driver: Any) -> bool:
    return hasattr(driver, "_enqueue")


def _told(job: Callable[[], None]) -> None:
    try:
        job()
    except Exception:  # nothing can pass through the driver's frames
        traceback.print_exc()
