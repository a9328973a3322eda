"""TensorRT itself on a GPU: what no double can show. `make test-gpu` runs it on the first machine that has both."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contracts import EngineContract
from peers import missing

from headrace.engines import BuildError, Engine, open_engine, verdicts
from headrace.engines.base import Precision
from headrace.engines.candidate import Candidate
from headrace.engines.choice import choose
from headrace.engines.nvidia import look
from headrace.engines.proof import prove
from headrace.engines.variants import make_int8
from headrace.models import catalog
from headrace.models.spec import ModelSpec
from headrace.stream import Pipeline
from headrace.stream.footage import feeds

pytestmark = pytest.mark.gpu
NETWORKS = catalog.names()


@pytest.fixture(autouse=True)
def _hardware() -> None:
    found = look()
    if found.trouble is not None:
        missing(found.trouble)
    for misfit in found.misfits():
        missing(misfit)


def tensorrt(spec: ModelSpec, **options: Any) -> Any:
    """The engine with exact float32: TF32 would hide a wrong sum behind its rounding."""
    from headrace.engines.trt.engine import TensorRtEngine
    from headrace.engines.trt.options import BuildOptions

    return TensorRtEngine(spec, options=BuildOptions(tf32=False), **options)


class TestTensorRt(EngineContract):
    backend = "tensorrt"

    def open(self, spec: ModelSpec, **options: Any) -> Engine:
        return tensorrt(spec, **options)

    def test_a_run_that_fails(self, tmp_path: Path) -> None:
        """TensorRT may find out sooner: it tries the shortest and the longest batch while it builds."""
        with suppress(BuildError):
            super().test_a_run_that_fails(tmp_path)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_bundled_network_gives_what_its_reference_gives(
    name: str, precision: Precision, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = catalog.spec(name)
    footage = feeds(spec, None, 16)
    if precision == "int8":
        make_int8(spec, footage)
    (proof,) = prove(spec, footage, [Candidate(engine="tensorrt", precision=precision)])
    with capsys.disabled():
        print(f"\n{name} {proof.candidate}: {proof.verdict}, {proof.reason}; {proof.device}")
    assert proof.verdict in ("proven", "slower"), proof.reason


@pytest.mark.parametrize("name", NETWORKS)
def test_every_batch_length_runs_as_a_graph(name: str) -> None:
    spec = catalog.spec(name)
    footage = feeds(spec, None, 3)
    with tensorrt(spec) as engine, engine.session() as session, open_engine(name, engine="openvino") as reference:
        with reference.session() as known:
            for length in (1, 2, 3):
                given = {key: np.concatenate([each[key] for each in footage[:length]]) for key in footage[0]}
                for _ in range(3):  # plain, recorded, launched
                    got = session.infer(given)
                want = known.infer(given)
                for output, array in want.items():
                    if array.dtype == np.uint8:
                        assert (got[output] == array).mean() > 0.999
                    else:
                        np.testing.assert_allclose(got[output], array, atol=1e-3)
        assert engine.notes == []


def test_layers_and_their_times_can_be_read() -> None:
    from headrace.engines.trt import inspect

    spec = catalog.spec("street")
    with tensorrt(spec) as engine:
        assert len(inspect.layers(engine)) > 10
        times_ms = inspect.layer_times_ms(engine, feeds(spec, None, 1)[0])
    assert len(times_ms) > 10
    assert all(each >= 0 for each in times_ms.values())


def test_a_pipeline_takes_what_was_proven() -> None:
    spec = catalog.spec("street")
    verdicts.keep(spec, prove(spec, feeds(spec, None, 8)))
    chosen = choose(spec)
    with Pipeline(["scene:street?seconds=2&seed=1", "scene:street?seconds=2&seed=2"], segment="street") as pipeline:
        results = list(pipeline)
        ran = pipeline.networks["street"].engine.backend
    assert len(results) == 100
    assert ran == chosen.engine
