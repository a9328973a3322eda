"""The engines by name: what runs a network, and what is installed here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from headrace.engines.base import Engine, Precision
from headrace.engines.errors import MissingBackendError, PrecisionError, UnknownEngineError
from headrace.models import catalog as models
from headrace.models.spec import ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """How one engine is brought in."""

    load: Callable[[], Callable[..., Engine]]
    """Imports the engine's class; fails with ImportError where its library is missing."""
    version: Callable[[], str]
    install: str
    """The line that brings the library."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """Whether an engine works here."""

    version: str | None
    """The library's version; None where it does not load."""
    reason: str | None
    """Why it does not load, with the line that installs it; None where it does."""

    def __str__(self) -> str:
        return self.version or self.reason or ""


def _openvino() -> Callable[..., Engine]:
    from headrace.engines.ov import OpenVinoEngine

    return OpenVinoEngine


def _openvino_version() -> str:
    from headrace.engines.quiet_openvino import openvino

    return str(openvino.__version__).split("-")[0]


def _onnxruntime() -> Callable[..., Engine]:
    from headrace.engines.ort import OnnxRuntimeEngine

    return OnnxRuntimeEngine


def _onnxruntime_version() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)


BACKENDS: dict[str, Backend] = {
    "openvino": Backend(load=_openvino, version=_openvino_version, install='pip install "headrace"'),
    "onnxruntime": Backend(load=_onnxruntime, version=_onnxruntime_version, install='pip install "headrace[onnx]"'),
}
"""In the order in which "auto" tries them."""


def open_engine(
    model: str | ModelSpec,
    *,
    engine: str = "auto",
    precision: Precision | Literal["auto"] = "auto",
    sessions: int | None = None,
) -> Engine:
    """Compile a network for this machine.

    Args:
        model: a bundled network's name, the path of an ONNX file with its description beside it, or a
            description.
        engine: "auto" takes the first of `BACKENDS` that is installed.
        precision: "auto" is fp32 on a CPU, or int8 where the file is quantized.
        sessions: how many run at once. None: one per core, for the most frames per second; 1: all cores on
            one frame, for the shortest time per frame.

    Raises:
        UnknownModelError: no network of that name.
        UnknownEngineError: no engine of that name.
        MissingBackendError: its library is not installed; the message has the line that installs it.
        PrecisionError: the engine cannot run that precision here.
        BuildError: the network's file is missing, broken, not supported, or does not fit its description.
    """
    if engine != "auto" and engine not in BACKENDS:
        raise UnknownEngineError(f"engine {engine!r} is not known; allowed: auto, {', '.join(BACKENDS)}")
    if precision != "auto" and precision not in get_args(Precision):
        allowed = ", ".join(get_args(Precision))
        raise PrecisionError(f"precision {precision!r} is not known; allowed: auto, {allowed}")
    if sessions is not None and sessions < 1:
        raise ValueError(f"sessions: got {sessions}, allowed: 1 or more, or None for one per core")
    spec = models.spec(model) if isinstance(model, str) else model
    build = _first_installed() if engine == "auto" else _load(engine)
    return build(spec, precision=None if precision == "auto" else precision, sessions=sessions)


def available() -> dict[str, Availability]:
    """Each engine with its version, or with why it does not work here."""
    found = {}
    for name, backend in BACKENDS.items():
        try:
            _load(name)
            found[name] = Availability(version=backend.version(), reason=None)
        except MissingBackendError as error:
            found[name] = Availability(version=None, reason=str(error))
    return found


def _first_installed() -> Callable[..., Engine]:
    reasons = []
    for name in BACKENDS:
        try:
            return _load(name)
        except MissingBackendError as error:
            reasons.append(str(error))
    raise MissingBackendError("no engine works here: " + "; ".join(reasons))


def _load(name: str) -> Callable[..., Engine]:
    try:
        return BACKENDS[name].load()
    except ImportError as error:
        raise MissingBackendError(
            f"engine {name!r} does not load ({error}); install it with: {BACKENDS[name].install}"
        ) from error
