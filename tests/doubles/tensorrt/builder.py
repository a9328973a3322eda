"""Building a plan: profiles, options, timing cache, progress, and every way in which a build gives None."""

import hashlib
import json
import threading
from collections.abc import Callable
from typing import Any

from tensorrt.callbacks import ILogger, IProgressMonitor, need, tell
from tensorrt.enums import kind
from tensorrt.machine import machine
from tensorrt.memory import Dims, IHostMemory
from tensorrt.network import INetworkDefinition
from tensorrt.plan import Plan, Profile
from tensorrt.streams import require_context
from tensorrt.weights import stripped


class IOptimizationProfile:
    __slots__ = ("__weakref__", "_shapes")

    def __init__(self) -> None:
        self._shapes: dict[str, tuple[Dims, Dims, Dims]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        least, best, most = Dims(min), Dims(opt), Dims(max)
        if len({len(least), len(best), len(most)}) != 1 or not _ordered(least, best, most):
            raise RuntimeError("Shape provided for max is inconsistent with other shapes.")
        self._shapes[input] = (least, best, most)

    def get_shape(self, input: str) -> list[Dims]:
        return list(self._shapes.get(input, ()))

    def __bool__(self) -> bool:
        return len(self._shapes) > 0


class ITimingCache:
    __slots__ = ("__weakref__", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data

    def serialize(self) -> IHostMemory:
        return IHostMemory(self._data)

    def _told(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._data or b"{}"))
        except ValueError:
            return {"capability": "damaged"}

    def _fits(self) -> bool:
        told = self._told()
        return not told or (told.get("capability"), told.get("version")) == (machine.capability, machine.version)

    def _note(self, network: bytes) -> None:
        timed = {*self._told().get("timed", ()), hashlib.sha256(network).hexdigest()[:12]}
        told = {"capability": machine.capability, "version": machine.version, "timed": sorted(timed)}
        self._data = json.dumps(told).encode()


class IBuilderConfig:
    __slots__ = (
        "__weakref__",
        "_cache",
        "_flags",
        "_monitor",
        "_pools",
        "_profiles",
        "avg_timing_iterations",
        "builder_optimization_level",
        "hardware_compatibility_level",
        "max_aux_streams",
        "profiling_verbosity",
    )

    def __init__(self) -> None:
        self._flags = 1 << int(kind("BuilderFlag").TF32)
        self._pools: dict[Any, int] = {}
        self._profiles: list[dict[str, tuple[Dims, Dims, Dims]]] = []
        self._cache: ITimingCache | None = None
        self._monitor: IProgressMonitor | None = None
        self.avg_timing_iterations = 1
        self.builder_optimization_level = 3
        self.hardware_compatibility_level = kind("HardwareCompatibilityLevel").NONE
        self.max_aux_streams = -1
        self.profiling_verbosity = kind("ProfilingVerbosity").LAYER_NAMES_ONLY

    @property
    def progress_monitor(self) -> IProgressMonitor | None:
        return self._monitor

    @progress_monitor.setter
    def progress_monitor(self, monitor: IProgressMonitor | None) -> None:
        if monitor is not None:
            need(monitor, IProgressMonitor)
        self._monitor = monitor

    @property
    def flags(self) -> int:
        return self._flags

    @property
    def num_optimization_profiles(self) -> int:
        return len(self._profiles)

    def set_flag(self, flag: Any) -> None:
        need(flag, kind("BuilderFlag"))
        self._flags |= 1 << int(flag)

    def clear_flag(self, flag: Any) -> None:
        need(flag, kind("BuilderFlag"))
        self._flags &= ~(1 << int(flag))

    def get_flag(self, flag: Any) -> bool:
        return (self._flags >> int(flag)) & 1 == 1

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        need(pool, kind("MemoryPoolType"))
        self._pools[pool] = int(pool_size)

    def get_memory_pool_limit(self, pool: Any) -> int:
        return self._pools.get(pool, 1 << 34)

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        if not profile:
            return -1
        self._profiles.append(dict(profile._shapes))
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: Any) -> ITimingCache:
        return ITimingCache(bytes(serialized_timing_cache))

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if not ignore_mismatch and not cache._fits():
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        return self._cache


class Builder:
    __slots__ = ("__weakref__", "_logger", "error_recorder", "max_threads")

    def __init__(self, logger: ILogger) -> None:
        need(logger, ILogger)
        require_gpu(logger)
        self._logger = logger
        self.error_recorder: Any = None
        self.max_threads = 1

    @property
    def logger(self) -> ILogger:
        return self._logger

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        return INetworkDefinition(self, int(flags))

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> IHostMemory | None:
        need(network, INetworkDefinition)
        need(config, IBuilderConfig)
        require_context("build_serialized_network")
        machine.builds += 1
        refused = _refusal(network, config) or _run_phases(config._monitor, network.num_layers)
        if refused is None:
            refused = machine.take_build_failure()
        if refused is not None:
            tell(self._logger, self.error_recorder, refused)
            return None
        return IHostMemory(_plan(network, config).to_bytes())


def require_gpu(logger: ILogger) -> None:
    """What making the first object does where there is no GPU.

    Raises:
        TypeError: as pybind11 says it.
    """
    if not machine.has_gpu:
        tell(logger, None, "CUDA initialization failure with error: 100. Please check your CUDA installation")
        raise TypeError("pybind11::init(): factory function returned nullptr")


def _plan(network: INetworkDefinition, config: IBuilderConfig) -> Plan:
    flags = [flag.name for flag in kind("BuilderFlag").__members__.values() if config.get_flag(flag)]
    whole = network._model.SerializeToString()
    if config._cache is not None:
        config._cache._note(whole)
    return Plan(
        network=stripped(whole) if "STRIP_PLAN" in flags else whole,
        name=network.name,
        layers=network.num_layers,
        profiles=[_plain(each) for each in config._profiles],
        flags=flags,
        hardware=config.hardware_compatibility_level.name,
        verbosity=config.profiling_verbosity.name,
        aux_streams=max(0, config.max_aux_streams),
    )


def _plain(profile: dict[str, tuple[Dims, Dims, Dims]]) -> Profile:
    return {name: (tuple(least), tuple(best), tuple(most)) for name, (least, best, most) in profile.items()}


def _refusal(network: INetworkDefinition, config: IBuilderConfig) -> str | None:
    if not network._outputs:
        return "Error Code 4: API Usage Error (Network must have at least one output)"
    free = [each for each in network._inputs if -1 in each.shape]
    if free and not config._profiles:
        return (
            "Error Code 4: API Usage Error (Network has dynamic or shape inputs, but no optimization profile has been "
            "defined.)"
        )
    inputs = {each.name: each.shape for each in network._inputs}
    for index, profile in enumerate(config._profiles):
        for each in free:
            if each.name not in profile:
                return f"Error Code 4: API Usage Error ({each.name}: missing in optimization profile {index})"
        for name, shapes in profile.items():
            if name not in inputs or not _fits(inputs[name], shapes):
                return (
                    f"Error Code 4: API Usage Error ({name}: optimization profile {index} does not fit the network)"
                )
    return None


def _fits(shape: Dims, profile: tuple[Dims, Dims, Dims]) -> bool:
    if len(shape) != len(profile[0]):
        return False
    return all(length == -1 or {length} == {*three} for length, *three in zip(shape, *profile, strict=True))


def _ordered(least: Dims, best: Dims, most: Dims) -> bool:
    return all(0 <= low <= middle <= high for low, middle, high in zip(least, best, most, strict=True))


def _run_phases(monitor: IProgressMonitor | None, layers: int) -> str | None:
    """Work through the phases on a thread of the library's own; what is wrong, or None."""
    told: list[str | None] = []
    worker = threading.Thread(target=lambda: told.append(_phases(monitor, layers)), name="tensorrt-builder")
    worker.start()
    worker.join()
    return told[0]


def _phases(monitor: IProgressMonitor | None, layers: int) -> str | None:
    start, finish, step = _told_to(monitor)
    start("Building Engine", None, 3)
    cancelled = False
    for index, (phase, steps) in enumerate((("Computing profile costs", 2), ("Timing tactics", max(1, layers)))):
        start(phase, "Building Engine", steps)
        cancelled = any(not step(phase, each) for each in range(steps))
        cancelled = cancelled or (phase == "Timing tactics" and _held(lambda: step("Timing tactics", steps)))  # noqa: B023
        finish(phase)
        cancelled = cancelled or not step("Building Engine", index)
        if cancelled:
            break
    finish("Building Engine")
    return "Error Code 10: Internal Error (Build was cancelled by the progress monitor)" if cancelled else None


def _held(step: Callable[[], bool]) -> bool:
    """Wait where a test holds builds back; True if the build is cancelled meanwhile."""
    gate = machine.gate
    if gate is None:
        return False
    gate.arrive()
    while not gate.open():
        if not step():
            return True
    return False


def _told_to(
    monitor: IProgressMonitor | None,
) -> tuple[Callable[[str, str | None, int], Any], Callable[[str], Any], Callable[[str, int], bool]]:
    if monitor is None:
        return (lambda *_: None), (lambda _: None), (lambda *_: True)

    def start(phase: str, parent: str | None, steps: int) -> Any:
        return IProgressMonitor.phase_start(monitor, phase, parent, steps)

    def finish(phase: str) -> Any:
        return IProgressMonitor.phase_finish(monitor, phase)

    def step(phase: str, number: int) -> bool:
        return IProgressMonitor.step_complete(monitor, phase, number)

    return start, finish, step
