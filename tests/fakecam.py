"""Emulated cameras for tests: builds fakecam/fakecam.c, and makes the files that it plays."""

import ctypes
import mmap
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
Fault = Literal["none", "unplugged", "stalled", "forbidden"]

_FAULTS: tuple[Fault, ...] = ("none", "unplugged", "stalled", "forbidden")
_MAGIC = 0x4D414346
_MOST_MODES, _MOST_FRAMES = 8, 128
_BLOCK_PX = 32
_BITS = 8


class _Mode(ctypes.Structure):
    _fields_ = [
        ("fourcc", ctypes.c_char * 4),
        ("width", ctypes.c_uint32),
        ("height", ctypes.c_uint32),
        ("fps", ctypes.c_uint32),
        ("frames", ctypes.c_uint32),
        ("slot_bytes", ctypes.c_uint32),
        ("tape", ctypes.c_uint64),
    ]


class _Camera(ctypes.Structure):
    """The same as `struct camera` in fakecam.c."""

    _fields_ = [
        ("magic", ctypes.c_uint32),
        ("fault", ctypes.c_uint32),
        ("spoil", ctypes.c_uint32),
        ("in_use", ctypes.c_uint32),
        ("card", ctypes.c_char * 32),
        ("n_modes", ctypes.c_uint32),
        ("unused", ctypes.c_uint32),
        ("modes", _Mode * _MOST_MODES),
        ("captured", ctypes.c_uint64),
        ("stamp_ns", ctypes.c_uint64 * _MOST_FRAMES),
    ]


@dataclass(frozen=True)
class FakeMode:
    """A mode that an emulated camera lists: "YUYV" or "MJPG"."""

    fourcc: str
    width: int
    height: int
    fps: int


MODES = (
    FakeMode("YUYV", 640, 360, 10),
    FakeMode("YUYV", 320, 180, 30),
    FakeMode("MJPG", 640, 360, 30),
    FakeMode("MJPG", 320, 180, 30),
)
"""What an ordinary webcam has: raw at full size is slow, because the USB line is."""


class FakeCamera:
    """An emulated camera. The program under test opens "/dev/<name of `path`>"; faults act on it at once."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._shared = _Camera.from_buffer(self._map)

    @classmethod
    def make(cls, path: Path, name: str, modes: Sequence[FakeMode] = MODES, frames: int = 64) -> "FakeCamera":
        """Write the file of a camera that plays numbered pictures: `frames` of them, again and again."""
        header = _Camera(magic=_MAGIC, card=name.encode(), n_modes=len(modes))
        tape = -(-ctypes.sizeof(_Camera) // 4096) * 4096
        with path.open("wb") as file:
            for place, mode in enumerate(modes):
                pictures = [encoded(numbered_picture(n, mode.width, mode.height), mode) for n in range(frames)]
                slot_bytes = 4 + max(len(data) for data in pictures)
                header.modes[place] = _Mode(
                    mode.fourcc.encode(), mode.width, mode.height, mode.fps, frames, slot_bytes, tape
                )
                for number, data in enumerate(pictures):
                    file.seek(tape + number * slot_bytes)
                    file.write(len(data).to_bytes(4, "little") + data)
                tape += frames * slot_bytes
            file.truncate(tape)
            file.seek(0)
            file.write(bytes(header))
        return cls(path)

    @property
    def captured(self) -> int:
        """How many pictures it has taken, whether or not anybody read them."""
        return int(self._shared.captured)

    @property
    def is_in_use(self) -> bool:
        """Some program has its buffers."""
        return bool(self._shared.in_use)

    @is_in_use.setter
    def is_in_use(self, value: bool) -> None:
        self._shared.in_use = int(value)

    def set_fault(self, fault: Fault) -> None:
        """From now on it is unplugged, stalled, forbidden to open; or works again."""
        self._shared.fault = _FAULTS.index(fault)

    def spoil(self, pictures: int) -> None:
        """Mark so many of the next pictures as bad, as a glitch on the USB line does."""
        self._shared.spoil = pictures

    def taken_ns(self, number: int) -> int:
        """When the picture with this number was last taken, on the monotonic clock."""
        return int(self._shared.stamp_ns[number])


def build(folder: Path) -> Path:
    """Compile the emulation into `folder`; the library to preload."""
    library = folder / "fakecam.so"
    source = Path(__file__).parent / "fakecam" / "fakecam.c"
    flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, "-o", library, source, "-ldl", "-lpthread"], check=True)
    return library


def has_compiler() -> bool:
    """Whether `build` can work here."""
    if shutil.which("gcc") is None:
        return False
    headers = "#include <stdio.h>\n#include <linux/videodev2.h>\n"
    tried = subprocess.run(["gcc", "-E", "-x", "c", "-"], input=headers, capture_output=True, text=True)
    return tried.returncode == 0


def environment(library: Path, dev: Path) -> Mapping[str, str]:
    """What to add to a process's environment so that `dev` is its /dev, as far as cameras go."""
    return {"LD_PRELOAD": str(library), "FAKECAM_DEV": str(dev)}


def numbered_picture(number: int, width: int, height: int) -> U8:
    """uint8 (H, W) grey, with `number` as a row of black and white blocks."""
    picture = np.full((height, width), 96, np.uint8)
    for bit in range(_BITS):
        left = bit * _BLOCK_PX
        picture[:_BLOCK_PX, left : left + _BLOCK_PX] = 224 if number >> bit & 1 else 32
    return picture


def number_in(picture: U8) -> int:
    """The number in a picture, uint8 (H, W) or (H, W, 3)."""
    middle = picture[_BLOCK_PX // 2, _BLOCK_PX // 2 : _BITS * _BLOCK_PX : _BLOCK_PX]
    bits = middle.reshape(_BITS, -1).mean(axis=1) > 128
    return sum(1 << place for place, bit in enumerate(bits) if bit)


def encoded(picture: U8, mode: FakeMode) -> bytes:
    if mode.fourcc == "MJPG":
        return bytes(cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR))[1])
    yuyv = np.full((*picture.shape, 2), 128, np.uint8)
    yuyv[..., 0] = picture
    return yuyv.tobytes()
