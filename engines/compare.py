"""How far an engine's results are from the reference's, and how far they may be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from headrace.engines.base import Precision
from headrace.engines.inputs import Array
from headrace.engines.ports import shape_text
from headrace.models.spec import TensorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """What a precision may cost."""

    agreement: float
    """Least share of class ids that are the reference's."""
    error: float
    """Greatest difference of a score, as a share of the reference's greatest score."""
    top1: float
    """Least share of results whose best class is the reference's."""


TOLERANCES: dict[Precision, Tolerance] = {
    "fp32": Tolerance(agreement=0.999, error=0.001, top1=0.99),
    "fp16": Tolerance(agreement=0.995, error=0.01, top1=0.98),
    "bf16": Tolerance(agreement=0.995, error=0.02, top1=0.95),
    "int8": Tolerance(agreement=0.99, error=0.1, top1=0.95),
}
"""Set from what the bundled networks give (`benchmarks/precisions.py`), with room for others, so that what is broken
falls out.

fp32: sums in another order, or inputs rounded to 10 bits (TF32), turn near ties only. fp16 has 10 bits of mantissa,
bf16 has 7. int8 loses the street network no mean IU at the agreement that it has there, well above this bound.
"""


@dataclass(slots=True, kw_only=True)
class Comparison:
    """What was found of all outputs of all frames."""

    agreement: float | None = None
    max_error: float | None = None
    mean_error: float | None = None
    top1: float | None = None
    greatest: float = 0.0
    """The reference's greatest score, either sign."""
    flaw: str = ""
    """What no tolerance excuses: a shape, a dtype, a value that is no number."""
    _errors: list[float] = field(default_factory=list)

    def verdict(self, precision: Precision) -> str:
        """Why it is off, with the figure and the one that is allowed; empty where it is right."""
        allowed = TOLERANCES[precision]
        if self.flaw:
            return self.flaw
        if self.agreement is not None and self.agreement < allowed.agreement:
            return f"agrees on {self.agreement:.4f} of the pixels; {precision} must on {allowed.agreement:g}"
        if self.max_error is not None and self.max_error > allowed.error * self.greatest:
            limit = allowed.error * self.greatest
            return f"a score is {self.max_error:.2g} off; {precision} may be {limit:.2g} off"
        if self.top1 is not None and self.top1 < allowed.top1:
            return f"names the same class for {self.top1:.3f} of the inputs; {precision} must for {allowed.top1:g}"
        return ""

    def __str__(self) -> str:
        if self.flaw:
            return self.flaw
        if self.agreement is not None:
            return f"agrees on {self.agreement:.4f} of the pixels"
        if self.top1 is not None:
            return f"names the same class for {self.top1:.3f} of the inputs, scores at most {self.max_error:.2g} off"
        return "nothing to compare" if self.max_error is None else f"values at most {self.max_error:.2g} off"


def compare(
    outputs: Sequence[TensorSpec], wanted: Sequence[Mapping[str, Array]], found: Sequence[Mapping[str, Array]]
) -> Comparison:
    """Hold results against the reference's, frame by frame; of several outputs the worst counts.

    Args:
        outputs: class ids where the dtype is of integers, scores where it is of floats.
        wanted, found: arrays by output name, for the same frames in the same order.
    """
    result = Comparison()
    for spec in outputs:
        pairs = [(want[spec.name], got[spec.name]) for want, got in zip(wanted, found, strict=True)]
        result.flaw = result.flaw or next(filter(None, (_flaw(spec, want, got) for want, got in pairs)), "")
        if result.flaw:
            return result
        want, got = (np.concatenate([np.atleast_1d(pair[side]).ravel() for pair in pairs]) for side in (0, 1))
        if np.issubdtype(want.dtype, np.integer):
            result.agreement = min(1.0 if result.agreement is None else result.agreement, float((want == got).mean()))
        else:
            _add_scores(result, want.astype(np.float64), got.astype(np.float64))
            _add_top1(result, spec, pairs)
    return result


def _flaw(spec: TensorSpec, want: Array, got: Array) -> str:
    if got.shape != want.shape:
        return f"output {spec.name!r} has shape {shape_text(got.shape)}, the reference's {shape_text(want.shape)}"
    if got.dtype != want.dtype:
        return f"output {spec.name!r} is {got.dtype}, the reference's {want.dtype}"
    if np.issubdtype(want.dtype, np.floating):
        lost = int((np.isfinite(want) & ~np.isfinite(got)).sum())
        if lost:
            return f"output {spec.name!r} has {lost} values that are no numbers where the reference has some"
    return ""


def _add_scores(result: Comparison, want: Array, got: Array) -> None:
    both = np.isfinite(want) & np.isfinite(got)
    errors = np.abs(want[both] - got[both])
    if errors.size:
        result.max_error = max(result.max_error or 0.0, float(errors.max()))
        result._errors.append(float(errors.mean()))
        result.mean_error = sum(result._errors) / len(result._errors)
        result.greatest = max(result.greatest, float(np.abs(want[both]).max()))


def _add_top1(result: Comparison, spec: TensorSpec, pairs: Sequence[tuple[Array, Array]]) -> None:
    axis = spec.layout.find("C")
    if axis < 0 or spec.shape[axis] == 1:
        return
    same = np.concatenate([(want.argmax(axis) == got.argmax(axis)).ravel() for want, got in pairs])
    result.top1 = min(1.0 if result.top1 is None else result.top1, float(same.mean()))
