"""What a long command says of itself: a line for each step, how far a build is, and a Ctrl-C that ends it cleanly."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self


def told(line: str) -> None:
    """What a step says while it goes on: for people who watch, so that results can be piped on."""
    print(line, file=sys.stderr, flush=True)


def source_name(source: str | None) -> str:
    """What frames come from, without its password."""
    from headrace.stream.sources.address import masked

    return "the bundled scene" if source is None else masked(source)


@contextmanager
def step(name: str) -> Iterator[list[str]]:
    """Time a step and print its line: what is put into the list, and the seconds. Nothing where it fails."""
    words: list[str] = []
    began = time.perf_counter()
    yield words
    print(f"{name:10}  {', '.join(words)}, {time.perf_counter() - began:.1f} s", flush=True)


class BuildProgress:
    """How far a build is, in one line that is written over, on a terminal; elsewhere each phase once.

    It is called from the compiler's threads.
    """

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._lock = threading.Lock()
        self._phases: set[str] = set()
        self._width = 0

    def __call__(self, phase: str, done: int, steps: int) -> None:
        """Say that so many steps of a phase are done."""
        with self._lock:
            if self._live:
                text = f"  {phase}" + (f" {done}/{steps}" if steps else "")
                sys.stderr.write(f"\r{text[:110]:{self._width}}")
                self._width = min(len(text), 110)
                sys.stderr.flush()
            elif phase not in self._phases:
                self._phases.add(phase)
                print(f"  {phase}", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Take the line away."""
        if self._live and self._width:
            sys.stderr.write(f"\r{'':{self._width}}\r")
            self._width = 0


class Interrupt:
    """Ctrl-C as a question that long builds ask: the first one ends the build cleanly, the second one at once."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._before: object = None

    def __call__(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self._asked.is_set()

    def _press(self, _signal: int, _frame: FrameType | None) -> None:
        if self._asked.is_set():
            raise KeyboardInterrupt
        self._asked.set()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)  # type: ignore[arg-type]
        if self._asked.is_set() and kind is None:
            raise KeyboardInterrupt
