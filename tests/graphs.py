"""Tiny ONNX graphs, each with one thing to find in it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Ports = Mapping[str, tuple[int, Sequence[int | str | None]]]
"""Type number and shape by name."""
FLOAT, HALF, DOUBLE = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE
INT64, INT32, INT16, INT8, UINT8, BOOL = (
    TensorProto.INT64,
    TensorProto.INT32,
    TensorProto.INT16,
    TensorProto.INT8,
    TensorProto.UINT8,
    TensorProto.BOOL,
)
node = helper.make_node


def network(
    nodes: Sequence[Any],
    inputs: Ports,
    outputs: Ports,
    weights: Mapping[str, Any] | None = None,
    *,
    opset: int = 18,
    domains: Mapping[str, int] | None = None,
) -> onnx.ModelProto:
    """A network of these operators; what `weights` holds is stored in it."""
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(*each) for each in (domains or {}).items())]
    return helper.make_model(graph(nodes, inputs, outputs, weights), opset_imports=imports, ir_version=9)


def graph(nodes: Sequence[Any], inputs: Ports, outputs: Ports, weights: Mapping[str, Any] | None = None) -> Any:
    """A graph alone: the inside of a loop or a branch."""
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in (weights or {}).items()]
    return helper.make_graph(list(nodes), "net", _ports(inputs), _ports(outputs), stored)


def branch(operator: str, name: str, shape: Any, *, of: str = "x", **options: Any) -> Any:
    """A graph of one operator called "inner", which reads a tensor of the graph around it."""
    return graph([node(operator, [of], [name], name="inner", **options)], {}, {name: (FLOAT, shape)})


def _ports(ports: Ports) -> list[Any]:
    return [helper.make_tensor_value_info(name, dtype, shape) for name, (dtype, shape) in ports.items()]
