"""Whether batches pay is measured, with what follows from it, and said in one line."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import fakes
import numpy as np
import pytest
from fakes import FakeEngine

from headrace.engines.base import Engine
from headrace.engines.errors import InferError
from headrace.engines.inputs import Array
from headrace.stream.batching import ALONE, BatchPlan, plan_batches


class Paced:
    """An engine whose runs take a stated time, on a clock that stands still otherwise.

    Args:
        ms: what a batch of so many takes.
        noise_ms: added to each run in turn.
    """

    def __init__(
        self, ms: Callable[[int], float], *, batches: tuple[int, ...] = (), noise_ms: tuple[float, ...] = (0.0,)
    ) -> None:
        self._ms, self._noise_ms = ms, noise_ms
        self.now_s = 0.0
        made = fakes.segment_engine(sessions=1)
        self.engine = FakeEngine(made.spec, self._work, batches=batches)

    def _work(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        frame = feeds["frame"]
        self.now_s += (self._ms(len(frame)) + self._noise_ms[len(self.engine.ran) % len(self._noise_ms)]) / 1e3
        return {"mask": np.zeros(frame.shape[:3], np.uint8)}

    def plan(self, streams: int) -> BatchPlan:
        with self.engine.session() as session:
            return plan_batches(self.engine, session, streams, clock=lambda: self.now_s)


def test_a_batch_that_saves_time_is_taken() -> None:
    paced = Paced(lambda n: 2.0 + n)
    plan = paced.plan(3)
    assert plan.limit == 3
    assert plan.wait_s == pytest.approx((3.0 - 5.0 / 3) / 1e3), "what each frame saves by it"
    assert plan.text == "fake_segment: frames of 3 streams go as one batch: 1.7 ms a frame instead of 3.0"


@pytest.mark.parametrize("each_ms", [3.4, 3.3, 3.1, 5.0])
def test_a_batch_that_saves_nothing_worth_having_is_not(each_ms: float) -> None:
    paced = Paced(lambda n: 3.4 if n == 1 else n * each_ms)
    plan = paced.plan(4)
    assert (plan.limit, plan.wait_s) == (1, 0.0)
    assert plan.text == (f"fake_segment: each frame goes alone: as a batch of 2 it takes {each_ms:.1f} ms, alone 3.4")
    assert set(paced.engine.ran) == {1, 2}, "longer ones are not tried"


def test_lengths_are_tried_while_they_pay_more() -> None:
    paced = Paced(lambda n: {1: 4.0, 2: 5.0, 4: 8.0, 8: 20.0, 11: 30.0}[n])
    plan = paced.plan(11)
    assert plan.limit == 4
    assert plan.text == "fake_segment: frames of up to 4 of 11 streams go as one batch: 2.0 ms a frame instead of 4.0"
    assert set(paced.engine.ran) == {1, 2, 4, 8}


def test_an_engine_s_prepared_lengths_bound_it() -> None:
    paced = Paced(lambda n: 4.0, batches=(1, 2, 4))
    assert paced.plan(3).limit == 3, "the engine pads it"
    assert set(paced.engine.ran) == {1, 2, 3}
    assert paced.plan(9).limit == 4
    assert Paced(lambda n: 4.0, batches=(1,)).plan(9).limit == 1


def test_bad_luck_with_some_runs_does_not_decide() -> None:
    """Runs alone and in the batch take turns, so a machine that is busy half of the time hits both."""
    busy = (0.0, 9.0, 9.0, 0.0)
    assert Paced(lambda n: 3.0 * n, noise_ms=busy).plan(2).limit == 1
    assert Paced(lambda n: 2.0 + n, noise_ms=busy).plan(2).limit == 2
    lucky = (9.0,) * 3 + (0.0,) * 40  # all but the first runs alone
    assert Paced(lambda n: 3.0 * n, noise_ms=lucky).plan(2).limit == 1


@pytest.mark.parametrize("streams", [1, 2])
def test_there_is_nothing_to_decide_for_one_stream_or_where_it_is_decided(streams: int) -> None:
    engine = fakes.segment_engine()
    with engine.session() as session:
        assert plan_batches(engine, session, streams, mode="never") is ALONE
        always = plan_batches(engine, session, streams, mode="always")
    assert always.limit == streams
    assert always.wait_s == 0.0
    assert engine.ran == [], "nothing is measured"


def _like(engine: FakeEngine, batch: int | None) -> FakeEngine:
    spec = engine.spec
    inputs = tuple(replace(each, shape=(batch, *each.shape[1:])) for each in spec.inputs)
    return FakeEngine(replace(spec, inputs=inputs), engine.work)


@pytest.mark.parametrize("mode", ["auto", "always"])
def test_a_file_for_one_frame_at_a_time_is_never_given_more(mode: str) -> None:
    engine = _like(fakes.segment_engine(), 1)
    with engine.session() as session:
        plan = plan_batches(engine, session, 2, mode=mode)  # type: ignore[arg-type]
    assert plan == replace(ALONE, text="fake_segment: each frame goes alone: none takes one at a time")
    assert engine.ran == []


def _plan_of(work: Callable[[Mapping[str, Array]], dict[str, Array]]) -> BatchPlan:
    engine: Engine = FakeEngine(fakes.segment_engine().spec, work)
    with engine.session() as session:
        return plan_batches(engine, session, 2)


def test_a_file_that_fails_on_batches_is_given_none() -> None:
    def work(feeds: Mapping[str, Array]) -> dict[str, Array]:
        if len(feeds["frame"]) > 1:
            raise InferError("cannot reshape")
        return {"mask": np.zeros((1, 24, 32), np.uint8)}

    plan = _plan_of(work)
    assert plan.limit == 1
    assert plan.text == "fake_segment: each frame goes alone: a batch of 2 fails (cannot reshape)"


def test_a_file_that_loses_rows_is_given_none() -> None:
    plan = _plan_of(lambda feeds: {"mask": np.zeros((1, 24, 32), np.uint8)})
    assert plan.limit == 1
    assert plan.text.endswith("a batch of 2 fails (fake_segment: 1 results instead of 2)")


def test_a_network_that_fails_on_one_frame_is_not_called_one_without_batches() -> None:
    def work(feeds: Mapping[str, Array]) -> dict[str, Array]:
        raise InferError("no memory")

    with pytest.raises(InferError, match="no memory"):
        _plan_of(work)


def test_clips_are_called_clips() -> None:
    engine = fakes.action_engine()
    with engine.session() as session:
        plan = plan_batches(engine, session, 2, mode="always", outputs=["scores"])
    assert plan.text == "fake_action: clips of 2 streams go as one batch, as asked"
