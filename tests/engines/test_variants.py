"""Which file a precision runs: made once, kept whole, remade or said where it no longer holds."""

import json
import multiprocessing
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason='onnx is not installed: pip install "headrace[onnx]"')
pytest.importorskip("onnxruntime", reason='onnxruntime is not installed: pip install "headrace[onnx]"')

import onnx
import quantizable
import tiny_models

from headrace.engines import BuildError, PrecisionError, ort
from headrace.engines.catalog import compile_engine
from headrace.engines.compare import compare
from headrace.engines.ort_layers import Layer
from headrace.engines.variants import check_int8, make_int8, record, variant
from headrace.engines.worst_layers import Kept, WorstLayers
from headrace.models import ModelSpec
from headrace.models.catalog import spec as spec_of
from headrace.models.errors import BadGraphError


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    return quantizable.residual(tmp_path)


def operators(spec: ModelSpec) -> set[str]:
    return {node.op_type for node in onnx.load(spec.weights.file).graph.node}


def test_float_precisions_run_the_file_itself(spec: ModelSpec) -> None:
    assert variant(spec, "fp32") is spec
    assert variant(spec, "bf16") is spec


def test_fp16_is_made_once(spec: ModelSpec) -> None:
    half = variant(spec, "fp16")
    kinds = {each.data_type for each in onnx.load(half.weights.file).graph.initializer}
    assert onnx.TensorProto.FLOAT16 in kinds
    made_ns = half.weights.file.stat().st_mtime_ns
    assert variant(spec, "fp16") == half
    assert half.weights.file.stat().st_mtime_ns == made_ns


def test_only_the_file_changes(spec: ModelSpec) -> None:
    half = variant(spec, "fp16")
    assert half.weights.file != spec.weights.file
    assert (half.name, half.weights.score, half.inputs) == (spec.name, spec.weights.score, spec.inputs)


@pytest.mark.parametrize("harm", ["truncated", "without its record", "of another recipe"])
def test_a_damaged_or_stale_fp16_file_is_made_again(spec: ModelSpec, harm: str) -> None:
    file = variant(spec, "fp16").weights.file
    whole = file.read_bytes()
    if harm == "truncated":
        file.write_bytes(whole[:100])
    elif harm == "without its record":
        file.with_suffix(".json").unlink()
    else:
        facts = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
        file.with_suffix(".json").write_text(json.dumps({**facts, "recipe": 0}), encoding="utf-8")
        file.write_bytes(b"old")
    assert variant(spec, "fp16").weights.file.read_bytes() == whole


def test_int8_that_was_never_made_names_the_command(spec: ModelSpec) -> None:
    with pytest.raises(PrecisionError) as caught:
        variant(spec, "int8")
    assert str(caught.value).endswith(f"run: headrace build {spec.weights.file} --precision int8")
    with pytest.raises(PrecisionError, match="run: headrace build street --precision int8"):
        variant(spec_of("street"), "int8")


def test_int8_is_served_once_it_is_made(spec: ModelSpec) -> None:
    lines: list[str] = []
    made = make_int8(spec, quantizable.frames(8), source="gate.mp4", told=lines.append)
    assert variant(spec, "int8") == made
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators(made)
    assert lines[0] == "calibrating: 0 of 8"
    assert re.fullmatch(r"residual: [34] of 6 layers in int8, .*% off on openvino, .*% off on onnxruntime", lines[-1])


def test_the_record_says_how_it_was_made(spec: ModelSpec) -> None:
    make_int8(spec, quantizable.frames(8), source="gate.mp4", method="percentile")
    found: dict[str, Any] = record(spec, "int8") or {}
    assert found["calibrated_on"] == "gate.mp4"
    assert (found["inputs"], found["method"], found["kept_float"][:2]) == (8, "percentile", ["first", "last"])
    assert set(found["loss"]) == {"openvino", "onnxruntime"}
    assert found["versions"]["onnxruntime"]


def test_layers_may_be_kept_in_float(spec: ModelSpec) -> None:
    make_int8(spec, quantizable.frames(4), keep=["deep"])
    assert (record(spec, "int8") or {})["kept_float"] == ["deep"]
    with pytest.raises(ValueError, match="no layer 'Pool'"):
        make_int8(spec, quantizable.frames(4), keep=["Pool"])


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_engines_run_it_in_int8_and_agree_with_the_float_network(spec: ModelSpec, engine: str) -> None:
    make_int8(spec, quantizable.frames(8))
    unseen = quantizable.frames(4, seed=1)
    results = []
    for precision in ("fp32", "int8"):
        with compile_engine(spec, engine, precision) as opened, opened.session() as session:
            assert opened.info.precision == precision
            results.append([session.infer(fed) for fed in unseen])
    found = compare(spec.outputs, *results)
    assert found.agreement is not None
    assert found.agreement > 0.95


def test_every_quantized_layer_runs_in_int8_on_onnxruntime(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two layers read what `first` gives: ONNX Runtime would merge their pairs, and run both in float."""
    make_int8(spec, quantizable.frames(4), keep=["last"])
    seen: list[Layer] = []
    real = ort.precision_of
    monkeypatch.setattr(ort, "precision_of", lambda file, ran: (seen.extend(ran), real(file, ran))[1])
    compile_engine(spec, "onnxruntime", "int8").close()
    assert sum(layer.operator == "QLinearConv" for layer in seen) == 4  # `behind` ends in float, `last` is float


def test_no_int8_file_is_made_where_no_layer_is_left_for_it(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="all of its layers are to stay in float"):
        make_int8(spec, quantizable.frames(2), keep=["Conv"])
    monkeypatch.setattr(
        WorstLayers, "find", lambda self, keep: Kept(layers=self._quantizer.layers, losses={"openvino": 0.3})
    )
    lines: list[str] = []
    with pytest.raises(BuildError, match=r"residual: no layer keeps its accuracy in int8, so no int8 file is made"):
        make_int8(spec, quantizable.frames(2), told=lines.append)
    assert not any("layers in int8" in line for line in lines)
    assert record(spec, "int8") is None


def test_what_shows_without_feeds_is_told_without_them(spec: ModelSpec, tmp_path: Path) -> None:
    check_int8(spec.weights.file, ["deep", "Conv"])
    with pytest.raises(ValueError, match=r"no layer 'Conv_9' to keep in float; there are: Conv, first, left, "):
        check_int8(spec.weights.file, ["deep", "Conv_9"])
    with pytest.raises(ValueError, match="no layer 'join'"):
        check_int8(spec.weights.file, ["join"])  # an Add
    check_int8(tiny_models.segmenter(tmp_path).weights.file, ["Conv_3"])  # its nodes are named when it is quantized


def test_a_damaged_int8_file_is_said(spec: ModelSpec) -> None:
    file = make_int8(spec, quantizable.frames(4)).weights.file
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(PrecisionError, match="what was kept of it is stale or damaged; run: headrace build"):
        variant(spec, "int8")
    make_int8(spec, quantizable.frames(4))
    assert variant(spec, "int8").weights.file == file


def test_a_changed_network_has_no_int8_file_yet(spec: ModelSpec) -> None:
    make_int8(spec, quantizable.frames(4))
    model = onnx.load(spec.weights.file)
    model.doc_string = "trained on"
    onnx.save(model, spec.weights.file)
    with pytest.raises(PrecisionError, match="it needs frames to be made"):
        variant(spec, "int8")


def test_a_file_that_is_int8_serves_as_it_is(tmp_path: Path) -> None:
    quantized = tiny_models.quantized(tmp_path)
    assert variant(quantized, "int8") is quantized
    with pytest.raises(PrecisionError, match="is int8 already; it runs as it is"):
        make_int8(quantized, [])


def test_a_missing_or_broken_file_is_said(spec: ModelSpec) -> None:
    spec.weights.file.write_bytes(b"no network")
    for make in (lambda: variant(spec, "fp16"), lambda: make_int8(spec, quantizable.frames(1))):
        with pytest.raises(BadGraphError, match=r"residual\.onnx: not an ONNX network"):
            make()
    spec.weights.file.unlink()
    with pytest.raises(BuildError, match="no such file"):
        variant(spec, "fp32")
    with pytest.raises(BuildError, match="no such file"):
        make_int8(spec, quantizable.frames(1))


def test_nothing_is_kept_of_a_making_that_fails(spec: ModelSpec) -> None:
    bad = [{"frame": np.zeros((1, 3, 3, 3), np.uint8)}]
    with pytest.raises(ValueError, match=r"does not fit the network: .*frame"):
        make_int8(spec, bad)
    with pytest.raises(PrecisionError, match="it needs frames to be made"):
        variant(spec, "int8")


def _make_half(folder: str, results: Any) -> None:
    results.put(variant(quantizable.residual(Path(folder)), "fp16").weights.file.read_bytes())


def test_two_processes_at_once_both_get_the_whole_file(tmp_path: Path) -> None:
    processes = multiprocessing.get_context("spawn")
    results = processes.Queue()
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    both = [processes.Process(target=_make_half, args=(str(folder), results)) for folder in folders]
    for each in both:
        each.start()
    files = [results.get(timeout=60) for _ in both]
    for each in both:
        each.join()
    results.close()
    results.join_thread()
    assert [each.exitcode for each in both] == [0, 0]
    assert files[0] == files[1] == variant(quantizable.residual(tmp_path), "fp16").weights.file.read_bytes()


@pytest.mark.parametrize(("absent", "making"), [("onnx", "fp16"), ("onnx", "int8"), ("onnxruntime", "int8")])
def test_a_missing_library_gives_the_line_that_brings_it(absent: str, making: str) -> None:
    call = 'variant(spec("street"), "fp16")' if making == "fp16" else 'make_int8(spec("street"), [{}])'
    code = f"""
import sys
sys.modules[{absent!r}] = None
from headrace.engines import MissingBackendError
from headrace.engines.variants import make_int8, variant
from headrace.models import spec
try:
    {call}
except MissingBackendError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip().endswith('install it with: pip install "headrace[onnx]"'), done.stdout + done.stderr
    assert f"making an {making} network needs a library" in done.stdout
    assert done.stdout.count("does not load") == done.stdout.count("install it with") == 1
