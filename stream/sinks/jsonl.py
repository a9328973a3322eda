"""One JSON object per rendered frame, and one ledger per stream when it ends."""

import json
import math
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

from headrace.stream.errors import SinkError
from headrace.stream.frame import Result
from headrace.stream.meter import Percentiles
from headrace.stream.stats import StreamStats


class JsonlSink:
    """Writes records as lines of JSON.

    Args:
        target: a path; "-" for standard output.
    """

    wants_pictures = False
    wants_all = True

    def __init__(self, target: str | Path) -> None:
        self._target = str(target)
        self._file: TextIO | None = None

    @property
    def name(self) -> str:
        """The file's path."""
        return "standard output" if self._target == "-" else self._target

    def open(self) -> None:
        """Open the file, in place of an older one."""
        if self._target == "-":
            self._file = sys.stdout
            return
        try:
            self._file = open(self._target, "w", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise SinkError(f"cannot write {self._target}: {error.strerror}") from error

    def write(self, result: Result) -> None:
        """Write a frame's record."""
        self._line(frame_record(result))

    def end(self, stats: StreamStats) -> None:
        """Write a stream's ledger."""
        self._line(ledger_record(stats))

    def _line(self, record: dict[str, Any]) -> None:
        assert self._file is not None, "open comes first"
        line = json.dumps(record, separators=(", ", ": "), allow_nan=False) + "\n"
        try:
            # One write per line: whoever follows the file or reads the pipe sees whole records, at once.
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            raise SinkError(f"cannot write {self.name}: {error.strerror}; its last line may be cut") from error

    def close(self) -> None:
        """Close the file."""
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            file.flush() if self._target == "-" else file.close()
        except OSError as error:
            raise SinkError(f"cannot finish {self.name}: {error.strerror}") from error


def frame_record(result: Result) -> dict[str, Any]:
    """A rendered frame as plain data; its time is when its picture arrived, however late this is written."""
    frame = result.frame
    record: dict[str, Any] = {
        "type": "frame",
        "stream": frame.stream_id,
        "seq": frame.seq,
        "epoch": frame.epoch,
        "pts_s": round(frame.pts_s, 6),
        "time": _wall_time(frame.arrival_ns).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "age_ms": round(result.age_ms, 2),
    }
    if result.model is not None:
        shares = {label: round(share, 4) for label, share in result.shares().items()}
        record["segment"] = {"model": result.model.name, "share": shares}
    record["actions"] = [
        {
            "model": action.model,
            "label": action.label,
            "probability": round(action.probability, 4),
            "start_s": round(action.start_s, 6),
            "end_s": round(action.end_s, 6),
        }
        for action in result.actions
    ]
    record["stage_ms"] = {stage: round(ms, 2) for stage, ms in result.stage_ms.items()}
    return record


def ledger_record(stats: StreamStats) -> dict[str, Any]:
    """A stream's books as plain data."""
    return {
        "type": "ledger",
        "stream": stats.stream_id,
        "captured": stats.ledger.captured,
        "rendered": stats.ledger.rendered,
        "dropped": dict(stats.ledger.dropped),
        "in_flight": stats.ledger.in_flight,
        "epochs": stats.epochs,
        "fps": {
            "capture": round(stats.capture_fps, 2),
            "infer": round(stats.infer_fps, 2),
            "render": round(stats.render_fps, 2),
        },
        "age_ms": _plain(stats.age_ms),
        "stage_ms": {stage: _plain(row) for stage, row in stats.stage_ms.items()},
    }


def _wall_time(at_ns: int) -> datetime:
    """When an instant of the monotonic clock was, as people tell the time."""
    return datetime.now(UTC) - timedelta(microseconds=(time.monotonic_ns() - at_ns) / 1e3)


def _plain(row: Percentiles) -> dict[str, float | None]:
    pairs = {"p50": row.p50, "p95": row.p95, "p99": row.p99}
    return {key: None if math.isnan(value) else round(value, 2) for key, value in pairs.items()}
