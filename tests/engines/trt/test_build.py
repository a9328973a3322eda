"""Building: profiles, options, the kernels' times, progress, and what is said when it fails."""

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from trt_bench import Bench

from headrace.engines import BuildError, SpecMismatchError
from headrace.engines.errors import CancelledError
from headrace.models.spec import ModelSpec


def plan_of(bench: Bench) -> Any:
    """The only plan that is kept, as the double reads it."""
    reader = importlib.import_module("tensorrt.plan").Plan
    (path,) = bench.kept(".plan")
    return reader.read(path.read_bytes(), host_code_allowed=True)


def test_one_profile_for_single_frames_and_one_for_batches(bench: Bench, segmenter: ModelSpec) -> None:
    bench.open(segmenter, max_batch=4).close()
    one, four = (1, 12, 16, 3), (4, 12, 16, 3)
    assert plan_of(bench).profiles == [{"frame": (one, one, one)}, {"frame": (one, four, four)}]


def test_state_has_its_place_in_the_profiles(bench: Bench, tmp_path: Path) -> None:
    bench.open(tiny_models.running_total(tmp_path), max_batch=2).close()
    assert plan_of(bench).profiles[1] == {
        "x": ((1, 4), (2, 4), (2, 4)),
        "total": ((1, 4), (2, 4), (2, 4)),
        "calls": ((1, 1), (2, 1), (2, 1)),
    }


@pytest.mark.parametrize("length", [1, 3])
def test_a_length_that_the_description_fixes_needs_one_profile(
    bench: Bench, segmenter: ModelSpec, length: int
) -> None:
    frame, mask = segmenter.inputs[0], segmenter.outputs[0]
    fixed = replace(
        segmenter,
        inputs=(replace(frame, shape=(length, *frame.shape[1:])),),
        outputs=(replace(mask, shape=(length, *mask.shape[1:])),),
    )
    with bench.open(fixed) as engine, engine.session() as session:
        assert engine.batches == (length,)
        assert session.infer({"frame": np.zeros((length, 12, 16, 3), np.uint8)})["mask"].shape == (length, 12, 16)
    shape = (length, 12, 16, 3)
    assert plan_of(bench).profiles == [{"frame": (shape, shape, shape)}]


def test_two_free_lengths_are_refused_by_name(bench: Bench, tmp_path: Path) -> None:
    wide = tiny_models.tensor("x", (None, None), "float32", "BC")
    path = tmp_path / "wide.onnx"
    tiny_models._save(
        path, [tiny_models.helper.make_node("Relu", ["x"], ["y"])], {}, (wide,), (replace(wide, name="y"),)
    )
    spec = tiny_models.described(path, (wide,), (replace(wide, name="y"),))
    with pytest.raises(BuildError, match=r"wide\.onnx: input 'x' any×any has a free length beside its batch: fix it"):
        bench.open(spec)


def test_options_reach_the_builder_by_name(bench: Bench, segmenter: ModelSpec) -> None:
    options = {"tf32": False, "version_compatible": True, "refit": True, "hardware": "ampere_plus", "aux_streams": 2}
    bench.open(segmenter, **options).close()
    plan = plan_of(bench)
    assert {*plan.flags} == {"VERSION_COMPATIBLE", "REFIT"}
    assert (plan.hardware, plan.aux_streams, plan.verbosity) == ("AMPERE_PLUS", 2, "DETAILED")


def test_a_stripped_plan_is_small_and_takes_its_weights_from_the_file(bench: Bench, tmp_path: Path) -> None:
    spec = tiny_models.deep_net(tmp_path)
    frame = np.random.default_rng(1).integers(0, 256, (1, 24, 24, 3), dtype=np.uint8)
    with bench.open(spec) as engine, engine.session() as session:
        want = session.infer({"frame": frame})["map"]
    (whole,) = bench.kept(".plan")
    for _ in range(2):  # built, then from the cache
        with bench.open(spec, strip=True) as engine, engine.session() as session:
            np.testing.assert_array_equal(session.infer({"frame": frame})["map"], want)
    small = min(path.stat().st_size for path in bench.kept(".plan"))
    assert small < whole.stat().st_size / 5
    assert bench.machine.builds == 2


def test_the_times_of_kernels_are_kept_from_build_to_build(bench: Bench, tmp_path: Path) -> None:
    for make in (tiny_models.segmenter, tiny_models.two_inputs):
        bench.open(make(tmp_path)).close()
    (timings,) = bench.kept(".cache")
    assert timings.name == f"timing-{bench.machine.version}-Double-H9.cache"
    assert len(json.loads(timings.read_bytes())["timed"]) == 2


@pytest.mark.parametrize(
    "left", [b"damaged", json.dumps({"capability": "8.6", "version": "1", "timed": ["x"]}).encode()]
)
def test_times_that_do_not_fit_are_left_aside(bench: Bench, segmenter: ModelSpec, left: bytes) -> None:
    bench.plans.mkdir(parents=True)
    path = bench.plans / f"timing-{bench.machine.version}-Double-H9.cache"
    path.write_bytes(left)
    bench.open(segmenter).close()
    found = json.loads(path.read_bytes())
    assert found["capability"] == "9.0"
    assert len(found["timed"]) == 1


def test_times_that_do_not_fit_are_no_reason_for_what_fails_later(bench: Bench, segmenter: ModelSpec) -> None:
    bench.plans.mkdir(parents=True)
    (bench.plans / f"timing-{bench.machine.version}-Double-H9.cache").write_bytes(b"damaged")
    bench.machine.build_failure = "Error Code 10: Could not find any implementation for node Conv_3."
    with pytest.raises(BuildError, match=r"TensorRT cannot build it: Error Code 10: Could not find .* Conv_3\.; try"):
        bench.open(segmenter)


def test_progress_counts_every_phase(bench: Bench, segmenter: ModelSpec) -> None:
    told: list[tuple[str, int, int]] = []
    bench.open(segmenter, progress=lambda *each: told.append(each)).close()
    assert [each for each in told if each[0] == "Building Engine"] == [
        ("Building Engine", 0, 3),
        ("Building Engine", 1, 3),
        ("Building Engine", 2, 3),
    ]
    assert ("Timing tactics", 1, 9) in told


def test_a_cancelled_build_writes_nothing(bench: Bench, segmenter: ModelSpec) -> None:
    with pytest.raises(CancelledError, match=r"segmenter\.onnx: the build was cancelled; nothing was written"):
        bench.open(segmenter, cancelled=lambda: True)
    assert bench.kept() == []
    bench.open(segmenter).close()
    assert bench.machine.builds == 2


def test_what_the_listener_raises_reaches_the_caller(
    bench: Bench, segmenter: ModelSpec, capfd: pytest.CaptureFixture[str]
) -> None:
    def told(phase: str, step: int, steps: int) -> None:
        raise ValueError("the window is closed")

    with pytest.raises(ValueError, match="the window is closed"):
        bench.open(segmenter, progress=told)
    assert bench.kept() == []
    assert capfd.readouterr().err == ""


def test_a_build_that_fails_says_why_and_what_to_try(bench: Bench, segmenter: ModelSpec) -> None:
    bench.machine.build_failure = "Error Code 10: Could not find any implementation for node {ForeignNode[a...b]}"
    with pytest.raises(
        BuildError, match=r"segmenter\.onnx: TensorRT cannot build it: .*ForeignNode.*another level \(3\)"
    ):
        bench.open(segmenter)
    bench.machine.build_failure = "Error Code 2: OutOfMemory (Requested size was 17179869184 bytes.)"
    with pytest.raises(
        BuildError, match=r"OutOfMemory.*try a smaller max_batch \(8\) or workspace_bytes \(1073741824\)"
    ):
        bench.open(segmenter)
    assert bench.kept() == []


def test_a_description_that_does_not_fit_is_told_before_the_build(bench: Bench, segmenter: ModelSpec) -> None:
    wrong = replace(segmenter, outputs=(replace(segmenter.outputs[0], dtype="float32"),))
    with pytest.raises(SpecMismatchError):
        bench.open(wrong)
    assert bench.machine.builds == 0


def test_an_unsupported_operator_is_told_before_the_parser_runs(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"unknown_operator\.onnx: TensorRT cannot take it: .*Frobnicate"):
        bench.open(tiny_models.unknown_operator(tmp_path))
    assert bench.machine.parses == 0


def test_what_the_parser_refuses_is_told_with_its_node(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = bench.module("onnx_file").OnnxFile
    monkeypatch.setattr(
        network, "require_supported", lambda self, data_dependent: None
    )  # as if our table were behind
    with pytest.raises(
        BuildError, match=r"unknown_operator\.onnx: TensorRT cannot read it: .*\(Frobnicate\): UNSUPPORTED"
    ):
        bench.open(tiny_models.unknown_operator(tmp_path))
