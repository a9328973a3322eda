"""A half body between float ends: what is narrowed, what is not, and that engines load it and agree."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason='onnx is not installed: pip install "headrace[onnx]"')
runtime = pytest.importorskip("onnxruntime", reason='onnxruntime is not installed: pip install "headrace[onnx]"')

from graphs import FLOAT, HALF, INT64, UINT8, branch, graph, network, node  # noqa: E402

from headrace.engines.quiet_openvino import openvino  # noqa: E402
from headrace.models.graph.check import check  # noqa: E402
from headrace.models.graph.half import to_half  # noqa: E402
from headrace.models.graph.scope import opset_of  # noqa: E402

BUNDLED = Path(__file__).parents[3] / "models" / "bundled"
RANDOM = np.random.default_rng(5)
X: dict[str, Any] = {"x": (FLOAT, ("B", 3, 8, 8))}
Y: dict[str, Any] = {"y": (FLOAT, None)}


def weights(*shape: int) -> Any:
    return RANDOM.normal(0, 0.2, shape).astype(np.float32)


def classifier(*, opset: int = 18) -> Any:
    """Pixels → normalised → two convolutions around a mean → softmax and a class map."""
    nodes = [
        node("Cast", ["frame"], ["float"], name="cast", to=FLOAT),
        node("Transpose", ["float"], ["moved"], name="move", perm=[0, 3, 1, 2]),
        node("Div", ["moved", "range"], ["x"], name="normalise"),
        node("Conv", ["x", "w1", "b1"], ["c1"], name="first", pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"], name="relu"),
        node("ReduceMean", ["r1", "axes"], ["mean"], name="mean"),
        node("Mul", ["r1", "mean"], ["m"], name="weighted"),
        node("Conv", ["m", "w2", "b2"], ["c2"], name="second"),
        node("Softmax", ["c2"], ["scores"], name="softmax", axis=1),
        node("ArgMax", ["c2"], ["ids"], name="argmax", axis=1, keepdims=0),
        node("Cast", ["ids"], ["ids_float"], name="widen", to=FLOAT),
        node("Cast", ["ids_float"], ["mask"], name="narrow", to=UINT8),
    ]
    stored = {
        "range": np.float32(255),
        "w1": weights(8, 3, 3, 3),
        "b1": weights(8),
        "w2": weights(4, 8, 1, 1),
        "b2": weights(4),
        "axes": np.array([2, 3]),
    }
    outputs: dict[str, Any] = {"scores": (FLOAT, ("B", 4, 8, 8)), "mask": (UINT8, ("B", 8, 8))}
    return network(nodes, {"frame": (UINT8, ("B", 8, 8, 3))}, outputs, stored, opset=opset)


def types(model: Any) -> dict[str, str]:
    """Operator's name → the type of what it gives."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, check_type=True)
    known = {each.name: each.type.tensor_type.elem_type for each in (*inferred.graph.value_info, *model.graph.output)}
    names = {FLOAT: "float", HALF: "half"}
    return {each.name: names.get(known.get(each.output[0], 0), "") for each in model.graph.node}


def ran(model: Any, feeds: dict[str, Any]) -> list[Any]:
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def ports(model: Any) -> list[Any]:
    return [each.SerializeToString() for each in (*model.graph.input, *model.graph.output)]


def frames(count: int, height: int, width: int) -> Any:
    """Smooth enough that most pixels have one clear class."""
    coarse = RANDOM.integers(0, 256, (count, height // 4, width // 4, 3), dtype=np.uint8)
    return coarse.repeat(4, 1).repeat(4, 2)


@pytest.mark.parametrize("opset", [18, 19])
def test_the_body_is_half_and_the_ends_are_float(opset: int) -> None:
    model = classifier(opset=opset)
    halved = to_half(model)
    found = types(halved)
    assert {name for name, kind in found.items() if kind == "half" and not name.startswith("cast ")} == {
        *("first", "relu", "weighted", "second")
    }
    assert {found[name] for name in ("cast", "normalise", "mean", "softmax", "widen")} == {"float"}
    assert ports(halved) == ports(model)
    assert opset_of(halved) == opset
    assert check(halved) == []
    kinds = Counter(each.data_type for each in halved.graph.initializer)
    assert kinds == {HALF: 4, FLOAT: 1, INT64: 1}


def test_a_cast_stands_only_where_the_type_changes() -> None:
    casts = [each for each in to_half(classifier()).graph.node if each.name.startswith("cast ")]
    assert [(each.input[0], each.output[0]) for each in casts] == [
        ("x", "x.half"),  # into the body
        ("r1.half", "r1"),  # out to the mean
        ("mean", "mean.half"),  # and back
        ("c2.half", "c2"),  # out to the softmax and the class map: one for both
    ]


def test_the_original_is_left_as_it_was() -> None:
    model = classifier()
    before = model.SerializeToString()
    to_half(model)
    assert model.SerializeToString() == before


def test_engines_load_it_and_agree(tmp_path: Path) -> None:
    model = classifier()
    halved = to_half(model)
    feeds = {"frame": frames(2, 8, 8)}
    scores, mask = ran(model, feeds)
    half_scores, half_mask = ran(halved, feeds)
    assert half_scores.dtype == np.float32
    np.testing.assert_allclose(half_scores, scores, atol=2e-3)
    assert (half_mask == mask).mean() > 0.95
    onnx.save(halved, tmp_path / "half.onnx")
    compiled = openvino.Core().compile_model(tmp_path / "half.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.testing.assert_allclose(compiled(feeds)["scores"], scores, atol=2e-3)


@pytest.mark.parametrize("name", ["street", "two_stream"])
def test_the_bundled_networks_have_a_half_body(name: str) -> None:
    model = onnx.load(BUNDLED / f"{name}.onnx")
    told: list[str] = []
    halved = to_half(model, told=told.append)
    found = types(halved)
    heavy = {each.name for each in model.graph.node if each.op_type in ("Conv", "Gemm")}
    assert {found[each] for each in heavy} == {"half"}
    delicate = {each.name for each in model.graph.node if each.op_type in ("Softmax", "ReduceMean", "Sqrt", "Log")}
    assert {found[each] for each in delicate} == {"float"}
    assert check(halved) == []
    assert told == []
    assert len(halved.SerializeToString()) < 0.56 * len(model.SerializeToString())
    assert ports(halved) == ports(model)


def test_street_agrees_on_real_pictures(shared_data: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    pictures = sorted((shared_data / "segmentation" / "camvid" / "val" / "images").iterdir())[::20]
    frame = np.stack([cv2.cvtColor(cv2.imread(str(each)), cv2.COLOR_BGR2RGB) for each in pictures])
    model = onnx.load(BUNDLED / "street.onnx")
    (whole,), (half,) = (ran(each, {"frame": frame}) for each in (model, to_half(model)))
    assert (whole == half).mean() >= 0.999


def test_a_weight_that_half_cannot_hold_keeps_its_operator_in_float() -> None:
    stored = {"w": weights(4, 3, 1, 1), "huge": np.full((4, 4, 1, 1), 1e5, np.float32), "v": weights(4, 4, 1, 1)}
    nodes = [
        node("Conv", ["x", "w"], ["a"], name="first"),
        node("Conv", ["a", "huge"], ["b"], name="second"),
        node("Conv", ["b", "v"], ["y"], name="third"),
    ]
    told: list[str] = []
    found = types(to_half(network(nodes, X, Y, stored), told=told.append))
    assert (found["first"], found["second"], found["third"]) == ("half", "float", "half")
    assert told == ["second (Conv) stays in fp32: 'huge' reaches 1e+05, more than fp16 holds (65504)"]


def test_a_small_constant_keeps_its_digits() -> None:
    stored = {"w": weights(4, 3, 1, 1), "least": np.float32(1e-7), "v": weights(4, 4, 1, 1)}
    nodes = [
        node("Conv", ["x", "w"], ["a"], name="first"),
        node("Add", ["a", "least"], ["b"], name="never zero"),
        node("Conv", ["b", "v"], ["y"], name="second"),
    ]
    told: list[str] = []
    found = types(to_half(network(nodes, X, Y, stored), told=told.append))
    assert found["never zero"] == "float"
    assert "'least' has 1e-07" in told[0]


def test_a_division_is_half_only_by_a_constant() -> None:
    stored = {"w": weights(4, 3, 1, 1), "six": np.float32(6), "v": weights(4, 4, 1, 1)}
    nodes = [
        node("Conv", ["x", "w"], ["a"], name="first"),
        node("Div", ["a", "six"], ["b"], name="by six"),
        node("Conv", ["b", "v"], ["c"], name="second"),
        node("Div", ["c", "a"], ["d"], name="by the first"),
        node("Conv", ["d", "v"], ["y"], name="third"),
    ]
    found = types(to_half(network(nodes, X, Y, stored)))
    assert (found["by six"], found["by the first"]) == ("half", "float")


def test_operators_are_kept_in_float_by_name() -> None:
    found = types(to_half(classifier(), keep=["second"]))
    assert (found["first"], found["second"]) == ("half", "float")


def test_a_weight_that_both_read_is_stored_twice() -> None:
    stored = {"w": weights(3, 3, 1, 1)}
    nodes = [node("Conv", ["x", "w"], ["c"], name="first"), node("Softmax", ["w"], ["s"], name="of weights", axis=0)]
    nodes.append(node("Add", ["c", "s"], ["y"], name="add"))
    model = network(nodes, {"x": (FLOAT, ("B", 3, 1, 1))}, Y, stored)
    halved = to_half(model)
    assert {each.name: each.data_type for each in halved.graph.initializer} == {"w": FLOAT, "w.half": HALF}
    feeds = {"x": weights(3, 3, 1, 1)}
    np.testing.assert_allclose(ran(halved, feeds)[0], ran(model, feeds)[0], atol=1e-2)


def test_scales_of_a_resize_and_sizes_from_a_shape_stay_as_they_are() -> None:
    stored = {"w": weights(4, 3, 1, 1), "v": weights(4, 4, 1, 1), "scales": np.array([1, 1, 2, 2], np.float32)}
    nodes = [
        node("Conv", ["x", "w"], ["a"], name="first"),
        node("Resize", ["a", "", "scales"], ["up"], name="larger", mode="linear"),
        node("Shape", ["a"], ["size"], name="shape"),
        node("Resize", ["up", "", "", "size"], ["down"], name="back", mode="linear"),
        node("Conv", ["down", "v"], ["y"], name="second"),
    ]
    model = network(nodes, X, Y, stored)
    halved = to_half(model)
    found = types(halved)
    assert (found["larger"], found["back"]) == ("half", "half")
    assert len([each for each in halved.graph.node if each.op_type == "Cast"]) == 2
    feeds = {"x": weights(1, 3, 8, 8)}
    np.testing.assert_allclose(ran(halved, feeds)[0], ran(model, feeds)[0], atol=1e-2)


def test_what_a_branch_reads_stays_float() -> None:
    then = graph([node("Softmax", ["c"], ["t"], axis=1)], {}, {"t": (FLOAT, None)})
    nodes = [
        node("Conv", ["x", "w"], ["c"], name="first"),
        node("If", ["go"], ["i"], name="if", then_branch=then, else_branch=branch("Abs", "e", None, of="c")),
        node("Conv", ["i", "v"], ["y"], name="second"),
    ]
    stored = {"w": weights(4, 3, 1, 1), "v": weights(4, 4, 1, 1)}
    inputs: dict[str, Any] = {**X, "go": (onnx.TensorProto.BOOL, ())}
    model = network(nodes, inputs, Y, stored)
    feeds = {"x": weights(1, 3, 8, 8), "go": np.array(True)}
    np.testing.assert_allclose(ran(to_half(model), feeds)[0], ran(model, feeds)[0], atol=1e-2)


def test_state_keeps_its_type() -> None:
    nodes = [
        node("Concat", ["x", "memory"], ["both"], name="both", axis=1),
        node("Conv", ["both", "w"], ["next_memory"], name="step"),
        node("Relu", ["next_memory"], ["y"], name="relu"),
    ]
    inputs: dict[str, Any] = {**X, "memory": (FLOAT, ("B", 4, 8, 8))}
    outputs: dict[str, Any] = {**Y, "next_memory": (FLOAT, ("B", 4, 8, 8))}
    model = network(nodes, inputs, outputs, {"w": weights(4, 7, 1, 1)})
    halved = to_half(model)
    assert ports(halved) == ports(model)
    assert types(halved)["step"] == "half"


def quantized(*, opset: int) -> Any:
    """A convolution with int8 in and int8 weights, as the quantizer writes it; then one in float."""
    nodes = [
        node("QuantizeLinear", ["x", "sx", "zero"], ["qx"], name="q x"),
        node("DequantizeLinear", ["qx", "sx", "zero"], ["dx"], name="dq x"),
        node("QuantizeLinear", ["w", "sw", "zeros"], ["qw"], name="q w", axis=0),
        node("DequantizeLinear", ["qw", "sw", "zeros"], ["dw"], name="dq w", axis=0),
        node("Conv", ["dx", "dw", "b"], ["c"], name="int8"),
        node("QuantizeLinear", ["c", "sx", "zero"], ["qc"], name="q c"),
        node("DequantizeLinear", ["qc", "sx", "zero"], ["dc"], name="dq c"),
        node("Softmax", ["dc"], ["y"], name="softmax", axis=1),
    ]
    stored = {
        "sx": np.float32(0.02),
        "zero": np.int8(0),
        "w": weights(4, 3, 1, 1),
        "sw": np.full(4, 0.004, np.float32),
        "zeros": np.zeros(4, np.int8),
        "b": weights(4),
    }
    return network(nodes, X, Y, stored, opset=opset)


@pytest.mark.parametrize("opset", [18, 19])
def test_a_quantized_network_gets_half_scales_at_opset_19(opset: int) -> None:
    model = quantized(opset=opset)
    halved = to_half(model)
    assert opset_of(halved) == 19
    assert check(halved) == []
    found = types(halved)
    assert {found[name] for name in ("dq x", "dq w", "int8", "dq c")} == {"half"}
    assert found["softmax"] == "float"
    casts = [each.output[0] for each in halved.graph.node if each.op_type == "Cast"]
    assert casts == ["x.half", "dc"]  # none between the quantizers and the convolution
    feeds = {"x": weights(2, 3, 8, 8)}
    np.testing.assert_allclose(ran(halved, feeds)[0], ran(model, feeds)[0], atol=0.02)


def test_a_network_without_convolutions_is_left_alone() -> None:
    model = network([node("Relu", ["x"], ["y"], name="relu")], X, Y)
    assert to_half(model).graph.node == model.graph.node
