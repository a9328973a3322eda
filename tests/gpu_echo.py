"""The least that a session on a GPU is: bytes go there and come back, as a task of the device thread."""

import threading
from typing import Any

import numpy as np


class Echo:
    """Made and freed on the device thread; `held` keeps it in flight for as long as a test wants."""

    def __init__(self, cuda: Any, length: int = 1000) -> None:
        self._cuda = cuda
        self.stream, self.buffer = cuda.Stream(), cuda.Buffer(length)
        self.given, self.got = cuda.Pinned((length,), np.uint8), cuda.Pinned((length,), np.uint8)
        self.value = 0
        self.event: Any = None
        self.begun = threading.Event()
        self.held = False

    def enqueue(self) -> bool:
        self._cuda.copy_in(self.buffer, self.given, self.given.array.nbytes, self.stream)
        self._cuda.copy_out(self.got, self.buffer, self.got.array.nbytes, self.stream)
        return True

    def begin(self) -> None:
        self.given.array[:] = self.value
        self.enqueue()
        self.event = self.stream.record()
        self.begun.set()

    def ready(self) -> bool:
        return not self.held and bool(self.event.done())

    def finish(self) -> Any:
        return self.got.array.copy()

    def free(self) -> None:
        for each in (self.buffer, self.given, self.got, self.stream):
            each.free()
