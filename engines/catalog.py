"""The engines by name: what runs a network, what is installed here, and how a network is opened."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import Any, Literal, get_args

from headrace.engines.base import Engine, Precision
from headrace.engines.errors import MissingBackendError, PrecisionError, UnknownEngineError
from headrace.models import catalog as models
from headrace.models.spec import ModelSpec

Told = Callable[[str], None]
Cancelled = Callable[[], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """How one engine is brought in."""

    load: Callable[[], Callable[..., Engine]]
    """Imports the engine's class; fails with ImportError where its library is missing."""
    packages: tuple[str, ...]
    """What pip calls its library; the first that is installed tells the version."""
    module: str
    """What Python calls it."""
    install: str
    """The line that brings the library."""
    precisions: tuple[Precision, ...]
    """What is tried here, most precise first."""
    by_file: bool = True
    """Whether a file of each precision is what makes it run in that; else it computes the one file as it is told."""
    keywords: Mapping[str, Any] = field(default_factory=dict)
    """What its class is given beside the network."""
    on: Literal["cpu", "gpu"] = "cpu"
    trouble: Callable[[], str | None] = lambda: None
    """Where the library is installed: why its device cannot be used here, and what to do; None where it can. Fails
    with ImportError where the library does not load."""
    when_named: bool = False
    """Tried only where it is named: it compiles for a minute each time it is opened, and nothing keeps what it made."""
    stoppable: bool = True
    """Whether opening it takes moments, or can be broken off. What cannot is never built beside a running pipeline,
    which could not end before."""
    options: Callable[[], Callable[..., Any]] | None = None
    """For an engine that compiles for minutes the first time: imports the class of its options. Such an engine is
    also given `build`, `progress` and `cancelled`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """Whether an engine works here."""

    version: str | None
    """The library's version; None where it does not load."""
    reason: str | None
    """Why it does not work, with what to do; None where it does."""

    def __str__(self) -> str:
        return self.reason or self.version or ""


def _tensorrt() -> Callable[..., Engine]:
    from headrace.engines.trt.engine import TensorRtEngine
    from headrace.engines.trt.library import require_supported

    require_supported()
    return TensorRtEngine


def _tensorrt_options() -> Callable[..., Any]:
    from headrace.engines.trt.options import BuildOptions

    return BuildOptions


def _openvino() -> Callable[..., Engine]:
    from headrace.engines.ov import OpenVinoEngine

    return OpenVinoEngine


def _onnxruntime() -> Callable[..., Engine]:
    from headrace.engines.ort import OnnxRuntimeEngine

    return OnnxRuntimeEngine


def _torch() -> Callable[..., Engine]:
    from headrace.engines.th import TorchEngine

    return TorchEngine


def _no_device() -> str | None:
    from headrace.engines.cuda import trouble

    return trouble()


def _no_gpu() -> str | None:
    from headrace.engines.nvidia import look

    return look().trouble


def _no_provider(name: Literal["cuda", "tensorrt"]) -> str | None:
    if (reason := _no_gpu()) is not None:
        return reason
    from headrace.engines.ort import trouble

    return trouble(name)


def _no_torch_cuda() -> str | None:
    if (reason := _no_gpu()) is not None:
        return reason
    from headrace.engines.th import trouble

    return trouble()


_HEADRACE, _ONNX = 'pip install "headrace"', 'pip install "headrace[onnx]"'
_TENSORRT, _MODELS = 'pip install "headrace[tensorrt]"', 'pip install "headrace[models]"'
_ORT_PACKAGES = ("onnxruntime-gpu", "onnxruntime")

BACKENDS: dict[str, Backend] = {
    "tensorrt": Backend(
        load=_tensorrt,
        packages=("tensorrt", "tensorrt_cu13", "tensorrt_cu12"),
        module="tensorrt",
        install=_TENSORRT,
        precisions=("fp32", "fp16", "int8"),
        on="gpu",
        trouble=_no_device,
        options=_tensorrt_options,
    ),
    "openvino": Backend(
        load=_openvino,
        packages=("openvino",),
        module="openvino",
        install=_HEADRACE,
        precisions=("fp32", "fp16", "bf16", "int8"),
    ),
    "onnxruntime": Backend(
        load=_onnxruntime,
        packages=_ORT_PACKAGES,
        module="onnxruntime",
        install=_ONNX,
        precisions=("fp32", "fp16", "int8"),
    ),
    "onnxruntime:cuda": Backend(
        load=_onnxruntime,
        packages=_ORT_PACKAGES,
        module="onnxruntime",
        install=_ONNX,
        precisions=("fp32", "fp16"),
        keywords={"provider": "cuda"},
        on="gpu",
        trouble=lambda: _no_provider("cuda"),
    ),
    "onnxruntime:tensorrt": Backend(
        load=_onnxruntime,
        packages=_ORT_PACKAGES,
        module="onnxruntime",
        install=_ONNX,
        precisions=("fp32", "fp16", "int8"),
        keywords={"provider": "tensorrt"},
        on="gpu",
        stoppable=False,
        trouble=lambda: _no_provider("tensorrt"),
    ),
    "torch": Backend(
        load=_torch,
        packages=("torch",),
        module="torch",
        by_file=False,
        install=_MODELS,
        precisions=("fp32", "bf16"),
    ),
    "torch:compile": Backend(
        load=_torch,
        packages=("torch",),
        module="torch",
        by_file=False,
        install=_MODELS,
        precisions=("fp32", "bf16"),
        keywords={"mode": "compile"},
        when_named=True,
    ),
    "torch:cuda": Backend(
        load=_torch,
        packages=("torch",),
        module="torch",
        by_file=False,
        install=_MODELS,
        precisions=("fp32", "fp16", "bf16"),
        keywords={"device": "cuda"},
        on="gpu",
        trouble=_no_torch_cuda,
    ),
}

DEFAULTS = ("openvino", "onnxruntime", "torch")
"""What runs a network of which nothing is proven here: the first of these that loads."""


def open_engine(
    model: str | ModelSpec,
    *,
    engine: str = "auto",
    precision: Precision | Literal["auto"] = "auto",
    sessions: int | None = None,
) -> Engine:
    """Compile a network for this machine. Why it runs as it does is in the engine's `why`, as one line.

    Args:
        model: a bundled network's name, the path of an ONNX file with its description beside it, or a
            description.
        engine: "auto" takes the fastest that was proven here (see `headrace prove`); where none was, the first
            of `DEFAULTS` that loads. A name of `BACKENDS` is taken whatever its proof says; `why` then warns.
        precision: "auto" takes the engine's fastest proven one, or what the file has where none is.
        sessions: how many run at once. None: one per core, for the most frames per second; 1: all cores on
            one frame, for the shortest time per frame.

    Raises:
        UnknownModelError: no network of that name.
        UnknownEngineError: no engine of that name.
        MissingBackendError: its library is not installed; the message has the line that installs it.
        PrecisionError: the engine cannot run that precision here.
        BuildError: the network's file is missing, broken, not supported, or does not fit its description.
    """
    check_names(engine, precision)
    if sessions is not None and sessions < 1:
        raise ValueError(f"sessions: got {sessions}, allowed: 1 or more, or None for one per core")
    from headrace.engines.choice import open_chosen

    spec = models.spec(model) if isinstance(model, str) else model
    return open_chosen(spec, engine=engine, precision=precision, sessions=sessions)


def check_names(engine: str, precision: str) -> None:
    """Raise `UnknownEngineError` or `PrecisionError` (both `ValueError`) for a name that there is not."""
    if engine != "auto" and engine not in BACKENDS:
        raise UnknownEngineError(f"engine {engine!r} is not known; allowed: auto, {', '.join(BACKENDS)}")
    if precision != "auto" and precision not in get_args(Precision):
        allowed = ", ".join(get_args(Precision))
        raise PrecisionError(f"precision {precision!r} is not known; allowed: auto, {allowed}")


def load(name: str) -> Callable[..., Engine]:
    """The class of an engine.

    Raises:
        MissingBackendError: its library is not installed or does not load.
    """
    try:
        return BACKENDS[name].load()
    except ImportError as error:
        raise MissingBackendError(
            f"engine {name!r} does not load ({error}); install it with: {BACKENDS[name].install}"
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Building:
    """What goes for engines that compile for minutes; the others are ready at once."""

    allowed: bool = True
    """Whether to compile where nothing is kept; else `NotBuiltError`."""
    progress: Callable[..., None] | None = None
    """Hears how far it is."""
    cancelled: Cancelled = lambda: False
    """Asked again and again; where it says so, CancelledError is raised and nothing is kept."""


def compile_engine(
    spec: ModelSpec,
    name: str,
    precision: Precision | None,
    *,
    sessions: int | None = None,
    options: Sequence[tuple[str, Any]] = (),
    building: Building = Building(),
) -> Engine:
    """Open one engine, whatever is known of it.

    Args:
        name: of `BACKENDS`.
        precision: None for what the network's own file has; else the file of that precision runs.
        options: of an engine that compiles for minutes, by name.

    Raises:
        EngineError, ModelError: as `open_engine`; CancelledError where `building.cancelled` said so.
    """
    from headrace.engines.variants import variant

    build = load(name)
    row = BACKENDS[name]
    network = variant(spec, precision) if precision is not None and row.by_file else spec
    more: dict[str, Any] = {}
    if row.options is not None:
        more = {
            "options": row.options()(**dict(options)),
            "build": building.allowed,
            "progress": building.progress,
            "cancelled": building.cancelled,
        }
    return build(network, precision=precision, sessions=sessions, **row.keywords, **more)


def default_engine() -> str:
    """What runs a network of which nothing is proven here: the first of `DEFAULTS` that loads.

    Raises:
        MissingBackendError: none does.
    """
    reasons = []
    for name in DEFAULTS:
        try:
            load(name)
            return name
        except MissingBackendError as error:
            reasons.append(str(error))
    raise MissingBackendError("no engine works here: " + "; ".join(reasons))


def version(name: str) -> str:
    """The version of an engine's library, without loading it where pip knows it; empty where it is not installed."""
    row = BACKENDS[name]
    for package in row.packages:
        try:
            return installed(package)
        except PackageNotFoundError:
            continue
    try:
        return str(getattr(import_module(row.module), "__version__", ""))
    except ImportError:
        return ""


def available() -> dict[str, Availability]:
    """Each engine with its version, or with why it does not work here."""
    return {name: availability(name) for name in BACKENDS}


def availability(name: str) -> Availability:
    """Whether one engine works here: its library is loaded and its device asked."""
    try:
        load(name)
    except MissingBackendError as error:
        return Availability(version=None, reason=str(error))
    return Availability(version=version(name), reason=BACKENDS[name].trouble())
