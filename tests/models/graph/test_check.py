"""One tiny graph for each thing that TensorRT does not take, and graphs in which nothing is to be found."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason='onnx is not installed: pip install "headrace[onnx]"')

from graphs import BOOL, DOUBLE, FLOAT, HALF, INT8, INT16, INT32, INT64, UINT8, branch, graph, network, node  # noqa: E402

from headrace.models.errors import BadGraphError, UnsupportedGraphError  # noqa: E402
from headrace.models.graph.check import Finding, check, require_supported  # noqa: E402
from headrace.models.graph.limits import table  # noqa: E402

BUNDLED = sorted((Path(__file__).parents[3] / "models" / "bundled").glob("*.onnx"))
X: dict[str, Any] = {"x": (FLOAT, ("B", 3, 8, 8))}
Y: dict[str, Any] = {"y": (FLOAT, None)}
I64 = np.int64


def one(operator: str, *inputs: str, dtype: int = FLOAT, outputs: Any = ("y",), **options: Any) -> Any:
    """A network of a single operator over `x` (B, 3, 8, 8)."""
    settings = {key: options.pop(key) for key in ("weights", "opset", "domains") if key in options}
    results = {name: (options.pop("result", dtype), None) for name in outputs}
    made = node(operator, ["x", *inputs], list(outputs), name="it", **options)
    return network([made], {"x": (dtype, ("B", 3, 8, 8))}, results, **settings)


def quantized(stored: Any, zero: Any, *, scale: type = np.float32, opset: int = 18) -> Any:
    made = node("DequantizeLinear", ["stored", "scale", "zero"], ["w"], name="it")
    add = node("Add", ["x", "w"], ["y"])
    weights = {"stored": stored, "scale": scale(0.1), "zero": zero}
    dtype = HALF if scale is np.float16 else FLOAT
    return network([made, add], {"x": (dtype, (1, 4))}, {"y": (dtype, None)}, weights, opset=opset)


def looped(*, rounds: Any, scanned: bool = True) -> Any:
    """Adds x to itself round after round; gives what it had in each, if it is `scanned`."""
    steps = [node("Add", ["carried", "carried"], ["next"]), node("Identity", ["go"], ["on"])]
    results: dict[str, Any] = {"on": (BOOL, ()), "next": (FLOAT, (4,))}
    if scanned:
        steps.append(node("Identity", ["next"], ["each"]))
        results["each"] = (FLOAT, (4,))
    body = graph(steps, {"i": (INT64, ()), "go": (BOOL, ()), "carried": (FLOAT, (4,))}, results)
    outputs: dict[str, Any] = {"y": (FLOAT, (4,)), **({"all": (FLOAT, (None, 4))} if scanned else {})}
    made = node("Loop", ["rounds", "true", "x"], list(outputs), name="it", body=body)
    inputs: dict[str, Any] = {"x": (FLOAT, (4,))}
    weights = {"true": np.array(True)}
    if rounds is None:
        inputs["rounds"] = (INT64, ())
    else:
        weights["rounds"] = np.array(rounds)
    return network([made], inputs, outputs, weights)


def branched(then: Any, other: Any) -> Any:
    inputs: dict[str, Any] = {"go": (BOOL, ()), "x": (FLOAT, (2, 3))}
    made = node("If", ["go"], ["y"], name="it", then_branch=then, else_branch=other)
    return network([made], inputs, {"y": (FLOAT, None)})


def frames(*nodes: Any, result: int = FLOAT, weights: Any = None) -> Any:
    return network(nodes, {"frame": (UINT8, ("B", 8, 8, 3))}, {"y": (result, None)}, weights)


def kinds() -> dict[str, tuple[Any, str, str]]:
    """By name: the graph, what the finding says of it, and what it says to do."""
    scales = {"roi": np.zeros(0, np.float32), "scales": np.array([1, 1, 2, 2], np.float32)}
    grid: dict[str, Any] = {"inputs": {**X, "grid": (FLOAT, ("B", 4, 4, 2))}, "outputs": Y}
    volume: dict[str, Any] = {"x": (FLOAT, (1, 3, 4, 4, 4)), "grid": (FLOAT, (1, 2, 2, 2, 3))}
    sample = node("GridSample", ["x", "grid"], ["y"], name="it", mode="linear")
    bilinear = node("GridSample", ["x", "grid"], ["y"], name="it", mode="bilinear")
    function = onnx.helper.make_function(
        "mine", "Twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])], [onnx.helper.make_opsetid("", 18)]
    )
    with_function = one("Twice", domain="mine", domains={"mine": 1})
    with_function.functions.append(function)
    return {
        "operator": (one("Unique", sorted=1), "no such operator", "TopK"),
        "operator, no way out": (one("Det"), "no such operator", "openvino or onnxruntime"),
        "unpooling": (
            network(
                [node("MaxUnpool", ["x", "where"], ["y"], name="it", kernel_shape=[2, 2])],
                {**X, "where": (INT64, ("B", 3, 8, 8))},
                Y,
            ),
            "no such operator",
            "four strided slices",
        ),
        "domain": (one("Twist", domain="my.ops", domains={"my.ops": 1}), "domain 'my.ops'", "openvino"),
        "local function": (with_function, "local function mine::Twice", "inline_local_functions"),
        "too old": (one("Relu", opset=8), "opset 8; allowed: 9 to 24", "opset 18"),
        "too new": (one("Relu", opset=25), "opset 25; allowed: 9 to 24", "opset 18"),
        "type": (one("Conv", "w", dtype=INT32, weights={"w": np.ones((1, 3, 1, 1), np.int32)}), "INT32", "FP32"),
        "Equal of BOOL": (one("Equal", "x", dtype=BOOL), "not take BOOL", "rounding_mode='trunc'"),
        "Clip of integers": (one("Clip", dtype=INT64), "not take INT64", "Min and Max"),
        "DOUBLE input": (one("Relu", dtype=DOUBLE), "'x' is DOUBLE", "feed FP32"),
        "DOUBLE cast": (
            network([node("Cast", ["x"], ["d"], name="it", to=DOUBLE), node("Cast", ["d"], ["y"], to=FLOAT)], X, Y),
            "makes DOUBLE",
            "export it as FP32",
        ),
        "DOUBLE constant": (
            one("Add", "w", dtype=DOUBLE, weights={"w": np.ones(1)}),
            "constant 'w' is DOUBLE",
            "export it as FP32",
        ),
        "a type that cannot be cast": (one("Cast", to=onnx.TensorProto.INT16, result=INT16), "take INT16", "INT32"),
        "Indices": (
            one("MaxPool", outputs=("y", "where"), kernel_shape=[2, 2], strides=[2, 2], result=INT64),
            "Indices is used",
            "four strided slices",
        ),
        "dilated pool": (one("MaxPool", kernel_shape=[2, 2], dilations=[2, 2]), "dilations 2", "dilations 1"),
        "pool along one axis": (
            network([node("MaxPool", ["x"], ["y"], name="it", kernel_shape=[2])], {"x": (FLOAT, (1, 3, 8))}, Y),
            "along one axis",
            "pool in 2D",
        ),
        "cubic": (one("Resize", "roi", "scales", mode="cubic", weights=scales), "mode 'cubic'", "nearest or linear"),
        "antialias": (
            one("Resize", "roi", "scales", mode="linear", antialias=1, weights=scales),
            "antialias 1",
            "antialias 0",
        ),
        "crop and resize": (
            one("Resize", "roi", "scales", coordinate_transformation_mode="tf_crop_and_resize", weights=scales),
            "'tf_crop_and_resize'",
            "half_pixel",
        ),
        "scales of some axes": (
            one("Resize", "", "two", axes=[2, 3], weights={"two": np.array([2, 2], np.float32)}),
            "for some axes only",
            "every axis",
        ),
        "GridSample of opset 20": (
            network([sample], **grid, opset=20),
            "'linear', which TensorRT reads as 'nearest'",
            "opset 18 or 19",
        ),
        "GridSample of a volume": (network([bilinear], volume, Y), "volume", "4D"),
        "UINT8 moved": (
            frames(node("Transpose", ["frame"], ["t"], name="it"), node("Cast", ["t"], ["y"], to=FLOAT)),
            "only for inputs and outputs",
            "frame.float().permute",
        ),
        "UINT8 cast to INT32": (
            frames(node("Cast", ["frame"], ["y"], name="it", to=INT32), result=INT32),
            "INT32",
            "",
        ),
        "INT64 cast to UINT8": (
            network([node("Cast", ["x"], ["y"], name="it", to=UINT8)], {"x": (INT64, (2,))}, {"y": (UINT8, (2,))}),
            "INT64 is cast to UINT8",
            ".to(torch.float32).to(torch.uint8)",
        ),
        "UINT8 in the middle": (
            network([node("Cast", ["x"], ["u"], name="it", to=UINT8), node("Cast", ["u"], ["y"], to=FLOAT)], X, Y),
            "in the middle",
            "Floor and Clip",
        ),
        "UINT8 constant": (
            network(
                [node("Cast", ["w"], ["f"], name="it", to=FLOAT), node("Add", ["x", "f"], ["y"])],
                X,
                Y,
                {"w": np.ones(8, np.uint8)},
            ),
            "a constant of UINT8",
            "store it as FP32",
        ),
        "quantized bias": (
            quantized(np.ones(4, np.int32), np.array(0, np.int32)),
            "a bias quantized to INT32",
            "float biases",
        ),
        "unsigned quantization": (
            quantized(np.ones(4, np.uint8), np.array(0, np.uint8)),
            "UINT8 is not",
            "signed int8",
        ),
        "zero point": (quantized(np.ones(4, np.int8), np.array(3, np.int8)), "zero point is 3", "zero point 0"),
        "half scale": (
            quantized(np.ones(4, np.int8), np.array(0, np.int8), scale=np.float16),
            "opset",
            "to_half",
        ),
        "large K": (
            network(
                [node("TopK", ["x", "k"], ["y", "at"], name="it")],
                {"x": (FLOAT, (1, 9000))},
                Y,
                {"k": np.array([5000])},
            ),
            "K is 5000",
            "3839",
        ),
        "unsorted": (
            one("TopK", "k", outputs=("y", "at"), sorted=0, weights={"k": I64([1])}),
            "sorted 0",
            "sorted 1",
        ),
        "axes that are fed": (
            network([node("ReduceMax", ["x", "axes"], ["y"], name="it")], {**X, "axes": (INT64, (1,))}, Y),
            "input 1 is not a constant",
            "as numbers",
        ),
        "NonZero": (one("NonZero", result=INT64), "depends on the data", "declare an output of free length"),
        "a shape that is fed": (
            network([node("Reshape", ["x", "shape"], ["y"], name="it")], {**X, "shape": (INT64, (2,))}, Y),
            "size of its result (input 1) depends on the data",
            "TopK",
        ),
        "a K that is computed": (
            network(
                [
                    node("ReduceMax", ["x"], ["most"], keepdims=0),
                    node("Cast", ["most"], ["whole"], to=INT64),
                    node("Reshape", ["whole", "one"], ["k"]),
                    node("TopK", ["x", "k"], ["y", "at"], name="it"),
                ],
                {"x": (FLOAT, (1, 100))},
                Y,
                {"one": I64([1])},
            ),
            "input 1) depends on the data",
            "TopK",
        ),
        "scatter": (
            network(
                [node("ScatterND", ["x", "at", "add"], ["y"], name="it", reduction="add")],
                {"x": (FLOAT, (4,)), "at": (INT64, (2, 1)), "add": (FLOAT, (2,))},
                Y,
            ),
            "reduction 'add'",
            "reduction none",
        ),
        "Loop": (looped(rounds=None), "scan output depends on the data", "fixed number of rounds"),
        "branches of one name": (
            branched(branch("Relu", "z", (2, 3)), branch("Abs", "z", (2, 3))),
            "both branches call an output 'z'",
            "rename",
        ),
        "branches of different rank": (
            branched(branch("Relu", "a", (2, 3)), branch("Flatten", "b", (6,))),
            "'a' with 2 axes and 'b' with 1",
            "rank",
        ),
        "inside a branch": (branched(branch("Det", "a", ()), branch("Abs", "b", (2, 3))), "no such operator", ""),
    }


@pytest.mark.parametrize("kind", kinds())
def test_names_what_is_not_supported(kind: str) -> None:
    model, problem, remedy = kinds()[kind]
    found = [each for each in check(model) if each.blocking]
    fits = [each for each in found if problem in each.problem and remedy in each.remedy]
    assert fits, [str(each) for each in found]
    assert fits[0].node in ("it", "the file", "it/inner")
    assert "\n" not in str(fits[0])
    assert fits[0].remedy
    assert fits[0].operator


CLEAN = {
    "normalised and classified": lambda: frames(
        node("Cast", ["frame"], ["f"], to=FLOAT),
        node("Transpose", ["f"], ["t"], perm=[0, 3, 1, 2]),
        node("Conv", ["t", "w"], ["c"]),
        node("ArgMax", ["c"], ["a"], axis=1, keepdims=0),
        node("Cast", ["a"], ["float"], to=FLOAT),
        node("Cast", ["float"], ["y"], to=UINT8),
        result=UINT8,
        weights={"w": np.ones((4, 3, 1, 1), np.float32)},
    ),
    "a size from a shape": lambda: network(
        [
            node("Shape", ["x"], ["s"], end=1),
            node("Concat", ["s", "rest"], ["to"], axis=0),
            node("Reshape", ["x", "to"], ["y"]),
        ],
        X,
        Y,
        {"rest": np.array([-1])},
    ),
    "a loop of fixed length": lambda: looped(rounds=4),
    "a loop that gives only its last": lambda: looped(rounds=None, scanned=False),
    "branches": lambda: branched(branch("Relu", "a", (2, 3)), branch("Abs", "b", (2, 3))),
    "sampling at opset 19": lambda: network(
        [node("GridSample", ["x", "grid"], ["y"], mode="bilinear")],
        {**X, "grid": (FLOAT, ("B", 4, 4, 2))},
        Y,
        opset=19,
    ),
    "int8 with half scales": lambda: quantized(np.ones(4, np.int8), np.array(0, np.int8), scale=np.float16, opset=19),
    "a mean over axes": lambda: one("ReduceMean", "axes", weights={"axes": np.array([2, 3])}),
}


@pytest.mark.parametrize("name", CLEAN)
def test_finds_nothing_in_what_is_supported(name: str) -> None:
    assert [str(each) for each in check(CLEAN[name]())] == []


@pytest.mark.parametrize("file", BUNDLED, ids=lambda path: path.stem)
def test_the_bundled_networks_are_clean(file: Path) -> None:
    assert check(onnx.load(file)) == []
    require_supported(file)


def test_a_network_from_outside_is_checked_the_same_way(shared_data: Path) -> None:
    files = sorted(shared_data.joinpath("weights", "mediapipe").glob("*.onnx"))
    assert files
    for file in files:
        require_supported(file)


def test_a_declared_length_does_not_block() -> None:
    (found,) = check(kinds()["NonZero"][0], data_dependent=True)
    assert not found.blocking
    assert "depends on the data" in found.problem


def test_a_shape_of_pixels_is_told_but_does_not_block() -> None:
    (found,) = check(frames(node("Shape", ["frame"], ["y"]), result=INT64))
    assert not found.blocking
    assert found.dtype == "UINT8"


def test_a_finding_is_one_line_with_everything_in_it() -> None:
    (found,) = check(kinds()["cubic"][0])
    assert found == Finding(
        node="it",
        operator="Resize",
        dtype="FP32",
        problem="mode 'cubic' is not supported",
        remedy="export it with mode nearest or linear",
        blocking=True,
    )
    assert str(found) == "it (Resize FP32): mode 'cubic' is not supported; export it with mode nearest or linear"


def test_an_operator_without_a_name_is_named_by_what_it_gives() -> None:
    (found,) = check(network([node("Det", ["x"], ["y"])], X, Y))
    assert found.node == "y"


def test_a_file_is_refused_with_its_first_findings(tmp_path: Path) -> None:
    nodes = [node("Det", ["x"], [f"y{at}"], name=f"det{at}") for at in range(8)]
    file = tmp_path / "net.onnx"
    onnx.save(network(nodes, X, {f"y{at}": (FLOAT, ("B", 3)) for at in range(8)}), file)
    with pytest.raises(UnsupportedGraphError) as failure:
        require_supported(file)
    lines = str(failure.value).splitlines()
    assert str(file) in lines[0]
    assert "det0 (Det FP32)" in lines[1]
    assert lines[-1].strip() == "and 3 more"


def test_weights_that_were_not_brought_in_are_named() -> None:
    model = one("Conv", "w", weights={"w": np.ones((1, 3, 1, 1), np.float32)})
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "net.data")
    model.graph.initializer[0].ClearField("raw_data")
    assert any("'w' lie in another file" in each.problem for each in check(model))


def test_a_broken_file_is_another_error(tmp_path: Path) -> None:
    with pytest.raises(BadGraphError, match="no such file"):
        require_supported(tmp_path / "absent.onnx")


def test_the_table_says_where_it_is_from() -> None:
    assert "Apache License" in table()["attribution"]
    assert "onnx-tensorrt" in table()["source"]
    assert table()["operators"]["Conv"] == {"supported": True, "types": ["FP32", "FP16", "BF16"]}


def test_int8_is_not_moved_as_numbers() -> None:
    found = check(one("Relu", dtype=INT8))
    assert "does not take INT8" in found[0].problem
