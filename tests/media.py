"""Small videos made on the spot. Each picture carries its number, so a test can tell which one it got."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np

Encoder = Literal["libx264", "libx265", "mjpeg", "libvpx-vp9"]

TICK = Fraction(1, 90_000)
_BITS = 8
_UNIT_MATRIX = (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_MATRICES = {
    90: (0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000),
    180: (-0x10000, 0, 0, 0, -0x10000, 0, 0, 0, 0x40000000),
    270: (0, -0x10000, 0, 0x10000, 0, 0, 0, 0, 0x40000000),
}
"""How far players turn the picture clockwise, and the matrix that says so in a track's header."""


def numbered(index: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """Picture number `index` (0..255): uint8 (H, W, 3), eight bars that are its bits, red and blue below them."""
    width, height = size
    picture = np.zeros((height, width, 3), np.uint8)
    edges = [round(width * at / _BITS) for at in range(_BITS + 1)]
    for bit in range(_BITS):
        picture[: height * 3 // 4, edges[bit] : edges[bit + 1]] = 220 if index >> bit & 1 else 30
    picture[height * 3 // 4 :, : width // 2] = (200, 30, 30)
    picture[height * 3 // 4 :, width // 2 :] = (30, 30, 200)
    return picture


def number_of(picture: np.ndarray) -> int:
    """Which picture this is, read from its bars."""
    height, width = picture.shape[:2]
    middles = [round(width * (2 * at + 1) / (2 * _BITS)) for at in range(_BITS)]
    bars = picture[height // 3, middles].mean(axis=1)
    return sum(1 << bit for bit, light in enumerate(bars) if light > 125)


def even_times(count: int, fps: float = 25.0, start_s: float = 0.0) -> list[float]:
    """Times of `count` pictures at an even rate, in seconds."""
    return [start_s + at / fps for at in range(count)]


def write_video(
    path: Path,
    *,
    times_s: Sequence[float],
    encoder: Encoder = "libx264",
    size: tuple[int, int] = (64, 48),
    pix_fmt: str = "",
    gop: int = 12,
    b_frames: int = 0,
    first_number: int = 0,
    **muxer: str,
) -> Path:
    """A video of numbered pictures at these times; the name's ending picks the container.

    Args:
        muxer: options of FFmpeg's muxer.
    """
    with av.open(str(path), "w", options=muxer) as container:
        stream = container.add_stream(encoder, rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt or ("yuvj420p" if encoder == "mjpeg" else "yuv420p")
        stream.time_base = stream.codec_context.time_base = TICK
        stream.gop_size = gop
        stream.codec_context.max_b_frames = b_frames
        stream.options = {**_options(encoder, gop, b_frames)}
        for at, time_s in enumerate(times_s):
            frame = av.VideoFrame.from_ndarray(numbered((first_number + at) % 256, size), format="rgb24")
            frame.time_base, frame.pts = TICK, round(time_s / TICK)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _options(encoder: Encoder, gop: int, b_frames: int) -> dict[str, str]:
    if encoder == "libx264":
        return {"preset": "ultrafast", "crf": "12", "bf": str(b_frames), "threads": "1", "sc_threshold": "0"}
    if encoder == "libx265":
        # Its threads stay behind for a moment; its own lines would fill the tests' output.
        params = f"keyint={gop}:bframes={b_frames}:scenecut=0:pools=1:frame-threads=1:log-level=none"
        return {"preset": "ultrafast", "crf": "12", "x265-params": params}
    if encoder == "libvpx-vp9":
        return {"deadline": "realtime", "cpu-used": "8", "crf": "12", "b": "0", "auto-alt-ref": "0"}
    return {"q": "2"}


def turn(path: Path, degrees: Literal[90, 180, 270]) -> Path:
    """Have players turn an MP4's picture clockwise by this much."""
    data = path.read_bytes()
    unit, turned = (_matrix(values) for values in (_UNIT_MATRIX, _MATRICES[degrees]))
    at = data.index(unit, data.index(b"tkhd"))
    path.write_bytes(data[:at] + turned + data[at + len(turned) :])
    return path


def _matrix(values: Iterable[int]) -> bytes:
    return b"".join(value.to_bytes(4, "big", signed=True) for value in values)


def damage(path: Path, packets: Iterable[int], *, whole: bool = False) -> Path:
    """Overwrite the inside of these packets (numbered in the file's order), or all but a packet's first bytes."""
    with av.open(str(path)) as container:
        places = [(each.pos, each.size) for each in container.demux(video=0) if each.size]
    data = bytearray(path.read_bytes())
    for number in packets:
        start, size = places[number]
        assert start is not None, "this container tells where its packets lie"
        first = start + (8 if whole else size // 3)
        data[first : start + size] = bytes([0xFF]) * (start + size - first)
    path.write_bytes(data)
    return path


def times_of(path: Path) -> list[float]:
    """Presentation times of a file's pictures in seconds, in the order they are shown."""
    with av.open(str(path)) as container:
        packets: Any = container.demux(video=0)
        return sorted(float(each.pts * each.time_base) for each in packets if each.size)


def pictures_of(path: Path) -> list[np.ndarray]:
    """All pictures of a file as uint8 (H, W, 3), decoded by PyAV's own loop."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def packet_count(path: Path) -> int:
    """How many packets a file's video has."""
    with av.open(str(path)) as container:
        packets: Any = container.demux(video=0)
        return sum(1 for each in packets if each.size)
