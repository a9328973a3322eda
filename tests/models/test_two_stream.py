"""The two-stream network: shapes, what it must not see, and that its ONNX file does what torch does."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'headrace[models]'")

from headrace.models.action.two_stream import (  # noqa: E402
    BOUND_PX,
    SpatialStream,
    TemporalStream,
    TwoStream,
    small_fields,
    small_images,
    without_camera_motion,
)
from headrace.models.spec import ClipSpec  # noqa: E402

CLIP = ClipSpec(length_s=2.0, spacing_s=0.1, hop_s=0.5, size=(96, 96), images_at=(3, 10, 17))


@pytest.fixture(scope="module")
def network() -> TwoStream:
    torch.manual_seed(0)
    return TwoStream(SpatialStream(3), TemporalStream(3), spatial_share=0.3).eval()


def clip(batch: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (batch, 3, 96, 96, 3), dtype=np.uint8)
    flows = random.normal(0, 2, (batch, 20, 96, 96, 2)).astype(np.float32)
    return torch.from_numpy(images), torch.from_numpy(flows)


def test_it_stays_below_two_million_parameters(network: TwoStream) -> None:
    assert sum(each.numel() for each in network.parameters()) < 2_000_000


def test_three_probabilities_that_sum_to_one(network: TwoStream) -> None:
    with torch.inference_mode():
        both, rgb, flow = network(*clip(2))
    for scores in (both, rgb, flow):
        assert scores.shape == (2, 3)
        assert scores.sum(1).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert torch.allclose(both, 0.3 * rgb + 0.7 * flow, atol=1e-6)


def test_each_stream_sees_only_its_own(network: TwoStream) -> None:
    images, flows = clip(1)
    other_images, other_flows = clip(1, seed=1)
    with torch.inference_mode():
        _, rgb, flow = network(images, flows)
        assert torch.equal(network(images, other_flows)[1], rgb)
        assert torch.equal(network(other_images, flows)[2], flow)
        assert not torch.equal(network(images, other_flows)[2], flow)
        assert not torch.equal(network(other_images, flows)[1], rgb)


def test_a_clip_does_not_depend_on_its_batch(network: TwoStream) -> None:
    images, flows = clip(3)
    with torch.inference_mode():
        together = network(images, flows)[0]
        alone = torch.cat([network(images[n : n + 1], flows[n : n + 1])[0] for n in range(3)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_a_turning_camera_changes_little(network: TwoStream) -> None:
    _, flows = clip(1)
    people = torch.zeros_like(flows)
    people[:, :, 40:60, 40:60] = flows[:, :, 40:60, 40:60]
    fields = small_fields(people)
    left = without_camera_motion(fields) - without_camera_motion(fields + torch.tensor([1.5, -0.5]).view(2, 1, 1))
    assert left.abs().max() < 0.15


def test_motion_is_bounded() -> None:
    torch.manual_seed(0)
    stream = TemporalStream(3).eval()
    field = torch.zeros(1, 20, 2, 48, 48)
    field[:, :, :, 20:24, 20:24] = 3 * BOUND_PX
    with torch.inference_mode():
        fast = stream(field)
        field[:, :, :, 20:24, 20:24] = 30 * BOUND_PX
        assert torch.allclose(stream(field), fast, atol=0.05)


def test_brightness_and_contrast_are_taken_out() -> None:
    torch.manual_seed(0)
    stream = SpatialStream(3).eval()
    images = small_images(clip(1)[0]).lerp(torch.full((), 0.5), 0.3)
    with torch.inference_mode():
        assert torch.allclose(stream(images), stream(images * 0.7 + 0.1), atol=0.05)


def test_every_parameter_learns(network: TwoStream) -> None:
    torch.manual_seed(0)
    fresh = TwoStream(SpatialStream(3), TemporalStream(3), spatial_share=0.3).train()
    _, rgb, flow = fresh(*clip(2))
    (rgb[:, 0] + flow[:, 1]).sum().backward()
    assert not [name for name, each in fresh.named_parameters() if each.grad is None or not each.grad.any()]


def test_export_gives_torch_s_answers(network: TwoStream, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'headrace[models]'")
    from headrace.models.export import SCORES, export_two_stream

    file = tmp_path / "net.onnx"
    assert export_two_stream(network, file, CLIP) < 1e-4
    graph = onnx.load(file).graph
    assert [each.name for each in graph.input] == ["images", "flows"]
    assert tuple(each.name for each in graph.output) == SCORES
    shapes = [[axis.dim_value for axis in each.type.tensor_type.shape.dim] for each in graph.input]
    assert shapes == [[0, 3, 96, 96, 3], [0, 20, 96, 96, 2]]
    readers = [node.op_type for node in graph.node if "images" in node.input]
    assert readers == ["Cast"], "TensorRT takes nothing but a cast of uint8"


def test_a_wrong_export_is_not_written(network: TwoStream, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'headrace[models]'")
    from headrace.models.export import ExportError, export_two_stream

    class Drifting(torch.nn.Module):
        """Answers otherwise each time it runs, as a network with dropout left on does."""

        def forward(self, images: torch.Tensor, flows: torch.Tensor) -> tuple[torch.Tensor, ...]:
            noise = torch.rand(images.shape[0], 3) + images.float().mean() + flows.mean()
            return noise, noise * 2, noise * 3

    with pytest.raises(ExportError, match="off from torch"):
        export_two_stream(Drifting(), tmp_path / "net.onnx", replace(CLIP, size=(16, 16)))
    assert not list(tmp_path.iterdir())
