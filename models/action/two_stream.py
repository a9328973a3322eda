"""Two-stream action network for cameras: RGB pictures and stacked optical flow, fused late.

Simonyan & Zisserman, "Two-Stream Convolutional Networks for Action Recognition in Videos", NIPS 2014, made
small. The temporal stream sees stacks of L = 5 flow fields: 2L channels, their L speeds, and how fast they change.
A clip of 20 fields has four stacks, which go through the same weights; mean and maximum over them are classified.
Beside that, a small classifier sees statistics of the motion: with few clips to learn from it is as good, and it
errs elsewhere. The spatial stream sees single pictures. Each stream gives its own probabilities, and their weighted
mean is the network's.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headrace.models.spec import ModelSpec

BOUND_PX = 12.0
"""Motion faster than this, in pixels of the clip per spacing, counts as this fast."""
SHRINK = 2
"""Both streams look at the clip at half its size: four times quicker, and no worse on as little data."""
SPATIAL_SHARE = 0.1
"""Weight of the spatial stream in the bundled network's mean."""


def conv_bn_relu(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class Trunk(nn.Module):
    """Four halvings by pairs of 3x3 convolutions; then mean and maximum over the picture, side by side."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for outputs in (width, width * 2, width * 3, width * 4):
            layers += [conv_bn_relu(inputs, outputs, 2), conv_bn_relu(outputs, outputs)]
            inputs = outputs
        self.layers = nn.Sequential(*layers)
        self.features = 2 * inputs

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, features)."""
        x = self.layers(x)
        return torch.cat((x.mean((2, 3)), x.amax((2, 3))), 1)


class TemporalStream(nn.Module):
    """Flow fields → logits, camera motion taken out: the mean of a convolutional and a statistical head."""

    def __init__(self, classes: int, *, stack: int = 5, width: int = 16, dropout: float = 0.3) -> None:
        super().__init__()
        self.stack = stack
        self.trunk = Trunk(4 * stack, width)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * self.trunk.features, classes))
        self.statistical_head = nn.Sequential(
            nn.BatchNorm1d(STATISTICS),
            nn.Linear(STATISTICS, 2 * width),
            nn.ReLU(inplace=True),
            nn.Dropout(0.2),
            nn.Linear(2 * width, classes),
        )

    def forward(self, fields: Tensor) -> Tensor:
        """(B, L, 2, H, W) in pixels of the clip per spacing, L a multiple of `stack` → (B, classes)."""
        convolutional, statistical = self.heads(fields)
        return (convolutional + statistical) / 2

    def heads(self, fields: Tensor) -> tuple[Tensor, Tensor]:
        """The logits of both heads, each (B, classes)."""
        _, length, _, height, width = fields.shape
        moving = without_camera_motion(fields).clamp(-BOUND_PX, BOUND_PX) / BOUND_PX
        speed = length_of(moving)
        change = length_of(moving[:, 1:] - moving[:, :-1])
        channels = torch.cat((moving, speed[:, :, None], torch.cat((change[:, :1], change), 1)[:, :, None]), 2)
        seen = self.trunk(channels.reshape(-1, 4 * self.stack, height, width))
        seen = seen.reshape(-1, length // self.stack, self.trunk.features)
        logits: Tensor = self.head(torch.cat((seen.mean(1), seen.amax(1)), 1))
        statistical: Tensor = self.statistical_head(motion_statistics(moving, speed, change))
        return logits, statistical


STATISTICS = 28
"""How many numbers `motion_statistics` gives."""


def motion_statistics(moving: Tensor, speed: Tensor, change: Tensor) -> Tensor:
    """How much moves, how suddenly, and how much of it together; (B, STATISTICS).

    Args:
        moving: (B, L, 2, H, W) in bounds.
        speed: its length, (B, L, H, W).
        change: how much it changes from field to field, (B, L - 1, H, W).
    """
    amounts = [over_time(norm) for size in (speed, change) for norm in norms(size)]
    together = []
    weight = speed
    for _ in range(3):  # weighted by speed, its third and its seventh power: ever more only the fastest
        total = (weight * speed).sum((2, 3))
        shared = length_of((moving * weight[:, :, None]).sum((3, 4)), axis=2) / (total + 1e-6)
        together.append(over_time(shared))
        weight = weight.square() * speed
    steady = (moving[:, 1:] * moving[:, :-1]).sum(2)
    most = speed[:, 1:] * speed[:, :-1]
    for power in (1, 2):
        weight = most if power == 1 else most.square()
        together.append(over_time((steady * weight).sum((2, 3)) / ((most * weight).sum((2, 3)) + 1e-6)))
    path = speed.sum(1)
    went = length_of(moving.sum(1), axis=1)
    straight = [(went * w).sum((1, 2)) / ((path * w).sum((1, 2)) + 1e-6) for w in (path, path.square())]
    logs = torch.log(torch.cat(amounts, 1) + 1e-3)
    return torch.cat((logs, *together, torch.stack(straight, 1)), 1)


def norms(size: Tensor) -> tuple[Tensor, ...]:
    """(B, L, H, W) → the 1-, 2-, 4- and 8-norm over the picture, as a mean; each (B, L)."""
    square = size.square()
    fourth = square.square()
    eighth = fourth.square().mean((2, 3))
    return (
        size.mean((2, 3)),
        square.mean((2, 3)).sqrt(),
        fourth.mean((2, 3)).sqrt().sqrt(),
        root(eighth, 1e-8).sqrt().sqrt(),
    )


def over_time(values: Tensor) -> Tensor:
    """(B, L) → mean and spread over time, (B, 2)."""
    mean = values.mean(1, keepdim=True)
    return torch.cat((mean, root((values - mean).square().mean(1, keepdim=True), 1e-4)), 1)


def root(values: Tensor, least: float) -> Tensor:
    """Square root of `values` + `least`², which has a slope at 0.

    Written so that the sum is with 1: the exporter takes a number of 1e-8 for 0 and drops its addition.
    """
    return (values / least**2 + 1).sqrt() * least


def length_of(vectors: Tensor, axis: int = 2) -> Tensor:
    """Length of vectors whose two parts lie along `axis`, never quite 0: the root has no slope there."""
    return (vectors.square().sum(axis) + 1e-6).sqrt()


def without_camera_motion(fields: Tensor) -> Tensor:
    """Take from each field (B, L, 2, H, W) the motion that most of the picture shares.

    A mean to which what moves otherwise adds one pixel at most, twice: nearly the median, without its sort.
    """
    shared = fields.clamp(-BOUND_PX, BOUND_PX).mean((3, 4), keepdim=True)
    for _ in range(2):
        shared = shared + (fields - shared).clamp(-1, 1).mean((3, 4), keepdim=True)
    return fields - shared


class SpatialStream(nn.Module):
    """Single pictures → logits: what there is, and where it differs from the clip's mean picture: people.

    Colour, brightness and contrast are taken out: they say more of the camera than of what people do.
    """

    def __init__(self, classes: int, *, width: int = 16, dropout: float = 0.5) -> None:
        super().__init__()
        self.trunk = Trunk(2, width)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * self.trunk.features, classes))

    def forward(self, images: Tensor) -> Tensor:
        """(B, T, 3, H, W) of 0..1 → (B, classes)."""
        _, count, _, height, width = images.shape
        luma = images.mean(2)
        luma = luma - luma.mean((1, 2, 3), keepdim=True)
        luma = luma / (luma.square().mean((1, 2, 3), keepdim=True) + 1e-3).sqrt()
        pictures = torch.stack((luma, luma - luma.mean(1, keepdim=True)), 2).reshape(-1, 2, height, width)
        seen = self.trunk(pictures).reshape(-1, count, self.trunk.features)
        logits: Tensor = self.head(torch.cat((seen.mean(1), seen.amax(1)), 1))
        return logits


class TwoStream(nn.Module):
    """What is exported: a clip as the sampler cuts it → probabilities, fused and of each stream."""

    def __init__(self, spatial: SpatialStream, temporal: TemporalStream, *, spatial_share: float) -> None:
        """`spatial_share`: weight of the spatial stream in the mean, 0 to 1."""
        super().__init__()
        self.spatial = spatial
        self.temporal = temporal
        self.spatial_share = spatial_share

    def forward(self, images: Tensor, flows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """uint8 (B, T, H, W, 3), float32 (B, L, H, W, 2) → scores, scores_rgb, scores_flow (B, classes)."""
        rgb = self.spatial(small_images(images)).softmax(1)
        flow = self.temporal(small_fields(flows)).softmax(1)
        return rgb * self.spatial_share + flow * (1 - self.spatial_share), rgb, flow


def deployed(spec: ModelSpec) -> TwoStream:
    """Clips → scores, as the description has them."""
    classes = len(spec.labels)
    return TwoStream(SpatialStream(classes), TemporalStream(classes), spatial_share=SPATIAL_SHARE)


def small_images(images: Tensor) -> Tensor:
    """uint8 (B, T, H, W, 3) → float (B, T, 3, h, w) of 0..1; the cast comes first: TensorRT moves no uint8."""
    _, count, height, width, _ = images.shape
    x = images.float().reshape(-1, height, width, 3).permute(0, 3, 1, 2).contiguous()
    x = F.avg_pool2d(x, SHRINK) / 255
    return x.reshape(-1, count, 3, height // SHRINK, width // SHRINK)


def small_fields(flows: Tensor) -> Tensor:
    """float (B, L, H, W, 2) → (B, L, 2, h, w), still in pixels of (H, W)."""
    _, length, height, width, _ = flows.shape
    x = flows.reshape(-1, height, width, 2).permute(0, 3, 1, 2).contiguous()
    return F.avg_pool2d(x, SHRINK).reshape(-1, length, 2, height // SHRINK, width // SHRINK)
