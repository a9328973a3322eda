"""The tensors that a network's file has, held against its description; state is told by its name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast, get_args

from headrace.engines.errors import SpecMismatchError
from headrace.models.spec import Dtype, ModelSpec, TensorSpec

NEXT = "next_"
"""An input `NAME` and an output `next_NAME` are one state, which a session carries from call to call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTensor:
    """One input or output as the file has it."""

    name: str
    shape: tuple[int | None, ...]
    """None where the length is free."""
    dtype: str
    """As numpy spells it."""

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} {shape_text(self.shape)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What a caller feeds and gets, and what a session carries by itself."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    state: tuple[TensorSpec, ...]
    """Inputs whose next value the network gives as output `next_NAME`; zeros at first."""


def match_ports(spec: ModelSpec, inputs: Sequence[FoundTensor], outputs: Sequence[FoundTensor]) -> Ports:
    """Hold the tensors of a file against a description.

    The description may fix a length that the file leaves free; it may not promise what the file lacks.

    Raises:
        SpecMismatchError: a tensor is missing, unexplained, or of another dtype or shape; both are named.
    """
    described = {each.name for each in spec.inputs}
    results = {each.name for each in outputs}
    state = [each for each in inputs if each.name not in described and NEXT + each.name in results]
    carried = {each.name for each in state} | {NEXT + each.name for each in state}
    return Ports(
        inputs=_matched(spec, "input", spec.inputs, [each for each in inputs if each.name not in carried]),
        outputs=_matched(spec, "output", spec.outputs, [each for each in outputs if each.name not in carried]),
        state=tuple(_state(spec, each) for each in state),
    )


def shape_text(shape: Sequence[int | None]) -> str:
    """(2, 384, 640, 3) as "2×384×640×3", a free length as "any"."""
    return "×".join("any" if length is None else str(length) for length in shape) or "scalar"


def _matched(
    spec: ModelSpec, kind: str, described: Sequence[TensorSpec], found: Sequence[FoundTensor]
) -> tuple[TensorSpec, ...]:
    by_name = {each.name: each for each in found}
    listed = ", ".join(str(each) for each in found) or "none"
    for name in (each.name for each in described):
        if name not in by_name:
            raise SpecMismatchError(_message(spec, f"describes {kind} {name!r}; the file has: {listed}"))
    if kind == "input" and (extra := sorted(by_name.keys() - {each.name for each in described})):
        remedy = f"describe it, or give the network an output {NEXT + extra[0]!r} if it is state"
        raise SpecMismatchError(_message(spec, f"does not describe input {extra[0]!r} of the file: {remedy}"))
    for want in described:
        _check_tensor(spec, kind, want, by_name[want.name])
    return tuple(described)


def _check_tensor(spec: ModelSpec, kind: str, want: TensorSpec, got: FoundTensor) -> None:
    fits = len(want.shape) == len(got.shape) and all(
        has is None or has == length for length, has in zip(want.shape, got.shape, strict=True)
    )
    if want.dtype != got.dtype or not fits:
        wanted = f"{want.dtype} {shape_text(want.shape)}"
        found = f"{got.dtype} {shape_text(got.shape)}"
        raise SpecMismatchError(_message(spec, f"says {kind} {want.name!r} is {wanted}; the file has {found}"))


def _state(spec: ModelSpec, found: FoundTensor) -> TensorSpec:
    if found.dtype not in get_args(Dtype):
        allowed = ", ".join(get_args(Dtype))
        raise SpecMismatchError(f"{spec.weights.file}: state {found}: got dtype {found.dtype}, allowed: {allowed}")
    layout = "?" * len(found.shape)  # a file has no axis letters
    return TensorSpec(name=found.name, shape=found.shape, dtype=cast(Dtype, found.dtype), layout=layout)


def _message(spec: ModelSpec, problem: str) -> str:
    return f"{spec.weights.file}: its description ({spec.name!r}) {problem}"
