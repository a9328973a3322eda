"""A bad network: two namespaces, and between them a relay that delays, loses, narrows and cuts.

The kernel's own means (netem) is missing on many machines; two TUN devices and a thread do the same for TCP and UDP.
"""

import ctypes
import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_CLONE_NEWNET = 0x40000000
_QUEUE_S = 1.0
"""What a link that is too thin holds back before it drops, as a router does."""


class Link:
    """A camera's namespace and a viewer's, and the network between them, which may be spoilt at any time.

    There is no way from either to any other network.
    """

    camera_ip, viewer_ip = "10.77.0.1", "10.77.0.2"

    def __init__(self) -> None:
        self.delay_s = 0.0
        """Each way."""
        self.jitter_s = 0.0
        """The delay goes up and down by as much; order is kept."""
        self.loss = 0.0
        """Share of the packets, 0 to 1."""
        self.rate_bps: float | None = None
        """Bits per second each way; None for no limit."""
        self.is_black_hole = False
        """Nothing gets through, and nobody is told."""
        self.relayed = 0
        self.lost = 0
        self._names = [f"headrace-{os.getpid()}-{side}" for side in ("camera", "viewer")]
        self._ends: list[int] = []
        self._stop_read, self._stop_write = os.pipe()
        for name in self._names:
            _ip("netns", "add", name)
        for name, address in zip(self._names, (self.camera_ip, self.viewer_ip), strict=True):
            self._ends.append(_tun(name, address))
        # Questions to a name server outside end in the link as well.
        _ip("-n", self._names[1], "route", "add", "default", "via", self.camera_ip)
        self._thread = threading.Thread(target=self._relay, name="relay", daemon=True)
        self._thread.start()

    @property
    def camera_prefix(self) -> list[str]:
        """What stands before a command that is to run at the camera's end."""
        return ["ip", "netns", "exec", self._names[0]]

    @contextmanager
    def at_the_viewer(self) -> Iterator[None]:
        """Sockets that this thread opens are the viewer's."""
        with _namespace(Path("/run/netns") / self._names[1]):
            yield

    def mend(self) -> None:
        """A perfect link again."""
        self.delay_s = self.jitter_s = self.loss = 0.0
        self.rate_bps, self.is_black_hole = None, False

    def close(self) -> None:
        """Take everything down."""
        os.write(self._stop_write, b"x")
        self._thread.join()
        for fd in (*self._ends, self._stop_read, self._stop_write):
            os.close(fd)
        for name in self._names:
            _ip("netns", "del", name)

    def _relay(self) -> None:
        waiting: list[tuple[float, int, int, bytes]] = []
        order = itertools.count()
        last = dict.fromkeys(self._ends, 0.0)
        free = dict.fromkeys(self._ends, 0.0)
        chance = random.Random(1)
        while True:
            pause_s = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
            ready, _, _ = select.select([*self._ends, self._stop_read], [], [], pause_s)
            if self._stop_read in ready:
                return
            for end in ready:
                other = self._ends[1 - self._ends.index(end)]
                data = os.read(end, 65536)
                self.relayed += 1
                due = self._due(len(data), other, last, free, chance)
                if due is None:
                    self.lost += 1
                else:
                    heapq.heappush(waiting, (due, next(order), other, data))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, end, data = heapq.heappop(waiting)
                os.write(end, data)

    def _due(
        self, size: int, end: int, last: dict[int, float], free: dict[int, float], chance: random.Random
    ) -> float | None:
        """When a packet comes out of the link; None if it never does."""
        if self.is_black_hole or chance.random() < self.loss:
            return None
        now = time.monotonic()
        due = now + max(0.0, self.delay_s + chance.uniform(-self.jitter_s, self.jitter_s))
        if self.rate_bps is not None:
            sent = max(free[end], now) + 8 * size / self.rate_bps
            if sent - now > _QUEUE_S:
                return None
            free[end] = sent
            due += sent - now
        last[end] = due = max(due, last[end])
        return due


def _tun(namespace: str, address: str) -> int:
    """A TUN device in a namespace; its other end is the file that is returned."""
    fd = os.open("/dev/net/tun", os.O_RDWR)
    name = f"hr{fd}t{os.getpid()}"[:15]
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TUN | _IFF_NO_PI))
    _ip("link", "set", name, "netns", namespace)
    _ip("-n", namespace, "addr", "add", f"{address}/24", "dev", name)
    _ip("-n", namespace, "link", "set", name, "mtu", "1500", "up")
    _ip("-n", namespace, "link", "set", "lo", "up")
    return fd


@contextmanager
def _namespace(path: Path) -> Iterator[None]:
    """This thread, and only this one, in another network namespace."""
    with open("/proc/thread-self/ns/net") as home, open(path) as away:
        _setns(away.fileno())
        try:
            yield
        finally:
            _setns(home.fileno())


def _setns(fd: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(fd, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
