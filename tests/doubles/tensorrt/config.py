"""What a build is told: profiles, options, and what earlier builds have measured."""

import hashlib
import json
from typing import Any

from tensorrt.callbacks import ILogger, IProgressMonitor, need, tell
from tensorrt.enums import kind
from tensorrt.machine import machine
from tensorrt.memory import Dims, IHostMemory


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
        "_logger",
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
        self._logger: ILogger | None = None
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
            if self._logger is not None:
                tell(self._logger, None, "Timing cache was generated on another device or by another version")
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        return self._cache


def _ordered(least: Dims, best: Dims, most: Dims) -> bool:
    return all(0 <= low <= middle <= high for low, middle, high in zip(least, best, most, strict=True))
