"""Decoding: every packet is accounted for, times increase, and nothing that is damaged is shown."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from fakes import FakeSource
from media import (
    Encoder,
    damage,
    even_times,
    number_of,
    packet_count,
    pictures_of,
    times_of,
    turn,
    write_video,
)

from headrace.stream.decode import Decoder
from headrace.stream.errors import SourceError
from headrace.stream.frame import Frame, Packet
from headrace.stream.ledger import Ledger, LedgerEntry
from headrace.stream.sources.base import Source
from headrace.stream.sources.file import FileSource
from headrace.stream.sources.pacing import Looping

TICK_S = 1 / 90_000


class Played:
    """A source decoded to its end, with the books kept as the pipeline keeps them."""

    def __init__(self, source: Source, *, skip: int = 0, limit: int | None = None, live: bool = False) -> None:
        self.ledger = Ledger("one")
        self.notices: list[str] = []
        self.frames: list[Frame] = []
        self.decoder = Decoder(self.ledger, self.notices.append, live=live)
        source.open()
        seq = -1
        while (packet := source.read()) is not None and seq + 1 != limit:
            if skip:
                skip -= 1
                continue
            seq += 1
            self._decode(replace(packet, seq=seq, stream_id="one"))
        source.close()
        self._take(self.decoder.flush())

    def _decode(self, packet: Packet) -> None:
        self.ledger.captured(packet.seq)
        self._take(self.decoder.decode(packet))

    def _take(self, frames: Any) -> None:
        for frame in frames:
            self.frames.append(frame)
            self.ledger.rendered(frame.seq)

    @property
    def books(self) -> LedgerEntry:
        entry = self.ledger.entry()
        assert entry.in_flight == 0, "every packet came to something"
        return entry

    @property
    def numbers(self) -> list[int]:
        """Which pictures were shown."""
        return [number_of(frame.picture.rgb()) for frame in self.frames]

    @property
    def times_s(self) -> list[float]:
        return [frame.pts_s for frame in self.frames]


def played(path: Path, **options: Any) -> Played:
    return Played(FileSource(path), **options)


@pytest.mark.parametrize(
    ("encoder", "ending", "options"),
    [
        ("libx264", "mp4", {}),
        ("libx264", "mp4", {"b_frames": 3}),
        ("libx264", "mkv", {"b_frames": 3}),
        ("libx264", "ts", {"b_frames": 2}),
        ("libx264", "mp4", {"pix_fmt": "yuv420p10le"}),
        ("libx264", "mp4", {"pix_fmt": "yuv444p", "size": (63, 47)}),
        ("libx265", "mp4", {}),
        ("libx265", "mp4", {"b_frames": 3}),
        ("libx265", "mp4", {"pix_fmt": "yuv420p10le"}),
        ("mjpeg", "mkv", {}),
        ("mjpeg", "avi", {}),
        ("libvpx-vp9", "webm", {}),
    ],
)
def test_every_picture_once_in_the_order_it_is_shown(
    tmp_path: Path, encoder: Encoder, ending: str, options: dict[str, Any]
) -> None:
    path = tmp_path / f"a.{ending}"
    write_video(path, times_s=even_times(50), encoder=encoder, **options)
    found = played(path)
    assert found.numbers == list(range(50))
    assert [frame.seq for frame in found.frames] == list(range(50))
    assert found.books.rendered == 50
    assert found.times_s == pytest.approx(times_of(path), abs=1e-9)
    assert {frame.epoch for frame in found.frames} == {0}
    assert found.notices == []


@pytest.mark.parametrize("b_frames", [0, 2])
def test_a_variable_rate_keeps_its_times(tmp_path: Path, b_frames: int) -> None:
    times = [5.0, 5.04, 5.05, 5.3, 5.301, 7.0, 7.04, 17.0, 17.001, 17.002]
    found = played(write_video(tmp_path / "a.mp4", times_s=times, b_frames=b_frames))
    assert found.times_s == pytest.approx(times, abs=TICK_S)
    assert found.numbers == list(range(len(times)))
    assert found.notices == []


def test_frames_without_times_are_counted_and_that_is_said_once(tmp_path: Path) -> None:
    found = played(write_video(tmp_path / "a.h264", times_s=even_times(20)))
    steps = np.diff(found.times_s)
    assert found.times_s[0] == 0.0
    assert steps == pytest.approx(np.full(19, 1 / 25))
    assert found.notices == ["frames without a time stamp: counted at 25 fps"]
    assert found.numbers == list(range(20))


def test_the_arrival_of_a_picture_is_that_of_its_own_packet(tmp_path: Path) -> None:
    """With B-frames a picture comes out later than its packet went in: its age counts from its own packet."""
    path = write_video(tmp_path / "a.mp4", times_s=even_times(30), b_frames=3)
    source = FileSource(path)
    arrivals: dict[float, int] = {}
    source.open()
    while (packet := source.read()) is not None:
        assert packet.pts_s is not None
        arrivals[round(packet.pts_s, 4)] = packet.arrival_ns
    source.close()

    class Replayed(FileSource):
        def read(self) -> Packet | None:

            packet = super().read()
            if packet is None or packet.pts_s is None:
                return packet
            return replace(packet, arrival_ns=arrivals[round(packet.pts_s, 4)])

    for frame in Played(Replayed(path)).frames:
        assert frame.arrival_ns == arrivals[round(frame.pts_s, 4)]


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_picture_stands_upright(tmp_path: Path, degrees: Literal[90, 180, 270]) -> None:
    path = write_video(tmp_path / "a.mp4", times_s=even_times(3), size=(96, 64))
    (plain, *_) = played(path).frames
    turn(path, degrees)
    (turned, *_) = played(path).frames
    want = np.rot90(plain.picture.rgb(), k=-degrees // 90)
    assert turned.size == (want.shape[1], want.shape[0])
    np.testing.assert_array_equal(turned.picture.rgb(), want)


def test_a_new_size_in_mid_stream(tmp_path: Path) -> None:
    small = write_video(tmp_path / "small.h264", times_s=even_times(20), size=(64, 48))
    large = write_video(tmp_path / "large.h264", times_s=even_times(20), size=(128, 96), first_number=20)
    both = tmp_path / "both.h264"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    found = played(both)
    assert found.numbers == list(range(40))
    assert [frame.size for frame in found.frames] == [(64, 48)] * 20 + [(128, 96)] * 20
    assert found.frames[30].picture.rgb((32, 24)).shape == (24, 32, 3)


# Damage


@pytest.mark.parametrize("encoder", ["libx264", "libx265"])
def test_after_damage_nothing_is_shown_until_the_next_keyframe(tmp_path: Path, encoder: Encoder) -> None:
    path = write_video(tmp_path / "a.mp4", times_s=even_times(48), encoder=encoder, gop=12, size=(160, 120))
    whole = pictures_of(path)
    found = played(damage(path, [15], whole=True))
    shown = found.numbers
    assert shown == sorted(shown)
    assert set(range(15)) <= set(shown)
    assert set(range(24, 48)) <= set(shown)
    for frame, number in zip(found.frames, shown, strict=True):
        difference = np.abs(frame.picture.rgb().astype(int) - whole[number]).mean()
        assert difference < 2, f"picture {number} is damaged"
    books = found.books
    assert books.dropped["corrupt"] == 48 - books.rendered > 0
    assert books.adds_up
    assert len([line for line in found.notices if "damaged" in line]) == 1


@pytest.mark.parametrize("live", [False, True])
def test_a_lost_packet_of_h265_shows_nothing_grey(tmp_path: Path, live: bool) -> None:
    path = write_video(tmp_path / "a.mp4", times_s=even_times(36), encoder="libx265", gop=12, size=(160, 120))

    class Lossy(FileSource):
        def read(self) -> Packet | None:
            packet = super().read()
            return super().read() if packet is not None and packet.pts_s == pytest.approx(15 / 25) else packet

    found = Played(Lossy(path), live=live)
    assert found.numbers == [*range(15), *range(24, 36)]
    assert found.books.dropped["corrupt"] == 8


def test_pictures_that_stand_alone_lose_only_the_damaged_ones(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", times_s=even_times(30), encoder="mjpeg")
    found = played(damage(path, [7, 20, 28], whole=True))
    assert set(range(30)) - set(found.numbers) == {7, 20, 28}
    assert found.books.dropped["corrupt"] == 3


def test_joining_in_the_middle_shows_nothing_grey(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", times_s=even_times(36), gop=12, b_frames=2)
    found = played(path, skip=5)
    assert found.numbers == list(range(12, 36))
    assert found.books.dropped["reconnect"] == 7
    assert found.books.captured == 31


def test_a_stream_without_any_keyframe_is_a_failure(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", times_s=even_times(30), gop=300)
    found = played(path, skip=1)
    assert found.frames == []
    with pytest.raises(SourceError, match=r"a\.mp4: not one of its packets gives a picture"):
        found.decoder.check_yield("a.mp4")
    assert found.books.dropped["reconnect"] == 29


def test_a_stream_without_packets_is_a_failure() -> None:
    found = Played(FakeSource(0))
    with pytest.raises(SourceError, match="cam: holds no picture"):
        found.decoder.check_yield("cam")


def test_a_whole_stream_is_no_failure(tmp_path: Path) -> None:
    played(write_video(tmp_path / "a.mp4", times_s=even_times(2))).decoder.check_yield("a.mp4")


# Epochs and times


def test_a_loop_s_last_pictures_come_out_in_their_own_epoch(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", times_s=even_times(20, start_s=2.0), b_frames=3)
    found = Played(Looping(FileSource(path)), limit=60)
    assert [frame.epoch for frame in found.frames] == [0] * 20 + [1] * 20 + [2] * 20
    assert found.numbers == list(range(20)) * 3
    assert found.times_s == pytest.approx(even_times(20, start_s=2.0) * 3, abs=TICK_S)


def test_a_loop_of_a_variable_rate_keeps_its_times(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.05, 0.3, 0.301, 0.5, 0.502]
    found = Played(Looping(FileSource(write_video(tmp_path / "a.mp4", times_s=times, b_frames=2))), limit=21)
    assert found.times_s == pytest.approx(times * 3, abs=TICK_S)
    assert found.notices == []


class Stamped(FakeSource):
    """Pictures with these times."""

    def __init__(self, times: list[float | None]) -> None:
        super().__init__(len(times))
        self._times = iter(times)

    def read(self) -> Packet | None:

        packet = super().read()
        return packet and replace(packet, pts_s=next(self._times))


def test_times_that_stand_still_are_moved_up() -> None:
    found = Played(Stamped([0.0, 1.0, 1.0, 0.9, 1.5]))
    assert found.times_s == pytest.approx([0.0, 1.0, 1.001, 1.002, 1.5])
    assert all(b > a for a, b in pairwise(found.times_s))
    assert {frame.epoch for frame in found.frames} == {0}
    assert found.notices == ["time stamps that do not increase: moved up by the least step"]


def test_times_that_jump_back_begin_an_epoch() -> None:
    found = Played(Stamped([100.0, 100.04, 0.0, 0.04, 50.0, 3.0]))
    assert found.times_s == [100.0, 100.04, 0.0, 0.04, 50.0, 3.0]
    assert [frame.epoch for frame in found.frames] == [0, 0, 1, 1, 1, 2]
    assert found.notices == ["time stamps jump back from 100.040 s to 0.000 s: a new epoch begins"]


def test_missing_times_go_on_from_the_last() -> None:
    found = Played(Stamped([3.0, None, None, 4.0]))
    assert found.times_s == pytest.approx([3.0, 3.04, 3.08, 4.0])
    assert found.notices == ["frames without a time stamp: counted at 25 fps"]


# Stopped


def test_what_a_stopped_decoder_held_is_counted(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", times_s=even_times(20), b_frames=3)
    ledger = Ledger("one")
    decoder = Decoder(ledger, lambda text: None, live=False)
    source = FileSource(path)
    source.open()

    for seq in range(6):
        packet = source.read()
        assert packet is not None
        ledger.captured(seq)
        for frame in decoder.decode(replace(packet, seq=seq)):
            ledger.rendered(frame.seq)
    source.close()
    held = ledger.entry().in_flight
    assert held > 0
    decoder.abandon("stopped")
    assert ledger.entry().dropped["stopped"] == held
    assert ledger.entry().in_flight == 0


def test_a_packet_that_waits_for_the_pictures_before_it_is_counted_too(tmp_path: Path) -> None:
    """A loop's first packet first brings out what the decoder still holds of the round before; there it is stopped."""
    path = write_video(tmp_path / "a.mp4", times_s=even_times(10), b_frames=3)
    ledger = Ledger("one")
    decoder = Decoder(ledger, lambda text: None, live=False)
    source = Looping(FileSource(path))
    source.open()
    for seq in range(11):
        packet = source.read()
        assert packet is not None
        ledger.captured(seq)
        for frame in decoder.decode(replace(packet, seq=seq)):
            ledger.rendered(frame.seq)
            if packet.epoch == 1:
                break
    source.close()
    decoder.abandon("stopped")
    assert ledger.entry().in_flight == 0
    assert ledger.entry().dropped["stopped"] >= 1


def test_the_real_clips_add_up(shared_data: Path) -> None:
    """Every odd clip decodes, or is damaged and says so; no packet is left unaccounted."""
    for path in sorted((shared_data / "video" / "odd").iterdir()):
        count = packet_count(path)
        found = played(path, limit=min(count, 120))
        books = found.books
        assert books.captured == min(count, 120), path.name
        assert books.adds_up
        times = [(frame.epoch, frame.pts_s) for frame in found.frames]
        assert times == sorted(set(times)), path.name
        if not found.notices:
            assert books.dropped["corrupt"] == 0, path.name
