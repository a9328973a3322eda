"""Int8 networks: Q/DQ pairs that TensorRT, OpenVINO and ONNX Runtime all run, calibrated on real frames."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

Feeds = Mapping[str, NDArray[Any]]
"""All inputs of a network by name, batch first; its state is carried here, as a session does."""
Told = Callable[[str], None]
Method = Literal["minmax", "percentile", "entropy"]

_NEXT = "next_"
"""An input `NAME` and an output `next_NAME` are one state."""
OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeOptions:
    """How a network is made int8."""

    method: Method = "minmax"
    """How the range of what flows through the network is told."""
    keep: tuple[str, ...] = ()
    """What stays float: names of nodes, or types of operators."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantized:
    """An int8 network."""

    model: bytes
    """The ONNX file."""
    kept: tuple[str, ...]
    """Nodes left in float that could have been quantized."""
    frames: int
    """How many inputs it was calibrated on."""


def quantize(
    file: Path,
    feeds: Sequence[Feeds],
    *,
    options: QuantizeOptions = QuantizeOptions(),
    told: Told = lambda line: None,
) -> Quantized:
    """Quantize the heavy layers of a float network.

    Args:
        file: the ONNX file, with float weights.
        feeds: what the network meets in use; consecutive where it has state.
        told: hears how it goes on.

    Raises:
        ValueError: nothing to calibrate on, or a name in `keep` that the network does not have.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    if not feeds:
        raise ValueError(f"{file}: nothing to calibrate on")
    model = onnx.load(file)
    kept = _kept(model, options.keep, file)
    methods = {
        "minmax": CalibrationMethod.MinMax,
        "percentile": CalibrationMethod.Percentile,
        "entropy": CalibrationMethod.Entropy,
    }
    told(f"calibrating on {len(feeds)} inputs ({options.method})")
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        draft = Path(folder) / "int8.onnx"
        quantize_static(
            model,
            draft,
            _reader(model, feeds),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=list(OPERATORS),
            nodes_to_exclude=list(kept),
            calibrate_method=methods[options.method],
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "AddQDQPairToWeight": True,
                "QuantizeBias": False,
            },
        )
        data = draft.read_bytes()
    return Quantized(model=data, kept=kept, frames=len(feeds))


def _kept(model: onnx.ModelProto, keep: Sequence[str], file: Path) -> tuple[str, ...]:
    heavy = [node for node in model.graph.node if node.op_type in OPERATORS]
    known = {node.name for node in model.graph.node} | {node.op_type for node in model.graph.node}
    if unknown := [name for name in keep if name not in known]:
        raise ValueError(f"{file}: keep {unknown[0]!r}: no node and no operator of the network is called like this")
    return tuple(node.name for node in heavy if node.name in keep or node.op_type in keep)


def _reader(model: onnx.ModelProto, feeds: Sequence[Feeds]) -> Any:
    """What ONNX Runtime's calibration reads: one call's inputs after the other."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._calls = _calls(model, feeds)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            return next(self._calls, None)

    return Reader()


def _calls(model: onnx.ModelProto, feeds: Sequence[Feeds]) -> Iterator[dict[str, NDArray[Any]]]:
    outputs = {each.name for each in model.graph.output}
    state = [each for each in model.graph.input if each.name not in feeds[0] and _NEXT + each.name in outputs]
    if not state:
        yield from (dict(fed) for fed in feeds)
        return
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    carried = {each.name: _zeros(each) for each in state}
    for fed in feeds:
        call = {**fed, **carried}
        yield call
        moved = session.run([_NEXT + name for name in carried], call)
        carried = dict(zip(carried, moved, strict=True))


def _zeros(value: onnx.ValueInfoProto) -> NDArray[Any]:
    tensor = value.type.tensor_type
    shape = [length.dim_value or 1 for length in tensor.shape.dim]
    return np.zeros(shape, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
