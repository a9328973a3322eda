"""Whether a host name is known, asked with a time limit: the system's own look-up has none."""

import ipaddress
import subprocess
import sys
import time

from headrace.stream.errors import SourceError

_SCRIPT = "import socket, sys; socket.getaddrinfo(sys.argv[1], None)"
_KEPT_S = 60.0
"""A camera that comes and goes is opened again and again; its name does not go as quickly."""

_known_until_s: dict[str, float] = {}


def check_name(host: str, *, limit_s: float) -> None:
    """Look a name up; addresses and localhost pass at once.

    The look-up runs in a process of its own, because a resolver that does not answer blocks for 10 s and more
    and cannot be interrupted, here or within FFmpeg. FFmpeg looks the name up again, right after the answer. A name
    that was known is not asked for again for a minute.

    Raises:
        SourceError: nobody knows the name, nobody answered in time, or it could not be asked.
    """
    if not host or host.lower() == "localhost" or _is_literal(host) or not sys.executable:
        return
    if time.monotonic() < _known_until_s.get(host, 0.0):
        return
    _known_until_s.pop(host, None)
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _SCRIPT, host],
            timeout=limit_s,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except OSError as error:
        raise SourceError(f"the name {host} could not be looked up: {error.strerror}") from error
    except subprocess.TimeoutExpired:
        pass
    else:
        if done.returncode == 0:
            _known_until_s[host] = time.monotonic() + _KEPT_S
            return
        raise SourceError(f"the name {host} is not known: check it, or use the camera's IP address")
    raise SourceError(
        f"no answer to the question who {host} is within {limit_s:.1f} s: is the name server reachable? "
        "The camera's IP address works without it"
    )


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
