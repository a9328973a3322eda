"""Looking into a plan: its layers, the time that each takes, and new weights for it."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from headrace.engines.batches import Part, shape_for
from headrace.engines.errors import BuildError
from headrace.engines.inputs import Array, InputCheck
from headrace.engines.trt.callbacks import LayerTimes
from headrace.engines.trt.engine import TensorRtEngine
from headrace.engines.trt.lane import Run
from headrace.engines.trt.library import trt
from headrace.engines.trt.onnx_file import OnnxFile
from headrace.engines.trt.plan import Plan
from headrace.engines.trt.plan import refit as refit_engine


def layers(engine: TensorRtEngine) -> list[dict[str, Any]]:
    """The layers of the built network as TensorRT tells them: name, type, formats, the kernel that was chosen.

    They are not the operators of the file: TensorRT fuses many into one.
    """
    return engine.device.run(partial(_layers, engine.plan))


def layer_times_ms(engine: TensorRtEngine, feeds: Mapping[str, Array], *, runs: int = 10) -> dict[str, float]:
    """Milliseconds of each layer, the mean over `runs` runs of this batch, in the order of the network.

    The runs are made without a CUDA graph and with a pause between layers: their sum is more than a frame takes.

    Args:
        feeds: all inputs, with a batch that the plan takes in one run; a state is zeros.

    Raises:
        EngineInputError: an array does not fit.
        ValueError: `runs` is below 1.
        InferError: the network failed.
    """
    if runs < 1:
        raise ValueError(f"runs: got {runs}, allowed: 1 or more")
    check = InputCheck(engine.spec.name, engine.inputs)
    check(feeds)
    state = {each.name: np.zeros(shape_for(each, check.batch), each.dtype) for each in engine.state}
    part = Part(0, check.batch, check.batch)
    times = LayerTimes()
    lane = engine.lane(times)
    try:
        for _ in range(runs):
            engine.device.start(Run(lane, {**feeds, **state}, part, ())).result()
    finally:
        engine.device.release(lane.close)
    return {name: total / runs for name, total in times.ms.items()}


def refit(engine: TensorRtEngine, file: Path) -> None:
    """Give a plan that was built with `refit=True` the weights of another file of the same graph.

    What is kept in the cache stays as it is. No session may be open: its graphs were made for the old weights.

    Raises:
        BuildError: a session is open, the plan takes no new weights, or the file is not of the same graph.
    """
    weights = OnnxFile(file).to_bytes()
    if engine.open_sessions:
        raise BuildError(f"{engine.spec.name}: got {engine.open_sessions} open sessions; close them before a refit")
    engine.device.run(partial(_refit, engine.plan, weights, file))


def _refit(plan: Plan, weights: bytes, file: Path) -> None:
    try:
        refit_engine(plan.engine, weights, plan.log)
    except BuildError as error:
        raise BuildError(f"{file}: {error}") from error


def _layers(plan: Plan) -> list[dict[str, Any]]:
    inspector = plan.engine.create_engine_inspector()
    told = json.loads(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
    # A plan that was built without details has names alone.
    return [each if isinstance(each, dict) else {"Name": each} for each in told["Layers"]]
