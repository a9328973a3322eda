"""Layers, their times, and new weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from trt_bench import Bench

from headrace.engines import BuildError, EngineInputError
from headrace.models.spec import ModelSpec


@pytest.fixture
def inspect(bench: Bench) -> Any:
    return bench.module("inspect")


def test_layers_have_names_and_types(bench: Bench, inspect: Any, segmenter: ModelSpec) -> None:
    with bench.open(segmenter) as engine:
        assert [layer["LayerType"] for layer in inspect.layers(engine)].count("Conv") == 2


def test_each_layer_has_its_time(bench: Bench, inspect: Any, tmp_path: Path) -> None:
    with bench.open(tiny_models.running_total(tmp_path)) as engine:
        feeds = {"x": np.ones((2, 4), np.float32)}
        times = inspect.layer_times_ms(engine, feeds, runs=4)
        assert list(times.values()) == pytest.approx([0.01] * 4)
        with pytest.raises(EngineInputError):
            inspect.layer_times_ms(engine, {"x": np.ones((2, 5), np.float32)})
        with pytest.raises(ValueError, match="runs: got 0, allowed: 1 or more"):
            inspect.layer_times_ms(engine, feeds, runs=0)
        assert bench.gpu.launches == 0


def test_new_weights_for_a_plan(bench: Bench, inspect: Any, tmp_path: Path) -> None:
    spec = tiny_models.segmenter(tmp_path)
    frame = np.random.default_rng(3).integers(0, 256, (1, 12, 16, 3), dtype=np.uint8)
    changed = tmp_path / "changed.onnx"
    onnx = pytest.importorskip("onnx")
    model = onnx.load(spec.weights.file)
    weights = next(each for each in model.graph.initializer if each.name == "w2")
    weights.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(weights), "w2"))
    onnx.save(model, changed)
    with bench.open(spec, refit=True) as engine:
        with engine.session() as session:
            before = session.infer({"frame": frame})["mask"]
            with pytest.raises(BuildError, match="got 1 open sessions; close them before a refit"):
                inspect.refit(engine, changed)
        inspect.refit(engine, changed)
        with engine.session() as session:
            assert not np.array_equal(session.infer({"frame": frame})["mask"], before)


def test_weights_of_another_graph_are_refused(bench: Bench, inspect: Any, tmp_path: Path) -> None:
    spec, other = tiny_models.segmenter(tmp_path), tiny_models.deep_net(tmp_path)
    said = r"deep_net\.onnx: the weights do not fit the plan: .*REFIT_FAILED"
    with bench.open(spec, refit=True) as engine, pytest.raises(BuildError, match=said):
        inspect.refit(engine, other.weights.file)


def test_a_plan_that_was_not_built_for_it_takes_none(bench: Bench, inspect: Any, segmenter: ModelSpec) -> None:
    said = r"takes no new weights \(.*\): build it with refit=True"
    with bench.open(segmenter) as engine, pytest.raises(BuildError, match=said):
        inspect.refit(engine, segmenter.weights.file)
