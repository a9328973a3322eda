"""Random changes of training clips that keep their action: what a camera is must not tell what people do."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

ROTATION_DEG = 8.0
ZOOM = (0.65, 1.1)
"""Share of the picture that is seen; above 1 its border is stretched."""
ASPECT = 0.25
"""Spread of log(width / height)."""


def changed_fields(fields: Tensor, reversible: Tensor) -> Tensor:
    """Flow (B, L, 2, H, W) of clips seen from elsewhere: cut out, turned, mirrored, slower, panned, shaken.

    Args:
        reversible: bool (B,): clips that show the same action when run backwards; half of them are.
    """
    batch, length, _, height, width = fields.shape
    fields = _held_at_start(_some_reversed(fields, reversible))
    views = _views(batch)
    grid = F.affine_grid(views, [batch, 1, height, width], align_corners=False)
    flat = F.grid_sample(fields.flatten(1, 2), grid, align_corners=False, padding_mode="border")
    moved = flat.view(batch, length, 2, height, width)
    back = torch.linalg.inv(views[:, :, :2]).view(batch, 1, 2, 2, 1, 1)
    turned = torch.stack((moved[:, :, 0] * back[:, :, 0, 0] + moved[:, :, 1] * back[:, :, 0, 1],
                          moved[:, :, 0] * back[:, :, 1, 0] + moved[:, :, 1] * back[:, :, 1, 1]), 2)  # fmt: skip
    turned *= torch.exp(_spread((batch, 1, 1, 1, 1), 0.25))
    pan = torch.randn(batch, 1, 2, 1, 1) * 0.8 * _some(batch, 0.3)
    shake = torch.randn(batch, length, 2, 1, 1) * 0.4 * _some(batch, 0.3)
    return turned + pan + shake


def changed_images(images: Tensor) -> Tensor:
    """Pictures (B, T, 3, H, W) of 0..1 by another camera: cut out, turned, mirrored; grey, tinted, dim, noisy."""
    batch, count, _, height, width = images.shape
    grid = F.affine_grid(_views(batch), [batch, 1, height, width], align_corners=False)
    x = F.grid_sample(images.flatten(1, 2), grid, align_corners=False, padding_mode="border")
    x = x.view(batch, count, 3, height, width)
    greyness = torch.maximum(torch.rand(batch, 1, 1, 1, 1) * 0.6, _some(batch, 0.4))
    x = torch.lerp(x, x.mean(2, keepdim=True).expand_as(x), greyness)
    x = x * (1 + _spread((batch, 1, 3, 1, 1), 0.15))
    x = x.clamp(0, 1) ** torch.exp(_spread((batch, 1, 1, 1, 1), 0.5))
    x = (x - 0.5) * torch.exp(_spread((batch, 1, 1, 1, 1), 0.4)) + 0.5 + _spread((batch, 1, 1, 1, 1), 0.12)
    return (x + torch.randn_like(x) * torch.rand(batch, 1, 1, 1, 1) * 0.04).clamp(0, 1)


def _views(batch: int) -> Tensor:
    """(B, 2, 3): where each place of the new picture lies in the old one, both from -1 to 1."""
    angle = _spread((batch,), math.radians(ROTATION_DEG))
    zoom = torch.exp(torch.empty(batch).uniform_(math.log(ZOOM[0]), math.log(ZOOM[1])))
    aspect = torch.exp(_spread((batch,), ASPECT) / 2)
    across, down = zoom * aspect, zoom / aspect
    mirrored = across * torch.where(torch.rand(batch) < 0.5, -1.0, 1.0)
    cos, sin = angle.cos(), angle.sin()
    room = (1 - torch.maximum(across, down)).clamp(min=0.05)
    offset = (torch.rand(batch, 2) * 2 - 1) * room[:, None]
    rows = torch.stack((cos * mirrored, -sin * down, sin * mirrored, cos * down), 1).view(batch, 2, 2)
    return torch.cat((rows, offset[:, :, None]), 2)


def _some_reversed(fields: Tensor, reversible: Tensor) -> Tensor:
    backwards = (reversible & (torch.rand(len(fields)) < 0.5)).view(-1, 1, 1, 1, 1)
    return torch.where(backwards, -fields.flip(1), fields)


def _held_at_start(fields: Tensor) -> Tensor:
    """A third of the clips padded as short files are, so that padding says nothing of the label."""
    held = fields.clone()
    for index in range(0, len(held), 3):
        first = int(torch.randint(0, 5, ()))
        held[index, :first] = fields[index, first]
    return held


def _spread(shape: tuple[int, ...], most: float) -> Tensor:
    return (torch.rand(shape) * 2 - 1) * most


def _some(batch: int, share: float) -> Tensor:
    return (torch.rand(batch, 1, 1, 1, 1) < share).float()
