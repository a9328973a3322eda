"""Running the network of a plan with ONNX Runtime."""

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tensorrt.memory import Dims
from tensorrt.weights import missing

Array = npt.NDArray[Any]
_KINDS = {
    "FLOAT": ("FLOAT", np.float32),
    "FLOAT16": ("HALF", np.float16),
    "INT8": ("INT8", np.int8),
    "INT32": ("INT32", np.int32),
    "BOOL": ("BOOL", np.bool_),
    "UINT8": ("UINT8", np.uint8),
    "INT64": ("INT64", np.int64),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An input or output."""

    name: str
    kind: str
    dtype: np.dtype[Any]
    shape: Dims
    is_input: bool

    def nbytes(self, shape: Dims) -> int:
        size = self.dtype.itemsize
        for length in shape:
            size *= length
        return size


class Execution:
    """The network of one engine; contexts share it."""

    def __init__(self, network: bytes) -> None:
        self.load(network)

    def load(self, network: bytes) -> None:
        """Take those weights."""
        import onnx

        self.network = network
        self.missing = missing(network)
        model = onnx.load_model_from_string(network)
        self.nodes = [(each.name or f"node {index}", each.op_type) for index, each in enumerate(model.graph.node)]
        constants = {each.name for each in model.graph.initializer}
        inputs = [_port(each, True) for each in model.graph.input if each.name not in constants]
        self.ports = {each.name: each for each in (*inputs, *(_port(each, False) for each in model.graph.output))}
        self._shapes: dict[tuple[tuple[int, ...], ...], dict[str, Dims]] = {}
        self.__dict__.pop("_session", None)

    @property
    def inputs(self) -> list[Port]:
        return [each for each in self.ports.values() if each.is_input]

    @property
    def outputs(self) -> list[Port]:
        return [each for each in self.ports.values() if not each.is_input]

    def shapes(self, inputs: Mapping[str, Dims]) -> dict[str, Dims]:
        """The outputs' shapes for those of all inputs; -1 where the data decides."""
        key = tuple(tuple(inputs[each.name]) for each in self.inputs)
        if key not in self._shapes:
            self._shapes[key] = _inferred(self.network, inputs)
        return self._shapes[key]

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        """The outputs in order."""
        return list(self._session.run([each.name for each in self.outputs], dict(feeds)))

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(self.network, options, providers=["CPUExecutionProvider"])


def view(address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """The memory at that address as an array."""
    count = 1
    for length in shape:
        count *= length
    if count == 0:
        return np.empty(shape, dtype)
    memory = (ctypes.c_char * (count * dtype.itemsize)).from_address(address)
    return np.frombuffer(memory, dtype).reshape(shape)


def _port(value: Any, is_input: bool) -> Port:
    import onnx

    told = value.type.tensor_type
    kind, dtype = _KINDS[onnx.TensorProto.DataType.Name(told.elem_type)]
    shape = Dims(each.dim_value if each.HasField("dim_value") else -1 for each in told.shape.dim)
    return Port(name=value.name, kind=kind, dtype=np.dtype(dtype), shape=shape, is_input=is_input)


def _inferred(network: bytes, inputs: Mapping[str, Dims]) -> dict[str, Dims]:
    import onnx

    model = onnx.load_model_from_string(network)
    for value in model.graph.input:
        for told, length in zip(value.type.tensor_type.shape.dim, inputs.get(value.name, ()), strict=False):
            told.dim_value = length
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True, strict_mode=True)
    return {
        value.name: Dims(
            each.dim_value if each.HasField("dim_value") else -1 for each in value.type.tensor_type.shape.dim
        )
        for value in inferred.graph.output
    }
