"""What a compiled network is: an engine, which threads share, and a session, which one thread runs."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from types import TracebackType
from typing import Literal, Self

import numpy as np

from headrace.engines.errors import BusySessionError, ClosedEngineError, EngineInputError
from headrace.engines.inputs import Array, InputCheck
from headrace.engines.ports import NEXT, Ports
from headrace.models.spec import ModelSpec, TensorSpec

Precision = Literal["fp32", "fp16", "bf16", "int8"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """What runs a network."""

    backend: str
    """The engine's name, as `open_engine` takes it."""
    version: str
    """The library's version."""
    device: str
    """What it runs on, as the library names it."""
    precision: Precision
    """What the arithmetic really is, read back from the compiled network where the library tells."""

    def __post_init__(self) -> None:
        for name in ("backend", "version", "device", "precision"):
            if not getattr(self, name):
                raise ValueError(f"EngineInfo.{name} is empty")


class Engine(ABC):
    """A compiled network: immutable, and shared by all threads; each thread opens its own session.

    What a backend adds: `_open_session` and `_release`.
    """

    def __init__(self, spec: ModelSpec, ports: Ports, info: EngineInfo, sessions: int) -> None:
        self._spec = spec
        self._ports = ports
        self._info = info
        self._sessions = sessions
        self.why = ""
        """Why this engine runs the network, as one line for people; set by who chose it."""
        self._lock = Lock()
        self._open_sessions = 0
        self._closed = False

    @property
    def spec(self) -> ModelSpec:
        """The description that the network's file was held against."""
        return self._spec

    @property
    def info(self) -> EngineInfo:
        """Backend, version, device and precision."""
        return self._info

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `infer` takes."""
        return self._ports.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `infer` gives."""
        return self._ports.outputs

    @property
    def state(self) -> tuple[TensorSpec, ...]:
        """What each session carries from call to call by itself; empty for most networks."""
        return self._ports.state

    @property
    def sessions(self) -> int:
        """How many sessions running at once pay off here; more are allowed, and wait for each other."""
        return self._sessions

    @property
    def batches(self) -> tuple[int, ...]:
        """The batch lengths that it is prepared for, shortest first: others are padded up. Empty: any will do."""
        return ()

    def session(self) -> "Session":
        """Open a session; call this on the thread that will run and close it.

        Raises:
            ClosedEngineError: the engine was closed.
        """
        with self._lock:
            if self._closed:
                raise ClosedEngineError(f"{self._spec.name}: the engine is closed; open it again with open_engine")
            opened = self._open_session()
            self._open_sessions += 1
            return opened

    def close(self) -> None:
        """Refuse new sessions; the network goes when its last open session closes. May be called twice."""
        with self._lock:
            last = not self._closed and self._open_sessions == 0
            self._closed = True
            if last:
                self._release()

    def _session_closed(self) -> None:
        with self._lock:
            self._open_sessions -= 1
            if self._closed and self._open_sessions == 0:
                self._release()

    @abstractmethod
    def _open_session(self) -> "Session":
        """A new session on this network."""

    @abstractmethod
    def _release(self) -> None:
        """Let go of the compiled network; called once, when no session is open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        what = f"{type(self).__name__} {self._spec.name}"
        return f"<{what}: {self._info.precision} on {self._info.device}, {self._sessions} sessions>"


class Session(ABC):
    """What one thread runs a network with. Where the network has state, each session has its own.

    What a backend adds: `_run` and `_release`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._check = InputCheck(engine.spec.name, engine.inputs)
        self._outputs = tuple(each.name for each in engine.outputs)
        self._state_specs = engine.state
        self._state: dict[str, Array] | None = None
        self._running = Lock()
        self._closed = False

    def infer(self, inputs: Mapping[str, Array], *, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Run the network once and wait for it.

        Args:
            inputs: an array for each of `engine.inputs`, by name; not changed, not kept after the next call.
            outputs: names of the outputs that are wanted; None for all.

        Returns:
            Arrays by output name. They are the caller's: no later call writes into them.

        Raises:
            EngineInputError: a name, shape or dtype does not fit; the session goes on working.
            InferError: the network failed while it ran; its state stays as it was.
            BusySessionError: another thread is inside this session.
            ClosedEngineError: the session was closed.
        """
        if not self._running.acquire(blocking=False):
            raise BusySessionError(f"{self._engine.spec.name}: two threads in one session; open one for each thread")
        try:
            if self._closed:
                raise ClosedEngineError(f"{self._engine.spec.name}: the session is closed")
            self._check(inputs)
            wanted = self._outputs if outputs is None else self._selected(outputs)
            return self._step(inputs, wanted) if self._state_specs else self._run(inputs, wanted)
        finally:
            self._running.release()

    def reset(self) -> None:
        """Forget the state: the next call starts anew."""
        self._state = None

    def close(self) -> None:
        """Let go of what the session holds, after a run that is under way; may be called twice."""
        with self._running:
            if self._closed:
                return
            self._closed = True
            self._state = None
            try:
                self._release()
            finally:
                self._engine._session_closed()

    def _step(self, inputs: Mapping[str, Array], wanted: tuple[str, ...]) -> dict[str, Array]:
        state = self._state if self._state is not None else self._first_state()
        for spec in self._state_specs:
            if not _carries(spec, state[spec.name].shape, self._check.batch):
                got = state[spec.name].shape[0]
                raise EngineInputError(
                    f"{self._engine.spec.name}: got a batch of {self._check.batch}, "
                    f"allowed: {got}, as the state has it; reset() before the batch changes"
                )
        moved = tuple(NEXT + spec.name for spec in self._state_specs)
        results = self._run({**inputs, **state}, wanted + moved)
        self._state = {name.removeprefix(NEXT): results.pop(name) for name in moved}
        return results

    def _first_state(self) -> dict[str, Array]:
        # A free length of a state is the batch: nothing else about a network may vary between calls.
        batch = self._check.batch
        return {
            spec.name: np.zeros([batch if length is None else length for length in spec.shape], spec.dtype)
            for spec in self._state_specs
        }

    def _selected(self, names: Sequence[str]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in self._outputs]
        if unknown or isinstance(names, str):
            got = ", ".join(repr(name) for name in ([names] if isinstance(names, str) else unknown))
            allowed = ", ".join(repr(name) for name in self._outputs)
            raise EngineInputError(f"{self._engine.spec.name}: got outputs {got}, allowed: a sequence of {allowed}")
        return tuple(names)

    @abstractmethod
    def _run(self, feeds: Mapping[str, Array], wanted: tuple[str, ...]) -> dict[str, Array]:
        """Run on checked arrays; the results must be the caller's own."""

    @abstractmethod
    def _release(self) -> None:
        """Let go of native objects; called once."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()


def _carries(spec: TensorSpec, shape: tuple[int, ...], batch: int) -> bool:
    return all(want is not None or got == batch for want, got in zip(spec.shape, shape, strict=True))
