"""q and Esc in a real terminal end a run."""

import os
import pty
import subprocess
import sys
import termios
from collections.abc import Iterator

import pytest

from headrace.tools.keys import TerminalKeys

_RUN = (
    "run",
    "scene:street?size=160x120",
    "--pace",
    "live",
    "--segment",
    "none",
    "--action",
    "none",
    "--show",
    "none",
)


@pytest.mark.parametrize("key", [b"q", b"\x1b"])
def test_a_key_ends_the_run_cleanly(key: bytes) -> None:
    master, slave = pty.openpty()
    try:
        run = subprocess.Popen(
            [sys.executable, "-m", "headrace.tools.cli", *_RUN],
            stdin=slave,
            stdout=subprocess.PIPE,
            stderr=slave,
            text=True,
        )
        shown = b""
        while b"display" not in shown:
            shown += os.read(master, 4096)
        os.write(master, key)
        said, _ = run.communicate(timeout=30)
    finally:
        os.close(slave)
        os.close(master)
    assert run.returncode == 0
    assert "captured" in said


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Standard input is a terminal in front of which we are; its other end is what a person's keys go into."""
    master, slave = pty.openpty()
    with os.fdopen(slave) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        monkeypatch.setattr("os.tcgetpgrp", lambda fd: os.getpgrp())
        yield master
    os.close(master)


@pytest.mark.parametrize(
    ("typed", "quits"),
    [
        (b"q", True),
        (b"Q", True),
        (b"xq", True),
        (b"\x1b", True),
        (b"x", False),
        (b"\x1b[A", False),
        (b"", False),
    ],
    ids=["q", "Q", "x and q", "Esc", "x", "an arrow", "nothing"],
)
def test_which_keys_end_it(terminal: int, typed: bytes, quits: bool) -> None:
    with TerminalKeys() as keys:
        os.write(terminal, typed)
        assert keys.quit_pressed() is quits
        assert keys.quit_pressed() is False


def test_the_terminal_is_left_as_it_was(terminal: int) -> None:
    before = termios.tcgetattr(sys.stdin)
    with TerminalKeys():
        assert termios.tcgetattr(sys.stdin) != before
    assert termios.tcgetattr(sys.stdin) == before


_IN_BACKGROUND = """
import fcntl, os, subprocess, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
run = subprocess.Popen(sys.argv[1:], process_group=0)
pid, status = os.waitpid(run.pid, os.WUNTRACED)
if os.WIFSTOPPED(status):
    run.kill()
    sys.exit(99)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_a_run_in_the_background_is_not_stopped_by_the_terminal() -> None:
    master, slave = pty.openpty()
    try:
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                _IN_BACKGROUND,
                sys.executable,
                "-m",
                "headrace.tools.cli",
                *_RUN,
                "--frames",
                "3",
            ],
            stdin=slave,
            capture_output=True,
            text=True,
            timeout=60,
            start_new_session=True,
            check=False,
        )
    finally:
        os.close(slave)
        os.close(master)
    assert done.returncode == 0, done.stderr
    assert "rendered 3" in done.stdout
