"""The deployed form of a segmentation network: uint8 frames in, a uint8 class map out."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
"""RGB, of 0..255: the usual ImageNet figures, so that other networks' weights fit too."""


def normalise(frame: Tensor) -> Tensor:
    """RGB uint8 (B, H, W, 3) → float (B, 3, H, W)."""
    return (planes(frame) - per_channel(MEAN).to(frame.device)) / per_channel(STD).to(frame.device)


def planes(frame: Tensor) -> Tensor:
    """uint8 (B, H, W, C) → float (B, C, H, W) of 0..255; the cast comes first (TensorRT moves no uint8)."""
    return frame.float().permute(0, 3, 1, 2).contiguous()


def per_channel(values: tuple[float, ...]) -> Tensor:
    """(C) → (1, C, 1, 1)."""
    return torch.tensor(values).view(1, -1, 1, 1)


def class_map(logits: Tensor) -> Tensor:
    """(B, C, h, w) → uint8 (B, h, w), the class of the greatest logit, the lower id where two are equal.

    The same as argmax, as elementwise operations: OpenVINO's argmax over channels takes three times as long.
    """
    best = logits.amax(1, keepdim=True)
    ids = torch.arange(logits.shape[1], dtype=torch.float32, device=logits.device).view(1, -1, 1, 1)
    return torch.where(logits == best, ids, torch.full_like(ids, 255.0)).amin(1).to(torch.uint8)


class DeployedSegmentation(nn.Module):
    """Wraps a network of normalised RGB (B, 3, H, W) → logits (B, C, h, w)."""

    def __init__(self, network: nn.Module, *, enlarge: int = 2) -> None:
        """`enlarge`: how many times the logits are scaled up (bilinear) before the class is chosen."""
        super().__init__()
        self.network = network
        self.enlarge = enlarge
        # Held here: made as it runs, they would be copied from the host, which no CUDA graph can capture.
        self.register_buffer("mean", per_channel(MEAN), persistent=False)
        self.register_buffer("std", per_channel(STD), persistent=False)

    def forward(self, frame: Tensor) -> Tensor:
        """RGB uint8 (B, H, W, 3) → uint8 class map (B, h * enlarge, w * enlarge)."""
        logits: Tensor = self.network((planes(frame) - self.get_buffer("mean")) / self.get_buffer("std"))
        if self.enlarge != 1:
            logits = F.interpolate(logits, scale_factor=self.enlarge, mode="bilinear", align_corners=False)
        return class_map(logits)
