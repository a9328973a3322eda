"""The interfaces that callers subclass, the checks of what is handed in, and how failures are told."""

import sys
from collections.abc import Callable, Iterable
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
    def __init__(self) -> None:
        self._made = True


def _pure(what: str) -> RuntimeError:
    return RuntimeError(f'Tried to call pure virtual function "{what}"')


class ILogger(_Interface):
    Severity = Severity
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = Severity

    def log(self, severity: Any, msg: str) -> None:
        raise _pure("ILogger::log")


class Logger(ILogger):
    def __init__(self, min_severity: Any = Severity.WARNING) -> None:
        super().__init__()
        self._least = min_severity

    @property
    def min_severity(self) -> Any:
        return self._least

    @min_severity.setter
    def min_severity(self, severity: Any) -> None:
        self._least = severity

    def log(self, severity: Any, msg: str) -> None:
        if severity <= self._least:
            print(f"[TRT] {msg}")


class IErrorRecorder(_Interface):
    MAX_DESC_LENGTH = 127

    def num_errors(self) -> int:
        raise _pure("IErrorRecorder::num_errors")

    def get_error_code(self, arg0: int) -> Any:
        raise _pure("IErrorRecorder::get_error_code")

    def get_error_desc(self, arg0: int) -> str:
        raise _pure("IErrorRecorder::get_error_desc")

    def has_overflowed(self) -> bool:
        raise _pure("IErrorRecorder::has_overflowed")

    def clear(self) -> None:
        raise _pure("IErrorRecorder::clear")

    def report_error(self, arg0: Any, arg1: str) -> bool:
        raise _pure("IErrorRecorder::report_error")


class IProgressMonitor(_Interface):
    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        raise _pure("IProgressMonitor::phase_start")

    def phase_finish(self, phase_name: str) -> None:
        raise _pure("IProgressMonitor::phase_finish")

    def step_complete(self, phase_name: str, step: int) -> bool:
        raise _pure("IProgressMonitor::step_complete")


class IProfiler(_Interface):
    def report_layer_time(self, layer_name: str, ms: float) -> None:
        raise _pure("IProfiler::report_layer_time")


class IOutputAllocator(_Interface):
    """Its three hooks are looked up by name and are not on the class, as in the real one."""


class Dims(tuple[int, ...]):
    def __new__(cls, shape: Iterable[int] = ()) -> "Dims":
        return super().__new__(cls, (int(length) for length in shape))


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
    guarded(
        "report_error", lambda: recorder.report_error(kind("ErrorCodeTRT")[code], text[: recorder.MAX_DESC_LENGTH])
    )


def warn(logger: ILogger, text: str) -> None:
    guarded("log", lambda: logger.log(Severity.WARNING, text))
