"""Building a plan: its phases, and every way in which a build gives None."""

import threading
from collections.abc import Callable
from typing import Any

from tensorrt.callbacks import ILogger, IProgressMonitor, need, tell, warn
from tensorrt.config import IBuilderConfig, IOptimizationProfile
from tensorrt.enums import kind
from tensorrt.machine import machine
from tensorrt.memory import Dims, IHostMemory
from tensorrt.network import INetworkDefinition
from tensorrt.plan import Plan, Profile
from tensorrt.streams import require_context, wait_for_the_device
from tensorrt.weights import stripped


class Builder:
    __slots__ = ("__weakref__", "_logger", "error_recorder", "max_threads")

    def __init__(self, logger: ILogger) -> None:
        need(logger, ILogger)
        self._logger = settle(logger)
        self.error_recorder: Any = None
        self.max_threads = 1

    @property
    def logger(self) -> ILogger:
        return self._logger

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        return INetworkDefinition(self, int(flags))

    def create_builder_config(self) -> IBuilderConfig:
        config = IBuilderConfig()
        config._logger = self._logger
        return config

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> IHostMemory | None:
        need(network, INetworkDefinition)
        need(config, IBuilderConfig)
        require_context("build_serialized_network")
        wait_for_the_device()
        machine.builds += 1
        refused = _refusal(network, config) or _run_phases(config._monitor, network.num_layers)
        if refused is None:
            refused = machine.take_build_failure()
        if refused is not None:
            tell(self._logger, self.error_recorder, refused)
            return None
        return IHostMemory(_plan(network, config).to_bytes())


def settle(logger: ILogger) -> ILogger:
    """What making a builder, runtime or refitter begins with: a GPU is looked for, and the process gets its logger.

    Returns:
        The logger that is used: the first.

    Raises:
        TypeError: there is no GPU; as pybind11 says it.
    """
    if not machine.has_gpu:
        tell(logger, None, "CUDA initialization failure with error: 100. Please check your CUDA installation")
        raise TypeError("pybind11::init(): factory function returned nullptr")
    if machine.logger is None:
        machine.logger = logger
    elif machine.logger is not logger:
        machine.other_loggers += 1
        warn(
            logger,
            "The logger passed into createInferBuilder differs from one already registered for an existing builder, "
            "runtime, or refitter. So the current new logger is ignored, and TensorRT will use the existing one which "
            "is returned by nvinfer1::getLogger() instead",
        )
    used: ILogger = machine.logger
    return used


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
