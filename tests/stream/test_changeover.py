"""Another engine takes over between two frames: nothing is lost, nothing waits, and the one before goes."""

import threading
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import fakes
import pytest
from fakes import FakeEngine, FakeSink, FakeSource
from runs import LONG_S, books, numbers
from takeovers import ORT, QUICK, SLOW, TRT, Builder, gives, makers, told, until_taken_over, while_not

from headrace.engines.base import Engine
from headrace.engines.candidate import Candidate
from headrace.engines.choice import Choice
from headrace.engines.errors import BuildError, DeviceError, EngineError
from headrace.models.spec import ModelSpec
from headrace.stream import Pipeline


@pytest.mark.parametrize(("before", "after"), [(2, 2), (1, 3), (3, 1)])
@pytest.mark.parametrize("count", [1, 3])
def test_another_engine_takes_over_while_frames_flow(
    building: Callable[..., Builder], before: int, after: int, count: int
) -> None:
    slow = fakes.segment_engine(sessions=before, labels=SLOW)
    quick = fakes.segment_engine(sessions=after, labels=QUICK)
    builder = building(gives(quick), first=slow)
    sources = [FakeSource(None, name=f"camera {at}") for at in range(count)]
    with Pipeline(sources, segment="any", batching="never") as pipeline:
        results = iter(pipeline)
        found = while_not(builder.begun.is_set, results)
        assert builder.feeds[0], "the proof is on frames of this run"
        builder.go_on.set()
        found += until_taken_over(results)
        assert slow.released.wait(LONG_S), "the engine before closes when its last session has"
        assert pipeline.networks["fake_segment"].why == "fake_segment: tensorrt fp16, 3 x"
        assert not quick.released.is_set()
    assert quick.released.is_set()
    assert builder.threads == {"hr-build-fake_segment"}
    for at in range(count):
        of_stream = [result for result in found if result.frame.stream_id == f"camera {at}"]
        assert [result.frame.seq for result in of_stream] == list(range(len(of_stream))), "none is lost"
        assert numbers(of_stream) == [seq % 256 for seq in range(len(of_stream))]
        for result in of_stream:
            assert result.mask is not None
            bits = [int(value) for value in result.mask[4, [2 + 4 * bit for bit in range(8)]]]
            assert bits == [result.frame.seq >> bit & 1 for bit in range(8)]
        assert "in_flight" not in books(pipeline, f"camera {at}")
    # Each worker closes its own sessions, on its own thread.
    assert sorted(slow.opened) == sorted(slow.closed) == [f"hr-infer-{at}" for at in range(before)]
    assert sorted(quick.opened) == sorted(quick.closed) == [f"hr-infer-{at}" for at in range(after)]


def test_which_engine_and_why_is_told_once_each(building: Callable[..., Builder]) -> None:
    quick = fakes.segment_engine(labels=QUICK)
    builder = building(gives(quick))
    builder.go_on.set()
    with Pipeline(FakeSource(None), segment="any") as pipeline:
        until_taken_over(iter(pipeline))
    events = pipeline.events.take()
    assert [event.text for event in events] == [
        "any: fake, since nothing better is proven",
        "fake_segment: building tensorrt fp16",
        "fake_segment: tensorrt fp16, 3 x",
    ]
    assert {(event.kind, event.stream_id) for event in events} == {("notice", "")}


def test_the_proof_gets_copies_of_real_frames(building: Callable[..., Builder]) -> None:
    quick = fakes.segment_engine(labels=QUICK)
    builder = building(gives(quick))
    builder.go_on.set()
    with Pipeline([FakeSource(None, name="a"), FakeSource(None, name="b")], segment="any") as pipeline:
        until_taken_over(iter(pipeline))
    (feeds,) = builder.feeds
    assert len(feeds) == 16
    for fed in feeds:
        assert set(fed) == {"frame"}
        assert fed["frame"].shape == (1, 24, 32, 3)
        assert fed["frame"].any()
    assert builder.incumbents == [Candidate(engine="fake", precision="fp32")]
    assert len({fed["frame"].tobytes() for fed in feeds}) > 8, "they show different pictures"


@pytest.mark.parametrize("error", [BuildError("out of memory"), RuntimeError("the parser crashed")])
def test_a_build_that_fails_is_one_line_and_the_next_is_tried(
    building: Callable[..., Builder], error: Exception
) -> None:
    quick = fakes.segment_engine(labels=QUICK)
    quick.why = "fake_segment: onnxruntime:cuda fp16"

    def job(builder: Builder, candidate: Candidate) -> Engine | None:
        if candidate == TRT:
            raise error
        return quick

    builder = building(job, better=(TRT, ORT))
    with Pipeline(FakeSource(None), segment="any") as pipeline:
        until_taken_over(iter(pipeline))
    assert builder.tried == [TRT, ORT]
    lines = told(pipeline)
    assert f"fake_segment: tensorrt fp16 is not taken, fake goes on: {error}" in lines
    assert sum(str(error) in line for line in lines) == 1


def test_what_is_not_faster_does_not_take_over(building: Callable[..., Builder]) -> None:
    over = threading.Event()

    def job(builder: Builder, candidate: Candidate) -> Engine | None:
        if candidate == ORT:
            over.set()
        return None

    builder = building(job, better=(TRT, ORT))
    with Pipeline(FakeSource(None), segment="any") as pipeline:
        results = iter(pipeline)
        while_not(over.is_set, results)
        found = [next(results) for _ in range(30)]
    assert not any(makers(found))
    assert builder.tried == [TRT, ORT]
    assert builder.first.released.is_set(), "it was opened here"


def test_the_first_that_takes_over_ends_the_search(building: Callable[..., Builder]) -> None:
    quick = fakes.segment_engine(labels=QUICK)
    builder = building(gives(quick), better=(TRT, ORT))
    builder.go_on.set()
    with Pipeline(FakeSource(None), segment="any") as pipeline:
        until_taken_over(iter(pipeline))
    assert builder.tried == [TRT]


def test_an_engine_that_the_pipeline_cannot_feed_is_closed_and_not_taken(building: Callable[..., Builder]) -> None:
    made = fakes.segment_engine()
    two = replace(made.spec, outputs=(*made.spec.outputs, replace(made.spec.outputs[0], name="more")))
    strange = FakeEngine(two, made.work)
    builder = building(gives(strange))
    builder.go_on.set()
    with Pipeline(FakeSource(None), segment="any") as pipeline:
        results = iter(pipeline)
        while_not(strange.released.is_set, results)
    assert any("is not taken, fake goes on: network 'fake_segment'" in line for line in told(pipeline))
    assert strange.opened == []


def test_a_worker_that_cannot_go_over_stays_and_says_so(building: Callable[..., Builder]) -> None:
    tries: list[str] = []

    def opens() -> None:
        tries.append(threading.current_thread().name)
        if len(tries) == 2:
            raise DeviceError("the GPU has no memory for a second session")

    slow = fakes.segment_engine(sessions=2, labels=SLOW)
    quick = fakes.segment_engine(sessions=2, labels=QUICK, opens=opens)
    builder = building(gives(quick), first=slow)
    with Pipeline(FakeSource(None), segment="any", keep="every") as pipeline:
        results = iter(pipeline)
        found = while_not(builder.begun.is_set, results)
        builder.go_on.set()
        found += while_not(lambda: len(tries) == 2, results)
        found += until_taken_over(results)
    assert [result.frame.seq for result in found] == list(range(len(found)))
    assert [line for line in told(pipeline) if "stays" in line] == [
        "fake_segment: a worker stays with the engine it has: the GPU has no memory for a second session"
    ]
    assert slow.released.is_set()
    assert sorted(slow.opened) == sorted(slow.closed)
    assert len(quick.opened) == len(quick.closed) == 1


def test_idle_workers_go_over_too(building: Callable[..., Builder]) -> None:
    """A camera that is away must not keep the engine before in memory."""
    away, back = threading.Event(), threading.Event()

    def pause(at: int) -> None:
        if at == 100:
            away.set()
            assert back.wait(LONG_S)

    quick = fakes.segment_engine(labels=QUICK)
    builder = building(gives(quick))
    with Pipeline(FakeSource(101, before=pause), segment="any") as pipeline:
        results = iter(pipeline)
        found = [next(results) for _ in range(100)]
        assert away.is_set()
        assert builder.begun.wait(LONG_S)
        builder.go_on.set()
        assert builder.first.released.wait(LONG_S)
        back.set()
        found += list(results)
    assert makers(found) == [False] * 100 + [True]
    assert books(pipeline) == {"captured": 101, "rendered": 101}


def test_batches_are_decided_anew(building: Callable[..., Builder]) -> None:
    slow = fakes.segment_engine(sessions=1, labels=SLOW)
    quick = fakes.segment_engine(sessions=1, labels=QUICK, batches=(1,))
    builder = building(gives(quick), first=slow)
    with Pipeline(
        [FakeSource(None, name="a"), FakeSource(None, name="b")], segment="any", batching="always"
    ) as pipeline:
        results = iter(pipeline)
        while_not(lambda: builder.begun.is_set() and max(slow.ran) == 2, results)
        assert "of 2 streams go as one batch" in pipeline.networks["fake_segment"].batching
        builder.go_on.set()
        until_taken_over(results)
        assert "each frame goes alone" in pipeline.networks["fake_segment"].batching
    assert set(quick.ran) == {1}


# The end


def test_stop_cancels_a_build_at_once(building: Callable[..., Builder]) -> None:
    def job(builder: Builder, candidate: Candidate) -> Engine | None:
        builder.waits()
        raise AssertionError("nobody lets it go on")

    builder = building(job, better=(TRT, ORT))
    with Pipeline(FakeSource(None), segment="any") as pipeline:
        results = iter(pipeline)
        while_not(builder.begun.is_set, results)
    assert builder.is_cancelled()
    assert builder.tried == [TRT]
    assert told(pipeline)[2:] == [], "that it was stopped needs no line"
    assert builder.first.released.is_set()


@pytest.mark.parametrize("count", [0, 3])
def test_a_stop_ends_the_waiting_for_frames(building: Callable[..., Builder], count: int) -> None:
    stalled = threading.Event()

    def stall(at: int) -> None:
        if at == count:
            stalled.set()
            ended.wait(LONG_S)

    ended = threading.Event()
    builder = building(gives(fakes.segment_engine()))
    with Pipeline(FakeSource(None, before=stall, is_live=True), segment="any") as pipeline:
        assert stalled.wait(LONG_S)
        pipeline.stop()
        ended.set()
        assert pipeline.wait(LONG_S)
    assert builder.tried == []


def test_a_build_that_ends_as_the_pipeline_does_leaves_nothing(building: Callable[..., Builder]) -> None:
    """It takes over although it was stopped; its new workers find nothing to do."""
    quick = fakes.segment_engine(sessions=4, labels=QUICK)

    def job(builder: Builder, candidate: Candidate) -> Engine | None:
        while not builder.is_cancelled():
            threading.Event().wait(0.001)
        return quick

    builder = building(job, first=fakes.segment_engine(sessions=1, labels=SLOW))
    with Pipeline(FakeSource(None), segment="any") as pipeline:
        results = iter(pipeline)
        while_not(builder.begun.is_set, results)
    assert builder.first.released.is_set()
    assert quick.released.is_set()
    assert sorted(quick.opened) == sorted(quick.closed)
    assert "in_flight" not in books(pipeline)


def test_stopped_at_random_moments_of_a_changeover(building: Callable[..., Builder]) -> None:
    for seed in range(30):
        rng = Random(seed)
        slow = fakes.segment_engine(sessions=rng.randint(1, 3), labels=SLOW)
        quick = fakes.segment_engine(sessions=rng.randint(1, 3), labels=QUICK)
        builder = building(gives(quick), first=slow)
        sources = [FakeSource(None, name=name, is_live=rng.random() < 0.5) for name in "abc"[: rng.randint(1, 3)]]
        sink = FakeSink()
        timers: list[threading.Timer] = []
        with Pipeline(sources, segment="any", sinks=[sink]) as pipeline:
            timers.append(threading.Timer(rng.random() * 0.1, pipeline.stop))
            timers.append(threading.Timer(rng.random() * 0.1, builder.go_on.set))
            for timer in timers:
                timer.start()
            assert pipeline.wait(LONG_S)
        for timer in timers:
            timer.join()
        assert slow.released.is_set()
        for engine in (slow, quick):
            assert sorted(engine.opened) == sorted(engine.closed)
        for name in pipeline.stats().streams:
            assert "in_flight" not in books(pipeline, name), f"round {seed}"
            assert sink.seqs(name) == sorted(set(sink.seqs(name)))


@pytest.mark.parametrize(
    "options", [{"engine": "fake"}, {"precision": "fp32"}, {"engine": "fake", "precision": "fp32"}], ids=str
)
def test_what_was_asked_for_is_never_replaced(building: Callable[..., Builder], options: dict[str, Any]) -> None:
    builder = building(gives(fakes.segment_engine()))
    with Pipeline(FakeSource(5), segment="any", **options) as pipeline:
        assert pipeline.wait(LONG_S)
    assert builder.threads == set()


def test_an_engine_that_was_given_is_never_replaced_nor_closed(building: Callable[..., Builder]) -> None:
    builder = building(gives(fakes.segment_engine()))
    engine = fakes.segment_engine()
    with Pipeline(FakeSource(5), segment=engine) as pipeline:
        assert pipeline.wait(LONG_S)
    assert builder.threads == set()
    assert not engine.released.is_set()
    assert told(pipeline) == []


def test_where_nothing_is_better_nothing_is_collected(building: Callable[..., Builder]) -> None:
    builder = building(gives(fakes.segment_engine()), better=())
    with Pipeline(FakeSource(30), segment="any") as pipeline:
        assert pipeline.wait(LONG_S)
    assert builder.threads == {"hr-build-fake_segment"}
    assert builder.tried == []


def test_a_choice_that_fails_does_not_end_the_pipeline(
    building: Callable[..., Builder], monkeypatch: pytest.MonkeyPatch
) -> None:
    def choose(spec: ModelSpec) -> Choice:
        raise EngineError("the cache folder is gone")

    building(gives(fakes.segment_engine()))
    monkeypatch.setattr("headrace.stream.upgrade.choose", choose)
    with Pipeline(FakeSource(30), segment="any") as pipeline:
        assert pipeline.wait(LONG_S)
    line = "fake_segment: looking for a faster engine, fake goes on: the cache folder is gone"
    assert told(pipeline)[1:] in ([line], [])  # not told where the pipeline ended first


# Clips


def test_the_action_network_changes_over_too(building: Callable[..., Builder]) -> None:
    slow, quick = fakes.action_engine(), fakes.action_engine()
    quick = FakeEngine(replace(quick.spec, labels=("calm", "brawl")), quick.work, sessions=1)
    builder = building(gives(quick), first=slow)
    with Pipeline(FakeSource(None), action="any") as pipeline:
        results = iter(pipeline)
        while_not(builder.begun.is_set, results)
        builder.go_on.set()
        labels: list[str] = []
        while not labels or labels[-1] not in ("calm", "brawl"):
            labels += [action.label for action in next(results).actions]
        assert slow.released.wait(LONG_S)
    assert {"normal", "fight"} & set(labels)
    assert set(builder.feeds[0][0]) == {"images", "flows"}
    assert len(builder.feeds[0]) == 8
    assert slow.opened == slow.closed == quick.opened == quick.closed == ["hr-action"]
