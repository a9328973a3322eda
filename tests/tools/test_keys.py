"""q and Esc in a real terminal end a run."""

import os
import pty
import subprocess
import sys

import pytest

_RUN = ("run", "scene:street?size=160x120", "--pace", "live", "--segment", "none", "--action", "none", "--show", "none")


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
