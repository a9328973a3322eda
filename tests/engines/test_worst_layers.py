"""Finding the layers that must stay in float, by measuring: one to blame, several, none."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

pytest.importorskip("onnx", reason='onnx is not installed: pip install "headrace[onnx]"')
pytest.importorskip("onnxruntime", reason='onnxruntime is not installed: pip install "headrace[onnx]"')

import onnx
import quantizable
from graphs import FLOAT, network, node
from tiny_models import described, tensor

from headrace.engines import worst_layers
from headrace.engines.worst_layers import WorstLayers
from headrace.models import ModelSpec
from headrace.models.graph.quantize import Quantizer

LAYERS = tuple(f"layer{at}" for at in range(9))


class Spoiling:
    """Stands for a quantizer: some of its layers, where they are not kept, change what the network gives.

    Args:
        file: the float network, whose output is multiplied.
        spoils: layer → the share that it adds to the result.
    """

    def __init__(self, file: Path, spoils: dict[str, float]) -> None:
        self.layers = LAYERS
        self.built: list[tuple[str, ...]] = []
        self._model, self._spoils = onnx.load(file), spoils

    def build(self, keep: Collection[str]) -> bytes:
        self.built.append(tuple(keep))
        share = 1 + sum(share for layer, share in self._spoils.items() if layer not in keep)
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        gain = next(each for each in model.graph.initializer if each.name == "gain")
        gain.CopyFrom(onnx.numpy_helper.from_array(np.float32(share), "gain"))
        return bytes(model.SerializeToString())


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    shape = (None, 4)
    nodes = [node("Mul", ["x", "gain"], ["y"], name="m")]
    ports: Any = {"x": (FLOAT, ("B", 4))}, {"y": (FLOAT, ("B", 4))}
    onnx.save(network(nodes, *ports, {"gain": np.float32(1)}), tmp_path / "net.onnx")
    inputs, outputs = (tensor("x", shape, "float32", "BC"),), (tensor("y", shape, "float32", "BC"),)
    return described(tmp_path / "net.onnx", inputs, outputs)


FED = [{"x": np.ones((1, 4), np.float32)}]


def finder(spec: ModelSpec, spoils: dict[str, float], lines: list[str] | None = None) -> tuple[WorstLayers, Spoiling]:
    quantizer = Spoiling(spec.weights.file, spoils)
    told = (lambda line: None) if lines is None else lines.append
    return WorstLayers(spec, cast(Quantizer, quantizer), FED, told=told), quantizer


def test_a_network_that_is_right_keeps_what_it_is_told(spec: ModelSpec) -> None:
    worst, quantizer = finder(spec, {"layer3": 0.005})
    kept = worst.find(["layer0"])
    assert kept.layers == ("layer0",)
    assert kept.losses == pytest.approx({"openvino": 0.005, "onnxruntime": 0.005}, abs=1e-4)
    assert quantizer.built == [("layer0",)]


@pytest.mark.parametrize("at", [1, 4, 8])
def test_the_one_layer_to_blame_is_found(spec: ModelSpec, at: int) -> None:
    lines: list[str] = []
    kept = finder(spec, {LAYERS[at]: 0.2}, lines)[0].find(["layer0"])
    assert kept.layers == ("layer0", LAYERS[at])
    assert max(kept.losses.values()) < 0.001
    assert lines == [
        "net: int8 is 20.00% off on openvino: looking for the layer",
        f"net: {LAYERS[at]} stays in float: 0.00% off on openvino",
    ]


def test_several_are_found_the_worst_first(spec: ModelSpec) -> None:
    kept = finder(spec, {"layer2": 0.1, "layer7": 0.3})[0].find([])
    assert kept.layers == ("layer7", "layer2")


def test_where_none_stands_out_none_is_kept(spec: ModelSpec) -> None:
    lines: list[str] = []
    kept = finder(spec, dict.fromkeys(LAYERS, 0.02), lines)[0].find([])
    assert kept.layers == ()
    assert lines[-1] == "net: no layer stands out; it stays 18.00% off on openvino"


def test_it_ends_where_everything_is_kept_already(spec: ModelSpec) -> None:
    worst, quantizer = finder(spec, {"none of them": 0.5})
    assert worst.find(LAYERS).layers == LAYERS
    assert quantizer.built == [LAYERS]


def test_a_result_that_is_no_number_counts_as_a_whole_loss(spec: ModelSpec) -> None:
    kept = finder(spec, {"layer5": float("nan")})[0].find([])
    assert kept.layers == ("layer5",)


def test_only_engines_that_are_here_are_asked(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worst_layers, "ENGINES", ("onnxruntime",))
    assert set(finder(spec, {})[0].losses([])) == {"onnxruntime"}


def test_a_layer_that_int8_cannot_hold_stays_in_float(tmp_path: Path) -> None:
    """One channel is a thousand times as large as the others, which decide: one scale cannot serve both."""
    described = quantizable.residual(tmp_path)
    model = onnx.load(described.weights.file)
    stored = {each.name: each for each in model.graph.initializer}
    left, deep = (onnx.numpy_helper.to_array(stored[name]).copy() for name in ("w_left", "w_deep"))
    left[0] *= 2000
    deep[:, 0] *= 1e-6
    for name, values in (("w_left", left), ("w_deep", deep)):
        stored[name].CopyFrom(onnx.numpy_helper.from_array(values, name))
    onnx.save(model, described.weights.file)
    fed = quantizable.frames(8)
    quantizer = Quantizer(described.weights.file, fed, method="minmax")
    kept = WorstLayers(described, quantizer, fed).find(quantizer.ends)
    assert "deep" in kept.layers
    assert max(kept.losses.values()) < max(WorstLayers(described, quantizer, fed).losses(quantizer.ends).values())
