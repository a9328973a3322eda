"""A file's tensors held against a description."""

from dataclasses import replace
from pathlib import Path

import pytest
import tiny_models

from headrace.engines.errors import SpecMismatchError
from headrace.engines.ports import FoundTensor, match_ports
from headrace.models.spec import ModelSpec

FRAME = FoundTensor(name="frame", shape=(None, 4, 6, 3), dtype="uint8")
MASK = FoundTensor(name="mask", shape=(None, 4, 6), dtype="uint8")


@pytest.fixture
def spec() -> ModelSpec:
    return tiny_models.described(
        Path("net.onnx"),
        (tiny_models.tensor("frame", (None, 4, 6, 3), "uint8", "BHWC"),),
        (tiny_models.tensor("mask", (None, 4, 6), "uint8", "BHW"),),
    )


def test_what_fits_is_taken_as_described(spec: ModelSpec) -> None:
    ports = match_ports(spec, [FRAME], [MASK])
    assert (ports.inputs, ports.outputs, ports.state) == (spec.inputs, spec.outputs, ())


def test_a_description_may_fix_what_the_file_leaves_free(spec: ModelSpec) -> None:
    ports = match_ports(spec, [replace(FRAME, shape=(None, None, None, 3))], [MASK])
    assert ports.inputs[0].shape == (None, 4, 6, 3)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (replace(FRAME, name="image"), "describes input 'frame'; the file has: image uint8 any×4×6×3"),
        (replace(FRAME, dtype="float32"), "says input 'frame' is uint8 any×4×6×3; the file has float32"),
        (replace(FRAME, shape=(None, 3, 4, 6)), "the file has uint8 any×3×4×6"),
        (replace(FRAME, shape=(1, 4, 6, 3)), "is uint8 any×4×6×3; the file has uint8 1×4×6×3"),
        (replace(FRAME, shape=(None, 4, 6)), "the file has uint8 any×4×6"),
    ],
)
def test_both_sides_of_a_contradiction_are_named(spec: ModelSpec, found: FoundTensor, text: str) -> None:
    with pytest.raises(SpecMismatchError) as caught:
        match_ports(spec, [found], [MASK])
    assert str(caught.value).startswith("net.onnx: its description ('net') ")
    assert text in str(caught.value)


def test_a_missing_output_is_named(spec: ModelSpec) -> None:
    with pytest.raises(SpecMismatchError, match=r"describes output 'mask'; the file has: logits float32"):
        match_ports(spec, [FRAME], [FoundTensor(name="logits", shape=(None, 5, 4, 6), dtype="float32")])


def test_an_output_more_is_left_alone(spec: ModelSpec) -> None:
    ports = match_ports(spec, [FRAME], [MASK, FoundTensor(name="aux", shape=(None, 5), dtype="float64")])
    assert [each.name for each in ports.outputs] == ["mask"]


def test_state_is_told_by_its_name(spec: ModelSpec) -> None:
    hidden = FoundTensor(name="hidden", shape=(None, 8, 2, 3), dtype="float32")
    ports = match_ports(spec, [FRAME, hidden], [MASK, replace(hidden, name="next_hidden")])
    assert ports.state == (tiny_models.tensor("hidden", (None, 8, 2, 3), "float32", "????"),)
    assert ports.inputs == spec.inputs
    with pytest.raises(SpecMismatchError, match=r"does not describe input 'hidden'.*output 'next_hidden'"):
        match_ports(spec, [FRAME, hidden], [MASK])


def test_state_that_no_array_can_hold_is_refused(spec: ModelSpec) -> None:
    hidden = FoundTensor(name="hidden", shape=(None, 8), dtype="bfloat16")
    with pytest.raises(SpecMismatchError, match=r"state hidden bfloat16 any×8: got dtype bfloat16, allowed: uint8"):
        match_ports(spec, [FRAME, hidden], [MASK, replace(hidden, name="next_hidden")])
