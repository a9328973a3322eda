"""Small ONNX networks of the kind that ship: uint8 (B, H, W, 3) frames in, uint8 maps or float scores out."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from headrace.models.spec import Dtype, ModelSpec, TensorSpec, Weights

Shape = tuple[int | None, ...]
Weighted = dict[str, Any]
"""Arrays or numpy scalars by name."""
_ONNX_TYPE = {
    "uint8": TensorProto.UINT8,
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "int64": TensorProto.INT64,
}


def tensor(name: str, shape: Shape, dtype: Dtype, layout: str) -> TensorSpec:
    """A tensor's description in one line."""
    return TensorSpec(name=name, shape=shape, dtype=dtype, layout=layout)


def segmenter(folder: Path, *, width_px: int = 16, height_px: int = 12, classes: int = 5) -> ModelSpec:
    """frame uint8 (B, H, W, 3) → cast, conv, relu, conv, argmax → mask uint8 (B, H, W)."""
    random = np.random.default_rng(7)
    weights: Weighted = {
        "w1": random.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32),
        "w2": random.normal(0, 0.3, (classes, 8, 3, 3)).astype(np.float32),
        "scale": np.float32(1 / 255),
    }
    nodes = [
        *_normalised("frame", "x0"),
        helper.make_node("Conv", ["x0", "w1"], ["x1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["x1"], ["x2"]),
        helper.make_node("Conv", ["x2", "w2"], ["logits"], pads=[1, 1, 1, 1]),
        helper.make_node("ArgMax", ["logits"], ["ids"], axis=1, keepdims=0),
        helper.make_node("Cast", ["ids"], ["ids_float"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["ids_float"], ["mask"], to=TensorProto.UINT8),
    ]
    inputs = (tensor("frame", (None, height_px, width_px, 3), "uint8", "BHWC"),)
    outputs = (tensor("mask", (None, height_px, width_px), "uint8", "BHW"),)
    return _saved(folder / "segmenter.onnx", nodes, weights, inputs, outputs, labels=classes)


def deep_net(folder: Path, *, layers: int = 16, channels: int = 24, size_px: int = 24) -> ModelSpec:
    """frame uint8 (B, H, W, 3) → many convs → map float32 (B, C, H, W): deep enough for rounding to show."""
    random = np.random.default_rng(11)
    deviation = np.sqrt(2 / (9 * channels))
    weights: Weighted = {
        "scale": np.float32(1 / 255),
        "w_in": random.normal(0, 0.3, (channels, 3, 3, 3)).astype(np.float32),
    }
    nodes = [*_normalised("frame", "x"), helper.make_node("Conv", ["x", "w_in"], ["y0"], pads=[1, 1, 1, 1])]
    for at in range(layers):
        weights[f"w{at}"] = random.normal(0, deviation, (channels, channels, 3, 3)).astype(np.float32)
        nodes += [
            helper.make_node("Conv", [f"y{at}", f"w{at}"], [f"c{at}"], pads=[1, 1, 1, 1]),
            helper.make_node("Tanh", [f"c{at}"], ["map" if at == layers - 1 else f"y{at + 1}"]),
        ]
    inputs = (tensor("frame", (None, size_px, size_px, 3), "uint8", "BHWC"),)
    outputs = (tensor("map", (None, channels, size_px, size_px), "float32", "BCHW"),)
    return _saved(folder / "deep_net.onnx", nodes, weights, inputs, outputs)


def running_total(folder: Path) -> ModelSpec:
    """A network with state: y float32 (B, 4) is the sum of every x so far, count int64 (B, 1) the calls."""
    nodes = [
        helper.make_node("Add", ["x", "total"], ["y"]),
        helper.make_node("Identity", ["y"], ["next_total"]),
        helper.make_node("Add", ["calls", "one"], ["next_calls"]),
        helper.make_node("Identity", ["next_calls"], ["count"]),
    ]
    inputs = (tensor("x", (None, 4), "float32", "BC"),)
    outputs = (tensor("y", (None, 4), "float32", "BC"), tensor("count", (None, 1), "int64", "BC"))
    state = (tensor("total", (None, 4), "float32", "BC"), tensor("calls", (None, 1), "int64", "BC"))
    moved = tuple(tensor(f"next_{each.name}", each.shape, each.dtype, each.layout) for each in state)
    path = folder / "running_total.onnx"
    _save(path, nodes, {"one": np.array([[1]], np.int64)}, inputs + state, outputs + moved)
    return described(path, inputs, outputs)


def two_inputs(folder: Path) -> ModelSpec:
    """image uint8 (B, 2, 2, 3), flow float32 (B, 2, 2, 2) → scores float32 (B, 2): the mean of each."""
    nodes = [
        helper.make_node("Cast", ["image"], ["image_float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["image_float", "axes"], ["a"], keepdims=0),
        helper.make_node("ReduceMean", ["flow", "axes"], ["b"], keepdims=0),
        helper.make_node("Unsqueeze", ["a", "last"], ["a1"]),
        helper.make_node("Unsqueeze", ["b", "last"], ["b1"]),
        helper.make_node("Concat", ["a1", "b1"], ["scores"], axis=1),
    ]
    weights = {"axes": np.array([1, 2, 3], np.int64), "last": np.array([1], np.int64)}
    inputs = (
        tensor("image", (None, 2, 2, 3), "uint8", "BHWC"),
        tensor("flow", (None, 2, 2, 2), "float32", "BHWC"),
    )
    outputs = (tensor("scores", (None, 2), "float32", "BC"),)
    return _saved(folder / "two_inputs.onnx", nodes, weights, inputs, outputs)


def quantized(folder: Path) -> ModelSpec:
    """x float32 (B, 16, 8, 8) → int8 convolution by Q/DQ pairs → y float32 (B, 16, 8, 8).

    The convolution's own result is quantized: ONNX Runtime runs it in float where that comes only after the ReLU.
    """
    random = np.random.default_rng(5)
    weights: Weighted = {
        "step": np.float32(0.05),
        "w_step": np.float32(0.005),
        "y_step": np.float32(0.5),
        "zero": np.int8(0),
        "w_q": random.integers(-127, 128, (16, 16, 3, 3), dtype=np.int8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["x_q"]),
        helper.make_node("DequantizeLinear", ["x_q", "step", "zero"], ["x_d"]),
        helper.make_node("DequantizeLinear", ["w_q", "w_step", "zero"], ["w_d"]),
        helper.make_node("Conv", ["x_d", "w_d"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("QuantizeLinear", ["c", "y_step", "zero"], ["c_q"]),
        helper.make_node("DequantizeLinear", ["c_q", "y_step", "zero"], ["c_q_d"]),
        helper.make_node("Relu", ["c_q_d"], ["r"]),
        helper.make_node("QuantizeLinear", ["r", "y_step", "zero"], ["y_q"]),
        helper.make_node("DequantizeLinear", ["y_q", "y_step", "zero"], ["y"]),
    ]
    inputs = (tensor("x", (None, 16, 8, 8), "float32", "BCHW"),)
    outputs = (tensor("y", (None, 16, 8, 8), "float32", "BCHW"),)
    return _saved(folder / "quantized.onnx", nodes, weights, inputs, outputs, opset=19)


def fails_on_odd_batches(folder: Path) -> ModelSpec:
    """x float32 (B, 3) → y float32 (B, 3), by way of (2, anything): a batch of 1 cannot be cut in two."""
    weights = {"halves": np.array([2, -1], np.int64), "rows": np.array([-1, 3], np.int64)}
    nodes = [
        helper.make_node("Reshape", ["x", "halves"], ["x_halves"]),
        helper.make_node("Reshape", ["x_halves", "rows"], ["y"]),
    ]
    inputs = (tensor("x", (None, 3), "float32", "BC"),)
    outputs = (tensor("y", (None, 3), "float32", "BC"),)
    return _saved(folder / "fails_on_odd_batches.onnx", nodes, weights, inputs, outputs)


def scatter_weights(path: Path, names: list[str]) -> None:
    """Move these weights out of an ONNX file, each into a file of its own beside it."""
    model = onnx.load(path)
    for each in model.graph.initializer:
        if each.name in names:
            onnx.external_data_helper.set_external_data(each, location=f"{each.name}.bin")
    onnx.save(model, path)


def unknown_operator(folder: Path) -> ModelSpec:
    """A network with the operator example.Frobnicate, which nothing runs."""
    path = folder / "unknown_operator.onnx"
    inputs = (tensor("x", (None, 3), "float32", "BC"),)
    outputs = (tensor("y", (None, 3), "float32", "BC"),)
    node = helper.make_node("Frobnicate", ["x"], ["y"], domain="example")
    graph = helper.make_graph([node], "g", [_value(inputs[0])], [_value(outputs[0])])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("example", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return described(path, inputs, outputs)


def described(
    path: Path, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], labels: int = 2
) -> ModelSpec:
    """A description for an ONNX file, true where a test needs it."""
    return ModelSpec(
        name=path.stem,
        task="segment",
        summary="made for a test",
        paper="none",
        year=2026,
        parameters=0,
        size=(1, 1),
        inputs=inputs,
        outputs=outputs,
        labels=tuple(f"class {at}" for at in range(labels)),
        weights=Weights(file=path, licence="Apache-2.0", trained_on="nothing", recipe="none", score="none"),
    )


def _normalised(frame: str, out: str) -> list[onnx.NodeProto]:
    """uint8 (B, H, W, 3) → float32 (B, 3, H, W) in 0..1; the cast comes first, as TensorRT wants it."""
    return [
        helper.make_node("Cast", [frame], [f"{out}_float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", [f"{out}_float"], [f"{out}_planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", [f"{out}_planes", "scale"], [out]),
    ]


def _saved(
    path: Path,
    nodes: list[onnx.NodeProto],
    weights: Weighted,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    labels: int = 2,
    opset: int = 18,
) -> ModelSpec:
    _save(path, nodes, weights, inputs, outputs, opset)
    return described(path, inputs, outputs, labels)


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    weights: Weighted,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    opset: int = 18,
) -> None:
    graph = helper.make_graph(
        nodes,
        path.stem,
        [_value(each) for each in inputs],
        [_value(each) for each in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _value(spec: TensorSpec) -> onnx.ValueInfoProto:
    shape = ["batch" if length is None else length for length in spec.shape]
    return helper.make_tensor_value_info(spec.name, _ONNX_TYPE[spec.dtype], shape)
