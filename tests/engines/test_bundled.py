"""The bundled networks: their files fit their descriptions, and both CPU engines give the same."""

import numpy as np
import pytest

from headrace import models
from headrace.engines import open_engine
from headrace.models import TensorSpec

pytest.importorskip("onnxruntime", reason='ONNX Runtime is not installed: pip install "headrace[onnx]"')


def smooth(tensor: TensorSpec, batch: int) -> np.ndarray:
    """Blobs of colour (or of motion), which a network is surer of than of noise."""
    lengths = [batch if length is None else length for length in tensor.shape]
    numbers = np.random.default_rng(3)
    if "H" not in tensor.layout:
        return numbers.normal(size=lengths).astype(tensor.dtype)
    coarse = numbers.random(
        [-(-n // 40) if axis in "HW" else n for n, axis in zip(lengths, tensor.layout, strict=True)]
    )
    for at in (tensor.layout.index("H"), tensor.layout.index("W")):
        coarse = coarse.repeat(40, axis=at).take(range(lengths[at]), axis=at)
    return (coarse * 255).astype(np.uint8) if tensor.dtype == "uint8" else (coarse - 0.5).astype(tensor.dtype)


@pytest.mark.parametrize("name", models.names())
def test_both_engines_agree(name: str) -> None:
    spec = models.spec(name)
    feeds = {each.name: smooth(each, batch=2) for each in spec.inputs}
    results = []
    for backend in ("openvino", "onnxruntime"):
        with open_engine(name, engine=backend, sessions=1) as engine, engine.session() as session:
            assert engine.info.precision == "fp32"
            results.append(session.infer(feeds))
    for each in spec.outputs:
        one, other = (result[each.name] for result in results)
        assert each.accepts(one.shape)
        assert one.dtype == other.dtype == each.dtype
        if each.dtype == "uint8":
            assert np.mean(one == other) > 0.999  # a pixel whose two best classes tie may fall either way
        else:
            np.testing.assert_allclose(one, other, atol=1e-3, rtol=1e-3)
