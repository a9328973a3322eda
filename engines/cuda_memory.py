"""What lives on the GPU: streams, events, memory there and pinned memory here; all on the device thread alone.

Whatever is not freed goes when that thread ends: pycuda leaks what dies on another.
"""

import threading
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from headrace.engines.errors import DeviceError

_here = threading.local()
_NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING: the driver's default stream and ours do not wait for each other. Without it, whatever another
thread did there while a graph is recorded (a build, a load, torch) would fail, and spoil the graph."""


class Owner:
    """The calling thread, as the owner of what is made on it from now on.

    Args:
        driver: pycuda.driver, with a context that is current on this thread.
        device: the GPU's name, for messages.
        total_bytes: its memory.
    """

    def __init__(self, driver: Any, device: str, total_bytes: int) -> None:
        self.driver = driver
        self.device = device
        self.total_bytes = total_bytes
        self.held: dict[int, _Held] = {}
        self._thread = threading.current_thread()
        _here.owner = self

    @property
    def is_here(self) -> bool:
        """Whether the calling thread is the owner."""
        return threading.current_thread() is self._thread

    def free_all(self) -> None:
        """Let go of what is left."""
        for held in list(self.held.values()):
            held.free()


class _Held:
    """A native object and its owner."""

    def __init__(self) -> None:
        self._owner = _owner()
        self._native: Any = None

    def _hold(self, native: Any) -> None:
        self._native = native
        self._owner.held[id(self)] = self

    def free(self) -> None:
        """Let go of it; call this on the device thread. May be called twice."""
        if self._native is not None:
            if not self._owner.is_here:
                raise DeviceError(f"{type(self).__name__} freed outside the device thread; use Device.release")
            del self._owner.held[id(self)]
            self._forget()

    def _forget(self) -> None:
        self._native = None


class Stream(_Held):
    """A queue of work on the GPU, in order."""

    def __init__(self) -> None:
        super().__init__()
        driver = self._owner.driver
        self._event: Any = driver.Event(driver.event_flags.DISABLE_TIMING)
        self._hold(driver.Stream(_NON_BLOCKING))

    @property
    def handle(self) -> int:
        """The CUstream, as TensorRT and the driver take it."""
        return int(self._native.handle)

    def synchronize(self) -> None:
        """Wait for all that was queued; keeps the device thread from other lanes."""
        self._native.synchronize()

    def record(self) -> "Event":
        """Mark this place in the queue."""
        self._event.record(self._native)
        return Event(self)

    def _forget(self) -> None:
        self._event = None
        super()._forget()


class Event:
    """A place in a stream's queue. After a later `record` on that stream it is done when the later one is."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def done(self) -> bool:
        """Whether the GPU has come this far; does not wait."""
        return bool(self._stream._event.query())


class Buffer(_Held):
    """Memory on the GPU.

    Args:
        nbytes: its size, at least 1.

    Raises:
        DeviceError: that much is not free.
    """

    def __init__(self, nbytes: int) -> None:
        super().__init__()
        if nbytes < 1:
            raise ValueError(f"Buffer: got {nbytes} bytes, allowed: 1 or more")
        driver = self._owner.driver
        self.nbytes = int(nbytes)  # pycuda takes no numpy integers
        try:
            self._hold(driver.mem_alloc(self.nbytes))
        except driver.MemoryError:
            raise DeviceError(
                f"{self._owner.device}: out of memory: {_mb(nbytes)} needed, {_mb(free_bytes())} of "
                f"{_mb(self._owner.total_bytes)} free; use fewer sessions or a smaller batch, or end what else "
                "uses the GPU"
            ) from None

    @property
    def address(self) -> int:
        """Where it lies; a multiple of 256, as TensorRT wants it."""
        return int(self._native)


class Pinned(_Held):
    """Host memory that the GPU copies from and to by itself; must not be handed out, only copied from.

    Raises:
        DeviceError: the host has no such memory left.
    """

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        super().__init__()
        driver = self._owner.driver
        lengths = tuple(int(length) for length in shape)
        try:
            # An output may have no elements, and the driver refuses to pin nothing.
            self._hold(
                np.empty(lengths, dtype) if 0 in lengths else driver.pagelocked_empty(lengths, np.dtype(dtype))
            )
        except driver.MemoryError:
            needed = int(np.prod(lengths, dtype=np.int64)) * np.dtype(dtype).itemsize
            raise DeviceError(
                f"{self._owner.device}: the host has no {_mb(needed)} left that can be pinned; use fewer sessions or "
                "a smaller batch, or end what else fills the memory of this machine"
            ) from None

    @property
    def array(self) -> NDArray[Any]:
        """The memory as an array; for the device thread only."""
        array: NDArray[Any] = self._native
        return array

    def _bytes(self, nbytes: int) -> NDArray[np.uint8]:
        flat = self.array.reshape(-1).view(np.uint8)
        if nbytes > flat.nbytes:
            raise ValueError(f"copy: got {nbytes} bytes, allowed: up to {flat.nbytes}, as the host memory has")
        return flat[:nbytes]


def copy_in(buffer: Buffer, pinned: Pinned, nbytes: int, stream: Stream) -> None:
    """Queue a copy of the first `nbytes` to the GPU; `pinned` must stay as it is until the stream has come past."""
    driver = _owner().driver
    driver.memcpy_htod_async(buffer._native, pinned._bytes(nbytes), stream._native)


def copy_out(pinned: Pinned, buffer: Buffer, nbytes: int, stream: Stream) -> None:
    """Queue a copy of the first `nbytes` from the GPU; they are there when the stream has come past."""
    driver = _owner().driver
    driver.memcpy_dtoh_async(pinned._bytes(nbytes), buffer._native, stream._native)


def free_bytes() -> int:
    """Memory of the GPU that nobody uses."""
    driver = _owner().driver
    return int(driver.mem_get_info()[0])


def _owner() -> Owner:
    owner = getattr(_here, "owner", None)
    if not isinstance(owner, Owner):
        raise DeviceError("GPU memory and streams are made and used on the device thread only; use Device.run")
    return owner


def _mb(nbytes: int) -> str:
    return f"{nbytes / 1e6:.1f} MB"
