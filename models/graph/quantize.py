"""Int8 networks: one file with Q/DQ pairs that TensorRT, OpenVINO and ONNX Runtime all run in int8.

What it takes for all three (signed, zero point 0, weights per channel, biases in float) and to run fast on each:

- Every layer reads through a pair of its own: TensorRT shares none, and ONNX Runtime drops none.
- The first layers and the last, next to the pixels and the scores, stay in float: they cost most and take least.
- An Add that joins two quantized branches is quantized too, or the branches would go back to float for it.
- Where a layer's result goes through Relu or Clip it has a pair on either side, both with the scale of what comes
  out: the second loses nothing, and ONNX Runtime sees layers that end in int8. Any other result stays in float.
"""

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx
import onnx.version_converter
from numpy.typing import NDArray

from headrace.models.errors import UnsupportedGraphError
from headrace.models.graph import check, read
from headrace.models.graph.branches import Branches
from headrace.models.graph.scope import opset_of

Feeds = Mapping[str, NDArray[Any]]
"""All inputs of a network by name, batch first; its state is carried here, as a session does."""
Told = Callable[[str], None]
Method = Literal["average", "minmax", "percentile", "entropy"]
"""How a range is told: the mean over the inputs of each one's extremes; the extremes of all; all but the outermost
hundred-thousandth of the values; the range whose values are most like the original ones in distribution."""

Call = dict[str, NDArray[Any]]
"""As `Feeds`, with the state."""

OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""What is quantized."""
_NEXT = "next_"
"""An input `NAME` and an output `next_NAME` are one state."""
_PER_CHANNEL_OPSET = 13
"""From here on a DequantizeLinear may have a scale for each channel."""
_TOLD_EVERY = 10


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
        self, file: Path, feeds: Sequence[Feeds], *, method: Method = "percentile", told: Told = lambda line: None
    ) -> None:
        if not feeds:
            raise UnsupportedGraphError(f"{file}: nothing to calibrate on")
        if method not in get_args(Method):
            raise ValueError(f"calibration {method!r} is not known; allowed: {', '.join(get_args(Method))}")
        self._file = file
        self._model = _prepared(read.load(file))
        self._branches = Branches(self._model.graph, OPERATORS)
        if not self._branches.layers:
            raise UnsupportedGraphError(
                f"{file}: nothing to quantize: no {', '.join(OPERATORS)} with float32 weights"
            )
        self._ranges = self._calibrated(feeds, method, told)

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
        """The ONNX file with every layer in int8 but those in `keep`.

        Raises:
            UnsupportedGraphError: TensorRT would not take the result, though it takes the float network.
        """
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        layers = [layer for layer in self.layers if layer not in keep]
        chosen = [*layers, *self._branches.joins(layers)]
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        if layers:
            quantizer = QDQQuantizer(
                model,
                per_channel=True,
                reduce_range=False,
                weight_qType=QuantType.QInt8,
                activation_qType=QuantType.QInt8,
                tensors_range=self._ranges,
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
            _take_out(model.graph, self._branches.left_in_float(chosen))
        self._check(model)
        data: bytes = model.SerializeToString()
        return data

    def _check(self, model: onnx.ModelProto) -> None:
        before = {str(each) for each in check.check(self._model) if each.blocking}
        new = [each for each in check.check(model) if each.blocking and str(each) not in before]
        if new:
            raise UnsupportedGraphError(f"{self._file}: in int8 TensorRT would not take it: {new[0]}")

    def _calibrated(self, feeds: Sequence[Feeds], method: Method, told: Told) -> Any:
        from onnxruntime.quantization import CalibrationMethod
        from onnxruntime.quantization.calibrate import create_calibrator

        methods = {
            "average": (CalibrationMethod.MinMax, {"moving_average": True}),
            "minmax": (CalibrationMethod.MinMax, {}),
            "percentile": (CalibrationMethod.Percentile, {}),
            "entropy": (CalibrationMethod.Entropy, {}),
        }
        kind, options = methods[method]
        watched = [*OPERATORS, "Add", "Relu", "Clip"]
        calls = _told(_calls(self._model, feeds), len(feeds), told)
        with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
            float_file, watching = Path(folder) / "float.onnx", Path(folder) / "watching.onnx"
            onnx.save(self._model, float_file)
            calibrator = create_calibrator(
                str(float_file), watched, str(watching), calibrate_method=kind, extra_options=options
            )
            ranges = (
                _extremes(calibrator, calls) if kind == CalibrationMethod.MinMax else _histograms(calibrator, calls)
            )
        for inner, outer in self._branches.bounded.items():
            if outer in ranges.data:
                ranges.data[inner] = ranges.data[outer]
        return ranges


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


def _take_out(graph: onnx.GraphProto, tensors: Collection[str]) -> None:
    """Take the pairs away that stand behind some tensors: they stay in float."""
    pairs = {}
    by_input = {each.input[0]: each for each in graph.node if each.op_type == "DequantizeLinear"}
    for node in graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] in tensors:
            pairs[node.input[0]] = _Pair(q=node, dq=by_input[node.output[0]])
    back = {pair.dq.output[0]: tensor for tensor, pair in pairs.items()}
    for pair in pairs.values():
        graph.node.remove(pair.q)
        graph.node.remove(pair.dq)
    for node in graph.node:
        for at, name in enumerate(node.input):
            node.input[at] = back.get(name, name)


def _extremes(calibrator: Any, calls: Iterator[Call]) -> Any:
    calibrator.collect_data(_reader(calls))
    return calibrator.compute_data()


def _histograms(calibrator: Any, calls: Iterator[Call]) -> Any:
    # It holds all that it sees of one reading in memory, and prints what it does.
    for call in calls:
        with redirect_stdout(StringIO()):
            calibrator.collect_data(_reader(iter((call,))))
    with redirect_stdout(StringIO()):
        return calibrator.compute_data()


def _reader(calls: Iterator[Call]) -> Any:
    """What ONNX Runtime's calibration reads: one call's inputs after the other."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def get_next(self) -> Call | None:
            return next(calls, None)

    return Reader()


def _told(calls: Iterator[Call], count: int, told: Told) -> Iterator[Call]:
    for at, call in enumerate(calls):
        if at % _TOLD_EVERY == 0:
            told(f"calibrating: {at} of {count}")
        yield call


def _calls(model: onnx.ModelProto, feeds: Sequence[Feeds]) -> Iterator[Call]:
    """What each call is fed, the state that the calls before it have left included."""
    outputs = {each.name for each in model.graph.output}
    state = [each for each in model.graph.input if each.name not in feeds[0] and _NEXT + each.name in outputs]
    if not state:
        yield from (dict(fed) for fed in feeds)
        return
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    carried: dict[str, NDArray[Any]] = {}
    for fed in feeds:
        batch = len(next(iter(fed.values())))
        call = {**fed, **{each.name: carried.get(each.name, _zeros(each, batch)) for each in state}}
        yield call
        moved = session.run([_NEXT + each.name for each in state], call)
        carried = dict(zip((each.name for each in state), moved, strict=True))


def _zeros(value: onnx.ValueInfoProto, batch: int) -> NDArray[Any]:
    tensor = value.type.tensor_type
    shape = [length.dim_value or batch for length in tensor.shape.dim]
    return np.zeros(shape, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
