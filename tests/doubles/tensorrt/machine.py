"""The machine that the double pretends to run on, and what tests arrange to happen on it."""

import os
import threading
import time
from pathlib import Path
from typing import Any

VERSIONS = {10: "10.16.1.11", 11: "11.4.0.106"}


class Gate:
    """Where a build waits: a test sees that one has arrived, and lets it go."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.released = threading.Event()

    def arrive(self) -> None:
        self.arrived.set()

    def open(self) -> bool:
        return self.released.wait(0.01)


class FolderGate:
    """The same between processes: the build makes the file `arrived`, and goes on when there is `released`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def arrive(self) -> None:
        (self._folder / "arrived").touch()

    def open(self) -> bool:
        time.sleep(0.01)  # between processes there is nothing to wait on
        return (self._folder / "released").exists()


class Machine:
    """What a plan is bound to, what there is to run it on, and the failures that were asked for."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """As a fresh process finds it: what the environment says, and nothing arranged."""
        major = int(os.environ.get("DOUBLE_TRT_MAJOR", "11"))
        self.version = os.environ.get("DOUBLE_TRT_VERSION", VERSIONS[major])
        self.platform = os.environ.get("DOUBLE_TRT_PLATFORM", "linux x86_64")
        self.has_gpu = "DOUBLE_TRT_NO_GPU" not in os.environ
        folder = os.environ.get("DOUBLE_TRT_HOLD")
        self.gate: Gate | FolderGate | None = FolderGate(Path(folder)) if folder else None
        self.build_failure: str | None = None
        """Logged by the next build, which then gives None."""
        self.run_failure: str | None = None
        """What the next run fails with, at once: execute_async_v3 gives False."""
        self.fault: str | None = None
        """What the device fails with while it does the next run's work: told at a later call, as such errors are."""
        self.context_bytes = 1 << 20
        """What one execution context takes of the device's memory."""
        self.builds = 0
        self.parses = 0
        self.logger: Any = None
        """The first that anything was made with: the library goes on with it for the rest of the process."""
        self.other_loggers = 0
        """How often it was handed another one, which it does not use."""
        self.logger_of_plugins: Any = None
        """The last that the plugins were given, weak: they have a bare pointer, and use it at any time."""
        self.ran: list[tuple[int, ...]] = []
        """The first input's shape of each run, in order."""
        self.contexts = 0
        """How many execution contexts are alive."""

    @property
    def capability(self) -> str:
        """Compute capability; pycuda's double reads it in the same place."""
        return os.environ.get("DOUBLE_TRT_CAPABILITY", "9.0")

    @property
    def gpu(self) -> str:
        """The model's name, likewise."""
        return os.environ.get("DOUBLE_TRT_GPU", "Double H9")

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])

    def take_build_failure(self) -> str | None:
        failure, self.build_failure = self.build_failure, None
        return failure

    def take_run_failure(self) -> str | None:
        failure, self.run_failure = self.run_failure, None
        return failure

    def take_fault(self) -> str | None:
        fault, self.fault = self.fault, None
        return fault


machine = Machine()
