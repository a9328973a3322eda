"""Proofs are kept beside the cache and hold as long as network, library, machine and file are the same."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import tiny_models
from contracts import in_threads
from made_proofs import proof

from headrace.engines import machine, verdicts
from headrace.engines.candidate import Candidate
from headrace.models.spec import ModelSpec


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    return tiny_models.segmenter(tmp_path)


def test_what_is_kept_is_read_back(spec: ModelSpec) -> None:
    candidate = Candidate(engine="tensorrt", precision="fp16", options=(("level", 5), ("tf32", False)))
    proofs = [proof(spec, "openvino"), replace(proof(spec, "tensorrt", "fp16"), candidate=candidate)]
    assert verdicts.read(spec) == ()
    verdicts.keep(spec, proofs)
    assert verdicts.read(spec) == tuple(proofs)
    assert verdicts.look(spec).stale == ()


def test_a_new_proof_replaces_that_of_the_same_candidate(spec: ModelSpec) -> None:
    verdicts.keep(spec, [proof(spec, "openvino", ratio=1.0), proof(spec, "onnxruntime", ratio=1.0)])
    newer = proof(spec, "openvino", ratio=2.0)
    verdicts.keep(spec, [newer])
    assert verdicts.read(spec) == (newer, proof(spec, "onnxruntime", ratio=1.0))


def test_failed_ones_are_kept_too(spec: ModelSpec) -> None:
    failed = proof(spec, "openvino", ratio=None, verdict="failed", ran=None, agreement=None, reason="no plan")
    verdicts.keep(spec, [failed])
    assert verdicts.read(spec) == (failed,)
    assert not failed.usable


def test_what_is_off_on_any_footage_is_not_proven_by_other_footage(spec: ModelSpec) -> None:
    yard = proof(spec, "openvino", "int8", verdict="off", source="yard.mp4", reason="agrees on 0.91", ratio=None)
    drawn = proof(spec, "openvino", "int8", source="the bundled scene", made_at="2026-11-21T12:00:00+00:00")
    for order in ([yard, drawn], [drawn, yard]):
        verdicts.keep(spec, order)
        assert verdicts.read(spec) == (yard,)
        assert verdicts.overruled(spec, [drawn]) == [
            "openvino int8 is not taken: on yard.mp4 it was off: agrees on 0.91"
        ]
    there = proof(spec, "openvino", "int8", source="yard.mp4", made_at="2026-11-22T12:00:00+00:00")
    verdicts.keep(spec, [there])
    assert verdicts.read(spec) == (there,), "proven where it was off"
    assert verdicts.overruled(spec, [drawn]) == []


def test_what_failed_since_is_proven_no_more(spec: ModelSpec) -> None:
    verdicts.keep(spec, [proof(spec, "openvino"), proof(spec, "openvino", "bf16"), proof(spec, "onnxruntime")])
    verdicts.disprove(spec, "openvino", "bf16", "it failed")
    assert [(str(each.candidate), each.verdict, each.reason) for each in verdicts.read(spec)] == [
        ("openvino fp32", "proven", "measured by hand"),
        ("openvino bf16", "failed", "it failed"),
        ("onnxruntime fp32", "proven", "measured by hand"),
    ]
    verdicts.disprove(spec, "tensorrt", "fp16", "it failed")  # of which nothing is kept
    assert len(verdicts.read(spec)) == 3


def test_another_version_of_the_library_makes_it_stale(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts.keep(spec, [proof(spec, "openvino", version="2026.3"), proof(spec, "onnxruntime")])
    monkeypatch.setattr(verdicts, "version", lambda name: {"openvino": "2026.4"}.get(name, "1.31.1"))
    ((stale, change),) = verdicts.look(spec).stale
    assert stale.candidate.engine == "openvino"
    assert change == "proven with openvino 2026.3, here is 2026.4"
    assert [each.candidate.engine for each in verdicts.read(spec)] == ["onnxruntime"]


def test_a_library_that_is_gone_makes_it_stale(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts.keep(spec, [proof(spec, version="2026.3")])
    monkeypatch.setattr(verdicts, "version", lambda name: "")
    ((_, change),) = verdicts.look(spec).stale
    assert change == "proven with openvino 2026.3, here is none"


def test_other_cores_make_it_stale(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cpu", lambda: "Some CPU, 8 cores")
    verdicts.keep(spec, [proof(spec)])
    assert len(verdicts.read(spec)) == 1
    monkeypatch.setattr(machine, "cpu", lambda: "Some CPU, 4 cores")
    ((_, change),) = verdicts.look(spec).stale
    assert change == "proven on Some CPU, 8 cores, here is Some CPU, 4 cores"


def test_another_gpu_makes_stale_what_ran_on_it_alone(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpu", lambda: "GPU A, CUDA 13.0")
    verdicts.keep(spec, [proof(spec, "openvino"), proof(spec, "torch:cuda")])
    monkeypatch.setattr(machine, "gpu", lambda: "GPU B, CUDA 13.0")
    ((stale, change),) = verdicts.look(spec).stale
    assert stale.candidate.engine == "torch:cuda"
    assert "GPU A" in change
    assert "GPU B" in change


def test_other_weights_are_another_network(spec: ModelSpec, tmp_path: Path) -> None:
    verdicts.keep(spec, [proof(spec)])
    before = verdicts.verdicts_file(spec)
    tiny_models.segmenter(tmp_path, classes=4)  # the same path
    assert verdicts.verdicts_file(spec) != before
    assert verdicts.look(spec) == verdicts.Verdicts()


def test_proofs_of_other_weights_that_came_into_the_file_do_not_count(spec: ModelSpec) -> None:
    verdicts.keep(spec, [proof(spec, digest="0" * 64)])
    ((_, change),) = verdicts.look(spec).stale
    assert change == "proven with other weights"


def test_another_variant_makes_it_stale(spec: ModelSpec, tmp_path: Path) -> None:
    file = tmp_path / "int8.onnx"
    file.write_bytes(b"one")
    verdicts.keep(spec, [proof(spec, precision="int8", file=str(file), file_digest="of another")])
    ((_, change),) = verdicts.look(spec).stale
    assert change == "proven with another int8 file"
    file.unlink()
    assert len(verdicts.look(spec).stale) == 1


def test_speeds_against_different_references_do_not_mix(spec: ModelSpec) -> None:
    """Without onnxruntime all is held against openvino; what is proven once it is here cannot be compared with that."""
    before = {"reference": "openvino 2026.4 fp32", "made_at": "2026-11-20T12:00:00+00:00"}
    verdicts.keep(spec, [proof(spec, "openvino", ratio=1.0, **before)])
    assert len(verdicts.read(spec)) == 1
    verdicts.keep(spec, [proof(spec, "onnxruntime", ratio=1.0, made_at="2026-11-20T13:00:00+00:00")])
    assert [each.candidate.engine for each in verdicts.read(spec)] == ["onnxruntime"]
    ((stale, change),) = verdicts.look(spec).stale
    assert stale.candidate.engine == "openvino"
    assert change == "proven against openvino 2026.4 fp32, what is newer against onnxruntime 1.31.1 fp32"


def test_what_is_stale_itself_makes_nothing_stale(spec: ModelSpec) -> None:
    gone = proof(spec, "onnxruntime", version="0", reference="another", made_at="2026-11-20T13:00:00+00:00")
    verdicts.keep(spec, [proof(spec, "openvino"), gone])
    assert [each.candidate.engine for each in verdicts.read(spec)] == ["openvino"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("verdict", "splendid"),
        ("ratio", "fast"),
        ("ratio", None),
        ("fps", None),
        ("agreement", []),
        ("candidate", {"engine": "openvino", "precision": "fp77", "options": []}),
        ("candidate", {"engine": "openvino", "precision": "fp32", "options": [["level", [1]]]}),
    ],
)
def test_values_that_no_proof_has_are_damage(field: str, value: object, spec: ModelSpec) -> None:
    verdicts.keep(spec, [proof(spec)])
    path = verdicts.verdicts_file(spec)
    record = json.loads(path.read_text())
    record["proofs"][0][field] = value
    path.write_text(json.dumps(record))
    assert verdicts.look(spec).holding == ()
    assert "damaged" in verdicts.look(spec).damage
    verdicts.keep(spec, [proof(spec)])
    assert len(verdicts.read(spec)) == 1


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"format": 1}',
        b'{"format": 1, "proofs": [{}]}',
        b'{"format": 1, "proofs": [{"candidate": {"engine": "openvino", "precision": "fp32", "options": []}}]}',
        b'{"format": 1, "proofs": [3]}',
        b'{"format": 1, "proofs": {"a": 1}}',
    ],
)
def test_a_damaged_file_is_as_if_it_were_absent_and_said(damage: bytes, spec: ModelSpec) -> None:
    path = verdicts.verdicts_file(spec)
    path.parent.mkdir(parents=True)
    path.write_bytes(damage)
    found = verdicts.look(spec)
    assert found.holding == ()
    assert str(path) in found.damage
    assert "damaged" in found.damage
    verdicts.keep(spec, [proof(spec)])
    assert verdicts.look(spec).damage == ""
    assert len(verdicts.read(spec)) == 1


def test_a_file_of_another_version_of_ours_is_said(spec: ModelSpec) -> None:
    verdicts.keep(spec, [proof(spec)])
    path = verdicts.verdicts_file(spec)
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 999}))
    assert "another version of headrace" in verdicts.look(spec).damage


def test_an_engine_that_there_is_no_more_is_stale(spec: ModelSpec) -> None:
    verdicts.keep(spec, [replace(proof(spec), candidate=Candidate(engine="gone", precision="fp32"))])
    ((_, change),) = verdicts.look(spec).stale
    assert "no engine gone" in change


def test_several_who_keep_at_once_lose_nothing(spec: ModelSpec) -> None:
    engines = ["openvino", "onnxruntime", "torch", "torch:compile"]
    in_threads([partial(verdicts.keep, spec, [proof(spec, engine, version="1")]) for engine in engines])
    kept = [each for each, _ in verdicts.look(spec).stale]
    assert {each.candidate.engine for each in kept} == set(engines)
