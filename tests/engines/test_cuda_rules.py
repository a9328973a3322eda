"""The double of pycuda keeps the real one's rules: the text of each scenario is what pycuda 2026.1 answered."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from doubled import DOUBLES, real

SCRIPT = Path(__file__).parents[1] / "fake_libcuda" / "rules.py"
NO_CONTEXT = "failed: invalid device context"
NO_OWNER = f"explicit_context_dependent {NO_CONTEXT} - no currently active context?"
LEAK = "in out-of-thread context could not be cleaned up"
ANSWERS = {
    "no_context": [
        f"stream: LogicError: {NO_OWNER}",
        f"event: LogicError: {NO_OWNER}",
        f"memory: LogicError: cuMemAlloc {NO_CONTEXT}",
        f"pinned: LogicError: cuMemHostAlloc {NO_CONTEXT}",
        f"free bytes: LogicError: cuMemGetInfo {NO_CONTEXT}",
        f"synchronize: LogicError: cuCtxSynchronize {NO_CONTEXT}",
        f"pop: LogicError: context::pop {NO_CONTEXT} - cannot pop non-current context",
        "end",
    ],
    "primary_in_every_thread": [
        "retaining pushes: False",
        "threads: [7168, 7168, 7168]",
        "here: 7168 held: 0",
        "end",
    ],
    "pushed_elsewhere": [f"another thread: LogicError: {NO_OWNER}", "end"],
    "thread_ends_with_it_pushed": ["before"],
    "dropped_without_it": [
        f"UserWarning: pagelocked_host_allocation {LEAK}",
        f"UserWarning: event {LEAK}",
        f"UserWarning: stream {LEAK}",
        f"UserWarning: device_allocation {LEAK}",
        "held: 4096",
        "held after one that was dropped where it is pushed: 4096",
        "held after one that was dropped by the maker of the context: 4096",
        "end",
    ],
    "wrong_arguments": [
        "too much: MemoryError: cuMemAlloc failed: out of memory",
        "nothing: LogicError: cuMemAlloc failed: invalid argument",
        "numpy size: TypeError: Python argument types in",
        "numpy shape: TypeError: No registered converter was able to produce a C++ rvalue of type long from this "
        "Python object of type numpy.int64",
        "beyond its end: LogicError: cuMemcpyHtoD failed: invalid argument",
        "gaps: ValueError: ndarray is not contiguous",
        "read only: BufferError: memoryview: underlying buffer is not writable",
        "a handle for a stream: TypeError: No registered converter was able to extract a C++ reference to type "
        "pycuda::stream from this Python object of type int",
        "address: 0",
        "freed twice: LogicError: device_allocation::free failed: invalid resource handle",
        "no such device: LogicError: cuDeviceGet failed: invalid device ordinal",
        "end",
    ],
    "work_comes_later": [
        "never recorded: True",
        "queries: False False True got: [2, 2, 2, 2, 2, 2, 2, 2]",
        "done: False",
        "done: True got: [3, 3, 3, 3, 3, 3, 3, 3]",
        "time: True True",
        "held: 0",
        "end",
    ],
}


@pytest.mark.parametrize("scenario", ANSWERS)
def test_a_scenario_is_answered_as_the_real_pycuda_answers_it(scenario: str) -> None:
    environment = dict(os.environ) if real else {**os.environ, "PYTHONPATH": str(DOUBLES)}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), scenario], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ANSWERS[scenario], done.stderr
    # A thread that ends with a context pushed takes the process with it.
    assert done.returncode == (-signal.SIGABRT if scenario == "thread_ends_with_it_pushed" else 0), done.stderr
