"""ONNX Runtime on the CPU or, where its package has them, by CUDA or TensorRT: one network for all sessions."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from headrace.engines import ort_tensorrt
from headrace.engines.base import Engine, EngineInfo, Precision, Session
from headrace.engines.cores import usable_cores
from headrace.engines.errors import BuildError, InferError, MissingBackendError, PrecisionError
from headrace.engines.inputs import Array
from headrace.engines.ort_layers import Layer, check_provider, examples, precision_of, read_profile
from headrace.engines.ports import FoundTensor, match_ports
from headrace.models.quiet_onnxruntime import onnxruntime
from headrace.models.spec import ModelSpec

Provider = Literal["cpu", "cuda", "tensorrt"]

PROVIDERS: dict[Provider, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_GPU_SESSIONS = 2
"""One session's copies go on while the other one computes."""
_NOT_ON_CPU = ["CommonSubexpressionElimination"]
"""It merges the Q/DQ pairs of layers that read the same tensor: half of a quantized network would then run in float."""
_NUMPY_NAMES = {"tensor(float)": "float32", "tensor(double)": "float64"}


class OnnxRuntimeEngine(Engine):
    """A network run by ONNX Runtime."""

    def __init__(
        self,
        spec: ModelSpec,
        *,
        precision: Precision | None = None,
        sessions: int | None = None,
        threads: int | None = None,
        provider: Provider = "cpu",
    ) -> None:
        """Load a network and run it once, to see what its layers run in, and where.

        Args:
            spec: the network.
            precision: None for what the file has. A CPU that computes an fp16 file in fp32 says so in `info`.
            sessions: how many run at once, each with its share of the threads. None: one per core, for the
                most frames per second, or two on a GPU; 1: all threads on one frame, the shortest time per frame.
            threads: for all sessions together; None for one per core.
            provider: what computes; "tensorrt" compiles for minutes the first time.

        Raises:
            PrecisionError: the file is not of that precision, or does not run in it here.
            MissingBackendError: this onnxruntime has not got the provider, or not the libraries that it needs.
            BuildError: the file is missing, broken or not supported, does not fit its description, or would
                partly run elsewhere than on the provider.
        """
        file = spec.weights.file
        if problem := trouble(provider):
            raise MissingBackendError(problem)
        threads = threads or usable_cores()
        if provider == "cpu":
            sessions = min(sessions or threads, threads)
        sessions = sessions or _GPU_SESSIONS
        self._network, ran = _loaded(file, provider, threads // sessions or 1)
        if precision not in (None, ran):
            where = "the CPU" if provider == "cpu" else PROVIDERS[provider]
            raise PrecisionError(f"{file}: asked for {precision}; onnxruntime runs it on {where} in {ran}")
        inputs, outputs = self._network.get_inputs(), self._network.get_outputs()
        ports = match_ports(spec, [_found(each) for each in inputs], [_found(each) for each in outputs])
        info = EngineInfo(
            backend="onnxruntime" if provider == "cpu" else f"onnxruntime:{provider}",
            version=onnxruntime.__version__,
            device="CPU" if provider == "cpu" else "GPU 0",
            precision=ran,
        )
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
            raise InferError(f"{self._engine.spec.name} on {self._engine.info.backend}: {error}") from error

    def _release(self) -> None:
        self._network = None


def trouble(provider: Provider) -> str | None:
    """Why this onnxruntime cannot use a provider, and what to do; None where it has it."""
    if provider not in PROVIDERS:
        raise ValueError(f"provider {provider!r}: allowed: {', '.join(PROVIDERS)}")
    here = onnxruntime.get_available_providers()
    if PROVIDERS[provider] in here:
        return None
    return (
        f"onnxruntime {onnxruntime.__version__} has no {PROVIDERS[provider]}, only {', '.join(here)}; install the one"
        " that has, in its place: pip uninstall onnxruntime; pip install onnxruntime-gpu"
    )


def _loaded(file: Path, provider: Provider, threads: int) -> tuple[Any, Precision]:
    """A network, and what it was seen to run in."""
    if not file.is_file():
        raise BuildError(f"{file}: no such file")
    with tempfile.TemporaryDirectory(prefix="headrace-", ignore_cleanup_errors=True) as folder:
        network = _load(file, provider, _options(threads, Path(folder) / "run"))
        _check_providers(network.get_providers(), provider)
        ran = _watched(network)
    if provider == "tensorrt":  # what it has compiled shows as one layer
        check_provider(file, ran, PROVIDERS[provider])
        return network, ort_tensorrt.file_precision(file)
    if provider == "cuda":
        check_provider(file, ran, PROVIDERS[provider])
    return network, precision_of(file, ran)


def _load(file: Path, provider: Provider, options: Any) -> Any:
    rest: list[Any] = [PROVIDERS["cpu"]]  # for what is no layer: shapes and the like
    if provider != "cpu":
        rest.insert(0, (PROVIDERS["cuda"], {"device_id": 0, "use_tf32": 0}))
    if provider == "tensorrt":
        rest.insert(0, (PROVIDERS["tensorrt"], ort_tensorrt.options(file)))
    without = {"disabled_optimizers": _NOT_ON_CPU} if provider == "cpu" else {}
    try:
        # Its own fallback would go on on the CPU, now or in mid-stream, and print so among our results.
        return onnxruntime.InferenceSession(file, options, providers=rest, enable_fallback=0, **without)
    except Exception as error:  # onnxruntime's classes have no common base below Exception
        raise BuildError(f"{file}: onnxruntime cannot load it: {error}") from error


def _options(threads: int, profile: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised: they need not be written on stderr too
    # Idle workers that spin would take the cores from decoding and drawing.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_profiling = True  # of the first run; see _watched
    options.profile_file_prefix = str(profile)
    return options


def _check_providers(taken: list[str], provider: Provider) -> None:
    if PROVIDERS[provider] not in taken:
        raise MissingBackendError(
            f"onnxruntime has dropped {PROVIDERS[provider]} without a word and would run on {', '.join(taken)}: CUDA,"
            " cuDNN or TensorRT is missing here or of another version than it needs; see onnxruntime.ai/docs,"
            " Execution Providers"
        )


def _watched(network: Any) -> list[Layer]:
    """The layers of a first run, on zeros; from then on nothing is recorded."""
    inputs = [_found(each) for each in network.get_inputs()]
    for rows in (1, 2):
        try:
            network.run(None, examples(inputs, rows))
            break
        except Exception:  # of a network that does not take that many: a caller's own batch will tell
            continue
    return read_profile(Path(network.end_profiling()))


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
