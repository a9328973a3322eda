"""How a network runs: arrays in, arrays out. Knows nothing of frames or streams."""

from headrace.engines.base import Engine, EngineInfo, Precision, Session
from headrace.engines.catalog import Availability, available, open_engine
from headrace.engines.errors import (
    BuildError,
    BusySessionError,
    ClosedEngineError,
    EngineError,
    EngineInputError,
    InferError,
    MissingBackendError,
    PrecisionError,
    SpecMismatchError,
    UnknownEngineError,
)

__all__ = [
    "Availability",
    "BuildError",
    "BusySessionError",
    "ClosedEngineError",
    "Engine",
    "EngineError",
    "EngineInfo",
    "EngineInputError",
    "InferError",
    "MissingBackendError",
    "Precision",
    "PrecisionError",
    "Session",
    "SpecMismatchError",
    "UnknownEngineError",
    "available",
    "open_engine",
]
