"""The rendered picture as an MP4 file (H.264) with the source's own time stamps."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from headrace.stream.arrays import U8
from headrace.stream.errors import SinkError
from headrace.stream.frame import Frame, Result
from headrace.stream.picture import letterboxed
from headrace.stream.stats import StreamStats

_TICK = Fraction(1, 90_000)
_MUXER = {
    # Written in fragments, and made a plain file when it is finished. The header waits for the first fragment: only
    # then does it hold the time of the first picture, and the film does not begin at zero.
    "movflags": "+hybrid_fragmented+frag_keyframe+delay_moov",
    # A killed run loses this many microseconds, and what the encoder still held.
    "frag_duration": "1000000",
    "flush_packets": "1",
    # The time of the first picture is stated in these; the default is milliseconds.
    "movie_timescale": "90000",
}


_ENDINGS = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".ts", ".mpg", ".264", ".h264")
"""Left out where a stream that is called after its file gives its name to another one."""


class VideoSink:
    """Writes one video per stream.

    The file is written in fragments and turned into a plain MP4 when it is finished, so a run that is killed leaves a
    file that plays up to its last second or two.

    Args:
        path: the file, ending in .mp4.
        per_stream: put the stream's name into the file's; without it a second stream's file gets it all the same.
    """

    wants_pictures = True
    wants_all = True

    def __init__(self, path: str | Path, *, per_stream: bool = False) -> None:
        self._path = Path(path)
        self._per_stream = per_stream
        self._films: dict[str, _Film] = {}

    @property
    def name(self) -> str:
        """The file's path."""
        return str(self._path)

    def open(self) -> None:
        """See that the folder is there; the files themselves begin with their first picture."""
        if self._path.suffix.lower() != ".mp4":
            raise SinkError(f"cannot write {self._path}: the name must end in .mp4")
        if not self._path.parent.is_dir():
            raise SinkError(f"cannot write {self._path}: the folder {self._path.parent} does not exist")

    def write(self, result: Result) -> None:
        """Append a picture."""
        assert result.drawn is not None, "this sink wants pictures"
        stream_id = result.frame.stream_id
        film = self._films.get(stream_id)
        path = film.path if film else self._path_for(stream_id)
        try:
            if film is None:
                film = self._films[stream_id] = _Film(path, result.drawn)
            film.append(result.drawn, result.frame)
        except (av.error.FFmpegError, OSError) as error:
            raise SinkError(_failure(path, error)) from error

    def _path_for(self, stream_id: str) -> Path:
        if not self._films and not self._per_stream:
            return self._path
        name = stream_id.rpartition(".")[0] if stream_id.lower().endswith(_ENDINGS) else stream_id
        safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)
        taken = {film.path for film in self._films.values()}
        path, n = self._path.with_stem(f"{self._path.stem}-{safe}"), 2
        while path in taken:
            path, n = self._path.with_stem(f"{self._path.stem}-{safe}-{n}"), n + 1
        return path

    @property
    def written(self) -> list[Path]:
        """The files that hold pictures."""
        return [film.path for film in self._films.values()]

    def end(self, stats: StreamStats) -> None:
        """Finish the stream's file."""
        film = self._films.get(stats.stream_id)
        if film is not None:
            self._finish(film)

    def close(self) -> None:
        """Finish every file, also where one of them fails."""
        failures = []
        for film in self._films.values():
            try:
                self._finish(film)
            except SinkError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def _finish(self, film: "_Film") -> None:
        try:
            film.finish()
        except (av.error.FFmpegError, OSError) as error:
            raise SinkError(_failure(film.path, error)) from error


def _failure(path: Path, error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    return f"cannot write {path}: {reason}; the video ends before its stream does"


class _Film:
    """One video file."""

    def __init__(self, path: Path, first: U8) -> None:
        self.path = path
        # An empty file first: FFmpeg opens it only when its encoder gives the first packet, some pictures later.
        path.open("wb").close()
        self._container = av.open(str(path), "w", options=_MUXER)
        height, width = first.shape[:2]
        self._size = (width + width % 2, height + height % 2)  # H.264 with 4:2:0 colour has even sizes
        stream = self._container.add_stream("libx264", rate=30)
        stream.width, stream.height = self._size
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "superfast", "crf": "23", "bf": "0"}
        stream.time_base = stream.codec_context.time_base = _TICK
        self._stream = stream
        self._last_tick: int | None = None
        self._last: Frame | None = None
        self._offset_s = 0.0
        self._finished = False

    def append(self, picture: U8, frame: Frame) -> None:
        """Encode a picture at its frame's time."""
        planes = av.VideoFrame.from_ndarray(self._fitted(picture), format="rgb24")
        planes.time_base = _TICK
        planes.pts = self._tick(frame)
        for packet in self._stream.encode(planes):
            self._container.mux(packet)

    def _tick(self, frame: Frame) -> int:
        """The frame's time in ticks; after a discontinuity it goes on by the time that really passed."""
        if self._last is not None and frame.epoch != self._last.epoch:
            passed_s = (frame.arrival_ns - self._last.arrival_ns) / 1e9
            self._offset_s += self._last.pts_s + max(passed_s, 1e-3) - frame.pts_s
        elif self._last is None and frame.pts_s < 0:
            self._offset_s = -frame.pts_s  # the format has no times before zero: players skip what lies there
        self._last = frame
        tick = round((frame.pts_s + self._offset_s) / _TICK)
        if self._last_tick is not None:
            tick = max(tick, self._last_tick + 1)
        self._last_tick = tick
        return tick

    def _fitted(self, picture: U8) -> U8:
        """The picture at the file's size: as it is, with its edge doubled to an even size, or letterboxed."""
        width, height = self._size
        missing_x, missing_y = width - picture.shape[1], height - picture.shape[0]
        if missing_x == 0 and missing_y == 0:
            return picture
        if missing_x in (0, 1) and missing_y in (0, 1):
            return np.pad(picture, ((0, missing_y), (0, missing_x), (0, 0)), mode="edge")
        return letterboxed(picture, self._size)

    def finish(self) -> None:
        """Flush the encoder and close the file. Safe to call twice."""
        if self._finished:
            return
        self._finished = True
        try:
            for packet in self._stream.encode(None):
                self._container.mux(packet)
        finally:
            self._container.close()
            # The encoder's memory goes now, not when the sink does.
            del self._stream, self._container
