"""The bundled networks come back as torch modules, and give what their files give."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason='torch is not installed: pip install "headrace[models]"')
onnx = pytest.importorskip("onnx", reason='onnx is not installed: pip install "headrace[models]"')
runtime = pytest.importorskip("onnxruntime", reason='onnxruntime is not installed: pip install "headrace[models]"')

from headrace.models import names, spec  # noqa: E402
from headrace.models.create import NETWORKS, create, fold_batch_norms  # noqa: E402
from headrace.models.errors import BadWeightsError, UnknownModelError  # noqa: E402

RANDOM = np.random.default_rng(1)


def smooth(*shape: int) -> Any:
    """uint8 pictures with areas in them, (..., H, W, C)."""
    *leading, height, width, channels = shape
    coarse = RANDOM.integers(0, 256, (*leading, height // 12, width // 12, channels), dtype=np.uint8)
    return coarse.repeat(12, -3).repeat(12, -2)


FEEDS: dict[str, Any] = {
    "street": {"frame": smooth(2, 360, 480, 3)},
    "two_stream": {
        "images": smooth(4, 3, 96, 96, 3),
        # The last clip is a still scene: there a lost small term would show.
        "flows": (smooth(4, 20, 96, 96, 2).astype(np.float32) / 12 - 10)
        * np.array([1, 1, 0.01, 0])[:, None, None, None, None],
    },
}


@pytest.mark.parametrize("name", NETWORKS)
def test_torch_gives_what_the_file_gives(name: str) -> None:
    feeds = {key: each.astype(np.float32) if key == "flows" else each for key, each in FEEDS[name].items()}
    session = runtime.InferenceSession(spec(name).weights.file, providers=["CPUExecutionProvider"])
    wanted = session.run([each.name for each in spec(name).outputs], feeds)
    with torch.inference_mode():
        given = create(name)(*(torch.from_numpy(feeds[each.name]) for each in spec(name).inputs))
    for ours, theirs in zip([given] if isinstance(given, torch.Tensor) else given, wanted, strict=True):
        if theirs.dtype == np.uint8:
            assert (ours.numpy() == theirs).mean() >= 0.999
        else:
            np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-5)


def test_every_bundled_network_has_a_definition() -> None:
    assert set(names()) <= set(NETWORKS)


def test_without_weights_it_is_as_for_training() -> None:
    network = create("street", weights=False)
    assert any(isinstance(each, torch.nn.BatchNorm2d) for each in network.modules())
    assert not network.training


def test_folding_keeps_the_answers() -> None:
    network = create("street", weights=False)
    for each in network.modules():
        if isinstance(each, torch.nn.BatchNorm2d):
            for values in (each.running_mean, each.weight, each.bias):
                torch.nn.init.normal_(values)
            torch.nn.init.uniform_(each.running_var, 0.5, 2)
    x = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        before = network.network(x)
        fold_batch_norms(network)
        torch.testing.assert_close(network.network(x), before, rtol=1e-3, atol=1e-3)
    assert not any(isinstance(each, torch.nn.BatchNorm2d) for each in network.modules())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda weights: weights.pop("network.head4.bias"), "missing: network.head4.bias"),
        (
            lambda weights: weights.update({"network.head8.bias": np.zeros(11, np.float32)}),
            "not of this network: network.head8.bias",
        ),
        (
            lambda weights: weights.update({"network.head4.bias": np.zeros(19, np.float32)}),
            r"of another shape: network.head4.bias is \(19,\), not \(11,\)",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(change: Any, problem: str, tmp_path: Path) -> None:
    model = onnx.load(spec("street").weights.file)
    weights = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    change(weights)
    del model.graph.initializer[:]
    model.graph.initializer.extend(onnx.numpy_helper.from_array(each, name) for name, each in weights.items())
    onnx.save(model, tmp_path / "street.onnx")
    changed = replace(spec("street"), weights=replace(spec("street").weights, file=tmp_path / "street.onnx"))
    with pytest.raises(BadWeightsError, match=problem):
        create(changed)


def test_an_unknown_definition_is_named() -> None:
    with pytest.raises(
        UnknownModelError, match="no torch definition of network 'mine'; there are: street, two_stream"
    ):
        create(replace(spec("street"), name="mine"))
