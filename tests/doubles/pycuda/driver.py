"""A double of the part of pycuda.driver that the engines use, on host memory.

Device memory is host memory. Work queued on a stream runs later: one piece at each `Event.query` or `Stream.is_done`,
all of it at a `synchronize`. The rules about threads and contexts are those that the real pycuda 2026.1 showed over a
driver without a GPU (tests/fake_libcuda runs the same scenarios on both); where the real one aborts the process,
`leaked()` tells.

For tests there is `gpu`, the machine, and `libcuda`, which stands in for the driver's library where graphs are made.
"""

import ctypes
import os
import threading
import time
import warnings
import weakref
from collections import deque
from typing import ClassVar

import numpy as np


class Error(Exception):
    pass


class LogicError(Error):
    pass


class MemoryError(Error):  # as in pycuda: not the built-in one
    pass


class RuntimeError(Error):  # as in pycuda: not the built-in one
    pass


class LaunchError(Error):
    pass


class event_flags:
    DEFAULT, BLOCKING_SYNC, DISABLE_TIMING, INTERPROCESS = 0, 1, 2, 4


class host_alloc_flags:
    PORTABLE, DEVICEMAP, WRITECOMBINED = 1, 2, 4


# ---- the machine, and what tests look at and set -------------------------------------------------------------------

_lock = threading.RLock()
_local = threading.local()


class _Gpu:
    """The state that the driver has for all of the process; for tests it is `gpu`, as tests/doubled.py says."""

    def __init__(self):
        self.reset()

    def reset(self):
        """A machine as new; each test imports this module anew, so nothing of the last one is left."""
        self.initialised = False
        self.devices = 1
        self.total = 8 << 30
        self.host_limit = 0
        self.blocks = {}  # address -> (bytes, memory)
        self.held_host_bytes = 0
        self.failure = None  # what the next piece of work fails with
        self.broken = None  # what every call raises from then on: (class, text)
        self.stacks = {}  # thread -> its contexts
        self.events = []
        self.refused = {}  # call -> code that it returns once
        self.graphs = {}  # handle -> recorded work
        self.launches = 0
        _streams.clear()

    @property
    def held_bytes(self):
        return sum(size for size, _ in self.blocks.values())

    @property
    def open_graphs(self):
        return len(self.graphs)

    def journal(self):
        return list(self.events)

    def fail_next(self, text="unspecified launch failure"):
        self.failure = text

    def set_memory(self, total, host_limit=0):
        self.total, self.host_limit = total, host_limit

    def set_devices(self, count):
        self.devices = count

    def refuse(self, call, code):
        self.refused[call] = code

    def leaked(self):
        return [thread.name for thread, stack in self.stacks.items() if stack and not thread.is_alive()]


_streams = weakref.WeakValueDictionary()  # handle -> Stream
_next_handle = [0x5000]
gpu = _Gpu()


# ---- contexts -------------------------------------------------------------------------------------------------------


def _stack():
    stack = getattr(_local, "stack", None)
    if stack is None:
        stack = _local.stack = gpu.stacks.setdefault(threading.current_thread(), [])
    return stack


def _need(call):
    """The current context, as every call needs one."""
    if not gpu.initialised:
        raise LogicError(f"{call} failed: initialization error")
    if not _stack():
        raise LogicError(f"{call} failed: invalid device context")
    _alive(call)
    return _stack()[-1]


def _need_owner():
    """The same for what pycuda ties to a context of its own, which it looks for itself."""
    if not _stack():
        raise LogicError("explicit_context_dependent failed: invalid device context - no currently active context?")
    return _stack()[-1]


def _alive(call):
    if gpu.broken is not None:
        raise gpu.broken[0](f"{call} failed: {gpu.broken[1]}")


def init(flags=0):
    if gpu.devices == 0:
        raise RuntimeError("cuInit failed: no CUDA-capable device is detected")
    gpu.initialised = True


def get_version():
    return (13, 0, 0)


def get_driver_version():
    return 13000


class Context:
    def __init__(self, device, *, primary):
        self._thread = threading.get_ident()
        self._device, self._primary, self._valid = device, primary, True

    @property
    def handle(self):
        return 0xC0DE if self._primary else id(self)

    def push(self):
        _stack().append(self)

    @staticmethod
    def pop():
        if gpu.refused.pop("cuCtxPopCurrent_v2", 0):
            raise LaunchError("cuCtxPopCurrent failed: unspecified launch failure")
        if not _stack():
            raise LogicError("context::pop failed: invalid device context - cannot pop non-current context")
        _stack().pop()

    @staticmethod
    def get_current():
        while _stack() and not _stack()[-1]._valid:
            _stack().pop()
        return _stack()[-1] if _stack() else None

    @staticmethod
    def get_device():
        return _need("cuCtxGetDevice")._device

    @staticmethod
    def synchronize():
        _need("cuCtxSynchronize")
        _drain_all()
        _alive("cuCtxSynchronize")

    def detach(self):
        if not self._valid:
            raise LogicError("context::detach failed: invalid device context - cannot detach from invalid context")
        self._valid = False
        Context.get_current()


class Device:
    def __init__(self, number):
        if not gpu.initialised:
            raise LogicError("cuDeviceGet failed: initialization error")
        if not 0 <= number < gpu.devices:
            raise LogicError("cuDeviceGet failed: invalid device ordinal")
        self._number = number

    @staticmethod
    def count():
        if not gpu.initialised:
            raise LogicError("cuDeviceGetCount failed: initialization error")
        return gpu.devices

    def name(self):
        return os.environ.get("DOUBLE_TRT_GPU", "Double H9")

    def compute_capability(self):
        text = os.environ.get("DOUBLE_TRT_CAPABILITY", "9.0")
        major, minor = text.split(".")
        return (int(major), int(minor))

    def total_memory(self):
        return gpu.total

    def pci_bus_id(self):
        return f"0000:0{self._number}:00.0"

    def retain_primary_context(self):
        return Context(self, primary=True)

    def make_context(self, flags=0):
        context = Context(self, primary=False)
        context.push()
        return context


# ---- memory ---------------------------------------------------------------------------------------------------------


def _dispose(kind, context, free):
    """The rule of pycuda's destructors: without the context, and on another thread, warn and leak."""
    if (_stack() and _stack()[-1] is context) or threading.get_ident() == context._thread:
        free()
    else:
        warnings.warn(f"{kind} in out-of-thread context could not be cleaned up", UserWarning, stacklevel=3)


def _int(value, call):
    if type(value) is not int:  # Boost.Python: numpy's integers are none
        raise TypeError(
            f"Python argument types in\n    pycuda._driver.{call}({type(value).__name__})\n"
            "did not match C++ signature"
        )
    return value


class DeviceAllocation:
    def __init__(self, size):
        context = _need("cuMemAlloc")
        with _lock:
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
        _dispose("device_allocation", context, self._forget)

    def _forget(self):
        _drain_all()  # the driver waits for the device before it takes memory back
        with _lock:
            gpu.blocks.pop(self._address, None)

    def __del__(self):
        if getattr(self, "_context", None) is not None:
            self._dispose()


def mem_alloc(size):
    if _int(size, "mem_alloc") == 0:
        raise LogicError("cuMemAlloc failed: invalid argument")
    return DeviceAllocation(size)


def mem_get_info():
    _need("cuMemGetInfo")
    return gpu.total - gpu.held_bytes, gpu.total


class _HostMemory:
    """Pinned bytes; `alive` goes when the arrays over them do."""

    def __init__(self, size):
        self.data = ctypes.create_string_buffer(size + 4096)
        self.address = (ctypes.addressof(self.data) + 4095) // 4096 * 4096
        self.size, self.alive = size, True


_pinned = weakref.WeakValueDictionary()  # address -> _HostMemory


class PagelockedHostAllocation:
    """What keeps a pinned array's memory; freed by the same thread rule as device memory."""

    def __init__(self, shape, dtype, order, size):
        self._context = _need_owner()
        _alive("cuMemHostAlloc")
        with _lock:
            if gpu.host_limit and gpu.held_host_bytes + size > gpu.host_limit:
                raise MemoryError("cuMemHostAlloc failed: out of memory")
            gpu.held_host_bytes += size
        self._memory = _HostMemory(size)
        _pinned[self._memory.address] = self._memory
        self.__array_interface__ = {
            "version": 3,
            "shape": (size,),
            "typestr": "|u1",
            "data": (self._memory.address, False),
        }

    def __del__(self):
        memory = getattr(self, "_memory", None)
        if memory is not None:
            _dispose("pagelocked_host_allocation", self._context, lambda: self._forget(memory))

    def _forget(self, memory):
        memory.alive = False
        with _lock:
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
    _need("cuMemHostAlloc")
    owner = PagelockedHostAllocation(lengths, dtype, order, max(1, size))
    return np.asarray(owner)[:size].view(dtype).reshape(lengths, order=order)


def _inside(pointer, size, call):
    """The address of `size` bytes of device memory, which must be somebody's."""
    address = int(pointer)
    with _lock:
        for start, (length, _) in gpu.blocks.items():
            if start <= address and address + size <= start + length:
                return address
    raise LogicError(f"{call} failed: invalid argument")


def _flat(array, *, writable=False):
    """The bytes of what has the buffer interface."""
    view = memoryview(array)
    if not view.contiguous:
        raise ValueError("ndarray is not contiguous")
    if writable and view.readonly:
        raise BufferError("memoryview: underlying buffer is not writable")
    if isinstance(array, np.ndarray):
        return array.reshape(-1, order="A").view(np.uint8)
    return np.frombuffer(view, np.uint8)


class _Host:
    """The host side of an asynchronous copy: pinned memory is used when the copy runs, other memory at once or kept."""

    def __init__(self, flat, *, read):
        address = flat.ctypes.data
        self._memory = next(
            (each for each in list(_pinned.values()) if each.address <= address < each.address + each.size), None
        )
        # A copy from memory that is not pinned is staged by the driver before the call returns.
        self._kept = None if self._memory is not None else (flat.copy() if read else flat)
        self._address = address if self._memory is not None else self._kept.ctypes.data

    def address(self):
        if self._memory is not None and not self._memory.alive:
            raise AssertionError("pinned memory was freed before the copy that uses it had run")
        return self._address


# ---- streams --------------------------------------------------------------------------------------------------------


class Stream:
    def __init__(self, flags=0):
        self._context = _need_owner()
        _alive("cuStreamCreate")
        self._pending = deque()
        self._capture = None
        self._spoiled = False
        with _lock:
            _next_handle[0] += 16
            self._handle = _next_handle[0]
            _streams[self._handle] = self

    @property
    def handle(self):
        return self._handle

    def synchronize(self):
        _need("cuStreamSynchronize")
        if self._capture is not None:
            self._spoiled = True  # the capture cannot be ended well any more
            raise LogicError("cuStreamSynchronize failed: operation not permitted when stream is capturing")
        self._drain()
        _alive("cuStreamSynchronize")

    def is_done(self):
        self._advance()
        _alive("cuStreamQuery")
        return not self._pending

    def wait_for_event(self, event):
        mark = event._mark
        if mark is not None:
            self._queue("wait for event", mark.reach)

    def _queue(self, what, work):
        """Put work at the end; while a capture goes on it is recorded instead."""
        if self._capture is not None:
            self._capture.append((what, work))
            return
        gpu.events.append(("queued", self._handle, what))
        self._pending.append((what, work))

    def _advance(self):
        """Run the piece of work that is next."""
        with _lock:
            if self._pending and gpu.broken is None:
                what, work = self._pending.popleft()
                try:
                    if gpu.failure is not None:
                        # Of the errors that break a context only those of a launch have a class of their own.
                        raise (LaunchError if "launch" in gpu.failure else LogicError)(gpu.failure)
                    work()
                except Error as error:
                    gpu.broken = (type(error), str(error).rsplit(" failed: ", 1)[-1])
                    return
                gpu.events.append(("ran", self._handle, what))

    def _drain(self):
        with _lock:
            while self._pending and gpu.broken is None:
                self._advance()

    def __del__(self):
        context = getattr(self, "_context", None)
        if context is not None:
            _dispose("stream", context, self._drain)


def _drain_all():
    for stream in list(_streams.values()):
        if stream._capture is None:
            stream._drain()


def _enqueue(handle, work):
    """Queue `work` on the stream of that handle: how the double of TensorRT runs on it.

    A driver Error that it raises is an asynchronous one: the next look at the device tells it.
    """
    _stream_of(handle)._queue("launch", work)


def _drain(handle):
    """Run all that is queued on the stream of that handle."""
    _stream_of(handle)._drain()


def _stream_of(handle):
    stream = _streams.get(int(handle))
    if stream is None:
        raise AssertionError(f"there is no stream {handle}: it was destroyed, or is the default stream")
    return stream


def _a_stream(stream):
    if stream is not None and not isinstance(stream, Stream):
        raise TypeError(
            "No registered converter was able to extract a C++ reference to type pycuda::stream from this Python "
            f"object of type {type(stream).__name__}"
        )
    return stream


class _Mark:
    """A place in a stream's queue; what waits in a queue must not keep the stream."""

    def __init__(self, stream):
        self._stream, self.passed, self.at = weakref.ref(stream), False, None

    def run(self):
        self.passed, self.at = True, time.perf_counter()

    def reach(self):
        while self.step() is False and gpu.broken is None:
            pass

    def step(self):
        stream = self._stream()
        if not self.passed and stream is not None:
            stream._advance()
        return self.passed or stream is None


class Event:
    def __init__(self, flags=0):
        self._context = _need_owner()
        _alive("cuEventCreate")
        self._timed = not flags & event_flags.DISABLE_TIMING
        self._mark = None

    def record(self, stream=None):
        _need("cuEventRecord")
        if _a_stream(stream) is None:
            raise NotImplementedError("the double has no default stream for events")
        self._mark = _Mark(stream)
        stream._queue("event", self._mark.run)
        return self

    def synchronize(self):
        _need("cuEventSynchronize")
        if self._mark is not None:
            self._mark.reach()
        _alive("cuEventSynchronize")
        return self

    def query(self):
        _need("cuEventQuery")
        done = self._mark is None or self._mark.step()
        _alive("cuEventQuery")
        return done

    def time_till(self, other):
        if not (self._timed and other._timed and self._mark and other._mark):
            raise LogicError("cuEventElapsedTime failed: invalid resource handle")
        return (other._mark.at - self._mark.at) * 1e3

    def time_since(self, other):
        return other.time_till(self)

    def __del__(self):
        context = getattr(self, "_context", None)
        if context is not None:
            _dispose("event", context, lambda: None)


# ---- copies ---------------------------------------------------------------------------------------------------------


def _copy(call, work, stream):
    if _a_stream(stream) is not None:
        stream._queue(call, work)
    else:
        _drain_all()
        work()


def memcpy_htod_async(dest, src, stream=None):
    flat = _flat(src)
    size = flat.nbytes
    _need("cuMemcpyHtoDAsync")
    to, host = _inside(dest, size, "cuMemcpyHtoDAsync"), _Host(flat, read=True)
    _copy("cuMemcpyHtoDAsync", lambda: ctypes.memmove(_inside(to, size, "copy"), host.address(), size), stream)


def memcpy_dtoh_async(dest, src, stream=None):
    flat = _flat(dest, writable=True)
    size = flat.nbytes
    _need("cuMemcpyDtoHAsync")
    source, host = _inside(src, size, "cuMemcpyDtoHAsync"), _Host(flat, read=False)
    _copy("cuMemcpyDtoHAsync", lambda: ctypes.memmove(host.address(), _inside(source, size, "copy"), size), stream)


def memcpy_dtod_async(dest, src, size, stream=None):
    _int(size, "memcpy_dtod_async")
    _need("cuMemcpyDtoDAsync")
    to, source = _inside(dest, size, "cuMemcpyDtoDAsync"), _inside(src, size, "cuMemcpyDtoDAsync")
    _copy("cuMemcpyDtoDAsync", lambda: ctypes.memmove(to, source, size), stream)


def memcpy_htod(dest, src):
    flat = _flat(src)
    _need("cuMemcpyHtoD")
    to = _inside(dest, flat.nbytes, "cuMemcpyHtoD")
    _copy("cuMemcpyHtoD", lambda: ctypes.memmove(to, flat.ctypes.data, flat.nbytes), None)
    _alive("cuMemcpyHtoD")


def memcpy_dtoh(dest, src):
    flat = _flat(dest, writable=True)
    _need("cuMemcpyDtoH")
    source = _inside(src, flat.nbytes, "cuMemcpyDtoH")
    _copy("cuMemcpyDtoH", lambda: ctypes.memmove(flat.ctypes.data, source, flat.nbytes), None)
    _alive("cuMemcpyDtoH")


def memset_d8_async(dest, data, size, stream=None):
    _need("cuMemsetD8Async")
    to = _inside(dest, _int(size, "memset_d8_async"), "cuMemsetD8Async")
    _copy("cuMemsetD8Async", lambda: ctypes.memset(to, data, size), stream)


# ---- graphs, by the driver's own calls ------------------------------------------------------------------------------


class _Libcuda:
    """The calls that headrace.engines.cuda_graph makes: what is recorded on a stream can be launched."""

    NAMES: ClassVar = {
        1: b"CUDA_ERROR_INVALID_VALUE",
        2: b"CUDA_ERROR_OUT_OF_MEMORY",
        400: b"CUDA_ERROR_INVALID_HANDLE",
        801: b"CUDA_ERROR_NOT_SUPPORTED",
        900: b"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
        901: b"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
    }

    def cuStreamBeginCapture_v2(self, handle, mode):
        if code := gpu.refused.pop("cuStreamBeginCapture_v2", 0):
            return code
        stream = _streams.get(handle.value)
        if stream is None or mode not in (0, 1, 2):
            return 1
        if stream._capture is not None:
            return 900
        stream._capture = []
        return 0

    def cuStreamEndCapture(self, handle, out):
        stream = _streams.get(handle.value)
        if stream is None or stream._capture is None:
            return 1
        recorded, stream._capture = stream._capture, None
        spoiled, stream._spoiled = stream._spoiled, False
        if spoiled:
            return 901
        return gpu.refused.pop("cuStreamEndCapture", 0) or self._keep(out, recorded)

    def cuGraphInstantiateWithFlags(self, out, graph, flags):
        code = gpu.refused.pop("cuGraphInstantiateWithFlags", 0)
        return code or self._keep(out, list(gpu.graphs[graph.value]))

    def cuGraphDestroy(self, graph):
        return 0 if gpu.graphs.pop(graph.value, None) is not None else 1

    cuGraphExecDestroy = cuGraphDestroy

    def cuGraphLaunch(self, graph, handle):
        if code := gpu.refused.pop("cuGraphLaunch", 0):
            return code
        stream = _streams.get(handle.value)
        if stream is None or graph.value not in gpu.graphs:
            return 400
        gpu.launches += 1
        for what, work in gpu.graphs[graph.value]:
            stream._queue(what, work)
        return 0

    def cuGetErrorName(self, code, out):
        out._obj.value = self.NAMES.get(code)
        return 0 if code in self.NAMES else 1

    def _keep(self, out, recorded):
        _next_handle[0] += 16
        gpu.graphs[_next_handle[0]] = recorded
        out._obj.value = _next_handle[0]
        return 0


libcuda = _Libcuda()
