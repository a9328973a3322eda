"""Where video comes from, and the one function that picks the source for what a user typed."""

import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from headrace.stream.event import EventLog
from headrace.stream.sources.address import may_hold_login

if TYPE_CHECKING:
    from headrace.stream.sources.base import Source

_NETWORK = "headrace.stream.sources.network:NetworkSource"
_BY_SCHEME = {
    "rtsp": _NETWORK,
    "rtsps": _NETWORK,
    "http": _NETWORK,
    "https": _NETWORK,
    "udp": _NETWORK,
    "srt": _NETWORK,
    "scene": "headrace.stream.sources.scene:SceneSource",
}
_BY_KIND = {
    "file": "headrace.stream.sources.file:FileSource",
    "folder": "headrace.stream.sources.images:ImagesSource",
    "camera": "headrace.stream.sources.webcam:WebcamSource",
}
_ALLOWED = (
    "0 or /dev/video0 or a camera's name, "
    + ", ".join(f"{scheme}://…" for scheme in _BY_SCHEME if scheme != "scene")
    + ", a file, a folder of images, scene:…"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """What may be asked of a source; each kind of source takes what it knows."""

    transport: Literal["tcp", "udp"] = "tcp"
    """What RTSP sends pictures over."""
    limits_s: tuple[float, float] | None = None
    """For opening and for waiting on the next packet, in seconds; None for what suits the kind of source."""
    size: tuple[int, int] | None = None
    """(width, height) to ask a camera for, in pixels."""
    fps: float | None = None
    """The rate to ask a camera for, or to play a folder of images at."""
    pixel_format: str | None = None
    """What to ask a camera for: "mjpeg", "yuyv" or another of its own."""
    events: EventLog | None = None
    stream_id: str = ""
    """Under which stream events are told."""


def open_source(text: str, options: SourceOptions | None = None) -> "Source":
    """The source that a user's words mean; it is not opened yet.

    Args:
        text: a camera's number, path or name; a URL; a file; a folder; or `scene:`.
        options: what is asked of it.

    Raises:
        ValueError: no source is called like this; the message lists what is.
    """
    options = options or SourceOptions()
    scheme = _scheme_of(text)
    if scheme == "scene":
        return _make(_BY_SCHEME[scheme], text)
    if scheme in _BY_SCHEME:
        return _make(_BY_SCHEME[scheme], text, transport=options.transport, limits_s=options.limits_s)
    if scheme is not None:
        raise ValueError(f"{scheme}:// is no source; allowed: {_ALLOWED}")
    kind = _kind_of(text)
    if kind == "file":
        return _make(_BY_KIND[kind], text)
    if kind == "folder":
        return _make(
            _BY_KIND[kind], text, fps=options.fps or 25.0, events=options.events, stream_id=options.stream_id
        )
    return _make(
        _BY_KIND[kind],
        int(text) if text.isdecimal() else text,
        size=options.size,
        fps=options.fps,
        pixel_format=options.pixel_format,
        **({"timeout_s": max(options.limits_s)} if options.limits_s else {}),
    )


def _scheme_of(text: str) -> str | None:
    """The scheme of a URL; None for a path or a name, whatever colons are in it."""
    if not text.strip():
        raise ValueError(f"an empty source; allowed: {_ALLOWED}")
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", text)
    if found:
        return found[1].lower()
    return "scene" if text.startswith("scene:") else None


def _kind_of(text: str) -> Literal["file", "folder", "camera"]:
    path = Path(text)
    if text.isdecimal() or text.startswith("/dev/video"):
        return "camera"
    hidden = False
    try:
        if path.is_dir():
            return "folder"
        if path.exists():
            return "file"
    except OSError:  # it may not be looked at; as a file it says why when it is opened
        hidden = True
    if may_hold_login(text):
        # Not repeated: it would be called a missing file, with the password in its name.
        raise ValueError(
            "not a source, but it looks like an address with a login: did you mean rtsp://USER:PASSWORD@HOST/PATH? "
            f"allowed: {_ALLOWED}"
        )
    # What looks like a path is one, so that a misspelt file is called missing and not an unknown camera.
    return "file" if hidden or path.suffix or "/" in text or "\\" in text else "camera"


def _make(where: str, *args: object, **options: object) -> "Source":
    module, _, name = where.partition(":")
    return cast("Source", getattr(importlib.import_module(module), name)(*args, **options))
