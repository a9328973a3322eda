"""The reference, the incumbent and the candidates of one proof, open at once and measured in turn."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import numpy as np

from headrace.engines.base import Engine, EngineInfo, Precision
from headrace.engines.candidate import Candidate, Proof, Verdict
from headrace.engines.catalog import Building, Cancelled, Told, compile_engine, default_engine, version
from headrace.engines.compare import Comparison, compare
from headrace.engines.errors import (
    CacheError,
    CancelledError,
    DeviceError,
    EngineError,
    InferError,
    MissingBackendError,
    PrecisionError,
)
from headrace.engines.inputs import Array
from headrace.engines.network import network_digest, things
from headrace.engines.race import NOISE, Feeds, Pace, race
from headrace.engines.store import digest
from headrace.engines.variants import variant
from headrace.engines.verdicts import machine_of
from headrace.models.errors import ModelError
from headrace.models.spec import ModelSpec

REFERENCES = ("onnxruntime", "openvino")
"""What computes in float32 as the file says; the first that is installed."""
_BATCH = 3
"""Engines with prepared batch lengths have none of 3: they must pad it."""


@dataclass(slots=True, kw_only=True)
class _Entry:
    """One candidate on its way through the proof."""

    candidate: Candidate
    spec: ModelSpec
    """With the file that this precision runs."""
    engine: Engine | None = None
    info: EngineInfo | None = None
    sessions: int = 0
    found: Comparison | None = None
    batched: Comparison | None = None
    """In a batch; None where that was not tried."""
    pace: Pace | None = None
    failure: str = ""
    passing: bool = False
    """Whether it failed by what may be otherwise tomorrow: a full disk, a GPU that others use."""

    def fails(self, error: Exception) -> None:
        """Remember why it does not run."""
        self.failure, self.passing = str(error), isinstance(error, CacheError | DeviceError)

    def opened(self, engine: Engine) -> None:
        """Remember what outlives the engine."""
        self.engine, self.info, self.sessions = engine, engine.info, engine.sessions
        self.spec = engine.spec

    @property
    def off(self) -> str:
        """Why its results are not the reference's; empty where they are."""
        precision = self.candidate.precision
        found = self.found.verdict(precision) if self.found is not None else ""
        if not found and self.batched is not None and (batched := self.batched.verdict(precision)):
            return f"in a batch of {_BATCH}: {batched}"
        return found

    def close(self) -> None:
        if self.engine is not None:
            self.engine.close()
            self.engine = None


class Contest:
    """The reference, the incumbent and the candidates, open at once, so that their speeds are measured in turn."""

    def __init__(
        self,
        spec: ModelSpec,
        feeds: Sequence[Feeds],
        *,
        source: str,
        incumbent: Candidate | None,
        told: Told,
        cancelled: Cancelled,
    ) -> None:
        self._source = source
        if not feeds:
            raise ValueError(f"{spec.name}: a proof needs at least one frame")
        self._spec, self._feeds, self._told, self._cancelled = spec, feeds, told, cancelled
        self._entries: dict[Candidate, _Entry] = {}
        self._reported: list[Candidate] = []
        self._batch: Feeds | None = None
        self._wanted: list[dict[str, Array]] = []
        self._incumbent = incumbent
        self._reference: _Entry

    def __enter__(self) -> Self:
        try:
            self._reference = self._open_reference()
            if self._incumbent is None:
                self._incumbent = self._default()
            if self._incumbent not in self._entries:
                self._open(self._incumbent, Building(allowed=False, cancelled=self._cancelled))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every engine that was not released."""
        for entry in self._entries.values():
            entry.close()

    @property
    def own(self) -> Precision:
        """What the network's own file is computed in."""
        return self._reference.candidate.precision

    def enter(self, candidate: Candidate, building: Building) -> None:
        """Open a candidate and compare its results; one that is off or fails does not race."""
        if candidate in self._reported:
            return
        self._reported.append(candidate)
        # An incumbent that is not built was not built for its own sake; as a candidate it is.
        if candidate not in self._entries or self._entries[candidate].failure:
            self._open(candidate, building)

    def proofs(self, *, with_base: bool = False) -> list[Proof]:
        """Race all that are right, and judge.

        Args:
            with_base: the incumbent and the reference too, which race in any case.
        """
        reported = list(self._entries) if with_base else self._reported
        # Where none of them is right there is nothing to measure: a pipeline may be running beside this.
        if any(self._entries[each].engine is not None for each in reported):
            self._race()
        return [self._proof(self._entries[each]) for each in reported]

    def _race(self) -> None:
        right = [entry for entry in self._entries.values() if entry.engine is not None]
        engines = [entry.engine for entry in right if entry.engine is not None]
        self._told(f"{self._spec.name}: measuring {len(engines)} engines in turn")
        for entry, pace in zip(right, race(engines, self._feeds, check=self._check), strict=True):
            if isinstance(pace, Pace):
                entry.pace = pace
            else:
                entry.fails(pace)

    def failed_passing(self, candidate: Candidate) -> bool:
        """Whether it failed by what may be otherwise tomorrow, which is no verdict on it."""
        return self._entries[candidate].passing

    def gain(self, candidate: Candidate) -> float:
        """How many times as fast as the incumbent it ran."""
        pace, base = self._entries[candidate].pace, self._base().pace
        return pace.fps / base.fps if pace is not None and base is not None else 0.0

    def release(self, candidate: Candidate) -> Engine:
        """Hand over an open engine; it is the caller's to close."""
        entry = self._entries[candidate]
        assert entry.engine is not None, "released twice, or never opened"
        engine, entry.engine = entry.engine, None
        return engine

    def _open_reference(self) -> _Entry:
        reasons = []
        for name in REFERENCES:
            try:
                engine = compile_engine(self._spec, name, None)
            except MissingBackendError as error:
                reasons.append(str(error))
                continue
            candidate = Candidate(engine=name, precision=engine.info.precision)
            entry = self._entries[candidate] = _Entry(candidate=candidate, spec=self._spec)
            entry.opened(engine)
            self._wanted = self._run(engine)
            entry.found = compare(engine.outputs, self._wanted, self._wanted)
            self._batch = self._first_frames(engine)
            return entry
        raise MissingBackendError("no engine here can be the float32 reference: " + "; ".join(reasons))

    def _default(self) -> Candidate:
        """What runs the network where nothing is proven."""
        return Candidate(engine=default_engine(), precision=self._reference.candidate.precision)

    def _open(self, candidate: Candidate, building: Building) -> None:
        self._check()
        entry = self._entries[candidate] = _Entry(candidate=candidate, spec=self._spec)
        try:
            began = time.perf_counter()
            engine = self._compiled(candidate, building)
            entry.opened(engine)
            opened_s = time.perf_counter() - began
            self._compare(entry, engine)
            self._told(f"{self._spec.name}: {candidate}: opened in {opened_s:.1f} s, {_fit(entry)}")
        except CancelledError:
            raise
        except (EngineError, ModelError) as error:
            entry.fails(error)
            self._told(f"{self._spec.name}: {candidate}: {error}")
        if entry.failure or entry.off:
            entry.close()

    def _compiled(self, candidate: Candidate, building: Building) -> Engine:
        name, precision, options = candidate.engine, candidate.precision, candidate.options
        try:
            return compile_engine(self._spec, name, precision, options=options, building=building)
        except PrecisionError:
            if precision != "fp16":
                raise
            # The half file runs on every engine; where the arithmetic is not half, the engine says what it is.
            half = variant(self._spec, precision)
            return compile_engine(half, name, None, options=options, building=building)

    def _compare(self, entry: _Entry, engine: Engine) -> None:
        entry.found = compare(engine.outputs, self._wanted, self._run(engine))
        if self._batch is not None:
            with engine.session() as session:
                together = session.infer(self._batch)
            entry.batched = compare(engine.outputs, self._wanted[:_BATCH], _rows(together))

    def _first_frames(self, reference: Engine) -> Feeds | None:
        """The first frames as one batch; None where the network takes none, or where its rows are no frames."""
        tensors = (*reference.inputs, *reference.outputs)
        if len(self._feeds) < _BATCH or reference.state or any(each.shape[:1] != (None,) for each in tensors):
            return None
        first = self._feeds[:_BATCH]
        batch = {each.name: np.concatenate([fed[each.name] for fed in first]) for each in reference.inputs}
        if any(len(array) != _BATCH for array in batch.values()):
            return None
        try:
            with reference.session() as session:
                together = session.infer(batch)
        except InferError:
            self._told(f"{self._spec.name}: its description allows batches, its file takes single frames only")
            return None
        return None if compare(reference.outputs, self._wanted[:_BATCH], _rows(together)).flaw else batch

    def _run(self, engine: Engine) -> list[dict[str, Array]]:
        with engine.session() as session:
            found = []
            for fed in self._feeds:
                self._check()
                found.append(session.infer(fed))
            return found

    def _check(self) -> None:
        if self._cancelled():
            raise CancelledError(f"{self._spec.name}: the proof was cancelled; no verdict was kept")

    def _base(self) -> _Entry:
        """What the candidates would replace: the incumbent, or the reference where that does not run."""
        assert self._incumbent is not None, "set on entering"
        entry = self._entries[self._incumbent]
        return entry if entry.pace is not None else self._reference

    def _proof(self, entry: _Entry) -> Proof:
        verdict, reason = self._judged(entry)
        found, pace, base = entry.found or Comparison(), entry.pace, self._reference.pace
        return Proof(
            candidate=entry.candidate,
            verdict=verdict,
            reason=reason,
            ran=entry.info.precision if entry.info else None,
            agreement=found.agreement,
            max_error=found.max_error,
            mean_error=found.mean_error,
            top1=found.top1,
            ms=pace.ms if pace else None,
            fps=pace.fps if pace else None,
            sessions=entry.sessions,
            ratio=pace.fps / base.fps if pace and base else None,
            reference=_named(self._reference),
            incumbent=str(self._base().candidate),
            device=entry.info.device if entry.info else "",
            version=version(entry.candidate.engine),
            machine=machine_of(entry.candidate.engine),
            digest=network_digest(self._spec),
            file=str(entry.spec.weights.file),
            file_digest=digest(entry.spec.weights.file),
            frames=len(self._feeds),
            source=self._source,
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _judged(self, entry: _Entry) -> tuple[Verdict, str]:
        if entry.failure:
            return "failed", entry.failure
        if entry.off:
            return "off", entry.off
        assert entry.pace is not None, "what is right was measured, or failed"
        base = self._base()
        speed = f"{entry.pace.fps:.0f} {things(self._spec)} per second"
        if entry is self._reference:
            return "reference", speed
        if entry.info is not None and entry.info.precision != entry.candidate.precision:
            speed = f"computes in {entry.info.precision} here: {speed}"
        if base.pace is not None and base is not entry:
            times = entry.pace.fps / base.pace.fps
            speed = f"{speed}, {times:.2f} x {base.candidate}"
            if times < 1 - NOISE:
                return "slower", f"{speed}, which it would replace; {entry.found}"
        return "proven", f"{speed}; {entry.found}"


def _fit(entry: _Entry) -> str:
    return f"is off: {entry.off}" if entry.off else str(entry.found)


def _named(entry: _Entry) -> str:
    assert entry.info is not None, "the reference is open"
    return f"{entry.info.backend} {entry.info.version} {entry.info.precision}"


def _rows(together: Mapping[str, Array]) -> list[dict[str, Array]]:
    """The results of a batch, one by one, each a batch of one."""
    return [{name: array[at : at + 1] for name, array in together.items()} for at in range(_BATCH)]
