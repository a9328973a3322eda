"""`headrace models`: what is known of the networks, and what of them is proven on this machine."""

from dataclasses import replace
from pathlib import Path

import outside
import pytest
import tiny_models
from made_proofs import proof

from headrace.engines import verdicts
from headrace.models import names
from headrace.models import spec as spec_of
from headrace.tools import cli


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert cli.main(["models", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def test_every_network_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(capsys)
    for name in names():
        assert any(line.split()[0] == name for line in lines)


def test_one_network_says_what_is_proven_of_it_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "street")[-1] == "  proven here nothing; headrace prove street"
    street = spec_of("street")
    verdicts.keep(
        street,
        [
            proof(street, "openvino", ratio=1.0),
            proof(street, "openvino", "int8", ratio=3.0, verdict="off"),
            proof(street, "onnxruntime", ratio=1.5, verdict="reference"),
        ],
    )
    assert told(capsys, "street")[-1] == (
        "  proven here onnxruntime fp32 (150 a second), openvino fp32 (100 a second)"
    )


def test_what_holds_no_more_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    street = spec_of("street")
    verdicts.keep(street, [proof(street, version="2020.1")])
    assert told(capsys, "street")[-1].endswith("libraries or machine have changed; headrace prove street")


def test_what_is_not_stated_is_no_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stated = replace(tiny_models.segmenter(tmp_path), paper="", year=0, parameters=0)
    lines = told(capsys, str(outside.describe(stated)))
    assert any(line.startswith("  input ") for line in lines)
    assert not any(line.split()[0] in ("paper", "parameters") for line in lines)
