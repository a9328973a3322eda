"""What a source is: it opens, it gives packets, it closes, and knows nothing about retrying."""

import errno
from dataclasses import dataclass
from typing import Protocol

from headrace.stream.errors import RefusedError, SourceError
from headrace.stream.frame import Packet


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceInfo:
    """What a source says of itself once it is open."""

    width: int
    height: int
    """Of the coded picture, in pixels: before rotation."""
    codec: str
    fps: float | None = None
    """None where the source does not say."""
    frames: int | None = None
    """How many there are; None where that is not known or the source is live."""
    granted: str = ""
    """A camera: what it agreed to, as one line."""


class Source(Protocol):
    """Where packets come from. One thread opens, reads and closes it.

    Every call is bounded in time: `open` and `read` end within the source's time limit, whatever the other side does.
    """

    @property
    def name(self) -> str:
        """How people call it: the URL without its password, the file's path."""

    @property
    def is_live(self) -> bool:
        """It goes on by itself: what is not read in time is lost. An end is a failure to come back from."""

    def open(self) -> SourceInfo:
        """Open it.

        Raises:
            RefusedError: another try is no use.
            SourceError: it could not be opened.
        """

    def read(self) -> Packet | None:
        """The next packet; None at the end. `stream_id` and `seq` are filled by the capture stage.

        Raises:
            SourceError: it could not be read.
        """

    def close(self) -> None:
        """Close it. Safe to call twice, and after a failed open."""


def failure_of(name: str, error: OSError) -> SourceError:
    """What the file system answered, as the failure of the source that is called so; one line for people."""
    if isinstance(error, PermissionError):
        return RefusedError(f"{name}: it may not be read: check its permissions")
    if error.errno == errno.ENAMETOOLONG:
        return RefusedError(f"{name}: no such file: the name is too long for one")
    return SourceError(f"{name}: {error.strerror or type(error).__name__}")
