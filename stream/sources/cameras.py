"""Lists the cameras of this machine, and finds one by index, path or name."""

import errno
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av

from headrace.stream.errors import RefusedError
from headrace.stream.sources import v4l2
from headrace.stream.sources.camera_mode import Format

DRIVERS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
"""What FFmpeg calls each system's way to its cameras, by `sys.platform`."""

_NO_PERMISSION = "no permission: add yourself to the group video (sudo usermod -aG video $USER) and log in again"
_PROBLEMS = {
    errno.ENOENT: "there is no such camera",
    errno.ENODEV: "it is not plugged in",
    errno.ENXIO: "it is not plugged in",
    errno.EBUSY: "another program is using it: close that, or take another camera",
    errno.EACCES: _NO_PERMISSION,
    errno.EPERM: _NO_PERMISSION,
    errno.ENOTTY: "this is not a camera",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """A camera of this machine."""

    path: str
    """What to open: "/dev/video0"; on other systems the system's own name of the device."""
    name: str
    """What its maker calls it; "" where it cannot be asked."""
    driver: str
    """The kernel's driver on Linux ("uvcvideo"), elsewhere the system's camera interface."""
    formats: tuple[Format, ...] = ()
    """Everything the driver lists; empty where it cannot be asked, as on macOS and Windows."""
    problem: str = ""
    """Why it cannot be used, as one line; "" where it can."""

    def __str__(self) -> str:
        return f"{self.path} ({self.name})" if self.name else self.path


def cameras() -> list[Camera]:
    """The cameras of this machine, in the system's order.

    Raises:
        RefusedError: this system has no camera interface that is known here.
    """
    if sys.platform == "linux":
        return _v4l2_cameras()
    driver = camera_driver()
    return [
        Camera(path=found.name, name=found.description, driver=driver)
        for found in av.enumerate_input_devices(driver)
        if "video" in found.media_types
    ]


def camera_driver() -> str:
    """FFmpeg's name of this system's camera interface.

    Raises:
        RefusedError: none is known here.
    """
    try:
        return DRIVERS[sys.platform]
    except KeyError:
        raise RefusedError(f"cameras are not supported on {sys.platform}; on {', '.join(DRIVERS)} they are") from None


def find_camera(device: int | str) -> Camera:
    """The camera that is meant, with what it can do.

    Args:
        device: an index, a path, or a name in any case, of which a part will do where only one camera has it.

    Raises:
        RefusedError: none is meant, or more than one.
        OSError: it is there and cannot be asked (no permission, unplugged, not a camera).
    """
    wanted = str(device)
    if sys.platform == "linux" and (wanted.isdecimal() or wanted.startswith("/")):
        return _ask(f"/dev/video{wanted}" if wanted.isdecimal() else wanted)
    here = cameras()
    if wanted.isdecimal() and int(wanted) < len(here):
        return here[int(wanted)]
    named = [it for it in here if wanted.lower() in (it.name.lower(), it.path.lower())]
    named = named or [it for it in here if wanted.lower() in it.name.lower()]
    if len(named) == 1:
        return named[0]
    if named:
        raise RefusedError(f"more than one camera is called that: {_listed(named)}; take one by its path")
    raise RefusedError(f"no camera is called that; {cameras_here(here)}")


def cameras_here(here: Sequence[Camera] | None = None) -> str:
    """The cameras of this machine as one line for an error message."""
    if here is None:
        here = cameras()
    return f"cameras here: {_listed(here)}" if here else "no camera was found here"


def problem_of(error: OSError) -> str:
    """Why a camera cannot be used, in words that say what to do."""
    return _PROBLEMS.get(error.errno or 0) or error.strerror or str(error)


def _listed(some: Sequence[Camera]) -> str:
    return ", ".join(str(it) for it in some)


def _v4l2_cameras() -> list[Camera]:
    numbers = sorted(int(name[5:]) for name in os.listdir("/dev") if re.fullmatch(r"video\d+", name))
    found = []
    for path in (f"/dev/video{number}" for number in numbers):
        try:
            found.append(_ask(path))
        except v4l2.NotACameraError:
            continue  # A camera has further nodes for its metadata; and there are decoders and outputs.
        except OSError as error:
            name = _name_by_sysfs(path)
            found.append(Camera(path=path, name=name, driver="", problem=problem_of(error)))
    return found


def _ask(path: str) -> Camera:
    device = v4l2.open_device(path)
    try:
        name, driver = v4l2.identity(device)
        formats = tuple(
            Format(fourcc=fourcc, width=width, height=height, fps=fps)
            for fourcc, width, height, fps in v4l2.formats(device)
        )
        return Camera(path=path, name=name, driver=driver, formats=formats)
    finally:
        os.close(device)


def _name_by_sysfs(path: str) -> str:
    """The name of a camera that may not be opened."""
    try:
        return Path("/sys/class/video4linux", Path(path).name, "name").read_text().strip()
    except OSError:
        return ""
