"""What PyAV demuxes: a file or a stream, opened with time limits, read as packets, closed for good."""

import time
from collections.abc import Iterator, Mapping
from fractions import Fraction

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from headrace.stream.errors import RefusedError
from headrace.stream.frame import Codec, Packet
from headrace.stream.sources.base import SourceInfo
from headrace.stream.sources.h264 import PictureNumbers

_FPS_LIMIT = 1000.0
"""Above this a rate is a clock that was taken for one (90000 is common)."""
_TIMELESS = frozenset({"mpjpeg", "mjpeg", "image2pipe", "jpeg_pipe"})
"""Formats without time stamps: FFmpeg counts their pictures at 25 fps, whatever the camera does."""


class Demuxer:
    """One opened container and its video stream. FFmpeg's errors pass through as they are: they hold the URL.

    Args:
        url: what FFmpeg opens.
        format: FFmpeg's name of the container or device; None lets it look.
        options: FFmpeg's options for it.
        limits_s: for opening and for each read, in seconds; neither ever takes longer.
        is_live: stamped by arrival if the format has no times, and watched for pictures that were lost.
    """

    def __init__(
        self,
        url: str,
        *,
        format: str | None = None,
        options: Mapping[str, str] | None = None,
        limits_s: tuple[float, float],
        is_live: bool,
    ) -> None:
        self._url = url
        self._format = format
        self._options = dict(options or {})
        # PyAV gives the limit to each of the two phases of opening. And with H.264 and H.265 the first expiry
        # of a read is answered with the picture that the parser still held; only the second is an error.
        self._limits_s = (limits_s[0] / 2, limits_s[1] / 2)
        self._is_live = is_live
        self._container: InputContainer | None = None
        self._demuxed: Iterator[av.Packet[VideoStream]] = iter(())
        self._codec: Codec | None = None
        self._by_arrival = False
        self._first_ns: int | None = None
        self._numbers: PictureNumbers | None = None

    @property
    def duration_s(self) -> float | None:
        """How long it is; None where it does not end, or is not open."""
        if self._container is None or self._container.duration is None:
            return None
        return self._container.duration / av.time_base

    def open(self) -> SourceInfo:
        """Open it and find its video.

        Raises:
            av.error.FFmpegError: it could not be opened.
            RefusedError: it holds no video, or video that cannot be decoded here.
        """
        self.close()
        container = av.open(
            self._url,
            "r",
            format=self._format,
            options=self._options,
            metadata_errors="replace",  # a title in Latin-1 is no reason not to play
            timeout=self._limits_s,
        )
        self._container = container
        try:
            stream = _video_of(container)
        except RefusedError:
            self.close()
            raise
        context = stream.codec_context
        self._by_arrival = self._is_live and container.format.name in _TIMELESS
        self._first_ns = None
        self._numbers = PictureNumbers() if self._is_live and context.codec.canonical_name == "h264" else None
        if self._numbers is not None:
            self._numbers.is_missing_before(context.extradata or b"")
        fps = None if self._by_arrival else _rate(stream.average_rate) or _rate(stream.guessed_rate)
        self._codec = Codec(
            name=context.codec.canonical_name,
            context=context,
            pixel_aspect=float(stream.sample_aspect_ratio or 1),
            fps=fps,
            intra_only=context.codec.intra_only,
        )
        self._demuxed = container.demux(stream)
        return SourceInfo(
            width=context.width,
            height=context.height,
            codec=context.codec.canonical_name,
            fps=fps,
            frames=stream.frames or None,
        )

    def read(self) -> Packet | None:
        """The next packet of the video; None at the end.

        Its data is marked as corrupt where a picture that it builds on was lost on the way.

        Raises:
            av.error.FFmpegError: it could not be read.
        """
        if self._codec is None:
            raise ValueError("read before open")
        for data in self._demuxed:
            if data.size:  # An empty one only says that the decoder may be flushed.
                return self._packet(data, self._codec)
        return None

    def close(self) -> None:
        """Close it; packets and their codec stay usable."""
        self._demuxed = iter(())
        self._codec = None
        if self._container is not None:
            self._container.close()
            self._container = None

    def _packet(self, data: "av.Packet[VideoStream]", codec: Codec) -> Packet:
        arrival_ns = time.monotonic_ns()
        is_first, self._first_ns = self._first_ns is None, self._first_ns or arrival_ns
        if self._by_arrival:
            data.pts = data.dts = None
            pts_s: float | None = (arrival_ns - self._first_ns) / 1e9
        elif data.pts is not None:
            pts_s = float(data.pts * data.time_base)
        else:
            # FFmpeg leaves the first packet of an RTSP stream without one: its clock starts there.
            pts_s = 0.0 if is_first and self._is_live else None
        if self._numbers is not None and self._numbers.is_missing_before(memoryview(data)):
            data.is_corrupt = True
        return Packet(
            data=data,
            codec=codec,
            is_keyframe=data.is_keyframe or codec.intra_only,
            pts_s=pts_s,
            arrival_ns=arrival_ns,
        )


def _video_of(container: InputContainer) -> VideoStream:
    moving = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic  # the cover of a song
    ]
    if not moving:
        kinds = " and ".join(sorted({stream.type for stream in container.streams}))
        raise RefusedError(f"it holds no video, only {kinds or 'nothing'}")
    best = container.streams.best("video")
    chosen = best if isinstance(best, VideoStream) and best in moving else moving[0]
    if chosen.codec_context is None:
        raise RefusedError(f"no decoder here for its video ({chosen.codec_tag or 'unknown codec'})")
    return chosen


def _rate(rate: Fraction | None) -> float | None:
    return float(rate) if rate and 0 < rate <= _FPS_LIMIT else None
