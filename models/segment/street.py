"""Street: a 1.3 M parameter segmentation network for 480x360 pictures, made to be quick on a CPU.

An encoder of plain residual blocks (He et al., "Deep Residual Learning", 2016) down to 1/32, a pooling
context there (Hong et al., "Deep Dual-resolution Networks", 2021), and the light ladder decoder of SwiftNet
(Orsic et al., "In Defense of Pre-trained ImageNet Architectures for Real-time Semantic Segmentation", 2019)
up to 1/4. Only dense 3x3 and 1x1 convolutions: a CPU with wide vectors runs them at close to its peak,
which it does not with depthwise ones.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headrace.models.deploy import DeployedSegmentation
from headrace.models.spec import ModelSpec


def conv_bn(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution (same padding) and batch norm."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


def conv_bn_relu(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution (same padding), batch norm and ReLU."""
    return conv_bn(inputs, outputs, kernel, stride).append(nn.ReLU(inplace=True))


def resize_as(x: Tensor, like: Tensor) -> Tensor:
    """Bilinear, to the height and width of `like` (360 is no multiple of 32: doubling would not fit)."""
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


class Residual(nn.Module):
    """Two 3x3 convolutions and a skip; the first one may halve the picture."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = conv_bn_relu(inputs, outputs, 3, stride)
        self.second = conv_bn(outputs, outputs, 3)
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.skip = conv_bn(inputs, outputs, 1, stride)
        nn.init.zeros_(self.second[1].weight)  # each block begins as its skip: quicker to train from scratch

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.skip(x) + self.second(self.first(x)))


def stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    """Residual blocks of which the first one halves the picture."""
    others = (Residual(outputs, outputs) for _ in range(blocks - 1))
    return nn.Sequential(Residual(inputs, outputs, 2), *others)


class PoolingContext(nn.Module):
    """What surrounds each place: means over 5x5, 9x9 and the whole map, brought back and mixed with it."""

    def __init__(self, inputs: int, branch: int, outputs: int) -> None:
        super().__init__()
        self.pools = nn.ModuleList((nn.AvgPool2d(5, 2, 2), nn.AvgPool2d(9, 4, 4)))
        self.shrink = nn.ModuleList(conv_bn_relu(inputs, branch, 1) for _ in self.pools)
        # No batch norm behind the global mean: it would see one value per picture.
        self.whole = nn.Sequential(nn.Conv2d(inputs, branch, 1), nn.ReLU(inplace=True))
        self.mix = conv_bn_relu(inputs + 3 * branch, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = [x]
        for pool, shrink in zip(self.pools, self.shrink, strict=True):
            parts.append(resize_as(shrink(pool(x)), x))
        whole = self.whole(x.mean((2, 3), keepdim=True))
        parts.append(whole.expand(-1, -1, x.shape[2], x.shape[3]))
        return self.mix(torch.cat(parts, 1))


class Street(nn.Module):
    """Normalised RGB float (B, 3, H, W) → logits (B, classes, H/4, W/4).

    `forward_training` also gives the logits of two auxiliary heads, at 1/8 and 1/16, that only training uses.
    """

    def __init__(self, classes: int = 11) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_bn_relu(3, 16, 3, 2), conv_bn_relu(16, 32, 3, 2))  # 1/2, 1/4
        self.stage4 = Residual(32, 32)
        self.stage8 = stage(32, 64, 2)
        self.stage16 = stage(64, 96, 3)
        self.stage32 = stage(96, 128, 2)
        self.context = PoolingContext(128, 48, 64)
        self.lateral16 = conv_bn_relu(96, 64, 1)
        self.lateral8 = conv_bn_relu(64, 64, 1)
        self.lateral4 = conv_bn_relu(32, 32, 1)
        self.decode16 = conv_bn_relu(64, 64)
        self.decode8 = conv_bn_relu(64, 32)
        self.decode4 = conv_bn_relu(32, 32)
        self.head4 = nn.Conv2d(32, classes, 1)
        self.head8 = nn.Conv2d(32, classes, 1)
        self.head16 = nn.Conv2d(64, classes, 1)

    def _features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        at4 = self.stage4(self.stem(x))  # (B, 32, H/4, W/4)
        at8 = self.stage8(at4)  # (B, 64, H/8, W/8)
        at16 = self.stage16(at8)  # (B, 96, H/16, W/16)
        at32 = self.context(self.stage32(at16))  # (B, 64, H/32, W/32)
        up16 = self.decode16(resize_as(at32, at16) + self.lateral16(at16))  # (B, 64, H/16, W/16)
        up8 = self.decode8(resize_as(up16, at8) + self.lateral8(at8))  # (B, 32, H/8, W/8)
        up4 = self.decode4(resize_as(up8, at4) + self.lateral4(at4))  # (B, 32, H/4, W/4)
        return up4, up8, up16

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head4(self._features(x)[0])
        return logits

    def forward_training(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits at 1/4, 1/8 and 1/16."""
        up4, up8, up16 = self._features(x)
        return self.head4(up4), self.head8(up8), self.head16(up16)


def deployed(spec: ModelSpec) -> DeployedSegmentation:
    """Frames → class map, as the description has them, without the heads that only training uses."""
    network = Street(len(spec.labels))
    del network.head8, network.head16
    return DeployedSegmentation(network)
