"""The cache folder: files that appear whole or not at all, and locks that end with their process."""

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from headrace.engines.errors import CacheError, CancelledError

ROOT_VARIABLE = "HEADRACE_CACHE"
_LOOK_S = 0.1
"""How often a wait for a lock looks whether it was cancelled."""


def cache_root() -> Path:
    """Where built networks, plans and verdicts are kept: $HEADRACE_CACHE, or the user's cache folder."""
    named = os.environ.get(ROOT_VARIABLE)
    return Path(named) if named else user_cache_path("headrace", appauthor=False)


def put(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, whenever the process or the machine ends.

    Raises:
        CacheError: it cannot be written (a full disk, a folder that may not be written); nothing is left behind.
    """
    draft: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".draft", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        if draft is not None:
            with suppress(OSError):
                os.unlink(draft)
        raise CacheError(f"cannot write {path}: {_why(error, path, len(data))}") from error


@contextmanager
def locked(
    path: Path, *, waiting: Callable[[], None] = lambda: None, cancelled: Callable[[], bool] = lambda: False
) -> Iterator[None]:
    """Hold `path`.lock, so that two processes do not make the same file; it is free again when its holder dies.

    Args:
        waiting: called once, where someone else holds it.
        cancelled: asked while waiting.

    Raises:
        CancelledError: `cancelled` said so.
        CacheError: the lock's folder cannot be written.
    """
    lock = FileLock(path.with_name(path.name + ".lock"))
    told = False
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=_LOOK_S if told else 0)
            break
        except Timeout:
            if not told:
                waiting()
            told = True
            if cancelled():
                raise CancelledError(f"{path.name}: cancelled while another process makes it") from None
        except OSError as error:
            raise CacheError(f"cannot lock {path}: {_why(error, path, 0)}") from error
    try:
        yield
    finally:
        lock.release()


def digest(path: Path) -> str:
    """sha256 of a file, as hexadecimal; remembered as long as the file's time and size stay."""
    found = path.stat()
    return _digest(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=64)
def _digest(path: Path, _mtime_ns: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _why(error: OSError, path: Path, size: int) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        with suppress(OSError):
            free = shutil.disk_usage(path.parent).free
            return (
                f"the disk is full ({size / 1e6:.1f} MB needed, {free / 1e6:.1f} MB free); make room,"
                f" or set {ROOT_VARIABLE} to a folder on another disk"
            )
    return f"{error.strerror or error}; set {ROOT_VARIABLE} to a folder that can be written"
