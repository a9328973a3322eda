"""Which engine runs a network, and what is said about it."""

from dataclasses import replace
from pathlib import Path

import made_engines
import pytest
import tiny_models
from made_proofs import proof

from headrace.engines import PrecisionError, UnknownEngineError, machine, open_engine, verdicts
from headrace.engines.base import Engine
from headrace.engines.candidate import Candidate
from headrace.engines.catalog import BACKENDS, version
from headrace.engines.choice import choose
from headrace.engines.errors import NotBuiltError
from headrace.models import spec as bundled
from headrace.models.spec import ModelSpec


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    return tiny_models.segmenter(tmp_path)


def broken(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """An engine that does not open."""

    def fail(engine: Engine) -> Engine:
        engine.close()
        raise NotBuiltError("its plan is gone")

    monkeypatch.setitem(BACKENDS, name, made_engines.row(fail))


def test_nothing_proven_is_openvino_and_says_how_to_find_the_fastest() -> None:
    choice = choose(bundled("street"))
    assert (choice.engine, choice.precision, choice.proven) == ("openvino", None, False)
    assert choice.why == ("street: openvino; nothing is proven here yet: `headrace prove street` finds the fastest")


def test_what_opens_says_its_precision() -> None:
    with open_engine("street") as engine:
        assert engine.why == (
            "street: openvino fp32; nothing is proven here yet: `headrace prove street` finds the fastest"
        )


def test_a_network_from_outside_is_called_by_its_path(spec: ModelSpec) -> None:
    assert f"`headrace prove {spec.weights.file}`" in choose(spec).why


def test_the_fastest_proven_one_is_taken_with_its_figures(spec: ModelSpec) -> None:
    verdicts.keep(
        spec,
        [
            proof(spec, "onnxruntime", verdict="reference", ratio=1.0, agreement=1.0),
            proof(spec, "openvino", "fp32", ratio=0.95),
            proof(spec, "openvino", "bf16", ratio=1.8),
            proof(spec, "openvino", "int8", ratio=2.15, agreement=0.987),
        ],
    )
    choice = choose(spec)
    assert (choice.engine, choice.precision) == ("openvino", "int8")
    assert choice.why == (
        "segmenter: openvino int8, the fastest of 4 proven here: 215 frames per second, "
        "2.1 x onnxruntime fp32, agrees on 0.9870 of the pixels"
    )
    assert [str(each) for each in choice.others] == ["openvino bf16", "onnxruntime fp32", "openvino fp32"]


def test_of_equally_fast_ones_the_most_exact_is_taken(spec: ModelSpec) -> None:
    verdicts.keep(
        spec,
        [
            proof(spec, "openvino", "bf16", ratio=1.98, agreement=0.9994),
            proof(spec, "openvino", "int8", ratio=2.0, agreement=0.987),
        ],
    )
    assert choose(spec).precision == "bf16"


@pytest.mark.parametrize("verdict", ["off", "slower", "failed"])
def test_what_is_off_slower_or_failed_is_not_taken(verdict: str, spec: ModelSpec) -> None:
    bad = replace(proof(spec, "openvino", "int8", ratio=9.0), verdict=verdict)
    verdicts.keep(spec, [proof(spec, "onnxruntime", ratio=1.0), bad])
    assert choose(spec).engine == "onnxruntime"
    verdicts.keep(spec, [replace(proof(spec, "onnxruntime"), verdict=verdict)])
    choice = choose(spec)
    assert (choice.engine, choice.precision) == ("openvino", None)
    assert "nothing that was tried here is proven: `headrace prove" in choice.why


def test_what_did_not_compute_in_the_precision_that_it_is_named_for_is_not_taken(spec: ModelSpec) -> None:
    verdicts.keep(spec, [proof(spec, ratio=1.0), proof(spec, "openvino", "fp16", ratio=1.5, ran="fp32")])
    assert choose(spec).precision == "fp32"


def test_a_stale_verdict_is_not_taken_and_says_so() -> None:
    street = bundled("street")
    verdicts.keep(street, [proof(street, "openvino", "bf16", ratio=2.0, version="2026.3")])
    here = version("openvino")
    choice = choose(street)
    assert (choice.engine, choice.precision) == ("openvino", None)
    assert choice.why == (
        f"street: openvino; openvino bf16 was proven with openvino 2026.3, here is {here}: run `headrace prove street`"
    )
    verdicts.keep(street, [proof(street, "onnxruntime", verdict="reference", ratio=3.0)])
    assert "2026.3" not in choose(street).why  # what runs is faster than that ever was
    verdicts.keep(street, [proof(street, "onnxruntime", verdict="reference", ratio=1.0)])
    choice = choose(street)
    assert choice.engine == "onnxruntime"
    assert choice.why.endswith(
        f"(openvino bf16 was proven with openvino 2026.3, here is {here}: run `headrace prove street`)"
    )


def test_what_was_not_proven_then_is_not_missed_now(spec: ModelSpec) -> None:
    verdicts.keep(spec, [proof(spec, "openvino", "int8", ratio=2.0, verdict="off", version="2026.3")])
    assert "nothing is proven here yet" in choose(spec).why


def test_damaged_verdicts_are_said_and_the_network_runs(spec: ModelSpec) -> None:
    path = verdicts.verdicts_file(spec)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"{")
    with open_engine(spec) as engine:
        assert engine.info.backend == "openvino"
        assert f"{path} is damaged" in engine.why


def test_an_engine_that_is_named_takes_its_fastest_proven_precision(spec: ModelSpec) -> None:
    verdicts.keep(
        spec,
        [
            proof(spec, "onnxruntime", verdict="reference", ratio=5.0),
            proof(spec, "openvino", "fp32", ratio=1.0),
            proof(spec, "openvino", "bf16", ratio=1.9),
        ],
    )
    choice = choose(spec, engine="openvino")
    assert (choice.engine, choice.precision) == ("openvino", "bf16")
    assert choose(spec, engine="torch").precision is None


def test_a_precision_that_is_named_is_kept_to(spec: ModelSpec) -> None:
    verdicts.keep(
        spec, [proof(spec, "onnxruntime", verdict="reference", ratio=5.0), proof(spec, "openvino", "bf16", ratio=1.0)]
    )
    choice = choose(spec, precision="bf16")
    assert (choice.engine, choice.precision) == ("openvino", "bf16")
    assert choose(spec, precision="int8").precision == "int8"


def test_what_is_asked_for_is_taken_and_the_line_warns(spec: ModelSpec) -> None:
    off = proof(spec, verdict="off", reason="agrees on 0.5000 of the pixels; fp32 must on 0.999")
    verdicts.keep(spec, [off])
    with open_engine(spec, engine="openvino", precision="fp32") as engine:
        assert engine.why == (
            "segmenter: openvino fp32, as asked, although it is off: "
            "agrees on 0.5000 of the pixels; fp32 must on 0.999"
        )
    assert choose(spec, engine="onnxruntime", precision="fp32").why == (
        "segmenter: onnxruntime fp32, as asked, not proven here"
    )


def test_what_is_asked_for_is_opened_as_it_was_built(spec: ModelSpec) -> None:
    """Else TensorRT would build it a second time, with other options."""
    candidate = Candidate(engine="tensorrt", precision="fp16", options=(("level", 5),))
    verdicts.keep(spec, [replace(proof(spec, "tensorrt", "fp16"), candidate=candidate)])
    assert choose(spec, engine="tensorrt", precision="fp16").options == (("level", 5),)
    assert choose(spec, engine="tensorrt").options == (("level", 5),)
    assert choose(spec).options == (("level", 5),)


def test_one_that_does_not_open_gives_way_to_the_next_proven_one(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch, "torch:compile")
    verdicts.keep(
        spec,
        [
            proof(spec, "torch:compile", ratio=3.0),
            proof(spec, "onnxruntime", verdict="reference", ratio=2.0),
            proof(spec, "openvino", ratio=1.0),
        ],
    )
    with open_engine(spec) as engine:
        assert engine.info.backend == "onnxruntime"
        assert engine.why == ("segmenter: onnxruntime fp32; torch:compile fp32 did not open: its plan is gone")


def test_where_no_proven_one_opens_it_is_what_runs_where_nothing_is_proven(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch, "torch:compile")
    verdicts.keep(spec, [proof(spec, "torch:compile", ratio=3.0)])
    with open_engine(spec) as engine:
        assert engine.info.backend == "openvino"
        assert "torch:compile fp32 did not open" in engine.why


def test_an_engine_that_is_named_and_does_not_open_is_an_error(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch, "torch:compile")
    with pytest.raises(NotBuiltError):
        open_engine(spec, engine="torch:compile")


def test_names_are_checked(spec: ModelSpec) -> None:
    with pytest.raises(UnknownEngineError, match="'tensorflow' is not known"):
        choose(spec, engine="tensorflow")
    with pytest.raises(PrecisionError, match="'fp8' is not known"):
        choose(spec, precision="fp8")  # type: ignore[arg-type]


def test_without_a_gpu_nothing_better_is_promised(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, row in BACKENDS.items():
        if row.on == "gpu":
            monkeypatch.setitem(BACKENDS, name, replace(row, trouble=lambda: "no GPU"))
    assert choose(spec).better == ()


def test_with_a_gpu_what_its_libraries_could_run_is_better_until_it_is_judged(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, row in BACKENDS.items():
        if row.on == "gpu":
            trouble = None if name == "tensorrt" else "not here"
            # A package that is installed everywhere stands for TensorRT.
            monkeypatch.setitem(
                BACKENDS, name, replace(row, packages=("numpy",), trouble=lambda trouble=trouble: trouble)
            )
    monkeypatch.setattr(machine, "gpu", lambda: "Some GPU, CUDA 13.0")
    half, full = (Candidate(engine="tensorrt", precision=precision) for precision in ("fp16", "fp32"))
    assert choose(spec).better == (half, full)
    verdicts.keep(spec, [proof(spec, "tensorrt", "fp16", ratio=8.0)])
    assert choose(spec).better == ()
    verdicts.keep(spec, [proof(spec, "tensorrt", "fp16", verdict="off")])
    assert choose(spec).better == (full,)
    assert choose(spec, engine="openvino").better == ()


def test_what_cannot_be_broken_off_is_not_built_beside_a_pipeline(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, row in BACKENDS.items():
        if row.on == "gpu":
            monkeypatch.setitem(BACKENDS, name, replace(row, packages=("numpy",), trouble=lambda: None))
    monkeypatch.setattr(machine, "gpu", lambda: "Some GPU, CUDA 13.0")
    engines = {each.engine for each in choose(spec).better}
    assert engines == {"tensorrt", "onnxruntime:cuda", "torch:cuda"}
