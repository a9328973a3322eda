"""Checks what is fed to a network before native code sees it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.engines.errors import EngineInputError
from headrace.engines.ports import shape_text
from headrace.models.spec import TensorSpec

Array = NDArray[Any]
Signature = tuple[tuple[tuple[int, ...], "np.dtype[Any]"], ...]


class InputCheck:
    """Names, dtypes, shapes and the common batch of what is fed.

    The shapes of the last good call are kept: a repeat of them costs half a microsecond.
    """

    def __init__(self, network: str, inputs: Sequence[TensorSpec]) -> None:
        self._network = network
        self._inputs = tuple(inputs)
        self._names = tuple(each.name for each in inputs)
        self._dtypes = tuple(np.dtype(each.dtype) for each in inputs)
        self._good: Signature | None = None
        self.batch = 1
        """Length of the batch axis of what was checked last."""

    def __call__(self, fed: Mapping[str, Array]) -> None:
        """Check one call's arrays.

        Raises:
            EngineInputError: with what was got and what is allowed.
        """
        try:
            signature = tuple([(array.shape, array.dtype) for array in [fed[name] for name in self._names]])
        except (KeyError, AttributeError, TypeError):
            signature = None
        if signature is None or signature != self._good or len(fed) != len(self._names):
            self._good = None
            self._check_all(fed)
            self._good = signature

    def _check_all(self, fed: Mapping[str, Array]) -> None:
        if not isinstance(fed, Mapping):
            got = type(fed).__name__
            raise EngineInputError(f"{self._network}: got {got}, allowed: a mapping with {self._allowed()}")
        if set(fed) != set(self._names):
            got = ", ".join(repr(name) for name in fed) or "nothing"
            raise EngineInputError(f"{self._network}: got inputs {got}, allowed: {self._allowed()}")
        for spec, dtype in zip(self._inputs, self._dtypes, strict=True):
            self._check_one(spec, dtype, fed[spec.name])
        self._check_batch(fed)

    def _check_one(self, spec: TensorSpec, dtype: "np.dtype[Any]", array: object) -> None:
        where = f"{self._network}: input {spec.name!r}"
        if not isinstance(array, np.ndarray):
            raise EngineInputError(f"{where}: got {type(array).__name__}, allowed: a numpy array {_text(spec)}")
        if array.dtype != dtype:
            raise EngineInputError(f"{where}: got dtype {array.dtype}, allowed: {spec.dtype}")
        if not spec.accepts(array.shape) or 0 in array.shape:
            raise EngineInputError(f"{where}: got shape {shape_text(array.shape)}, allowed: {_text(spec)}")

    def _check_batch(self, fed: Mapping[str, Array]) -> None:
        batches = {spec.name: fed[spec.name].shape[0] for spec in self._inputs if spec.layout.startswith("B")}
        if len(set(batches.values())) > 1:
            got = ", ".join(f"{name} {length}" for name, length in batches.items())
            raise EngineInputError(f"{self._network}: got batches {got}, allowed: the same length for all")
        self.batch = next(iter(batches.values()), 1)

    def _allowed(self) -> str:
        return ", ".join(f"{each.name!r} {_text(each)}" for each in self._inputs)


def _text(spec: TensorSpec) -> str:
    return f"{spec.dtype} {shape_text(spec.shape)} ({spec.layout})"
