"""The pipeline at work: results in order, which frames are kept, limits, several streams, books that add up."""

import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import fakes
import pytest
from fakes import FakeSink, FakeSource, dead_source
from media import write_video
from runs import LONG_S, books, gate, numbers

from headrace.stream import Pipeline, PipelineError, SourceError
from headrace.stream.frame import Result
from headrace.stream.stats import PipelineStats

# The work


def test_every_frame_of_a_file_in_order() -> None:
    with Pipeline(FakeSource(60), segment=fakes.segment_engine(sessions=3)) as pipeline:
        results = list(pipeline)
    assert numbers(results) == list(range(60))
    assert [result.frame.seq for result in results] == list(range(60))
    assert books(pipeline) == {"captured": 60, "rendered": 60}
    for at, result in enumerate(results):
        assert result.mask is not None
        assert result.mask.shape == (24, 32)
        # The mask is that of its own frame: the bars of the picture's number are light.
        middles = [2 + 4 * bit for bit in range(8)]
        assert [int(value) for value in result.mask[4, middles]] == [at >> bit & 1 for bit in range(8)]
        assert set(result.stage_ms) == {"decode", "convert", "segment", "render"}
        assert result.share("light") == pytest.approx(result.mask.mean())


def test_a_real_file_of_pictures_with_b_frames(tmp_path: Path) -> None:
    times = [1.0, 1.04, 1.05, 1.3, 1.301, 2.0, 2.04, 2.08]
    path = write_video(tmp_path / "a.mp4", times_s=times, b_frames=2)
    with Pipeline(path) as pipeline:
        results = list(pipeline)
    assert numbers(results) == list(range(8))
    assert [result.frame.pts_s for result in results] == pytest.approx(times, abs=1 / 90_000)
    assert books(pipeline, "a.mp4") == {"captured": 8, "rendered": 8}


def test_workers_that_finish_out_of_order_do_not_show() -> None:
    second_is_done = threading.Event()

    def hold_the_first(at: int) -> None:
        if at == 0:
            assert second_is_done.wait(LONG_S)
        elif at == 1:
            second_is_done.set()

    engine = fakes.segment_engine(hold_the_first, sessions=2)
    with Pipeline(FakeSource(12), segment=engine) as pipeline:
        assert numbers(list(pipeline)) == list(range(12))


def test_the_same_file_gives_the_same_actions_every_time() -> None:
    def play(seed: int) -> list[tuple[int, list[tuple[str, float, float, float]]]]:
        rng, event = Random(seed), threading.Event()
        engine = fakes.action_engine(lambda at: event.wait(rng.random() * 0.003))
        with Pipeline(FakeSource(60), action=engine) as pipeline:
            return [
                (r.frame.seq, [(a.label, a.probability, a.start_s, a.end_s) for a in r.actions]) for r in pipeline
            ]

    first, second = play(1), play(2)
    assert first == second
    assert len(first) == 60
    for seq, actions in first:
        for _, _, _, end_s in actions:
            assert end_s <= seq / 25 + 0.021, "a clip is never shown before it has ended"
    assert first[-1][1], "there are actions at the end"


def test_drawn_pictures_are_there_where_somebody_wants_them() -> None:
    cases: list[tuple[dict[str, Any], bool]] = [
        ({}, False),
        ({"draw": True}, True),
        ({"sinks": [FakeSink()]}, False),
        ({"sinks": [FakeSink(wants_pictures=True)]}, True),
    ]
    for options, wanted in cases:
        with Pipeline(FakeSource(3), **options) as pipeline:
            for result in pipeline:
                assert (result.drawn is not None) == wanted, options


def test_waiting_without_reading() -> None:
    with Pipeline(FakeSource(200)) as pipeline:
        assert pipeline.wait(timeout_s=LONG_S)
    assert books(pipeline) == {"captured": 200, "rendered": 200}


def test_waiting_says_when_the_time_is_over() -> None:
    opened, wait = gate()
    with Pipeline(FakeSource(3, before=wait)) as pipeline:
        assert pipeline.wait(timeout_s=0.0) is False
        assert pipeline.wait(timeout_s=0.01) is False
        opened.set()
        assert pipeline.wait(timeout_s=LONG_S) is True
        assert pipeline.wait(timeout_s=0.0) is True


def test_a_pipeline_runs_once() -> None:
    pipeline = Pipeline(FakeSource(1))
    with pipeline:
        pipeline.wait()
    with pytest.raises(RuntimeError, match="runs once"), pipeline:
        pass


# Which frames are kept


def test_live_the_newest_wins_and_every_drop_is_counted() -> None:
    opened, wait = gate()
    captured = threading.Event()

    def count(at: int) -> None:
        if at == 50:
            captured.set()
            assert opened.wait(LONG_S)

    source = FakeSource(51, is_live=True, before=count)
    with Pipeline(source, segment=fakes.segment_engine(wait, sessions=1)) as pipeline:
        assert captured.wait(LONG_S)
        opened.set()
        shown = numbers(list(pipeline))
    assert shown == sorted(shown)
    assert shown[-1] == 50, "the newest frame is not lost"
    found = books(pipeline)
    assert found["captured"] == 51
    assert found["policy"] == 51 - found["rendered"] > 30
    assert len(found) == 3


def test_keep_every_waits_for_a_slow_network_also_live() -> None:
    source = FakeSource(40, is_live=True)
    with Pipeline(source, segment=fakes.segment_engine(sessions=1), keep="every") as pipeline:
        assert numbers(list(pipeline)) == list(range(40))
    assert books(pipeline) == {"captured": 40, "rendered": 40}


def test_keep_latest_drops_from_a_file() -> None:
    opened, wait = gate()
    ended = threading.Event()
    source = FakeSource(40, before=lambda at: ended.set() if at == 40 else None)
    with Pipeline(source, segment=fakes.segment_engine(wait, sessions=1), keep="latest") as pipeline:
        assert ended.wait(LONG_S)
        opened.set()
        shown = numbers(list(pipeline))
    assert len(shown) < 40
    assert books(pipeline)["policy"] == 40 - books(pipeline)["rendered"]


def test_a_file_played_live_takes_its_time_and_drops() -> None:
    opened, wait = gate()
    with Pipeline(
        FakeSource(None), segment=fakes.segment_engine(wait, sessions=1), pace="live", frames=3
    ) as pipeline:
        while pipeline.stats().streams["fake"].ledger.dropped["policy"] < 3:
            assert not pipeline.wait(0.02)
        opened.set()
        assert pipeline.wait(LONG_S)
    found = books(pipeline)
    assert found["rendered"] == 3
    assert found["policy"] >= 3


# Limits


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("frames", [1, 2, 17])
def test_so_many_frames(frames: int, live: bool) -> None:
    sink = FakeSink()
    with Pipeline(FakeSource(None, is_live=live), frames=frames, sinks=[sink]) as pipeline:
        assert pipeline.wait(LONG_S)
        assert pipeline.stats().streams["fake"].ledger.rendered == frames
    found = books(pipeline)
    assert found["rendered"] == frames
    assert "in_flight" not in found
    assert [end.ledger.rendered for end in sink.ends] == [frames]
    if not live:
        assert sink.seqs("fake") == list(range(frames))


def test_so_many_frames_of_each_stream() -> None:
    sources = [FakeSource(None, name="a"), FakeSource(None, name="b"), FakeSource(4, name="c")]
    with Pipeline(sources, segment=fakes.segment_engine(), frames=9) as pipeline:
        assert pipeline.wait(LONG_S)
    assert [each.ledger.rendered for each in pipeline.stats().streams.values()] == [9, 9, 4]


@pytest.mark.parametrize("start_s", [0.0, 100.0])
def test_so_many_seconds_of_a_file_are_of_its_own_time(start_s: float) -> None:
    with Pipeline(FakeSource(None, start_s=start_s), seconds=2.0) as pipeline:
        results = list(pipeline)
    assert len(results) == 50


def test_so_many_seconds_of_a_file_that_loops() -> None:
    with Pipeline(FakeSource(10), seconds=2.0, loop=True) as pipeline:
        results = list(pipeline)
    assert len(results) == pytest.approx(50, abs=2)
    assert results[-1].frame.epoch == 4


def test_so_many_seconds_of_a_camera_that_says_nothing() -> None:
    """Its own time stands still: the clock ends it."""
    stalled = threading.Event()

    def stall(at: int) -> None:
        if at == 3:
            stalled.wait(LONG_S)

    with Pipeline(FakeSource(None, is_live=True, before=stall), seconds=0.2) as pipeline:
        threading.Timer(0.4, stalled.set).start()
        assert pipeline.wait(LONG_S)
    assert books(pipeline)["captured"] in (3, 4)


@pytest.mark.parametrize(("name", "value"), [("frames", 0), ("frames", -1), ("seconds", 0.0), ("seconds", -3.0)])
def test_limits_that_make_no_sense_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name}={value}"):
        Pipeline(FakeSource(1), **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": "some"}, r"keep='some' is not one of auto, latest, every"),
        ({"pace": "slow"}, r"pace='slow' is not one of none, live"),
        ({"streams": "audio"}, r"streams='audio' is not one of both, rgb, flow"),
        ({"segment": "no such"}, r"network 'no such' is not known"),
        ({"action": "street"}, r"street is a network for segment, not for action"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Pipeline(FakeSource(1), **options)  # type: ignore[arg-type]


def test_no_source_is_refused() -> None:
    with pytest.raises(ValueError, match="sources: none given"):
        Pipeline([])


def test_an_unknown_engine_fails_before_anything_is_left_running() -> None:
    source = FakeSource(None, is_live=True)
    with (
        pytest.raises(ValueError, match="no such engine"),
        Pipeline(source, segment="street", engine="no such engine", seconds=60),
    ):
        raise AssertionError("it must not start")
    assert source.closed == 0  # it was never opened


# Several streams


def test_streams_do_not_mix() -> None:
    sources = [FakeSource(30, name="a"), FakeSource(45, name="b"), FakeSource(5, name="c")]
    sink = FakeSink()
    with Pipeline(sources, segment=fakes.segment_engine(sessions=2), sinks=[sink]) as pipeline:
        results = list(pipeline)
    for name, count in (("a", 30), ("b", 45), ("c", 5)):
        of_stream = [result for result in results if result.frame.stream_id == name]
        assert numbers(of_stream) == list(range(count))
        assert sink.seqs(name) == list(range(count))
        assert books(pipeline, name) == {"captured": count, "rendered": count}
    assert sorted(end.stream_id for end in sink.ends) == ["a", "b", "c"]
    for end in sink.ends:
        assert end.state == "ended"
        assert end.ledger.in_flight == 0


@pytest.mark.parametrize("live", [False, True])
def test_a_dead_source_and_one_that_dies_do_not_disturb_the_third(live: bool) -> None:
    dies = FakeSource(None, name="dies", fails={20: SourceError("dies: the cable is out")})
    lives = FakeSource(80, name="lives", is_live=live)
    sink = FakeSink()
    pipeline = Pipeline([dead_source(), dies, lives], segment=fakes.segment_engine(), keep="every", sinks=[sink])
    with pytest.raises(PipelineError, match=r"stream 'dead' failed: dead: nobody answers"), pipeline:
        pipeline.wait(LONG_S)
    states = {name: (one.state, one.reason) for name, one in pipeline.stats().streams.items()}
    assert states == {
        "dead": ("failed", "dead: nobody answers"),
        "dies": ("failed", "dies: the cable is out"),
        "lives": ("ended", ""),
    }
    assert books(pipeline, "dead") == {}
    assert books(pipeline, "dies") == {"captured": 20, "rendered": 20}
    assert books(pipeline, "lives") == {"captured": 80, "rendered": 80}
    assert sink.seqs("lives") == list(range(80))
    assert sink.seqs("dies") == list(range(20))
    assert len(sink.ends) == 3


def test_a_stream_that_nobody_feeds_does_not_hold_the_others() -> None:
    stalled, wait = gate()
    sources = [FakeSource(5, name="stalled", before=wait), FakeSource(50, name="lives")]
    with Pipeline(sources, segment=fakes.segment_engine(sessions=1)) as pipeline:
        results: Iterator[Result] = iter(pipeline)
        assert numbers([next(results) for _ in range(50)]) == list(range(50))
        stalled.set()
        assert len(list(results)) == 5


def test_sources_of_one_name_get_names_of_their_own() -> None:
    with Pipeline([FakeSource(2), FakeSource(3), FakeSource(4)]) as pipeline:
        pipeline.wait()
    assert {name: one.ledger.rendered for name, one in pipeline.stats().streams.items()} == {
        "fake": 2,
        "fake-2": 3,
        "fake-3": 4,
    }


# The books


def test_the_books_add_up_at_every_moment() -> None:
    seen: list[PipelineStats] = []
    over = threading.Event()
    sources = [
        FakeSource(300, name="file"),
        FakeSource(300, name="live", is_live=True),
        FakeSource(300, name="dies", fails={150: SourceError("gone")}),
    ]
    pipeline = Pipeline(sources, segment=fakes.segment_engine(), action=fakes.action_engine(), sinks=[FakeSink()])

    def look() -> None:
        while not over.is_set():
            seen.append(pipeline.stats())

    looker = threading.Thread(target=look)
    looker.start()
    try:
        with pytest.raises(PipelineError, match="'dies' failed: gone"), pipeline:
            pipeline.wait(60)
    finally:
        over.set()
        looker.join()
    assert len(seen) > 20
    for stats in [*seen, pipeline.stats()]:
        for one in stats.streams.values():
            assert one.ledger.adds_up, one
            assert one.ledger.in_flight <= 64 + 4 + 4 + 4 + 4
    last = pipeline.stats().streams
    assert [one.ledger.in_flight for one in last.values()] == [0, 0, 0]
    assert last["file"].ledger.rendered == 300
    assert "rendered 300 + dropped 0 + in flight 0" in str(pipeline.stats())
