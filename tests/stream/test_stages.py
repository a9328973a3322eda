"""Capture in front of a decoder that is too slow: what waits is given up before it is old."""

import threading

import av

from headrace.stream.event import EventLog
from headrace.stream.frame import Codec, Packet
from headrace.stream.path import StreamPath
from headrace.stream.sources.base import SourceInfo
from headrace.stream.stages import capture

_PERIOD_NS = 40_000_000


class Camera:
    """Gives packets at 25 frames a second by its own clock, a keyframe each second, and then ends."""

    name, is_live = "camera", True

    def __init__(self, count: int, *, intra_only: bool = False, burst: bool = False) -> None:
        self._codec = Codec(name="h264", fps=25.0, intra_only=intra_only)
        self._count, self._burst = count, burst
        self._at = 0

    def open(self) -> SourceInfo:
        return SourceInfo(width=4, height=4, codec="h264")

    def read(self) -> Packet | None:
        if self._at == self._count:
            return None
        at, self._at = self._at, self._at + 1
        return Packet(
            data=av.Packet(1),
            codec=self._codec,
            is_keyframe=at % 25 == 0,
            pts_s=at / 25,
            arrival_ns=0 if self._burst else at * _PERIOD_NS,
        )

    def close(self) -> None:
        pass


def captured(camera: Camera) -> tuple[StreamPath, list[int]]:
    """What waits for a decoder that takes nothing, once the camera has ended."""
    path = StreamPath(
        "camera",
        camera,
        every=False,
        with_clips=False,
        frames=threading.Condition(),
        stop=threading.Event(),
        events=EventLog(),
    )
    capture(path)
    return path, [packet.seq for packet in path.packets]


def test_what_waits_for_more_than_half_a_second_is_given_up_to_the_next_keyframe() -> None:
    path, waiting = captured(Camera(60))
    # 14 frames span more than half a second: 0-13 are given up, and all to the keyframe 25; 25-38 likewise.
    assert waiting == list(range(50, 60))
    assert path.ledger.entry().dropped["policy"] == 50
    assert path.ledger.entry().adds_up


def test_a_burst_at_the_start_is_kept() -> None:
    path, waiting = captured(Camera(50, burst=True))
    assert waiting == list(range(50))
    assert path.ledger.entry().dropped["policy"] == 0


def test_where_each_packet_stands_alone_the_newest_wait() -> None:
    path, waiting = captured(Camera(50, intra_only=True))
    assert waiting == [48, 49]
    assert path.ledger.entry().dropped["policy"] == 48
