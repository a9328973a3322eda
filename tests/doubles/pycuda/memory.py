"""Memory of the device and pinned memory of the host."""

import ctypes
import weakref

import numpy as np

from pycuda.errors import LogicError, MemoryError
from pycuda.machine import dispose, gpu, lock, need, need_owner, require_alive, require_safe
from pycuda.streams import drain_all


def plain_int(value, call):
    if type(value) is not int:  # Boost.Python: numpy's integers are none
        raise TypeError(
            f"Python argument types in\n    pycuda._driver.{call}({type(value).__name__})\n"
            "did not match C++ signature"
        )
    return value


class DeviceAllocation:
    def __init__(self, size):
        context = need("cuMemAlloc")
        require_safe("cuMemAlloc")
        with lock:
            if size > gpu.total - gpu.held_bytes:
                raise MemoryError("cuMemAlloc failed: out of memory")
            memory = ctypes.create_string_buffer(size + 512)
            ctypes.memset(memory, 0xA5, size + 512)
            self._address = (ctypes.addressof(memory) + 511) // 512 * 512
            gpu.blocks[self._address] = (size, memory)
        self._context = context

    def __int__(self):
        return self._address

    __index__ = __int__

    def free(self):
        if self._context is None:
            raise LogicError("device_allocation::free failed: invalid resource handle")
        self._dispose()

    def _dispose(self):
        context, self._context = self._context, None
        dispose("device_allocation", context, self._forget)

    def _forget(self):
        drain_all()  # the driver waits for the device before it takes memory back
        with lock:
            gpu.blocks.pop(self._address, None)

    def __del__(self):
        if getattr(self, "_context", None) is not None:
            self._dispose()


def mem_alloc(size):
    if plain_int(size, "mem_alloc") == 0:
        raise LogicError("cuMemAlloc failed: invalid argument")
    return DeviceAllocation(size)


def mem_get_info():
    need("cuMemGetInfo")
    return gpu.total - gpu.held_bytes, gpu.total


class HostMemory:
    """Pinned bytes; `alive` goes when the arrays over them do."""

    def __init__(self, size):
        self.data = ctypes.create_string_buffer(size + 4096)
        self.address = (ctypes.addressof(self.data) + 4095) // 4096 * 4096
        self.size, self.alive = size, True


pinned = weakref.WeakValueDictionary()  # address -> HostMemory


class PagelockedHostAllocation:
    """What keeps a pinned array's memory; freed by the same thread rule as device memory."""

    def __init__(self, shape, dtype, order, size):
        self._context = need_owner()
        require_alive("cuMemHostAlloc")
        with lock:
            if gpu.host_limit and gpu.held_host_bytes + size > gpu.host_limit:
                raise MemoryError("cuMemHostAlloc failed: out of memory")
            gpu.held_host_bytes += size
        self._memory = HostMemory(size)
        pinned[self._memory.address] = self._memory
        self.__array_interface__ = {
            "version": 3,
            "shape": (size,),
            "typestr": "|u1",
            "data": (self._memory.address, False),
        }

    def __del__(self):
        memory = getattr(self, "_memory", None)
        if memory is not None:
            dispose("pagelocked_host_allocation", self._context, lambda: self._forget(memory))

    def _forget(self, memory):
        memory.alive = False
        with lock:
            gpu.held_host_bytes -= memory.size


def pagelocked_empty(shape, dtype, order="C", mem_flags=0):
    lengths = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    for length in lengths:
        if type(length) is not int:
            raise TypeError(
                "No registered converter was able to produce a C++ rvalue of type long from this Python object of "
                f"type {type(length).__module__}.{type(length).__name__}"
            )
    dtype = np.dtype(dtype)
    size = dtype.itemsize
    for length in lengths:
        size *= length
    need("cuMemHostAlloc")
    if size == 0:
        raise LogicError("cuMemHostAlloc failed: invalid argument")
    owner = PagelockedHostAllocation(lengths, dtype, order, size)
    return np.asarray(owner).view(dtype).reshape(lengths, order=order)
