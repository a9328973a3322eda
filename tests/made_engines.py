"""Rows of `BACKENDS` that are wrong on purpose: a real engine with other weights, slowed, or with other results."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from headrace.engines.base import Engine, Session
from headrace.engines.catalog import Backend
from headrace.engines.inputs import Array
from headrace.engines.ports import Ports
from headrace.models.spec import ModelSpec

Change = Callable[[dict[str, Array]], dict[str, Array]]


class ChangedEngine(Engine):
    """A real engine whose results are changed, or that runs several times for one answer."""

    def __init__(self, inner: Engine, *, change: Change = lambda results: results, runs: int = 1) -> None:
        self.inner, self.change, self.runs = inner, change, runs
        self.closed = False
        ports = Ports(inputs=inner.inputs, outputs=inner.outputs, state=())
        super().__init__(inner.spec, ports, inner.info, inner.sessions)

    def _open_session(self) -> Session:
        return _ChangedSession(self)

    def _release(self) -> None:
        self.closed = True
        self.inner.close()


class _ChangedSession(Session):
    def __init__(self, engine: ChangedEngine) -> None:
        super().__init__(engine)
        self._inner = engine.inner.session()
        self._change, self._runs = engine.change, engine.runs

    def _run(self, feeds: Mapping[str, Array], wanted: tuple[str, ...]) -> dict[str, Array]:
        for _ in range(self._runs - 1):
            self._inner.infer(feeds)
        return self._change(self._inner.infer(feeds, outputs=wanted))

    def _release(self) -> None:
        self._inner.close()


def row(
    made: Callable[[Engine], Engine], *, weights: Callable[[ModelSpec], ModelSpec] = lambda spec: spec
) -> Backend:
    """An engine that is OpenVINO, with a difference.

    Args:
        made: what becomes of the engine.
        weights: what becomes of the network before.
    """

    def build(spec: ModelSpec, **keywords: Any) -> Engine:
        from headrace.engines.ov import OpenVinoEngine

        return made(OpenVinoEngine(weights(spec), **keywords))

    return Backend(
        load=lambda: build,
        packages=("openvino",),
        module="openvino",
        install='pip install "headrace"',
        precisions=("fp32",),
    )


def perturbed(folder: Path, share: float) -> Backend:
    """Its weights are off by a share of their spread."""

    def other(spec: ModelSpec) -> ModelSpec:
        model = onnx.load(spec.weights.file)
        random = np.random.default_rng(5)
        for tensor in model.graph.initializer:
            values = numpy_helper.to_array(tensor)
            if values.dtype == np.float32 and values.ndim > 1:
                noise = random.normal(0, share * values.std(), values.shape).astype(np.float32)
                tensor.CopyFrom(numpy_helper.from_array(values + noise, tensor.name))
        path = folder / f"perturbed-{spec.weights.file.name}"
        onnx.save(model, path)
        return replace(spec, weights=replace(spec.weights, file=path))

    return row(lambda engine: engine, weights=other)


def slowed(runs: int) -> Backend:
    """It runs so many times for one answer."""
    return row(lambda engine: ChangedEngine(engine, runs=runs))


def changed(change: Change) -> Backend:
    """Its results are changed on the way out."""
    return row(lambda engine: ChangedEngine(engine, change=change))
