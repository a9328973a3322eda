"""Int8 files: what is quantized and how, what stays in float, and that both engines run them and agree."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason='onnx is not installed: pip install "headrace[onnx]"')
runtime = pytest.importorskip("onnxruntime", reason='onnxruntime is not installed: pip install "headrace[onnx]"')

import quantizable  # noqa: E402
from graphs import FLOAT, HALF, UINT8, network, node  # noqa: E402

from headrace.engines.quiet_openvino import openvino  # noqa: E402
from headrace.models import spec  # noqa: E402
from headrace.models.errors import BadGraphError, UnsupportedGraphError  # noqa: E402
from headrace.models.graph.check import check  # noqa: E402
from headrace.models.graph.quantize import Quantizer  # noqa: E402


def saved(folder: Path, model: Any) -> Path:
    path = folder / "net.onnx"
    onnx.save(model, path)
    return path


def quantized(quantizer: Quantizer, keep: Any = None) -> Any:
    model = onnx.load_from_string(quantizer.build(quantizer.ends if keep is None else keep))
    onnx.checker.check_model(model, full_check=True)
    return model


def residual(folder: Path, **options: Any) -> Quantizer:
    path = saved(folder, quantizable.residual_net(**options))
    return Quantizer(path, quantizable.frames(8))


def nodes_by_name(model: Any) -> dict[str, Any]:
    return {each.name: each for each in model.graph.node}


def makers(model: Any) -> dict[str, Any]:
    return {output: each for each in model.graph.node for output in each.output}


def reads_int8(model: Any, name: str) -> list[bool]:
    """Of each input of an operator, whether it comes out of a Q/DQ pair."""
    made = makers(model)
    read = nodes_by_name(model)[name].input
    return [each in made and made[each].op_type == "DequantizeLinear" for each in read]


def constant(model: Any, name: str) -> Any:
    stored = {each.name: each for each in model.graph.initializer}
    return onnx.numpy_helper.to_array(stored[name])


def on_onnxruntime(model: Any, feeds: Any) -> list[Any]:
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [session.run(None, fed)[0] for fed in feeds]


def on_openvino(model: Any, feeds: Any, folder: Path) -> list[Any]:
    path = folder / "for_openvino.onnx"
    onnx.save(model, path)
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [compiled(list(fed.values()))[0].copy() for fed in feeds]


def test_every_pair_is_what_tensorrt_takes(tmp_path: Path) -> None:
    model = quantized(residual(tmp_path))
    pairs = [each for each in model.graph.node if each.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert pairs
    for each in pairs:
        zero = constant(model, each.input[2])
        assert zero.dtype == np.int8
        assert not zero.any()
    assert not [each for each in check(model) if each.blocking]


def test_weights_have_a_scale_for_each_channel_and_biases_stay_float(tmp_path: Path) -> None:
    model = quantized(residual(tmp_path))
    left = nodes_by_name(model)["left"]
    of_weights = makers(model)[left.input[1]]
    assert constant(model, of_weights.input[1]).shape == (8,)
    assert constant(model, left.input[2]).dtype == np.float32


def test_the_ends_stay_float_and_the_rest_is_int8(tmp_path: Path) -> None:
    quantizer = residual(tmp_path)
    assert quantizer.layers == ("first", "left", "deep", "right", "behind", "last")
    assert quantizer.ends == ("first", "last")
    model = quantized(quantizer)
    for layer in quantizer.layers:
        expected = layer not in quantizer.ends
        assert reads_int8(model, layer)[:2] == [expected, expected], layer


def test_where_ends_are_all_there_is_none_is_kept(tmp_path: Path) -> None:
    nodes = [node("Conv", ["x", "w"], ["y"], name="only")]
    shape = ("B", 2, 4, 4)
    model = network(nodes, {"x": (FLOAT, shape)}, {"y": (FLOAT, shape)}, {"w": np.ones((2, 2, 1, 1), np.float32)})
    quantizer = Quantizer(saved(tmp_path, model), [{"x": np.ones((1, 2, 4, 4), np.float32)}])
    assert quantizer.ends == ()
    assert reads_int8(quantized(quantizer), "only") == [True, True]


def test_an_add_of_two_quantized_branches_is_quantized(tmp_path: Path) -> None:
    quantizer = residual(tmp_path)
    assert reads_int8(quantized(quantizer), "join") == [True, True]
    assert reads_int8(quantized(quantizer, ("right",)), "join") == [False, False]
    assert reads_int8(quantized(quantizer, ("behind", "last")), "join") == [False, False]


def test_no_two_readers_share_a_pair(tmp_path: Path) -> None:
    model = quantized(residual(tmp_path), ())
    readers = Counter(name for each in model.graph.node for name in set(each.input))
    for each in model.graph.node:
        if each.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert readers[each.output[0]] == 1, each.name


def test_the_pairs_on_either_side_of_a_relu_have_one_scale(tmp_path: Path) -> None:
    model = quantized(residual(tmp_path))
    relu = nodes_by_name(model)["relu_left"]
    before = makers(model)[relu.input[0]]
    behind = next(each for each in model.graph.node if relu.output[0] in each.input)
    assert (before.op_type, behind.op_type) == ("DequantizeLinear", "QuantizeLinear")
    assert constant(model, before.input[1]) == constant(model, behind.input[1])


def test_results_that_something_else_reads_stay_float(tmp_path: Path) -> None:
    model = quantized(residual(tmp_path))
    assert reads_int8(model, "soft") == [False]
    assert nodes_by_name(model)["behind"].output[0] in nodes_by_name(model)["soft"].input


def test_the_casts_at_the_ends_survive(tmp_path: Path) -> None:
    model = quantized(residual(tmp_path))
    first = next(each for each in model.graph.node if "frame" in each.input)
    last = makers(model)["mask"]
    assert (first.op_type, last.op_type) == ("Cast", "Cast")
    assert makers(model)[last.input[0]].op_type == "Cast"
    inputs = {each.name: each.type.tensor_type.elem_type for each in (*model.graph.input, *model.graph.output)}
    assert inputs == {"frame": UINT8, "mask": UINT8}


@pytest.mark.parametrize("method", ["mse", "percentile", "minmax"])
def test_both_engines_agree_with_the_float_network(tmp_path: Path, method: Any) -> None:
    model = quantizable.residual_net()
    quantizer = Quantizer(saved(tmp_path, model), quantizable.frames(8), method=method)
    unseen = quantizable.frames(6, seed=1)
    wanted = on_onnxruntime(model, unseen)
    for found in (on_onnxruntime(quantized(quantizer), unseen), on_openvino(quantized(quantizer), unseen, tmp_path)):
        assert np.mean([(a == b).mean() for a, b in zip(found, wanted, strict=True)]) > 0.95


@pytest.mark.parametrize("bound", [False, True])
def test_a_layer_behind_a_concat_is_right_on_both_engines(tmp_path: Path, bound: bool) -> None:
    random = np.random.default_rng(6)
    same = {"pads": [1, 1, 1, 1]}
    nodes = [
        node("Conv", ["x", "w0"], ["c0"], name="first", **same),
        node("Relu", ["c0"], ["r0"], name="relu"),
        node("Conv", ["r0", "w1"], ["c1"], name="left", **same),
        node("Conv", ["r0", "w2"], ["c2"], name="right", **same),
        node("Concat", ["c1", "c2"], ["joined"], name="concat", axis=1),
        node("Relu", ["joined"], ["bounded"], name="bound") if bound else node("Identity", ["joined"], ["bounded"]),
        node("Conv", ["bounded" if bound else "joined", "w3"], ["c3"], name="behind"),
        node("Relu", ["c3"], ["r3"], name="relu_behind"),
        node("Conv", ["r3", "w4"], ["y"], name="last"),
    ]
    stored = {
        "w0": quantizable.weights(random, 8, 3, 3, 3),
        "w1": quantizable.weights(random, 8, 8, 3, 3),
        "w2": quantizable.weights(random, 8, 8, 3, 3),
        "w3": quantizable.weights(random, 16, 16, 1, 1),
        "w4": quantizable.weights(random, 4, 16, 1, 1),
    }
    ports: Any = {"x": (FLOAT, ("B", 3, 16, 16))}, {"y": (FLOAT, ("B", 4, 16, 16))}
    model = network(nodes, *ports, stored)
    fed = [{"x": random.normal(0, 1, (1, 3, 16, 16)).astype(np.float32)} for _ in range(4)]
    made = quantized(Quantizer(saved(tmp_path, model), fed))
    assert reads_int8(made, "behind") == [True, True]
    wanted = np.array(on_onnxruntime(model, fed))
    for found in (on_onnxruntime(made, fed), on_openvino(made, fed, tmp_path)):
        assert np.abs(found - wanted).mean() < 0.03 * np.abs(wanted).mean()


def test_layers_are_named_by_name_and_by_operator(tmp_path: Path) -> None:
    quantizer = residual(tmp_path)
    assert quantizer.named(["left", "behind"]) == ("left", "behind")
    assert quantizer.named(["Conv"]) == quantizer.layers
    with pytest.raises(ValueError, match=r"no layer 'Pool' to keep in float; there are: Conv, first, left"):
        quantizer.named(["Pool"])


def test_with_every_layer_kept_it_is_the_float_network(tmp_path: Path) -> None:
    quantizer = residual(tmp_path)
    kept = quantized(quantizer, quantizer.layers)
    assert not [each for each in kept.graph.node if "Quantize" in each.op_type]


def test_nodes_without_names_get_some(tmp_path: Path) -> None:
    quantizer = residual(tmp_path, named=False)
    assert len(set(quantizer.layers)) == 6
    assert sum(each.op_type == "QuantizeLinear" for each in quantized(quantizer).graph.node) > 6


def test_an_old_opset_is_raised_to_one_with_scales_per_channel(tmp_path: Path) -> None:
    model = quantized(residual(tmp_path, opset=11))
    assert model.opset_import[0].version >= 13
    assert len(on_onnxruntime(model, quantizable.frames(1))) == 1


def test_a_state_is_carried_while_it_is_calibrated(tmp_path: Path) -> None:
    described = quantizable.stateful(tmp_path)
    fed = [{"x": np.ones((1, 4, 8, 8), np.float32)} for _ in range(10)]
    quantizer = Quantizer(described.weights.file, fed, method="minmax")
    model = quantized(quantizer, ())
    of_memory = next(
        each for each in model.graph.node if each.op_type == "QuantizeLinear" and each.input[0] == "next_memory"
    )
    assert constant(model, of_memory.input[1]) == pytest.approx(10 / 127)  # the sum of ten ones
    # What is carried on, and what is given out, is not rounded on the way.
    assert makers(model)["next_memory"].op_type == "Add"
    assert makers(model)["y"].op_type == "Conv"


def test_what_reads_a_tensor_beside_a_layer_reads_it_in_float(tmp_path: Path) -> None:
    model = quantized(residual(tmp_path), ("right", "last"))
    assert reads_int8(model, "left") == [True, True, False]
    assert nodes_by_name(model)["right"].input[0] == "r_first"


def test_a_clip_network_is_quantized_with_all_its_inputs() -> None:
    network = spec("two_stream")
    random = np.random.default_rng(0)
    fed = [
        {
            "images": random.integers(0, 256, (1, 3, 96, 96, 3), dtype=np.uint8),
            "flows": random.normal(0, 1, (1, 20, 96, 96, 2)).astype(np.float32),
        }
        for _ in range(2)
    ]
    quantizer = Quantizer(network.weights.file, fed)
    model = quantized(quantizer)
    # Its flow statistics add tiny numbers to each other: no layer made them, so none of those Adds is int8.
    assert not any(any(reads_int8(model, each.name)) for each in model.graph.node if each.op_type == "Add")
    assert len(quantizer.ends) == 6
    wanted, found = on_onnxruntime(onnx.load(network.weights.file), fed), on_onnxruntime(model, fed)
    assert np.abs(np.array(wanted) - np.array(found)).max() < 0.1


def test_gemm_heads_are_quantized_where_they_are_not_the_end(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    nodes = [
        node("Gemm", ["x", "w0", "b0"], ["g0"], name="one", transB=1),
        node("Relu", ["g0"], ["r0"], name="relu"),
        node("Gemm", ["r0", "w1", "b1"], ["g1"], name="two", transB=1),
        node("Relu", ["g1"], ["r1"], name="relu_two"),
        node("MatMul", ["r1", "w2"], ["y"], name="three"),
    ]
    stored = {
        **{f"w{at}": quantizable.weights(random, 16, 16) for at in range(3)},
        **{f"b{at}": np.zeros(16, np.float32) for at in range(2)},
    }
    model = network(nodes, {"x": (FLOAT, ("B", 16))}, {"y": (FLOAT, ("B", 16))}, stored)
    fed = [{"x": random.normal(0, 1, (2, 16)).astype(np.float32)} for _ in range(4)]
    quantizer = Quantizer(saved(tmp_path, model), fed)
    assert quantizer.ends == ("one", "three")
    assert reads_int8(quantized(quantizer), "two") == [True, True, False]
    everything = quantized(quantizer, ())
    wanted, found = np.array(on_onnxruntime(model, fed)), np.array(on_onnxruntime(everything, fed))
    assert np.abs(wanted - found).max() < 0.1 * np.abs(wanted).max()


def test_what_cannot_be_quantized_says_so(tmp_path: Path) -> None:
    shape = ("B", 4)
    ports: Any = {"x": (HALF, shape)}, {"y": (HALF, shape)}
    half = network([node("MatMul", ["x", "w"], ["y"], name="m")], *ports, {"w": np.ones((4, 4), np.float16)})
    with pytest.raises(
        UnsupportedGraphError, match=r"net\.onnx: nothing to quantize: no Conv.* with float32 weights"
    ):
        Quantizer(saved(tmp_path, half), [{"x": np.ones((1, 4), np.float16)}])
    with pytest.raises(BadGraphError, match="no such file"):
        Quantizer(tmp_path / "none.onnx", [])
    path = saved(tmp_path, quantizable.residual_net())
    with pytest.raises(ValueError, match="nothing to calibrate on"):
        Quantizer(path, [])
    with pytest.raises(ValueError, match="calibration 'guess' is not known; allowed: mse, percentile, minmax"):
        Quantizer(path, quantizable.frames(1), method="guess")  # type: ignore[arg-type]
