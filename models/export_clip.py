"""A clip network from torch to the ONNX file that the engines run, proved against torch on the way."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from headrace.models.export import OPSET, ExportError, forget_origins
from headrace.models.spec import ClipSpec

OUTPUTS = ("scores", "scores_rgb", "scores_flow")
LARGEST_ERROR = 1e-3
"""Of a probability."""


def export_two_stream(network: nn.Module, path: Path, clip: ClipSpec) -> float:
    """Write `images` uint8 (B, T, H, W, 3), `flows` float32 (B, L, H, W, 2) → `OUTPUTS`, and prove it.

    Args:
        network: takes these two, gives the three; is put into evaluation mode.
        path: the file; it appears only once ONNX Runtime has given torch's answers.

    Returns:
        The largest difference of a probability from torch's.

    Raises:
        ExportError: the difference is above `LARGEST_ERROR`.
    """
    network.eval()
    images, flows = _test_clips(3, clip)
    batch = torch.export.Dim("batch")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        draft = Path(folder) / path.name
        # A batch of two: traced with one, the exporter would conclude that the batch never exceeds it.
        torch.onnx.export(
            network,
            (images[:2], flows[:2]),
            str(draft),
            input_names=["images", "flows"],
            output_names=list(OUTPUTS),
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=({0: batch}, {0: torch.export.Dim.DYNAMIC}),
            external_data=False,
            verbose=False,
        )
        forget_origins(draft)
        error = _largest_difference(network, draft, images, flows)
        if not error <= LARGEST_ERROR:
            raise ExportError(f"{path.name}: ONNX Runtime is off from torch by {error:.2g}; not written")
        os.replace(draft, path)
    return error


def _largest_difference(network: nn.Module, file: Path, images: torch.Tensor, flows: torch.Tensor) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    found = session.run(list(OUTPUTS), {"images": images.numpy(), "flows": flows.numpy()})
    with torch.inference_mode():
        wanted = network(images, flows)
    return max(float(np.abs(a - b.numpy()).max()) for a, b in zip(found, wanted, strict=True))


def _test_clips(count: int, clip: ClipSpec) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth random pictures and flow."""
    rng = np.random.default_rng(0)
    width, height = clip.size

    def smooth(length: int, channels: int, spread: float) -> torch.Tensor:
        coarse = torch.from_numpy(rng.uniform(-spread, spread, (count * length, channels, 8, 8)).astype(np.float32))
        fine = nn.functional.interpolate(coarse, size=(height, width), mode="bilinear").permute(0, 2, 3, 1)
        return fine.reshape(count, length, height, width, channels).contiguous()

    images = (smooth(len(clip.images_at), 3, 127) + 128).to(torch.uint8)
    return images, smooth(clip.instants - 1, 2, 10.0)
