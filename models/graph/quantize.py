"""Int8 networks: one file with Q/DQ pairs that TensorRT, OpenVINO and ONNX Runtime all run in int8.

What it takes for all three (signed, zero point 0, weights per channel, biases in float) and to run fast on each:

- Every layer reads through a pair of its own: TensorRT shares none, and ONNX Runtime drops none.
- The first layers and the last, next to the pixels and the scores, stay in float: they cost most and take least.
- An Add that joins two quantized branches is quantized too, or the branches would go back to float for it.
- Where a layer's result goes through Relu or Clip it has a pair on either side, both with the scale of what comes
  out: the second loses nothing, and ONNX Runtime sees layers that end in int8. Any other result stays in float.
- Behind a Concat a Clip keeps OpenVINO from moving the pair; see `_fence`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.version_converter

from headrace.models.errors import UnsupportedGraphError
from headrace.models.graph import check, read
from headrace.models.graph.branches import Branches
from headrace.models.graph.calibrate import Feeds, Method, Told, greatest_of
from headrace.models.graph.scope import opset_of

OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""What is quantized."""
_SHIELD = "_before_result"
_FENCE = "_fenced"
_PER_CHANNEL_OPSET = 13
"""From here on a DequantizeLinear may have a scale for each channel."""


class Quantizer:
    """A float network that was watched at work: gives int8 files of it, with any of its layers left in float.

    Args:
        file: the ONNX file, with float weights.
        feeds: what the network meets in use; consecutive where it has state.
        method: how ranges are told.
        told: hears how it goes on.

    Raises:
        ValueError: nothing to calibrate on, or an unknown method.
        UnsupportedGraphError: no layer can be quantized.
        BadGraphError: the file is missing or broken.
        ImportError: onnxruntime is not installed.
    """

    def __init__(
        self, file: Path, feeds: Sequence[Feeds], *, method: Method = "mse", told: Told = lambda line: None
    ) -> None:
        self._file = file
        self._float = _prepared(read.load(file))
        self._model = _shielded(self._float)
        self._branches = Branches(self._model.graph, OPERATORS)
        if not self._branches.layers:
            raise UnsupportedGraphError(
                f"{file}: nothing to quantize: no {', '.join(OPERATORS)} with float32 weights"
            )
        self._greatest = self._calibrated(feeds, method, told)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that can be quantized, by name, in the order of the graph."""
        return self._branches.layers

    @property
    def ends(self) -> tuple[str, ...]:
        """Those of them that no other comes before, and those that none comes after; none where that is all."""
        ends = self._branches.ends
        return ends if len(ends) < len(self.layers) else ()

    def named(self, names: Collection[str]) -> tuple[str, ...]:
        """The layers that are meant by names of layers and of operators.

        Raises:
            ValueError: one means none; the message lists what there is.
        """
        of_type = {node.name: node.op_type for node in self._model.graph.node if node.name in self.layers}
        for name in names:
            if name not in of_type and name not in of_type.values():
                known = ", ".join([*dict.fromkeys(of_type.values()), *self.layers])
                raise ValueError(f"{self._file}: no layer {name!r} to keep in float; there are: {known}")
        return tuple(layer for layer in self.layers if layer in names or of_type[layer] in names)

    def build(self, keep: Collection[str] = ()) -> bytes:
        """The ONNX file with every layer in int8 but those in `keep`, which read float too unless they are ends.

        Raises:
            UnsupportedGraphError: TensorRT would not take the result, though it takes the float network.
        """
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.onnx_model import ONNXModel
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        import headrace.models.quiet_onnxruntime  # noqa: F401  first of all

        layers = [layer for layer in self.layers if layer not in keep]
        chosen = [*layers, *self._branches.joins(layers)]
        exact = set(keep) - set(self.ends)
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        if layers:
            quantizer = QDQQuantizer(
                model,
                per_channel=True,
                reduce_range=False,
                weight_qType=QuantType.QInt8,
                activation_qType=QuantType.QInt8,
                tensors_range=self._ranges(),
                nodes_to_quantize=chosen,
                nodes_to_exclude=[],
                op_types_to_quantize=[*OPERATORS, "Add"],
                extra_options={
                    "ActivationSymmetric": True,
                    "WeightSymmetric": True,
                    "AddQDQPairToWeight": True,
                    "QuantizeBias": False,
                    "DedicatedQDQPair": True,
                },
            )
            quantizer.quantize_model()
            model = quantizer.model.model
            _give_back(model.graph, chosen, self._branches.closed(chosen, exact))
            self._fence(model.graph)
        _unshield(model.graph)
        ONNXModel(model).topological_sort()
        self._check(model)
        data: bytes = model.SerializeToString()
        return data

    def _fence(self, graph: onnx.GraphProto) -> None:
        """Put a Clip before the pairs behind a Concat, at the range of int8 itself, so that it changes nothing.

        OpenVINO (2026.4) moves a pair before the Concat and then loses the zero point of its own u8 on the way to
        the convolution: an eighth of the result is wrong. It moves none over a Clip; ONNX Runtime drops the Clip.
        """
        fenced: dict[str, str] = {}
        for tensor, pair in _pairs(graph):
            if not self._branches.is_joined(tensor):
                continue
            if tensor not in fenced:
                fenced[tensor] = tensor + _FENCE
                bounds = [fenced[tensor] + "_least", fenced[tensor] + "_greatest"]
                for name, sign in zip(bounds, (-1, 1), strict=True):
                    end = np.float32(sign * self._greatest[tensor])
                    graph.initializer.append(onnx.numpy_helper.from_array(end, name))
                graph.node.append(
                    onnx.helper.make_node("Clip", [tensor, *bounds], [fenced[tensor]], name=fenced[tensor])
                )
            pair.q.input[0] = fenced[tensor]

    def _check(self, model: onnx.ModelProto) -> None:
        before = {str(each) for each in check.check(self._float) if each.blocking}
        new = [each for each in check.check(model) if each.blocking and str(each) not in before]
        if new:
            raise UnsupportedGraphError(f"{self._file}: in int8 TensorRT would not take it: {new[0]}")

    def _calibrated(self, feeds: Sequence[Feeds], method: Method, told: Told) -> dict[str, float]:
        found = greatest_of(self._model, self._branches.tensors, feeds, method=method, told=told)
        for inner, outer in self._branches.bounded.items():
            if inner in found and outer in found:
                found[inner] = found[outer]
        return found

    def _ranges(self) -> Any:
        from onnxruntime.quantization import CalibrationMethod
        from onnxruntime.quantization.calibrate import TensorsData

        import headrace.models.quiet_onnxruntime  # noqa: F401  first of all

        ranges = {name: (np.float32(-end), np.float32(end)) for name, end in self._greatest.items()}
        return TensorsData(CalibrationMethod.MinMax, ranges)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    q: onnx.NodeProto
    dq: onnx.NodeProto


def _prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """Every node has a name of its own, and every tensor a type: calibration and quantization go by them."""
    if opset_of(model) < _PER_CHANNEL_OPSET:
        model = onnx.version_converter.convert_version(model, _PER_CHANNEL_OPSET)
    taken: set[str] = set()
    for at, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{at}"
        taken.add(node.name)
    return onnx.shape_inference.infer_shapes(model)


def _shielded(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which nothing but an Identity gives a result: the quantizer would make what is a result int8."""
    shielded = onnx.ModelProto()
    shielded.CopyFrom(model)
    graph = shielded.graph
    made = {name for node in graph.node for name in node.output}
    inner = {each.name: each.name + _SHIELD for each in graph.output if each.name in made}
    _rename(graph, inner)
    graph.node.extend(onnx.helper.make_node("Identity", [inner[name]], [name], name=inner[name]) for name in inner)
    return onnx.shape_inference.infer_shapes(shielded)


def _unshield(graph: onnx.GraphProto) -> None:
    shields = [node for node in graph.node if node.op_type == "Identity" and node.name.endswith(_SHIELD)]
    for node in shields:
        graph.node.remove(node)
    _rename(graph, {node.input[0]: node.output[0] for node in shields})
    stale = [each for each in graph.value_info if each.name.endswith(_SHIELD)]
    for each in stale:
        graph.value_info.remove(each)


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    for node in graph.node:
        for tensors in (node.input, node.output):
            for at, name in enumerate(tensors):
                tensors[at] = names.get(name, name)


def _give_back(graph: onnx.GraphProto, quantized: Collection[str], closed: Collection[str]) -> None:
    """What is not quantized reads float tensors as they were, but for the `closed` ones; idle pairs go."""
    pairs = _pairs(graph)
    plain = {pair.dq.output[0]: tensor for tensor, pair in pairs if tensor not in closed}
    for node in graph.node:
        if node.name not in quantized and node.op_type != "QuantizeLinear":
            for at, name in enumerate(node.input):
                node.input[at] = plain.get(name, name)
    read = {name for node in graph.node for name in node.input} | {each.name for each in graph.output}
    for _, pair in pairs:
        if pair.dq.output[0] not in read:
            graph.node.remove(pair.q)
            graph.node.remove(pair.dq)


def _pairs(graph: onnx.GraphProto) -> list[tuple[str, _Pair]]:
    """All pairs, each with the tensor that it stands on."""
    readers = {each.input[0]: each for each in graph.node if each.op_type == "DequantizeLinear"}
    made = [each for each in graph.node if each.op_type == "QuantizeLinear"]
    return [(each.input[0], _Pair(q=each, dq=readers[each.output[0]])) for each in made]
