"""`headrace build`: its steps in lines, the files it leaves, and how it fails and is broken off."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import made_engines
import onnx
import outside
import pytest
import quantizable
import tiny_models
from trt_bench import Bench, bench_of

from headrace.engines import verdicts
from headrace.engines.base import Engine
from headrace.engines.catalog import BACKENDS
from headrace.engines.store import cache_root
from headrace.engines.variants import record, variant
from headrace.engines.worst_layers import Kept, WorstLayers
from headrace.models import spec as spec_of
from headrace.models.errors import UnsupportedGraphError
from headrace.tools import build_steps, cli
from headrace.tools.steps import BuildProgress, Interrupt

pytestmark = pytest.mark.usefixtures("quick_rounds")


@pytest.fixture
def network(tmp_path: Path) -> str:
    return outside.segmenter(tmp_path)


@pytest.fixture
def footage(tmp_path: Path) -> str:
    return outside.pictures(tmp_path / "footage")


@pytest.fixture(params=[10, 11], ids=["tensorrt10", "tensorrt11"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with bench_of(request.param) as found:
        yield found


def built(*arguments: str) -> int:
    return cli.main(["build", *arguments, "--frames", "4"])


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def line(lines: list[str], name: str) -> str:
    """What a step said."""
    return next(each for each in lines if each.split()[:1] == [name])


def test_it_says_each_step_and_what_auto_takes(
    network: str, footage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert built(network, "--source", footage) == 0
    lines = lines_of(capsys)
    assert lines[0].startswith(f"segmenter: {network}, 0.0 MB")
    assert "nothing that TensorRT refuses" in line(lines, "graph")
    assert "segmenter-fp16.onnx" in line(lines, "fp16")
    assert f"on 4 frames of {footage}" in line(lines, "proof")
    assert any(each.startswith("accuracy") and "onnxruntime fp16: 0." in each for each in lines)
    assert str(cache_root()) in next(each for each in lines if each.startswith("kept in"))
    assert lines[-1].startswith("auto        segmenter: ")
    assert "proven here" in lines[-1]
    assert {each.candidate.precision for each in verdicts.read(spec_of(network))} >= {"fp32", "fp16"}


def test_int8_is_calibrated_on_the_users_footage_and_proven(
    network: str, footage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    built(network, "--precision", "int8", "--calibrate", footage, "--keep-float", "Conv_3", "--out", str(out))
    lines = lines_of(capsys)
    assert f"6 frames of {footage} to calibrate on" in line(lines, "footage")
    assert "segmenter-int8.onnx" in line(lines, "int8")
    assert any(each.split()[:2] == ["openvino", "int8"] for each in lines)
    found = record(spec_of(network), "int8")
    assert found is not None
    assert found["calibrated_on"] == footage
    assert sorted(path.name for path in out.iterdir()) == ["segmenter-int8.onnx", "segmenter-int8.yaml"]
    assert spec_of(str(out / "segmenter-int8.onnx")).labels == spec_of(network).labels


def test_a_file_that_is_int8_is_built_as_it_is(
    footage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, out = quantizable.residual(tmp_path), tmp_path / "out"
    network = str(outside.describe(spec))
    options = ["--calibrate", footage, "--keep-float", "first", "--out", str(out), "--no-prove"]
    assert built(network, "--precision", "int8", *options) == 0
    made = str(out / f"{spec.name}-int8.onnx")
    for precision in ("auto", "int8"):
        capsys.readouterr()
        assert built(made, "--source", footage, "--precision", precision) == 0
        lines = lines_of(capsys)
        assert line(lines, "int8") == "int8        the file is, and runs as it is"
        rows = [each.split()[:2] for each in lines if each.split()[:1] in (["openvino"], ["onnxruntime"])]
        assert rows
        assert {row[1] for row in rows} == {"int8"}
        assert not any("float32" in each for each in lines), "it is held against int8"
    assert built(made, "--precision", "fp16") == 2
    assert "-int8.onnx is int8 already" in capsys.readouterr().err
    assert built(made, "--precision", "int8", "--keep-float", "Conv") == 2
    assert "-int8.onnx is int8 already" in capsys.readouterr().err


def test_a_layer_that_there_is_not_is_told_before_footage_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = str(outside.describe(quantizable.residual(tmp_path)))
    assert built(network, "--precision", "int8", "--calibrate", "nowhere.mp4", "--keep-float", "Conv_9") == 2
    out, err = capsys.readouterr()
    assert "no layer 'Conv_9' to keep in float; there are: Conv, first" in err
    assert len(err.splitlines()) == 1
    assert not any(each.startswith(("footage", "int8")) for each in out.splitlines())


def test_a_network_that_int8_ruins_is_told_once_and_has_no_int8_file(
    network: str, footage: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WorstLayers, "find", lambda self, keep: Kept(layers=self._quantizer.layers, losses={}))
    assert built(network, "--precision", "int8", "--calibrate", footage) == 1
    out, err = capsys.readouterr()
    told = "headrace build: segmenter: no layer keeps its accuracy in int8, so no int8 file is made"
    assert err.splitlines()[-1] == told
    assert not any(each.startswith("int8") for each in out.splitlines())


@pytest.mark.parametrize("absent", ["onnx", "onnxruntime"])
def test_a_missing_library_is_told_once_and_before_footage_is_read(absent: str) -> None:
    code = (
        f"import sys\nsys.modules[{absent!r}] = None\nfrom headrace.tools.cli import main\n"
        "sys.exit(main(['build', 'street', '--precision', 'int8', '--calibrate', 'nowhere.mp4']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "headrace build: making an int8 network needs a library that does not load (" in done.stderr
    for each in (*done.stdout.splitlines(), *done.stderr.splitlines()):
        assert each.count("does not load") == each.count("pip install") <= 1
    assert line(done.stdout.splitlines(), "graph").startswith("graph       not checked: ") == (absent == "onnx")
    assert "footage" not in done.stdout
    assert len(done.stderr.splitlines()) == 1


def test_auto_makes_no_int8_of_itself(network: str, footage: str, capsys: pytest.CaptureFixture[str]) -> None:
    built(network, "--source", footage)
    assert record(spec_of(network), "int8") is None
    assert not any("int8" in each.split()[:2] for each in lines_of(capsys))


def test_without_a_proof_nothing_is_kept_that_auto_would_take(
    network: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert built(network, "--no-prove", "--precision", "fp32", "--engine", "openvino") == 0
    lines = lines_of(capsys)
    assert "fp32 ready (fp32 on " in line(lines, "openvino")
    assert "nothing is proven here yet" in lines[-1]
    assert verdicts.read(spec_of(network)) == ()


def test_an_engine_that_cannot_take_the_graph_is_a_line_and_a_failure(
    network: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(engine: Engine) -> Engine:
        engine.close()
        raise UnsupportedGraphError("it has a loop")

    monkeypatch.setitem(BACKENDS, "picky", made_engines.row(refuse))
    assert built(network, "--no-prove", "--precision", "fp32", "--engine", "picky") == 1
    assert "fp32 failed: it has a loop" in line(lines_of(capsys), "picky")


def test_an_engine_that_is_off_is_a_failure_and_not_taken(
    network: str, footage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BACKENDS, "perturbed", made_engines.perturbed(tmp_path, 0.3))
    assert built(network, "--engine", "perturbed", "--precision", "fp32", "--source", footage) == 1
    lines = lines_of(capsys)
    assert any(each.startswith("perturbed fp32 off: agrees on 0.") for each in lines)
    assert "perturbed" not in lines[-1]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["no-such-network"], "'no-such-network' is not known"),
        (["street", "--engine", "tensorflow"], "'tensorflow' is not known"),
        (["street", "--engine", "openvino", "--level", "5"], "--level and --max-batch are for tensorrt"),
        (["street", "--engine", "onnxruntime", "--precision", "bf16"], "onnxruntime has fp32, fp16, int8"),
        (["street", "--engine", "torch", "--precision", "int8"], "torch has fp32, bf16"),
        (["street", "--keep-float", "Conv"], "--keep-float is for --precision int8; --precision is auto"),
        (["street", "--export"], "--export needs --out DIR"),
        (["street", "--out", __file__], "is not a folder"),
    ],
)
def test_wrong_calls_are_a_line(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["build", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert text in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("size", ["0", "2T", "G", "-1"])
def test_sizes_are_checked(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["build", "street", f"--workspace={size}"])
    assert "is not a size such as 512M or 2G" in capsys.readouterr().err


def test_a_broken_file_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = outside.segmenter(tmp_path)
    Path(network).write_bytes(b"no network")
    assert built(network) in (1, 2)
    err = capsys.readouterr().err
    assert "segmenter.onnx" in err
    assert len(err.splitlines()) == 1


# TensorRT, doubled


def test_tensorrt_is_built_proven_and_kept(
    bench: Bench, network: str, footage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--engine", "tensorrt", "--precision", "fp16", "--max-batch", "4", "--workspace", "256M"]
    built(network, *asked, "--source", footage)
    lines = lines_of(capsys)
    assert "fp16 ready (fp16 on " in line([each for each in lines if "ready" in each], "tensorrt")
    (plan,) = bench.kept(".plan")
    card = json.loads(plan.with_suffix(".json").read_text())
    assert (card["options"]["max_batch"], card["options"]["workspace_bytes"]) == (4, 256 << 20)
    found = {str(each.candidate): each for each in verdicts.read(spec_of(network))}
    proof = found["tensorrt fp16 (workspace_bytes=268435456, max_batch=4)"]
    assert proof.ran == "fp16"
    assert proof.verdict in ("proven", "slower")
    assert proof.agreement is not None
    assert proof.agreement >= 0.995


def test_a_graph_that_tensorrt_refuses_is_named(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tiny_models.segmenter(tmp_path)
    model = onnx.load(spec.weights.file)
    next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Bernoulli"
    onnx.save(model, spec.weights.file)
    network = str(outside.describe(spec))
    assert built(network, "--engine", "tensorrt") == 2
    out, err = capsys.readouterr()
    assert "Bernoulli" in out
    assert "TensorRT cannot take it" in err
    assert bench.kept() == []


def test_ctrl_c_ends_a_build_and_leaves_nothing(
    bench: Bench, network: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGINT)
    heard = threading.Event()
    pressed: list[str] = []

    class Heard(Interrupt):
        def _press(self, number: int, frame: FrameType | None) -> None:
            super()._press(number, frame)
            heard.set()

    def press(self: BuildProgress, phase: str, done: int, steps: int) -> None:
        if not pressed:
            os.kill(os.getpid(), signal.SIGINT)
            assert heard.wait(60)  # Python tells the main thread between two of its steps
        pressed.append(phase)

    monkeypatch.setattr(build_steps, "Interrupt", Heard)
    monkeypatch.setattr(BuildProgress, "__call__", press)
    assert built(network, "--engine", "tensorrt", "--precision", "fp32") == 130
    assert pressed
    err = capsys.readouterr().err
    assert "cancelled" in err
    assert len(err.splitlines()) == 1
    assert bench.kept() == []
    assert verdicts.read(spec_of(network)) == ()
    assert signal.getsignal(signal.SIGINT) is before


def test_the_int8_file_stays_where_a_variant_is_looked_for(network: str, footage: str) -> None:
    built(network, "--precision", "int8", "--calibrate", footage, "--keep-float", "Conv_3")
    assert variant(spec_of(network), "int8").weights.file.is_file()


@pytest.mark.slow
def test_a_torch_definition_is_exported_and_built(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    out = tmp_path / "out"
    arguments = ["--export", "--out", str(out), "--no-prove", "--precision", "fp32", "--engine", "openvino"]
    assert built("two_stream", *arguments) == 0
    lines = lines_of(capsys)
    assert "scores at most" in line(lines, "export")
    assert lines[1].startswith(f"two_stream: {out / 'two_stream.onnx'}")
    assert spec_of(str(out / "two_stream.onnx")).labels == spec_of("two_stream").labels
