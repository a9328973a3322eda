"""How a pipeline ends: failures that are named, outputs that fail alone, and a stop that always comes home."""

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import fakes
import numpy as np
import pytest
from fakes import FakeSink, FakeSource, dead_source
from runs import LONG_S, books, gate

from headrace.stream import Pipeline, PipelineError, SinkError, SourceError
from headrace.stream.frame import Packet, Result

# Failures


class Bug(Exception):
    """Something that no stage expects."""


def fails_at(number: int) -> Callable[[int], None]:
    def fail(at: int) -> None:
        if at == number:
            raise Bug("a bug")

    return fail


class BadPicture(FakeSource):
    """One of its pictures is none."""

    def read(self) -> Packet | None:
        packet = super().read()
        if packet is not None and self._next == 10:
            return replace(packet, data=np.zeros((2, 2), np.uint8))
        return packet


STAGES: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "source opens": (lambda: {"sources": FakeSource(fails={-1: Bug("a bug")})}, "capture-fake"),
    "source reads": (lambda: {"sources": FakeSource(fails={10: Bug("a bug")})}, "capture-fake"),
    "source closes": (lambda: {"sources": FakeSource(fails={-2: Bug("a bug")})}, "capture-fake"),
    "decode": (lambda: {"sources": BadPicture()}, "decode-fake"),
    "infer": (lambda: {"segment": fakes.segment_engine(fails_at(10))}, "infer-"),
    "infer at once": (lambda: {"segment": fakes.segment_engine(fails_at(0))}, "infer-"),
    "action": (lambda: {"action": fakes.action_engine(fails_at(1))}, "action"),
}


@pytest.mark.parametrize("several", [False, True], ids=["alone", "among others"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_bug_in_a_stage_is_raised_with_its_name(stage: str, several: bool) -> None:
    make, name = STAGES[stage]
    options: dict[str, Any] = {"sources": FakeSource(100), **make()}
    if several:
        others = [FakeSource(None, name="other"), FakeSource(None, name="camera", is_live=True)]
        options["sources"] = [others[0], options["sources"], others[1]]
    sink = FakeSink()
    pipeline = Pipeline(sinks=[sink], **options)
    with pytest.raises(PipelineError, match=rf"stage '{name}.*' failed: ") as caught, pipeline:
        pipeline.wait(LONG_S)
    assert isinstance(caught.value.__cause__, ValueError if stage == "decode" else Bug)
    assert sink.calls[-1] == "close"
    for stream_id in pipeline.stats().streams:
        assert "in_flight" not in books(pipeline, stream_id), "nothing hangs in the air after a failure"


def test_a_bug_in_drawing_is_raised_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(result: Result, figures: str) -> None:
        if result.frame.seq == 7:
            raise Bug("a bug")

    monkeypatch.setattr("headrace.stream.stages.draw", draw)
    pipeline = Pipeline(FakeSource(100), draw=True)
    with pytest.raises(PipelineError, match=r"stage 'render-fake' failed: a bug"), pipeline:
        pipeline.wait(LONG_S)
    found = books(pipeline)
    assert found["rendered"] == 7
    assert found["failed"] == 1
    assert "in_flight" not in found


def test_a_bug_in_the_motion_stage_is_raised_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def push(self: object, frame: object) -> None:
        raise Bug("a bug")

    monkeypatch.setattr("headrace.stream.stages.ClipSampler.push", push)
    pipeline = Pipeline(FakeSource(100), action=fakes.action_engine())
    with pytest.raises(PipelineError, match=r"stage 'motion-fake' failed: a bug"), pipeline:
        pipeline.wait(LONG_S)


def test_what_a_failed_network_held_is_called_failed() -> None:
    pipeline = Pipeline(FakeSource(100), segment=fakes.segment_engine(fails_at(5), sessions=1))
    with pytest.raises(PipelineError, match="infer-0"), pipeline:
        pipeline.wait(LONG_S)
    found = books(pipeline)
    assert found["failed"] == 1
    assert "policy" not in found


def test_the_first_failure_is_told_also_when_nobody_waits() -> None:
    failed = threading.Event()

    def fail(at: int) -> None:
        failed.set()
        raise Bug("a bug")

    with (
        pytest.raises(PipelineError, match="stage 'infer-"),
        Pipeline(FakeSource(100), segment=fakes.segment_engine(fail)),
    ):
        assert failed.wait(LONG_S)


def test_an_error_in_the_block_is_not_replaced() -> None:
    pipeline = Pipeline([dead_source(), FakeSource(None)])
    with pytest.raises(KeyError, match="mine"), pipeline:
        raise KeyError(f"mine, after {next(iter(pipeline))}")


# Outputs


@pytest.mark.parametrize("where", ["open", 0, 5, "end", "close"])
@pytest.mark.parametrize("error", [SinkError("out: no space left"), OSError("no space left"), Bug("no space left")])
def test_an_output_that_fails_is_an_event_and_the_others_go_on(where: str | int, error: Exception) -> None:
    bad = FakeSink(name="bad", fails={where: error})
    good = FakeSink(name="good")
    with Pipeline([FakeSource(50), FakeSource(50, name="b")], sinks=[bad, good]) as pipeline:
        assert pipeline.wait(LONG_S)
    assert good.seqs("fake") == good.seqs("b") == list(range(50))
    assert len(good.ends) == 2
    assert pipeline.outputs.failures == {"bad": error}
    events = [event for event in pipeline.events.take() if event.kind == "failed"]
    assert len(events) == 1
    assert events[0].stage == "sink-bad"
    assert "no space left" in events[0].text
    assert ("bad" in events[0].text) or isinstance(error, SinkError)
    assert bad.calls[-1] == "close"
    assert bad.calls.count("close") == 1
    assert books(pipeline) == {"captured": 50, "rendered": 50}


def test_an_output_s_calls_come_from_one_thread_of_its_own() -> None:
    sinks = [FakeSink(name="one"), FakeSink(name="two")]
    with Pipeline([FakeSource(5), FakeSource(5, name="b")], sinks=sinks) as pipeline:
        pipeline.wait()
    assert [sink.threads for sink in sinks] == [{"hr-sink-one"}, {"hr-sink-two"}]
    for sink in sinks:
        assert sink.calls[0] == "open"
        assert sink.calls[-1] == "close"


def test_a_slow_window_gets_the_newest_and_slows_nobody() -> None:
    opened, wait = gate()
    window = FakeSink(name="window", wants_all=False, before=wait)
    with Pipeline(FakeSource(100), sinks=[window]) as pipeline:
        results = list(pipeline)
        opened.set()
    assert len(results) == 100
    assert len(window.results) <= 3
    assert len(window.ends) == 1


def test_a_slow_recorder_holds_a_file_back() -> None:
    recorder = FakeSink(name="recorder", before=lambda at: threading.Event().wait(0.0005))
    with Pipeline(FakeSource(100), sinks=[recorder]) as pipeline:
        pipeline.wait()
    assert recorder.seqs("fake") == list(range(100))


def test_a_recorder_too_slow_for_a_camera_is_told_once() -> None:
    opened, wait = gate()
    recorder = FakeSink(name="recorder", before=wait)
    # A network that is quicker than the camera: every frame is rendered.
    with Pipeline(FakeSource(None, is_live=True), sinks=[recorder], frames=60) as pipeline:
        while pipeline.stats().streams["fake"].ledger.rendered < 60:
            assert not pipeline.wait(0.01), "the recorder has not written its last yet"
        opened.set()
        assert pipeline.wait(LONG_S)
    texts = [event.text for event in pipeline.events.take() if event.stage == "sink-recorder"]
    assert texts == ["recorder is too slow: it does not get every frame"]
    assert len(recorder.results) < 60
    assert [end.ledger.rendered for end in recorder.ends] == [60]


# The end


def test_leaving_the_block_early_stops_everything() -> None:
    sink = FakeSink()
    source = FakeSource(None)
    with Pipeline(source, segment=fakes.segment_engine(), sinks=[sink]) as pipeline:
        for at, _ in enumerate(pipeline):
            if at == 5:
                break
    found = books(pipeline)
    assert "in_flight" not in found
    assert found["captured"] == found["rendered"] + found.get("stopped", 0)
    assert source.closed
    assert sink.seqs("fake") == list(range(found["rendered"])), "an output gets all that was rendered"
    assert len(sink.ends) == 1
    assert sink.ends[0].ledger.in_flight == 0
    assert sink.ends[0].ledger.rendered == found["rendered"]


def test_leaving_the_block_at_once() -> None:
    for _ in range(20):
        with Pipeline([FakeSource(None), FakeSource(None, name="b", is_live=True)], action=fakes.action_engine()):
            pass


def test_stop_from_another_thread_ends_iteration() -> None:
    for seed in range(10):
        rng = Random(seed)
        sources = [FakeSource(None, name="a"), FakeSource(None, name="b", is_live=True)]
        with Pipeline(sources, segment=fakes.segment_engine(), action=fakes.action_engine()) as pipeline:
            timer = threading.Timer(rng.random() * 0.05, pipeline.stop)
            timer.start()
            results = list(pipeline)
            timer.join()
        for name in ("a", "b"):
            shown = [result.frame.seq for result in results if result.frame.stream_id == name]
            assert shown == sorted(set(shown))
            assert "in_flight" not in books(pipeline, name)


def test_stop_may_be_called_at_any_time_and_again() -> None:
    pipeline = Pipeline(FakeSource(None))
    pipeline.stop()
    with pipeline:
        pipeline.stop()
        assert list(pipeline) == []
    pipeline.stop()


def test_stopping_is_no_failure_of_a_source() -> None:
    """A source whose read fails because it was stopped does not make a clean stop a failure."""
    stopped, wait = gate()

    def fail_after_stop(at: int) -> None:
        if at == 3:
            wait(at)
            raise SourceError("the connection was closed")

    with Pipeline(FakeSource(None, before=fail_after_stop)) as pipeline:
        results = iter(pipeline)
        for _ in range(3):
            next(results)
        pipeline.stop()
        stopped.set()
    assert pipeline.stats().streams["fake"].state == "ended"


def test_a_stop_during_a_stall_comes_home_when_the_source_does() -> None:
    opened, wait = gate()
    pipeline = Pipeline(FakeSource(None, is_live=True, before=wait))
    with pipeline:
        pipeline.stop()
        assert list(pipeline) == []
        opened.set()


class SlowToClose(FakeSink):
    """Ctrl-C comes while it is finishing its file, which takes a moment."""

    def __init__(self) -> None:
        super().__init__()
        self.leaving = threading.Event()
        self.finished = False

    def close(self) -> None:
        assert self.leaving.wait(LONG_S)
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(0.3)
        super().close()
        self.finished = True


def test_ctrl_c_while_outputs_finish_does_not_cut_them_short() -> None:
    sink = SlowToClose()
    pipeline = Pipeline(FakeSource(3), sinks=[sink])

    def run() -> None:
        with pipeline:
            pipeline.wait(LONG_S)
            sink.leaving.set()

    with pytest.raises(KeyboardInterrupt):
        run()
    assert sink.finished
    assert pipeline.outputs.failures == {}


def test_engines_that_were_given_stay_open_and_named_ones_close() -> None:
    engine = fakes.segment_engine()
    for _ in range(2):
        with Pipeline(FakeSource(3), segment=engine) as pipeline:
            pipeline.wait()
    engine.session().close()
