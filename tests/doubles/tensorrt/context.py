"""One execution context: its profile, shapes, addresses and memory, and the run on a stream."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tensorrt.callbacks import IOutputAllocator, IProfiler, guarded, need, tell, warn
from tensorrt.execution import Array, view
from tensorrt.machine import machine
from tensorrt.memory import Dims
from tensorrt.streams import break_device, check_address, drain, enqueue, require_context

if TYPE_CHECKING:
    from tensorrt.runtime import ICudaEngine

_ALIGNMENT_BYTES = 256


class IExecutionContext:
    __slots__ = (
        "__weakref__",
        "_addresses",
        "_allocators",
        "_engine",
        "_managed_by_user",
        "_memory",
        "_owner",
        "_profile",
        "_profiler",
        "_shapes",
        "enqueue_emits_profile",
        "error_recorder",
        "name",
    )

    def __init__(self, engine: "ICudaEngine", *, managed_by_user: bool) -> None:
        self._engine = engine
        self._managed_by_user = managed_by_user
        self._memory: Any = None
        self._owner: int | None = None
        self._profile = 0
        self._profiler: IProfiler | None = None
        self._addresses: dict[str, int] = {}
        self._allocators: dict[str, IOutputAllocator] = {}
        self._forget_shapes()
        self.enqueue_emits_profile = True
        self.error_recorder: Any = None
        self.name = ""
        require_context("create_execution_context")
        machine.contexts += 1

    def __del__(self) -> None:
        machine.contexts -= 1

    @property
    def engine(self) -> "ICudaEngine":
        return self._engine

    @property
    def active_optimization_profile(self) -> int:
        return self._profile

    @property
    def all_binding_shapes_specified(self) -> bool:
        return not self._unset()

    @property
    def profiler(self) -> IProfiler | None:
        return self._profiler

    @profiler.setter
    def profiler(self, profiler: IProfiler | None) -> None:
        if profiler is not None:
            need(profiler, IProfiler)
        self._profiler = profiler

    def set_device_memory(self, memory: int, size: int) -> None:
        self._one_thread("set_device_memory")
        if not self._managed_by_user:
            self._refuse("set_device_memory: the context has memory of its own", "UNSUPPORTED_STATE")
        elif size < machine.context_bytes or memory % _ALIGNMENT_BYTES:
            self._refuse(
                f"set_device_memory: {size} bytes at {memory:#x}, needed: {machine.context_bytes}, aligned 256"
            )
        else:
            self._memory = memory

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        self._one_thread("set_optimization_profile_async")
        if not 0 <= profile_index < self._engine.num_optimization_profiles:
            return self._refuse(f"optimization profile {profile_index} is out of range")
        self._profile = profile_index
        self._forget_shapes()
        return True

    def set_input_shape(self, name: str, shape: Any) -> bool:
        self._one_thread("set_input_shape")
        wanted = Dims(shape)
        port = self._engine._execution.ports.get(name)
        if port is None or not port.is_input:
            return self._refuse(f"setInputShape: no input is named {name}")
        least, _, most = self._engine.get_tensor_profile_shape(name, self._profile)
        inside = len(least) == len(wanted) and all(
            low <= length <= high for low, length, high in zip(least, wanted, most, strict=True)
        )
        if not inside:
            return self._refuse(
                f"setInputShape: {name} {tuple(wanted)} does not satisfy optimization profile {self._profile}:"
                f" {tuple(least)} to {tuple(most)}"
            )
        self._shapes[name] = wanted
        return True

    def infer_shapes(self) -> list[str]:
        self._one_thread("infer_shapes")
        if not self._unset():
            try:
                self._engine._execution.shapes(self._shapes)
            except Exception as error:  # onnx's classes have no common base below Exception
                self._refuse(f"inferShapes: {error}")
                raise RuntimeError("inferShapes failed") from None
        return self._unset()

    def get_tensor_shape(self, name: str) -> Dims:
        port = self._engine._port(name)
        if port.is_input:
            return self._shapes.get(name, port.shape)
        if -1 not in port.shape or self._unset():
            return port.shape
        return self._engine._execution.shapes(self._shapes)[name]

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._one_thread("set_tensor_address")
        if name not in self._engine._execution.ports:
            return self._refuse(f"setTensorAddress: no tensor is named {name}")
        if int(memory) % _ALIGNMENT_BYTES:
            return self._refuse(f"setTensorAddress: the address of {name} is not aligned to 256 bytes")
        self._addresses[name] = int(memory)
        return True

    def get_tensor_address(self, name: str) -> int:
        return self._addresses.get(name, 0)

    def set_output_allocator(self, name: str, output_allocator: IOutputAllocator | None) -> bool:
        self._one_thread("set_output_allocator")
        port = self._engine._execution.ports.get(name)
        if port is None or port.is_input:
            return self._refuse(f"setOutputAllocator: no output is named {name}")
        if output_allocator is None:
            self._allocators.pop(name, None)
            return True
        need(output_allocator, IOutputAllocator)
        self._allocators[name] = output_allocator
        return True

    def get_output_allocator(self, name: str) -> IOutputAllocator | None:
        return self._allocators.get(name)

    def get_max_output_size(self, name: str) -> int:
        shape = self.get_tensor_shape(name)
        if -1 in shape:
            return -1
        size = self._engine._port(name).dtype.itemsize
        for length in shape:
            size *= length
        return -(-size // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES

    def execute_async_v3(self, stream_handle: int) -> bool:
        self._one_thread("execute_async_v3")
        missing = self._what_is_missing()
        if missing is not None:
            return self._refuse(missing)
        failure = machine.take_run_failure()
        if failure is not None:
            return self._refuse(failure, "FAILED_EXECUTION")
        if not stream_handle:
            warn(
                self._engine._runtime._logger,
                "Using default stream in enqueueV3() may lead to performance issues due to additional calls to "
                "cudaStreamSynchronize() by TensorRT to ensure correct synchronization.",
            )
        if self._allocators:
            return self._run_now(stream_handle)
        enqueue(stream_handle, self._job(machine.take_fault()))
        self._emit_profile()
        return True

    def report_to_profiler(self) -> bool:
        if self._profiler is None:
            return False
        self._report(self._profiler)
        return True

    def _has_memory(self) -> bool:
        """Take what one context needs, on the device and in the thread that is asking."""
        if self._managed_by_user:
            return True
        from pycuda import driver

        try:
            self._memory = driver.mem_alloc(machine.context_bytes)
        except driver.MemoryError:
            self._refuse(f"Error Code 2: OutOfMemory (Requested size was {machine.context_bytes} bytes.)")
            return False
        return True

    def _forget_shapes(self) -> None:
        self._shapes = {each.name: each.shape for each in self._engine._execution.inputs if -1 not in each.shape}

    def _unset(self) -> list[str]:
        return [each.name for each in self._engine._execution.inputs if each.name not in self._shapes]

    def _what_is_missing(self) -> str | None:
        if self._memory is None:
            return "enqueueV3: the context was created without device memory: call setDeviceMemory"
        if self._unset():
            return f"enqueueV3: the shape of input {self._unset()[0]} is not set"
        for each in self._engine._execution.ports.values():
            if not self._addresses.get(each.name) and each.name not in self._allocators:
                which = "input" if each.is_input else "output"
                return f"enqueueV3: Neither address or allocator is set for {which} tensor {each.name}"
        unsized = [each.name for each in self._engine._execution.outputs if -1 in self.get_tensor_shape(each.name)]
        without = [name for name in unsized if name not in self._allocators]
        return f"enqueueV3: the size of {without[0]} depends on data: it needs an allocator" if without else None

    def _job(self, fault: str | None) -> Callable[[], None]:
        """What this very call computes: later calls of the setters do not change it."""
        execution, shapes, addresses = self._engine._execution, dict(self._shapes), dict(self._addresses)
        shapes.update(execution.shapes(shapes))
        scratch = int(self._memory)

        def run() -> None:
            if fault is not None:
                break_device(fault)
                return
            check_address(scratch, machine.context_bytes)
            for each in execution.ports.values():
                check_address(addresses[each.name], each.nbytes(shapes[each.name]))
            feeds = {
                each.name: view(addresses[each.name], shapes[each.name], each.dtype) for each in execution.inputs
            }
            results = execution.run({name: array.copy() for name, array in feeds.items()})
            machine.ran.append(next(iter(feeds.values())).shape)
            for each, result in zip(execution.outputs, results, strict=True):
                view(addresses[each.name], result.shape, result.dtype)[...] = result

        return run

    def _run_now(self, stream_handle: int) -> bool:
        if not drain(stream_handle):
            return self._refuse(
                "enqueueV3: outputs whose size depends on data cannot be captured", "UNSUPPORTED_STATE"
            )
        execution = self._engine._execution
        feeds = {
            each.name: view(self._addresses[each.name], self._shapes[each.name], each.dtype).copy()
            for each in execution.inputs
        }
        for each, result in zip(execution.outputs, execution.run(feeds), strict=True):
            address = self._addresses.get(each.name, 0)
            if each.name in self._allocators:
                address = self._allocated(each.name, result, stream_handle)
            if not address:
                return self._refuse(f"enqueueV3: no memory for output {each.name}", "FAILED_ALLOCATION")
            view(address, result.shape, result.dtype)[...] = result
        self._emit_profile()
        return True

    def _allocated(self, name: str, result: Array, stream_handle: int) -> int:
        hooks: Any = self._allocators[name]
        held, size = self._addresses.get(name, 0), max(1, result.nbytes)
        address = guarded(
            "reallocate_output_async",
            lambda: hooks.reallocate_output_async(name, held, size, _ALIGNMENT_BYTES, stream_handle),
        )
        guarded("notify_shape", lambda: hooks.notify_shape(name, Dims(result.shape)))
        return address if isinstance(address, int) else 0

    def _emit_profile(self) -> None:
        if self._profiler is not None and self.enqueue_emits_profile:
            self._report(self._profiler)

    def _report(self, profiler: IProfiler) -> None:
        for name, _ in self._engine._execution.nodes:
            guarded("report_layer_time", lambda name=name: profiler.report_layer_time(name, 0.01))  # type: ignore[misc]

    def _one_thread(self, what: str) -> None:
        """A context is not thread safe, and the thread must have the device's context."""
        require_context(what)
        mine = threading.get_ident()
        if self._owner is None:
            self._owner = mine
        assert self._owner == mine, f"{what}: two threads use one execution context"

    def _refuse(self, text: str, code: str = "INVALID_ARGUMENT") -> bool:
        recorder = self.error_recorder or self._engine.error_recorder
        tell(self._engine._runtime._logger, recorder, f"IExecutionContext::{text}", code)
        return False
