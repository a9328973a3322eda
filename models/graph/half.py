"""A network's body in half precision and its ends in float: the same inputs and outputs, half the weights to move.

Convolutions and matrix products run in fp16, and what only moves or bounds their results between them. What comes
before the first of them (the cast and the normalisation of pixels), what comes behind the last (softmax, the class
map), and every operator whose numbers fp16 would spoil (statistics, roots, exponents, sampling positions) stay in
fp32. The types stand in the graph, so each engine does the same with it and none needs a flag.
"""

from collections.abc import Callable, Collection, Iterable, Iterator

import numpy as np
import onnx
import onnx.version_converter
from onnx import TensorProto, helper, numpy_helper

from headrace.models.errors import UnsupportedGraphError
from headrace.models.graph.scope import Scope, captured, graphs_of, opset_of, typed

LARGEST = 65504.0
"""The greatest number of fp16."""
MOST_LOST = 2.0**-9
"""Of a small constant's value; what is below 1e-5 loses more, and 1e-8 is 0."""
QUANTIZED_OPSET = 19
"""From here on a scale of QuantizeLinear and DequantizeLinear may be fp16."""

HEAVY = frozenset({"Attention", "Conv", "ConvTranspose", "Einsum", "GRU", "Gemm", "LSTM", "MatMul", "RNN"})
"""What fp16 is for."""
NEUTRAL = frozenset(
    (
        *("Abs", "Add", "Clip", "Identity", "Max", "Min", "Mul", "Neg", "Sub", "Where"),
        *(
            "Concat",
            "DepthToSpace",
            "Expand",
            "Flatten",
            "Gather",
            "Pad",
            "Reshape",
            "Slice",
            "SpaceToDepth",
            "Split",
        ),
        *("Squeeze", "Tile", "Transpose", "Unsqueeze"),
        *("AveragePool", "GlobalMaxPool", "MaxPool", "ReduceMax", "ReduceMin", "Resize", "Upsample"),
        *("Celu", "Dropout", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "PRelu", "Relu", "Selu"),
        *("Sigmoid", "Swish", "Tanh"),
    )
)
"""What runs in fp16 where it lies between two of those, and else in fp32; a division by a constant does too."""
QUANTIZERS = frozenset({"QuantizeLinear", "DequantizeLinear"})
MEASURES = frozenset({"Shape", "Size"})
"""They read no number, so they need no cast."""
_FIRST_ONLY = frozenset({"Dropout", "Resize", "Upsample"})
"""Their other inputs are fp32 by the standard, whatever the first one is."""


def to_half(
    model: onnx.ModelProto, *, keep: Collection[str] = (), told: Callable[[str], None] = lambda _: None
) -> onnx.ModelProto:
    """A copy with a half body; inputs and outputs keep their names, types and shapes.

    What lies inside loops and branches stays in fp32. A quantized graph (Q/DQ) is taken as well: what is int8 stays
    so, with scales of fp16 around it, and the opset is raised to 19, which has them.

    Args:
        keep: names of operators that stay in fp32.
        told: gets a line for each operator that stays in fp32 because fp16 cannot hold one of its weights.

    Raises:
        UnsupportedGraphError: a quantized graph of an older opset cannot be raised to 19.
    """
    model = _raised(model)
    graph = model.graph
    _lift_constants(graph)
    plan = _Plan(graph, Scope(typed(model).graph, opset_of(model)), frozenset(keep), told)
    if plan.half:
        _rewrite(graph, plan)
    return model


class _Plan:
    """Which operators run in half, and who reads what."""

    def __init__(
        self, graph: onnx.GraphProto, scope: Scope, keep: frozenset[str], told: Callable[[str], None]
    ) -> None:
        self.scope = scope
        self.weights = {each.name: each for each in graph.initializer}
        self._nodes = list(graph.node)
        self._makers = {name: at for at, node in enumerate(self._nodes) for name in node.output if name}
        self._readers: dict[str, list[int]] = {}
        for at, node in enumerate(self._nodes):
            for name in node.input:
                self._readers.setdefault(name, []).append(at)
        self.half = self._chosen(keep, told)
        self.needed_in_float = {each.name for each in (*graph.input, *graph.output)}
        for at, node in enumerate(self._nodes):
            taken = self.converted(node) if at in self.half else range(node.op_type in MEASURES)
            self.needed_in_float.update(name for index, name in enumerate(node.input) if index not in taken)
            self.needed_in_float.update(name for inner in graphs_of(node) for name in captured(inner))

    def converted(self, node: onnx.NodeProto) -> list[int]:
        """Which inputs a half operator takes as fp16."""
        inputs = [0] if node.op_type in _FIRST_ONLY else range(len(node.input))
        return [index for index in inputs if self.scope.dtype(node.input[index]) == "FP32"]

    def _chosen(self, keep: frozenset[str], told: Callable[[str], None]) -> set[int]:
        able = {
            at
            for at, node in enumerate(self._nodes)
            if node.name not in keep and node.domain in ("", "ai.onnx") and self._is_float(node)
        }
        reasons = {at: self._unfit(self._nodes[at]) for at in able}
        for at in sorted(at for at in self._connected(able) if reasons[at]):
            node = self._nodes[at]
            told(f"{node.name or node.output[0]} ({node.op_type}) stays in fp32: {reasons[at]}")
        return self._connected({at for at in able if not reasons[at]})

    def _connected(self, able: set[int]) -> set[int]:
        heavy = {at for at in able if self._nodes[at].op_type in HEAVY}
        between = able - heavy
        half = heavy | (self._reached(heavy, between, self._below) & self._reached(heavy, between, self._above))
        quantizers = {at for at in able if self._nodes[at].op_type in QUANTIZERS}
        # A pair of quantizers goes with what it touches: with a cast between them no engine would see int8.
        touching = {at for at in quantizers if half & {*self._below(at), *self._above(at)}}
        return half | self._reached(touching, quantizers, self._beside)

    def _is_float(self, node: onnx.NodeProto) -> bool:
        scaled = node.op_type == "Div" and node.input[1] in self.weights
        data = node.input[0] if node.op_type == "QuantizeLinear" else node.output[0]
        return (scaled or node.op_type in HEAVY | NEUTRAL | QUANTIZERS) and self.scope.dtype(data) == "FP32"

    def _unfit(self, node: onnx.NodeProto) -> str:
        for index in self.converted(node):
            name = node.input[index]
            if name in self.weights:
                bulk = node.op_type in HEAVY or (node.op_type == "QuantizeLinear" and index == 0)
                if reason := _unfit(self.weights[name], bulk):
                    return f"{name!r} {reason}"
        return ""

    def _below(self, at: int) -> Iterable[int]:
        return (reader for name in self._nodes[at].output for reader in self._readers.get(name, ()))

    def _above(self, at: int) -> Iterable[int]:
        return (self._makers[name] for name in self._nodes[at].input if name in self._makers)

    def _beside(self, at: int) -> Iterator[int]:
        """The other half of a pair: over an edge that is int8, not over one of float."""
        node = self._nodes[at]
        if node.op_type == "QuantizeLinear":
            yield from (each for each in self._below(at) if self._nodes[each].op_type == "DequantizeLinear")
        else:
            yield from (each for each in self._above(at) if self._nodes[each].op_type == "QuantizeLinear")

    def _reached(self, start: set[int], among: set[int], step: Callable[[int], Iterable[int]]) -> set[int]:
        found: set[int] = set()
        edge = set(start)
        while edge:
            edge = {after for at in edge for after in step(at)} & among - found
            found |= edge
        return found | (start & among)


def _rewrite(graph: onnx.GraphProto, plan: _Plan) -> None:
    """Names keep meaning fp32; what is fp16 has a name of its own, and a cast stands only where both are needed."""
    suffix = ".half"
    taken = {name for node in graph.node for name in (*node.input, *node.output)} | plan.weights.keys()
    while any(name.endswith(suffix) for name in taken):
        suffix += "_"
    nodes: list[onnx.NodeProto] = []
    made: set[str] = set()
    for at, node in enumerate(graph.node):
        nodes.append(node)
        if node.op_type in MEASURES and node.input[0] + suffix in made and node.input[0] not in plan.weights:
            node.input[0] += suffix
        if at not in plan.half:
            continue
        for index in plan.converted(node):
            name = node.input[index]
            if name in plan.weights:
                _halve_weight(graph, plan, name, suffix, made)
            elif name + suffix not in made:
                nodes.insert(-1, _cast(name, name + suffix, TensorProto.FLOAT16))
            made.add(name + suffix)
            if name not in plan.weights or name in plan.needed_in_float:
                node.input[index] = name + suffix
        for index, name in enumerate(node.output):
            if plan.scope.dtype(name) == "FP32":
                node.output[index] = name + suffix
                made.add(name + suffix)
                if name in plan.needed_in_float:
                    nodes.append(_cast(name + suffix, name, TensorProto.FLOAT))
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)


def _halve_weight(graph: onnx.GraphProto, plan: _Plan, name: str, suffix: str, made: set[str]) -> None:
    """In its place; or beside it, where an operator in fp32 reads it too."""
    if name + suffix in made:
        return
    tensor = plan.weights[name]
    beside = name in plan.needed_in_float
    narrow = numpy_helper.from_array(_narrowed(tensor), name + suffix if beside else name)
    (graph.initializer.add() if beside else tensor).CopyFrom(narrow)


def _unfit(tensor: TensorProto, bulk: bool) -> str:
    """Why fp16 cannot hold a weight, or nothing. In bulk, small values may lose digits: they add little."""
    exact = np.abs(numpy_helper.to_array(tensor).astype(np.float64)).ravel()
    if exact.size == 0:
        return ""
    if not exact.max() <= LARGEST:
        return f"reaches {exact.max():.3g}, more than fp16 holds ({LARGEST:.0f})"
    small = exact[exact > 0]
    off = np.abs(small.astype(np.float16) - small) / small
    if not bulk and off.size and off.max() > MOST_LOST:
        return f"has {small[off.argmax()]:.3g}, of which fp16 keeps too few digits"
    return ""


def _narrowed(tensor: TensorProto) -> np.ndarray:
    return np.asarray(numpy_helper.to_array(tensor)).astype(np.float16)


def _cast(name: str, result: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [name], [result], name=f"cast {name} → {result}", to=to)


def _lift_constants(graph: onnx.GraphProto) -> None:
    """Constant operators that hold a tensor become weights."""
    kept = []
    for node in graph.node:
        value = next((each.t for each in node.attribute if each.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            graph.initializer.add().CopyFrom(value)
            graph.initializer[-1].name = node.output[0]
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def _raised(model: onnx.ModelProto) -> onnx.ModelProto:
    quantized = any(node.op_type in QUANTIZERS for node in model.graph.node)
    if not quantized or opset_of(model) >= QUANTIZED_OPSET:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        return copy
    try:
        return onnx.version_converter.convert_version(model, QUANTIZED_OPSET)
    except Exception as error:  # onnx raises RuntimeError and classes of its own
        raise UnsupportedGraphError(
            f"a quantized graph of opset {opset_of(model)} cannot be raised to {QUANTIZED_OPSET}, which fp16 scales"
            f" need ({error}); export the float network at opset {QUANTIZED_OPSET} and quantize that"
        ) from error
