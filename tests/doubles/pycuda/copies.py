"""Copies between host and device."""

import ctypes

import numpy as np

from pycuda.errors import LogicError
from pycuda.machine import gpu, lock, need, require_alive
from pycuda.memory import pinned, plain_int
from pycuda.streams import a_stream, drain_all, use_default_stream


def inside(pointer, size, call):
    """The address of `size` bytes of device memory, which must be somebody's."""
    address = int(pointer)
    with lock:
        for start, (length, _) in gpu.blocks.items():
            if start <= address and address + size <= start + length:
                return address
    raise LogicError(f"{call} failed: invalid argument")


def bytes_of(array, *, writable=False):
    """The bytes of what has the buffer interface."""
    view = memoryview(array)
    if not view.contiguous:
        raise ValueError("ndarray is not contiguous")
    if writable and view.readonly:
        raise BufferError("memoryview: underlying buffer is not writable")
    if isinstance(array, np.ndarray):
        return array.reshape(-1, order="A").view(np.uint8)
    return np.frombuffer(view, np.uint8)


class HostSide:
    """The host side of an asynchronous copy: pinned memory is used when the copy runs, other memory at once or kept."""

    def __init__(self, flat, *, read):
        address = flat.ctypes.data
        self._memory = next(
            (each for each in list(pinned.values()) if each.address <= address < each.address + each.size), None
        )
        # A copy from memory that is not pinned is staged by the driver before the call returns.
        self._kept = None if self._memory is not None else (flat.copy() if read else flat)
        self._address = address if self._memory is not None else self._kept.ctypes.data

    def address(self):
        if self._memory is not None and not self._memory.alive:
            raise AssertionError("pinned memory was freed before the copy that uses it had run")
        return self._address


def _copy(call, work, stream):
    if a_stream(stream) is not None:
        stream._queue(call, work)
    else:
        use_default_stream(call)
        drain_all()
        work()


def memcpy_htod_async(dest, src, stream=None):
    flat = bytes_of(src)
    size = flat.nbytes
    need("cuMemcpyHtoDAsync")
    to, host = inside(dest, size, "cuMemcpyHtoDAsync"), HostSide(flat, read=True)
    _copy("cuMemcpyHtoDAsync", lambda: ctypes.memmove(inside(to, size, "copy"), host.address(), size), stream)


def memcpy_dtoh_async(dest, src, stream=None):
    flat = bytes_of(dest, writable=True)
    size = flat.nbytes
    need("cuMemcpyDtoHAsync")
    source, host = inside(src, size, "cuMemcpyDtoHAsync"), HostSide(flat, read=False)
    _copy("cuMemcpyDtoHAsync", lambda: ctypes.memmove(host.address(), inside(source, size, "copy"), size), stream)


def memcpy_dtod_async(dest, src, size, stream=None):
    plain_int(size, "memcpy_dtod_async")
    need("cuMemcpyDtoDAsync")
    to, source = inside(dest, size, "cuMemcpyDtoDAsync"), inside(src, size, "cuMemcpyDtoDAsync")
    _copy("cuMemcpyDtoDAsync", lambda: ctypes.memmove(to, source, size), stream)


def memcpy_htod(dest, src):
    flat = bytes_of(src)
    need("cuMemcpyHtoD")
    to = inside(dest, flat.nbytes, "cuMemcpyHtoD")
    _copy("cuMemcpyHtoD", lambda: ctypes.memmove(to, flat.ctypes.data, flat.nbytes), None)
    require_alive("cuMemcpyHtoD")


def memcpy_dtoh(dest, src):
    flat = bytes_of(dest, writable=True)
    need("cuMemcpyDtoH")
    source = inside(src, flat.nbytes, "cuMemcpyDtoH")
    _copy("cuMemcpyDtoH", lambda: ctypes.memmove(flat.ctypes.data, source, flat.nbytes), None)
    require_alive("cuMemcpyDtoH")


def memset_d8_async(dest, data, size, stream=None):
    need("cuMemsetD8Async")
    to = inside(dest, plain_int(size, "memset_d8_async"), "cuMemsetD8Async")
    _copy("cuMemsetD8Async", lambda: ctypes.memset(to, data, size), stream)
