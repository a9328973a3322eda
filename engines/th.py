"""Torch: networks that are defined here, on the CPU as they are or compiled, or on an NVIDIA GPU as CUDA graphs."""

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from headrace.engines.base import Engine, EngineInfo, Precision, Session
from headrace.engines.batches import batch_axis, shape_for
from headrace.engines.cores import usable_cores
from headrace.engines.errors import (
    BuildError,
    DeviceError,
    EngineError,
    InferError,
    MissingBackendError,
    PrecisionError,
    SpecMismatchError,
)
from headrace.engines.inputs import Array
from headrace.engines.ports import NEXT, FoundTensor, Ports, match_ports
from headrace.engines.th_network import Device, Network, setting_up
from headrace.engines.th_slots import CudaStream, Slots
from headrace.models.create import create
from headrace.models.errors import MissingLibraryError, ModelError
from headrace.models.spec import ModelSpec, TensorSpec

Mode = Literal["eager", "compile"]

BATCHES: dict[Device, tuple[int, ...]] = {"cpu": (), "cuda": (1, 2, 4, 8)}
"""The batch lengths that a session keeps memory (and on a GPU a graph) for; empty: every length runs as it is."""
_PRECISIONS: dict[Device, tuple[Precision, ...]] = {"cpu": ("fp32", "bf16"), "cuda": ("fp32", "fp16", "bf16")}
_GPU_SESSIONS = 2
"""One session's copies go on while the other one computes."""
_PROBED_ROWS = 2
_COMPILED_ROWS = (2, 1, 3)
"""Any batch, a single row, which torch compiles apart, and a third length to see that the first code serves it."""


class TorchEngine(Engine):
    """A network that torch runs from its definition; a file without one is for the other engines."""

    def __init__(
        self,
        spec: ModelSpec,
        *,
        precision: Precision | None = None,
        sessions: int | None = None,
        threads: int | None = None,
        device: Device = "cpu",
        mode: Mode = "eager",
        module: nn.Module | None = None,
    ) -> None:
        """Set up a network and run it once.

        Args:
            spec: the network.
            precision: None for fp32. In fp16 and bf16 the convolutions and what lies between them are half.
            sessions: how many run at once. None: one per core, each on one thread, for the most frames per
                second, or two on a GPU; 1: all threads on one frame, the shortest time per frame.
            threads: of the CPU, for all sessions together; None for one per core.
            device: "cuda" is the first NVIDIA GPU.
            mode: "compile" takes a minute of a core the first time and needs a C++ compiler.
            module: the network, where it is not one of ours: takes `spec.inputs` in order, gives `spec.outputs` in
                order. One with state has an attribute `state`, a tuple of `TensorSpec`: it takes these after the
                inputs, and gives their next values after the outputs.

        Raises:
            PrecisionError: torch does not run that precision there.
            MissingBackendError: this torch has no CUDA, or finds no GPU.
            BuildError: there is no definition for the network, or it does not run, compile, or fit its description.
        """
        wanted: Precision = precision or "fp32"
        _check_choice(spec, wanted, device, mode)
        threads = threads or usable_cores()
        sessions = sessions or (_GPU_SESSIONS if device == "cuda" else threads)
        sessions = sessions if device == "cuda" else min(sessions, threads)
        self._threads = threads // sessions or 1
        with _building(spec, mode), threads_of(self._threads), setting_up:
            own = copy.deepcopy(module) if module is not None else _defined(spec)
            state: tuple[TensorSpec, ...] = tuple(getattr(own, "state", ()))
            network = Network(own, wanted, device)
            example = _zeros((*spec.inputs, *state), _PROBED_ROWS, device)
            ran = network.settle(*example)
            ports = _ports(spec, state, network(*example))
            if mode == "compile":
                network.compile([_zeros((*spec.inputs, *state), rows, device) for rows in _COMPILED_ROWS])
        if ran != wanted:
            raise PrecisionError(f"{spec.weights.file}: asked for {wanted}; on torch its layers run in {ran}")
        self._network: Network | None = network
        free = any(batch_axis(each) is not None for each in ports.inputs)
        self._batches = BATCHES[device] if free else ()
        info = EngineInfo(
            backend="torch:cuda" if device == "cuda" else "torch" if mode == "eager" else "torch:compile",
            version=torch.__version__,
            device=torch.cuda.get_device_name() if device == "cuda" else "CPU",
            precision=ran,
        )
        super().__init__(spec, ports, info, sessions)

    @property
    def batches(self) -> tuple[int, ...]:
        return self._batches

    def _open_session(self) -> Session:
        assert self._network is not None  # the base class refuses sessions once it is released
        return _TorchSession(self, self._network, self._threads)

    def _release(self) -> None:
        self._network = None


class _TorchSession(Session):
    def __init__(self, engine: TorchEngine, network: Network, threads: int) -> None:
        super().__init__(engine)
        self._threads = threads
        inputs = (*engine.inputs, *engine.state)
        outputs = (*engine.outputs, *(replace(each, name=NEXT + each.name) for each in engine.state))
        self._runs: Callable[[Mapping[str, Array], Sequence[str]], dict[str, Array]] | None
        if network.device.type == "cuda":
            self._runs = Slots(network, inputs, outputs, batches=engine.batches or (1,), stream=CudaStream())
        elif engine.batches:
            self._runs = Slots(network, inputs, outputs, batches=engine.batches)
        else:
            self._runs = _AnyLength(network, inputs, outputs)

    def _run(self, feeds: Mapping[str, Array], wanted: tuple[str, ...]) -> dict[str, Array]:
        assert self._runs is not None  # the base class runs nothing once it is released
        where = f"{self._engine.spec.name} on {self._engine.info.backend}"
        try:
            with threads_of(self._threads):
                return self._runs(feeds, wanted)
        except (torch.AcceleratorError, torch.OutOfMemoryError) as error:
            raise DeviceError(f"{where}: {_first_line(error)}") from error
        except Exception as error:  # a definition is Python: anything may come out of it
            raise InferError(f"{where}: {_first_line(error)}") from error

    def _release(self) -> None:
        self._runs = None


class _AnyLength:
    """Runs a batch as it is fed."""

    def __init__(self, network: Network, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        self._network = network
        self._inputs = [each.name for each in inputs]
        self._output_at = {each.name: at for at, each in enumerate(outputs)}

    def __call__(self, feeds: Mapping[str, Array], wanted: Sequence[str]) -> dict[str, Array]:
        results = self._network(*(torch.from_numpy(_writable(feeds[name])) for name in self._inputs))
        # Two results may be one tensor, or an input: what leaves here is a copy.
        return {name: results[self._output_at[name]].numpy().copy() for name in wanted}


def trouble() -> str | None:
    """Why torch cannot use a GPU here, and what to do; None where it can."""
    if not torch.backends.cuda.is_built():
        return f"torch {torch.__version__} is built without CUDA; install a build with it: see pytorch.org"
    with warnings.catch_warnings(record=True) as said:  # torch warns where it could say
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if not available:
        why = f" ({said[-1].message})" if said else ""
        return (
            f"torch {torch.__version__} finds no NVIDIA GPU that it can use: no driver, or none that serves CUDA"
            f" {torch.version.cuda}{why}"
        )
    return None


@contextmanager
def threads_of(count: int) -> Iterator[None]:
    """Torch's operators take that many threads when this thread calls them; afterwards as many as before.

    Torch calls the number the process's, but what counts is OpenMP's, which each calling thread has for itself.
    """
    before = torch.get_num_threads()
    if before == count:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check_choice(spec: ModelSpec, precision: Precision, device: Device, mode: Mode) -> None:
    if device not in _PRECISIONS or mode not in get_args(Mode) or (mode == "compile" and device == "cuda"):
        raise ValueError(
            f"device {device!r}, mode {mode!r}: allowed: 'cpu' with 'eager' or 'compile', 'cuda' with 'eager'"
        )
    if precision not in _PRECISIONS[device]:
        allowed = ", ".join(_PRECISIONS[device])
        raise PrecisionError(
            f"{spec.weights.file}: asked for {precision}; torch on device {device!r} runs it in {allowed}"
        )
    if device == "cuda" and (problem := trouble()):
        raise MissingBackendError(problem)


def _defined(spec: ModelSpec) -> nn.Module:
    if not spec.weights.file.is_file():
        raise BuildError(f"{spec.weights.file}: no such file")
    try:
        return create(spec)
    except MissingLibraryError as error:
        raise MissingBackendError(str(error)) from error
    except ModelError as error:
        raise BuildError(
            f"{spec.weights.file}: torch runs networks by their definition, not by their file: {error};"
            " engines that run the file: tensorrt, openvino, onnxruntime"
        ) from error


def _zeros(tensors: Sequence[TensorSpec], rows: int, device: Device) -> list[Tensor]:
    return [torch.zeros(shape_for(each, rows), dtype=getattr(torch, each.dtype), device=device) for each in tensors]


def _ports(spec: ModelSpec, state: Sequence[TensorSpec], results: Sequence[Tensor]) -> Ports:
    """What a run on `_PROBED_ROWS` rows gave, held against the description."""
    given = [*spec.outputs, *(replace(each, name=NEXT + each.name) for each in state)]
    if len(results) != len(given):
        names = ", ".join(each.name for each in given)
        raise SpecMismatchError(f"{spec.weights.file}: torch gives {len(results)} results, described are: {names}")
    outputs = [_found(each, result) for each, result in zip(given, results, strict=True)]
    inputs = [FoundTensor(name=each.name, shape=each.shape, dtype=each.dtype) for each in (*spec.inputs, *state)]
    return match_ports(spec, inputs, outputs)


def _found(described: TensorSpec, result: Tensor) -> FoundTensor:
    """A length is free where it is described so and was the batch's."""
    free = [want is None and got == _PROBED_ROWS for want, got in zip(described.shape, result.shape, strict=False)]
    shape = [None if is_free else got for is_free, got in zip(free, result.shape, strict=False)]
    more = result.shape[len(shape) :]
    return FoundTensor(name=described.name, shape=(*shape, *more), dtype=str(result.dtype).removeprefix("torch."))


@contextmanager
def _building(spec: ModelSpec, mode: Mode) -> Iterator[None]:
    try:
        yield
    except EngineError:
        raise
    except (torch.AcceleratorError, torch.OutOfMemoryError) as error:
        raise DeviceError(f"{spec.weights.file} on torch: {_first_line(error)}") from error
    except Exception as error:  # a definition is Python: anything may come out of it
        if mode == "compile" and "C++ compiler" in str(error):
            raise BuildError(
                f"{spec.weights.file}: torch.compile needs a C++ compiler: install g++, or take engine 'torch'"
            ) from error
        doing = "compile" if mode == "compile" else "run"
        raise BuildError(f"{spec.weights.file}: torch cannot {doing} it: {_first_line(error)}") from error


def _writable(array: Array) -> Array:
    """The array, or a copy: torch borrows only what is writable and dense."""
    return array if array.flags.c_contiguous and array.flags.writeable else np.array(array, order="C")


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
