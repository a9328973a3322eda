"""Keys pressed in the terminal while a run goes on, read without waiting for Enter."""

import contextlib
import select
import sys
from types import TracebackType
from typing import Any, Self

_QUIT = ("q", "Q", "\x1b")


class TerminalKeys:
    """Inside the `with` block, `quit_pressed` tells of q and Esc. Where there is no terminal it never does."""

    def __init__(self) -> None:
        self._before: list[Any] | None = None

    def __enter__(self) -> Self:
        # Not on Windows, which has no termios; there the window's keys and Ctrl-C remain.
        with contextlib.suppress(ImportError, ValueError):
            import termios
            import tty

            if sys.stdin is not None and sys.stdin.isatty():
                self._before = termios.tcgetattr(sys.stdin)
                tty.setcbreak(sys.stdin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._before is not None:
            import termios

            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)
            self._before = None

    def quit_pressed(self) -> bool:
        """Whether q or Esc was pressed since the last call. Never waits."""
        while self._before is not None and select.select([sys.stdin], [], [], 0)[0]:
            key = sys.stdin.read(1)
            if key in _QUIT:
                return True
            if not key:
                break
        return False
