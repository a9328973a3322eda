"""Small float networks to make int8: with branches that meet, with state, with layers of every kind."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tiny_models
from graphs import FLOAT, UINT8, network, node

from headrace.models.spec import ModelSpec

HEIGHT, WIDTH, CLASSES = 24, 32, 5


def weights(random: np.random.Generator, *shape: int) -> Any:
    """As a training would begin: the results are about as large as what goes in."""
    return random.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape).astype(np.float32)


def residual_net(*, opset: int = 18, named: bool = True) -> onnx.ModelProto:
    """frame uint8 (B, 24, 32, 3) → first conv → left, right, Add, behind, last → mask uint8 (B, 24, 32).

    `right` is also read by nothing else, `first` by both: a tensor with several readers, as a residual block has.
    """
    random = np.random.default_rng(3)
    same = {"pads": [1, 1, 1, 1]}
    nodes = [
        node("Cast", ["frame"], ["pixels"], name="cast", to=FLOAT),
        node("Transpose", ["pixels"], ["planes"], name="move", perm=[0, 3, 1, 2]),
        node("Mul", ["planes", "scale"], ["x"], name="normalise"),
        node("Conv", ["x", "w_first", "b_first"], ["c_first"], name="first", **same),
        node("Relu", ["c_first"], ["r_first"], name="relu_first"),
        node("Conv", ["r_first", "w_left", "b_left"], ["c_left"], name="left", **same),
        node("Relu", ["c_left"], ["r_left"], name="relu_left"),
        node("Conv", ["r_left", "w_deep", "b_deep"], ["c_deep"], name="deep", **same),
        node("Conv", ["r_first", "w_right"], ["c_right"], name="right"),
        node("Add", ["c_deep", "c_right"], ["sum"], name="join"),
        node("Relu", ["sum"], ["r_sum"], name="relu_sum"),
        node("Conv", ["r_sum", "w_behind"], ["c_behind"], name="behind", **same),
        node("Sigmoid", ["c_behind"], ["soft"], name="soft"),
        node("Conv", ["soft", "w_last"], ["logits"], name="last"),
        node("ArgMax", ["logits"], ["ids"], name="argmax", axis=1, keepdims=0),
        node("Cast", ["ids"], ["ids_float"], name="widen", to=FLOAT),
        node("Cast", ["ids_float"], ["mask"], name="narrow", to=UINT8),
    ]
    if not named:
        for each in nodes:
            each.name = ""
    stored = {
        "scale": np.float32(1 / 128),
        "w_first": weights(random, 8, 3, 3, 3),
        "w_left": weights(random, 8, 8, 3, 3),
        "w_deep": weights(random, 12, 8, 3, 3),
        "w_right": weights(random, 12, 8, 1, 1),
        "w_behind": weights(random, 12, 12, 3, 3),
        "w_last": 4 * weights(random, CLASSES, 12, 1, 1),
        "b_first": np.zeros(8, np.float32),
        "b_left": np.full(8, 0.1, np.float32),
        "b_deep": np.zeros(12, np.float32),
    }
    inputs: dict[str, Any] = {"frame": (UINT8, ("B", HEIGHT, WIDTH, 3))}
    outputs: dict[str, Any] = {"mask": (UINT8, ("B", HEIGHT, WIDTH))}
    return network(nodes, inputs, outputs, stored, opset=opset)


def residual(folder: Path, **options: Any) -> ModelSpec:
    """`residual_net` as a file with its description."""
    path = folder / "residual.onnx"
    onnx.save(residual_net(**options), path)
    inputs = (tiny_models.tensor("frame", (None, HEIGHT, WIDTH, 3), "uint8", "BHWC"),)
    outputs = (tiny_models.tensor("mask", (None, HEIGHT, WIDTH), "uint8", "BHW"),)
    return tiny_models.described(path, inputs, outputs, CLASSES)


def stateful(folder: Path) -> ModelSpec:
    """x float32 (B, 4, 8, 8) → conv of the sum of every x so far, and two more → y float32 (B, 4, 8, 8)."""
    random = np.random.default_rng(4)
    nodes = [
        node("Add", ["x", "memory"], ["next_memory"], name="gather"),
        node("Conv", ["next_memory", "w0"], ["c0"], name="one", pads=[1, 1, 1, 1]),
        node("Relu", ["c0"], ["r0"], name="relu"),
        node("Conv", ["r0", "w1"], ["c1"], name="two", pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"], name="relu_two"),
        node("Conv", ["r1", "w2"], ["y"], name="three"),
    ]
    stored = {"w0": weights(random, 8, 4, 3, 3), "w1": weights(random, 8, 8, 3, 3), "w2": weights(random, 4, 8, 1, 1)}
    shape = ("B", 4, 8, 8)
    path = folder / "stateful.onnx"
    inputs: dict[str, Any] = {"x": (FLOAT, shape), "memory": (FLOAT, shape)}
    outputs: dict[str, Any] = {"y": (FLOAT, shape), "next_memory": (FLOAT, shape)}
    onnx.save(network(nodes, inputs, outputs, stored), path)
    ports = (None, 4, 8, 8)
    return tiny_models.described(
        path,
        (tiny_models.tensor("x", ports, "float32", "BCHW"),),
        (tiny_models.tensor("y", ports, "float32", "BCHW"),),
    )


def frames(count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Pictures for `residual`: coloured blocks, so that neighbouring pixels are alike."""
    random = np.random.default_rng(seed)
    blocks = random.integers(0, 256, (count, 1, HEIGHT // 4, WIDTH // 4, 3), dtype=np.uint8)
    return [{"frame": each.repeat(4, axis=1).repeat(4, axis=2)} for each in blocks]
