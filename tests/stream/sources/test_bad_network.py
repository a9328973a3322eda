"""A real camera behind a bad network: holes, losses, delays, and a link that is too thin. Takes minutes."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from netrelay import Link
from peers import need_namespaces, need_rtsp_server
from rtsp_server import BARS, PASSWORD, USER, RtspServer

from headrace.stream.clock import MonotonicClock
from headrace.stream.decode import Decoder
from headrace.stream.errors import RefusedError, SourceError
from headrace.stream.event import EventLog
from headrace.stream.frame import Packet
from headrace.stream.ledger import Ledger
from headrace.stream.sources.lag import FellBehindError
from headrace.stream.sources.network import NetworkSource, Transport
from headrace.stream.sources.resolve import check_name
from headrace.stream.sources.retry import Retrying

pytestmark = [pytest.mark.slow, pytest.mark.rtsp]

LIMITS_S = (8.0, 2.0)
BOTH = pytest.mark.parametrize("transport", ["tcp", "udp"])
KBIT = 1500


@pytest.fixture(scope="module")
def whole_link() -> Iterator[Link]:
    need_namespaces()
    link = Link()
    yield link
    link.close()


@pytest.fixture
def link(whole_link: Link) -> Iterator[Link]:
    """The camera's link, whole at first; the test runs at the viewer's end."""
    whole_link.mend()
    with whole_link.at_the_viewer():
        yield whole_link
    whole_link.mend()


@pytest.fixture(scope="module")
def camera(whole_link: Link) -> Iterator[RtspServer]:
    """Noise at 1500 kbit/s, with a password."""
    need_rtsp_server()
    server = RtspServer(
        login="digest", host=whole_link.camera_ip, prefix=whole_link.camera_prefix, kbit=KBIT, noise=True
    )
    yield server
    server.kill()


def source_of(camera: RtspServer, transport: Transport = "tcp", mount: str = "h264") -> NetworkSource:
    url = camera.url(mount, user=USER, password=PASSWORD)
    return NetworkSource(url, transport=transport, limits_s=LIMITS_S)


def some(source: NetworkSource | Retrying, count: int) -> list[Packet]:
    return [packet for packet in (source.read() for _ in range(count)) if packet is not None]


class Repairing(MonotonicClock):
    """Repairs what is broken, so long after the first wait began."""

    def __init__(self, repair: Callable[[], None], *, after_s: float) -> None:
        self._repair: Callable[[], None] | None = repair
        self._after_s = after_s
        self._first_ns: int | None = None
        self.repaired_ns = 0

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        self._first_ns = self._first_ns or self.now_ns()
        left_s = self._after_s - (self.now_ns() - self._first_ns) / 1e9
        if self._repair is not None and left_s < seconds:
            super().wait(stop, left_s)
            self._repair()
            self._repair, self.repaired_ns = None, self.now_ns()
            seconds -= max(0.0, left_s)
        return super().wait(stop, seconds)


@BOTH
def test_a_hole_while_opening(link: Link, camera: RtspServer, transport: Transport) -> None:
    link.is_black_hole = True
    with (
        closing(source_of(camera, transport)) as source,
        pytest.raises(SourceError, match="no answer within"),
    ):
        source.open()


@BOTH
@pytest.mark.parametrize("mount", ["h264", "mjpeg"])
def test_a_hole_while_playing_and_back(link: Link, camera: RtspServer, transport: Transport, mount: str) -> None:
    events, clock = EventLog(), Repairing(link.mend, after_s=0.4)
    retrying = Retrying(source_of(camera, transport, mount), stop=threading.Event(), events=events, clock=clock)
    with closing(retrying):
        retrying.open()
        assert len(some(retrying, 20)) == 20
        link.is_black_hole = True
        started_ns = time.monotonic_ns()
        back = next(packet for packet in iter(retrying.read, None) if packet.epoch > 0)
        assert {packet.epoch for packet in some(retrying, 30)} == {1}
    told = events.take()
    report(f"hole {transport} {mount}", *(f"{(it.at_ns - started_ns) / 1e9:+.1f} s {it.text}" for it in told))
    report("first packet after mending", f"{(back.arrival_ns - clock.repaired_ns) / 1e9:.2f} s")
    assert told[0].kind == "opened"
    assert "no picture for " in told[1].text
    assert told[-1].kind == "opened"


@pytest.fixture(scope="module")
def bars_camera(whole_link: Link) -> Iterator[RtspServer]:
    """Bars of known colours, and a patch of noise that takes several packets a picture."""
    need_rtsp_server()
    server = RtspServer(host=whole_link.camera_ip, prefix=whole_link.camera_prefix, kbit=KBIT)
    yield server
    server.kill()


@BOTH
@pytest.mark.parametrize("mount", ["h264", "h265"])
def test_five_percent_lost(link: Link, bars_camera: RtspServer, transport: Transport, mount: str) -> None:
    """Over UDP the pictures are damaged; the decoder shows none of those."""
    link.loss = 0.05
    lost, ledger = link.lost, Ledger("gate")
    decoder, shown = Decoder(ledger, lambda text: None, live=True), []
    with closing(NetworkSource(bars_camera.url(mount), transport=transport, limits_s=LIMITS_S)) as source:
        source.open()
        packets = some(source, 250)
    for seq, packet in enumerate(packets):
        ledger.captured(seq)
        shown += [frame.picture.rgb() for frame in decoder.decode(replace(packet, seq=seq))]
    assert link.lost > lost
    assert sum(packet.is_keyframe for packet in packets) >= 5
    spoilt = sum(
        any(np.abs(picture[y, x].astype(int) - c).max() > 40 for (x, y), c in BARS.items()) for picture in shown
    )
    dropped = ledger.entry().dropped
    report(
        f"loss {transport} {mount}",
        f"{link.lost - lost} lost, {spread(packets)}; shown {len(shown)}, of these spoilt {spoilt}; {dropped}",
    )
    assert shown
    assert spoilt == 0


@BOTH
def test_200_ms_of_delay_with_jitter(link: Link, camera: RtspServer, transport: Transport) -> None:
    link.delay_s, link.jitter_s = 0.2, 0.05
    with closing(source_of(camera, transport)) as source:
        started_ns = time.monotonic_ns()
        source.open()
        opened_ns = time.monotonic_ns()
        packets = some(source, 125)
    assert len(packets) == 125
    report(f"delay {transport}", f"open {(opened_ns - started_ns) / 1e9:.2f} s, {spread(packets)}")


def test_a_link_too_thin_for_tcp_is_left_and_opened_again(link: Link, camera: RtspServer) -> None:
    link.rate_bps = KBIT * 1000 / 3
    events = EventLog()
    # The link takes a second for a keyframe: that is no silence.
    source = NetworkSource(camera.url("h264", user=USER, password=PASSWORD))
    with closing(Retrying(source, stop=threading.Event(), events=events)) as retrying:
        retrying.open()
        back = next(packet for packet in iter(retrying.read, None) if packet.epoch > 0)
        # The old pictures are gone: the new opening is not behind from the start.
        assert {packet.epoch for packet in some(retrying, 10)} == {back.epoch}
    told = [event.text for event in events.take()]
    report("thin tcp", *told)
    assert "too thin" in told[1]


def test_a_link_too_thin_names_itself(link: Link, camera: RtspServer) -> None:
    link.rate_bps = KBIT * 1000 / 3
    with closing(source_of(camera)) as source:
        source.open()
        with pytest.raises(FellBehindError, match="too thin") as caught:
            list(iter(source.read, None))
    report("thin tcp", str(caught.value))


def test_a_link_too_thin_for_udp_loses_pictures_and_stays_in_time(link: Link, camera: RtspServer) -> None:
    link.rate_bps = KBIT * 1000 / 3
    with closing(source_of(camera, "udp")) as source:
        source.open()
        packets = some(source, 300)
    assert len(packets) == 300
    report("thin udp", spread(packets))


def test_a_name_server_behind_a_hole_is_given_up(link: Link) -> None:
    link.is_black_hole = True
    lost = link.lost
    with pytest.raises(SourceError, match=r"no answer to the question|is not known"):
        check_name("camera.example", limit_s=1.0)
    report("name server", f"{link.lost - lost} questions lost")


@BOTH
def test_killed_for_five_seconds_and_back(link: Link, camera: RtspServer, transport: Transport) -> None:
    clock = Repairing(camera.start, after_s=5.0)
    retrying = Retrying(source_of(camera, transport), stop=threading.Event(), clock=clock)
    with closing(retrying):
        retrying.open()
        some(retrying, 20)
        camera.kill()
        killed_ns = time.monotonic_ns()
        back = next(packet for packet in iter(retrying.read, None) if packet.epoch > 0)
        after = some(retrying, 30)
    assert back.epoch == 1
    assert {packet.epoch for packet in after} == {1}
    down_s, back_s = (clock.repaired_ns - killed_ns) / 1e9, (back.arrival_ns - clock.repaired_ns) / 1e9
    report(f"killed {transport}", f"down {down_s:.1f} s, first packet {back_s:.2f} s after it was started")


def test_a_wrong_password_over_a_slow_link_is_refused(link: Link, camera: RtspServer) -> None:
    link.delay_s = 0.1
    source = NetworkSource(camera.url("h264", user=USER, password="wrong"), limits_s=LIMITS_S)
    with pytest.raises(RefusedError, match="the password is wrong"):
        source.open()


def spread(packets: list[Packet]) -> str:
    """How unevenly they came, in words."""
    offsets_s = [packet.arrival_ns / 1e9 - packet.pts_s for packet in packets if packet.pts_s is not None]
    late_s = max(offsets_s) - min(offsets_s)
    return f"{len(packets)} packets, up to {late_s:.2f} s late, at the end {offsets_s[-1] - min(offsets_s):.2f} s"


def report(what: str, *lines: str) -> None:
    """Figures for people (pytest -s); no test depends on them."""
    for line in lines:
        print(f"  {what}: {line}")
