"""Engines held against the float32 reference: what is right, wrong, slow or broken gets its verdict."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import made_engines
import numpy as np
import pytest
import tiny_models

from headrace.engines import (
    BuildError,
    CacheError,
    CancelledError,
    DeviceError,
    Engine,
    EngineError,
    InferError,
    MissingBackendError,
    catalog,
    contest,
    open_engine,
    verdicts,
)
from headrace.engines.base import Precision
from headrace.engines.candidate import Candidate, Proof
from headrace.engines.catalog import BACKENDS, Backend
from headrace.engines.choice import choose
from headrace.engines.inputs import Array
from headrace.engines.proof import candidates, promote, prove
from headrace.engines.race import Pace
from headrace.models.spec import ModelSpec

pytestmark = pytest.mark.usefixtures("quick_rounds")

OPENVINO = Candidate(engine="openvino", precision="fp32")
ONNXRUNTIME = Candidate(engine="onnxruntime", precision="fp32")
MADE = Candidate(engine="made", precision="fp32")


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    return tiny_models.segmenter(tmp_path)


@pytest.fixture
def feeds() -> list[dict[str, Array]]:
    random = np.random.default_rng(0)
    return [{"frame": random.integers(0, 256, (1, 12, 16, 3), dtype=np.uint8)} for _ in range(6)]


def made(monkeypatch: pytest.MonkeyPatch, row: Backend) -> Candidate:
    """Put a row among the engines."""
    monkeypatch.setitem(BACKENDS, "made", row)
    return MADE


def paced(monkeypatch: pytest.MonkeyPatch, **fps: float) -> None:
    """Engines run as fast as is said, and 100 a second where nothing is."""

    def race(engines: Sequence[Engine], feeds: object, **_: object) -> list[Pace | EngineError]:
        names = ["made" if isinstance(each, made_engines.ChangedEngine) else each.info.backend for each in engines]
        return [Pace(ms=1000 / fps.get(name, 100), fps=fps.get(name, 100)) for name in names]

    monkeypatch.setattr(contest, "race", race)


def only(proofs: list[Proof]) -> Proof:
    (found,) = proofs
    return found


# Right ones


def test_right_engines_are_proven_with_their_figures(
    spec: ModelSpec, feeds: list[dict[str, Array]], monkeypatch: pytest.MonkeyPatch
) -> None:
    paced(monkeypatch, openvino=250, onnxruntime=100)
    reference, found = prove(spec, feeds, [ONNXRUNTIME, OPENVINO])
    assert (reference.verdict, reference.ratio) == ("reference", 1)
    assert found.verdict == "proven"
    assert found.usable
    assert (found.agreement, found.ratio, found.fps, found.ms) == (1.0, 2.5, 250, 4)
    assert found.max_error is None
    assert found.ran == "fp32"
    assert found.reference.startswith("onnxruntime 1.")
    assert found.reference.endswith(" fp32")
    assert found.incumbent == "openvino fp32"
    assert found.frames == 6
    assert found.version == catalog.version("openvino")
    assert found.sessions >= 1


def test_without_onnxruntime_openvino_is_the_reference(
    spec: ModelSpec, feeds: list[dict[str, Array]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "headrace.engines.ort", raising=False)
    monkeypatch.delitem(sys.modules, "headrace.models.quiet_onnxruntime", raising=False)
    assert only(prove(spec, feeds, [OPENVINO])).verdict == "reference"


def test_without_either_there_is_no_proof(
    spec: ModelSpec, feeds: list[dict[str, Array]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise ImportError("not here")

    for name in ("onnxruntime", "openvino"):
        monkeypatch.setitem(BACKENDS, name, replace(BACKENDS[name], load=missing))
    with pytest.raises(MissingBackendError, match=r"no engine here can be the float32 reference.*headrace\[onnx\]"):
        prove(spec, feeds, [OPENVINO])


def test_what_is_tried_are_the_engines_that_work_in_each_of_their_precisions(spec: ModelSpec, tmp_path: Path) -> None:
    found = candidates(spec)
    assert OPENVINO in found
    assert Candidate(engine="onnxruntime", precision="fp16") in found
    for each in found:
        assert catalog.availability(each.engine).reason is None
    assert not {each for each in found if each.precision == "int8"}  # none was made
    assert {each.precision for each in candidates(tiny_models.quantized(tmp_path), "int8")} == {"int8"}


def test_what_compiles_for_long_is_tried_where_it_is_named(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, "patient", replace(BACKENDS["openvino"], when_named=True))
    assert "patient" not in {each.engine for each in candidates(spec)}
    assert {each.engine for each in candidates(spec, named=["patient"])} == {"patient"}


def test_scores_are_compared_by_error_and_best_class(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    feeds = [
        {
            "image": random.integers(0, 256, (1, 2, 2, 3), dtype=np.uint8),
            "flow": random.normal(size=(1, 2, 2, 2)).astype(np.float32),
        }
        for _ in range(4)
    ]
    found = only(prove(tiny_models.two_inputs(tmp_path), feeds, [OPENVINO]))
    assert found.agreement is None
    assert found.max_error is not None
    assert found.max_error < 1e-3
    assert found.mean_error is not None
    assert found.top1 == 1.0
    assert found.verdict in ("proven", "slower")


def test_a_network_with_state_is_proven_over_its_calls(tmp_path: Path) -> None:
    feeds: list[dict[str, Array]] = [{"x": np.full((1, 4), step, np.float32)} for step in range(5)]
    found = only(prove(tiny_models.running_total(tmp_path), feeds, [OPENVINO]))
    assert found.agreement == 1.0
    assert found.max_error == 0.0
    assert found.verdict in ("proven", "slower")


def test_a_quantized_file_is_held_against_itself(tmp_path: Path) -> None:
    spec = tiny_models.quantized(tmp_path)
    random = np.random.default_rng(1)
    feeds = [{"x": random.normal(0, 2, (1, 16, 8, 8)).astype(np.float32)} for _ in range(3)]
    found = prove(spec, feeds)
    assert {each.candidate.precision for each in found} == {"int8"}
    assert found[0].reference.endswith("int8")


def test_half_files_that_are_computed_in_float32_say_so(
    spec: ModelSpec, feeds: list[dict[str, Array]], monkeypatch: pytest.MonkeyPatch
) -> None:
    paced(monkeypatch)
    found = only(prove(spec, feeds, [Candidate(engine="onnxruntime", precision="fp16")]))
    assert found.ran == "fp32"
    assert found.verdict == "proven"
    assert found.reason.startswith("computes in fp32 here: ")
    assert found.file.endswith("segmenter-fp16.onnx")
    assert not found.usable


# Wrong ones


def test_perturbed_weights_are_off(
    spec: ModelSpec, feeds: list[dict[str, Array]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = only(prove(spec, feeds, [made(monkeypatch, made_engines.perturbed(tmp_path, 0.3))]))
    assert found.verdict == "off"
    assert found.agreement is not None
    assert found.agreement < 0.999
    assert found.reason == f"agrees on {found.agreement:.4f} of the pixels; fp32 must on 0.999"
    assert found.fps is None
    assert not found.usable


def test_a_slowed_engine_is_slower_than_the_one_it_would_replace(
    spec: ModelSpec, feeds: list[dict[str, Array]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured, not scripted: forty runs for one answer."""
    found = only(prove(spec, feeds, [made(monkeypatch, made_engines.slowed(40))]))
    assert found.verdict == "slower"
    assert found.agreement == 1.0
    assert "x openvino fp32, which it would replace" in found.reason
    assert not found.usable


@pytest.mark.parametrize(("fps", "verdict"), [(90, "slower"), (98, "proven"), (100, "proven"), (400, "proven")])
def test_speed_is_judged_against_the_incumbent(
    fps: float, verdict: str, spec: ModelSpec, feeds: list[dict[str, Array]], monkeypatch: pytest.MonkeyPatch
) -> None:
    paced(monkeypatch, made=fps, onnxruntime=10)
    found = only(prove(spec, feeds, [made(monkeypatch, made_engines.slowed(1))], incumbent=OPENVINO))
    assert found.verdict == verdict
    assert found.ratio == fps / 10
    assert f"{fps / 100:.2f} x openvino fp32" in found.reason


def lost(results: dict[str, Array]) -> dict[str, Array]:
    return {name: np.full_like(array, np.nan) for name, array in results.items()}


def cut(results: dict[str, Array]) -> dict[str, Array]:
    return {name: array[..., :-1] for name, array in results.items()}


def widened(results: dict[str, Array]) -> dict[str, Array]:
    return {name: array.astype(np.int64) for name, array in results.items()}


def in_batches_only(results: dict[str, Array]) -> dict[str, Array]:
    """Right one by one; of a batch the rows stand in the wrong order."""
    return {name: array[::-1] for name, array in results.items()}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (cut, "output 'mask' has shape 1×12×15, the reference's 1×12×16"),
        (widened, "output 'mask' is int64, the reference's uint8"),
        (in_batches_only, "in a batch of 3: agrees on"),
    ],
)
def test_wrong_results_are_off(
    change: made_engines.Change,
    reason: str,
    spec: ModelSpec,
    feeds: list[dict[str, Array]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = only(prove(spec, feeds, [made(monkeypatch, made_engines.changed(change))]))
    assert found.verdict == "off"
    assert found.reason.startswith(reason)


def test_no_numbers_are_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = tiny_models.deep_net(tmp_path, layers=1, channels=3)
    feeds: list[dict[str, Array]] = [{"frame": np.zeros((1, 24, 24, 3), np.uint8)}]
    found = only(prove(spec, feeds, [made(monkeypatch, made_engines.changed(lost))]))
    assert found.verdict == "off"
    assert "no numbers where the reference has some" in found.reason


# Broken ones


def test_one_that_does_not_open_failed_and_the_others_are_judged(
    spec: ModelSpec, feeds: list[dict[str, Array]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(engine: Engine) -> Engine:
        engine.close()
        raise BuildError("out of paper")

    bad, good = prove(spec, feeds, [made(monkeypatch, made_engines.row(fail)), OPENVINO])
    assert (bad.verdict, bad.reason, bad.ran) == ("failed", "out of paper", None)
    assert good.verdict in ("proven", "slower")


def test_one_that_fails_while_it_runs_failed(
    spec: ModelSpec, feeds: list[dict[str, Array]], monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter(range(9))

    def change(results: dict[str, Array]) -> dict[str, Array]:
        if next(left, None) is None:
            raise InferError("lost the device")
        return results

    found = only(prove(spec, feeds, [made(monkeypatch, made_engines.changed(change))]))
    assert (found.verdict, found.reason) == ("failed", "lost the device")


def test_int8_that_was_not_made_says_how_to_make_it(spec: ModelSpec, feeds: list[dict[str, Array]]) -> None:
    found = only(prove(spec, feeds, [Candidate(engine="openvino", precision="int8")]))
    assert found.verdict == "failed"
    assert f"headrace build {spec.weights.file} --precision int8" in found.reason


def test_an_incumbent_that_does_not_run_leaves_the_reference_to_be_beaten(
    spec: ModelSpec, feeds: list[dict[str, Array]], monkeypatch: pytest.MonkeyPatch
) -> None:
    paced(monkeypatch, openvino=50, onnxruntime=100)
    gone = Candidate(engine="openvino", precision="int8")
    found = only(prove(spec, feeds, [OPENVINO], incumbent=gone))
    assert found.verdict == "slower"
    assert found.incumbent == "onnxruntime fp32"


def test_a_candidate_that_is_named_twice_is_proven_once(spec: ModelSpec, feeds: list[dict[str, Array]]) -> None:
    assert len(prove(spec, feeds, [OPENVINO, OPENVINO])) == 1
    assert {each.candidate for each in prove(spec, feeds, [OPENVINO], with_base=True)} == {OPENVINO, ONNXRUNTIME}


def test_no_frames_are_no_proof(spec: ModelSpec) -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        prove(spec, [], [OPENVINO])


def test_a_proof_that_is_cancelled_ends_and_closes_what_it_opened(
    spec: ModelSpec, feeds: list[dict[str, Array]], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[made_engines.ChangedEngine] = []

    def keep(engine: Engine) -> Engine:
        opened.append(made_engines.ChangedEngine(engine))
        return opened[-1]

    asked = iter(range(12))
    with pytest.raises(CancelledError, match="no verdict was kept"):
        prove(
            spec,
            feeds,
            [made(monkeypatch, made_engines.row(keep)), OPENVINO],
            cancelled=lambda: next(asked, None) is None,
        )
    assert all(each.closed for each in opened)


def test_all_engines_are_closed_at_the_end(
    spec: ModelSpec, feeds: list[dict[str, Array]], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[made_engines.ChangedEngine] = []

    def keep(engine: Engine) -> Engine:
        opened.append(made_engines.ChangedEngine(engine))
        return opened[-1]

    prove(spec, feeds, [made(monkeypatch, made_engines.row(keep))])
    assert [each.closed for each in opened] == [True]


# Auto never takes them


def test_auto_takes_neither_the_perturbed_nor_the_slowed_one(
    spec: ModelSpec, feeds: list[dict[str, Array]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BACKENDS, "perturbed", made_engines.perturbed(tmp_path, 0.3))
    monkeypatch.setitem(BACKENDS, "slowed", made_engines.slowed(40))
    wrong = [Candidate(engine=name, precision="fp32") for name in ("perturbed", "slowed")]
    verdicts.keep(spec, prove(spec, feeds, [*wrong, ONNXRUNTIME, OPENVINO]))
    choice = choose(spec)
    assert choice.proven
    assert choice.engine in ("openvino", "onnxruntime")
    with open_engine(spec, engine="perturbed", precision="fp32") as engine:
        assert "as asked, although it is off: agrees on 0." in engine.why


# Built while another runs


def test_what_is_faster_is_handed_over_open_and_kept(
    spec: ModelSpec, feeds: list[dict[str, Array]], monkeypatch: pytest.MonkeyPatch
) -> None:
    paced(monkeypatch, openvino=300)
    lines: list[str] = []
    engine = promote(spec, OPENVINO, feeds, incumbent=ONNXRUNTIME, told=lines.append)
    assert engine is not None
    with engine, engine.session() as session:
        assert session.infer(feeds[0])["mask"].shape == (1, 12, 16)
        assert engine.why.startswith("segmenter: openvino fp32, built and proven while onnxruntime fp32 ran: 300")
    assert choose(spec).engine == "openvino"
    assert any("is proven: 300 frames per second, 3.00 x onnxruntime fp32" in line for line in lines)


@pytest.mark.parametrize("fps", [50, 101])
def test_what_is_not_faster_is_not_handed_over(
    fps: float, spec: ModelSpec, feeds: list[dict[str, Array]], monkeypatch: pytest.MonkeyPatch
) -> None:
    paced(monkeypatch, openvino=fps)
    lines: list[str] = []
    assert promote(spec, OPENVINO, feeds, incumbent=ONNXRUNTIME, told=lines.append) is None
    assert len(verdicts.read(spec)) == 1
    assert any("is slower" in line or "would not be faster" in line for line in lines)


def test_what_is_faster_takes_over_though_its_verdict_cannot_be_kept(
    spec: ModelSpec, feeds: list[dict[str, Array]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no folder").touch()
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "no folder"))
    paced(monkeypatch, openvino=300)
    lines: list[str] = []
    engine = promote(spec, OPENVINO, feeds, incumbent=ONNXRUNTIME, told=lines.append)
    assert engine is not None
    engine.close()
    assert any("the verdict on openvino fp32 holds for this run only: cannot lock" in line for line in lines)


def test_what_is_off_is_not_handed_over_and_said(
    spec: ModelSpec, feeds: list[dict[str, Array]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = made(monkeypatch, made_engines.perturbed(tmp_path, 0.3))
    lines: list[str] = []
    assert promote(spec, candidate, feeds, incumbent=OPENVINO, told=lines.append) is None
    assert only(list(verdicts.read(spec))).verdict == "off"
    assert "is off: agrees on" in lines[-1]


@pytest.mark.parametrize("error", [CacheError("the disk is full"), DeviceError("no memory on the GPU")])
def test_what_fails_by_what_passes_is_tried_again_another_day(
    error: EngineError, spec: ModelSpec, feeds: list[dict[str, Array]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(engine: Engine) -> Engine:
        engine.close()
        raise error

    monkeypatch.setattr(contest, "race", lambda *_, **__: pytest.fail("there is nothing to measure"))
    candidate = made(monkeypatch, made_engines.row(fail))
    lines: list[str] = []
    assert promote(spec, candidate, feeds, incumbent=OPENVINO, told=lines.append) is None
    assert verdicts.look(spec) == verdicts.Verdicts()
    assert lines[-1] == f"segmenter: {candidate} is not taken this time: {error}"


def test_a_promotion_that_is_cancelled_keeps_nothing(spec: ModelSpec, feeds: list[dict[str, Array]]) -> None:
    with pytest.raises(CancelledError):
        promote(spec, OPENVINO, feeds, incumbent=ONNXRUNTIME, cancelled=lambda: True)
    assert verdicts.look(spec) == verdicts.Verdicts()


def test_precisions_that_are_known_are_those_of_the_rows() -> None:
    known: set[Precision] = {"fp32", "fp16", "bf16", "int8"}
    for row in BACKENDS.values():
        assert set(row.precisions) <= known
        assert row.precisions[0] == "fp32"
