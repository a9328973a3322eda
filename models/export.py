"""From a torch network to the ONNX file that the engines run, proved against torch on the way."""

import os
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from headrace.models.deploy import DeployedSegmentation

OPSET = 18
"""The newest that every engine reads alike: from 20 on TensorRT samples GridSample wrongly without a word."""
LEAST_AGREEMENT = 0.999
"""Share of pixels whose class must be torch's: near ties may fall the other way in another order of sums."""


class ExportError(RuntimeError):
    """The exported file does not do what the torch network does."""


def export_segmentation(network: nn.Module, path: Path, *, size: tuple[int, int], enlarge: int = 2) -> float:
    """Write `frame` uint8 (B, H, W, 3) → `mask` uint8 (B, h, w), batch free, and prove it with ONNX Runtime.

    Args:
        network: normalised RGB (B, 3, H, W) → logits; is put into evaluation mode.
        path: the file; it appears only once it is proved.
        size: (width, height) of the frames in pixels.
        enlarge: see `DeployedSegmentation`.

    Returns:
        Share of pixels with the same class as torch gives them.

    Raises:
        ExportError: the share is below `LEAST_AGREEMENT`.
    """
    deployed = DeployedSegmentation(network, enlarge=enlarge).eval()
    width, height = size
    frame = _test_frames(3, height, width)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        draft = Path(folder) / path.name
        # A batch of two: traced with one, the exporter would conclude that the batch never exceeds it.
        torch.onnx.export(
            deployed,
            (torch.from_numpy(frame[:2]),),
            str(draft),
            input_names=["frame"],
            output_names=["mask"],
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False,
            verbose=False,
        )
        forget_origins(draft)
        share = _agreement(deployed, draft, frame)
        if share < LEAST_AGREEMENT:
            raise ExportError(
                f"{path.name}: ONNX Runtime agrees with torch on only {share:.4f} of the pixels; not written"
            )
        os.replace(draft, path)
    return share


def forget_origins(file: Path) -> None:
    """Take out what the exporter notes at each node: the paths and stack traces of the machine it ran on."""
    model = onnx.load(file)
    graph = model.graph
    for each in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        each.ClearField("metadata_props")
        each.ClearField("doc_string")
    onnx.save(model, file)


def _agreement(deployed: nn.Module, file: Path, frames: NDArray[np.uint8]) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (found,) = session.run(["mask"], {"frame": frames})
    with torch.inference_mode():
        wanted = deployed(torch.from_numpy(frames)).numpy()
    return float((found == wanted).mean())


def _test_frames(count: int, height: int, width: int) -> NDArray[np.uint8]:
    """Smooth random pictures: pure noise would leave every class map one flat class."""
    rng = np.random.default_rng(0)
    small = torch.from_numpy(rng.uniform(0, 255, (count, 3, 12, 16)).astype(np.float32))
    large = nn.functional.interpolate(small, size=(height, width), mode="bilinear")
    return np.ascontiguousarray(large.permute(0, 2, 3, 1).numpy().astype(np.uint8))
