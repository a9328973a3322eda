"""What TensorRT calls while it works: its log, its errors, its progress, memory for outputs, times of layers.

It calls from threads of its own, and an exception that leaves a callback is lost on stderr: none leaves here. Every
base class must be initialised by name, or the first use is a TypeError.
"""

import threading
from collections.abc import Callable

from headrace.engines.trt.library import trt

_LINES_KEPT = 200
_WORDS_KEPT = 2000
Told = Callable[[str, int, int], None]
"""Hears of a build: the phase, how many of its steps are done, how many there are."""


class Log(trt.ILogger):  # type: ignore[misc] # without TensorRT its classes are Any
    """Keeps the last warnings and errors, so that a failure can say why."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self._lines: list[tuple[int, str]] = []
        self._lock = threading.Lock()

    def log(self, severity: "trt.ILogger.Severity", msg: str) -> None:
        """Take one line."""
        if int(severity) <= int(trt.ILogger.Severity.WARNING):
            with self._lock:
                self._lines.append((int(severity), str(msg)))
                del self._lines[:-_LINES_KEPT]

    def why(self) -> str:
        """The errors that were told since the last question; where there are none, the warnings."""
        with self._lock:
            lines, self._lines = self._lines, []
        errors = [text for severity, text in lines if severity <= int(trt.ILogger.Severity.ERROR)]
        told = errors or [text for _, text in lines]
        return "; ".join(told)[-_WORDS_KEPT:] or "TensorRT told no reason"


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
