"""Hold a graph against what TensorRT takes, operator by operator, before anything is built from it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from headrace.models.errors import UnsupportedGraphError
from headrace.models.graph import read
from headrace.models.graph.limits import table
from headrace.models.graph.rules import Problem, problems
from headrace.models.graph.scope import Scope, graphs_of, opset_of, typed

_TOLD = 5
"""How many findings a message names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that TensorRT does not take, or takes badly."""

    node: str
    """The operator's name or, where it has none, its first output; those around it stand before it."""
    operator: str
    """Its type; "network" for what concerns the whole file."""
    dtype: str
    """Of its data, as TensorRT spells it ("FP32"); empty where it is not known."""
    problem: str
    remedy: str
    blocking: bool
    """Whether nothing can be built; else it is only worth knowing."""

    def __str__(self) -> str:
        what = f"{self.operator} {self.dtype}".strip()
        return f"{self.node} ({what}): {self.problem}; {self.remedy}"


def check(model: onnx.ModelProto, *, data_dependent: bool = False) -> list[Finding]:
    """Everything that TensorRT 10.13 to 11 would refuse, or read otherwise than meant, in the order of the graph.

    Run it last: an optimiser may fold what was written to please it.

    Args:
        data_dependent: the description declares outputs whose length depends on the data; then the operators that
            make such lengths are named, and do not block.
    """
    found = [*_of_file(model)]
    try:
        model = typed(model)
    except Exception as error:  # onnx has its own classes: the types stay unknown, the operators can be checked
        remedy = "check the file with onnx.checker.check_model(path, full_check=True)"
        found.append(_about_file(f"its types cannot be inferred: {error}", remedy, blocking=False))
    scope = Scope(model.graph, opset_of(model))
    return [*found, *_of_inputs(model, scope), *_walk(model.graph, scope, "", data_dependent)]


def require_supported(path: Path | str, *, data_dependent: bool = False) -> None:
    """Refuse a file from which TensorRT could build nothing.

    Raises:
        UnsupportedGraphError: something is not supported; the first findings are named, each with its remedy.
        BadGraphError: the file is missing, broken, or lacks its weights.
    """
    found = [each for each in check(read.load(path), data_dependent=data_dependent) if each.blocking]
    if found:
        raise UnsupportedGraphError(f"{path}: TensorRT cannot take it:{listed(found)}")


def listed(found: Sequence[Finding]) -> str:
    """The first findings, a line each, and how many more there are; for the end of a message."""
    rest = f"\n  and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
    return "".join(f"\n  {each}" for each in found[:_TOLD]) + rest


def _of_file(model: onnx.ModelProto) -> Iterator[Finding]:
    opset, least, most = opset_of(model), table()["opset_min"], table()["opset_max"]
    if not least <= opset <= most:
        said = f"it is written in opset {opset}" if opset else "it names no opset"
        yield _about_file(f"{said}; allowed: {least} to {most}", "export it at opset 18 (19 for fp16 with int8)")
    for function in model.functions:
        problem = f"it has a local function {function.domain}::{function.name}"
        yield _about_file(problem, "inline it: onnx.inliner.inline_local_functions(model)")
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            problem = f"the weights of {tensor.name!r} lie in another file"
            yield _about_file(problem, "bring them in: headrace.models.graph.read.load(path)")
        elif tensor.data_type == onnx.TensorProto.DOUBLE:
            problem = f"the constant {tensor.name!r} is DOUBLE, which TensorRT clamps to FP32"
            yield _about_file(problem, "export it as FP32", dtype="DOUBLE")


def _of_inputs(model: onnx.ModelProto, scope: Scope) -> Iterator[Finding]:
    allowed = ("FP32", "FP16", "BF16", "INT64", "INT32", "INT8", "UINT8", "BOOL")
    weights = {each.name for each in model.graph.initializer}
    for each in (*model.graph.input, *model.graph.output):
        dtype = scope.dtype(each.name)
        if each.name not in weights and dtype not in allowed:
            kind = dtype or str(each.type.WhichOneof("value") or "no type")
            problem = f"the tensor {each.name!r} is {kind}; allowed: {', '.join(allowed)}"
            yield _about_file(problem, "cast it inside the network, or feed FP32", dtype=dtype)


def _walk(graph: onnx.GraphProto, scope: Scope, place: str, data_dependent: bool) -> Iterator[Finding]:
    for node in graph.node:
        name = place + (node.name or next((each for each in node.output if each), node.op_type))
        for problem in problems(node, scope):
            yield _finding(name, node, problem, data_dependent)
        for inner in graphs_of(node):
            yield from _walk(inner, scope.inside(inner), f"{name}/", data_dependent)


def _finding(name: str, node: onnx.NodeProto, problem: Problem, data_dependent: bool) -> Finding:
    return Finding(
        node=name,
        operator=node.op_type,
        dtype=problem.dtype,
        problem=problem.text,
        remedy=problem.remedy,
        blocking=problem.blocking and not (problem.data_dependent and data_dependent),
    )


def _about_file(problem: str, remedy: str, *, dtype: str = "", blocking: bool = True) -> Finding:
    return Finding(
        node="the file", operator="network", dtype=dtype, problem=problem, remedy=remedy, blocking=blocking
    )
