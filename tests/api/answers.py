"""What TensorRT's bindings answer where no library is needed, as JSON: answers.py MODULE.

MODULE is the package under that name: the real bindings, or the double. Our own callbacks are called the way the
library calls them: a base class's method reaches what the subclass defines.
"""

import importlib
import json
import sys
from collections.abc import Callable
from typing import Any

trt: Any = importlib.import_module(sys.argv[1])
sys.modules["tensorrt"] = trt  # under this name our code imports it

from headrace.engines.trt.callbacks import Errors, LayerTimes, Log, OutputMemory, Progress  # noqa: E402

answers: dict[str, str] = {}


def ask(name: str, question: Callable[[], Any]) -> None:
    """Keep the answer, or the kind of error."""
    try:
        answers[name] = repr(question())
    except Exception as error:
        answers[name] = type(error).__name__


class Forgetful(trt.ILogger):  # type: ignore[misc]
    def __init__(self) -> None:
        pass


class Mute(trt.ILogger):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()


class Raising(trt.IProgressMonitor):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()

    def step_complete(self, phase_name: str, step: int) -> bool:
        raise ValueError("no")


def names_and_numbers() -> None:
    flag, severity, kind = trt.BuilderFlag, trt.ILogger.Severity, trt.DataType
    ask("a member's name", lambda: (str(flag.TF32), repr(flag.TF32), flag.TF32.name, flag.TF32.value))
    ask("a member by its number", lambda: flag(6))
    ask("a number that is none", lambda: flag(99))
    ask("int of a member", lambda: (int(flag.TF32), 1 << int(flag.TF32), hash(flag.TF32)))
    ask("a member as an index", lambda: [0, 1, 2, 3, 4, 5, 6][flag.TF32])
    ask("a shift by a member", lambda: 1 << flag.TF32)
    ask("or of members", lambda: flag.TF32 | flag.REFIT)
    ask("all members", lambda: list(flag))
    ask("a member by its name", lambda: flag["TF32"])
    ask("a member and its number", lambda: flag.TF32 == 6)
    ask("order of members", lambda: (severity.ERROR < severity.WARNING, flag.TF32 < flag.REFIT))
    ask("order of a member and a number", lambda: severity.ERROR < 2)
    ask("levels on the class", lambda: (trt.ILogger.WARNING, trt.Logger.ERROR, trt.Logger.Severity is severity))
    ask("strong typing", lambda: int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    ask("sizes", lambda: [kind.__members__[name].itemsize for name in sorted(kind.__members__)])
    ask(
        "numpy types",
        lambda: [trt.nptype(each).__name__ for each in (trt.float32, trt.float16, trt.uint8, trt.int64)],
    )
    ask("a type that numpy has not", lambda: trt.nptype(trt.bfloat16))
    ask("volume", lambda: trt.volume((2, 3, 4)))


def shapes() -> None:
    dims = trt.Dims((2, 3, 4))
    ask("a shape", lambda: (str(dims), len(dims), dims[0], dims[-1], dims[1:], tuple(dims), -1 in dims))
    ask("a shape and a tuple", lambda: (dims == (2, 3, 4), isinstance(dims, tuple)))
    ask("hash of a shape", lambda: hash(dims))
    ask("too many lengths", lambda: trt.Dims([1] * 9))


def callbacks() -> None:
    log = Log()
    trt.ILogger.log(log.native, trt.ILogger.Severity.ERROR, "an error")
    trt.ILogger.log(log.native, trt.ILogger.Severity.INFO, "no more than news")
    ask("our log", log.why)
    errors = Errors()
    base = trt.IErrorRecorder
    ask("an error is taken", lambda: base.report_error(errors, trt.ErrorCodeTRT.INTERNAL_ERROR, "an error"))
    ask("how many errors", lambda: base.num_errors(errors))
    ask("which error", lambda: (base.get_error_code(errors, 0), base.get_error_desc(errors, 0)))
    ask("overflow", lambda: base.has_overflowed(errors))
    ask("our errors", lambda: (base.clear(errors), base.num_errors(errors)))
    heard: list[tuple[str, int, int]] = []
    progress = Progress(lambda phase, done, steps: heard.append((phase, done, steps)), lambda: len(heard) > 3)
    trt.IProgressMonitor.phase_start(progress, "tactics", None, 5)
    trt.IProgressMonitor.phase_start(progress, "costs", "tactics", 1)
    ask(
        "a step, and one that cancels",
        lambda: [trt.IProgressMonitor.step_complete(progress, "costs", n) for n in (0, 1)],
    )
    ask("the end of a phase", lambda: trt.IProgressMonitor.phase_finish(progress, "costs"))
    ask("what was heard", lambda: heard)
    times = LayerTimes()
    trt.IProfiler.report_layer_time(times, "conv", 1.5)
    ask("our times", lambda: times.ms)
    memory = OutputMemory(lambda size: size + 1)
    ask(
        "our memory",
        lambda: (memory.reallocate_output_async("y", 0, 5, 256, 7), memory.notify_shape("y", trt.Dims((2,)))),
    )
    ask("the shape that was told", lambda: memory.shape)


def refusals() -> None:
    ask("a base that was not made", Forgetful)
    ask("a log that is not there", lambda: trt.ILogger.log(Mute(), trt.ILogger.Severity.ERROR, "lost"))
    ask("a step that raises", lambda: trt.IProgressMonitor.step_complete(Raising(), "costs", 0))
    ask("no GPU for a builder", lambda: trt.Builder(Log().native))
    ask("no GPU for a runtime", lambda: trt.Runtime(Log().native))
    ask("no log", lambda: trt.Builder(3))
    ask("an attribute that is not there", lambda: setattr(trt.Logger(), "colour", 1))
    ask("hooks that cannot be seen", lambda: hasattr(trt.IOutputAllocator, "reallocate_output_async"))


for each in (names_and_numbers, shapes, callbacks, refusals):
    each()
json.dump(answers, sys.stdout, indent=1)
