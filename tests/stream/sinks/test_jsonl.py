"""The records: the keys and meanings of the contract, whole lines, and a failure that is told."""

import io
import json
import math
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
from fakes import result, stream_stats

from headrace.stream.errors import SinkError
from headrace.stream.frame import Action
from headrace.stream.ledger import LedgerEntry
from headrace.stream.meter import Percentiles
from headrace.stream.sinks.jsonl import JsonlSink, frame_record, ledger_record

SEGMENTER = fakes.segment_engine(labels=("road", "car", "tree")).spec


def test_a_frame_s_record() -> None:
    mask = np.zeros((10, 10), np.uint8)
    mask[:3], mask[3] = 1, 255
    action = Action(model="two", label="fall", probability=0.931_26, start_s=3.2, end_s=4.8)
    record = frame_record(
        result(
            120,
            4.8,
            stream_id="gate",
            epoch=2,
            mask=mask,
            model=SEGMENTER,
            actions=(action,),
            stage_ms={"decode": 1.904, "segment": 17.0, "render": 1.4},
            age_ms=41.204,
        )
    )
    del record["time"]
    assert record == {
        "type": "frame",
        "stream": "gate",
        "seq": 120,
        "epoch": 2,
        "pts_s": 4.8,
        "age_ms": 41.2,
        "segment": {"model": "fake_segment", "share": {"road": 0.6, "car": 0.3}},
        "actions": [{"model": "two", "label": "fall", "probability": 0.9313, "start_s": 3.2, "end_s": 4.8}],
        "stage_ms": {"decode": 1.9, "segment": 17.0, "render": 1.4},
    }


def test_a_frame_without_networks_has_no_segment_and_no_actions() -> None:
    record = frame_record(result())
    assert "segment" not in record
    assert record["actions"] == []


@pytest.mark.parametrize("late_s", [0.0, 90.0])
def test_the_time_is_when_the_picture_arrived_however_late_it_is_written(late_s: float) -> None:
    arrived_s = time.monotonic() - late_s
    record = frame_record(result(arrival_s=arrived_s - 1000))  # `result` counts from there
    late = datetime.now(UTC) - datetime.fromisoformat(record["time"])
    assert late.total_seconds() == pytest.approx(late_s, abs=20)


def test_the_time_is_utc_in_milliseconds() -> None:
    text = frame_record(result())["time"]
    assert text.endswith("Z")
    assert len(text) == len("2026-11-20T10:00:04.812Z")


def test_a_ledger_s_record() -> None:
    books = LedgerEntry(
        captured=800,
        rendered=655,
        dropped={"policy": 140, "corrupt": 3, "reconnect": 1, "stopped": 0},
        in_flight=1,
    )
    record = ledger_record(
        stream_stats(
            "gate",
            ledger=books,
            capture_fps=25.0,
            infer_fps=20.456,
            render_fps=20.5,
            age_ms=Percentiles(p50=44.0, p95=61.0, p99=70.0),
            stage_ms={"decode": Percentiles(p50=1.0, p95=2.0, p99=3.0)},
        )
    )
    assert record == {
        "type": "ledger",
        "stream": "gate",
        "captured": 800,
        "rendered": 655,
        "dropped": {"policy": 140, "corrupt": 3, "reconnect": 1, "stopped": 0},
        "in_flight": 1,
        "epochs": 1,
        "fps": {"capture": 25.0, "infer": 20.46, "render": 20.5},
        "age_ms": {"p50": 44.0, "p95": 61.0, "p99": 70.0},
        "stage_ms": {"decode": {"p50": 1.0, "p95": 2.0, "p99": 3.0}},
    }
    assert record["captured"] == record["rendered"] + sum(record["dropped"].values()) + record["in_flight"]


def test_what_was_never_measured_is_null() -> None:
    assert ledger_record(stream_stats())["age_ms"] == {"p50": None, "p95": None, "p99": None}


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_line_is_there_as_soon_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("an older run\n")
    sink = JsonlSink(path)
    sink.open()
    assert path.read_text() == ""
    for at in range(3):
        sink.write(result(at, stream_id="gäte\n"))
        found = lines_of(path)
        assert [line["seq"] for line in found] == list(range(at + 1))
    assert found[0]["stream"] == "gäte\n"
    sink.end(stream_stats("gate", rendered=3))
    sink.close()
    sink.close()
    assert [line["type"] for line in lines_of(path)] == ["frame"] * 3 + ["ledger"]


class Pipe(io.TextIOWrapper):
    """Standard output as it is in a pipe: what is written waits in a buffer."""

    def __init__(self) -> None:
        self.arrived = io.BytesIO()
        super().__init__(io.BufferedWriter(self.arrived), encoding="utf-8")


def test_standard_output_is_written_line_by_line_and_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Pipe()
    monkeypatch.setattr("sys.stdout", pipe)
    sink = JsonlSink("-")
    assert sink.name == "standard output"
    sink.open()
    sink.write(result(7))
    assert json.loads(pipe.arrived.getvalue())["seq"] == 7
    sink.close()
    assert not pipe.closed


def test_a_full_disk_is_told_once(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    sink = JsonlSink(full)
    sink.open()
    with pytest.raises(SinkError, match=r"cannot write /dev/full: No space left on device"):
        sink.write(result())
    with pytest.raises(SinkError, match=r"cannot finish /dev/full"):
        sink.close()
    sink.close()


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"cannot write .*nowhere/a\.jsonl: No such file or directory"):
        JsonlSink(tmp_path / "nowhere" / "a.jsonl").open()
    sink = JsonlSink(tmp_path)
    with pytest.raises(SinkError, match="Is a directory"):
        sink.open()
    sink.close()


def test_a_number_that_json_has_not_is_refused(tmp_path: Path) -> None:
    sink = JsonlSink(tmp_path / "a.jsonl")
    sink.open()
    with pytest.raises(ValueError, match="not JSON compliant"):
        sink.write(result(age_ms=math.nan))
    sink.close()
    assert (tmp_path / "a.jsonl").read_text() == "", "no half a line"
