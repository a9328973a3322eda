"""One network in several precisions: which file a precision runs, made on first use or asked for."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from headrace.engines.base import Precision
from headrace.engines.errors import BuildError, MissingBackendError, PrecisionError
from headrace.engines.store import cache_root, digest, locked, put
from headrace.models.catalog import BUNDLED
from headrace.models.spec import ModelSpec

if TYPE_CHECKING:
    from headrace.models.graph.quantize import Quantized, QuantizeOptions

Feeds = Mapping[str, NDArray[Any]]
Told = Callable[[str], None]

_RECIPE = 1
"""Raised when variants are made differently: those made before are stale."""


def variant(spec: ModelSpec, precision: Precision) -> ModelSpec:
    """The network with the file that a precision runs: its name and all else stay.

    fp32 and bf16 run the file as it is: how float layers compute is the engine's own. fp16 is made on first
    use. int8 must have been made by `make_int8`, because it needs frames; a file that is int8 serves as it is.

    Raises:
        PrecisionError: int8 was not made yet, or what was made is stale or damaged; the message has the command.
        MissingBackendError: making fp16 needs a library that is not installed; the message has the line.
        BuildError: the file is missing or broken.
        CacheError: the cache folder cannot be read or written.
    """
    if not spec.weights.file.is_file():
        raise BuildError(f"{spec.weights.file}: no such file")
    if precision == "fp16":
        return _fp16(spec)
    if precision == "int8" and not _is_quantized(spec.weights.file):
        return _int8(spec)
    return spec


def make_int8(
    spec: ModelSpec,
    feeds: Iterable[Feeds],
    *,
    source: str = "the bundled scene",
    options: "QuantizeOptions | None" = None,
    told: Told = lambda line: None,
) -> ModelSpec:
    """Quantize the network and keep it for `variant`; what was made before is replaced.

    Args:
        feeds: real inputs, by name and batch first: frames of the user's own cameras serve best.
        source: where they come from, for the record.
        told: hears how it goes on, line by line.

    Raises:
        PrecisionError: the file is int8 already.
        MissingBackendError: a library is not installed; the message has the line.
        BuildError: the file is missing, broken or not supported.
        CacheError: the cache folder cannot be written.
    """
    file = spec.weights.file
    if not file.is_file():
        raise BuildError(f"{file}: no such file")
    if _is_quantized(file):
        raise PrecisionError(f"{file}: is int8 already; it runs as it is")
    try:
        from headrace.models.graph.quantize import QuantizeOptions, quantize
    except ImportError as error:
        raise _missing(error, "int8") from error
    options = options or QuantizeOptions()
    path = _path(spec, "int8")
    with locked(path, waiting=lambda: told(f"{spec.name}: another process makes its int8 file; waiting")):
        made = quantize(file, list(feeds), options=options, told=told)
        _keep(spec, path, made.model, _int8_record(made, source, options.method))
    told(f"{spec.name}: int8, {len(made.model) / 1e6:.1f} MB, kept in {path}")
    return _with_file(spec, path)


def record(spec: ModelSpec, precision: Precision) -> dict[str, Any] | None:
    """How the kept file of a precision was made; None where there is none that still holds."""
    return _valid(spec, _path(spec, precision))


def _fp16(spec: ModelSpec) -> ModelSpec:
    path = _path(spec, "fp16")
    if _valid(spec, path) is None:
        with locked(path):
            if _valid(spec, path) is None:  # nobody made it while we waited
                _keep(spec, path, _halved(spec.weights.file), {})
    return _with_file(spec, path)


def _halved(file: Path) -> bytes:
    try:
        from headrace.models.graph import half, read
    except ImportError as error:
        raise _missing(error, "fp16") from error
    return bytes(half.to_half(read.load(file)).SerializeToString())


def _int8(spec: ModelSpec) -> ModelSpec:
    path = _path(spec, "int8")
    if _valid(spec, path) is not None:
        return _with_file(spec, path)
    why = "what was kept of it is stale or damaged" if path.is_file() else "it needs frames to be made"
    raise PrecisionError(f"{spec.name} in int8: {why}; run: headrace build {_typed(spec)} --precision int8")


def _keep(spec: ModelSpec, path: Path, model: bytes, how: Mapping[str, Any]) -> None:
    """The file first: a record without its file would promise what is not there."""
    put(path, model)
    facts = {
        "network": spec.name,
        "source": _source_digest(spec),
        "file": sha256(model).hexdigest(),
        "recipe": _RECIPE,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: found for name in ("headrace", "onnx", "onnxruntime") if (found := _version(name))},
        **how,
    }
    put(path.with_suffix(".json"), json.dumps(facts, indent=1).encode())


def _int8_record(made: "Quantized", source: str, method: str) -> dict[str, Any]:
    return {"calibrated_on": source, "inputs": made.frames, "method": method, "kept_float": list(made.kept)}


def _valid(spec: ModelSpec, path: Path) -> dict[str, Any] | None:
    """The record of a kept file, if file and record are whole and the network is still the same."""
    try:
        facts = json.loads(path.with_suffix(".json").read_bytes())
        holds = (
            facts["source"] == _source_digest(spec) and facts["recipe"] == _RECIPE and facts["file"] == digest(path)
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return facts if holds else None


def _path(spec: ModelSpec, precision: Precision) -> Path:
    name = re.sub(r"[^\w.-]", "_", spec.name)
    return cache_root() / "networks" / f"{name}-{_source_digest(spec)[:12]}" / f"{name}-{precision}.onnx"


def _source_digest(spec: ModelSpec) -> str:
    """Of the file, and of the weights that an exporter has put beside it."""
    file = spec.weights.file
    beside = file.with_name(file.name + ".data")
    found = digest(file)
    return sha256((found + digest(beside)).encode()).hexdigest() if beside.is_file() else found


def _is_quantized(file: Path) -> bool:
    # Operator names stand in an ONNX file as they are.
    return b"QuantizeLinear" in file.read_bytes()


def _with_file(spec: ModelSpec, path: Path) -> ModelSpec:
    return replace(spec, weights=replace(spec.weights, file=path))


def _typed(spec: ModelSpec) -> str:
    """What the user calls the network on the command line."""
    return spec.name if spec.weights.file.parent == BUNDLED else str(spec.weights.file)


def _missing(error: ImportError, precision: Precision) -> MissingBackendError:
    return MissingBackendError(
        f"making an {precision} network needs a library that does not load ({error}); "
        'install it with: pip install "headrace[onnx]"'
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
