"""From a torch network to the ONNX file that the engines run: proved against torch, then held against the rules."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from headrace.models import export_examples
from headrace.models.deploy import DeployedSegmentation
from headrace.models.graph import check, half, read
from headrace.models.graph.scope import graphs_of
from headrace.models.spec import ClipSpec

OPSET = 18
"""The newest that every engine reads alike: from 20 on TensorRT samples GridSample wrongly without a word."""
QUANTIZABLE_OPSET = half.QUANTIZED_OPSET
"""For a network that will be both fp16 and int8."""
OPSETS = (OPSET, QUANTIZABLE_OPSET)
LEAST_AGREEMENT = 0.999
"""Share of whole numbers (pixels' classes) that must be torch's: near ties may fall the other way."""
LARGEST_ERROR = 1e-3
"""Of a float output, relative to its greatest value where that is above 1."""
HALF_LEAST_AGREEMENT = 0.99
HALF_LARGEST_ERROR = 1e-2
"""The same for a half body. How good it is on real footage is for the engines to prove."""
NEXT = "next_"
"""An input `X` and an output `next_X` are one state: an engine feeds the one with the other."""
SCORES = ("scores", "scores_rgb", "scores_flow")
"""What a two-stream network gives."""
MOST_INSIDE_BYTES = 3 * 2**29
"""Heavier weights go into a file beside the network: one message holds 2 GB."""

Feeds = Mapping[str, NDArray[Any]]


class ExportError(RuntimeError):
    """The exported file does not do what the torch network does, or no engine could be built from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """How a file is written."""

    opset: int = OPSET
    """18, or 19 for a network that will be both fp16 and int8."""
    half: bool = False
    """A body in fp16 between ends in float."""
    weights_beside: bool | None = None
    """In a file of their own. None: where they are above `MOST_INSIDE_BYTES`."""

    def __post_init__(self) -> None:
        if self.opset not in OPSETS:
            raise ValueError(f"opset: got {self.opset}, allowed: {' or '.join(str(each) for each in OPSETS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How close ONNX Runtime's answers are to torch's."""

    share: float
    """Of whole numbers that are the same; 1 where no output is of whole numbers."""
    error: float
    """The largest of the float outputs; 0 where there are none."""


def export_onnx(
    network: nn.Module, path: Path, *, feeds: Feeds, outputs: Sequence[str], options: ExportOptions | None = None
) -> Agreement:
    """Write any deployed network, batch free, and prove the file with ONNX Runtime, in this order: export, forget
    the origins, narrow to half, compare with torch, check the graph. The file appears only when all went well.

    Args:
        network: takes the arrays of `feeds` in their order, gives `outputs` in theirs; is put into evaluation mode.
        path: the file.
        feeds: three or more examples of each input, batch first. An example of zeros is added: a still or dark scene,
            in which differences show that noise hides.
        outputs: their names. An output `next_X` is the next value of the input `X`.

    Raises:
        ValueError: too few examples, or a `next_X` without its `X`.
        ExportError: ONNX Runtime's answers differ from torch's, or TensorRT would not take the graph.
    """
    options = options or ExportOptions()
    _check_feeds(feeds, outputs)
    network.eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        draft = Path(folder) / path.name
        _draft(network, draft, feeds, outputs, options)
        found = prove(network, draft, {name: _with_zeros(each) for name, each in feeds.items()}, half=options.half)
        blocking = [each for each in check.check(read.load(draft)) if each.blocking]
        if blocking:
            raise ExportError(f"{path.name}: TensorRT cannot take it; not written:{check.listed(blocking)}")
        _publish(draft, path)
    return found


def export_segmentation(network: nn.Module, path: Path, *, size: tuple[int, int], enlarge: int = 2) -> float:
    """Write `frame` uint8 (B, H, W, 3) → `mask` uint8 (B, h, w); see `export_onnx`.

    Args:
        network: normalised RGB (B, 3, H, W) → logits.
        path: the file.
        size: (width, height) of the frames in pixels.
        enlarge: see `DeployedSegmentation`.

    Returns:
        Share of pixels with the same class as torch gives them.
    """
    deployed = DeployedSegmentation(network, enlarge=enlarge)
    width, height = size
    return export_onnx(
        deployed, path, feeds={"frame": export_examples.frames(3, height, width)}, outputs=["mask"]
    ).share


def export_two_stream(network: nn.Module, path: Path, clip: ClipSpec) -> float:
    """Write `images` uint8 (B, T, H, W, 3), `flows` float32 (B, L, H, W, 2) → `SCORES`; see `export_onnx`.

    Returns:
        The largest difference of a probability from torch's.
    """
    return export_onnx(network, path, feeds=export_examples.clips(3, clip), outputs=SCORES).error


def prove(network: nn.Module, file: Path, feeds: Feeds, *, half: bool = False) -> Agreement:
    """Compare what ONNX Runtime makes of a file with what torch makes of the network.

    Raises:
        ExportError: the answers differ by more than `LEAST_AGREEMENT` and `LARGEST_ERROR` allow.
    """
    least, largest = (HALF_LEAST_AGREEMENT, HALF_LARGEST_ERROR) if half else (LEAST_AGREEMENT, LARGEST_ERROR)
    pairs = list(_answers(network, file, feeds))
    share, error = _agreement(pairs), _largest_error(pairs)
    if share < least:
        raise ExportError(
            f"{file.name}: ONNX Runtime agrees with torch on only {share:.4f} of the whole numbers; not written"
        )
    if not error <= largest:
        raise ExportError(f"{file.name}: ONNX Runtime is off from torch by {error:.2g}; not written")
    return Agreement(share=share, error=error)


def forget_origins(model: onnx.ModelProto) -> None:
    """Take out what the exporter notes at each node: the paths and stack traces of the machine it ran on."""
    graphs: list[Any] = [model.graph, *model.functions]
    model.ClearField("doc_string")
    model.ClearField("metadata_props")
    while graphs:
        graph = graphs.pop()
        parts = [graph, *graph.node, *graph.value_info]
        if isinstance(graph, onnx.GraphProto):
            parts += [*graph.input, *graph.output, *graph.initializer]
        for each in parts:
            each.ClearField("metadata_props")
            each.ClearField("doc_string")
        graphs += [inner for node in graph.node for inner in graphs_of(node)]


def _draft(network: nn.Module, draft: Path, feeds: Feeds, outputs: Sequence[str], options: ExportOptions) -> None:
    weights_bytes = sum(each.nbytes for each in (*network.parameters(), *network.buffers()))
    beside = weights_bytes > MOST_INSIDE_BYTES if options.weights_beside is None else options.weights_beside
    # The axes of several inputs are one batch: the first names it, and the tracing finds that the others follow.
    axes = [torch.export.Dim("batch"), *[torch.export.Dim.DYNAMIC] * (len(feeds) - 1)]
    # A batch of two: traced with one, the exporter would conclude that the batch never exceeds it.
    torch.onnx.export(
        network,
        tuple(torch.from_numpy(each[:2]) for each in feeds.values()),
        str(draft),
        input_names=list(feeds),
        output_names=list(outputs),
        opset_version=options.opset,
        dynamo=True,
        dynamic_shapes=tuple({0: axis} for axis in axes),
        external_data=weights_bytes > MOST_INSIDE_BYTES,
        verbose=False,
    )
    model = onnx.load(draft)
    for path in draft.parent.iterdir():
        path.unlink()
    forget_origins(model)
    if options.half:
        model = half.to_half(model)
    if beside:
        name = f"{draft.stem}-{_digest(model)}.data"
        onnx.save(model, draft, save_as_external_data=True, location=name, size_threshold=1024)
    else:
        onnx.save(model, draft)


def _publish(draft: Path, path: Path) -> None:
    """Weights first: their file is named for what is in it, so that the network there now keeps its own."""
    old = set(path.parent.glob(f"{path.stem}-*.data"))
    new = {path.parent / each.name for each in draft.parent.glob("*.data")}
    for each in new:
        (draft.parent / each.name).chmod(draft.stat().st_mode)  # onnx lets only its writer read it
        os.replace(draft.parent / each.name, each)
    os.replace(draft, path)
    for each in old - new:
        with suppress(OSError):
            each.unlink()


def _digest(model: onnx.ModelProto) -> str:
    found = hashlib.sha256()
    for each in model.graph.initializer:
        found.update(each.name.encode())
        found.update(each.raw_data)
    return found.hexdigest()[:12]


def _answers(network: nn.Module, file: Path, feeds: Feeds) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    from headrace.models.quiet_onnxruntime import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    found = session.run(None, dict(feeds))
    with torch.inference_mode():
        given = network.eval()(*(torch.from_numpy(each) for each in feeds.values()))
    wanted = [given] if isinstance(given, torch.Tensor) else given
    yield from ((ours, theirs.numpy()) for ours, theirs in zip(found, wanted, strict=True))


def _agreement(pairs: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> float:
    shares = [float((ours == theirs).mean()) for ours, theirs in pairs if theirs.dtype.kind != "f"]
    return min(shares, default=1.0)


def _largest_error(pairs: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> float:
    errors = [
        float(np.abs(ours - theirs).max()) / max(1.0, float(np.abs(theirs).max()))
        for ours, theirs in pairs
        if theirs.dtype.kind == "f"
    ]
    return float(np.max(errors)) if errors else 0.0


def _check_feeds(feeds: Feeds, outputs: Sequence[str]) -> None:
    lengths = {name: len(each) for name, each in feeds.items()}
    if not lengths or min(lengths.values()) < 3 or len(set(lengths.values())) > 1:
        raise ValueError(f"feeds: got {lengths} examples; three or more of each input are needed, as many of each")
    for name in (each for each in outputs if each.startswith(NEXT)):
        if name.removeprefix(NEXT) not in feeds:
            allowed = ", ".join(feeds)
            raise ValueError(f"output {name!r} is the next value of no input; inputs: {allowed}")


def _with_zeros(examples: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate((examples, np.zeros_like(examples[:1])))
