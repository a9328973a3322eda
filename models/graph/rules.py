"""What TensorRT's ONNX parser does not take, one rule a function, each with the way out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from headrace.models.graph.limits import (
    ALLOWED,
    ANY_TYPE,
    CASTS,
    CONSTANTS,
    ELSEWHERE,
    FREE_LENGTH,
    INSTEAD,
    LARGEST_K,
    LENGTHS,
    OUTPUTS,
    QUANTIZERS,
    REQUANTIZE,
    TYPE_OF_INPUT,
    table,
)
from headrace.models.graph.scope import Scope, Source, attributes, type_name

FLOATS = ("FP32", "FP16")


@dataclass(frozen=True, slots=True)
class Site:
    """An operator where it stands."""

    node: onnx.NodeProto
    scope: Scope
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def op(self) -> str:
        return str(self.node.op_type)

    def input(self, index: int) -> str:
        """Name of an input; empty where it is left out."""
        return str(self.node.input[index]) if index < len(self.node.input) else ""

    def dtype(self, index: int = 0) -> str:
        """Type of an input, as TensorRT spells it."""
        return self.scope.dtype(self.input(index))


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong at an operator, and what to do."""

    text: str
    remedy: str
    dtype: str = ""
    blocking: bool = True
    data_dependent: bool = False


Rule = Callable[[Site], Iterator[Problem]]


def problems(node: onnx.NodeProto, scope: Scope) -> Iterator[Problem]:
    """Everything that is wrong with an operator; what lies in graphs inside it is not looked at."""
    site = Site(node, scope, attributes(node))
    if node.domain not in ("", "ai.onnx"):
        yield Problem(f"it is of the domain {node.domain!r}, which is not ONNX's own", ELSEWHERE)
        return
    row = table()["operators"].get(node.op_type)
    if row is None or not row["supported"]:
        yield Problem("TensorRT has no such operator", INSTEAD.get(node.op_type, ELSEWHERE), site.dtype())
        return
    for rule in RULES:
        yield from rule(site)


def _cast(at: Site) -> Iterator[Problem]:
    if at.op != "Cast":
        return
    allowed = (*table()["operators"]["Cast"]["types"], "DOUBLE", "")  # DOUBLE has a rule of its own
    for dtype in (at.dtype(), type_name(at.attributes["to"])):
        if dtype not in allowed:
            yield Problem(f"it does not take {dtype}", "cast from and to FP32, FP16, INT32, INT64 or BOOL", dtype)


def _data_type(at: Site) -> Iterator[Problem]:
    if at.op in ANY_TYPE:
        return
    dtype = at.dtype(TYPE_OF_INPUT.get(at.op, 0))
    allowed = table()["operators"][at.op]["types"]
    if dtype and dtype not in (*allowed, "UINT8", "DOUBLE"):  # these two have rules of their own
        remedy = CASTS.get((at.op, dtype)) or f"cast to {_nearest(dtype, allowed)} before it and back behind it"
        yield Problem(f"it does not take {dtype}", remedy, dtype)


def _uint8(at: Site) -> Iterator[Problem]:
    reads = [name for name in at.node.input if at.scope.dtype(name) == "UINT8"]
    if at.op in ("Shape", "Size") and reads:
        yield Problem("it measures a UINT8 tensor", "measure the tensor behind the cast to float", "UINT8", False)
    elif at.op == "Cast" and reads:
        to = type_name(at.attributes["to"])
        if at.scope.source(reads[0]) is Source.CONSTANT:
            yield Problem("a constant of UINT8 is not allowed", "store it as FP32", "UINT8")
        if to not in FLOATS:
            yield Problem(f"UINT8 is cast to {to}", f"cast to FP32 first, then to {to}", "UINT8")
    elif reads and at.op not in (*QUANTIZERS, "If", "Loop", "Scan"):
        remedy = "cast to FP32 before anything else: frame.float().permute(...), not frame.permute(...).float()"
        yield Problem("UINT8 is only for inputs and outputs of the network", remedy, "UINT8")
    yield from _uint8_made(at)


def _uint8_made(at: Site) -> Iterator[Problem]:
    made = [name for name in at.node.output if at.scope.dtype(name) == "UINT8"]
    if not made or at.op in (*QUANTIZERS, "If", "Loop", "Scan", "Constant"):
        return
    if at.op != "Cast":
        return  # it reads UINT8 as well, and that was told
    if at.dtype() not in (*FLOATS, ""):
        came = at.dtype()
        yield Problem(f"{came} is cast to UINT8", "cast to FP32 first: .to(torch.float32).to(torch.uint8)", came)
    elif at.scope.inner or made[0] not in at.scope.outputs:
        remedy = "make it an output, or keep FP32 (Floor and Clip round as the cast does)"
        yield Problem("UINT8 is made in the middle of the network", remedy, "UINT8")


def _double(at: Site) -> Iterator[Problem]:
    if at.op in ("Cast", "Constant", "ConstantOfShape") and at.scope.dtype(at.node.output[0]) == "DOUBLE":
        yield Problem("it makes DOUBLE, which TensorRT clamps to FP32", "export it as FP32", "DOUBLE")


def _attribute_values(at: Site) -> Iterator[Problem]:
    for name, value in at.attributes.items():
        allowed = ALLOWED.get((at.op, name))
        if allowed is None:
            continue
        wrong = [each for each in (value if isinstance(value, list) else [value]) if each not in allowed]
        if wrong:
            listed = " or ".join(str(each) for each in allowed)
            yield Problem(f"{name} {wrong[0]!r} is not supported", f"export it with {name} {listed}", at.dtype())


def _used_outputs(at: Site) -> Iterator[Problem]:
    allowed = OUTPUTS.get(at.op)
    if allowed and any(at.node.output[allowed:]):
        what = "Indices" if at.op == "MaxPool" else f"output {allowed}"
        remedy = INSTEAD["MaxUnpool"] if at.op == "MaxPool" else "compute it with ReduceMean, Sub, Pow and Sqrt"
        yield Problem(f"its {what} is used, which is not supported", remedy, at.dtype())


def _ranks(at: Site) -> Iterator[Problem]:
    if at.op in ("AveragePool", "MaxPool") and len(at.attributes.get("kernel_shape", (0, 0))) not in (2, 3):
        yield Problem("it pools along one axis", "unsqueeze an axis of length 1 and pool in 2D", at.dtype())
    if at.op == "GridSample" and at.scope.rank(at.input(0)) not in (None, 4):
        yield Problem("it samples a volume, which needs TensorRT 11.2.1", "sample slice by slice in 4D", at.dtype())


def _grid_sample_mode(at: Site) -> Iterator[Problem]:
    if at.op == "GridSample" and at.scope.opset >= 20 and at.attributes.get("mode", "linear") != "nearest":
        mode = at.attributes.get("mode", "linear")
        problem = f"opset 20 spells its mode {mode!r}, which TensorRT reads as 'nearest' without a word"
        yield Problem(problem, "export at opset 18 or 19", at.dtype())


def _resize(at: Site) -> Iterator[Problem]:
    axes = at.attributes.get("axes")
    rank = at.scope.rank(at.input(0))
    if at.op == "Resize" and axes and at.input(2) and rank and [each % rank for each in axes] != list(range(rank)):
        yield Problem("its scales are given for some axes only", "give sizes, or a scale for every axis", at.dtype())


def _quantizer(at: Site) -> Iterator[Problem]:
    if at.op not in QUANTIZERS:
        return
    narrow = at.dtype() if at.op == "DequantizeLinear" else at.dtype(2) or at.scope.dtype(at.node.output[0])
    if narrow in ("INT32", "UINT8", "INT16", "UINT16", "UINT4"):
        what = "a bias quantized to INT32" if narrow == "INT32" else narrow
        yield Problem(f"{what} is not supported", REQUANTIZE, narrow)
    zero = at.scope.value(at.input(2))
    if zero is not None and np.any(zero.astype(np.float32) != 0):
        yield Problem(f"its zero point is {zero.flat[0]}, not 0", REQUANTIZE, narrow)
    if at.dtype(1) == "FP16" and at.scope.opset < 19:
        remedy = "quantize the half network at opset 19: headrace.models.graph.half.to_half raises it"
        yield Problem("a scale of FP16 is allowed from opset 19 on", remedy, "FP16")


def _constant_inputs(at: Site) -> Iterator[Problem]:
    index = CONSTANTS.get(at.op, 1 if at.op.startswith("Reduce") else None)
    if index is not None and at.scope.source(at.input(index)) is not Source.CONSTANT:
        yield Problem(f"its input {index} is not a constant", "give the axes (or depth) as numbers", at.dtype())


def _top_k(at: Site) -> Iterator[Problem]:
    k = at.scope.value(at.input(1)) if at.op == "TopK" else None
    if k is not None and int(k.flat[0]) > LARGEST_K:
        remedy = f"take {LARGEST_K} or fewer, or take them level by level"
        yield Problem(f"K is {int(k.flat[0])}; at most {LARGEST_K} are allowed", remedy, at.dtype())


def _lengths(at: Site) -> Iterator[Problem]:
    if at.op in ("NonMaxSuppression", "NonZero"):
        yield Problem("the length of its result depends on the data", FREE_LENGTH, at.dtype(), data_dependent=True)
    for index in LENGTHS.get(at.op, ()):
        if at.scope.source(at.input(index)) is Source.DATA:
            problem = f"the size of its result (input {index}) depends on the data"
            yield Problem(problem, FREE_LENGTH, at.dtype(), data_dependent=True)
            return


def _loop(at: Site) -> Iterator[Problem]:
    if at.op != "Loop" or len(at.node.output) <= len(at.node.input) - 2:
        return  # no scan output: what is carried has fixed shapes
    body = at.attributes["body"]
    inner = at.scope.inside(body)
    passed_on = body.output[0].name == body.input[1].name
    endless = passed_on or inner.source(body.output[0].name) is Source.CONSTANT or _is_copy(body)
    if at.scope.source(at.input(0)) is Source.DATA or not at.input(0) or not endless:
        remedy = "give the loop a fixed number of rounds, or unroll it before the export"
        yield Problem("the length of its scan output depends on the data", remedy, at.dtype(2))


def _is_copy(body: onnx.GraphProto) -> bool:
    made = {node.output[0]: node for node in body.node if node.op_type in ("Identity", "Cast")}
    node = made.get(body.output[0].name)
    return node is not None and node.input[0] == body.input[1].name


def _branches(at: Site) -> Iterator[Problem]:
    if at.op != "If":
        return
    first = at.scope.inside(at.attributes["then_branch"])
    then, other = (list(at.attributes[name].output) for name in ("then_branch", "else_branch"))
    shared = sorted({each.name for each in then} & {each.name for each in other})
    if shared:
        remedy = "rename the outputs of one branch"
        yield Problem(f"both branches call an output {shared[0]!r}", remedy, first.dtype(shared[0]))
    for left, right in zip(then, other, strict=True):
        ranks = (_rank(left), _rank(right))
        if None not in ranks and ranks[0] != ranks[1]:
            problem = f"its branches give {left.name!r} with {ranks[0]} axes and {right.name!r} with {ranks[1]}"
            yield Problem(problem, "reshape one branch to the rank of the other", first.dtype(left.name))


def _rank(value: onnx.ValueInfoProto) -> int | None:
    kind = value.type.tensor_type
    return len(kind.shape.dim) if kind.HasField("shape") else None


def _nearest(dtype: str, allowed: list[str]) -> str:
    whole = dtype.startswith(("INT", "UINT"))
    wanted = ("INT64", "INT32", "FP32", "BOOL") if whole else ("FP32", "INT64", "BOOL")
    return next((each for each in wanted if each in allowed), "FP32")


RULES: tuple[Rule, ...] = (
    _data_type,
    _cast,
    _uint8,
    _double,
    _attribute_values,
    _used_outputs,
    _ranks,
    _grid_sample_mode,
    _resize,
    _quantizer,
    _constant_inputs,
    _top_k,
    _lengths,
    _loop,
    _branches,
)
"""Each looks at one operator."""
