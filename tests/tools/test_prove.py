"""`headrace prove`: what it prints, keeps and writes, and how it fails."""

import json
from dataclasses import replace
from pathlib import Path

import made_engines
import outside
import pytest
from made_proofs import proof

from headrace.engines import verdicts
from headrace.engines.catalog import BACKENDS
from headrace.models import spec as spec_of
from headrace.tools import cli, proof_table

pytestmark = pytest.mark.usefixtures("quick_rounds")


@pytest.fixture
def network(tmp_path: Path) -> str:
    return outside.segmenter(tmp_path)


@pytest.fixture
def footage(tmp_path: Path) -> list[str]:
    return ["--frames", "4", "--source", outside.pictures(tmp_path / "footage")]


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def row_of(lines: list[str], engine: str, precision: str) -> list[str]:
    return next(line.split() for line in lines if line.split()[:2] == [engine, precision])


def test_it_prints_a_table_says_what_auto_takes_and_keeps_it(
    network: str, footage: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "proof.json"
    assert cli.main(["prove", network, *footage, "--json", str(report)]) == 0
    lines = lines_of(capsys)
    assert lines[0] == f"segmenter on {footage[-1]}"
    assert "held against onnxruntime 1." in lines[1]
    assert "4 frames" in lines[1]
    assert row_of(lines, "openvino", "fp32")[2:4] == ["fp32", "1.0000"]
    assert row_of(lines, "onnxruntime", "fp32")[-1] == "reference"
    assert row_of(lines, "onnxruntime", "fp16")[2] == "fp32"  # told truly
    assert any(line.startswith("onnxruntime fp16: computes in fp32 here") for line in lines)
    assert f"int8 is not made: headrace build {network} --precision int8" in lines
    assert lines[-1].startswith("auto: segmenter: ")
    assert "proven here" in lines[-1]
    kept = verdicts.read(spec_of(network))
    written = json.loads(report.read_text())
    assert len(written["proofs"]) == len(kept)
    assert written["network"] == "segmenter"
    assert written["auto"] == lines[-1].removeprefix("auto: ")
    assert {"engine", "precision"} <= written["proofs"][0]["candidate"].keys()


def test_what_is_not_here_says_why(network: str, footage: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["prove", network, *footage])
    lines = lines_of(capsys)
    for name, reason in (("tensorrt", "TensorRT"), ("onnxruntime:cuda", "NVIDIA driver")):
        row = BACKENDS[name]
        if row.trouble() is not None:
            assert any(line.startswith(f"{name} not here: ") and reason in line for line in lines)


def test_wrong_and_slow_engines_are_refused_and_said(
    network: str,
    footage: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(BACKENDS, "perturbed", made_engines.perturbed(tmp_path, 0.3))
    monkeypatch.setitem(BACKENDS, "slowed", made_engines.slowed(60))
    assert cli.main(["prove", network, *footage]) == 0
    lines = lines_of(capsys)
    assert row_of(lines, "perturbed", "fp32")[-1] == "OFF"
    assert row_of(lines, "slowed", "fp32")[-1] == "slower"
    assert any(line.startswith("perturbed fp32 off: agrees on 0.") for line in lines)
    assert any(line.startswith("slowed fp32 slower: ") and "which it would replace" in line for line in lines)
    assert "perturbed" not in lines[-1]
    assert "slowed" not in lines[-1]


def test_what_is_right_but_in_another_precision_is_not_called_proven() -> None:
    street = spec_of("street")
    rows = proof_table.table([proof(street), proof(street, "openvino", "fp16", ran="fp32")])
    assert rows[1].endswith("  proven")
    assert rows[2].endswith("  not taken")


def test_what_is_off_in_int8_says_what_to_do_next() -> None:
    street = spec_of("street")
    found = [
        proof(street, precision="int8", verdict="off"),
        # Its own file is int8: there is nothing to calibrate.
        proof(street, precision="int8", verdict="off", reference="onnxruntime 1.31.1 int8"),
        proof(street, precision="fp16", verdict="off"),
        proof(street, precision="int8", verdict="slower"),
    ]
    remedy = "; calibrate on other or more footage, or leave layers in float: headrace build --keep-float"
    lines = proof_table.notes(found, {})
    assert lines[0] == f"openvino int8 off: measured by hand{remedy}"
    assert not any("--keep-float" in line for line in lines[1:])


def test_only_the_engines_that_are_named(
    network: str, footage: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["prove", network, *footage, "--engine", "openvino"]) == 0
    assert {each.candidate.engine for each in verdicts.read(spec_of(network))} == {"openvino"}


def test_auto_is_all_of_them(network: str, footage: list[str]) -> None:
    assert cli.main(["prove", network, *footage, "--engine", "auto", "--engine", "openvino"]) == 0
    assert {each.candidate.engine for each in verdicts.read(spec_of(network))} >= {"openvino", "onnxruntime"}


def test_a_file_of_a_precision_that_the_engine_has_not_is_a_failure(
    network: str, footage: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = BACKENDS["openvino"]
    monkeypatch.setitem(BACKENDS, "openvino", replace(row, precisions=("int8",)))
    assert cli.main(["prove", network, *footage, "--engine", "openvino"]) == 1
    assert "not a file that openvino can run" in capsys.readouterr().err.splitlines()[-1]


def test_a_cache_that_cannot_be_written_does_not_hide_what_was_found(
    network: str,
    footage: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "no folder").touch()
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "no folder"))
    assert cli.main(["prove", network, *footage, "--engine", "openvino"]) == 1
    out, err = capsys.readouterr()
    assert row_of(out.splitlines(), "openvino", "fp32")[2:4] == ["fp32", "1.0000"]
    assert "set HEADRACE_CACHE to a folder that can be written" in err.splitlines()[-1]


def test_only_engines_that_are_off_is_a_failure(
    network: str,
    footage: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(BACKENDS, "perturbed", made_engines.perturbed(tmp_path, 0.3))
    assert cli.main(["prove", network, *footage, "--engine", "perturbed"]) == 1


def test_an_engine_that_is_not_here_is_a_failure_with_the_reason(
    network: str, footage: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise ImportError("no such library")

    monkeypatch.setitem(BACKENDS, "gone", replace(made_engines.row(lambda engine: engine), load=missing))
    assert cli.main(["prove", network, *footage, "--engine", "gone"]) == 1
    assert capsys.readouterr().err == (
        "headrace prove: engine 'gone' does not load (no such library); install it with: pip install \"headrace\"\n"
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["no-such-network"], "'no-such-network' is not known"),
        (["street", "--engine", "tensorflow"], "'tensorflow' is not known; allowed: auto, tensorrt"),
        (["street", "--json", "/no/such/folder/a.json"], "there is no folder /no/such/folder"),
    ],
)
def test_wrong_calls_are_a_line(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["prove", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert text in err
    assert len(err.splitlines()) == 1


def test_a_source_that_is_not_there_is_a_line(network: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["prove", network, "--source", "nowhere.mp4"]) in (1, 2)
    assert "nowhere.mp4" in capsys.readouterr().err
