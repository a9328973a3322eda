"""The lines of a run: redrawn in place on a terminal, events above them, and only events elsewhere."""

import io
import os
import re
from typing import Any

import pytest
from fakes import stream_stats

from headrace.stream.event import Event
from headrace.stream.ledger import LedgerEntry
from headrace.stream.meter import Percentiles
from headrace.stream.stats import PipelineStats, State
from headrace.tools.live_line import LiveLine


class Terminal(io.StringIO):
    """A terminal that remembers what it shows."""

    def __init__(self, columns: int = 80) -> None:
        super().__init__()
        self.columns = columns

    def isatty(self) -> bool:
        return True

    @property
    def screen(self) -> list[str]:
        """The rows as a person sees them: long lines wrap, the cursor moves up, what is below it is cleared."""
        rows: list[str] = [""]
        for part in re.findall(r"\x1b\[\d*[AJ]|\n|[^\x1b\n]+", self.getvalue()):
            if part.endswith("A") and part.startswith("\x1b"):
                del rows[max(1, len(rows) - int(part[2:-1])) :]
                rows[-1] = ""
            elif part == "\n":
                rows.append("")
            elif not part.startswith("\x1b"):
                whole = rows.pop() + part
                rows += [whole[at : at + self.columns] for at in range(0, len(whole), self.columns)]
        return rows


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setattr("shutil.get_terminal_size", lambda fallback=(80, 24): os.terminal_size((80, 24)))
    return Terminal()


def event(text: str, stream_id: str = "gate", kind: str = "notice") -> Event:
    return Event(kind=kind, stream_id=stream_id, stage="decode", text=text, at_ns=0)  # type: ignore[arg-type]


def stats(*stream_ids: str, state: State = "up", reason: str = "", since_s: float = 0.0) -> PipelineStats:
    books = LedgerEntry(captured=9, rendered=5, dropped={"policy": 3, "corrupt": 1}, in_flight=0)
    hour, now = Percentiles(p50=20.0, p95=30.0, p99=40.0), Percentiles(p50=40.0, p95=61.4, p99=70.0)
    ages = {"age_ms": hour, "recent_age_ms": now}
    told: dict[str, Any] = {"state": state, "reason": reason, "since_s": since_s, "ledger": books, **ages}
    streams = {name: stream_stats(name, **told) for name in stream_ids}
    return PipelineStats(streams=streams)


def test_one_line_for_each_stream(terminal: Terminal) -> None:
    LiveLine(terminal).show(stats("gate", "hall"), [])
    gate, hall, rest = terminal.screen
    assert re.fullmatch(
        r"gate  up  capture 25\.0  infer 25\.0  display 25\.0 fps  age p95 61 ms  dropped 4", gate.strip()
    )
    assert hall.startswith("hall  up")
    assert rest == ""


def test_the_lines_are_redrawn_in_place_and_events_stay_above(terminal: Terminal) -> None:
    line = LiveLine(terminal)
    line.show(stats("gate", "hall"), [])
    line.show(stats("gate", "hall"), [event("lost"), event("full", stream_id="")])
    line.show(stats("gate", "hall"), [event("back")])
    assert [row[:10] for row in terminal.screen] == [
        "gate: lost",
        "full",
        "gate: back",
        "gate  up  ",
        "hall  up  ",
        "",
    ]
    line.finish([event("over")])
    assert terminal.screen == ["gate: lost", "full", "gate: back", "gate: over", ""]


@pytest.mark.parametrize(
    ("state", "reason", "since_s", "line"),
    [
        ("retrying", "nobody answers", 12.4, "gate  retrying for 12 s: nobody answers  capture"),
        ("retrying", "nobody answers", 0.0, "gate  retrying: nobody answers  capture"),
        ("up", "", 3600.0, "gate  up  capture"),
        ("failed", "a wrong password", 5.0, "gate  failed: a wrong password  capture"),
    ],
)
def test_a_stream_that_is_away_says_why_and_for_how_long(
    terminal: Terminal, state: State, reason: str, since_s: float, line: str
) -> None:
    LiveLine(terminal).show(stats("gate", state=state, reason=reason, since_s=since_s), [])
    assert terminal.screen[0].startswith(line)


def test_a_long_reason_does_not_leave_rows_behind(terminal: Terminal) -> None:
    line = LiveLine(terminal)
    long = stats("gate", state="retrying", reason="rtsp://camera/1: " + "it does not answer " * 10)
    for _ in range(3):
        line.show(long, [event("again")])
    assert [row[:12] for row in terminal.screen] == ["gate: again"] * 3 + ["gate  retryi", ""]
    line.finish([])
    assert terminal.screen == ["gate: again"] * 3 + [""]


def test_a_stream_without_an_age_has_a_dash(terminal: Terminal) -> None:
    LiveLine(terminal).show(PipelineStats(streams={"gate": stream_stats("gate")}), [])
    assert "–" in terminal.screen[0] or "age" not in terminal.screen[0]


def test_it_is_not_redrawn_for_nothing(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("headrace.tools.live_line.time.monotonic", lambda: now[0])
    line = LiveLine(terminal)
    line.show(stats("gate"), [])
    once = terminal.getvalue()
    now[0] += 0.4
    line.show(stats("gate"), [])
    assert terminal.getvalue() == once
    now[0] += 0.2
    line.show(stats("gate"), [])
    assert len(terminal.getvalue()) > len(once)


def test_elsewhere_only_events_are_written() -> None:
    out = io.StringIO()
    line = LiveLine(out)
    line.show(stats("gate"), [event("lost")])
    line.show(stats("gate"), [])
    line.finish([event("over", kind="ended")])
    assert out.getvalue() == "gate: lost\ngate: over\n"


def test_quiet_tells_failures_only(terminal: Terminal) -> None:
    line = LiveLine(terminal, quiet=True)
    line.show(stats("gate"), [event("lost", kind="lost"), event("full", kind="failed", stream_id="")])
    line.finish([event("over")])
    assert terminal.getvalue() == "full\n"
