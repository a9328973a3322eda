"""OpenVINO on the CPU: the precision is set by us and read back, and each session has a stream of its own."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np

from headrace.engines.base import Engine, EngineInfo, Precision, Session
from headrace.engines.blobs import keep, kept, key_of
from headrace.engines.cores import usable_cores
from headrace.engines.errors import BuildError, InferError, PrecisionError
from headrace.engines.inputs import Array
from headrace.engines.ports import NEXT, FoundTensor, match_ports
from headrace.engines.quiet_openvino import openvino
from headrace.models.spec import ModelSpec

DEVICE = "CPU"
_HINTS: dict[Precision, str] = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "bf16"}
"""What the layers run in that the file leaves in float; int8 itself is written in a quantized file.

Beside int8 the rest in bf16 costs no accuracy that can be measured, and is quicker; a CPU without it runs it in f32.
"""
_CAPABILITIES: dict[Precision, str] = {"fp32": "FP32", "bf16": "BF16", "fp16": "FP16", "int8": "INT8"}
_HEAVY_LAYERS = frozenset({"Convolution", "Deconvolution", "FullyConnected", "MatMul", "RNNSeq", "RNNCell"})
_LAYER_PRECISIONS: dict[str, Precision] = {
    "i8": "int8",
    "u8": "int8",
    "bf16": "bf16",
    "f16": "fp16",
    "f32": "fp32",
}
"""Narrowest first: where layers differ, the network is as precise as its least precise ones."""
_CACHE = "openvino"
_LARGEST_CACHED_BYTES = 32_000_000
"""Above this, reading a compiled network and checking it takes as long as compiling the file again."""


class OpenVinoEngine(Engine):
    """A network compiled by OpenVINO for the CPU."""

    def __init__(
        self,
        spec: ModelSpec,
        *,
        precision: Precision | None = None,
        sessions: int | None = None,
        threads: int | None = None,
        pinned: bool = False,
    ) -> None:
        """Compile a network.

        Args:
            spec: the network.
            precision: None for fp32, or for int8 with the rest in fp32 where the file is quantized. "int8" runs the
                rest of such a file in bf16 where the CPU has it.
            sessions: how many run at once, each with its share of the threads. None: one per core, for the
                most frames per second; 1: all threads on one frame, the shortest time per frame.
            threads: for all sessions together; None for one per core.
            pinned: bind threads to cores; off, because decoding and drawing share them.

        Raises:
            PrecisionError: this CPU or this file cannot run that precision.
            BuildError: the file is missing, broken or not supported, or does not fit its description.
        """
        hint = _hint(precision or "fp32")
        threads = threads or usable_cores()
        options = {
            "INFERENCE_PRECISION_HINT": hint,
            "NUM_STREAMS": min(sessions or threads, threads),
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": pinned,
        }
        self._compiled: Any = _compiled(spec.weights.file, options)
        inputs, outputs = self._compiled.inputs, self._compiled.outputs
        ports = match_ports(spec, [_found(each) for each in inputs], [_found(each) for each in outputs])
        ran = _precision_that_runs(self._compiled, hint)
        if precision == "int8" != ran:
            raise PrecisionError(
                f"{spec.weights.file}: asked for int8; the file is not quantized: as it is, openvino runs it in fp32"
            )
        if precision not in (None, ran):
            raise PrecisionError(f"{spec.weights.file}: asked for {precision}; on openvino its layers run in {ran}")
        info = EngineInfo(
            backend="openvino",
            version=openvino.__version__.split("-")[0],
            device=_device_name(),
            precision=ran,
        )
        super().__init__(spec, ports, info, int(self._compiled.get_property("NUM_STREAMS")))

    def _open_session(self) -> Session:
        return _OpenVinoSession(self, self._compiled.create_infer_request())

    def _release(self) -> None:
        self._compiled = None


class _OpenVinoSession(Session):
    def __init__(self, engine: OpenVinoEngine, request: Any) -> None:
        super().__init__(engine)
        self._request = request
        compiled = request.get_compiled_model()
        self._input_at = {spec.name: _index(compiled.inputs, spec.name) for spec in engine.inputs + engine.state}
        names = [spec.name for spec in engine.outputs] + [NEXT + spec.name for spec in engine.state]
        self._output_at = {name: _index(compiled.outputs, name) for name in names}
        self._staging: dict[str, Array] = {}

    def _run(self, feeds: Mapping[str, Array], wanted: tuple[str, ...]) -> dict[str, Array]:
        request = self._request
        try:
            for name, at in self._input_at.items():
                lent = self._lent(name, feeds[name])
                request.set_input_tensor(at, openvino.Tensor(lent, shared_memory=True))
            request.infer(share_outputs=True)
            # A request writes its next results into the same memory: what leaves here is a copy.
            return {name: request.get_output_tensor(self._output_at[name]).data.copy() for name in wanted}
        except RuntimeError as error:
            raise InferError(f"{self._engine.spec.name} on openvino: {_last_words(error)}") from error

    def _lent(self, name: str, array: Array) -> Array:
        """The array, or a copy in memory of our own: OpenVINO borrows only what is writable and dense."""
        if array.flags.c_contiguous and array.flags.writeable:
            return array
        staged = self._staging.get(name)
        if staged is None or staged.shape != array.shape:
            staged = self._staging[name] = np.empty(array.shape, array.dtype)
        np.copyto(staged, array)
        return staged

    def _release(self) -> None:
        self._request = None
        self._staging.clear()


def precisions() -> tuple[Precision, ...]:
    """What this CPU runs natively; OpenVINO would run another precision in its place without a word."""
    capable = _core().get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")
    return tuple(precision for precision, name in _CAPABILITIES.items() if name in capable)


@cache
def _core() -> Any:
    return openvino.Core()


@cache
def _onnx_reader() -> Any:
    # Core.read_model would offer a broken file to every reader, TensorFlow's included, which write on stderr.
    return openvino.frontend.FrontEndManager().load_by_framework("onnx")


def _hint(precision: Precision) -> str:
    if precision not in precisions():
        raise PrecisionError(
            f"openvino on this CPU cannot run precision {precision!r}; allowed: {', '.join(precisions())}"
        )
    return "f32" if precision == "int8" and "bf16" not in precisions() else _HINTS[precision]


def _device_name() -> str:
    return cast(str, _core().get_property(DEVICE, "FULL_DEVICE_NAME")).strip()


def _compiled(file: Path, options: dict[str, Any]) -> Any:
    """From the cache where it is there and whole, else compiled and put there.

    OpenVINO's own cache would take weights that were damaged on the disk without a word.
    """
    key = _cache_key(file, options)
    blob = kept(_CACHE, key) if key else None
    if blob is not None:
        with suppress(RuntimeError):  # no longer readable: compiled anew, and written over
            return _core().import_model(blob, DEVICE, options)
    compiled = _compile(_read(file), file, options)
    if key:
        keep(_CACHE, key, compiled.export_model().getvalue())
    return compiled


def _cache_key(file: Path, options: dict[str, Any]) -> str | None:
    """Of the file's content and all that decides what it is compiled to; None where it is not to be kept."""
    if not file.is_file():
        raise BuildError(f"{file}: no such file")
    if file.stat().st_size > _LARGEST_CACHED_BYTES:
        return None
    content = file.read_bytes()
    if b"location" in content:  # weights in other files, which could change behind this one
        return None
    machine = f"{openvino.__version__} {_device_name()} {precisions()}"
    return key_of(content, machine, repr(sorted(options.items())))


def _read(file: Path) -> Any:
    try:
        return _onnx_reader().convert(_onnx_reader().load(str(file)))
    except Exception as error:  # the reader's classes have no common base below Exception
        raise BuildError(f"{file}: openvino cannot read it: {_last_words(error)}") from error


def _compile(model: Any, file: Path, options: dict[str, Any]) -> Any:
    try:
        return _core().compile_model(model, DEVICE, options)
    except RuntimeError as error:
        raise BuildError(f"{file}: openvino cannot compile it: {_last_words(error)}") from error


def _precision_that_runs(compiled: Any, hint: str) -> Precision:
    """The precision of the layers that do the work, as the compiled graph has them.

    Raises:
        PrecisionError: OpenVINO took another precision than it was told.
    """
    taken = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if taken != hint:
        raise PrecisionError(f"openvino was told to compile for {hint} and compiled for {taken}")
    layers = [layer.get_rt_info() for layer in compiled.get_runtime_model().get_ops()]
    heavy = [layer for layer in layers if layer["layerType"].astype(str) in _HEAVY_LAYERS]
    ran = {layer["runtimePrecision"].astype(str) for layer in heavy} or {hint}
    for narrowest in _LAYER_PRECISIONS:
        if narrowest in ran:
            return _LAYER_PRECISIONS[narrowest]
    raise PrecisionError(f"openvino runs layers in {', '.join(sorted(ran))}, which has no name here")


def _found(port: Any) -> FoundTensor:
    # Several names may stand for one tensor; the file's own is the one that the exporter gave.
    lengths = [None if length.is_dynamic else int(length.get_length()) for length in port.get_partial_shape()]
    dtype = np.dtype(port.get_element_type().to_dtype()).name
    return FoundTensor(name=cast(str, port.get_any_name()), shape=tuple(lengths), dtype=dtype)


def _index(ports: Sequence[Any], name: str) -> int:
    return next(at for at, port in enumerate(ports) if name in port.get_names())


def _last_words(error: Exception) -> str:
    """The last line of a message that begins with OpenVINO's own source files."""
    lines = [line.strip(" -") for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
