"""What a test needs of the machine: where it is missing the test skips, or fails if the machine is to have it."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest

SYSTEM_PYTHON = "/usr/bin/python3"
"""GStreamer's Python binding belongs to the system's Python and to no other."""


def missing(what: str) -> NoReturn:
    """Skip the test; with HEADRACE_REQUIRE_PEERS=1 fail it, so that nothing is left out silently."""
    if os.environ.get("HEADRACE_REQUIRE_PEERS") == "1":
        pytest.fail(f"HEADRACE_REQUIRE_PEERS=1, but {what}")
    pytest.skip(what)


def need_rtsp_server() -> None:
    """GStreamer's RTSP server, or the test does not run."""
    if not _has_rtsp_server():
        missing("GStreamer's RTSP server is not installed (see .ci/packages.txt)")


def need_namespaces() -> None:
    """Network namespaces and TUN devices, or the test does not run."""
    if os.geteuid() != 0:
        missing("network namespaces are made by root only")
    if not Path("/dev/net/tun").exists():
        missing("there is no /dev/net/tun")
    if shutil.which("ip") is None:
        missing("the command `ip` is not installed (iproute2)")
    if not _may_make_namespaces():
        missing("this machine does not allow network namespaces")


@cache
def _has_rtsp_server() -> bool:
    script = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    return Path(SYSTEM_PYTHON).exists() and _succeeds(SYSTEM_PYTHON, "-c", script)


@cache
def _may_make_namespaces() -> bool:
    return _succeeds("ip", "netns", "add", "headrace-probe") and _succeeds("ip", "netns", "del", "headrace-probe")


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
