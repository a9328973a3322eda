"""What is known of each tensor of a graph before it runs: type, rank, value, and what its value depends on."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, MutableMapping
from enum import IntEnum
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, TensorProto, numpy_helper

TYPE_NAMES = {
    TensorProto.FLOAT: "FP32",
    TensorProto.FLOAT16: "FP16",
    TensorProto.BFLOAT16: "BF16",
    TensorProto.DOUBLE: "DOUBLE",
    TensorProto.FLOAT8E4M3FN: "FP8",
    TensorProto.FLOAT4E2M1: "FP4",
    TensorProto.INT64: "INT64",
    TensorProto.INT32: "INT32",
    TensorProto.INT8: "INT8",
    TensorProto.INT4: "INT4",
    TensorProto.UINT8: "UINT8",
    TensorProto.BOOL: "BOOL",
}
"""As TensorRT spells them; others are named as ONNX does."""
_LARGEST_VALUE = 1024
"""Elements: no longer array is a shape, a set of axes or a bound; it is a weight."""
_RANDOM = frozenset({"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"})
_MEASURES = frozenset({"Shape", "Size"})


class Source(IntEnum):
    """What the value of a tensor depends on."""

    CONSTANT = 0
    SHAPE = 1
    """On the shapes of the inputs: known before a run."""
    DATA = 2
    """On what is fed: known in the middle of a run, on the device."""


class Scope:
    """The tensors of one graph; of a graph inside an operator, those around it as well."""

    def __init__(self, graph: onnx.GraphProto, opset: int, around: Scope | None = None) -> None:
        self.opset = opset
        """Version of the default domain."""
        self.outputs = {each.name for each in graph.output}
        self.inner = around is not None
        """Whether the graph lies inside an operator."""
        self._types: MutableMapping[str, Any] = _chained(around._types if around else None)
        self._sources: MutableMapping[str, Source] = _chained(around._sources if around else None)
        self._values: MutableMapping[str, Any] = _chained(around._values if around else None)
        for each in (*graph.input, *graph.value_info, *graph.output):
            if each.type.HasField("tensor_type"):
                self._types[each.name] = each.type.tensor_type
        self._sources.update((each.name, Source.DATA) for each in graph.input)
        for tensor in graph.initializer:
            self._keep_constant(tensor.name, tensor)
        for node in graph.node:
            self._follow(node)

    def dtype(self, name: str) -> str:
        """ "FP32" and so on; empty where it is not known."""
        found = self._types.get(name)
        return "" if found is None or not found.elem_type else type_name(found.elem_type)

    def elem_type(self, name: str) -> int:
        """The type's number; 0 where it is not known."""
        found = self._types.get(name)
        return 0 if found is None else int(found.elem_type)

    def shape(self, name: str) -> tuple[int | None, ...] | None:
        """None for a length that is free; None alone where not even the rank is known."""
        found = self._types.get(name)
        if found is None or not found.HasField("shape"):
            return None
        return tuple(each.dim_value if each.HasField("dim_value") else None for each in found.shape.dim)

    def rank(self, name: str) -> int | None:
        """Number of axes; None where it is not known."""
        shape = self.shape(name)
        return None if shape is None else len(shape)

    def source(self, name: str) -> Source:
        """What its value depends on; an input that is left out counts as constant."""
        return self._sources.get(name, Source.CONSTANT if not name else Source.DATA)

    def value(self, name: str) -> NDArray[Any] | None:
        """The value of a small constant; None for others."""
        found = self._values.get(name)
        return None if found is None else np.asarray(numpy_helper.to_array(found))

    def inside(self, graph: onnx.GraphProto) -> Scope:
        """The scope of a graph that an operator of this one holds."""
        return Scope(graph, self.opset, self)

    def _keep_constant(self, name: str, tensor: TensorProto) -> None:
        self._sources[name] = Source.CONSTANT
        if name not in self._types:
            self._types[name] = onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims).tensor_type
        external = tensor.data_location == TensorProto.EXTERNAL
        if not external and int(np.prod(tensor.dims)) <= _LARGEST_VALUE:
            self._values[name] = tensor

    def _follow(self, node: onnx.NodeProto) -> None:
        tensor = attributes(node).get("value") if node.op_type == "Constant" else None
        if isinstance(tensor, TensorProto):
            self._keep_constant(node.output[0], tensor)
            return
        inner = [name for graph in graphs_of(node) for name in captured(graph)]
        source = max((self.source(name) for name in (*node.input, *inner)), default=Source.CONSTANT)
        if node.op_type in _MEASURES:
            source = min(source, Source.SHAPE)
        elif node.op_type in _RANDOM:
            source = Source.DATA
        self._sources.update((name, source) for name in node.output if name)


def typed(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with the type of each tensor filled in as far as it can be inferred, and without its large weights."""
    light = onnx.ModelProto()
    light.CopyFrom(model)
    for each in light.graph.initializer:
        if int(np.prod(each.dims)) > _LARGEST_VALUE:
            name, dims, data_type = each.name, list(each.dims), each.data_type
            each.Clear()
            each.name, each.data_type = name, data_type
            each.dims.extend(dims)
    return onnx.shape_inference.infer_shapes(light, data_prop=True)


def opset_of(model: onnx.ModelProto) -> int:
    """Version of the default domain; 0 where the file names none."""
    return next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 0)


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """An operator's attributes as Python values; text as str."""
    found = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    return {name: each.decode() if isinstance(each, bytes) else each for name, each in found.items()}


def graphs_of(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The graphs inside an operator: branches, loop bodies."""
    single = [each.g for each in node.attribute if each.type == AttributeProto.GRAPH]
    return single + [graph for each in node.attribute for graph in each.graphs]


def captured(graph: onnx.GraphProto) -> Iterator[str]:
    """The names that a graph inside an operator reads from the graphs around it."""
    made = {each.name for each in (*graph.input, *graph.initializer)}
    for node in graph.node:
        yield from (name for name in node.input if name and name not in made)
        for inner in graphs_of(node):
            yield from (name for name in captured(inner) if name not in made)
        made.update(node.output)


def type_name(elem_type: int) -> str:
    """ "FP32" for 1, and so on."""
    return TYPE_NAMES.get(elem_type) or str(TensorProto.DataType.Name(elem_type))


def _chained(around: Any) -> ChainMap[str, Any]:
    return ChainMap({}, around) if around is not None else ChainMap({})
