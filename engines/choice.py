"""Which engine runs a network here and why, in one line; the fastest proven one, if nobody names another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from headrace.engines import verdicts
from headrace.engines.base import Engine, Precision
from headrace.engines.candidate import Candidate, Proof
from headrace.engines.catalog import BACKENDS, check_names, compile_engine, default_engine, version
from headrace.engines.errors import CancelledError, EngineError, PrecisionError
from headrace.engines.network import called
from headrace.engines.variants import variant
from headrace.engines.verdicts import Verdicts
from headrace.models.spec import ModelSpec

Asked = Precision | Literal["auto"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is taken, and what would be next."""

    engine: str
    precision: Precision | None
    """None: as the network's own file is."""
    why: str
    """One line for people; begins with the network's name."""
    others: tuple[tuple[str, Precision | None], ...] = ()
    """What is taken where this does not open, best first."""
    better: tuple[Candidate, ...] = ()
    """What this machine's GPU could run and nobody has built and proven yet, most promising first."""


def choose(spec: ModelSpec, *, engine: str = "auto", precision: Asked = "auto") -> Choice:
    """Take the fastest proven engine of those that are allowed; say which and why. Nothing is compiled.

    Raises:
        UnknownEngineError, PrecisionError: there is no such engine or precision.
        MissingBackendError: no engine works here.
        BuildError: the network's file is missing.
    """
    check_names(engine, precision)
    kept = verdicts.look(spec)
    allowed = [
        proof
        for proof in kept.holding
        if engine in ("auto", proof.candidate.engine) and precision in ("auto", proof.candidate.precision)
    ]
    proven = sorted((proof for proof in allowed if proof.usable), key=_speed, reverse=True)
    if engine != "auto" and precision != "auto":
        return _as_asked(spec, Candidate(engine=engine, precision=precision), allowed)
    own = None if precision == "auto" else precision
    last = (default_engine() if engine == "auto" else engine, own)
    if not proven:
        why = f"{spec.name}: {_named(*last)}; {_unproven(spec, kept, engine)}"
        return Choice(
            engine=last[0], precision=last[1], why=why, better=_better(spec, kept) if engine == "auto" else ()
        )
    first, *rest = [(proof.candidate.engine, proof.candidate.precision) for proof in proven]
    return Choice(
        engine=first[0],
        precision=first[1],
        why=f"{spec.name}: {_fastest(proven)}{_aside(spec, kept)}",
        others=(*rest, last),
        better=_better(spec, kept) if engine == "auto" and precision == "auto" else (),
    )


def open_chosen(spec: ModelSpec, *, engine: str, precision: Asked, sessions: int | None) -> Engine:
    """Open what `choose` takes, or the next where that does not open; see `open_engine`."""
    choice = choose(spec, engine=engine, precision=precision)
    # "auto" takes what is there: minutes of building are for `headrace build`, or beside a running pipeline.
    building = {"build": False} if engine == "auto" else {}
    refused: list[str] = []
    for name, wanted in (order := [(choice.engine, choice.precision), *choice.others]):
        try:
            opened = compile_engine(spec, name, wanted, sessions=sessions, building=building)
        except CancelledError:
            raise
        except EngineError as error:
            if len(refused) == len(order) - 1:
                raise
            refused.append(f"{_named(name, wanted)} did not open: {error}")
            continue
        opened.why = choice.why if not refused else f"{spec.name}: {_named(name, wanted)}; {'; '.join(refused)}"
        return opened
    raise AssertionError("the last one opens or raises")


def _speed(proof: Proof) -> float:
    return proof.ratio or 0.0


def _fastest(proven: Sequence[Proof]) -> str:
    best = proven[0]
    count = "the only one" if len(proven) == 1 else f"the fastest of {len(proven)}"
    words = f"{best.candidate}, {count} proven here: {best.fps:.0f} frames per second"
    if best.verdict == "reference":
        return words
    return f"{words}, {best.ratio:.1f} x {_without_version(best.reference)}, {_fit(best)}"


def _fit(proof: Proof) -> str:
    if proof.agreement is not None:
        return f"agrees on {proof.agreement:.3f} of the pixels"
    if proof.top1 is not None:
        return f"names the same class for {proof.top1:.3f} of the inputs"
    return f"values at most {proof.max_error:.2g} off"


def _without_version(reference: str) -> str:
    engine, _, precision = reference.split(" ")
    return f"{engine} {precision}"


def _named(engine: str, precision: Precision | None) -> str:
    return engine if precision is None else f"{engine} {precision}"


def _unproven(spec: ModelSpec, kept: Verdicts, engine: str) -> str:
    command = f"`headrace prove {called(spec)}`"
    if kept.damage:
        return f"{kept.damage}: run {command}"
    stale = [each for each in kept.stale if engine in ("auto", each[0].candidate.engine)]
    if stale:
        proof, change = max(stale, key=lambda each: _speed(each[0]))
        return f"{proof.candidate} was {change}: run {command}"
    if kept.holding:
        return f"none of the {len(kept.holding)} tried here is proven: see {command}"
    return f"nothing is proven here yet: {command} finds the fastest"


def _aside(spec: ModelSpec, kept: Verdicts) -> str:
    """What no longer holds and was faster than all that does."""
    if not kept.stale:
        return ""
    proof, change = max(kept.stale, key=lambda each: _speed(each[0]))
    return f" ({proof.candidate} was {change}: run `headrace prove {called(spec)}`)"


def _as_asked(spec: ModelSpec, candidate: Candidate, proofs: Sequence[Proof]) -> Choice:
    proof = next((each for each in proofs if each.candidate == candidate), None)
    found = "not proven here" if proof is None else f"{proof.verdict}: {proof.reason}"
    if proof is not None and not proof.usable:
        found = f"although it is {found}"
    why = f"{spec.name}: {candidate}, as asked, {found}"
    return Choice(engine=candidate.engine, precision=candidate.precision, why=why)


def _better(spec: ModelSpec, kept: Verdicts) -> tuple[Candidate, ...]:
    """Half before full precision: where half is right, full cannot be faster."""
    judged = {proof.candidate for proof in kept.holding}
    found = []
    for name, row in BACKENDS.items():
        if row.on == "cpu" or not version(name) or row.trouble() is not None:
            continue
        for precision in sorted(row.precisions, key=("fp16", "int8", "bf16", "fp32").index):
            candidate = Candidate(engine=name, precision=precision)
            if candidate not in judged and (precision != "int8" or _has_int8(spec)):
                found.append(candidate)
    return tuple(found)


def _has_int8(spec: ModelSpec) -> bool:
    try:
        variant(spec, "int8")
    except PrecisionError:
        return False
    return True
