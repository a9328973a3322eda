"""A plan that TensorRT has loaded: its tensors, what it takes of the GPU, and new execution contexts."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from headrace.engines.cuda import Device, Stream, free_bytes
from headrace.engines.errors import BuildError, DeviceError, InferError
from headrace.engines.ports import FoundTensor, shape_text
from headrace.engines.trt.callbacks import Log
from headrace.engines.trt.library import trt, version
from headrace.engines.trt.options import batch_lengths

Shape = tuple[int, ...]


class PlanRefusedError(BuildError):
    """TensorRT does not take the plan: another version, GPU or system made it, or it is damaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One input or output of a plan."""

    name: str
    is_input: bool
    dtype: "np.dtype[Any]"
    shape: tuple[int | None, ...]
    """None where the length is free."""

    @property
    def found(self) -> FoundTensor:
        """As a description is held against it."""
        return FoundTensor(name=self.name, shape=self.shape, dtype=self.dtype.name)

    def nbytes(self, shape: Shape) -> int:
        """What it takes in memory."""
        return int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize


class Plan:
    """A deserialized engine; several lanes run it at once. Made by `load`, used and closed on the device thread.

    Raises:
        DeviceError: not enough memory.
        BuildError: the plan has inputs or outputs that arrays cannot carry.
    """

    def __init__(self, engine: Any, log: Log) -> None:
        self.log = log
        self._engine = engine
        try:
            self.tensors = tuple(self._tensor(at) for at in range(self._engine.num_io_tensors))
            self._spans = {each.name: self._span(each) for each in self.tensors if each.is_input}
            self.shapes = self._settled_shapes()
            """Of every tensor at the longest batch; None where a length depends on the data."""
        except BaseException:
            self.close()
            raise

    @property
    def engine(self) -> Any:
        """TensorRT's own object; for the device thread."""
        return self._engine

    @property
    def most_rows(self) -> int:
        """The longest batch of one run; 1 for a network whose shapes are all fixed."""
        free = [
            high for least, most in self._spans.values() for low, high in zip(least, most, strict=True) if low != high
        ]
        return min(free, default=1)

    @property
    def depends_on_data(self) -> bool:
        """Whether an output's shape is known only when the network has run."""
        return None in self.shapes.values()

    @property
    def batches(self) -> tuple[int, ...]:
        """The batch lengths that runs are padded to; empty where every length is run as it is.

        A padded run could not be cut back where the data decides what comes out.
        """
        return () if self.depends_on_data else batch_lengths(self.most_rows)

    @property
    def scratch_bytes(self) -> int:
        """What one run takes of the GPU's memory beside inputs, outputs and weights."""
        return int(self._engine.device_memory_size_v2)

    def shape_at(self, tensor: Tensor, rows: int) -> Shape:
        """An input's shape for a batch of that length."""
        least, most = self._spans[tensor.name]
        return tuple(low if low == high else rows for low, high in zip(least, most, strict=True))

    def context(self, rows: int, stream_handle: int) -> Any:
        """An execution context whose input shapes are set; its scratch memory is the caller's to give.

        Raises:
            DeviceError: there is no memory for one.
            InferError: the network does not take a batch of that length.
        """
        context = self._engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        if context is None:
            raise DeviceError(
                f"no execution context for a batch of {rows}: {self.log.why()}; use fewer sessions or a smaller batch"
            )
        profile = 0 if rows == 1 else self._engine.num_optimization_profiles - 1
        if not context.set_optimization_profile_async(profile, stream_handle):
            raise InferError(f"optimization profile {profile} is refused: {self.log.why()}")
        for tensor in self.tensors:
            shape = self.shape_at(tensor, rows) if tensor.is_input else ()
            if tensor.is_input and not context.set_input_shape(tensor.name, shape):
                raise InferError(f"input {tensor.name!r} {shape_text(shape)} is refused: {self.log.why()}")
        try:
            missing = context.infer_shapes()
        except RuntimeError as error:
            raise InferError(f"a batch of {rows} is refused: {self.log.why()} ({error})") from None
        if missing:
            raise InferError(f"TensorRT asks for more inputs than the plan has: {', '.join(missing)}")
        return context

    def close(self) -> None:
        """Let go of the engine; its contexts must be gone."""
        self._engine = None

    def _tensor(self, at: int) -> Tensor:
        engine = self._engine
        name = str(engine.get_tensor_name(at))
        if engine.get_tensor_location(name) != trt.TensorLocation.DEVICE:
            raise BuildError(
                f"tensor {name!r} is a shape in host memory, which is not supported: fix it in the network"
            )
        shape = tuple(None if length < 0 else int(length) for length in engine.get_tensor_shape(name))
        is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        return Tensor(
            name=name, is_input=is_input, dtype=numpy_type(engine.get_tensor_dtype(name), name), shape=shape
        )

    def _span(self, tensor: Tensor) -> tuple[Shape, Shape]:
        """The least and the most of an input's shape, by the profile for batches."""
        if None not in tensor.shape:
            fixed = tuple(length or 0 for length in tensor.shape)
            return fixed, fixed
        last = self._engine.num_optimization_profiles - 1
        least, _, most = self._engine.get_tensor_profile_shape(tensor.name, last)
        return tuple(int(length) for length in least), tuple(int(length) for length in most)

    def _settled_shapes(self) -> Mapping[str, Shape | None]:
        stream = Stream()
        try:
            context = self.context(self.most_rows, stream.handle)
            stream.synchronize()
            shapes = {each.name: tuple(int(n) for n in context.get_tensor_shape(each.name)) for each in self.tensors}
            del context
        except InferError as error:
            raise BuildError(f"the plan does not run: {error}") from error
        finally:
            stream.free()
        return {name: None if any(length < 0 for length in shape) else shape for name, shape in shapes.items()}


def load(device: Device, data: bytes, *, host_code: bool = False, weights: bytes | None = None) -> Plan:
    """Load a plan on the calling thread, with the GPU's context lent: lanes of other networks go on meanwhile.

    Args:
        data: the serialized plan.
        host_code: whether it brings code for the host, as version-compatible plans do.
        weights: the network's ONNX bytes, where the plan was stripped of its weights.

    Raises:
        PlanRefusedError: the plan does not fit this library, GPU or system, or is damaged.
        DeviceError: no usable GPU, or not enough memory.
        BuildError: the plan has inputs or outputs that arrays cannot carry, or the weights do not fit.
    """
    free = device.run(free_bytes)
    if len(data) > free:
        raise DeviceError(_too_large(data, free))
    log = Log()
    with device.lent():
        engine = _deserialized(data, log, host_code)
        if engine is None:
            why = log.why()
            if "memory" in why.lower():  # a plan that fits, but not now: building it again would not help
                raise DeviceError(f"{_too_large(data, free)} ({why})")
            raise PlanRefusedError(why)
        if weights is not None:
            refit(engine, weights, log)
    return device.run(partial(Plan, engine, log))


def numpy_type(kind: Any, name: str) -> "np.dtype[Any]":
    """The numpy type of a TensorRT type.

    Raises:
        BuildError: numpy has none, as for bfloat16.
    """
    try:
        found: np.dtype[Any] = np.dtype(trt.nptype(kind))
    except TypeError:
        raise BuildError(
            f"tensor {name!r} is {kind}, which arrays cannot carry: cast it inside the network"
        ) from None
    return found


def refit(engine: Any, weights: bytes, log: Log) -> None:
    """Put the weights of an ONNX file into an engine that was built for it.

    Raises:
        BuildError: the engine takes no weights, or the file is not of the same graph.
    """
    try:
        refitter = trt.Refitter(engine, log.native)
    except TypeError as error:
        raise BuildError(f"the plan takes no new weights ({log.why()}): build it with refit=True") from error
    parser = trt.OnnxParserRefitter(refitter, log.native)
    if not parser.refit_from_bytes(weights) or not refitter.refit_cuda_engine():
        told = "; ".join(str(parser.get_error(at)) for at in range(parser.num_errors))
        raise BuildError(f"the weights do not fit the plan: {told or log.why()}")


def no_gpu(log: Log) -> DeviceError:
    """What to say where TensorRT answers with its TypeError "factory function returned nullptr"."""
    return DeviceError(
        f"TensorRT {version()} finds no usable GPU: {log.why()}; the driver may be older than the CUDA that this "
        "TensorRT is built for: see `headrace doctor`"
    )


def _deserialized(data: bytes, log: Log, host_code: bool) -> Any:
    # Some ONNX operators are plugins, and a plan with them loads only after this.
    trt.init_libnvinfer_plugins(log.native, "")
    try:
        runtime = trt.Runtime(log.native)
    except TypeError:
        raise no_gpu(log) from None
    if host_code:
        runtime.engine_host_code_allowed = True
    return runtime.deserialize_cuda_engine(data)


def _too_large(data: bytes, free: int) -> str:
    return (
        f"the plan takes {len(data) / 1e6:.1f} MB of the GPU's memory and more while it runs, and {free / 1e6:.1f} MB "
        "are free: end what else uses the GPU"
    )
