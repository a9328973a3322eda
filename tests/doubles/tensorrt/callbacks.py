"""The interfaces that callers subclass, the checks of what is handed in, and how failures are told."""

import sys
from collections.abc import Callable
from typing import Any

from tensorrt.enums import Severity, kind


class _Native(type):
    """What pybind11's own metaclass refuses: an object whose base was never made."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        made = super().__call__(*args, **kwargs)
        if not getattr(made, "_made", False):
            raise TypeError(f"{cls.__name__}.__init__() must be called when overriding __init__")
        return made


class _Interface(metaclass=_Native):
    __slots__ = ("__weakref__", "_made")

    def __init__(self) -> None:
        self._made = True


def _virtual(base: type, name: str, own: Any, *arguments: Any, otherwise: Any = None) -> Any:
    """What a method of a base class is: the native side's call, which reaches what the subclass defines."""
    hook = getattr(type(own), name, None)
    if hook is None or hook is vars(base).get(name):
        pure = f"{base.__name__}::{name}"
        print(f'[ERROR] Exception caught in {name}(): Tried to call pure virtual function "{pure}"', file=sys.stderr)
        return otherwise
    return guarded(name, lambda: hook(own, *arguments), otherwise)


class ILogger(_Interface):
    __slots__ = ()
    Severity = Severity
    INTERNAL_ERROR = Severity.INTERNAL_ERROR
    ERROR = Severity.ERROR
    WARNING = Severity.WARNING
    INFO = Severity.INFO
    VERBOSE = Severity.VERBOSE

    def log(self, severity: Any, msg: str) -> None:
        _virtual(ILogger, "log", self, severity, msg)


class Logger(ILogger):
    __slots__ = ("min_severity",)

    def __init__(self, min_severity: Any = Severity.WARNING) -> None:
        super().__init__()
        self.min_severity = min_severity

    def log(self, severity: Any, msg: str) -> None:
        if severity <= self.min_severity:
            print(f"[TRT] {msg}")


class IErrorRecorder(_Interface):
    __slots__ = ()

    def num_errors(self) -> int:
        # The native side asks for this name, though the class has another.
        return int(_virtual(IErrorRecorder, "get_num_errors", self, otherwise=0))

    def get_error_code(self, arg0: int) -> Any:
        return _virtual(IErrorRecorder, "get_error_code", self, arg0, otherwise=kind("ErrorCodeTRT").SUCCESS)

    def get_error_desc(self, arg0: int) -> str:
        return str(_virtual(IErrorRecorder, "get_error_desc", self, arg0, otherwise=""))

    def has_overflowed(self) -> bool:
        return bool(_virtual(IErrorRecorder, "has_overflowed", self, otherwise=False))

    def clear(self) -> None:
        _virtual(IErrorRecorder, "clear", self)

    def report_error(self, arg0: Any, arg1: str) -> bool:
        return bool(_virtual(IErrorRecorder, "report_error", self, arg0, arg1, otherwise=False))


class IProgressMonitor(_Interface):
    __slots__ = ()

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        _virtual(IProgressMonitor, "phase_start", self, phase_name, parent_phase, num_steps)

    def phase_finish(self, phase_name: str) -> None:
        _virtual(IProgressMonitor, "phase_finish", self, phase_name)

    def step_complete(self, phase_name: str, step: int) -> bool:
        return bool(_virtual(IProgressMonitor, "step_complete", self, phase_name, step, otherwise=False))


class IProfiler(_Interface):
    __slots__ = ()

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        _virtual(IProfiler, "report_layer_time", self, layer_name, ms)


class IOutputAllocator(_Interface):
    """Its three hooks are looked up by name and are not on the class, as in the real one."""

    __slots__ = ()


def need(given: object, wanted: type) -> None:
    """Refuse what the native side would not take."""
    if not isinstance(given, wanted):
        raise TypeError(f"incompatible function arguments: {wanted.__name__} wanted, got {type(given).__name__}")


def guarded(what: str, call: Callable[[], Any], otherwise: Any = None) -> Any:
    """What the trampolines do with an exception of a callback: tell stderr, and go on with a plain value."""
    try:
        return call()
    except Exception as error:
        print(f"[ERROR] Exception caught in {what}(): {error}", file=sys.stderr)
        return otherwise


def tell(logger: ILogger | None, recorder: IErrorRecorder | None, text: str, code: str = "INVALID_STATE") -> None:
    """Report an error the way the library does: to the recorder where there is one, else to the logger."""
    if recorder is not None:
        IErrorRecorder.num_errors(recorder)
        IErrorRecorder.report_error(recorder, getattr(kind("ErrorCodeTRT"), code), text)
    elif logger is not None:
        guarded("log", lambda: logger.log(Severity.ERROR, text))


def warn(logger: ILogger, text: str) -> None:
    guarded("log", lambda: logger.log(Severity.WARNING, text))
