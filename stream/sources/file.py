"""Video files, read once from beginning to end."""

import contextlib
from pathlib import Path

from av.error import FFmpegError, InvalidDataError

from headrace.stream.errors import RefusedError, SourceError
from headrace.stream.frame import Packet
from headrace.stream.sources.base import SourceInfo, failure_of
from headrace.stream.sources.container import Demuxer

_LIMITS_S = (30.0, 30.0)
"""A file on a sleeping or distant disk takes its time."""


class FileSource:
    """A video file.

    Args:
        path: the file; its name says nothing, its content decides.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        # "file:" keeps FFmpeg from taking a name such as "a:b.mp4" for a protocol.
        self._demuxer = Demuxer(f"file:{self._path}", limits_s=_LIMITS_S, is_live=False)

    @property
    def name(self) -> str:
        """The path as it was given."""
        return str(self._path)

    @property
    def is_live(self) -> bool:
        """False: it waits for its reader."""
        return False

    def open(self) -> SourceInfo:
        """Open it.

        Raises:
            RefusedError: there is no such file, it may not be read, or it is no video.
            SourceError: the disk failed.
        """
        failure: SourceError
        try:
            if not self._path.exists():
                raise RefusedError("no such file")
            if not self._path.is_file():
                raise RefusedError("not a file")
            return self._demuxer.open()
        except RefusedError as error:
            failure = RefusedError(f"{self.name}: {error}")
        except InvalidDataError:
            failure = RefusedError(f"{self.name}: {self._why_not_video()}")
        except OSError as error:  # FFmpeg's are too
            failure = failure_of(self.name, error)
        raise failure

    def read(self) -> Packet | None:
        """The next packet; None at the end.

        Raises:
            SourceError: the file is damaged or its disk failed.
        """
        failure: SourceError
        try:
            return self._demuxer.read()
        except FFmpegError as error:
            failure = SourceError(f"{self.name}: could not be read further: {error.strerror}")
        raise failure

    def close(self) -> None:
        """Close it."""
        self._demuxer.close()

    def __repr__(self) -> str:
        return f"FileSource({self.name})"

    def _why_not_video(self) -> str:
        with contextlib.suppress(OSError):
            if self._path.stat().st_size == 0:
                return "the file is empty"
        return "not a video, or one whose end or head is missing"
