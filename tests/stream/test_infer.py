"""Workers at their work, without threads around them: batches give each stream what it would get alone."""

import threading
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import fakes
import numpy as np
import pytest
from fakes import FakeEngine, FakeSource
from media import numbered

from headrace.engines.base import Engine, EngineInfo, Session
from headrace.stream import infer
from headrace.stream.batching import ALONE, BatchPlan, plan_batches
from headrace.stream.changeover import RunningEngine
from headrace.stream.channel import Channel
from headrace.stream.event import EventLog
from headrace.stream.frame import Clip, Frame, Result
from headrace.stream.lane import Workload
from headrace.stream.path import StreamPath
from headrace.stream.picture import RgbPicture
from headrace.stream.recent import RecentFeeds
from headrace.stream.stages import CutClip


class Bug(Exception):
    """What a network fails with."""


def never(before: EngineInfo) -> Engine:
    raise AssertionError("nothing has taken over")


class NoPicture:
    """Cannot be converted."""

    size = (64, 48)

    def rgb(self, size: object = None) -> np.ndarray:
        raise Bug("no picture")


class Table:
    """Streams whose frames, at most four each, all wait already.

    Stream number k has the pictures k, k + streams, k + 2 · streams …; those of stream `broken` cannot be converted.
    """

    def __init__(self, *counts: int, broken: int | None = None) -> None:
        self.changed = threading.Condition()
        self.paths: dict[str, StreamPath] = {}
        for at, count in enumerate(counts):
            path = StreamPath(
                str(at),
                FakeSource(),
                every=True,
                with_clips=False,
                frames=self.changed,
                stop=threading.Event(),
                events=EventLog(),
            )
            for seq in range(count):
                picture = RgbPicture(numbered(at + seq * len(counts))) if at != broken else NoPicture()
                path.ledger.captured(seq)
                path.frames.inbox.put(
                    Frame(picture=picture, stream_id=str(at), seq=seq, epoch=0, pts_s=seq / 25, arrival_ns=0)
                )
            path.frames.inbox.close()
            self.paths[str(at)] = path
        self.work: Workload[Frame, Result] = Workload([path.frames for path in self.paths.values()], self.changed)

    def segment(self, engine: Engine, plan: BatchPlan = ALONE) -> None:
        """One worker does all the work."""
        infer.segment(self.work, running(engine, self.changed, plan), self.paths)

    def results(self, stream_id: str) -> list[Result]:
        return list(self.paths[stream_id].frames)


def running(engine: Engine, changed: threading.Condition, plan: BatchPlan) -> RunningEngine:
    def decided(engine: Engine, session: Session) -> BatchPlan:
        return plan

    return RunningEngine(
        engine, plan=decided, reopen=never, recent=RecentFeeds(2), changed=changed, tell=print, warn=print
    )


@pytest.mark.parametrize("counts", [(4, 4), (4, 2, 3), (1, 4, 3, 2), (0, 3)])
def test_each_stream_gets_of_a_batch_what_it_gets_alone(counts: tuple[int, ...]) -> None:
    alone, batched = Table(*counts), Table(*counts)
    singly, together = fakes.segment_engine(sessions=1), fakes.segment_engine(sessions=1)
    alone.segment(singly)
    batched.segment(together, BatchPlan(limit=len(counts)))
    assert set(singly.ran) == {1}
    # As many as have something left, each time: a stream that ends early holds nobody up.
    assert together.ran == [sum(count > at for count in counts) for at in range(max(counts))]
    for stream_id, count in enumerate(counts):
        expected, found = alone.results(str(stream_id)), batched.results(str(stream_id))
        assert [result.frame.seq for result in found] == list(range(count))
        for one, other in zip(expected, found, strict=True):
            assert one.mask is not None
            assert other.mask is not None
            np.testing.assert_array_equal(one.mask, other.mask)
            bits = [int(value) for value in other.mask[4, [2 + 4 * bit for bit in range(8)]]]
            number = stream_id + other.frame.seq * len(counts)
            assert bits == [number >> bit & 1 for bit in range(8)], "it is of another stream's picture"


def test_a_batch_no_longer_than_the_plan_says() -> None:
    table = Table(4, 4, 4)
    engine = fakes.segment_engine(sessions=1)
    table.segment(engine, BatchPlan(limit=2))
    assert engine.ran == [2] * 6


def test_a_result_keeps_no_memory_of_the_others_and_is_never_written_again() -> None:
    table = Table(4, 4)
    table.segment(fakes.segment_engine(sessions=1), BatchPlan(limit=2))
    masks = [result.mask for stream_id in ("0", "1") for result in table.results(stream_id)]
    for at, mask in enumerate(masks):
        assert mask is not None
        assert mask.base is None
        assert not any(np.shares_memory(mask, other) for other in masks[:at] if other is not None)


def test_times_of_a_batch_are_shared_out() -> None:
    table = Table(3, 3)
    table.segment(fakes.segment_engine(sessions=1), BatchPlan(limit=2))
    for at in range(3):
        one, other = (next(iter(table.paths[stream_id].frames)) for stream_id in ("0", "1"))
        assert one.frame.seq == other.frame.seq == at
        assert one.stage_ms["segment"] == other.stage_ms["segment"] > 0
        assert set(one.stage_ms) == {"decode", "convert", "segment"}
    for path in table.paths.values():
        assert path.meters.infer.overall_fps > 0


def test_a_failed_batch_is_given_up_as_a_whole() -> None:
    def fail(at: int) -> None:
        if at == 1:
            raise Bug("a bug")

    table = Table(3, 3, 1)
    with pytest.raises(Bug):
        table.segment(fakes.segment_engine(fail, sessions=1), BatchPlan(limit=3))
    for path in table.paths.values():
        path.end()
    failed = [path.ledger.entry().dropped["failed"] for path in table.paths.values()]
    assert failed == [1, 1, 0]


def test_a_picture_that_cannot_be_converted_fails_its_batch() -> None:
    table = Table(2, 2, broken=1)
    engine = fakes.segment_engine(sessions=1)
    with pytest.raises(Bug, match="no picture"):
        table.segment(engine, BatchPlan(limit=2))
    assert engine.ran == []
    assert [path.ledger.entry().dropped["failed"] for path in table.paths.values()] == [1, 1]


# Clips


def _clip(rng: Random, stream_id: str) -> Clip:
    numbers = np.random.default_rng(rng.randrange(1000))
    return Clip(
        images=numbers.integers(0, 256, (3, 24, 32, 3), np.uint8),
        flows=numbers.random((4, 24, 32, 2), np.float32),
        pts_s=np.arange(5) / 10,
        stream_id=stream_id,
        epoch=0,
        arrival_ns=0,
    )


def _scores(plan: BatchPlan, make: Callable[[], FakeEngine]) -> tuple[list[list[float]], list[int]]:
    rng = Random(1)
    table = Table(0, 0)
    clips: Channel[CutClip] = Channel("clips", 20)
    for seq in range(4):
        for path in table.paths.values():
            path.board.looked_at(seq, 1)
            clips.put((path, seq, _clip(rng, path.stream_id)))
    clips.close()
    engine = make()
    infer.recognise(clips, running(engine, table.changed, plan), "both")
    found = [path.board.at(seq, 0) for path in table.paths.values() for seq in range(4)]
    return [[action.probability for action in actions] for actions in found], engine.ran


def test_clips_that_wait_together_get_what_they_get_alone() -> None:
    alone, singly = _scores(ALONE, fakes.action_engine)
    batched, together = _scores(BatchPlan(limit=3), fakes.action_engine)
    assert singly == [1] * 8
    assert together == [3, 3, 2]
    assert len({tuple(each) for each in alone}) == 8
    assert batched == alone


def test_the_plan_is_made_on_the_worker_s_own_session() -> None:
    table = Table(2, 2)
    engine = fakes.segment_engine(sessions=1)
    told: list[str] = []

    def plan(engine: Engine, session: Session) -> BatchPlan:
        return plan_batches(engine, session, 2, mode="always")

    at_work = RunningEngine(
        engine, plan=plan, reopen=never, recent=RecentFeeds(1), changed=table.changed, tell=told.append, warn=print
    )
    infer.segment(table.work, at_work, table.paths)
    assert len(engine.opened) == 1
    assert engine.ran == [2, 2]
    assert told == ["fake_segment: frames of 2 streams go as one batch, as asked"]
    assert at_work.plan.limit == 2


@pytest.mark.parametrize("field", ["inputs", "outputs"])
@pytest.mark.parametrize("change", [{"dtype": "float32"}, {"layout": "BCHW", "shape": (None, 3, 24, 32)}], ids=str)
def test_a_network_of_floats_or_of_another_layout_is_refused_before_anything_runs(
    field: str, change: dict[str, Any]
) -> None:
    made = fakes.segment_engine()
    (tensor,) = made.inputs if field == "inputs" else made.outputs
    other = FakeEngine(replace(made.spec, **{field: (replace(tensor, **change),)}), made.work)
    has = change.get("dtype", "uint8") + " " + change.get("layout", tensor.layout)
    with pytest.raises(ValueError, match=rf"picture, uint8 BHWC.*class map, uint8 BHW\).*{tensor.name} \({has}\)"):
        infer.check_ports(other, "segment", "both")
    infer.check_ports(made, "segment", "both")


def test_an_action_network_takes_pictures_of_bytes() -> None:
    made = fakes.action_engine()
    infer.check_ports(made, "action", "both")
    inputs = tuple(replace(each, dtype="float32") for each in made.inputs)
    with pytest.raises(ValueError, match=r"images \(uint8\) and flows \(float32\)"):
        infer.check_ports(FakeEngine(replace(made.spec, inputs=inputs), made.work), "action", "both")
