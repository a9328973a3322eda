"""The networks of `tiny_models` as torch modules, with the weights of their files."""

import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import Tensor, nn

from headrace.models.spec import ModelSpec, TensorSpec


def twin(spec: ModelSpec) -> nn.Module | None:
    """The module of a network's name; None where there is none, or no file to take its weights from."""
    makers = {each.__name__: each for each in (segmenter, deep_net, running_total, two_inputs, fails_on_odd_batches)}
    make = makers.get(spec.name)
    if make is None or not spec.weights.file.is_file():
        return None
    tensors = onnx.load(spec.weights.file).graph.initializer
    return make({each.name: torch.from_numpy(numpy_helper.to_array(each).copy()) for each in tensors})


def segmenter(weights: dict[str, Tensor]) -> nn.Module:
    return _Segmenter(weights)


def deep_net(weights: dict[str, Tensor]) -> nn.Module:
    return _DeepNet(weights)


def running_total(weights: dict[str, Tensor]) -> nn.Module:
    return _RunningTotal(weights["one"])


def two_inputs(weights: dict[str, Tensor]) -> nn.Module:
    return _TwoInputs()


def fails_on_odd_batches(weights: dict[str, Tensor]) -> nn.Module:
    return _FailsOnOddBatches()


def planes(frame: Tensor, scale: Tensor) -> Tensor:
    """uint8 (B, H, W, 3) → float32 (B, 3, H, W) in 0..1."""
    return frame.float().permute(0, 3, 1, 2) * scale


def convolution(weight: Tensor) -> nn.Conv2d:
    """3x3, same padding, without bias."""
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1, bias=False)
    layer.weight = nn.Parameter(weight)
    return layer


class _Segmenter(nn.Module):  # type: ignore[misc]
    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.register_buffer("scale", weights["scale"])
        self.first, self.second = convolution(weights["w1"]), convolution(weights["w2"])

    def forward(self, frame: Tensor) -> Tensor:
        logits: Tensor = self.second(F.relu(self.first(planes(frame, self.get_buffer("scale")))))
        return logits.argmax(1).to(torch.uint8)


class _DeepNet(nn.Module):  # type: ignore[misc]
    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.register_buffer("scale", weights["scale"])
        self.enter = convolution(weights["w_in"])
        self.layers = nn.ModuleList(convolution(weights[f"w{at}"]) for at in range(len(weights) - 2))

    def forward(self, frame: Tensor) -> Tensor:
        x: Tensor = self.enter(planes(frame, self.get_buffer("scale")))
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return x


class _RunningTotal(nn.Module):  # type: ignore[misc]
    state = (
        TensorSpec(name="total", shape=(None, 4), dtype="float32", layout="BC"),
        TensorSpec(name="calls", shape=(None, 1), dtype="int64", layout="BC"),
    )

    def __init__(self, one: Tensor) -> None:
        super().__init__()
        self.register_buffer("one", one)

    def forward(self, x: Tensor, total: Tensor, calls: Tensor) -> tuple[Tensor, ...]:
        total = x + total
        calls = calls + self.get_buffer("one")
        return total, calls, total, calls  # y and count are the next state itself


class _TwoInputs(nn.Module):  # type: ignore[misc]
    def forward(self, image: Tensor, flow: Tensor) -> Tensor:
        return torch.stack((image.float().mean((1, 2, 3)), flow.mean((1, 2, 3))), 1)


class _FailsOnOddBatches(nn.Module):  # type: ignore[misc]
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(2, -1).reshape(-1, 3)
