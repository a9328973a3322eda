"""Which engine runs a network here and why, in one line; the fastest proven one, if nobody names another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from headrace.engines import verdicts
from headrace.engines.base import Engine, Precision
from headrace.engines.candidate import Candidate, Proof
from headrace.engines.catalog import BACKENDS, Backend, Building, check_names, compile_engine, default_engine, version
from headrace.engines.errors import CancelledError, EngineError
from headrace.engines.network import called, things
from headrace.engines.proof import has_int8
from headrace.engines.race import NOISE
from headrace.engines.verdicts import Verdicts
from headrace.models.errors import ModelError
from headrace.models.spec import ModelSpec

Asked = Precision | Literal["auto"]
_PROMISE: tuple[Precision, ...] = ("fp16", "bf16", "fp32", "int8")
"""Half precision is right nearly always and as fast as a GPU gets, except for int8, which costs accuracy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is taken, and what would be next."""

    engine: str
    precision: Precision | None
    """None: as the network's own file is."""
    why: str
    """One line for people; begins with the network's name."""
    proven: bool = False
    """Whether it was; else it is what runs where nothing is, or what was asked for."""
    options: tuple[tuple[str, int | str | bool], ...] = ()
    """How it was built, where that was not as usual."""
    others: tuple[Candidate, ...] = ()
    """What else is proven, best first: taken where this does not open."""
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
    better = _better(spec, kept) if engine == "auto" and precision == "auto" else ()
    return replace(_chosen(spec, kept, engine, precision), better=better)


def _chosen(spec: ModelSpec, kept: Verdicts, engine: str, precision: Asked) -> Choice:
    allowed = [
        proof
        for proof in kept.holding
        if engine in ("auto", proof.candidate.engine) and precision in ("auto", proof.candidate.precision)
    ]
    proven = _ranked([proof for proof in allowed if proof.usable])
    if engine != "auto" and precision != "auto":
        return _as_asked(spec, Candidate(engine=engine, precision=precision), [*proven, *allowed])
    if not proven:
        return _unproven(spec, kept, engine, precision)
    best, *rest = [proof.candidate for proof in proven]
    return Choice(
        engine=best.engine,
        precision=best.precision,
        why=f"{spec.name}: {_fastest(spec, proven)}{_aside(spec, kept, proven[0])}",
        proven=True,
        options=best.options,
        others=tuple(rest),
    )


def open_chosen(spec: ModelSpec, *, engine: str, precision: Asked, sessions: int | None) -> Engine:
    """Open what `choose` takes, or the next where that does not open; see `open_engine`."""
    choice = _chosen(spec, verdicts.look(spec), engine, precision)
    # "auto" takes what is there: minutes of building are for `headrace build`, or beside a running pipeline.
    building = Building(allowed=engine != "auto")
    refused: list[str] = []
    for way in _ways(choice, engine, precision):
        try:
            opened = compile_engine(
                spec, way.engine, way.precision, sessions=sessions, options=way.options, building=building
            )
        except CancelledError:
            raise
        except (EngineError, ModelError) as error:
            if way.last:
                raise
            refused.append(f"{way} did not open: {error}")
        else:
            opened.why = _why(choice, way, opened, refused)
            return opened
    raise AssertionError("the last one opens or raises")


def _why(choice: Choice, way: "_Way", opened: Engine, refused: Sequence[str]) -> str:
    name, taken = opened.spec.name, _named(way.engine, opened.info.precision)
    if refused:
        return f"{name}: {taken}; {'; '.join(refused)}"
    # What an engine makes of the network's own file shows only now.
    return choice.why.replace(f"{name}: {way};", f"{name}: {taken};", 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    engine: str
    precision: Precision | None
    options: tuple[tuple[str, int | str | bool], ...] = ()
    last: bool = False

    def __str__(self) -> str:
        return _named(self.engine, self.precision)


def _ways(choice: Choice, engine: str, precision: Asked) -> Iterator[_Way]:
    """What is chosen, what else is proven, and last what runs where nothing is."""
    own = None if precision == "auto" else precision
    if choice.proven:
        yield _Way(engine=choice.engine, precision=choice.precision, options=choice.options)
        for each in choice.others:
            yield _Way(engine=each.engine, precision=each.precision, options=each.options)
    taken = default_engine() if engine == "auto" else engine
    yield _Way(engine=taken, precision=own, options=() if choice.proven else choice.options, last=True)


def _ranked(proofs: Sequence[Proof]) -> list[Proof]:
    """Fastest first; of those that are as fast as the fastest, the most exact one leads."""
    ranked = sorted(proofs, key=_speed, reverse=True)
    equal = [each for each in ranked if _speed(each) >= _speed(ranked[0]) * (1 - NOISE)]
    if equal:
        best = max(equal, key=_exactness)
        ranked.remove(best)
        ranked.insert(0, best)
    return ranked


def _exactness(proof: Proof) -> tuple[float, float]:
    return proof.agreement if proof.agreement is not None else 1.0, -(proof.max_error or 0.0)


def _speed(proof: Proof) -> float:
    return proof.ratio or 0.0


def _fastest(spec: ModelSpec, proven: Sequence[Proof]) -> str:
    best = proven[0]
    count = "the only one" if len(proven) == 1 else f"the fastest of {len(proven)}"
    words = f"{best.candidate}, {count} proven here: {best.fps:.0f} {things(spec)} per second"
    if best.verdict == "reference":
        return words
    return f"{words}, {best.ratio:.1f} x {_without_version(best.reference)}, {_fit(best)}"


def _fit(proof: Proof) -> str:
    of = f" of {proof.source}" if proof.source else ""
    if proof.agreement is not None:
        return f"agrees on {proof.agreement:.4f} of the pixels{of}"
    if proof.top1 is not None:
        return f"names the same class for {proof.top1:.3f} of the inputs{of}"
    return "nothing to compare" if proof.max_error is None else f"values at most {proof.max_error:.2g} off"


def _without_version(reference: str) -> str:
    engine, *_, precision = reference.split(" ")
    return f"{engine} {precision}"


def _named(engine: str, precision: Precision | None) -> str:
    return engine if precision is None else f"{engine} {precision}"


def _unproven(spec: ModelSpec, kept: Verdicts, engine: str, precision: Asked) -> Choice:
    taken = default_engine() if engine == "auto" else engine
    own = None if precision == "auto" else precision
    command = f"`headrace prove {called(spec)}`"
    if kept.damage:
        because = f"{kept.damage}: run {command}"
    elif changed := _changed(kept, engine):
        because = f"{changed}: run {command}"
    elif kept.holding:
        because = f"nothing that was tried here is proven: {command} says why"
    else:
        because = f"nothing is proven here yet: {command} finds the fastest"
    return Choice(engine=taken, precision=own, why=f"{spec.name}: {_named(taken, own)}; {because}")


def _aside(spec: ModelSpec, kept: Verdicts, best: Proof) -> str:
    """What was faster than all that holds, and holds no more."""
    changed = _changed(kept, "auto", faster_than=_speed(best))
    return f" ({changed}: run `headrace prove {called(spec)}`)" if changed else ""


def _changed(kept: Verdicts, engine: str, *, faster_than: float = 0.0) -> str:
    """The fastest that was proven and is stale, with what has changed since; empty where there is none."""
    stale = [
        (proof, change)
        for proof, change in kept.stale
        if proof.usable and engine in ("auto", proof.candidate.engine) and _speed(proof) > faster_than
    ]
    if not stale:
        return ""
    proof, change = max(stale, key=lambda each: _speed(each[0]))
    return f"{proof.candidate} was {change}"


def _as_asked(spec: ModelSpec, asked: Candidate, proofs: Sequence[Proof]) -> Choice:
    proof = next(iter(proofs), None)
    if proof is None:
        words, taken = "not proven here", asked
    else:
        words = (
            f"{proof.verdict}: {proof.reason}" if proof.usable else f"although it is {proof.verdict}: {proof.reason}"
        )
        taken = proof.candidate  # as it was built
    why = f"{spec.name}: {asked}, as asked, {words}"
    return Choice(engine=taken.engine, precision=taken.precision, options=taken.options, why=why)


def _usable(row: Backend) -> bool:
    try:
        return row.trouble() is None
    except (ImportError, EngineError):
        return False


def _better(spec: ModelSpec, kept: Verdicts) -> tuple[Candidate, ...]:
    """What a GPU could do, until one engine of it is proven: which of several is fastest is for `headrace prove`."""
    judged = {(proof.candidate.engine, proof.candidate.precision): proof for proof in kept.holding}
    if any(proof.usable for (engine, _), proof in judged.items() if BACKENDS[engine].on == "gpu"):
        return ()
    return tuple(
        Candidate(engine=name, precision=precision)
        for name, row in BACKENDS.items()
        if row.on == "gpu" and row.stoppable and version(name) and _usable(row)
        for precision in sorted(row.precisions, key=_PROMISE.index)
        if (name, precision) not in judged and (precision != "int8" or has_int8(spec))
    )
