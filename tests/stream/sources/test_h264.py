"""Missing pictures, against an encoder's streams with pictures taken out."""

import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from headrace.stream.sources.h264 import PictureNumbers

KINDS = {
    "zerolatency": {"tune": "zerolatency"},
    "b-frames": {"bf": "2", "x264-params": "b-adapt=0:b-pyramid=normal"},
    "slices": {"tune": "zerolatency", "x264-params": "slices=4"},
    "baseline": {"profile": "baseline", "tune": "zerolatency"},
    "scaling lists": {"x264-params": "cqm=jvt:bframes=0"},
    "interlaced": {"x264-params": "interlaced=1:bframes=0"},
}


def encoded(options: dict[str, str], count: int = 120) -> list[bytes]:
    """Access units in the order they are sent, with a keyframe every 50."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 64, 48, "yuv420p"
    encoder.time_base, encoder.gop_size = Fraction(1, 25), 50
    encoder.options = {"preset": "ultrafast" if "tune" in options else "medium", **options}
    packets = []
    for at in range(count):
        picture = np.full((48, 64, 3), 60, np.uint8)
        picture[10:20, at % 50 : at % 50 + 10] = 220
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = at
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    return [bytes(packet) for packet in packets]


def gaps(units: list[bytes]) -> list[int]:
    """The places before which a picture is missing."""
    numbers = PictureNumbers()
    return [at for at, unit in enumerate(units) if numbers.is_missing_before(unit)]


def is_reference(unit: bytes) -> bool:
    """By the reference bits of the first slice, found apart from our way."""
    for piece in unit.split(b"\x00\x00\x01")[1:]:
        if piece[0] & 31 in (1, 5):
            return piece[0] & 0x60 != 0
    raise AssertionError("no slice in this unit")


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_a_whole_stream_misses_nothing(options: dict[str, str]) -> None:
    assert gaps(encoded(options)) == []


def test_a_packet_s_own_memory_is_read_without_copying_it() -> None:
    """A keyframe of 4K has a megabyte, and its number stands in the first bytes."""
    head, *rest = encoded(KINDS["zerolatency"], 8)
    numbers, large = PictureNumbers(), bytes(8_000_000)
    units = [memoryview(head + large), *(memoryview(unit) for unit in (*rest[:3], rest[4]))]
    tracemalloc.start()
    try:
        missing = [numbers.is_missing_before(unit) for unit in units]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert missing == [False, False, False, False, True]
    assert peak < len(large) / 10


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_each_missing_picture_is_noticed_if_others_build_on_it(options: dict[str, str]) -> None:
    units = encoded(options)
    for at in range(1, 40):
        missed = gaps(units[:at] + units[at + 1 :])
        assert missed == ([at] if is_reference(units[at]) else []), f"without {at}"


def test_a_gap_up_to_a_keyframe_is_none() -> None:
    units = encoded(KINDS["zerolatency"])
    assert gaps(units[:30] + units[50:]) == []


def test_nothing_is_said_before_the_stream_is_known() -> None:
    """Joined in the middle of a group, without its header."""
    units = encoded(KINDS["zerolatency"])
    assert gaps(units[10:20] + units[30:50]) == []
    numbers = PictureNumbers()
    numbers.is_missing_before(units[0])
    assert numbers.is_missing_before(units[10])


def test_damaged_bytes_are_borne() -> None:
    rng = np.random.default_rng(1)
    for unit in encoded(KINDS["b-frames"], 30):
        spoilt = np.frombuffer(unit, np.uint8).copy()
        spoilt[rng.integers(0, len(spoilt), 8)] = rng.integers(0, 256, 8)
        numbers = PictureNumbers()
        numbers.is_missing_before(unit[:9])
        numbers.is_missing_before(spoilt.tobytes())
        numbers.is_missing_before(unit)
    assert not PictureNumbers().is_missing_before(b"")
    assert not PictureNumbers().is_missing_before(b"\x00\x00\x01")


@pytest.mark.parametrize("clip", ["openh264_BA_MW_D.264", "openh264_LS_SVA_D.264", "vali_test_res_change.h264"])
def test_real_streams(shared_data: Path, clip: str) -> None:
    with av.open(str(shared_data / "video/odd" / clip)) as container:
        units = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    assert gaps(units) == []
    at = next(at for at in range(20, len(units)) if is_reference(units[at]))
    assert gaps(units[:at] + units[at + 1 :]) == [at]


def test_what_has_no_start_codes_is_not_looked_into() -> None:
    """MP4 writes lengths instead; three bytes within a picture may look like a start code."""
    units = encoded(KINDS["zerolatency"], 20)
    numbers = PictureNumbers()
    assert not any(numbers.is_missing_before(unit) for unit in units[:3])
    assert not numbers.is_missing_before(b"\x00\x00\x20\x00" + units[10])
    assert numbers.is_missing_before(units[10])
