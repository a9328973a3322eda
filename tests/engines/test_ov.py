"""OpenVINO on the CPU: the contract, and that it never runs in another precision than it says."""

from pathlib import Path

import numpy as np
import pytest
import tiny_models
from contracts import EngineContract, frames, reference

from headrace.engines import Precision, PrecisionError, open_engine, ov


def needs(precision: str) -> None:
    if precision not in ov.precisions():
        pytest.skip(f"this CPU has no {precision}; OpenVINO lists {', '.join(ov.precisions())}")


def relative_error(got: np.ndarray, want: np.ndarray) -> float:
    return float(np.abs(got - want).max() / np.abs(want).max())


class TestOpenVino(EngineContract):
    backend = "openvino"


def test_auto_is_fp32_where_openvino_itself_would_take_less(tmp_path: Path) -> None:
    spec = tiny_models.deep_net(tmp_path)
    frame = frames(1, spec)
    with open_engine(spec, engine="openvino") as engine, engine.session() as session:
        assert engine.info.precision == "fp32"
        got = session.infer({"frame": frame})["map"]
    assert relative_error(got, reference(spec, {"frame": frame})["map"]) < 1e-4


def test_bf16_runs_when_asked_for_and_shows(tmp_path: Path) -> None:
    needs("bf16")
    spec = tiny_models.deep_net(tmp_path)
    frame = frames(1, spec)
    with open_engine(spec, engine="openvino", precision="bf16") as engine, engine.session() as session:
        assert engine.info.precision == "bf16"
        got = session.infer({"frame": frame})["map"]
    error = relative_error(got, reference(spec, {"frame": frame})["map"])
    assert 1e-3 < error < 0.5  # rounded to 8 bits of mantissa, layer after layer, but the same network


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_precision_that_the_cpu_lacks_is_refused(tmp_path: Path, precision: Precision) -> None:
    if precision in ov.precisions():
        pytest.skip(f"this CPU has {precision}")
    with pytest.raises(PrecisionError, match=f"cannot run precision '{precision}'; allowed: fp32"):
        open_engine(tiny_models.segmenter(tmp_path), engine="openvino", precision=precision)


def test_another_precision_than_told_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO compiles for what the CPU has and says nothing; past our own list we still notice."""
    if "fp16" in ov.precisions():
        pytest.skip("this CPU has fp16, so OpenVINO keeps to it")
    monkeypatch.setattr(ov, "precisions", lambda: ("fp32", "fp16"))
    with pytest.raises(PrecisionError, match="told to compile for f16 and compiled for"):
        open_engine(tiny_models.deep_net(tmp_path), engine="openvino", precision="fp16")


def test_threads_are_shared_out_to_the_sessions(tmp_path: Path) -> None:
    spec = tiny_models.segmenter(tmp_path)
    with ov.OpenVinoEngine(spec, threads=2) as engine:
        assert engine.sessions == 2
    with ov.OpenVinoEngine(spec, threads=2, sessions=5) as engine:
        assert engine.sessions == 2
    with ov.OpenVinoEngine(spec, threads=2, sessions=1, pinned=True) as engine:
        assert engine.sessions == 1
