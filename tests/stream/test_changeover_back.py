"""What has taken over fails: the engine before goes on, nothing is lost, and it is told."""

import threading
from collections.abc import Callable
from typing import Any

import fakes
import pytest
from fakes import FakeSource
from runs import LONG_S, books, numbers
from takeovers import QUICK, SLOW, Builder, gives, told, until_taken_over, while_not

from headrace.engines.errors import BuildError, DeviceError, EngineError, InferError
from headrace.stream import Pipeline, PipelineError


def fails_from(run: int, error: EngineError) -> Callable[[int], None]:
    def before(at: int) -> None:
        if at >= run:
            raise error

    return before


@pytest.mark.parametrize("batching", ["never", "always"])
@pytest.mark.parametrize(("sessions", "after"), [(1, 1), (2, 2), (1, 3), (3, 1)])
@pytest.mark.parametrize("error", [InferError("the kernel crashed"), DeviceError("the GPU is lost")])
def test_where_it_fails_the_engine_before_goes_on_and_nothing_is_lost(
    building: Callable[..., Builder], error: EngineError, sessions: int, after: int, batching: Any
) -> None:
    slow = fakes.segment_engine(sessions=sessions, labels=SLOW)
    again = fakes.segment_engine(sessions=sessions, labels=SLOW)
    quick = fakes.segment_engine(fails_from(40, error), sessions=after, labels=QUICK)
    builder = building(gives(quick), first=slow)
    builder.again = again
    sources = [FakeSource(None, name="a"), FakeSource(None, name="b")]
    with Pipeline(sources, segment="any", batching=batching) as pipeline:
        results = iter(pipeline)
        found = while_not(builder.begun.is_set, results)
        builder.go_on.set()
        found += until_taken_over(results)
        found += while_not(lambda: len(again.ran) > 60, results)
        assert quick.released.wait(LONG_S), "it goes when its last session has"
        why = pipeline.networks["fake_segment"].why
    assert builder.asked_again == [("fake", "fp32")], "once, and as it was"
    line = f"fake_segment: fake failed ({error}); fake fp32, which ran before, goes on"
    assert why == line
    events = [event for event in pipeline.events.take() if event.text == line]
    assert [event.kind for event in events] == ["failed"], "told once, also to those who want quiet"
    for name in "ab":
        of_stream = [result for result in found if result.frame.stream_id == name]
        assert [result.frame.seq for result in of_stream] == list(range(len(of_stream))), "none is lost"
        assert numbers(of_stream) == [seq % 256 for seq in range(len(of_stream))]
        assert "failed" not in books(pipeline, name)
        assert "in_flight" not in books(pipeline, name)
    for engine in (slow, quick, again):
        assert engine.released.is_set()
        assert sorted(engine.opened) == sorted(engine.closed)


@pytest.mark.parametrize("sessions", [1, 2])
def test_where_nobody_can_go_over_the_engine_before_runs_and_says_so(
    building: Callable[..., Builder], sessions: int
) -> None:
    def opens() -> None:
        raise DeviceError("the GPU is taken")

    quick = fakes.segment_engine(sessions=1, labels=QUICK, opens=opens)
    builder = building(gives(quick), first=fakes.segment_engine(sessions=sessions, labels=SLOW))
    builder.again = again = fakes.segment_engine(sessions=sessions, labels=SLOW)
    builder.go_on.set()
    with Pipeline(FakeSource(None), segment="any", keep="every") as pipeline:
        found = while_not(lambda: len(again.ran) > 20, iter(pipeline))
        why = pipeline.networks["fake_segment"].why
    assert [result.frame.seq for result in found] == list(range(len(found)))
    assert why == "fake_segment: fake failed (the GPU is taken); fake fp32, which ran before, goes on"
    assert told(pipeline).count(why) == 1
    assert quick.released.is_set()
    assert builder.first.released.is_set()


def test_where_both_fail_the_pipeline_ends_with_the_error(building: Callable[..., Builder]) -> None:
    quick = fakes.segment_engine(fails_from(30, InferError("the kernel crashed")), labels=QUICK)
    builder = building(gives(quick))
    builder.again = fakes.segment_engine(fails_from(0, InferError("so does this")))
    builder.go_on.set()
    with pytest.raises(PipelineError, match="so does this"), Pipeline(FakeSource(None), segment="any") as pipeline:
        pipeline.wait(LONG_S)
    assert quick.released.is_set()
    assert builder.again.released.is_set()
    assert books(pipeline)["failed"] >= 1
    assert "in_flight" not in books(pipeline)


def test_where_the_engine_before_does_not_open_again_the_pipeline_ends_with_both_reasons(
    building: Callable[..., Builder],
) -> None:
    quick = fakes.segment_engine(fails_from(30, DeviceError("the GPU is lost")), labels=QUICK)
    builder = building(gives(quick))
    builder.again = BuildError("its file is gone")
    builder.go_on.set()
    with pytest.raises(PipelineError, match="the GPU is lost"), Pipeline(FakeSource(None), segment="any") as pipeline:
        pipeline.wait(LONG_S)
    reason = "fake_segment: fake failed (the GPU is lost), and fake does not open again: its file is gone"
    assert reason in told(pipeline)
    assert "in_flight" not in books(pipeline)


def test_an_engine_that_took_nobodys_place_ends_the_pipeline(building: Callable[..., Builder]) -> None:
    builder = building(gives(fakes.segment_engine()), first=fakes.segment_engine(fails_from(5, InferError("broken"))))
    with pytest.raises(PipelineError, match="broken"), Pipeline(FakeSource(None), segment="any") as pipeline:
        pipeline.wait(LONG_S)
    assert builder.asked_again == []


def test_a_new_worker_without_a_session_rests_and_says_so(building: Callable[..., Builder]) -> None:
    """The engine that takes over has use for more workers than there is memory for: that must not end the run."""
    tries: list[str] = []

    def opens() -> None:
        tries.append(threading.current_thread().name)
        if threading.current_thread().name != "hr-infer-0":
            raise DeviceError("the GPU has no memory for another session")

    slow = fakes.segment_engine(sessions=1, labels=SLOW)
    quick = fakes.segment_engine(sessions=3, labels=QUICK, opens=opens)
    builder = building(gives(quick), first=slow)
    with Pipeline(FakeSource(None), segment="any", keep="every") as pipeline:
        results = iter(pipeline)
        found = while_not(builder.begun.is_set, results)
        builder.go_on.set()
        found += until_taken_over(results)
        found += while_not(lambda: len(tries) == 3, results)
        found += [next(results) for _ in range(20)]
    assert [result.frame.seq for result in found] == list(range(len(found)))
    assert [line for line in told(pipeline) if "worker" in line] == [
        "fake_segment: a worker rests: the GPU has no memory for another session"
    ] * 2
    assert slow.released.is_set()


def test_the_action_network_goes_back_too(building: Callable[..., Builder]) -> None:
    slow, again = fakes.action_engine(), fakes.action_engine()
    quick = fakes.action_engine(fails_from(3, DeviceError("the GPU is lost")))
    builder = building(gives(quick), first=slow)
    builder.again = again
    builder.go_on.set()
    with Pipeline(FakeSource(None), action="any") as pipeline:
        results = iter(pipeline)
        while_not(lambda: len(again.ran) > 3, results)
        assert any(next(results).actions for _ in range(50))
    assert builder.asked_again == [("fake", "fp32")]
    for engine in (slow, quick, again):
        assert engine.released.is_set()
        assert engine.opened == engine.closed == ["hr-action"]
