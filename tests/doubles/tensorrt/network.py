"""A network that is being described, and its tensors."""

from typing import Any

from tensorrt.enums import kind
from tensorrt.machine import machine
from tensorrt.memory import Dims


class ITensor:
    __slots__ = ("__weakref__", "_dtype", "_is_input", "name", "shape")

    def __init__(self, name: str, dtype: Any, shape: tuple[int, ...], is_input: bool) -> None:
        self.name = name
        self._dtype = dtype
        self.shape = Dims(shape)
        self._is_input = is_input

    @property
    def dtype(self) -> Any:
        return self._dtype

    @property
    def is_network_input(self) -> bool:
        return self._is_input

    @property
    def is_network_output(self) -> bool:
        return not self._is_input


class INetworkDefinition:
    __slots__ = ("__weakref__", "_builder", "_flags", "_inputs", "_model", "_outputs", "name")

    def __init__(self, builder: Any, flags: int) -> None:
        self._builder = builder
        self._flags = flags
        self._inputs: list[ITensor] = []
        self._outputs: list[ITensor] = []
        self._model: Any = None
        self.name = ""

    @property
    def num_inputs(self) -> int:
        return len(self._inputs)

    @property
    def num_outputs(self) -> int:
        return len(self._outputs)

    @property
    def num_layers(self) -> int:
        return len(self._model.graph.node) if self._model is not None else 0

    @property
    def flags(self) -> int:
        return self._flags

    def get_flag(self, flag: Any) -> bool:
        if machine.major >= 11 and flag == kind("NetworkDefinitionCreationFlag").STRONGLY_TYPED:
            return True
        return (self._flags >> int(flag)) & 1 == 1

    def get_input(self, index: int) -> ITensor:
        return self._inputs[index]

    def get_output(self, index: int) -> ITensor:
        return self._outputs[index]
