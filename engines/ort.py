"""ONNX Runtime on the CPU: one network in memory, run by the threads of its sessions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from headrace.engines.base import Engine, EngineInfo, Precision, Session
from headrace.engines.cores import usable_cores
from headrace.engines.errors import BuildError, InferError, PrecisionError
from headrace.engines.inputs import Array
from headrace.engines.ports import FoundTensor, match_ports
from headrace.models.spec import ModelSpec

_PROVIDER = "CPUExecutionProvider"
_NOT_FOR_INT8 = ["CommonSubexpressionElimination"]
"""It makes one of the Q/DQ pairs of those layers that read the same; then half of them would run in float."""
_NUMPY_NAMES = {"tensor(float)": "float32", "tensor(double)": "float64"}


class OnnxRuntimeEngine(Engine):
    """A network run by ONNX Runtime on the CPU."""

    def __init__(
        self,
        spec: ModelSpec,
        *,
        precision: Precision | None = None,
        sessions: int | None = None,
        threads: int | None = None,
    ) -> None:
        """Load a network.

        Args:
            spec: the network.
            precision: None for what the file has: fp32, or int8 where it is quantized.
            sessions: how many run at once, each with its share of the threads. None: one per core, for the
                most frames per second; 1: all threads on one frame, the shortest time per frame.
            threads: for all sessions together; None for one per core.

        Raises:
            PrecisionError: the file is not of that precision.
            BuildError: the file is missing, broken or not supported, or does not fit its description.
        """
        threads = threads or usable_cores()
        sessions = min(sessions or threads, threads)
        ran = _file_precision(spec.weights.file)
        if precision not in (None, ran):
            raise PrecisionError(
                f"{spec.weights.file}: asked for {precision}; onnxruntime runs it on the CPU in {ran}"
            )
        self._network: Any = _load(spec.weights.file, threads // sessions, quantized=ran == "int8")
        inputs, outputs = self._network.get_inputs(), self._network.get_outputs()
        ports = match_ports(spec, [_found(each) for each in inputs], [_found(each) for each in outputs])
        info = EngineInfo(backend="onnxruntime", version=onnxruntime.__version__, device="CPU", precision=ran)
        super().__init__(spec, ports, info, sessions)

    def _open_session(self) -> Session:
        return _OnnxRuntimeSession(self, self._network)

    def _release(self) -> None:
        self._network = None


class _OnnxRuntimeSession(Session):
    # One InferenceSession serves all: many threads may call its run(), and its results are new arrays.

    def __init__(self, engine: OnnxRuntimeEngine, network: Any) -> None:
        super().__init__(engine)
        self._network = network

    def _run(self, feeds: Mapping[str, Array], wanted: tuple[str, ...]) -> dict[str, Array]:
        try:
            return dict(zip(wanted, self._network.run(wanted, feeds), strict=True))
        except Exception as error:  # onnxruntime's classes have no common base below Exception
            raise InferError(f"{self._engine.spec.name} on onnxruntime: {error}") from error

    def _release(self) -> None:
        self._network = None


def _load(file: Path, threads: int, *, quantized: bool) -> Any:
    if not file.is_file():
        raise BuildError(f"{file}: no such file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Idle workers that spin would take the cores from decoding and drawing.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        skipped = _NOT_FOR_INT8 if quantized else []
        return onnxruntime.InferenceSession(file, options, providers=[_PROVIDER], disabled_optimizers=skipped)
    except Exception as error:  # onnxruntime's classes have no common base below Exception
        raise BuildError(f"{file}: onnxruntime cannot load it: {error}") from error


def _file_precision(file: Path) -> Precision:
    """int8 for a quantized file: operator names stand in an ONNX file as they are."""
    if not file.is_file():
        raise BuildError(f"{file}: no such file")
    return "int8" if b"QuantizeLinear" in file.read_bytes() else "fp32"


def _found(port: Any) -> FoundTensor:
    kind = port.type
    name = _NUMPY_NAMES.get(kind) or kind.removeprefix("tensor(").removesuffix(")")
    shape = tuple(length if isinstance(length, int) else None for length in port.shape)
    return FoundTensor(name=port.name, shape=shape, dtype=_dtype_name(name))


def _dtype_name(name: str) -> str:
    try:
        return np.dtype(name).name
    except TypeError:  # sequences, strings, bfloat16: no description can name them
        return name
