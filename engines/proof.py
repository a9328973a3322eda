"""Engines that prove themselves: held against the float32 reference on real frames, for output and for speed."""

from collections.abc import Collection, Sequence

from headrace.engines import verdicts
from headrace.engines.base import Engine, Precision
from headrace.engines.candidate import Candidate, Proof
from headrace.engines.catalog import BACKENDS, Building, Cancelled, Told, availability
from headrace.engines.contest import Contest
from headrace.engines.errors import CacheError, PrecisionError
from headrace.engines.race import NOISE, Feeds
from headrace.engines.variants import variant
from headrace.models.spec import ModelSpec


def candidates(spec: ModelSpec, own: Precision = "fp32", *, named: Collection[str] = ()) -> tuple[Candidate, ...]:
    """What is worth a try here: each engine that works, in each of its precisions; int8 where it was made.

    Args:
        own: what the network's own file is computed in; what is narrowed already has no other.
        named: only these engines; empty for all but those that are tried where they are named.
    """
    return tuple(
        Candidate(engine=name, precision=precision)
        for name, row in BACKENDS.items()
        if (name in named if named else not row.when_named) and availability(name).reason is None
        for precision in row.precisions
        if own in ("fp32", precision) and (precision != "int8" or has_int8(spec))
    )


def has_int8(spec: ModelSpec) -> bool:
    """Whether there is an int8 file of the network."""
    try:
        variant(spec, "int8")
    except PrecisionError:
        return False
    return True


def prove(
    spec: ModelSpec,
    feeds: Sequence[Feeds],
    wanted: Sequence[Candidate] | None = None,
    *,
    source: str = "",
    named: Collection[str] = (),
    incumbent: Candidate | None = None,
    with_base: bool = False,
    told: Told = lambda line: None,
    cancelled: Cancelled = lambda: False,
) -> list[Proof]:
    """Run the same frames through each candidate and through the reference, compare results and speed.

    Args:
        feeds: real inputs by name, batch first; see `headrace.stream.footage.feeds`.
        source: what footage they are of, in words.
        wanted: which candidates; None for all that work here.
        named: where `wanted` is None, only these engines; see `candidates`.
        incumbent: the engine that they would replace; None for the one that runs where nothing is proven.
        with_base: prove the incumbent and the reference too where they were not wanted: they run in any case.
        told: hears how it goes on, line by line.
        cancelled: asked between two steps.

    Returns:
        A proof of each, the reference among them if it was wanted. They are not kept: see `verdicts.keep`.

    Raises:
        MissingBackendError: no engine here can be the reference.
        EngineError: the reference does not run.
        CancelledError: `cancelled` said so.
    """
    with Contest(spec, feeds, source=source, incumbent=incumbent, told=told, cancelled=cancelled) as contest:
        for each in candidates(spec, contest.own, named=named) if wanted is None else wanted:
            contest.enter(each, Building(cancelled=cancelled))
        return contest.proofs(with_base=with_base)


def promote(
    spec: ModelSpec,
    candidate: Candidate,
    feeds: Sequence[Feeds],
    *,
    incumbent: Candidate,
    source: str = "the running streams",
    told: Told = lambda line: None,
    cancelled: Cancelled = lambda: False,
) -> Engine | None:
    """Build a candidate, prove it, keep the verdict; meant for a thread beside a pipeline that runs already.

    Args:
        incumbent: what runs the network now.

    Returns:
        The opened engine if it is proven and faster than the incumbent, else None: then `told` has heard why.

    Raises:
        CancelledError: `cancelled` said so; no verdict was kept.
        EngineError: the reference does not run.
    """
    told(f"{spec.name}: {candidate} is made ready beside {incumbent}")
    with Contest(spec, feeds, source=source, incumbent=incumbent, told=told, cancelled=cancelled) as contest:
        contest.enter(candidate, Building(cancelled=cancelled))
        (proof,) = contest.proofs()
        if contest.failed_passing(candidate):
            told(f"{spec.name}: {candidate} is not taken this time: {proof.reason}")
            return None
        try:
            verdicts.keep(spec, [proof])
        except CacheError as error:
            told(f"{spec.name}: the verdict on {candidate} holds for this run only: {error}")
        told(f"{spec.name}: {proof.candidate} is {proof.verdict}: {proof.reason}")
        if not proof.usable:
            return None
        if contest.gain(candidate) <= 1 + NOISE:
            told(f"{spec.name}: {incumbent} goes on: {candidate} would not be faster")
            return None
        engine = contest.release(candidate)
        engine.why = f"{spec.name}: {candidate}, built and proven while {incumbent} ran: {proof.reason}"
        return engine
