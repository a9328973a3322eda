"""Compiled networks in the cache, each with its digest: what comes back is what was put in, or nothing."""

from hashlib import sha256
from pathlib import Path

from headrace.engines.errors import CacheError
from headrace.engines.store import cache_root, put

_DIGEST_BYTES = 32


def kept(folder: str, key: str) -> bytes | None:
    """What was kept under that key; None where there is nothing, or where it is damaged."""
    try:
        data = _path(folder, key).read_bytes()
    except OSError:
        return None
    digest, blob = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    return blob if sha256(blob).digest() == digest else None


def keep(folder: str, key: str, blob: bytes) -> None:
    """Keep it where the cache can be written; where not, the next start takes as long as this one."""
    try:
        put(_path(folder, key), sha256(blob).digest() + blob)
    except CacheError:
        return


def key_of(*parts: str | bytes) -> str:
    """A name for what is made of these: another part, another name."""
    whole = sha256()
    for part in parts:
        whole.update(sha256(part.encode() if isinstance(part, str) else part).digest())
    return whole.hexdigest()[:32]


def _path(folder: str, key: str) -> Path:
    return cache_root() / folder / f"{key}.blob"
