"""A network's file: what it is known by, and what it computes in."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from onnx import TensorProto, helper
from trt_bench import Bench

from headrace.engines import BuildError, MissingBackendError


def saved(path: Path, nodes: list[Any], weights: list[Any], kind: int = TensorProto.FLOAT) -> Path:
    x, y = (helper.make_tensor_value_info(name, kind, ["batch", 3]) for name in ("x", "y"))
    graph = helper.make_graph(nodes, path.stem, [x], [y], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    return path


def test_the_type_of_most_weights_is_the_precision(bench: Bench, tmp_path: Path) -> None:
    read = bench.module("onnx_file").OnnxFile
    assert read(tiny_models.segmenter(tmp_path).weights.file).precision == "fp32"
    assert read(tiny_models.quantized(tmp_path).weights.file).precision == "int8"
    for kind, precision in ((TensorProto.BFLOAT16, "bf16"), (TensorProto.FLOAT16, "fp16")):
        constant = helper.make_tensor("w", kind, (3, 3), np.eye(3).reshape(-1))
        nodes = [
            helper.make_node("Constant", [], ["w"], value=constant),
            helper.make_node("Cast", ["x"], ["narrow"], to=kind),
            helper.make_node("MatMul", ["narrow", "w"], ["product"]),
            helper.make_node("Cast", ["product"], ["wide"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["wide", "scale"], ["y"]),
        ]
        scale = helper.make_tensor("scale", TensorProto.FLOAT, (1,), [2.0])
        assert read(saved(tmp_path / f"{precision}.onnx", nodes, [scale])).precision == precision
    plain = saved(tmp_path / "plain.onnx", [helper.make_node("Relu", ["x"], ["y"])], [])
    assert read(plain).precision == "fp32"


def test_a_file_that_is_gone_or_no_network_is_said(bench: Bench, tmp_path: Path) -> None:
    read = bench.module("onnx_file").OnnxFile
    with pytest.raises(BuildError, match=r"gone\.onnx: no such file"):
        read(tmp_path / "gone.onnx")
    text = tmp_path / "text.onnx"
    text.write_text("not a network")
    for ask in ("digest", "precision"):
        with pytest.raises(BuildError, match=r"text\.onnx: not an ONNX network"):
            getattr(read(text), ask)


def test_without_onnx_the_line_that_brings_it_is_said(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = bench.module("onnx_file").OnnxFile(tiny_models.segmenter(tmp_path).weights.file)
    for name in ("headrace.models.graph.read", "headrace.models.graph.check", "onnx"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("read", "check"):
        monkeypatch.delattr(f"headrace.models.graph.{name}", raising=False)
    with pytest.raises(
        MissingBackendError, match=r'TensorRT builds plans from ONNX files: .*pip install "headrace\['
    ):
        _ = file.digest


def test_bfloat16_at_the_ends_is_refused_by_name(bench: Bench, tmp_path: Path) -> None:
    """No array has that type; inside the network it is welcome."""
    path = saved(tmp_path / "ends.onnx", [helper.make_node("Relu", ["x"], ["y"])], [], TensorProto.BFLOAT16)
    x = tiny_models.tensor("x", (None, 3), "float32", "BC")
    y = tiny_models.tensor("y", (None, 3), "float32", "BC")
    with pytest.raises(
        BuildError, match=r"ends\.onnx: tensor 'x' is .*BF16, which arrays cannot carry: cast it inside"
    ):
        bench.open(tiny_models.described(path, (x,), (y,)))
    assert bench.machine.builds == 0
