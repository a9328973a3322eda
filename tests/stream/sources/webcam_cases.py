"""What a webcam must do, on emulated cameras. `test_webcam.py` runs this file in a process that sees them."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from fakecam import FakeCamera, FakeMode, number_in

from headrace.stream import Pipeline
from headrace.stream.clock import MonotonicClock
from headrace.stream.errors import RefusedError, SourceError
from headrace.stream.event import EventLog
from headrace.stream.frame import Packet
from headrace.stream.sources.cameras import cameras
from headrace.stream.sources.retry import Retrying
from headrace.stream.sources.webcam import WebcamSource

BOTH = "cameras here: /dev/video0 (HD Webcam), /dev/video1 (Desk Webcam)"


@pytest.fixture(scope="module")
def made() -> tuple[FakeCamera, FakeCamera]:
    dev = Path(os.environ["FAKECAM_DEV"])
    (dev / "video2").write_text("a metadata node: it opens, and is no camera")
    return (
        FakeCamera.make(dev / "video0", "HD Webcam"),
        FakeCamera.make(dev / "video1", "Desk Webcam", [FakeMode("YUYV", 320, 180, 10)]),
    )


@pytest.fixture
def camera(made: tuple[FakeCamera, FakeCamera]) -> Iterator[FakeCamera]:
    yield made[0]
    made[0].set_fault("none")
    made[0].spoil(0)
    assert not made[0].is_in_use, "the source was left open"


@pytest.fixture
def opened(camera: FakeCamera) -> Iterator[WebcamSource]:
    source = WebcamSource(0, size=(320, 180), timeout_s=0.5)
    source.open()
    yield source
    source.close()


def number_of(packet: Packet) -> int:
    """The number in a packet's picture."""
    assert packet.codec.context is not None
    assert isinstance(packet.data, av.Packet)
    (frame,) = packet.codec.context.decode(packet.data)
    return number_in(frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False))


def read_on(source: WebcamSource) -> None:
    """Read until that fails; what was already taken may still come."""
    while True:
        source.read()


def refused(source: WebcamSource) -> str:
    """The one line that opening it ends with."""
    with pytest.raises(RefusedError) as caught:
        source.open()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for the camera, by its own count of pictures."""
    tick = threading.Event()
    for _ in range(10_000):
        if condition():
            return
        tick.wait(0.001)
    raise AssertionError("the camera took no pictures for 10 s")


# -- modes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pixel_format", "size", "codec", "granted"),
    [
        ("yuyv", (320, 180), "rawvideo", "320x180 YUYV 30 fps"),
        ("MJPG", (640, 360), "mjpeg", "640x360 MJPG 30 fps"),
        ("mjpeg", (1920, 1080), "mjpeg", "640x360 MJPG 30 fps (asked 1920x1080)"),
        (None, (640, 360), "mjpeg", "640x360 MJPG 30 fps"),  # raw has only 10 fps at this size
        (None, None, "mjpeg", "640x360 MJPG 30 fps"),
    ],
)
def test_reads_every_picture_in_the_mode_it_was_granted(
    camera: FakeCamera, pixel_format: str | None, size: tuple[int, int] | None, codec: str, granted: str
) -> None:
    source = WebcamSource("/dev/video0", size=size, pixel_format=pixel_format)
    info = source.open()
    packets = [source.read() for _ in range(6)]
    source.close()
    assert (info.codec, info.granted, info.fps) == (codec, granted, 30.0)
    numbers = [number_of(packet) for packet in packets]
    assert numbers == [(numbers[0] + k) % 64 for k in range(6)]
    assert all(packet.is_keyframe and packet.codec.intra_only for packet in packets)
    assert packets[0].codec.context is not None
    assert packets[0].codec.context.pix_fmt == ("yuvj420p" if codec == "mjpeg" else "yuyv422")
    times = [packet.pts_s for packet in packets]
    assert times[0] == 0.0
    assert np.all(np.diff(np.array(times, float)) > 0)
    assert np.all(np.diff([packet.arrival_ns for packet in packets]) > 0)


def test_a_rate_that_is_not_there_is_said(camera: FakeCamera) -> None:
    source = WebcamSource(0, size=(640, 360), fps=60, pixel_format="yuyv")
    assert source.open().granted == "640x360 YUYV 10 fps (asked 60 fps)"
    source.close()


def test_a_pixel_format_that_is_not_there_is_refused(camera: FakeCamera) -> None:
    text = refused(WebcamSource(0, pixel_format="nv12"))
    assert text == "camera /dev/video0: it has no pixel format nv12; it has YUYV, MJPG"


def test_packets_outlive_the_camera(camera: FakeCamera) -> None:
    source = WebcamSource(0, size=(320, 180))
    source.open()
    packets = [source.read() for _ in range(4)]
    source.close()
    source.open()
    source.read()
    source.close()
    assert len({number_of(packet) for packet in packets}) == 4


# -- which camera ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", [1, "1", "/dev/video1", "Desk Webcam", "desk"])
def test_is_found_by_index_path_and_name(camera: FakeCamera, device: int | str) -> None:
    source = WebcamSource(device)
    assert source.open().granted == "320x180 YUYV 10 fps"
    source.close()


@pytest.mark.parametrize(
    ("device", "text"),
    [
        (7, f"camera /dev/video7: there is no such camera; {BOTH}"),
        ("/dev/video2", f"camera /dev/video2: this is not a camera; {BOTH}"),
        ("/dev/null", f"camera /dev/null: this is not a camera; {BOTH}"),
        ("Attic", f"camera Attic: no camera is called that; {BOTH}"),
        (
            "webcam",
            "camera webcam: more than one camera is called that: /dev/video0 (HD Webcam), "
            "/dev/video1 (Desk Webcam); take one by its path",
        ),
    ],
)
def test_what_is_no_camera_is_refused_in_one_line(camera: FakeCamera, device: int | str, text: str) -> None:
    assert refused(WebcamSource(device)) == text


def test_a_busy_camera_is_refused(camera: FakeCamera, opened: WebcamSource) -> None:
    text = "camera /dev/video0: another program is using it: close that, or take another camera; "
    assert refused(WebcamSource(0)) == text + BOTH
    assert number_of(opened.read()) >= 0, "whoever has it does not notice"


def test_a_forbidden_camera_names_the_group(camera: FakeCamera) -> None:
    camera.set_fault("forbidden")
    assert "add yourself to the group video" in refused(WebcamSource(0))


def test_the_list_has_names_formats_and_problems(camera: FakeCamera) -> None:
    first, second = cameras()
    assert (first.path, first.name, first.driver) == ("/dev/video0", "HD Webcam", "fakecam")
    assert [(it.fourcc, it.width, it.height, it.fps) for it in first.formats] == [
        ("YUYV", 640, 360, (10.0,)),
        ("YUYV", 320, 180, (30.0,)),
        ("MJPG", 640, 360, (30.0,)),
        ("MJPG", 320, 180, (30.0,)),
    ]
    assert (str(second), second.problem) == ("/dev/video1 (Desk Webcam)", "")
    camera.set_fault("forbidden")
    assert cameras()[0].problem.startswith("no permission")


# -- faults ------------------------------------------------------------------------------------------------


def test_unplugging_ends_reading_and_plugging_in_resumes(camera: FakeCamera, opened: WebcamSource) -> None:
    opened.read()
    camera.set_fault("unplugged")
    with pytest.raises(SourceError, match=r"camera /dev/video0: it is not plugged in"):
        read_on(opened)
    with pytest.raises(SourceError) as caught:
        opened.open()
    assert not isinstance(caught.value, RefusedError), "a camera that was there is worth another try"
    camera.set_fault("none")
    opened.open()
    assert opened.read().pts_s == 0.0


def test_the_wrapper_brings_an_unplugged_camera_back(camera: FakeCamera) -> None:
    class PlugsItInWhileWaiting(MonotonicClock):
        def wait(self, stop: threading.Event, seconds: float) -> bool:
            camera.set_fault("none")
            return False

    events = EventLog()
    source = Retrying(WebcamSource("HD Webcam"), stop=threading.Event(), events=events, clock=PlugsItInWhileWaiting())
    source.open()
    assert source.read().epoch == 0  # type: ignore[union-attr]
    camera.set_fault("unplugged")
    while (packet := source.read()) is not None and packet.epoch == 0:
        pass
    assert packet is not None
    assert packet.epoch == 1
    assert [event.kind for event in events.take()] == ["opened", "lost", "opened"]
    source.close()


def test_a_stall_ends_reading_after_the_time_limit(camera: FakeCamera, opened: WebcamSource) -> None:
    camera.set_fault("stalled")
    with pytest.raises(SourceError, match=r"camera /dev/video0: no picture for 0.5 s"):
        read_on(opened)
    camera.set_fault("none")
    opened.open()
    opened.read()


@pytest.mark.parametrize("pixel_format", ["mjpeg", "yuyv"])
def test_a_camera_that_never_starts_is_given_up(camera: FakeCamera, pixel_format: str) -> None:
    camera.set_fault("stalled")
    events = EventLog()
    stop = threading.Event()

    class Stops(MonotonicClock):
        def wait(self, stop: threading.Event, seconds: float) -> bool:
            stop.set()
            return True

    source = Retrying(
        WebcamSource(0, pixel_format=pixel_format, timeout_s=0.3), stop=stop, events=events, clock=Stops()
    )
    source.open()
    assert source.read() is None
    (lost,) = events.take()
    assert lost.text.startswith("camera /dev/video0: no picture")
    source.close()


def test_a_short_stall_is_waited_out(camera: FakeCamera) -> None:
    source = WebcamSource(0, size=(320, 180), timeout_s=30)
    source.open()
    camera.set_fault("stalled")
    taken = camera.captured
    threading.Timer(0.3, camera.set_fault, ["none"]).start()
    wait_for(lambda: source.read() is not None and camera.captured > taken + 2)
    source.close()


def test_spoilt_pictures_are_left_out_and_counted(camera: FakeCamera, opened: WebcamSource) -> None:
    camera.spoil(3)
    taken = camera.captured
    wait_for(lambda: opened.read() is not None and camera.captured > taken + 6)
    assert opened.glitches == 3
    camera.spoil(1_000_000)
    with pytest.raises(SourceError, match=r"the driver spoilt \d+ pictures in a row"):
        read_on(opened)


# -- the whole way -----------------------------------------------------------------------------------------


def test_a_pipeline_reads_a_camera_and_its_ledger_adds_up(camera: FakeCamera) -> None:
    with Pipeline("0", frames=20) as pipeline:
        results = list(pipeline)
    numbers = [number_in(result.frame.picture.rgb()) for result in results]
    (stats,) = pipeline.stats().streams.values()
    steps = np.diff(numbers) % 64
    assert np.all(steps >= 1)
    assert np.all(steps < 32)
    assert results[0].frame.pts_s < 1, "the time begins with the first picture"
    entry = stats.ledger
    assert entry.captured == entry.rendered + sum(entry.dropped.values()) + entry.in_flight


def test_a_slow_consumer_gets_pictures_no_older_than_two_periods(camera: FakeCamera) -> None:
    source = WebcamSource(0, size=(640, 360), pixel_format="yuyv")  # 10 fps: a period is long for any machine
    ages = []
    with Pipeline(source) as pipeline:
        for result in pipeline:
            newest = camera.captured - 1
            ages.append((newest - number_in(result.frame.picture.rgb())) % 64)
            if len(ages) == 6:
                break
            wait_for(lambda newest=newest: camera.captured - 1 >= newest + 5)  # type: ignore[misc]
    assert max(ages) <= 2, f"ages in periods: {ages}"


def test_without_the_pipeline_a_slow_reader_gets_the_drivers_old_pictures(camera: FakeCamera) -> None:
    """The emulation queues as a driver does; without that the test before this one would show nothing."""
    source = WebcamSource(0, size=(320, 180))
    source.open()
    first = number_of(source.read())
    taken = camera.captured
    wait_for(lambda: camera.captured >= taken + 20)
    assert (number_of(source.read()) - first) % 64 == 1
    source.close()
