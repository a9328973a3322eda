"""Whether frames of several streams go through a network as one batch: measured as it starts, and said in one line."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import numpy as np

from headrace.engines.base import Engine, Session
from headrace.engines.errors import EngineError, InferError
from headrace.models.spec import TensorSpec
from headrace.stream.arrays import Array

Batching = Literal["auto", "always", "never"]
"""Auto: where it was measured to pay."""

_ROUNDS = 8
"""So often one frame alone and one batch take turns, so that what else the machine does hits both."""
_WORTH = 0.9
"""Of the time of a frame alone: a batch that saves less is within what a measurement errs."""
_LENGTHS = (2, 4, 8, 16, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """How many frames a worker takes at once."""

    limit: int = 1
    """The most that go as one batch; with 1 each goes alone."""
    wait_s: float = 0.0
    """How long a frame waits for company at the most: no longer than what each frame saves by it, and so never more
    than a fraction of the network's time for one frame."""
    text: str = ""
    """The decision in one line for people, with its figures; "" where there was nothing to decide."""


ALONE = BatchPlan()


def plan_batches(
    engine: Engine,
    session: Session,
    streams: int,
    *,
    mode: Batching = "auto",
    outputs: Sequence[str] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> BatchPlan:
    """Decide by running a frame alone and batches, of empty pictures; longer ones as long as they pay more.

    One session is measured alone: workers take batches only while all of them are busy (see `Workload.take_batch`),
    and then a session that gets more done in its time gets more done in all.

    Args:
        streams: how many there are; a batch has at most one frame of each.
        mode: "always" and "never" decide without measuring.
        outputs: which are read.
        clock: seconds.

    Raises:
        EngineError: the network fails on a single frame.
    """
    spec = engine.spec
    noun = "clip" if spec.task == "action" else "frame"
    lengths = _lengths(engine, streams)
    if streams == 1 or mode == "never":
        return ALONE
    if not lengths:
        return BatchPlan(text=f"{spec.name}: each {noun} goes alone: {spec.weights.file.name} takes one at a time")
    together = f"{spec.name}: {noun}s of {_of_streams(lengths[-1], streams)} go as one batch"
    if mode == "always":
        return BatchPlan(limit=lengths[-1], text=f"{together}, as asked")
    best, tried = _best(_Race(engine, session, outputs, clock), lengths)
    if best is None:
        return BatchPlan(text=f"{spec.name}: each {noun} goes alone: {tried}")
    return BatchPlan(
        limit=best.length,
        wait_s=best.alone_s - best.each_s,
        text=f"{spec.name}: {noun}s of {_of_streams(best.length, streams)} go as one batch:"
        f" {best.each_s * 1e3:.1f} ms a {noun} instead of {best.alone_s * 1e3:.1f}",
    )


def _best(race: "_Race", lengths: Sequence[int]) -> "tuple[_Pace | None, str]":
    """The length that takes the least time per frame, None where none pays; and what was found of the last one."""
    best, tried = None, ""
    for length in lengths:
        try:
            pace = race(length)
        except EngineError as error:
            if not tried:
                race(1)  # where one alone fails too, the batch is not to blame
            # A file may say that its batch is free and still be written for one frame.
            return best, f"a batch of {length} fails ({error})"
        tried = f"as a batch of {length} it takes {pace.each_s * 1e3:.1f} ms, alone {pace.alone_s * 1e3:.1f}"
        if pace.share >= (best.share if best else _WORTH):
            break
        best = pace
    return best, tried


def _of_streams(length: int, streams: int) -> str:
    return f"{streams} streams" if length == streams else f"up to {length} of {streams} streams"


def _lengths(engine: Engine, streams: int) -> list[int]:
    """The batch lengths worth a trial, shortest first; none where the network takes one frame at a time."""
    free = all(each.layout[0] == "B" and each.shape[0] is None for each in engine.inputs + engine.outputs)
    known = all(None not in _shape(each, engine) for each in engine.inputs)
    if not (free and known) or engine.state:
        return []
    most = min(streams, engine.batches[-1]) if engine.batches else streams
    return sorted({length for length in (engine.batches or _LENGTHS) if 1 < length < most} | ({most} - {1}))


def _shape(tensor: TensorSpec, engine: Engine) -> list[int | None]:
    width, height = engine.spec.size
    known = {"B": 1, "H": height, "W": width}
    lengths = zip(tensor.layout, tensor.shape, strict=True)
    return [known.get(letter) if length is None else length for letter, length in lengths]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pace:
    length: int
    alone_s: float
    """Of one frame alone."""
    share: float
    """Of that time, what a frame in the batch takes."""

    @property
    def each_s(self) -> float:
        """Of one frame in the batch."""
        return self.alone_s * self.share


class _Race:
    """Times one frame alone and batches of empty pictures in turn."""

    def __init__(
        self, engine: Engine, session: Session, outputs: Sequence[str] | None, clock: Callable[[], float]
    ) -> None:
        self._engine, self._session, self._outputs, self._clock = engine, session, outputs, clock

    def __call__(self, length: int) -> _Pace:
        """What a batch of this length costs.

        Raises:
            EngineError: it does not run, or does not give as many results.
        """
        one, several = self._feeds(1), self._feeds(length)
        # The first of each length makes what the length needs: it is not counted.
        self._run(one, 1)
        self._run(several, length)
        rounds = [(self._run(one, 1), self._run(several, length) / length) for _ in range(_ROUNDS)]
        alone_s, each_s = (min(times_s) for times_s in zip(*rounds, strict=True))
        # The quickest runs are what the engine can do, but luck may have hit one of the two. The middle of the rounds
        # is what came of it here, but a longer run is disturbed more often. Both must say that it pays.
        middle = median(each / alone for alone, each in rounds)
        return _Pace(length=length, alone_s=alone_s, share=max(middle, each_s / alone_s))

    def _feeds(self, length: int) -> dict[str, Array]:
        feeds: dict[str, Array] = {}
        for each in self._engine.inputs:
            shape = _shape(each, self._engine)
            feeds[each.name] = np.zeros([length, *(n for n in shape[1:] if n is not None)], each.dtype)
        return feeds

    def _run(self, feeds: dict[str, Array], length: int) -> float:
        started_s = self._clock()
        found = self._session.infer(feeds, outputs=self._outputs)
        took_s = self._clock() - started_s
        rows = {len(each) for each in found.values()}
        if rows != {length}:
            raise InferError(f"{self._engine.spec.name}: {min(rows)} results instead of {length}")
        return max(took_s, 1e-9)
