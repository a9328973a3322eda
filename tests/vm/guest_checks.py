"""The webcam source against a real kernel's V4L2; runs in the guest that run.sh boots."""

import math
import os
import shlex
import signal
import statistics
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
from fakecam import number_in
from loopback_camera import FRAMES

from headrace.stream import Pipeline
from headrace.stream.clock import MonotonicClock
from headrace.stream.errors import RefusedError
from headrace.stream.event import EventLog
from headrace.stream.frame import Packet
from headrace.stream.sources.cameras import cameras
from headrace.stream.sources.retry import Retrying
from headrace.stream.sources.webcam import WebcamSource

PRODUCER = Path(__file__).with_name("loopback_camera.py")
VIVID, LOOP_YUYV, LOOP_MJPG = "/dev/video0", "/dev/video10", "/dev/video11"
SIZE = (320, 180)
FPS = 5
CHECKS: list[Callable[[], str]] = []


def check(run: Callable[[], str]) -> Callable[[], str]:
    """List a check: it returns what it saw, or fails."""
    CHECKS.append(run)
    return run


def producer(device: str, fourcc: str) -> subprocess.Popen[str]:
    """Starts what plays pictures into a loopback device; returns when the first is there."""
    arguments = [device, fourcc, *map(str, SIZE), str(FPS)]
    command = [sys.executable, str(PRODUCER), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "playing\n"
    return process


def number_of(packet: Packet) -> int:
    """The number in a packet's picture."""
    assert packet.codec.context is not None
    assert isinstance(packet.data, av.Packet)
    (frame,) = packet.codec.context.decode(packet.data)
    return number_in(frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False))


@contextmanager
def opened(source: WebcamSource) -> Iterator[str]:
    """An opened source, closed again; gives what was granted."""
    try:
        yield source.open().granted
    finally:
        source.close()


def refusal(source: WebcamSource) -> str:
    """The one line that opening it ends with."""
    try:
        source.open()
        line = ""
    except RefusedError as error:
        line = str(error)
    source.close()
    assert line, f"{source.name} was opened"
    assert "\n" not in line
    return line


def control(name: str, value: int) -> None:
    """Set one of vivid's controls."""
    subprocess.run(["v4l2-ctl", "-d", VIVID, "-c", f"{name}={value}"], check=True)


# -- which camera, which mode --------------------------------------------------------------------------------


@check
def cameras_are_listed() -> str:
    found = {camera.path: camera for camera in cameras()}
    assert found[VIVID].driver == "vivid"
    assert (found[LOOP_YUYV].name, found[LOOP_MJPG].name) == ("Loop_YUYV", "Loop_MJPG")
    return "; ".join(f"{each} with {len(each.formats)} formats" for each in found.values())


@check
def what_is_no_camera_is_refused() -> str:
    lines = []
    for device, part in ((7, "there is no such"), ("/dev/null", "not a camera"), ("Attic", "is called that")):
        lines.append(refusal(WebcamSource(device)))
        assert part in lines[-1]
        assert "/dev/video0 (vivid)" in lines[-1]
    lines.append(refusal(WebcamSource("Loop")))
    assert "more than one" in lines[-1]
    return " | ".join(lines)


@check
def a_missing_pixel_format_is_refused() -> str:
    line = refusal(WebcamSource(LOOP_YUYV, pixel_format="mjpeg"))
    assert "it has YUYV" in line
    return line


@check
def vivid_gives_yuyv() -> str:
    source = WebcamSource("vivid", size=SIZE, fps=25, pixel_format="yuyv")
    with opened(source) as granted:
        assert granted.startswith("320x180 YUYV"), granted
        packets = [source.read() for _ in range(20)]
    assert {packet.codec.name for packet in packets} == {"rawvideo"}
    steps_s = np.diff([float(packet.pts_s or 0) for packet in packets])
    assert np.all(steps_s > 0)
    return f"{granted}; 20 pictures, {1 / statistics.median(steps_s):.1f} fps by the driver's timestamps"


def _counts_on(device: str, codec: str) -> str:
    source = WebcamSource(device)
    with opened(source) as granted:
        packets = [source.read() for _ in range(12)]
    assert packets[0].codec.name == codec
    numbers = [number_of(packet) for packet in packets]  # after the camera was closed: packets outlive it
    steps = np.diff(numbers) % FRAMES
    assert np.all(steps == 1), numbers
    return f"{granted}; pictures {numbers[0]} to {numbers[-1]}, none missing"


@check
def loopback_gives_yuyv() -> str:
    return _counts_on(LOOP_YUYV, "rawvideo")


@check
def loopback_gives_mjpg() -> str:
    return _counts_on(LOOP_MJPG, "mjpeg")


@check
def a_busy_camera_is_refused() -> str:
    source = WebcamSource(VIVID, size=SIZE)
    with opened(source):
        source.read()
        line = refusal(WebcamSource(VIVID, size=SIZE))
        source.read()
    assert "another program is using it" in line
    return line


# -- faults --------------------------------------------------------------------------------------------------


@check
def spoilt_buffers_are_left_out() -> str:
    source = WebcamSource(VIVID, size=SIZE, fps=25)
    with opened(source):
        source.read()
        control("inject_v4l2_buf_flag_error", 1)
        reads = 0
        while source.glitches == 0:  # the buffers that were filled before it come first
            source.read()
            reads += 1
            assert reads < 200, "the driver marked none"
        source.read()
    return f"{source.glitches} left out after {reads} good ones, and reading went on"


@check
def an_unplugged_camera_comes_back() -> str:
    class PlugsItIn(MonotonicClock):
        def wait(self, stop: threading.Event, seconds: float) -> bool:
            subprocess.run(["rmmod", "vivid"], check=True)
            parameters = shlex.split(os.environ["VIVID"])
            subprocess.run(["insmod", os.environ["HEADRACE_VIVID"], *parameters], check=True)
            return False

    events = EventLog()
    source = Retrying(WebcamSource("vivid", size=SIZE), stop=threading.Event(), events=events, clock=PlugsItIn())
    try:
        source.open()
        packet = source.read()
        control("disconnect", 1)
        while packet is not None and packet.epoch == 0:
            packet = source.read()
    finally:
        source.close()
    assert packet is not None
    assert packet.epoch == 1
    told = events.take()
    assert [event.kind for event in told] == ["opened", "lost", "opened"]
    return " | ".join(event.text for event in told[1:])


@check
def a_stall_of_8_s_within_the_limit_is_waited_out() -> str:
    source = WebcamSource(LOOP_YUYV, timeout_s=20)
    with opened(source), _stalled(YUYV, 8):
        before = number_of(source.read())
        gaps_s: list[float] = []
        last_s = time.monotonic()
        while max(gaps_s, default=0.0) < 7 or len(gaps_s) < 10:
            after = number_of(source.read())
            gaps_s.append(time.monotonic() - last_s)
            last_s = time.monotonic()
    return f"longest gap {max(gaps_s):.1f} s, pictures {before} to {after}, no error"


@check
def a_stall_of_8_s_beyond_the_limit_is_an_error_and_it_comes_back() -> str:
    events = EventLog()
    source = Retrying(WebcamSource(LOOP_MJPG, timeout_s=3), stop=threading.Event(), events=events)
    try:
        source.open()
        with _stalled(MJPG, 8):
            while (packet := source.read()) is not None and packet.epoch == 0:
                pass
    finally:
        source.close()
    assert packet is not None
    assert packet.epoch == 1
    told = events.take()
    assert {event.kind for event in told[1:-1]} == {"lost"}
    return " | ".join(event.text for event in told[1:])


@contextmanager
def _stalled(camera: subprocess.Popen[str], seconds: float) -> Iterator[None]:
    """Stop the producer for a while, beginning now."""
    os.kill(camera.pid, signal.SIGSTOP)
    again = threading.Timer(seconds, os.kill, [camera.pid, signal.SIGCONT])
    again.start()
    try:
        yield
    finally:
        again.join()


class Timed(WebcamSource):
    """Tells how old a picture is by the driver's own timestamp."""

    zero_s = math.inf
    """When the timestamps began, on our clock: by the packet that was read soonest after it was taken."""

    def read(self) -> Packet:
        packet = super().read()
        self.zero_s = min(self.zero_s, packet.arrival_ns / 1e9 - (packet.pts_s or 0.0))
        return packet

    def age_periods(self, pts_s: float) -> float:
        return round((time.monotonic() - self.zero_s - pts_s) * FPS, 1)


@check
def a_slow_consumer_gets_new_pictures() -> str:
    source = Timed(VIVID, size=SIZE, fps=FPS)
    ages: list[float] = []
    with Pipeline(source) as pipeline:
        for result in pipeline:
            ages.append(source.age_periods(result.frame.pts_s))
            if len(ages) == 8:
                break
            time.sleep(5 / FPS)
    assert 0 <= min(ages) <= max(ages) <= 2, f"ages in periods {ages}"
    return f"ages in periods {ages}, taking one in five"


@check
def the_same_consumer_without_a_pipeline_gets_old_ones() -> str:
    source = Timed(VIVID, size=SIZE, fps=FPS)
    ages = []
    with opened(source):
        for _ in range(4):
            ages.append(source.age_periods(source.read().pts_s or 0.0))
            time.sleep(5 / FPS)
    assert max(ages) > 2, f"ages in periods {ages}: then the check before this one shows nothing"
    return f"ages in periods {ages}, taking one in five"


def main() -> int:
    failed = 0
    for run in CHECKS:
        began_s = time.monotonic()
        try:
            outcome, seen = "PASS", run()
        except Exception as error:
            at = traceback.extract_tb(error.__traceback__)[-1]
            outcome, seen = "FAIL", f"{type(error).__name__} in {Path(at.filename).name}:{at.lineno}: {error}"
            failed += 1
        print(f"{outcome}  {run.__name__}  ({time.monotonic() - began_s:.1f} s)\n      {seen}", flush=True)
    print(f"{failed} of {len(CHECKS)} failed" if failed else f"all {len(CHECKS)} checks passed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    print(f"Python {sys.version.split()[0]}, av {av.__version__}", flush=True)
    with producer(LOOP_YUYV, "YUYV") as YUYV, producer(LOOP_MJPG, "MJPG") as MJPG:
        code = main()
        YUYV.kill()
        MJPG.kill()
    sys.exit(code)
