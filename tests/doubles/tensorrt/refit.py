"""Giving an engine its weights back, or other ones."""

from pathlib import Path
from typing import Any

from tensorrt.builder import settle
from tensorrt.callbacks import ILogger, need, tell
from tensorrt.parser import ParserError, load
from tensorrt.runtime import ICudaEngine
from tensorrt.weights import missing, same_graph


class Refitter:
    __slots__ = (
        "__weakref__",
        "_engine",
        "_logger",
        "_network",
        "error_recorder",
        "max_threads",
        "weights_validation",
    )

    def __init__(self, engine: ICudaEngine, logger: ILogger) -> None:
        need(engine, ICudaEngine)
        need(logger, ILogger)
        used = settle(logger)
        if not engine.refittable:
            tell(used, None, "Error Code 4: API Usage Error (The engine is not refittable: build it with REFIT)")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._engine = engine
        self._logger = used
        self._network: bytes | None = None
        self.error_recorder: Any = None
        self.max_threads = 1
        self.weights_validation = True

    @property
    def logger(self) -> ILogger:
        return self._logger

    def get_missing_weights(self) -> list[str]:
        return [] if self._network is not None else list(self._engine._execution.missing)

    def refit_cuda_engine(self) -> bool:
        if self._network is None:
            tell(self._logger, self.error_recorder, "refitCudaEngine: no weights were given")
            return False
        self._engine._execution.load(self._network)
        return True


class OnnxParserRefitter:
    __slots__ = ("__weakref__", "_errors", "_logger", "_refitter")

    def __init__(self, refitter: Refitter, logger: ILogger) -> None:
        need(refitter, Refitter)
        need(logger, ILogger)
        self._refitter = refitter
        self._logger = logger
        self._errors: list[ParserError] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]

    def clear_errors(self) -> None:
        self._errors.clear()

    def refit_from_file(self, model: str) -> bool:
        return self.refit_from_bytes(Path(model).read_bytes(), model)

    def refit_from_bytes(self, model: Any, path: str | None = None) -> bool:
        read = load(bytes(model), path, self._errors)
        if read is None:
            return False
        network = read.SerializeToString()
        if missing(network) or not same_graph(self._refitter._engine._execution.network, network):
            text = "the graph is not the one that the engine was built from"
            self._errors.append(ParserError("REFIT_FAILED", text))
            return False
        self._refitter._network = network
        return True
