"""Optical flow between two pictures, by several methods behind one interface."""

from importlib import import_module
from typing import Protocol, cast

import cv2
import numpy as np

from headrace.stream.arrays import F32, U8
from headrace.stream.picture import Size


class FlowMethod(Protocol):
    """Computes the optical flow of one pair of pictures; one thread uses an instance."""

    def between(self, grey0: U8, grey1: U8) -> F32:
        """Where each pixel of the first picture is in the second.

        Args:
            grey0, grey1: uint8 (H, W), both of the size the method was made for.

        Returns:
            float32 (H, W, 2): dx, dy in pixels per pair; x to the right, y downwards.

        Raises:
            ValueError: a picture has another size or type.
        """


FLOWS: dict[str, str] = {
    "farneback": "headrace.stream.motion:FarnebackFlow",
}
"""Name of a method -> where it is; each takes the pictures' (width, height)."""


def open_flow(name: str, size: Size) -> FlowMethod:
    """Make a flow method by name for pictures of `size` (width, height).

    Raises:
        ValueError: no method has that name; the message lists what there is.
    """
    if name not in FLOWS:
        raise ValueError(f"flow {name!r} is not known; there are: {', '.join(sorted(FLOWS))}")
    module, attribute = FLOWS[name].split(":")
    return cast(FlowMethod, getattr(import_module(module), attribute)(size))


class FarnebackFlow:
    """Dense flow by polynomial expansion (Farnebäck 2003), as OpenCV has it.

    The settings are those of OpenCV's own sample, with three levels of the pyramid: on pictures of about
    100 pixels a fourth would be smaller than the window.

    Args:
        size: (width, height) of the pictures, in pixels.
    """

    def __init__(self, size: Size) -> None:
        width, height = size
        if width < 1 or height < 1:
            raise ValueError(f"flow of pictures of {width}x{height}: both must be at least 1 pixel")
        self._shape = (height, width)

    def between(self, grey0: U8, grey1: U8) -> F32:
        """float32 (H, W, 2): dx, dy in pixels per pair, of two uint8 (H, W) pictures."""
        for grey in (grey0, grey1):
            if grey.shape != self._shape or grey.dtype != np.uint8:
                height, width = self._shape
                raise ValueError(f"flow wants uint8 ({height}, {width}), not {grey.dtype} {grey.shape}")
        start = np.zeros((*self._shape, 2), np.float32)
        field = cv2.calcOpticalFlowFarneback(
            grey0,
            grey1,
            start,
            pyr_scale=0.5,
            levels=3,
            winsize=15,
            iterations=3,
            poly_n=5,
            poly_sigma=1.2,
            flags=0,
        )
        return cast(F32, field)


def grey_of(rgb: U8) -> U8:
    """The luma of a picture: uint8 (H, W) of uint8 (H, W, 3)."""
    return cast(U8, cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))


def shrunk(field: F32, size: Size) -> F32:
    """A flow field averaged down to `size` (width, height), its vectors in the new, larger pixels.

    Args:
        field: float32 (H, W, 2), pixels of the field's own size.
    """
    height, width = field.shape[:2]
    if (width, height) == size:
        return field
    small = cv2.resize(field, size, interpolation=cv2.INTER_AREA)
    return cast(F32, small * np.array((size[0] / width, size[1] / height), np.float32))
