"""Loading a plan, the engine in it, and what it tells of itself."""

import json
from typing import Any

from tensorrt.builder import settle
from tensorrt.callbacks import ILogger, need, tell, warn
from tensorrt.context import IExecutionContext
from tensorrt.enums import kind
from tensorrt.execution import Execution, Port
from tensorrt.machine import machine
from tensorrt.memory import Dims, IHostMemory
from tensorrt.plan import Plan, RefusedError


class Runtime:
    __slots__ = ("__weakref__", "_logger", "engine_host_code_allowed", "error_recorder", "max_threads")

    def __init__(self, logger: ILogger) -> None:
        need(logger, ILogger)
        self._logger = settle(logger)
        self.engine_host_code_allowed = False
        self.error_recorder: Any = None
        self.max_threads = 1

    @property
    def logger(self) -> ILogger:
        return self._logger

    def deserialize_cuda_engine(self, serialized_engine: Any) -> "ICudaEngine | None":
        try:
            plan = Plan.read(bytes(serialized_engine), host_code_allowed=self.engine_host_code_allowed)
        except RefusedError as error:
            tell(self._logger, self.error_recorder, f"IRuntime::deserializeCudaEngine: {error}", "INTERNAL_ERROR")
            return None
        if plan.gpu != machine.gpu:
            warn(
                self._logger,
                "Using an engine plan file across different models of devices is not supported and is likely to affect "
                "performance or even cause errors.",
            )
        return ICudaEngine(self, plan)


class ICudaEngine:
    __slots__ = ("__weakref__", "_execution", "_plan", "_runtime", "error_recorder")

    def __init__(self, runtime: Runtime, plan: Plan) -> None:
        self._runtime = runtime
        self._plan = plan
        self._execution = Execution(plan.network)
        self.error_recorder: Any = None

    @property
    def num_io_tensors(self) -> int:
        return len(self._execution.ports)

    @property
    def num_layers(self) -> int:
        return self._plan.layers

    @property
    def num_optimization_profiles(self) -> int:
        return max(1, len(self._plan.profiles))

    @property
    def device_memory_size_v2(self) -> int:
        return machine.context_bytes

    @property
    def num_aux_streams(self) -> int:
        return self._plan.aux_streams

    @property
    def refittable(self) -> bool:
        return bool({"REFIT", "REFIT_IDENTICAL"} & {*self._plan.flags})

    @property
    def name(self) -> str:
        return self._plan.name

    @property
    def hardware_compatibility_level(self) -> Any:
        return getattr(kind("HardwareCompatibilityLevel"), self._plan.hardware)

    @property
    def profiling_verbosity(self) -> Any:
        return getattr(kind("ProfilingVerbosity"), self._plan.verbosity)

    def get_device_memory_size_for_profile_v2(self, profile_index: int) -> int:
        return machine.context_bytes if 0 <= profile_index < self.num_optimization_profiles else 0

    def get_tensor_name(self, index: int) -> str:
        return [*self._execution.ports][index]

    def get_tensor_mode(self, name: str) -> Any:
        port = self._execution.ports.get(name)
        modes = kind("TensorIOMode")
        return modes.NONE if port is None else modes.INPUT if port.is_input else modes.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        port = self._execution.ports.get(name)
        return getattr(kind("DataType"), port.kind if port is not None else "FLOAT")

    def get_tensor_shape(self, name: str) -> Dims:
        return self._port(name).shape

    def get_tensor_location(self, name: str) -> Any:
        return kind("TensorLocation").DEVICE

    def get_tensor_format(self, name: str, profile_index: int = 0) -> Any:
        return kind("TensorFormat").LINEAR

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Dims]:
        if not self._port(name).is_input:
            tell(self._runtime._logger, self.error_recorder, f"{name} is no input: it has no profile")
            return []
        profiles = self._plan.profiles
        if profiles and name in profiles[profile_index]:
            return [Dims(shape) for shape in profiles[profile_index][name]]
        return [self._port(name).shape] * 3

    def serialize(self) -> IHostMemory:
        return IHostMemory(self._plan.to_bytes())

    def create_execution_context(self, strategy: Any = None) -> IExecutionContext | None:
        if self._execution.missing:
            text = f"the weights of {len(self._execution.missing)} constants are missing: refit the engine first"
            tell(self._runtime._logger, self.error_recorder, text)
            return None
        plugins = machine.logger_of_plugins
        assert plugins is None or plugins() is not None, "the logger that init_libnvinfer_plugins was given is gone"
        strategies = kind("ExecutionContextAllocationStrategy")
        context = IExecutionContext(self, managed_by_user=strategy == strategies.USER_MANAGED)
        return context if context._has_memory() else None

    def create_engine_inspector(self) -> "EngineInspector":
        return EngineInspector(self)

    def _port(self, name: str) -> Port:
        port = self._execution.ports.get(name)
        if port is None:
            raise ValueError("Dims: negative number of dimensions: no tensor of that name")
        return port


class EngineInspector:
    __slots__ = ("__weakref__", "_engine", "error_recorder", "execution_context")

    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine
        self.execution_context: IExecutionContext | None = None
        self.error_recorder: Any = None

    def get_engine_information(self, format: Any) -> str:
        layers = [self._layer(index) for index in range(self._engine.num_layers)]
        if format != kind("LayerInformationFormat").JSON:
            return "\n".join(str(layer) for layer in layers)
        names = [*self._engine._execution.ports]
        if machine.major < 11:
            return json.dumps({"Layers": layers, "Bindings": names})
        modes = [self._engine.get_tensor_mode(name).name.title() for name in names]
        tensors = [{"Name": name, "IOMode": mode} for name, mode in zip(names, modes, strict=True)]
        return json.dumps({"Layers": layers, "I/O Tensors": tensors})

    def get_layer_information(self, layer_index: int, format: Any) -> str:
        layer = self._layer(layer_index)
        return json.dumps(layer) if format == kind("LayerInformationFormat").JSON else str(layer)

    def _layer(self, index: int) -> Any:
        name, operator = self._engine._execution.nodes[index]
        if self._engine._plan.verbosity != "DETAILED":
            return name
        return {"Name": name, "LayerType": operator, "Inputs": [], "Outputs": []}
