"""Real servers on the loopback: what plays, what is refused, what is lost, and what nobody may read."""

import errno
import logging
import shutil
import socket
import subprocess
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import av
import numpy as np
import pytest
import scripted
from http_camera import FPS, SIZE, HttpCamera, SilentServer, encode, folder_of, mjpeg, write_playlist
from peers import missing, need_rtsp_server
from rtsp_server import BARS, MOUNTS, PASSWORD, USER, RtspServer
from scripted import JumpingClock

from headrace.stream.clock import MonotonicClock
from headrace.stream.errors import RefusedError, SourceError
from headrace.stream.event import EventLog
from headrace.stream.frame import Packet
from headrace.stream.sources.base import SourceInfo
from headrace.stream.sources.lag import FellBehindError
from headrace.stream.sources.network import NetworkSource, Transport
from headrace.stream.sources.resolve import check_name
from headrace.stream.sources.retry import Retrying

QUICK_S = (2.0, 1.0)


def read(source: NetworkSource, count: int) -> list[Packet]:
    """Open, read so many packets, close."""
    with closing(source):
        source.open()
        packets = [source.read() for _ in range(count)]
    return [packet for packet in packets if packet is not None]


def first_picture(packets: list[Packet]) -> np.ndarray:
    """uint8 (H, W, 3) of the first keyframe and what follows it."""
    start = next(at for at, packet in enumerate(packets) if packet.is_keyframe)
    context = packets[0].codec.context
    assert context is not None
    for packet in packets[start:]:
        assert isinstance(packet.data, av.Packet)
        for frame in context.decode(packet.data):
            return frame.to_ndarray(format="rgb24")
    raise AssertionError(f"no picture in {len(packets) - start} packets")


def shows(packets: list[Packet], at: tuple[int, int], colour: tuple[int, int, int]) -> bool:
    """Whether the first picture has about this colour at (x, y): it is not grey, and not another picture."""
    found = first_picture(packets)[at[1], at[0]].astype(int)
    return bool(np.abs(found - colour).max() < 40)


def drain(source: NetworkSource) -> list[Packet]:
    """Read until it ends or fails."""
    return list(iter(source.read, None))


def all_text(error: BaseException, *more: object) -> str:
    """Everything that a log, a console or a debugger would show of a failure."""
    chain = [error, error.__cause__, error.__context__]
    assert chain[1:] == [None, None], "another exception hangs on this one"
    return "\n".join([*traceback.format_exception(error), repr(error), repr(error.__dict__), *map(repr, more)])


# RTSP


@pytest.fixture(scope="module")
def camera() -> Iterator[RtspServer]:
    """Without a password."""
    need_rtsp_server()
    server = RtspServer()
    yield server
    server.kill()


@pytest.fixture(scope="module", params=["basic", "digest"])
def locked_camera(request: pytest.FixtureRequest) -> Iterator[RtspServer]:
    """With a password, asked for in each way."""
    need_rtsp_server()
    server = RtspServer(login=request.param)
    yield server
    server.kill()


@pytest.mark.rtsp
@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("mount", list(MOUNTS))
def test_every_codec_plays_over_each_transport_with_each_login(
    locked_camera: RtspServer, mount: str, transport: Transport
) -> None:
    source = NetworkSource(locked_camera.url(mount, user=USER, password=PASSWORD), transport=transport)
    packets = read(source, 12)
    assert source.is_live
    assert packets[0].codec.name == {"h264b": "h264", "h265": "hevc"}.get(mount, mount)
    assert packets[0].codec.intra_only == (mount == "mjpeg")
    times_s = sorted(packet.pts_s for packet in packets if packet.pts_s is not None)
    assert len(times_s) == 12
    assert (times_s[-1] - times_s[0]) / 11 == pytest.approx(1 / 25, rel=0.3)
    assert all(shows(packets, at, colour) for at, colour in BARS.items())


@pytest.mark.rtsp
def test_a_password_may_be_percent_encoded(locked_camera: RtspServer) -> None:
    assert read(NetworkSource(locked_camera.url("mjpeg", user=USER, password="p%40ss%3Aw%2Frd")), 2)


@pytest.mark.rtsp
def test_a_wrong_password_is_one_clear_line(locked_camera: RtspServer) -> None:
    source = NetworkSource(locked_camera.url("h264", user=USER, password="s3cret@w/o"))
    with pytest.raises(RefusedError, match="the password is wrong") as caught:
        source.open()
    assert "\n" not in str(caught.value)
    assert f"me:***@127.0.0.1:{locked_camera.port}/h264" in str(caught.value)


@pytest.mark.rtsp
def test_a_missing_password_says_how_to_write_it(locked_camera: RtspServer) -> None:
    with pytest.raises(RefusedError, match=r"rtsp://USER:PASSWORD@127\.0\.0\.1"):
        NetworkSource(locked_camera.url("h264")).open()


@pytest.mark.rtsp
def test_rtsp_over_tls(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    need_rtsp_server()
    if shutil.which("openssl") is None:
        missing("the command `openssl` is not installed")
    key, certificate, both = (tmp_path / name for name in ("key.pem", "certificate.pem", "both.pem"))
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=camera -keyout {key} -out {certificate}"
    subprocess.run(command.split(), check=True, capture_output=True)
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    server = RtspServer(login="digest", certificate=both)
    request.addfinalizer(server.kill)
    url = server.url("h264", user=USER, password=PASSWORD)
    assert url.startswith("rtsps://")
    packets = read(NetworkSource(url, transport="udp"), 4)  # UDP is not possible here, and not tried.
    assert shows(packets, (160, 60), (0, 191, 0))


@pytest.mark.rtsp
def test_a_path_that_is_not_there(camera: RtspServer) -> None:
    with pytest.raises(RefusedError, match="no such stream"):
        NetworkSource(camera.url("nowhere")).open()


@pytest.mark.rtsp
def test_a_camera_without_tcp_says_what_to_use(request: pytest.FixtureRequest) -> None:
    need_rtsp_server()
    server = RtspServer(protocols="udp")
    request.addfinalizer(server.kill)
    assert read(NetworkSource(server.url("h264"), transport="udp"), 2)
    with pytest.raises(RefusedError, match="try transport udp"):
        NetworkSource(server.url("h264")).open()


@pytest.mark.rtsp
@pytest.mark.parametrize("mount", ["h264", "h265"])
def test_joining_in_the_middle_of_a_group_marks_the_keyframe(camera: RtspServer, mount: str) -> None:
    with closing(NetworkSource(camera.url(mount))) as early:
        early.open()
        for _ in range(8):  # The group has 25 pictures.
            early.read()
        joined = (read(NetworkSource(camera.url(mount)), 30) for _ in range(5))
        late = next(packets for packets in joined if not packets[0].is_keyframe)
    assert [packet.is_keyframe for packet in late].count(True) in (1, 2)
    assert all(shows(late, at, colour) for at, colour in BARS.items())


@pytest.mark.rtsp
def test_a_killed_server_is_a_loss_and_not_an_end(request: pytest.FixtureRequest) -> None:
    need_rtsp_server()
    server = RtspServer()
    request.addfinalizer(server.kill)
    for transport in ("tcp", "udp"):
        with closing(NetworkSource(server.url("mjpeg"), transport=transport, limits_s=QUICK_S)) as source:
            source.open()
            source.read()
            server.kill()
            with pytest.raises(SourceError, match=r"closed the connection|broke off|no picture"):
                drain(source)
        server.start()


@pytest.mark.rtsp
@pytest.mark.parametrize("mount", ["h264", "mjpeg"])
def test_a_frozen_server_is_a_loss_within_the_limit(request: pytest.FixtureRequest, mount: str) -> None:
    need_rtsp_server()
    server = RtspServer()
    request.addfinalizer(server.kill)
    with closing(NetworkSource(server.url(mount), limits_s=QUICK_S)) as source:
        source.open()
        source.read()
        server.freeze()
        with pytest.raises(SourceError, match=r"no picture for \d\.\d s"):
            drain(source)


class RestartingClock(MonotonicClock):
    """Starts the server again before the third attempt to reach it."""

    def __init__(self, server: RtspServer) -> None:
        self._server = server
        self.attempts = 0

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        self.attempts += 1
        if self.attempts == 3:
            self._server.start()
        return super().wait(stop, seconds / 10)


@pytest.mark.rtsp
def test_a_server_that_was_killed_and_started_again_comes_back(request: pytest.FixtureRequest) -> None:
    need_rtsp_server()
    server = RtspServer(login="digest")
    request.addfinalizer(server.kill)
    events, clock = EventLog(), RestartingClock(server)
    source = NetworkSource(server.url("h264", user=USER, password=PASSWORD), limits_s=(4.0, 2.0))
    with closing(Retrying(source, stop=threading.Event(), events=events, clock=clock)) as retrying:
        retrying.open()
        first = retrying.read()
        assert first is not None
        server.kill()
        back = next(packet for packet in iter(retrying.read, None) if packet.epoch > 0)
        packets = [back, *(packet for packet in (retrying.read() for _ in range(40)) if packet)]
    assert first.epoch == 0
    assert {packet.epoch for packet in packets} == {1}
    assert back.codec is not first.codec
    assert shows(packets, (160, 60), (0, 191, 0))
    told = events.take()
    assert [event.kind for event in told] == ["opened", "lost", "lost", "opened"]
    assert "nothing listens" in told[2].text


# HTTP and UDP

Start = Callable[[Callable[[BaseHTTPRequestHandler], None]], HttpCamera]


@pytest.fixture
def http(request: pytest.FixtureRequest) -> Start:
    """Starts HTTP cameras, which are stopped after the test."""

    def start(answer: Callable[[BaseHTTPRequestHandler], None]) -> HttpCamera:
        server = HttpCamera(answer)
        request.addfinalizer(server.close)
        return server

    return start


def test_http_mjpeg_is_stamped_by_arrival(http: Start) -> None:
    """It has no times of its own, and FFmpeg would count it at 25 fps."""
    source = NetworkSource(http(mjpeg(12, 0.08)).url("video"))
    with closing(source):
        info = source.open()
        packets = [packet for packet in (source.read() for _ in range(10)) if packet is not None]
    assert (info.codec, info.width, info.height, info.fps) == ("mjpeg", *SIZE, None)
    for packet in packets:
        assert packet.pts_s == pytest.approx((packet.arrival_ns - packets[0].arrival_ns) / 1e9)
    assert packets[-1].pts_s is not None
    assert packets[-1].pts_s > 9 / 25
    assert shows(packets, (80, 40), (30, 200, 30))


def test_http_mjpeg_that_ends_is_a_loss(http: Start) -> None:
    with closing(NetworkSource(http(mjpeg(5)).url("video"))) as source:
        source.open()
        with pytest.raises(SourceError, match=r"closed the connection|broke off"):
            drain(source)


def test_http_with_a_password(http: Start) -> None:
    camera = http(mjpeg(20, login="me:p@ss:w/rd"))
    assert read(NetworkSource(camera.url("video", "me:p@ss:w/rd@")), 3)
    with pytest.raises(RefusedError, match="the password is wrong"):
        NetworkSource(camera.url("video", "me:other@")).open()
    with pytest.raises(RefusedError, match="asks for a user name and a password"):
        NetworkSource(camera.url("video")).open()


def test_a_complete_playlist_plays_to_its_end(http: Start, tmp_path: Path) -> None:
    write_playlist(tmp_path, 3, ends=True)
    with closing(NetworkSource(http(folder_of(tmp_path)).url("live.m3u8"))) as source:
        source.open()
        packets = list(iter(source.read, None))
    assert len(packets) == 3 * FPS
    assert packets[0].is_keyframe


def test_a_live_playlist_is_joined_at_its_newest_piece_and_lost_when_it_stalls(http: Start, tmp_path: Path) -> None:
    write_playlist(tmp_path, 5, ends=False)
    source = NetworkSource(http(folder_of(tmp_path)).url("live.m3u8"), limits_s=QUICK_S)
    with closing(source):
        source.open()
        packets = [source.read() for _ in range(FPS)]
        with pytest.raises(SourceError, match=r"no picture for \d\.\d s"):
            source.read()
    assert packets[0] is not None
    assert packets[0].is_keyframe


def test_a_recording_over_http_ends(http: Start, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        encode(container, 10)
    source = NetworkSource(http(folder_of(tmp_path)).url("clip.mp4"))
    assert not source.is_live
    with closing(source):
        assert source.open().frames == 10
        assert len(list(iter(source.read, None))) == 10


@pytest.mark.parametrize(("path", "why"), [("nowhere.m3u8", "no such stream"), ("page.html", "not with video")])
def test_http_that_is_no_video_is_refused(http: Start, tmp_path: Path, path: str, why: str) -> None:
    (tmp_path / "page.html").write_text("<html>Welcome to your camera</html>" * 50)
    with pytest.raises(RefusedError, match=why):
        NetworkSource(http(folder_of(tmp_path)).url(path)).open()


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_mpeg_ts_over_udp_is_joined_in_the_middle(request: pytest.FixtureRequest) -> None:
    url, stop = f"udp://127.0.0.1:{free_udp_port()}", threading.Event()

    def send() -> None:
        with av.open(f"{url}?pkt_size=1316", "w", format="mpegts") as container:
            encode(container, 10_000, lambda at: stop.wait(0.01))

    sender = threading.Thread(target=send)
    sender.start()
    request.addfinalizer(sender.join)
    request.addfinalizer(stop.set)
    packets = read(NetworkSource(url), 3 * FPS)
    assert len(packets) == 3 * FPS
    assert sum(packet.is_keyframe for packet in packets) == 3
    assert shows(packets, (80, 40), (30, 200, 30))


def test_udp_that_nobody_sends_to_is_a_loss_within_the_limit() -> None:
    with pytest.raises(SourceError, match="no answer within"):
        NetworkSource(f"udp://127.0.0.1:{free_udp_port()}", limits_s=QUICK_S).open()


def test_srt_is_refused_with_the_way_round_it() -> None:
    with pytest.raises(RefusedError, match=r"srt-live-transmit 'srt://cam:9000\?passphrase=\*\*\*' udp://") as caught:
        NetworkSource("srt://cam:9000?passphrase=verysecret").open()
    assert "\n" not in str(caught.value)


class Played:
    """What a camera at 25 fps sends, over a link that takes so long for each picture; time is what it says."""

    def __init__(self, link_s: float) -> None:
        self.now_s, self._link_s, self._sent_s, self._at = 100.0, link_s, 100.0, 0

    def monotonic(self) -> float:
        return self.now_s

    def open(self) -> SourceInfo:
        return SourceInfo(width=2, height=2, codec="rgb")

    def read(self) -> Packet:
        self._sent_s = max(self._sent_s + self._link_s, 100.0 + self._at / 25)
        self.now_s = max(self.now_s, self._sent_s)
        self._at += 1
        return replace(scripted.packet((self._at - 1) / 25), arrival_ns=round(self.now_s * 1e9))

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("link_s", "work_s", "falls_behind"), [(0.06, 0.0, True), (0.002, 0.06, False)])
def test_a_link_that_is_too_thin_is_told_from_a_reader_that_is_too_slow(
    link_s: float, work_s: float, falls_behind: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    played, source = Played(link_s), NetworkSource("rtsp://camera/1")
    for name, stand_in in (
        ("time", played),
        ("Demuxer", lambda *_, **__: played),
        ("check_name", lambda *_, **__: 0),
    ):
        monkeypatch.setattr(f"headrace.stream.sources.network.{name}", stand_in)
    source.open()
    with pytest.raises(FellBehindError) if falls_behind else nullcontext():
        for _ in range(1000):
            source.read()
            played.now_s += work_s
    assert played.now_s - 100 > 10


# Servers that do not answer as they should


@pytest.mark.parametrize("trickle", [b"", b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nX: " + b"y" * 9])
@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_server_that_never_finishes_its_answer_is_a_loss_within_the_limit(
    request: pytest.FixtureRequest, scheme: str, trickle: bytes
) -> None:
    server = SilentServer(trickle)
    request.addfinalizer(server.close)
    source = NetworkSource(f"{scheme}://me:secret@127.0.0.1:{server.port}/1", limits_s=QUICK_S)
    with closing(source), pytest.raises(SourceError, match="no answer within") as caught:
        source.open()
    assert not isinstance(caught.value, RefusedError)


def test_a_server_that_speaks_something_else(request: pytest.FixtureRequest) -> None:
    server = SilentServer(b"SSH-2.0-OpenSSH_9.2\r\n" * 40, period_s=0.0)
    request.addfinalizer(server.close)
    with pytest.raises(SourceError):
        NetworkSource(f"rtsp://127.0.0.1:{server.port}/1", limits_s=QUICK_S).open()


def test_nothing_listens() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        url = f"rtsp://me:secret@127.0.0.1:{one.getsockname()[1]}/1"
        with pytest.raises(SourceError, match="nothing listens at 127") as caught:
            NetworkSource(url).open()
    assert not isinstance(caught.value, RefusedError)


def test_a_name_that_nobody_knows() -> None:
    with pytest.raises(SourceError, match=r"camera\.invalid"):
        NetworkSource("rtsp://camera.invalid/1", limits_s=QUICK_S).open()


def test_a_resolver_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.stream.sources.resolve._SCRIPT", "import threading; threading.Event().wait()")
    with pytest.raises(SourceError, match="no answer to the question who camera is"):
        check_name("camera", limit_s=0.2)


def test_a_machine_that_starts_no_process_more_is_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(SourceError, match=r"rtsp://camera/1: .*could not be looked up: Resource temp"):
        NetworkSource("rtsp://camera/1").open()


def test_a_known_name_is_asked_for_once_a_minute_and_an_unknown_one_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    clock = JumpingClock()

    def answer(command: list[str], **options: object) -> "subprocess.CompletedProcess[bytes]":
        asked.append(command[-1])
        return subprocess.CompletedProcess(command, 0 if command[-1] == "camera.known" else 1)

    monkeypatch.setattr("headrace.stream.sources.resolve.subprocess.run", answer)
    monkeypatch.setattr("headrace.stream.sources.resolve.time.monotonic", lambda: clock.time_ns / 1e9)
    for _ in range(3):
        check_name("camera.known", limit_s=5)
        with pytest.raises(SourceError, match="is not known"):
            check_name("camera.unknown", limit_s=5)
    assert asked == ["camera.known", *["camera.unknown"] * 3]
    clock.time_ns += 61_000_000_000
    check_name("camera.known", limit_s=5)
    assert asked[-1] == "camera.known"


@pytest.mark.parametrize("host", ["", "localhost", "10.0.0.1", "fe80::1%eth0", "::1"])
def test_an_address_is_not_looked_up(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setattr("headrace.stream.sources.resolve._SCRIPT", "raise SystemExit(1)")
    check_name(host, limit_s=5)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://cam/1", "ftp:// is not read"),
        ("rtsp:///1", "no host"),
        ("rtsp://me:pw@cam:x/1", "not an address"),
    ],
)
def test_addresses_that_are_none(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        NetworkSource(url)
    assert "pw" not in str(caught.value)


def test_close_is_safe_at_any_time() -> None:
    source = NetworkSource("rtsp://127.0.0.1:1/1")
    source.close()
    with pytest.raises(SourceError):
        source.open()
    source.close()
    source.close()


# Nobody reads the password


SECRETS = ("p@ss:w/rd", "p%40ss%3Aw%2Frd", "p%40ss%3Aw/rd", "t0ken")


def test_the_password_is_nowhere(
    request: pytest.FixtureRequest,
    http: Start,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Every way to fail, and everything that a person or a program may see of it."""
    caplog.set_level(logging.DEBUG)
    silent = SilentServer()
    request.addfinalizer(silent.close)
    (tmp_path / "page.html").write_text("welcome" * 500)
    open_http, locked = http(folder_of(tmp_path)), http(mjpeg(3, login="me:other"))
    login = "me:p@ss:w/rd@"
    urls = [
        f"rtsp://{login}127.0.0.1:1/1?token=t0ken",
        f"rtsp://me:p%40ss%3Aw%2Frd@127.0.0.1:{silent.port}/1",
        f"rtsp://{login}camera.invalid/1",
        f"rtsps://{login}127.0.0.1:{silent.port}/1",
        open_http.url("nowhere?token=t0ken", login),
        open_http.url("page.html?password=t0ken", login),
        locked.url("video", login),
        f"srt://{login}cam:1?passphrase=t0ken",
        f"udp://{login}127.0.0.1:{free_udp_port()}",
    ]
    seen = []
    for url in urls:
        source, events = NetworkSource(url, limits_s=(0.6, 0.6)), EventLog()
        stop = threading.Event()
        retrying = Retrying(source, stop=stop, events=events, clock=StoppingClock(stop))
        with pytest.raises(SourceError) as caught:
            source.open()
        seen.append(all_text(caught.value, source, source.name))
        try:
            retrying.open()
        except RefusedError as refused:
            seen.append(all_text(refused))
        seen.append(repr((retrying, retrying.state, events.take())))
        retrying.close()
    out, err = capfd.readouterr()
    everything = "\n".join([*seen, caplog.text, out, err])
    assert everything.count("***") > 2 * len(urls)
    for secret in SECRETS:
        assert secret not in everything, everything[everything.index(secret) - 300 :][:400]


class StoppingClock(JumpingClock):
    """Stops when somebody waits."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__()
        self._stop = stop

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        self._stop.set()
        return super().wait(stop, seconds)
