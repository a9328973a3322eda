"""What every source must do, whatever it reads; a new source gets a line in `MAKERS`."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import av
import cv2
import pytest
from http_camera import SIZE, HttpCamera, bars, encode, mjpeg
from peers import need_rtsp_server
from rtsp_server import PASSWORD, USER, RtspServer

from headrace.stream.errors import SourceError
from headrace.stream.frame import Packet
from headrace.stream.sources import open_source
from headrace.stream.sources.base import Source
from headrace.stream.sources.pacing import Looping, Paced
from headrace.stream.sources.retry import Retrying

Finalize = Callable[[Callable[[], None]], None]


def clip(folder: Path) -> Path:
    path = folder / "clip.mp4"
    with av.open(str(path), "w") as container:
        encode(container, 8)
    return path


def file(folder: Path, finalize: Finalize) -> Source:
    return open_source(str(clip(folder)))


def folder_of_images(folder: Path, finalize: Finalize) -> Source:
    for at in range(4):
        cv2.imwrite(str(folder / f"{at}.png"), bars(at))
    return open_source(str(folder))


def http(folder: Path, finalize: Finalize) -> Source:
    camera = HttpCamera(mjpeg(8, login="me:p@ss:w/rd"))
    finalize(camera.close)
    return open_source(camera.url("video", "me:p@ss:w/rd@"))


def rtsp(folder: Path, finalize: Finalize) -> Source:
    need_rtsp_server()
    server = RtspServer(login="digest")
    finalize(server.kill)
    return open_source(server.url("h264", user=USER, password=PASSWORD))


def paced(folder: Path, finalize: Finalize) -> Source:
    return Paced(file(folder, finalize), stop=threading.Event())


def looping(folder: Path, finalize: Finalize) -> Source:
    return Looping(file(folder, finalize))


def retrying(folder: Path, finalize: Finalize) -> Source:
    return Retrying(file(folder, finalize), stop=threading.Event())


def scene(folder: Path, finalize: Finalize) -> Source:
    return open_source("scene:street?seconds=1&size=160x120&fps=8")


MAKERS = [file, folder_of_images, http, pytest.param(rtsp, marks=pytest.mark.rtsp), paced, looping, retrying, scene]


@pytest.fixture(params=MAKERS)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Source]:
    made: Source = request.param(tmp_path, request.addfinalizer)
    with closing(made):
        yield made


def some(source: Source, count: int = 4) -> list[Packet]:
    return [packet for packet in (source.read() for _ in range(count)) if packet is not None]


def test_an_opening_says_what_comes_and_packets_come(source: Source) -> None:
    started_ns = time.monotonic_ns()
    info = source.open()
    packets = some(source)
    assert len(packets) == 4
    assert info.width > 0
    assert info.height > 0
    assert {packet.codec.name for packet in packets} == {info.codec}
    assert packets[0].is_keyframe
    assert {(packet.epoch, packet.stream_id, packet.seq) for packet in packets} == {(0, "", 0)}
    arrivals_ns = [packet.arrival_ns for packet in packets]
    assert arrivals_ns == sorted(arrivals_ns)
    assert started_ns <= arrivals_ns[0] <= arrivals_ns[-1] <= time.monotonic_ns()


def test_one_opening_has_one_codec_and_the_next_another(source: Source) -> None:
    source.open()
    first = some(source)
    source.close()
    source.open()
    second = some(source)
    assert len({id(packet.codec) for packet in first}) == 1
    assert len({id(packet.codec) for packet in second}) == 1
    assert first[0].codec is not second[0].codec
    assert second[0].is_keyframe


def test_packets_outlive_the_source(source: Source) -> None:
    source.open()
    packets = some(source)
    source.close()
    shown = 0
    for packet in packets:
        if isinstance(packet.data, av.Packet):
            assert packet.codec.context is not None
            shown += len(packet.codec.context.decode(packet.data))
        else:
            shown += packet.data.ndim == 3
    assert shown > 0


@pytest.mark.parametrize("source", [file, folder_of_images, paced, retrying, scene], indirect=True)
def test_what_ends_ends_for_good(source: Source) -> None:
    source.open()
    assert some(source, 1000)
    assert source.read() is None
    assert source.read() is None


def test_close_is_safe_at_any_time(source: Source) -> None:
    source.close()
    source.open()
    source.close()
    source.close()
    source.open()
    assert some(source)


def test_its_name_and_repr_hold_no_password(source: Source) -> None:
    assert source.name
    for text in (source.name, repr(source)):
        assert "p@ss" not in text
        assert "p%40ss" not in text


def test_a_camera_of_another_size_comes_back_as_it_is(request: pytest.FixtureRequest) -> None:
    """New size and new codec context after a reconnect: nothing is remembered of the old."""
    small, large = mjpeg(3), mjpeg(3, scale=2)
    served = iter([small, large])
    camera = HttpCamera(lambda asked: next(served)(asked))
    request.addfinalizer(camera.close)
    source = Retrying(open_source(camera.url("video")), stop=threading.Event())
    with closing(source):
        before = source.open()
        packets = some(source, 5)
    assert (before.width, before.height) == SIZE
    assert [packet.epoch for packet in packets] == [0, 0, 0, 1, 1]
    last = packets[-1]
    assert isinstance(last.data, av.Packet)
    assert last.codec.context is not None
    assert [(frame.width, frame.height) for frame in last.codec.context.decode(last.data)] == [
        (2 * SIZE[0], 2 * SIZE[1])
    ]


def test_a_source_that_cannot_be_opened_can_be_closed_and_tried_again(tmp_path: Path) -> None:
    source = open_source(str(tmp_path / "clip.mp4"))
    for _ in range(2):
        with pytest.raises(SourceError):
            source.open()
        source.close()
    clip(tmp_path)
    source.open()
    assert some(source)
    source.close()
