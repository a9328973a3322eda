"""Stopped at random moments in every way there is: each call returns, nothing stays, and files are whole."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import av
import fakes
import pytest
from fakes import FakeSink, FakeSource
from media import even_times, write_video

from headrace.stream import Pipeline, PipelineError, SourceError
from headrace.stream.sinks.base import Sink
from headrace.stream.sinks.jsonl import JsonlSink
from headrace.stream.sinks.video import VideoSink
from headrace.stream.sources.base import Source

LONG_S = 60.0
QUICK, ALL = 40, 1000
HOW = ("end", "stop", "leave", "error in the block", "interrupt", "bug")


class Bug(Exception):
    """What a stage fails with."""


@dataclass(frozen=True)
class Kinds:
    """The sources that rounds are played on."""

    folder: Path
    rtsp_url: str | None = None

    def sources(self, rng: Random) -> list[str | Source]:
        """One to three of them."""
        return [self._source(rng) for _ in range(rng.choice([1, 1, 2, 3]))]

    def _source(self, rng: Random) -> str | Source:
        kinds = ["h264", "b frames", "mjpeg", "scene", "endless", "camera", "dead", "dies"]
        kind = rng.choice([*kinds, *(["rtsp"] * 4 if self.rtsp_url else [])])
        if kind == "rtsp":
            assert self.rtsp_url is not None
            return self.rtsp_url
        if kind == "scene":
            return "scene:street?size=160x120&seconds=1"
        if kind in ("h264", "b frames", "mjpeg"):
            return str(self.folder / {"h264": "a.mp4", "b frames": "b.mp4", "mjpeg": "c.mkv"}[kind])
        fails: dict[int, Exception] = {}
        if kind == "dead":
            fails[-1] = SourceError("nobody answers")
        elif kind == "dies":
            fails[rng.randrange(40)] = SourceError("the cable is out")
        return FakeSource(None if kind in ("endless", "camera") else 60, is_live=kind == "camera", fails=fails)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Kinds:
    folder = tmp_path_factory.mktemp("sources")
    write_video(folder / "a.mp4", times_s=even_times(60), size=(160, 120))
    write_video(folder / "b.mp4", times_s=even_times(60), size=(160, 120), b_frames=3)
    write_video(folder / "c.mkv", times_s=even_times(60), size=(160, 120), encoder="mjpeg")
    return Kinds(folder)


class Round:
    """One run that is stopped at a random moment, and what must hold afterwards."""

    def __init__(self, seed: int, kinds: Kinds, folder: Path) -> None:
        self.rng = Random(seed)
        self.how = self.rng.choice(HOW)
        self.wrong = False
        """It ended with a failure that nobody caused."""
        self.after_s = self.rng.choice([0.0, 0.0, self.rng.random() * 0.02, self.rng.random() * 0.3])
        self.records, self.video = folder / "a.jsonl", folder / "a.mp4"
        self.memory = FakeSink()
        sinks: list[Sink] = [self.memory, JsonlSink(self.records)]
        self.saves = self.rng.random() < 0.5
        if self.saves:
            sinks.append(VideoSink(self.video))
        bug_at = self.rng.randrange(30) if self.how == "bug" else -1
        bug_in = self.rng.choice(["segment", "action"])
        self.pipeline = Pipeline(
            kinds.sources(self.rng),
            segment=fakes.segment_engine(self._bug(bug_at if bug_in == "segment" else -1)),
            action=fakes.action_engine(self._bug(bug_at if bug_in == "action" else -1)),
            sinks=sinks,
            pace=self.rng.choice(["none", "live"]),
            keep=self.rng.choice(["auto", "auto", "latest", "every"]),
            loop=self.rng.random() < 0.3,
        )

    @staticmethod
    def _bug(at: int) -> Callable[[int], None]:
        def fail(run: int) -> None:
            if run == at:
                raise Bug("a bug")

        return fail

    def play(self) -> None:
        """Run it and stop it."""
        stopper = threading.Timer(self.after_s, self._stop)
        try:
            with self.pipeline:
                stopper.start()
                self._read()
        except PipelineError as error:
            # Sources that died, or the bug: never a failure of the stop itself.
            self.wrong = not isinstance(error.__cause__, SourceError | Bug)
        except (KeyError, KeyboardInterrupt):
            self.wrong = self.how not in ("error in the block", "interrupt")
        finally:
            with contextlib.suppress(KeyboardInterrupt):  # it may strike here as well as anywhere
                stopper.join()
            stopper.join()

    def _stop(self) -> None:
        if self.how == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
        elif self.how != "leave":
            self.pipeline.stop()

    def _read(self) -> None:
        if self.how == "stop" and self.rng.random() < 0.5:
            assert self.pipeline.wait(LONG_S)
            return
        leaves_at = self.rng.randrange(20) if self.how in ("leave", "error in the block") else -1
        for at, _ in enumerate(self.pipeline):
            if at >= leaves_at >= 0:
                if self.how == "leave":
                    return
                raise KeyError("an error in the block")

    def check(self) -> None:
        """Nothing stays, the books add up, and what was written is whole."""
        assert not self.wrong
        assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("hr-")]
        assert not self.pipeline.outputs.failures
        lines = [json.loads(line) for line in self.records.read_text().splitlines()]
        # An output may be too slow for a live stream; then it says so.
        behind = [event.stage for event in self.pipeline.events.take() if "too slow" in event.text]
        shown = 0
        for stream_id, stats in self.pipeline.stats().streams.items():
            entry = stats.ledger
            assert entry.adds_up, (stream_id, entry)
            assert entry.in_flight == 0, (stream_id, entry)
            seqs = self.memory.seqs(stream_id)
            assert seqs == sorted(set(seqs))
            written = [line["seq"] for line in lines if line["type"] == "frame" and line["stream"] == stream_id]
            assert written == seqs or behind
            (ledger,) = [line for line in lines if line["type"] == "ledger" and line["stream"] == stream_id]
            assert ledger["captured"] == ledger["rendered"] + sum(ledger["dropped"].values()) + ledger["in_flight"]
            assert ledger["rendered"] == entry.rendered >= len(seqs)
            shown += len(seqs)
        if self.saves:
            pictures = sum(_whole(path) for path in self.video.parent.glob("*.mp4"))
            assert pictures == shown or behind


def _whole(path: Path) -> int:
    """How many pictures a file has; a file that breaks off raises."""
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def play_rounds(rounds: range, kinds: Kinds, folder: Path) -> None:
    for seed in rounds:
        at = folder / str(seed)
        at.mkdir()
        one = Round(seed, kinds, at)
        try:
            one.play()
            one.check()
        except BaseException as error:
            error.add_note(f"round {seed}: {one.how} after {one.after_s:.3f} s")
            raise
        for path in at.iterdir():
            path.unlink()


@pytest.fixture
def _no_child_left() -> Iterator[None]:
    before = children()
    yield
    assert children() <= before


def children() -> set[str]:
    """The processes of this one; torch, once imported, may keep some of its own."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children")
    return set(listed.read_text().split()) if listed.exists() else set()


@pytest.mark.usefixtures("_no_child_left")
def test_stopped_at_random_moments(kinds: Kinds, tmp_path: Path) -> None:
    play_rounds(range(QUICK), kinds, tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("_no_child_left")
def test_stopped_a_thousand_times(kinds: Kinds, tmp_path: Path) -> None:
    play_rounds(range(QUICK, QUICK + ALL), kinds, tmp_path)


@pytest.mark.slow
@pytest.mark.rtsp
def test_stopped_at_random_moments_on_rtsp(kinds: Kinds, tmp_path: Path) -> None:
    from peers import need_rtsp_server
    from rtsp_server import RtspServer

    need_rtsp_server()
    server = RtspServer()
    try:
        play_rounds(range(5000, 5000 + 200), Kinds(kinds.folder, server.url("h264")), tmp_path)
    finally:
        server.kill()


# The command, in a process of its own


def command(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "headrace.tools.cli", "run", *arguments, "--show", "none"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def interrupted(folder: Path, source: str, after_s: float, *more: str) -> None:
    """Ctrl-C some time after the first record: exit code 130, the ledger is printed, both files are whole."""
    records, video = folder / "a.jsonl", folder / "a.mp4"
    run = command(
        source, "--segment", "none", "--action", "none", "--jsonl", str(records), "--save", str(video), *more
    )
    try:
        event = threading.Event()
        while run.poll() is None and not (records.exists() and records.stat().st_size):
            event.wait(0.01)
        event.wait(after_s)
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=LONG_S)
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 130, err
    assert "Traceback" not in err
    assert " = rendered " in out
    *frames, ledger = [json.loads(line) for line in records.read_text().splitlines()]
    assert {line["type"] for line in frames} == {"frame"}
    assert ledger["rendered"] == len(frames) == _whole(video)
    assert ledger["captured"] == ledger["rendered"] + sum(ledger["dropped"].values()) + ledger["in_flight"]
    assert ledger["in_flight"] == 0


@pytest.mark.parametrize("pace", ["none", "live"])
def test_ctrl_c_ends_the_command_cleanly(kinds: Kinds, tmp_path: Path, pace: str) -> None:
    interrupted(tmp_path, str(kinds.folder / "b.mp4"), 0.05, "--loop", "--pace", pace)


@pytest.mark.slow
def test_ctrl_c_at_random_moments(kinds: Kinds, tmp_path: Path) -> None:
    rng = Random(0)
    for at in range(25):
        folder = tmp_path / str(at)
        folder.mkdir()
        source = rng.choice([str(kinds.folder / "a.mp4"), "scene:street?size=160x120"])
        interrupted(folder, source, rng.random() * 0.5, "--loop", "--pace", rng.choice(["none", "live"]))


def test_a_killed_run_leaves_records_and_a_video_that_plays(kinds: Kinds, tmp_path: Path) -> None:
    records, video = tmp_path / "a.jsonl", tmp_path / "a.mp4"
    files = ["--jsonl", str(records), "--save", str(video)]
    run = command(str(kinds.folder / "a.mp4"), "--loop", "--segment", "none", "--action", "none", *files)
    try:
        event = threading.Event()
        while run.poll() is None and not (video.exists() and video.stat().st_size > 100_000):
            event.wait(0.01)
    finally:
        run.kill()
        run.communicate()
    lines = records.read_text().splitlines()
    count = 0
    with av.open(str(video)) as container:
        try:
            for _ in container.decode(video=0):
                count += 1
        except av.error.InvalidDataError:
            pass  # the fragment that was being written
    assert count > 0.5 * len(lines) > 20
    assert [json.loads(line)["seq"] for line in lines[:-1]] == list(range(len(lines) - 1))
