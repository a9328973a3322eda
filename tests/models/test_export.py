"""Any torch network becomes a file that is proved and clean, or no file at all."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason='torch is not installed: pip install "headrace[models]"')
onnx = pytest.importorskip("onnx", reason='onnx is not installed: pip install "headrace[models]"')
runtime = pytest.importorskip("onnxruntime", reason='onnxruntime is not installed: pip install "headrace[models]"')
pytest.importorskip("onnxscript", reason='onnxscript is not installed: pip install "headrace[models]"')

from torch import Tensor, nn  # noqa: E402

from headrace.models.export import Agreement, ExportError, ExportOptions, export_onnx  # noqa: E402
from headrace.models.graph import read  # noqa: E402
from headrace.models.graph.check import check  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")  # the exporter warns of its own innards
RANDOM = np.random.default_rng(3)


class Remembering(nn.Module):
    """Pixels and what it remembers → classes, scores, and what it remembers next."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mix = nn.Conv2d(3 + 4, 4, 3, padding=1)
        self.head = nn.Conv2d(4, 5, 1)

    def forward(self, frame: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = frame.float().permute(0, 3, 1, 2).contiguous() / 255
        memory = torch.tanh(self.mix(torch.cat((x, memory), 1)))
        logits = self.head(memory)
        mask = logits.argmax(1).to(torch.float32).to(torch.uint8)
        return mask, logits.mean((2, 3)).softmax(1), memory


OUTPUTS = ("mask", "scores", "next_memory")


def examples(count: int = 3) -> dict[str, Any]:
    return {
        "frame": RANDOM.integers(0, 256, (count, 8, 12, 3), dtype=np.uint8),
        "memory": RANDOM.normal(0, 0.5, (count, 4, 8, 12)).astype(np.float32),
    }


class OfPixels(nn.Module):
    """A network of one input, whose forward is given."""

    def __init__(self, forward: Any) -> None:
        super().__init__()
        self._forward = forward

    def forward(self, x: Tensor) -> Any:
        return self._forward(x)


def floats(*shape: int) -> dict[str, Any]:
    return {"x": RANDOM.normal(0, 1, shape).astype(np.float32)}


def ran(file: Path, feeds: dict[str, Any]) -> list[Any]:
    return list(runtime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, feeds))


def test_state_is_named_and_the_batch_is_free(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    network = Remembering()
    found = export_onnx(network, file, feeds=examples(), outputs=OUTPUTS)
    assert isinstance(found, Agreement)
    assert found.share >= 0.999
    assert found.error < 1e-5
    graph = onnx.load(file).graph
    assert [each.name for each in graph.input] == ["frame", "memory"]
    assert [each.name for each in graph.output] == list(OUTPUTS)
    for batch in (1, 2, 5):
        feeds = examples(batch)
        _, scores, memory = ran(file, feeds)
        with torch.inference_mode():
            wanted = network(*(torch.from_numpy(each) for each in feeds.values()))
        np.testing.assert_allclose(scores, wanted[1].numpy(), atol=1e-5)
        np.testing.assert_allclose(memory, wanted[2].numpy(), atol=1e-5)
    assert check(read.load(file)) == []
    assert str(Path(__file__).parents[2]).encode() not in file.read_bytes()


@pytest.mark.parametrize("opset", [18, 19])
def test_a_half_body_has_the_same_ends(opset: int, tmp_path: Path) -> None:
    plain, half = tmp_path / "plain.onnx", tmp_path / "half.onnx"
    network = Remembering()
    export_onnx(network, plain, feeds=examples(), outputs=OUTPUTS)
    export_onnx(network, half, feeds=examples(), outputs=OUTPUTS, options=ExportOptions(opset=opset, half=True))
    model = onnx.load(half)
    assert [each.version for each in model.opset_import] == [opset]
    weights = {each.name: each.data_type for each in model.graph.initializer}
    assert weights["mix.weight"] == onnx.TensorProto.FLOAT16
    feeds = examples(2)
    for got, wanted in zip(ran(half, feeds), ran(plain, feeds), strict=True):
        assert got.dtype == wanted.dtype
        np.testing.assert_allclose(got[1:].astype(float), wanted[1:].astype(float), atol=2e-2 if got.ndim != 3 else 4)


def test_weights_in_a_file_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 64), nn.ReLU(), nn.Linear(64, 5))
    options = ExportOptions(weights_beside=True)
    feeds = floats(3, 3, 4, 4)
    export_onnx(network, file, feeds=feeds, outputs=["y"], options=options)
    (weights,) = read.data_files(file)
    assert sorted(tmp_path.iterdir()) == sorted([file, weights])
    assert weights.stat().st_mode == file.stat().st_mode
    first = ran(file, feeds)[0]
    nn.init.normal_(network[1].weight)
    export_onnx(network, file, feeds=feeds, outputs=["y"], options=options)
    assert read.data_files(file) != [weights]  # named for what is in it, and the old one is gone
    assert len(list(tmp_path.iterdir())) == 2
    assert np.abs(ran(file, feeds)[0] - first).max() > 0.01


@pytest.mark.parametrize(
    ("forward", "problem"),
    [
        (lambda x: nn.functional.interpolate(x, scale_factor=2, mode="bicubic"), "Resize FP32.*cubic"),
        (lambda x: nn.functional.max_pool2d(x, 2, return_indices=True)[0], None),
        (lambda x: x.argmax(1).to(torch.uint8), r"Cast INT64.*UINT8.*torch\.float32"),
        (lambda x: x.double().cumsum(1).float(), "DOUBLE"),
    ],
)
def test_a_graph_that_tensorrt_would_refuse_is_not_written(forward: Any, problem: str | None, tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    network, feeds = OfPixels(forward), floats(3, 4, 8, 8)
    if problem is None:  # nobody reads the indices: the exporter leaves them out
        export_onnx(network, file, feeds=feeds, outputs=["y"])
        assert file.is_file()
        return
    with pytest.raises(ExportError, match=rf"(?s)net\.onnx: TensorRT cannot take it; not written.*{problem}"):
        export_onnx(network, file, feeds=feeds, outputs=["y"])
    assert not list(tmp_path.iterdir())


def test_a_term_that_the_exporter_drops_shows_on_a_still_scene(tmp_path: Path) -> None:
    """torch 2.15 takes an addition of 1e-8 for one of 0: on noise nobody would see it."""
    network = OfPixels(lambda x: ((x.square().mean((1, 2, 3)) + 1e-8).sqrt() + 1e-5).log())
    with pytest.raises(ExportError, match=r"off from torch by 0\.2"):
        export_onnx(network, tmp_path / "net.onnx", feeds=floats(3, 3, 4, 4), outputs=["y"])


def test_a_file_that_stood_there_stays_where_an_export_fails(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(b"the network of yesterday")
    with pytest.raises(ExportError):
        export_onnx(OfPixels(lambda x: x.argmax(1).to(torch.uint8)), file, feeds=floats(3, 4, 2, 2), outputs=["y"])
    assert file.read_bytes() == b"the network of yesterday"


@pytest.mark.parametrize(
    ("feeds", "outputs", "problem"),
    [
        (floats(2, 3), ["y"], "three or more"),
        ({}, ["y"], "three or more"),
        ({**floats(3, 3), "z": np.zeros((4, 3), np.float32)}, ["y"], "as many of each"),
        (floats(3, 3), ["y", "next_memory"], "'next_memory' is the next value of no input; inputs: x"),
    ],
)
def test_what_cannot_be_exported_is_said_at_once(feeds: Any, outputs: Any, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=problem):
        export_onnx(nn.ReLU(), tmp_path / "net.onnx", feeds=feeds, outputs=outputs)


def test_only_opsets_that_every_engine_reads() -> None:
    with pytest.raises(ValueError, match="opset: got 20, allowed: 18 or 19"):
        ExportOptions(opset=20)


@pytest.mark.slow
def test_a_network_of_torchvision_is_clean(tmp_path: Path) -> None:
    vision = pytest.importorskip("torchvision", reason='torchvision is not installed: pip install "headrace[models]"')
    from headrace.models.export import export_segmentation

    network = vision.models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=5)
    export_segmentation(OutOf(network), tmp_path / "net.onnx", size=(96, 64), enlarge=1)
    assert check(read.load(tmp_path / "net.onnx")) == []


class OutOf(nn.Module):
    """torchvision's networks give a dictionary."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)["out"]
        return logits
