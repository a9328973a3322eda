"""One network in several precisions: which file a precision runs, made on first use or asked for."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.engines.base import Precision
from headrace.engines.errors import BuildError, MissingBackendError, PrecisionError
from headrace.engines.inputs import Array
from headrace.engines.network import called, network_digest, network_folder, safe_name
from headrace.engines.store import digest, locked, put
from headrace.models.errors import MissingLibraryError
from headrace.models.spec import ModelSpec

if TYPE_CHECKING:
    from headrace.engines.worst_layers import Kept
    from headrace.models.graph.calibrate import Method
    from headrace.models.graph.quantize import Quantizer

Feeds = Mapping[str, Array]
Told = Callable[[str], None]

_RECIPE = 3
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
    method: "Method" = "mse",
    keep: Collection[str] | None = None,
    told: Told = lambda line: None,
) -> ModelSpec:
    """Quantize the network and keep it for `variant`; what was made before is replaced.

    Args:
        feeds: real inputs, by name and batch first: frames of the user's own cameras serve best.
        source: where they come from, for the record.
        method: how the ranges are told, see `models.graph.calibrate`.
        keep: layers to leave in float, by name or by type of operator. None: the first and the last ones, and
            those without which an engine that is installed here would be off (a minute for a large network).
        told: hears how it goes on, line by line.

    Raises:
        ValueError: no feeds, an unknown method, or `keep` has a name that the network has not, or leaves no layer.
        PrecisionError: the file is int8 already.
        MissingBackendError: a library is not installed; the message has the line.
        BuildError: the file is missing, or no layer keeps its accuracy in int8.
        ModelError: the file is broken, or has no layer that could be quantized.
        CacheError: the cache folder cannot be written.
    """
    file = spec.weights.file
    if not file.is_file():
        raise BuildError(f"{file}: no such file")
    if _is_quantized(file):
        raise PrecisionError(f"{file}: is int8 already; it runs as it is")
    path = _path(spec, "int8")
    with locked(path, waiting=lambda: told(f"{spec.name}: another process makes its int8 file; waiting")):
        listed = list(feeds)
        quantizer = _quantizer(file, listed, method, told)
        kept = _kept(spec, quantizer, listed, keep, told)
        layers = len(quantizer.layers)
        if len(kept.layers) == layers:
            raise BuildError(f"{spec.name}: no layer keeps its accuracy in int8, so no int8 file is made")
        how = {
            "calibrated_on": source,
            "inputs": len(listed),
            "method": method,
            "kept_float": list(kept.layers),
            "loss": {name: round(loss, 5) for name, loss in kept.losses.items()},
        }
        _keep(spec, path, quantizer.build(kept.layers), how)
    lost = "".join(f", {loss:.2%} off on {name}" for name, loss in kept.losses.items())
    told(f"{spec.name}: {layers - len(kept.layers)} of {layers} layers in int8{lost}")
    return _with_file(spec, path)


def check_int8(file: Path, keep: Collection[str] = ()) -> None:
    """Whether `make_int8` could begin, as far as that shows without feeds: reading those takes long.

    Raises:
        ValueError: a name in `keep` that the network does not have. What cannot be told from the file is not said.
        MissingBackendError: a library is not installed; the message has the line.
        ModelError: the file is broken.
    """
    try:
        import headrace.models.quiet_onnxruntime  # noqa: F401  calibrating runs it
        from headrace.models.graph import quantize, read
    except ImportError as error:
        raise _missing(error, "int8") from error
    nodes = read.load(file).graph.node
    if not keep or len({node.name for node in nodes if node.name}) < len(nodes):
        return  # quantizing names the nodes that have no name of their own
    of_type = {node.name: node.op_type for node in nodes if node.op_type in quantize.OPERATORS}
    for name in keep:
        if name not in of_type and name not in of_type.values():
            known = ", ".join([*dict.fromkeys(of_type.values()), *of_type])
            raise ValueError(f"{file}: no layer {name!r} to keep in float; there are: {known}")


def _quantizer(file: Path, feeds: list[Feeds], method: "Method", told: Told) -> "Quantizer":
    try:
        from headrace.models.graph.quantize import Quantizer

        return Quantizer(file, feeds, method=method, told=told)
    except ImportError as error:  # of onnx or of onnxruntime
        raise _missing(error, "int8") from error


def _kept(
    spec: ModelSpec, quantizer: "Quantizer", feeds: list[Feeds], keep: Collection[str] | None, told: Told
) -> "Kept":
    from headrace.engines.worst_layers import Kept, WorstLayers

    trial = WorstLayers(spec, quantizer, feeds, told=told)
    if keep is None:
        return trial.find(quantizer.ends)
    layers = quantizer.named(keep)
    if len(layers) == len(quantizer.layers):
        raise ValueError(f"{spec.name}: all of its layers are to stay in float, so there is nothing to make int8")
    return Kept(layers=layers, losses=trial.losses(layers))


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
    if path.is_file():
        with locked(_record_path(path)):  # someone may be between writing the file and writing its record
            if _valid(spec, path) is not None:
                return _with_file(spec, path)
    why = "what was kept of it is stale or damaged" if path.is_file() else "it needs frames to be made"
    raise PrecisionError(f"{spec.name} in int8: {why}; run: headrace build {called(spec)} --precision int8")


def _keep(spec: ModelSpec, path: Path, model: bytes, how: Mapping[str, Any]) -> None:
    facts = {
        "network": spec.name,
        "source": network_digest(spec),
        "file": sha256(model).hexdigest(),
        "recipe": _RECIPE,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: found for name in ("headrace", "onnx", "onnxruntime") if (found := _version(name))},
        **how,
    }
    with locked(_record_path(path)):
        put(path, model)
        put(_record_path(path), json.dumps(facts, indent=1).encode())


def _valid(spec: ModelSpec, path: Path) -> dict[str, Any] | None:
    """The record of a kept file, if file and record are whole and the network is still the same."""
    try:
        facts = json.loads(_record_path(path).read_bytes())
        holds = (
            facts["source"] == network_digest(spec) and facts["recipe"] == _RECIPE and facts["file"] == digest(path)
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return facts if holds else None


def _path(spec: ModelSpec, precision: Precision) -> Path:
    return network_folder(spec) / f"{safe_name(spec)}-{precision}.onnx"


def _record_path(path: Path) -> Path:
    return path.with_suffix(".json")


def _is_quantized(file: Path) -> bool:
    # Operator names stand in an ONNX file as they are.
    return b"QuantizeLinear" in file.read_bytes()


def _with_file(spec: ModelSpec, path: Path) -> ModelSpec:
    return replace(spec, weights=replace(spec.weights, file=path))


def _missing(error: ImportError, precision: Precision) -> MissingBackendError:
    # What `models.graph` says has the line that installs it too: it would be there twice.
    why = error.__cause__ if isinstance(error, MissingLibraryError) and error.__cause__ else error
    return MissingBackendError(
        f"making an {precision} network needs a library that does not load ({why}); "
        'install it with: pip install "headrace[onnx]"'
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
