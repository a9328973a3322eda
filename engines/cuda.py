"""The GPU by way of pycuda: one thread owns its context, and everything on it is made, used and freed there.

pycuda is imported here alone. Its rules are strict: a thread that ends with a context pushed aborts the process, and
memory whose last reference dies on a thread without the context is leaked. So nothing native leaves the device thread.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, TypeVar

from headrace.engines.cuda_graph import ignore_other_captures
from headrace.engines.cuda_memory import (
    Buffer,
    Event,
    Owner,
    Pinned,
    Stream,
    copy_in,
    copy_out,
    free_bytes,
)
from headrace.engines.device_tasks import PATIENCE_S, Task, TaskLoop
from headrace.engines.errors import ClosedEngineError, DeviceError, EngineError, MissingBackendError
from headrace.engines.nvidia import INSTALL, NO_DRIVER

__all__ = [
    "Buffer",
    "Device",
    "Event",
    "Pinned",
    "Stream",
    "Task",
    "copy_in",
    "copy_out",
    "free_bytes",
    "open_device",
    "trouble",
]

T = TypeVar("T")

_OLD_DRIVER = (
    "the NVIDIA driver is older than the CUDA that pycuda was built for ({error}): update the driver, or build pycuda "
    "anew over an older CUDA: pip install --force-reinstall --no-cache-dir pycuda"
)
_NO_DEVICE = (
    "the NVIDIA driver finds no GPU that can be used ({error}): look at nvidia-smi and CUDA_VISIBLE_DEVICES; in a "
    "container, start it with --gpus all; a driver older than the CUDA it is asked for says so here too"
)
_LAST_S = 5.0
"""How long a GPU that is lost may take to let go."""

_lock = threading.Lock()
_devices: dict[int, "Device"] = {}


def trouble() -> str | None:
    """Why no GPU can be used here and what to do about it; None where one can be opened."""
    try:
        _driver()
    except EngineError as error:
        return str(error)
    return None


def open_device(index: int = 0) -> "Device":
    """The device of that index, shared by all of the process; close each as often as it was opened.

    Raises:
        MissingBackendError: pycuda is not installed or does not load.
        DeviceError: no driver, no such GPU, it cannot be opened, or this process has lost it.
    """
    with _lock:
        device = _devices.get(index)
        if device is None:
            device = _devices[index] = Device(index)
            try:
                device._open()
            except BaseException:
                del _devices[index]
                raise
        if device._lost is not None:
            raise DeviceError(*device._lost.args)
        device._opened += 1
        return device


class Device:
    """A GPU and the thread that owns its primary context; made by `open_device`."""

    name: str
    """As the driver names it."""
    capability: tuple[int, int]
    """Compute capability: (9, 0)."""
    total_bytes: int
    """Memory of the GPU."""
    driver_version: int
    """The newest CUDA that the driver can serve: 13000 for 13.0."""

    def __init__(self, index: int) -> None:
        self.index = index
        self._opened = 0
        self._lent = 0
        self._lending = threading.Lock()
        self._context: Any = None
        self._lost: DeviceError | None = None
        self._loop = TaskLoop(self._explained, lambda: self._lost, self._hangs)
        self._thread = threading.Thread(target=self._main, name=f"hr-cuda-{index}", daemon=True)
        self._start: Future[None] = Future()

    def run(self, job: Callable[[], T]) -> T:
        """Call `job` on the device thread and wait; what it raises is raised here.

        Raises:
            DeviceError: the GPU failed, or was lost before.
            ClosedEngineError: the device is closed.
        """
        return job() if self._inside else self._loop.call(job).result()

    def start(self, task: Task[T]) -> "Future[T]":
        """Begin `task` as soon as the device thread is free, and answer when it is finished.

        Several may be in flight: none waits for another to finish. The future raises what `run` does.
        """
        return self._loop.add(task)

    def release(self, job: Callable[[], object]) -> None:
        """Call what lets go of native objects: on a lost device too. On a closed one they are gone already.

        Raises:
            DeviceError: the GPU failed at it.
        """
        if self._inside:
            job()
            return
        try:
            self._loop.call(job, cleans_up=True).result(self._patience_s)
        except (ClosedEngineError, TimeoutError):
            return

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Its context current on the calling thread, for long work that must not hold up the device thread: a build.

        Nothing of pycuda may be made inside, and `is_lent` says so meanwhile.
        """
        self.run(lambda: self._count_lent(1))  # a closed or lost device lends nothing
        try:
            self._context.push()
            try:
                yield
            finally:
                _popped(_driver(), self._context)
        finally:
            self._count_lent(-1)

    @property
    def is_lent(self) -> bool:
        """Whether another thread may be at work on the GPU; on the device thread it does not turn true unseen.

        Then no graph may be recorded: a build or a load may wait for the whole GPU, which a recording does not allow
        and does not survive.
        """
        return self._lent > 0

    def close(self) -> None:
        """Undo one `open_device`; the last one ends the thread when what is in flight is done."""
        with _lock:
            if self._opened == 0:
                return
            self._opened -= 1
            if self._opened:
                return
            if _devices.get(self.index) is self:
                del _devices[self.index]
        self._loop.end(ClosedEngineError(f"{self}: the device is closed; open it again with open_device"))
        if not self._inside:
            self._thread.join(self._patience_s)

    def __str__(self) -> str:
        return f"GPU {self.index} ({self.name})" if hasattr(self, "name") else f"GPU {self.index}"

    @property
    def _patience_s(self) -> float | None:
        """How long to wait for what lets go: a GPU that hangs may never let go, and the process must end."""
        return None if self._lost is None else _LAST_S

    @property
    def _inside(self) -> bool:
        return threading.current_thread() is self._thread

    def _count_lent(self, more: int) -> None:
        with self._lending:
            self._lent += more

    def _open(self) -> None:
        self._thread.start()
        try:
            self._start.result()
        except BaseException:
            self._thread.join()
            raise

    def _main(self) -> None:
        try:
            driver = self._enter()
        except Exception as error:
            self._start.set_exception(error)
            return
        owner = Owner(driver, str(self), self.total_bytes)
        try:
            self._start.set_result(None)
            self._loop.serve()
            owner.free_all()  # before the context goes, and on this thread
        finally:
            _popped(driver, self._context)
            self._context = None

    def _enter(self) -> Any:
        driver = _driver()
        count = driver.Device.count()
        if not 0 <= self.index < count:
            raise DeviceError(f"GPU {self.index}: no such GPU; this machine has {count}, counted from 0")
        try:
            device = driver.Device(self.index)
            self.name = device.name()
            self.capability = device.compute_capability()
            self.total_bytes = device.total_memory()
            self.driver_version = driver.get_driver_version()
            # The primary context is the one that TensorRT, torch and a hardware decoder use.
            self._context = device.retain_primary_context()
            self._context.push()
            with suppress(DeviceError):  # without graphs
                ignore_other_captures()
        except driver.Error as error:
            self._context = None
            raise DeviceError(f"{self}: cannot be opened: {error}") from None
        return driver

    def _hangs(self) -> None:
        self._lost = self._lost or DeviceError(
            f"{self} is lost: it has not answered for {PATIENCE_S:.0f} s; what ran on it is gone; see nvidia-smi for"
            " what else it does, and start the program again"
        )

    def _explained(self, error: BaseException) -> BaseException:
        """What the caller gets for `error`; finds out whether the device is lost by it."""
        driver = _driver()
        if self._lost is None:
            try:
                # The error of work that ran by itself is told by every later call: this is one.
                driver.Context.synchronize()
            except driver.Error as verdict:
                if "capturing" not in str(verdict):  # another thread records a graph: nothing is known of the device
                    why = error if isinstance(error, driver.Error) else f"{verdict}, after {error}"
                    self._lost = DeviceError(
                        f"{self} is lost: {why}; what ran on it is gone; start the program again"
                    )
        if self._lost is not None:
            return DeviceError(*self._lost.args)
        return DeviceError(f"{self}: {error}") if isinstance(error, driver.Error) else error


def _popped(driver: Any, context: Any) -> None:
    """Take the context off this thread; a thread that ended with one would take the process with it."""
    try:
        driver.Context.pop()
    except driver.Error:
        # A lost GPU may refuse even this. A context that is detached goes from pycuda's stack at the next look there.
        with suppress(driver.Error):
            context.detach()
        driver.Context.get_current()


@cache  # of success: a failure is looked at again
def _driver() -> Any:
    """pycuda.driver, initialised.

    Raises:
        MissingBackendError: pycuda is not installed or does not load.
        DeviceError: no driver, or no GPU that it can use.
    """
    try:
        from pycuda import driver
    except ModuleNotFoundError as error:
        if error.name != "pycuda":
            raise MissingBackendError(f"pycuda needs {error.name}, which is not installed; {INSTALL}") from error
        raise MissingBackendError(f"pycuda is not installed; {INSTALL}") from error
    except ImportError as error:
        if "libcuda.so" in str(error):
            raise DeviceError(NO_DRIVER) from error
        if "undefined symbol: cu" in str(error):
            raise DeviceError(_OLD_DRIVER.format(error=error)) from error
        raise MissingBackendError(
            f"pycuda does not load ({error}); build it anew: pip install --force-reinstall --no-cache-dir pycuda"
        ) from error
    try:
        driver.init()
        if driver.Device.count() == 0:
            raise DeviceError(_NO_DEVICE.format(error="it counts 0"))
    except driver.Error as error:
        raise DeviceError(_NO_DEVICE.format(error=error)) from None
    return driver
