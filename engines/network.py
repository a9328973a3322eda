"""What a network is known by here: the digest of its file, its folder in the cache, what the user calls it."""

import re
from hashlib import sha256
from pathlib import Path

from headrace.engines.errors import BuildError
from headrace.engines.store import cache_root, digest
from headrace.models.catalog import BUNDLED
from headrace.models.spec import ModelSpec


def network_digest(spec: ModelSpec) -> str:
    """sha256 of the file, and of the weights that an exporter has put beside it.

    Raises:
        BuildError: the file is missing.
    """
    file = spec.weights.file
    if not file.is_file():
        raise BuildError(f"{file}: no such file")
    beside = file.with_name(file.name + ".data")
    found = digest(file)
    return sha256((found + digest(beside)).encode()).hexdigest() if beside.is_file() else found


def network_folder(spec: ModelSpec) -> Path:
    """Where its variants and its verdicts are kept; it need not exist."""
    return cache_root() / "networks" / f"{safe_name(spec)}-{network_digest(spec)[:12]}"


def safe_name(spec: ModelSpec) -> str:
    """Its name as a file may be called."""
    return re.sub(r"[^\w.-]", "_", spec.name)


def things(spec: ModelSpec) -> str:
    """What it is fed, in the plural."""
    return "frames" if spec.clip is None else "clips"


def called(spec: ModelSpec) -> str:
    """What the user calls it on the command line: a bundled network's name, or a path."""
    return spec.name if spec.weights.file.parent == BUNDLED else str(spec.weights.file)
