"""A double of the part of pycuda.driver that the engines use, on host memory.

Device memory is host memory. Work queued on a stream runs later: one piece at each `Event.query` or `Stream.is_done`,
all of it at a `synchronize`. The rules about threads and contexts are those that the real pycuda 2026.1 showed over a
driver without a GPU (tests/engines/test_cuda_rules.py); where the real one aborts the process, `gpu.leaked` tells.

For tests there is `gpu`, the machine, and `libcuda`, which stands in for the driver's library where graphs are made.
The double of TensorRT works on streams by what begins with an underscore.
"""

from pycuda.contexts import Context, Device, get_driver_version, get_version, init
from pycuda.copies import inside as _inside
from pycuda.copies import (
    memcpy_dtod_async,
    memcpy_dtoh,
    memcpy_dtoh_async,
    memcpy_htod,
    memcpy_htod_async,
    memset_d8_async,
)
from pycuda.errors import Error, LaunchError, LogicError, MemoryError, RuntimeError
from pycuda.libcuda import libcuda
from pycuda.machine import gpu
from pycuda.machine import streams as _streams
from pycuda.memory import DeviceAllocation, PagelockedHostAllocation, mem_alloc, mem_get_info, pagelocked_empty
from pycuda.streams import Event, Stream, event_flags
from pycuda.streams import drain as _drain
from pycuda.streams import enqueue as _enqueue

__all__ = [
    "Context",
    "Device",
    "DeviceAllocation",
    "Error",
    "Event",
    "LaunchError",
    "LogicError",
    "MemoryError",
    "PagelockedHostAllocation",
    "RuntimeError",
    "Stream",
    "_drain",
    "_enqueue",
    "_inside",
    "_streams",
    "event_flags",
    "get_driver_version",
    "get_version",
    "gpu",
    "init",
    "libcuda",
    "mem_alloc",
    "mem_get_info",
    "memcpy_dtod_async",
    "memcpy_dtoh",
    "memcpy_dtoh_async",
    "memcpy_htod",
    "memcpy_htod_async",
    "memset_d8_async",
    "pagelocked_empty",
]

for _each in (globals()[name] for name in __all__ if name[0] != "_"):
    (_each if hasattr(_each, "__name__") else type(_each)).__module__ = __name__  # tests ask whose a name is
