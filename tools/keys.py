"""Keys pressed in the terminal while a run goes on, read without waiting for Enter."""

import contextlib
import os
import select
import sys
from types import TracebackType
from typing import Any, Self

_QUIT = (b"q", b"Q")
_ESCAPE = b"\x1b"
"""Alone; the arrows and other keys send it as the first of several bytes."""


class TerminalKeys:
    """Inside the `with` block, `quit_pressed` tells of q and Esc. Where there is no terminal it never does."""

    def __init__(self) -> None:
        self._before: list[Any] | None = None

    def __enter__(self) -> Self:
        # Not on Windows, which has no termios; there the window's keys and Ctrl-C remain.
        with contextlib.suppress(ImportError, ValueError):
            import termios
            import tty

            # A process in the background (`headrace run … &`) would be stopped by the terminal for touching it.
            if sys.stdin is not None and sys.stdin.isatty() and _in_foreground(sys.stdin.fileno()):
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
        if self._before is None or not select.select([sys.stdin], [], [], 0)[0]:
            return False
        # Not by sys.stdin.read: what it buffers, select does not see.
        keys = os.read(sys.stdin.fileno(), 1024)
        return keys == _ESCAPE or (not keys.startswith(_ESCAPE) and any(key in keys for key in _QUIT))


def _in_foreground(terminal: int) -> bool:
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return True  # not the terminal that controls us: it stops nobody
