"""Reading an ONNX file into a network, refusing what the real importer's table refuses."""

import os
from pathlib import Path
from typing import Any

from tensorrt.callbacks import ILogger, need, tell
from tensorrt.enums import kind
from tensorrt.machine import machine
from tensorrt.network import INetworkDefinition, ITensor
from tensorrt.operators import refusals

_KINDS = {
    "FLOAT": "FLOAT",
    "FLOAT16": "HALF",
    "BFLOAT16": "BF16",
    "INT8": "INT8",
    "INT32": "INT32",
    "INT64": "INT64",
    "UINT8": "UINT8",
    "BOOL": "BOOL",
}


class ParserError:
    """One thing that the importer refuses."""

    __slots__ = ("__weakref__", "_code", "_desc", "_name", "_node", "_operator")

    def __init__(self, code: str, desc: str, node: int = -1, name: str = "", operator: str = "") -> None:
        self._code = getattr(kind("ErrorCode"), code)
        self._desc = desc
        self._node = node
        self._name = name
        self._operator = operator

    def code(self) -> Any:
        return self._code

    def desc(self) -> str:
        return self._desc

    def node(self) -> int:
        return self._node

    def node_name(self) -> str:
        return self._name

    def node_operator(self) -> str:
        return self._operator

    def file(self) -> str:
        return "ModelImporter.cpp"

    def func(self) -> str:
        return "parseNode"

    def line(self) -> int:
        return 0

    def __str__(self) -> str:
        where = f"In node {self._node} with name: {self._name} and operator: {self._operator} (parseNode): "
        return f"{where}{self._code.name}: {self._desc}"


class OnnxParser:
    __slots__ = ("__weakref__", "_errors", "_logger", "_network")

    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        need(network, INetworkDefinition)
        need(logger, ILogger)
        self._network = network
        self._logger = logger
        self._errors: list[ParserError] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]

    def clear_errors(self) -> None:
        self._errors.clear()

    def parse_from_file(self, model: str) -> bool:
        return self.parse(Path(model).read_bytes(), model)

    def parse(self, model: Any, path: str | None = None) -> bool:
        machine.parses += 1
        read = load(bytes(model), path, self._errors)
        if read is not None:
            self._errors += [ParserError(*each) for each in refusals(read)]
        if self._errors:
            for each in self._errors:
                tell(self._logger, None, str(each))
            return False
        constants = {each.name for each in read.graph.initializer}
        self._network._inputs = [_tensor(each, True) for each in read.graph.input if each.name not in constants]
        self._network._outputs = [_tensor(each, False) for each in read.graph.output]
        self._network._model = read
        self._network.name = read.graph.name
        return True


def load(data: bytes, path: str | None, errors: list[ParserError]) -> Any:
    """The ONNX model in those bytes with its outer data; None, and an error more, where there is none."""
    import onnx

    try:
        model = onnx.load_model_from_string(data)
        if path:
            onnx.load_external_data_for_model(model, os.path.dirname(os.path.abspath(path)))
        onnx.checker.check_model(model)
    except Exception as error:
        errors.append(ParserError("MODEL_DESERIALIZE_FAILED", f"Failed to parse the ONNX model: {error}"[:300]))
        return None
    return model


def _tensor(value: Any, is_input: bool) -> ITensor:
    import onnx

    told = value.type.tensor_type
    lengths = tuple(each.dim_value if each.HasField("dim_value") else -1 for each in told.shape.dim)
    name = _KINDS[onnx.TensorProto.DataType.Name(told.elem_type)]
    return ITensor(value.name, getattr(kind("DataType"), name), lengths, is_input)
