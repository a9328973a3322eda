"""Building a plan: ONNX bytes in, a serialized engine out, for TensorRT 10.13 to 11.x by the same calls.

The types in the network decide the precision (strong typing). A build takes minutes, so it runs on its caller's
thread, with the GPU's context lent: lanes of other networks go on meanwhile.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from headrace.engines.base import Precision
from headrace.engines.batches import fed_batch
from headrace.engines.errors import BuildError, CancelledError, PrecisionError
from headrace.engines.network import called
from headrace.engines.ports import FoundTensor, match_ports, shape_text
from headrace.engines.trt.callbacks import Log, Progress, Told
from headrace.engines.trt.library import trt
from headrace.engines.trt.options import BuildOptions
from headrace.engines.trt.plan import no_gpu, numpy_type
from headrace.models.spec import ModelSpec

Shapes = dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]
"""Least, best and most of each input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be built, how, and who hears of it."""

    spec: ModelSpec
    options: BuildOptions
    precision: Precision | None = None
    """What the file must be in; None for what it is in."""
    told: Told = field(default=lambda phase, step, steps: None)
    cancelled: Callable[[], bool] = field(default=lambda: False)

    @property
    def file(self) -> str:
        """The network's file, as messages name it."""
        return str(self.spec.weights.file)

    def require_precision(self, found: Precision) -> None:
        """Refuse a file of another precision than the one that is asked for.

        Raises:
            PrecisionError: names both.
        """
        if self.precision not in (None, found):
            raise PrecisionError(
                f"{self.file}: asked for {self.precision}; tensorrt runs it in {found}, as the file is; "
                f"headrace build {called(self.spec)} --precision {self.precision} makes a file for it"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a build gives."""

    plan: bytes
    timings: bytes
    """What TensorRT has measured of its kernels, for the next build."""
    layers: int
    seconds: float


def build(order: Order, onnx: bytes, timings: bytes) -> Built:
    """Build a plan; the GPU's context must be current on this thread.

    Args:
        timings: what an earlier build has measured; what does not fit here is left aside.

    Raises:
        BuildError: TensorRT cannot read or build the network; has the last lines of its log and what to try.
        SpecMismatchError: the network and its description contradict each other.
        CancelledError: `order.cancelled` said so; nothing was written.
        DeviceError: no usable GPU.
    """
    log = Log()
    trt.init_libnvinfer_plugins(log.native, "")
    try:
        builder = trt.Builder(log.native)
    except TypeError:
        raise no_gpu(log) from None
    network = _parsed(builder, log, order, onnx)
    config = _config(builder, order.options)
    for shapes in profiles(order.spec, _found_inputs(network, order.spec), order.options.max_batch):
        _add_profile(builder, config, shapes, log)
    held = _set_timings(config, timings)
    monitor = Progress(order.told, order.cancelled)
    config.progress_monitor = monitor
    began = time.monotonic()
    log.forget()  # times of another GPU are refused loudly, and are no reason for what comes
    plan = builder.build_serialized_network(network, config)
    del held  # the builder has written into it until here
    if monitor.error is not None:
        raise monitor.error
    if monitor.cancelled:
        raise CancelledError(f"{order.file}: the build was cancelled; nothing was written")
    if plan is None:
        raise BuildError(_failed(order, log))
    return Built(
        plan=bytes(plan),
        timings=bytes(config.get_timing_cache().serialize()),
        layers=int(network.num_layers),
        seconds=time.monotonic() - began,
    )


def profiles(spec: ModelSpec, inputs: dict[str, tuple[int | None, ...]], most: int) -> list[Shapes]:
    """The optimization profiles: one for single frames, one for batches of 1 to `most`; none where nothing is free.

    Args:
        inputs: the shapes of the file's inputs, None where a length is free.
        most: the longest batch.

    Raises:
        BuildError: a length other than the first is free, and the description does not fix it.
    """
    described = {each.name: each.shape for each in spec.inputs}
    batch = fed_batch(spec.inputs)  # of a state, which no description has, too
    free = {
        name: _narrowed(spec, name, shape, described.get(name, (batch,) * len(shape)))
        for name, shape in inputs.items()
        if None in shape
    }
    if not free:
        return []
    single = {name: _three(shape, 1) for name, shape in free.items()}
    if most == 1 or all(None not in shape for shape in free.values()):
        return [single]
    return [single, {name: _three(shape, most) for name, shape in free.items()}]


def _narrowed(
    spec: ModelSpec, name: str, shape: tuple[int | None, ...], described: tuple[int | None, ...]
) -> tuple[int | None, ...]:
    """The shape with what the description fixes."""
    lengths = tuple(has or want for has, want in zip(shape, described, strict=True))
    if lengths.count(None) > 1:
        raise BuildError(
            f"{spec.weights.file}: input {name!r} {shape_text(lengths)} has a free length beside its batch: "
            "fix it in the description or in the file"
        )
    return lengths


def _three(shape: tuple[int | None, ...], most: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    least, longest = (tuple(rows if length is None else length for length in shape) for rows in (1, most))
    return least, longest, longest


def _parsed(builder: Any, log: Log, order: Order, onnx: bytes) -> Any:
    # By name: this flag has another number in 10.x than in 11.x, where it is always on.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log.native)
    if not parser.parse(onnx, order.file):
        errors = [_parser_error(parser.get_error(at)) for at in range(parser.num_errors)]
        raise BuildError(f"{order.file}: TensorRT cannot read it: {'; '.join(errors) or log.why()}")
    return network


def _parser_error(error: Any) -> str:
    operator, name = error.node_operator(), error.node_name()
    where = f"node {name or error.node()} ({operator}): " if operator else ""
    return f"{where}{error.code().name}: {error.desc()}"


def _config(builder: Any, options: BuildOptions) -> Any:
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    config.builder_optimization_level = options.level
    config.max_aux_streams = options.aux_streams
    # The inspector then knows layers' types and formats; it costs nothing while the plan runs.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if not options.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if options.refit:
        config.set_flag(trt.BuilderFlag.REFIT)
    if options.strip:
        config.set_flag(trt.BuilderFlag.STRIP_PLAN)
        if not options.refit:  # the very same weights are put back: more can be folded into the plan
            config.set_flag(trt.BuilderFlag.REFIT_IDENTICAL)
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware == "ampere_plus":
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    elif options.hardware == "same_compute_capability":
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY
    return config


def _found_inputs(network: Any, spec: ModelSpec) -> dict[str, tuple[int | None, ...]]:
    """The shapes of the network's inputs, after they were held against the description: a build takes minutes."""
    try:
        inputs = [_found(network.get_input(at)) for at in range(network.num_inputs)]
        outputs = [_found(network.get_output(at)) for at in range(network.num_outputs)]
    except BuildError as error:
        raise BuildError(f"{spec.weights.file}: {error}") from None
    match_ports(spec, inputs, outputs)
    return {each.name: each.shape for each in inputs}


def _found(tensor: Any) -> FoundTensor:
    shape = tuple(None if length < 0 else int(length) for length in tensor.shape)
    return FoundTensor(name=tensor.name, shape=shape, dtype=numpy_type(tensor.dtype, tensor.name).name)


def _add_profile(builder: Any, config: Any, shapes: Shapes, log: Log) -> None:
    profile = builder.create_optimization_profile()
    for name, (least, best, most) in shapes.items():
        try:
            profile.set_shape(name, least, best, most)
        except RuntimeError as error:
            raise BuildError(f"input {name!r}: profile {least} {best} {most} is refused: {error}") from None
    if config.add_optimization_profile(profile) < 0:
        raise BuildError(f"optimization profile {shapes} is refused: {log.why()}")


def _set_timings(config: Any, timings: bytes) -> Any:
    cache = config.create_timing_cache(timings)
    if cache is None or not config.set_timing_cache(cache, False):  # damaged, or of another device: begin anew
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def _failed(order: Order, log: Log) -> str:
    why, options = log.why(), order.options
    memory = ("memory", "alloc", "workspace")
    tries = (
        f"a smaller max_batch ({options.max_batch}) or workspace_bytes ({options.workspace_bytes})"
        if any(word in why.lower() for word in memory)
        else f"another level ({options.level}) or more workspace_bytes ({options.workspace_bytes})"
    )
    return f"{order.file}: TensorRT cannot build it: {why}; try {tries}"
