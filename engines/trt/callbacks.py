"""What TensorRT calls while it works: its log, its errors, its progress, memory for outputs, times of layers.

It calls from threads of its own, and an exception that leaves a callback is lost on stderr: none leaves here. Every
base class must be initialised by name, or the first use is a TypeError.
"""

import threading
import weakref
from collections.abc import Callable
from functools import cache

from headrace.engines.trt.library import trt

_LINES_KEPT = 200
_WORDS_KEPT = 2000
_ERROR, _WARNING = int(trt.ILogger.Severity.ERROR), int(trt.ILogger.Severity.WARNING)
Told = Callable[[str, int, int], None]
"""Hears of a build: the phase, how many of its steps are done, how many there are."""


class Log:
    """Keeps the last warnings and errors from now on, so that a failure can say why.

    TensorRT gets `native`, which is one for the whole process: of several loggers it uses the first alone, and its
    plugins keep a bare pointer to the last.
    """

    def __init__(self) -> None:
        self._lines: list[tuple[int, int, str]] = []
        self._lock = threading.Lock()
        self.native = _ear()
        self.native.add(self)

    def take(self, thread: int, severity: int, text: str) -> None:
        """Take one line that was told on that thread."""
        with self._lock:
            self._lines.append((thread, severity, text))
            del self._lines[:-_LINES_KEPT]

    def forget(self) -> list[tuple[int, int, str]]:
        """Let go of what was told so far, and give it."""
        with self._lock:
            lines, self._lines = self._lines, []
        return lines

    def why(self) -> str:
        """The errors that were told since the last question; where there are none, the warnings.

        Other networks may be at work: what the calling thread was told goes before what other threads were.
        """
        lines = self.forget()
        here = [each for each in lines if each[0] == threading.get_ident()]
        for told, least in ((here, _ERROR), (lines, _ERROR), (here, _WARNING), (lines, _WARNING)):
            words = "; ".join(text for _, severity, text in told if severity <= least)
            if words:
                return words[-_WORDS_KEPT:]
        return "TensorRT told no reason"


class _Ear(trt.ILogger):  # type: ignore[misc] # without TensorRT its classes are Any
    """The process's logger."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self._logs: weakref.WeakSet[Log] = weakref.WeakSet()
        self._lock = threading.Lock()

    def add(self, log: Log) -> None:
        """Let it hear what is told from now on."""
        with self._lock:
            self._logs.add(log)

    def log(self, severity: "trt.ILogger.Severity", msg: str) -> None:
        """Take one line."""
        if int(severity) <= _WARNING:
            with self._lock:
                logs = list(self._logs)
            for each in logs:
                each.take(threading.get_ident(), int(severity), str(msg))


@cache
def _ear() -> _Ear:
    return _Ear()


class Errors(trt.IErrorRecorder):  # type: ignore[misc]
    """Keeps the errors of one execution context."""

    def __init__(self) -> None:
        trt.IErrorRecorder.__init__(self)
        self._told: list[tuple[object, str]] = []
        self._lock = threading.Lock()

    def report_error(self, code: object, desc: str) -> bool:
        """Take one error."""
        with self._lock:
            self._told.append((code, str(desc)))
        return True

    def num_errors(self) -> int:
        """How many there are."""
        return len(self._told)

    def get_num_errors(self) -> int:
        """The same under the name that the native side looks for."""
        return len(self._told)

    def get_error_code(self, index: int) -> object:
        """The kind of one error."""
        return self._told[index][0]

    def get_error_desc(self, index: int) -> str:
        """What one error says."""
        return self._told[index][1]

    def has_overflowed(self) -> bool:
        """Whether errors were lost."""
        return False

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._told.clear()

    def why(self) -> str:
        """What was told since the last question; empty where nothing was."""
        with self._lock:
            told, self._told = self._told, []
        return "; ".join(text for _, text in told)


class Progress(trt.IProgressMonitor):  # type: ignore[misc]
    """Tells how far a build is, and ends it where it was cancelled.

    Args:
        told: hears of every step.
        cancelled: asked after every step.
    """

    def __init__(self, told: Told, cancelled: Callable[[], bool]) -> None:
        trt.IProgressMonitor.__init__(self)
        self._told = told
        self._asked = cancelled
        self._steps: dict[str, int] = {}
        self._lock = threading.Lock()
        self.cancelled = False
        """Whether the build was ended."""
        self.error: BaseException | None = None
        """What `told` or `cancelled` raised: it ends the build too, and is the caller's to raise."""

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        """A phase begins."""
        with self._lock:
            self._steps[phase_name] = int(num_steps)
        self._guarded(lambda: self._told(phase_name, 0, int(num_steps)))

    def step_complete(self, phase_name: str, step: int) -> bool:
        """A step of a phase is done; False ends the build."""
        with self._lock:
            steps = self._steps.get(phase_name, 0)
        self._guarded(lambda: self._told(phase_name, int(step) + 1, steps))
        self._guarded(self._ask)
        return not self.cancelled and self.error is None

    def phase_finish(self, phase_name: str) -> None:
        """A phase is over, done or not."""
        with self._lock:
            self._steps.pop(phase_name, None)

    def _ask(self) -> None:
        self.cancelled = self.cancelled or self._asked()

    def _guarded(self, call: Callable[[], None]) -> None:
        if self.error is None:
            try:
                call()
            except BaseException as error:  # KeyboardInterrupt too: it ends the build as well
                self.error = error


class OutputMemory(trt.IOutputAllocator):  # type: ignore[misc]
    """Memory for an output whose shape is known only when the network has run.

    Args:
        grown: gives the address of memory of at least so many bytes.
    """

    def __init__(self, grown: Callable[[int], int]) -> None:
        trt.IOutputAllocator.__init__(self)
        self._grown = grown
        self.shape: tuple[int, ...] = ()
        """What the last run gave."""
        self.trouble = ""
        """Why there was no memory. The text alone: an exception would hold on to the frames that called."""

    def reallocate_output_async(self, tensor_name: str, memory: int, size: int, alignment: int, stream: int) -> int:
        """Memory for the output; 0 where there is none."""
        try:
            return self._grown(int(size))
        except Exception as error:
            self.trouble = str(error)
            return 0

    def reallocate_output(self, tensor_name: str, memory: int, size: int, alignment: int) -> int:
        """The same, as early versions of 10.x ask for it."""
        return self.reallocate_output_async(tensor_name, memory, size, alignment, 0)

    def notify_shape(self, tensor_name: str, shape: "trt.Dims") -> None:
        """The output's shape is known."""
        self.shape = tuple(int(length) for length in shape)


class LayerTimes(trt.IProfiler):  # type: ignore[misc]
    """Adds up what each layer takes."""

    def __init__(self) -> None:
        trt.IProfiler.__init__(self)
        self.ms: dict[str, float] = {}
        """Milliseconds by the layer's name, over all runs."""

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        """One layer of one run is done."""
        self.ms[layer_name] = self.ms.get(layer_name, 0.0) + float(ms)
