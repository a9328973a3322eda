"""Several streams through one network as batches: the same results, in order, whatever happens to one of them."""

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

import fakes
import numpy as np
import pytest
import tiny_models
from fakes import FakeEngine, FakeSink, FakeSource, dead_source
from runs import LONG_S, books

from headrace.engines import open_engine
from headrace.stream import Pipeline, PipelineError, Result, SourceError
from headrace.stream.batching import Batching
from headrace.stream.sources.base import Source

NAMES = "abcd"


class Bug(Exception):
    """What a network fails with."""


def of_each(results: list[Result]) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(result.frame.stream_id, []).append(result)
    return found


def engine_that(when_batched: Callable[[int], object], *, sessions: int = 1) -> FakeEngine:
    """Calls back with the number of the run where it runs a batch of several."""
    made: list[FakeEngine] = []

    def look(at: int) -> None:
        if made[0].ran[-1] > 1:
            when_batched(at)

    made.append(fakes.segment_engine(look, sessions=sessions))
    return made[0]


def played(batching: Batching, counts: tuple[int, ...]) -> tuple[dict[str, list[Result]], FakeEngine]:
    """Files of so many pictures; the network waits at first, until each has given some."""
    begun = [threading.Event() for _ in counts]

    def source(at: int) -> FakeSource:
        return FakeSource(
            counts[at],
            name=NAMES[at],
            size=(64 + 16 * at, 48),
            before=lambda n: begun[at].set() if n == min(6, counts[at]) else None,
        )

    engine = fakes.segment_engine(lambda run: [each.wait(LONG_S) for each in begun], sessions=1)
    with Pipeline([source(at) for at in range(len(counts))], segment=engine, batching=batching) as pipeline:
        results = of_each(list(pipeline))
    for name, count in zip(NAMES, counts, strict=False):
        assert books(pipeline, name) == {"captured": count, "rendered": count}
    return results, engine


@pytest.mark.parametrize("counts", [(40, 40), (40, 7, 30), (25, 40, 1, 33)])
def test_batched_results_are_those_of_frames_alone(counts: tuple[int, ...]) -> None:
    alone, singly = played("never", counts)
    batched, together = played("always", counts)
    assert set(singly.ran) == {1}
    assert max(together.ran) > 1
    assert max(together.ran) <= len(counts)
    for name, count in zip(NAMES, counts, strict=False):
        assert [each.frame.seq for each in batched[name]] == list(range(count))
        for one, other in zip(alone[name], batched[name], strict=True):
            assert one.mask is not None
            assert other.mask is not None
            np.testing.assert_array_equal(one.mask, other.mask)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_batched_results_of_a_real_engine_are_those_of_frames_alone(tmp_path: Path, backend: str) -> None:
    pytest.importorskip(backend)
    spec = replace(tiny_models.segmenter(tmp_path), size=(16, 12))
    with open_engine(spec, engine=backend, sessions=1) as engine:
        found = []
        modes: list[Batching] = ["never", "always"]
        for batching in modes:
            sources = [FakeSource(30, name=name, size=(64 + at, 48)) for at, name in enumerate("abc")]
            with Pipeline(sources, segment=engine, batching=batching) as pipeline:
                found.append(of_each(list(pipeline)))
    alone, batched = found
    for name in "abc":
        for one, other in zip(alone[name], batched[name], strict=True):
            assert one.mask is not None
            assert other.mask is not None
            np.testing.assert_array_equal(one.mask, other.mask)


def test_one_that_is_dead_one_that_dies_and_one_that_is_silent_hold_nobody_up() -> None:
    silent = threading.Event()
    sources = [
        dead_source(),
        FakeSource(None, name="dies", fails={20: SourceError("the cable is out")}),
        FakeSource(3, name="silent", before=lambda at: silent.wait(LONG_S) if at == 2 else None),
        FakeSource(80, name="lives", before=lambda at: silent.set() if at == 80 else None),
    ]
    engine = fakes.segment_engine(sessions=1)
    pipeline = Pipeline(sources, segment=engine, batching="always")
    with pytest.raises(PipelineError, match="'dead' failed"), pipeline:
        pipeline.wait(LONG_S)
    assert books(pipeline, "dead") == {}
    assert books(pipeline, "dies") == {"captured": 20, "rendered": 20}
    assert books(pipeline, "silent") == {"captured": 3, "rendered": 3}
    assert books(pipeline, "lives") == {"captured": 80, "rendered": 80}


def test_under_load_live_streams_drop_and_the_books_add_up() -> None:
    captured = [threading.Event() for _ in range(3)]
    opened = threading.Event()

    def before(at: int, n: int) -> None:
        if n == 50:
            captured[at].set()
            assert opened.wait(LONG_S)

    sources = [FakeSource(51, name=NAMES[at], is_live=True, before=partial(before, at)) for at in range(3)]
    engine = fakes.segment_engine(lambda run: opened.wait(LONG_S), sessions=1)
    with Pipeline(sources, segment=engine, batching="always") as pipeline:
        assert all(each.wait(LONG_S) for each in captured)
        opened.set()
        results = of_each(list(pipeline))
    assert max(engine.ran) > 1
    for name in NAMES[:3]:
        shown = [result.frame.seq for result in results[name]]
        assert shown == sorted(set(shown))
        assert shown[-1] == 50, "the newest frame is not lost"
        found = books(pipeline, name)
        assert found["captured"] == 51
        assert found["policy"] == 51 - found["rendered"] > 30


def test_a_stop_in_the_middle_of_a_batch() -> None:
    in_batch, stopped = threading.Event(), threading.Event()

    def hold(run: int) -> None:
        in_batch.set()
        assert stopped.wait(LONG_S)

    engine = engine_that(hold)
    sources = [FakeSource(None, name=name, is_live=name == "b") for name in "abc"]
    with Pipeline(sources, segment=engine, batching="always") as pipeline:
        assert in_batch.wait(LONG_S)
        batch = engine.ran[-1]
        pipeline.stop()
        stopped.set()
        assert list(pipeline) == []
    assert engine.ran[-1] == batch
    stopped_frames = 0
    for name in "abc":
        found = books(pipeline, name)
        assert "in_flight" not in found
        assert found["captured"] == found.get("rendered", 0) + found.get("policy", 0) + found["stopped"]
        stopped_frames += found["stopped"]
    assert stopped_frames >= batch > 1


def test_one_stream_ends_in_the_middle_of_a_batch_and_the_others_go_on() -> None:
    ended: list[str] = []
    pipelines: list[Pipeline] = []

    def end_one(run: int) -> None:
        if not ended:
            ended.append("a")
            pipelines[0]._paths["a"].end()

    engine = engine_that(end_one)
    sources = [FakeSource(None, name="a"), FakeSource(60, name="b"), FakeSource(60, name="c")]
    pipelines.append(Pipeline(sources, segment=engine, batching="always"))
    with pipelines[0] as pipeline:
        assert pipeline.wait(LONG_S)
    assert "in_flight" not in books(pipeline, "a")
    for name in "bc":
        assert books(pipeline, name) == {"captured": 60, "rendered": 60}


def test_a_batch_that_fails_is_counted_frame_by_frame() -> None:
    def fail(run: int) -> None:
        raise Bug("a bug")

    engine = engine_that(fail)
    pipeline = Pipeline([FakeSource(None, name=name) for name in "ab"], segment=engine, batching="always")
    with pytest.raises(PipelineError, match=r"stage 'infer-0' failed: a bug"), pipeline:
        pipeline.wait(LONG_S)
    assert engine.ran[-1] == 2
    assert [books(pipeline, name)["failed"] for name in "ab"] == [1, 1]


def test_what_was_decided_can_be_read_and_is_told_once_where_it_changes_anything() -> None:
    sources = [FakeSource(5, name=name) for name in "ab"]
    with Pipeline(
        sources, segment=fakes.segment_engine(), action=fakes.action_engine(), batching="always"
    ) as pipeline:
        assert pipeline.wait(LONG_S)
        texts = {name: network.batching for name, network in pipeline.networks.items()}
    assert texts == {
        "fake_segment": "fake_segment: frames of 2 streams go as one batch, as asked",
        "fake_action": "fake_action: clips of 2 streams go as one batch, as asked",
    }
    told = [(event.kind, event.text) for event in pipeline.events.take()]
    assert sorted(text for kind, text in told if kind == "notice" and "batch" in text) == sorted(texts.values())


def test_auto_measures_where_there_are_several_streams_and_says_why() -> None:
    engine = fakes.segment_engine()
    with Pipeline([FakeSource(5, name=name) for name in "ab"], segment=engine) as pipeline:
        assert pipeline.wait(LONG_S)
        assert "ms" in pipeline.networks["fake_segment"].batching
    assert engine.ran[:4] == [1, 2, 1, 2], "one alone and two in turn, on the first worker's session"
    alone = fakes.segment_engine()
    with Pipeline(FakeSource(5), segment=alone) as pipeline:
        assert pipeline.wait(LONG_S)
        assert pipeline.networks["fake_segment"].batching == ""
    assert alone.ran == [1] * 5


def test_a_way_of_batching_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match=r"batching='maybe' is not one of auto, always, never"):
        Pipeline(FakeSource(1), batching="maybe")  # type: ignore[arg-type]


# Stopped at random moments


def play_round(seed: int) -> None:
    rng = Random(seed)
    sources: list[Source] = []
    for name in NAMES[: rng.randint(2, 4)]:
        kind = rng.choice(["file", "endless", "camera", "dies"])
        fails = {rng.randrange(40): SourceError("the cable is out")} if kind == "dies" else {}
        count = 60 if kind == "file" else None
        sources.append(FakeSource(count, name=name, is_live=kind == "camera", fails=fails))
    bug_at = rng.randrange(60) if rng.random() < 0.2 else -1

    def fail(run: int) -> None:
        if run == bug_at:
            raise Bug("a bug")

    sink = FakeSink()
    pipeline = Pipeline(
        sources,
        segment=fakes.segment_engine(fail, sessions=rng.choice([1, 1, 2, 3]), batches=rng.choice([(), (1, 2)])),
        action=fakes.action_engine() if rng.random() < 0.5 else None,
        sinks=[sink],
        batching=rng.choice(["always", "auto"]),
    )
    stopper = threading.Timer(rng.choice([0.0, rng.random() * 0.05, rng.random() * 0.2]), pipeline.stop)
    cause: BaseException | None = None
    try:
        with pipeline:
            stopper.start()
            assert pipeline.wait(LONG_S)
    except PipelineError as error:
        cause = error.__cause__
    finally:
        stopper.join()
    assert isinstance(cause, SourceError | Bug | None), f"round {seed}"
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("hr-")]
    for stream_id in pipeline.stats().streams:
        found = books(pipeline, stream_id)
        assert "in_flight" not in found, f"round {seed}"
        seqs = sink.seqs(stream_id)
        assert seqs == sorted(set(seqs))
        assert len(seqs) <= found.get("rendered", 0)


def test_stopped_at_random_moments() -> None:
    for seed in range(20):
        play_round(seed)


@pytest.mark.slow
def test_stopped_a_hundred_times() -> None:
    for seed in range(20, 120):
        play_round(seed)
