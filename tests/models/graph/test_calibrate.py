"""How large the numbers in a network become: the three ways to tell, on numbers that are known."""

from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason='onnx is not installed: pip install "headrace[onnx]"')
pytest.importorskip("onnxruntime", reason='onnxruntime is not installed: pip install "headrace[onnx]"')

from graphs import FLOAT, network, node  # noqa: E402

from headrace.models.errors import UnsupportedGraphError  # noqa: E402
from headrace.models.graph.calibrate import greatest_of  # noqa: E402

SHAPE = ("B", 100_000)


def doubled() -> Any:
    """x → 2 x → 4 x."""
    nodes = [node("Add", ["x", "x"], ["twice"], name="a"), node("Add", ["twice", "twice"], ["y"], name="b")]
    return network(nodes, {"x": (FLOAT, SHAPE)}, {"y": (FLOAT, SHAPE)})


def fed(*values: Any) -> list[dict[str, Any]]:
    return [{"x": np.asarray(each, np.float32).reshape(1, -1)} for each in values]


def ramp(end: float) -> Any:
    return np.linspace(-end, end, 100_000)


def test_minmax_is_the_greatest_of_all_inputs() -> None:
    found = greatest_of(doubled(), ["x", "twice", "y"], fed(ramp(1), ramp(3), ramp(2)), method="minmax")
    assert found == pytest.approx({"x": 3, "twice": 6, "y": 12})


def test_percentile_leaves_rare_extremes_out() -> None:
    even, rare = ramp(1), ramp(1)
    rare[7] = 100
    many = fed(even, even, even, rare)
    assert greatest_of(doubled(), ["x"], many, method="percentile")["x"] == pytest.approx(1, abs=0.03)
    assert greatest_of(doubled(), ["x"], many, method="minmax")["x"] == 100


def test_mse_weighs_what_is_cut_off_against_coarser_steps() -> None:
    bell = np.random.default_rng(0).normal(0, 1, 100_000)
    end = greatest_of(doubled(), ["x"], fed(bell), method="mse")["x"]
    assert 3.0 < end < np.abs(bell).max()  # a normal distribution is best cut at about four deviations
    assert greatest_of(doubled(), ["x"], fed(ramp(2)), method="mse")["x"] == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("method", ["mse", "percentile", "minmax"])
def test_what_is_always_nothing_has_a_range_all_the_same(method: Any) -> None:
    nothing = np.zeros(100_000)
    found = greatest_of(doubled(), ["x", "y"], fed(nothing, nothing), method=method)
    assert all(0 < end <= 1 for end in found.values())


@pytest.mark.parametrize("method", ["mse", "percentile", "minmax"])
def test_a_quiet_beginning_does_not_set_the_range(method: Any) -> None:
    found = greatest_of(doubled(), ["x"], fed(1e-20 * ramp(1), ramp(5)), method=method)
    assert found["x"] == pytest.approx(5, rel=0.05)


def test_it_tells_how_far_it_is() -> None:
    lines: list[str] = []
    greatest_of(doubled(), ["x"], fed(*[np.ones(100_000)] * 21), method="minmax", told=lines.append)
    assert lines == ["calibrating: 0 of 21", "calibrating: 10 of 21", "calibrating: 20 of 21"]


def test_nothing_to_watch_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to calibrate on"):
        greatest_of(doubled(), ["x"], [])


def test_what_onnxruntime_cannot_run_is_said() -> None:
    unknown = network([node("Frobnicate", ["x"], ["y"], name="f")], {"x": (FLOAT, SHAPE)}, {"y": (FLOAT, SHAPE)})
    with pytest.raises(UnsupportedGraphError, match="onnxruntime cannot run it, so it cannot be calibrated"):
        greatest_of(unknown, ["y"], fed(ramp(1)))
