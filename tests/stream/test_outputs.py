"""Outputs that are stuck, closed or slow do not hold up the others, nor an end."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeSink, FakeSource

from headrace.stream import Pipeline
from headrace.stream import outputs as outputs_module
from headrace.stream import pipeline as pipeline_module
from headrace.stream.errors import SinkClosed
from headrace.stream.frame import Frame, Result
from headrace.stream.outputs import Outputs
from headrace.stream.picture import RgbPicture
from headrace.stream.sinks.jsonl import JsonlSink


def a_result(stream_id: str, seq: int) -> Result:
    """A rendered frame of a stream."""
    picture = RgbPicture(np.zeros((4, 4, 3), np.uint8))
    frame = Frame(picture=picture, stream_id=stream_id, seq=seq, epoch=0, pts_s=float(seq), arrival_ns=0)
    return Result(frame=frame)


def test_an_output_that_takes_nothing_does_not_keep_a_stop_from_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records go into a pipe whose reader reads nothing, as `less` does not."""
    monkeypatch.setattr(outputs_module, "_STUCK_S", 0.2)
    monkeypatch.setattr(pipeline_module, "_PATIENCE_S", 0.2)
    pipe = tmp_path / "records"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR)
    good = FakeSink()
    try:
        with Pipeline(FakeSource(100_000), sinks=[JsonlSink(pipe), good]) as pipeline:
            assert not pipeline.wait(2.0), "everything waits for the pipe"
        assert list(pipeline.outputs.failures) == [str(pipe)]
        assert len(good.ends) == 1
        entry = pipeline.stats().streams["fake"].ledger
        assert entry.adds_up
        assert entry.in_flight == 0
    finally:
        os.set_blocking(reader, False)
        writer = next((t for t in threading.enumerate() if t.name.startswith("hr-sink-")), None)
        while writer is not None and writer.is_alive():
            try:
                os.read(reader, 1 << 16)
            except BlockingIOError:
                writer.join(0.01)
        os.close(reader)


def test_a_live_output_gets_the_newest_of_each_stream() -> None:
    sink = FakeSink(wants_all=False)
    outputs = Outputs((sink,), streams=2, tell=lambda kind, stage, text: None)
    for seq in range(5):
        outputs.deliver(a_result("a", seq), every=False)
        outputs.deliver(a_result("b", seq), every=False)
    outputs.close()
    (write,) = outputs.writers().values()
    write()
    assert (sink.seqs("a"), sink.seqs("b")) == ([4], [4])


def test_outputs_are_gone_when_their_user_has_closed_them() -> None:
    told: list[tuple[str, str]] = []
    sink = FakeSink(fails={0: SinkClosed("the window was closed")})
    outputs = Outputs((sink,), streams=1, tell=lambda kind, stage, text: told.append((kind, text)))
    outputs.deliver(a_result("a", 0), every=True)
    outputs.close()
    assert not outputs.gone
    (write,) = outputs.writers().values()
    write()
    assert outputs.gone
    assert outputs.failures == {}
    assert told == [("ended", "the window was closed")]
