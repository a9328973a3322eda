"""Which nodes the real importer refuses, by its own published table and the rules beside it."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

TABLE = Path(__file__).parents[3] / "models" / "graph" / "operators.json"
_TYPES = {
    "FLOAT": "FP32",
    "FLOAT16": "FP16",
    "BFLOAT16": "BF16",
    "FLOAT8E4M3FN": "FP8",
}
_ANY_TYPE = {"Cast", "CastLike", "Shape", "Size", "Loop", "If", "Constant", "Gather"}
Refusal = tuple[str, str, int, str, str]


def refusals(model: Any) -> Iterator[Refusal]:
    """Code, text, index, name and operator of each node that is refused."""
    import onnx

    for domain in model.opset_import:
        least, most = _table()["opset_min"], _table()["opset_max"]
        if domain.domain in ("", "ai.onnx") and not least <= domain.version <= most:
            yield "UNSUPPORTED_GRAPH", f"opset {domain.version} is outside {least} to {most}", -1, "", ""
    inferred = onnx.shape_inference.infer_shapes(model)
    yield from _of_graph(inferred.graph, {})


def _of_graph(graph: Any, outer: dict[str, str]) -> Iterator[Refusal]:
    types = {**outer, **_types(graph)}
    for index, node in enumerate(graph.node):
        wrong = _of_node(node, types)
        if wrong is not None:
            yield wrong[0], wrong[1], index, node.name, node.op_type
        for each in node.attribute:
            if each.HasField("g"):
                yield from _of_graph(each.g, types)


def _of_node(node: Any, types: dict[str, str]) -> tuple[str, str] | None:
    row = _table()["operators"].get(node.op_type)
    if node.domain not in ("", "ai.onnx") or row is None or not row["supported"]:
        return "UNSUPPORTED_NODE", "the operator is not supported"
    if node.op_type == "MaxPool" and len([each for each in node.output if each]) > 1:
        return "UNSUPPORTED_NODE", "MaxPool with the output Indices is not supported"
    if node.op_type == "Resize" and (_text(node, "mode") == "cubic" or _number(node, "antialias")):
        return "UNSUPPORTED_NODE_ATTR", "Resize is supported without cubic and antialias"
    if node.op_type == "Cast":
        return _of_cast(node, types)
    data = 1 if node.op_type == "Where" else 0
    given = types.get(node.input[data]) if len(node.input) > data else None
    if given is not None and node.op_type not in _ANY_TYPE and given not in (*row["types"], "DOUBLE"):
        return "UNSUPPORTED_NODE_DATATYPE", f"{given} is not supported here"
    return None


def _of_cast(node: Any, types: dict[str, str]) -> tuple[str, str] | None:
    import onnx

    given = types.get(node.input[0])
    made = _name(onnx.TensorProto.DataType.Name(_number(node, "to")))
    floats = ("FP32", "FP16", None)
    if (made == "UINT8" and given not in floats) or (given == "UINT8" and made not in floats):
        return "UNSUPPORTED_NODE_DATATYPE", f"UINT8 converts to and from FP32 and FP16 only, not {given} to {made}"
    return None


def _types(graph: Any) -> dict[str, str]:
    import onnx

    known = {
        each.name: each.type.tensor_type.elem_type
        for each in (*graph.input, *graph.value_info, *graph.output)
        if each.type.HasField("tensor_type")
    }
    known.update({each.name: each.data_type for each in graph.initializer})
    return {name: _name(onnx.TensorProto.DataType.Name(number)) for name, number in known.items() if number}


def _name(onnx_name: str) -> str:
    return _TYPES.get(onnx_name, onnx_name)


def _text(node: Any, name: str) -> str:
    return next((each.s.decode() for each in node.attribute if each.name == name), "")


def _number(node: Any, name: str) -> int:
    return next((int(each.i) for each in node.attribute if each.name == name), 0)


@cache
def _table() -> Any:
    return json.loads(TABLE.read_text())
