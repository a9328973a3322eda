"""Asks a Linux camera by ioctl what it is and what it can do: FFmpeg has no call for that."""

import errno
import os
import struct
from collections.abc import Iterator
from typing import Any

FormatLine = tuple[str, int, int, tuple[float, ...]]
"""(four-letter code, width, height, frames per second: highest first)."""

_CAPTURE = 0x1  # V4L2_CAP_VIDEO_CAPTURE, and V4L2_BUF_TYPE_VIDEO_CAPTURE
_HAS_DEVICE_CAPS = 0x80000000
_DISCRETE = 1  # V4L2_FRMSIZE_TYPE_DISCRETE, V4L2_FRMIVAL_TYPE_DISCRETE

# What a driver that scales freely is asked for: it lists a range, and people ask for these.
_USUAL_SIZES = ((320, 240), (640, 360), (640, 480), (800, 600), (1280, 720), (1920, 1080), (3840, 2160))
_MOST_ENTRIES = 256  # A broken driver that never ends its list must not hang us.

# Each request is: its number, and the layout of the kernel's struct (linux/videodev2.h).
_QUERYCAP = (0, "=16s32s32sIII12x")
_ENUM_FMT = (2, "=III32sI16x")
_ENUM_FRAMESIZES = (74, "=III6I8x")
_ENUM_FRAMEINTERVALS = (75, "=IIIII6I8x")


class NotACameraError(OSError):
    """It opens, but no pictures can be captured from it."""


def open_device(path: str) -> int:
    """A file descriptor of the device, for the calls below; `os.close` it.

    Raises:
        OSError: there is none, or it may not be opened.
    """
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


def identity(device: int) -> tuple[str, str]:
    """(name, driver) of a camera.

    Raises:
        NotACameraError: it is something else.
        OSError: it went away.
    """
    try:
        driver, card, _bus, _version, can, device_can = _ask(device, _QUERYCAP, b"", b"", b"", 0, 0, 0)
    except OSError as error:
        if error.errno == errno.ENOTTY:  # the device does not know the question
            raise NotACameraError(errno.ENOTTY, "not a camera") from error
        raise
    if not (device_can if can & _HAS_DEVICE_CAPS else can) & _CAPTURE:
        raise NotACameraError(errno.ENOTTY, "it captures no pictures")
    return _text(card), _text(driver)


def formats(device: int) -> Iterator[FormatLine]:
    """Everything the driver lists: each pixel format, at each size, with its rates."""
    for index in range(_MOST_ENTRIES):
        try:
            *_, code = _ask(device, _ENUM_FMT, index, _CAPTURE, 0, b"", 0)
        except OSError:
            return
        for width, height in _sizes(device, code):
            yield _four_letters(code), width, height, _rates(device, code, width, height)


def _sizes(device: int, code: int) -> Iterator[tuple[int, int]]:
    for index in range(_MOST_ENTRIES):
        try:
            _, _, kind, *size = _ask(device, _ENUM_FRAMESIZES, index, code, 0, *[0] * 6)
        except OSError:
            return
        if kind == _DISCRETE:
            yield size[0], size[1]
            continue
        least_w, most_w, step_w, least_h, most_h, step_h = size
        for width, height in _USUAL_SIZES:
            fits = least_w <= width <= most_w and least_h <= height <= most_h
            if fits and (width - least_w) % max(1, step_w) == 0 and (height - least_h) % max(1, step_h) == 0:
                yield width, height
        return


def _rates(device: int, code: int, width: int, height: int) -> tuple[float, ...]:
    rates: set[float] = set()
    for index in range(_MOST_ENTRIES):
        try:
            answer = _ask(device, _ENUM_FRAMEINTERVALS, index, code, width, height, 0, *[0] * 6)
        except OSError:
            break
        kind, *interval = answer[4:]
        # An interval is a fraction of a second; a range starts with the shortest, which is the fastest.
        if interval[0]:
            rates.add(round(interval[1] / interval[0], 3))
        if kind != _DISCRETE:
            break
    return tuple(sorted(rates, reverse=True))


def _ask(device: int, request: tuple[int, str], *fields: int | bytes) -> tuple[Any, ...]:
    import fcntl  # Linux only; this file is imported elsewhere too.

    number, layout = request
    size = struct.calcsize(layout)
    direction = 2 if number == 0 else 3  # the kernel only answers QUERYCAP; it reads and answers the others
    answer = bytearray(struct.pack(layout, *fields))
    fcntl.ioctl(device, direction << 30 | size << 16 | ord("V") << 8 | number, answer)
    return struct.unpack(layout, answer)


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode(errors="replace")


def _four_letters(code: int) -> str:
    return code.to_bytes(4, "little").decode("latin-1").strip()
