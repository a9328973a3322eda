"""What an export is proved on: smooth random pictures and flow, whose class maps and motion are not flat."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from headrace.models.spec import ClipSpec


def frames(count: int, height: int, width: int) -> NDArray[np.uint8]:
    """uint8 (count, H, W, 3): pure noise would leave every class map one flat class."""
    return (_smooth((count, height, width, 3), 127.0) + 128).astype(np.uint8)


def clips(count: int, clip: ClipSpec) -> dict[str, NDArray[Any]]:
    """`images` uint8 (count, T, H, W, 3) and `flows` float32 (count, L, H, W, 2), by name."""
    width, height = clip.size
    images = _smooth((count, len(clip.images_at), height, width, 3), 127.0) + 128
    return {
        "images": images.astype(np.uint8),
        "flows": _smooth((count, clip.instants - 1, height, width, 2), 10.0),
    }


def _smooth(shape: tuple[int, ...], spread: float) -> NDArray[np.float32]:
    """(..., H, W, C), from coarse random numbers of -spread..spread."""
    *leading, height, width, channels = shape
    random = np.random.default_rng(len(shape))
    coarse = random.uniform(-spread, spread, (int(np.prod(leading)), channels, 12, 16)).astype(np.float32)
    fine = nn.functional.interpolate(torch.from_numpy(coarse), size=(height, width), mode="bilinear")
    result: NDArray[np.float32] = np.ascontiguousarray(fine.permute(0, 2, 3, 1).numpy()).reshape(shape)
    return result
