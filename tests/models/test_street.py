"""The street network: its size, its shapes, its class map, and that its ONNX file does what torch does."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'headrace[models]'")

from headrace.models.deploy import DeployedSegmentation, class_map, normalise  # noqa: E402
from headrace.models.segment.street import Street  # noqa: E402


@pytest.fixture(scope="module")
def network() -> Street:
    torch.manual_seed(0)
    built: Street = Street(classes=11).eval()
    return built


def test_it_stays_below_two_million_parameters(network: Street) -> None:
    assert sum(each.numel() for each in network.parameters()) < 2_000_000


@pytest.mark.parametrize("size", [(360, 480), (240, 320), (97, 131)])
def test_logits_come_at_a_quarter_of_the_picture(network: Street, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        logits = network(torch.zeros(2, 3, *size))
    assert logits.shape == (2, 11, -(-size[0] // 4), -(-size[1] // 4))


def test_training_sees_three_heads_and_the_first_is_the_network(network: Street) -> None:
    picture = torch.randn(1, 3, 96, 128)
    with torch.inference_mode():
        at4, at8, at16 = network.forward_training(picture)
        assert torch.equal(at4, network(picture))
    assert [tuple(head.shape[2:]) for head in (at4, at8, at16)] == [(24, 32), (12, 16), (6, 8)]


def test_every_parameter_learns() -> None:
    network = Street(classes=11).train()
    for block in network.modules():  # the blocks start as their skips: give their second halves a voice
        if isinstance(block, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(block.weight)
    sum(head.square().mean() for head in network.forward_training(torch.randn(2, 3, 96, 128))).backward()
    still = [name for name, each in network.named_parameters() if each.grad is None or not each.grad.any()]
    assert still == []


def test_far_pixels_matter(network: Street) -> None:
    """The pooling context lets one corner know of the other."""
    torch.manual_seed(1)
    picture = torch.randn(1, 3, 360, 480)
    changed = picture.clone()
    changed[:, :, -32:, -32:] += 3
    with torch.inference_mode():
        assert not torch.equal(network(picture)[..., :8, :8], network(changed)[..., :8, :8])


def test_normalise_takes_the_mean_away() -> None:
    frame = torch.tensor([[[[124, 116, 104], [255, 255, 255]]]], dtype=torch.uint8)
    picture = normalise(frame)
    assert picture.shape == (1, 3, 1, 2)
    assert picture[0, :, 0, 0].abs().max() < 0.01
    torch.testing.assert_close(picture[0, :, 0, 1], torch.tensor([2.2489, 2.4286, 2.6400]), atol=1e-3, rtol=0)


def test_the_class_map_is_argmax() -> None:
    logits = torch.randn(3, 11, 7, 9)
    assert torch.equal(class_map(logits), logits.argmax(1).to(torch.uint8))


def test_of_equal_logits_the_lower_class_wins() -> None:
    logits = torch.tensor([1.0, 5.0, 5.0, 2.0]).view(1, 4, 1, 1)
    assert class_map(logits).item() == 1


def test_deployed_it_maps_frames_to_classes(network: Street) -> None:
    frames = torch.randint(0, 256, (2, 360, 480, 3), dtype=torch.uint8)
    with torch.inference_mode():
        mask = DeployedSegmentation(network)(frames)
    assert mask.dtype == torch.uint8
    assert mask.shape == (2, 180, 240)
    assert int(mask.max()) < 11


@pytest.mark.filterwarnings("default")  # the exporter warns of its own innards
def test_the_exported_file_does_what_torch_does(network: Street, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from headrace.models.export import export_segmentation

    file = tmp_path / "net.onnx"
    assert export_segmentation(network, file, size=(160, 120)) >= 0.999
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]

    assert str(Path(__file__).parents[2]).encode() not in file.read_bytes()  # no paths of this machine
    graph = onnx.load(file)
    assert graph.opset_import[0].version == 18
    readers = [node.op_type for node in graph.graph.node if "frame" in node.input]
    assert readers == ["Cast"]  # TensorRT moves no uint8: it must be cast before anything else
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for batch in (1, 5):
        frames = np.random.default_rng(batch).integers(0, 256, (batch, 120, 160, 3), dtype=np.uint8)
        (mask,) = session.run(["mask"], {"frame": frames})
        assert mask.dtype == np.uint8
        assert mask.shape == (batch, 60, 80)


def test_a_file_that_differs_is_not_written(network: Street, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    from headrace.models import export

    monkeypatch.setattr(torch.onnx, "export", lambda network, args, path, **_: Path(path).write_bytes(b""))
    classes = np.zeros(10, np.uint8)
    monkeypatch.setattr(export, "_answers", lambda *_: iter([(classes, (np.arange(10) == 7).astype(np.uint8))]))
    with pytest.raises(export.ExportError, match=r"net\.onnx: .* only 0\.9000"):
        export.export_segmentation(network, tmp_path / "net.onnx", size=(160, 120))
    assert list(tmp_path.iterdir()) == []
