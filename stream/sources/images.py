"""A folder of pictures, played in the order that people sort them."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from headrace.stream.arrays import U8
from headrace.stream.errors import RefusedError
from headrace.stream.event import Event, EventLog
from headrace.stream.frame import Codec, Packet
from headrace.stream.sources.base import SourceInfo, failure_of

_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".pgm", ".tif", ".tiff", ".webp"})


class ImagesSource:
    """Pictures of one size or of many. One that cannot be read is skipped, and named in an event.

    Args:
        folder: where the pictures lie; folders inside are not looked into.
        fps: how many stand for a second.
        events: where skipped pictures are told of.
        stream_id: under which stream.
    """

    def __init__(
        self, folder: str | Path, *, fps: float = 25.0, events: EventLog | None = None, stream_id: str = ""
    ) -> None:
        if not fps > 0:
            raise ValueError(f"fps is {fps}; it must be above 0")
        self._folder = Path(folder)
        self._fps = fps
        self._events = events
        self._stream_id = stream_id
        self._paths: list[Path] = []
        self._next = 0
        self._first: U8 | None = None
        self._codec = Codec(name="rgb", fps=fps, intra_only=True)

    @property
    def name(self) -> str:
        """The folder as it was given."""
        return str(self._folder)

    @property
    def is_live(self) -> bool:
        """False: it waits for its reader."""
        return False

    def open(self) -> SourceInfo:
        """List the pictures and read the first.

        Raises:
            RefusedError: there is no such folder, it may not be read, no picture in it, or none that can be read.
            SourceError: the disk failed.
        """
        try:
            self._paths = sorted(self._pictures(), key=_as_people_sort)
        except OSError as error:
            raise failure_of(self.name, error) from error
        self._next = 0
        if not self._paths:
            raise RefusedError(f"{self.name}: no pictures in this folder ({', '.join(sorted(_SUFFIXES))})")
        self._codec = Codec(name="rgb", fps=self._fps, intra_only=True)
        self._first = self._next_readable()
        if self._first is None:
            raise RefusedError(f"{self.name}: none of its {len(self._paths)} pictures can be read")
        height, width = self._first.shape[:2]
        return SourceInfo(width=width, height=height, codec="rgb", fps=self._fps, frames=len(self._paths))

    def read(self) -> Packet | None:
        """The next picture that can be read, None at the end; its time is its place over `fps`."""
        picture, self._first = self._first, None
        if picture is None:
            picture = self._next_readable()
        if picture is None:
            return None
        return Packet(
            data=picture,
            codec=self._codec,
            is_keyframe=True,
            pts_s=(self._next - 1) / self._fps,
            arrival_ns=time.monotonic_ns(),
        )

    def close(self) -> None:
        """Forget the list."""
        self._paths, self._first = [], None

    def __repr__(self) -> str:
        return f"ImagesSource({self.name})"

    def _pictures(self) -> Iterator[Path]:
        if not self._folder.is_dir():
            raise RefusedError(f"{self.name}: no such folder")
        for path in self._folder.iterdir():
            if path.suffix.lower() in _SUFFIXES and path.is_file():
                yield path

    def _next_readable(self) -> U8 | None:
        while self._next < len(self._paths):
            path = self._paths[self._next]
            self._next += 1
            picture = _read(path)
            if picture is not None:
                return picture
            self._tell(f"{path}: not a picture that can be read: skipped")
        return None

    def _tell(self, text: str) -> None:
        if self._events is not None:
            now_ns = time.monotonic_ns()
            self._events.add(
                Event(kind="notice", stream_id=self._stream_id, stage="capture", text=text, at_ns=now_ns)
            )


def _read(path: Path) -> U8 | None:
    """uint8 (H, W, 3) RGB, turned upright; None if the file holds no picture."""
    try:
        # Not cv2.imread: it does not open names beyond ASCII on Windows.
        return cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR_RGB)
    except (OSError, cv2.error):
        return None


def _as_people_sort(path: Path) -> list[tuple[bool, int, str]]:
    """frame2 before frame10: runs of digits count as numbers, and come before words."""
    runs = re.findall(r"\d+|\D+", path.name)
    return [(False, int(run), "") if run.isdecimal() else (True, 0, run.casefold()) for run in runs]
