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


def _pure(what: str) -> None:
    print(f'[ERROR] Exception caught in {what}(): Tried to call pure virtual function "{what}"', file=sys.stderr)


class ILogger(_Interface):
    __slots__ = ()
    Severity = Severity
    INTERNAL_ERROR = Severity.INTERNAL_ERROR
    ERROR = Severity.ERROR
    WARNING = Severity.WARNING
    INFO = Severity.INFO
    VERBOSE = Severity.VERBOSE

    def log(self, severity: Any, msg: str) -> None:
        _pure("log")


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
        # Reaches what the native side looks for: a subclass's get_num_errors.
        return int(self.get_num_errors()) if hasattr(self, "get_num_errors") else _pure("get_num_errors") or 0

    def get_error_code(self, arg0: int) -> Any:
        return _pure("get_error_code") or kind("ErrorCodeTRT").SUCCESS

    def get_error_desc(self, arg0: int) -> str:
        return _pure("get_error_desc") or ""

    def has_overflowed(self) -> bool:
        return _pure("has_overflowed") is not None

    def clear(self) -> None:
        _pure("clear")

    def report_error(self, arg0: Any, arg1: str) -> bool:
        return _pure("report_error") is not None


class IProgressMonitor(_Interface):
    __slots__ = ()

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        _pure("phase_start")

    def phase_finish(self, phase_name: str) -> None:
        _pure("phase_finish")

    def step_complete(self, phase_name: str, step: int) -> bool:
        return _pure("step_complete") is not None


class IProfiler(_Interface):
    __slots__ = ()

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        _pure("report_layer_time")


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


def tell(logger: ILogger | None, recorder: Any, text: str, code: str = "INVALID_STATE") -> None:
    """Report an error the way the library does: to the recorder where there is one, else to the logger."""
    if recorder is None:
        if logger is not None:
            guarded("log", lambda: logger.log(Severity.ERROR, text))
        return
    guarded("get_num_errors", lambda: recorder.get_num_errors())  # the native side asks for this very name
    guarded("report_error", lambda: recorder.report_error(_code(code), text))


def _code(name: str) -> Any:
    return getattr(kind("ErrorCodeTRT"), name)


def warn(logger: ILogger, text: str) -> None:
    guarded("log", lambda: logger.log(Severity.WARNING, text))
