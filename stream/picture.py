"""A picture as it was decoded, converted when somebody asks, at the size that is asked for."""

import threading
from typing import Literal, Protocol, cast

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from headrace.stream.arrays import U8

Size = tuple[int, int]
"""(width, height) in pixels."""
Rotation = Literal[0, 90, 180, 270]

_CV_ROTATION = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}
_Conversion = tuple[int, int, str, Size]
"""Width, height and pixel format of the planes, and the size they are converted to."""
_MOST_SCALERS = 16
_per_thread = threading.local()


class Picture(Protocol):
    """What a frame shows."""

    @property
    def size(self) -> Size:
        """(width, height) as shown: rotated, with square pixels."""

    def rgb(self, size: Size | None = None) -> U8:
        """The picture as uint8 (H, W, 3), at its own size or stretched to `size`.

        An array that others may see too is read-only; any other is the caller's own.
        """


class RgbPicture:
    """A picture that already is RGB, such as the scene's."""

    __slots__ = ("_array",)

    def __init__(self, array: U8) -> None:
        if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
            raise ValueError(f"a picture is uint8 (H, W, 3), not {array.dtype} {array.shape}")
        self._array = array.view()
        self._array.flags.writeable = False

    @property
    def size(self) -> Size:
        """(width, height) in pixels."""
        return self._array.shape[1], self._array.shape[0]

    def rgb(self, size: Size | None = None) -> U8:
        """The picture as uint8 (H, W, 3), at its own size or stretched to `size`."""
        if size is None or size == self.size:
            return self._array
        return _resized(self._array, size)


class DecodedPicture:
    """A decoder's picture: its planes are kept, and converted each time that somebody reads it.

    Each stage asks once, at the size it needs: converted pictures are not kept.

    Args:
        planes: what the decoder gave.
        rotation: how far the picture must be turned, counter-clockwise in degrees, to stand upright.
        pixel_aspect: width of a pixel over its height.
    """

    __slots__ = ("_planes", "_rotation", "_size")

    def __init__(self, planes: av.VideoFrame, *, rotation: Rotation = 0, pixel_aspect: float = 1.0) -> None:
        self._planes = planes
        self._rotation = rotation
        width, height = planes.width, planes.height
        if pixel_aspect > 1:
            width = max(1, round(width * pixel_aspect))
        elif pixel_aspect < 1:
            height = max(1, round(height / pixel_aspect))
        self._size = (height, width) if rotation in (90, 270) else (width, height)

    @property
    def size(self) -> Size:
        """(width, height) as shown: rotated, with square pixels."""
        return self._size

    @property
    def planes(self) -> av.VideoFrame:
        """The planes as decoded, neither rotated nor stretched."""
        return self._planes

    def rgb(self, size: Size | None = None) -> U8:
        """The picture as uint8 (H, W, 3), at its own size or stretched to `size`."""
        width, height = size or self._size
        if self._rotation in (90, 270):
            width, height = height, width
        upright = _converted(self._planes, (width, height))
        if self._rotation == 0:
            return upright
        return cast(U8, cv2.rotate(upright, _CV_ROTATION[self._rotation]))


def _converted(planes: av.VideoFrame, size: Size) -> U8:
    # A scaler is kept per thread and for what it was made for: making one costs as much as using it, and none is
    # thread-safe. One worker serves cameras of several sizes in turn.
    scalers: dict[_Conversion, VideoReformatter] = _per_thread.__dict__.setdefault("scalers", {})
    conversion = (planes.width, planes.height, planes.format.name, size)
    scaler = scalers.get(conversion)
    if scaler is None:
        if len(scalers) >= _MOST_SCALERS:
            del scalers[next(iter(scalers))]
        scaler = scalers[conversion] = VideoReformatter()
    # AREA when shrinking: one pass, no aliasing, and no slower than the bilinear one.
    shrinks = size[0] < planes.width or size[1] < planes.height
    converted = scaler.reformat(
        planes, size[0], size[1], "rgb24", interpolation="AREA" if shrinks else "FAST_BILINEAR"
    )
    rgb = cast(U8, converted.to_ndarray())
    if converted is planes:  # they were RGB of this size: the array shows their own memory
        rgb.flags.writeable = False
    return rgb


def _resized(array: U8, size: Size) -> U8:
    shrinks = size[0] < array.shape[1] or size[1] < array.shape[0]
    return cast(U8, cv2.resize(array, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))


def letterboxed(picture: U8, size: Size) -> U8:
    """The whole picture, as large as fits into `size`, with black around it: uint8 (height, width, 3)."""
    width, height = size
    scale = min(width / picture.shape[1], height / picture.shape[0])
    inner = (max(1, int(picture.shape[1] * scale)), max(1, int(picture.shape[0] * scale)))
    box = np.zeros((height, width, 3), np.uint8)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    box[top : top + inner[1], left : left + inner[0]] = _resized(picture, inner)
    return box
