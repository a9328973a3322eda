"""Plays numbered pictures into a v4l2loopback device, as a camera would.

loopback_camera.py DEVICE YUYV|MJPG WIDTH HEIGHT FPS
"""

import fcntl
import itertools
import os
import struct
import sys
import time

from fakecam import FakeMode, encoded, numbered_picture

FRAMES = 64
_VIDIOC_S_FMT = 0xC0D05605
_VIDEO_OUTPUT = 2


def main() -> None:
    device, fourcc, width, height, fps = sys.argv[1:]
    mode = FakeMode(fourcc, int(width), int(height), int(fps))
    tape = [encoded(numbered_picture(number, mode.width, mode.height), mode) for number in range(FRAMES)]
    camera = os.open(device, os.O_RDWR)
    _set_format(camera, mode)
    due_s = time.monotonic()
    for number in itertools.count():
        os.write(camera, tape[number % FRAMES])
        if number == 0:
            print("playing", flush=True)
        due_s += 1 / mode.fps
        time.sleep(max(0.0, due_s - time.monotonic()))


def _set_format(camera: int, mode: FakeMode) -> None:
    is_raw = mode.fourcc == "YUYV"
    wanted = bytearray(208)  # struct v4l2_format
    struct.pack_into("=I", wanted, 0, _VIDEO_OUTPUT)
    struct.pack_into(
        "=IIIIIII",
        wanted,
        8,
        mode.width,
        mode.height,
        int.from_bytes(mode.fourcc.encode(), "little"),
        1,  # progressive
        mode.width * 2 if is_raw else 0,
        mode.width * mode.height * 2,
        8,  # sRGB
    )
    fcntl.ioctl(camera, _VIDIOC_S_FMT, wanted)


if __name__ == "__main__":
    main()
