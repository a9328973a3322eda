"""`headrace run` on a camera with a password: whatever it prints and writes, the password is not in it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from peers import need_rtsp_server
from rtsp_server import PASSWORD, USER, RtspServer

pytestmark = pytest.mark.rtsp
WRONG = "not&it/at:all"


@pytest.fixture(scope="module")
def server() -> Iterator[RtspServer]:
    need_rtsp_server()
    camera = RtspServer(login="digest")
    yield camera
    camera.kill()


def headrace(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would."""
    command = [sys.executable, "-m", "headrace.tools.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("password", "code"), [(PASSWORD, 0), (WRONG, 1)])
@pytest.mark.parametrize("debug", [False, True])
def test_the_password_is_nowhere(server: RtspServer, tmp_path: Path, password: str, code: int, debug: bool) -> None:
    done = headrace(
        *("run", server.url("h264", user=USER, password=password), "--segment", "none", "--action", "none"),
        *("--frames", "5", "--show", "none", "--save", str(tmp_path / "a.mp4"), "--jsonl", str(tmp_path / "a.jsonl")),
        *(["--debug"] if debug else []),
    )
    assert done.returncode == code, done.stderr
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    everything = (done.stdout + done.stderr).encode() + written
    for form in {password, quote(password, safe=""), quote(password)}:
        assert form.encode() not in everything
    assert b'"type": "ledger"' in written


def test_a_wrong_password_is_one_clear_line(server: RtspServer) -> None:
    done = headrace(
        *("run", server.url("h264", user=USER, password=WRONG), "--segment", "none", "--action", "none"),
        *("--show", "none", "--quiet"),
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "password" in line
    assert f"{server.host}:{server.port}" in line
