"""How a network runs: arrays in, arrays out. Knows nothing of frames or streams."""

from headrace.engines.base import Engine, EngineInfo, Precision, Session
from headrace.engines.candidate import Candidate, Proof
from headrace.engines.catalog import Availability, available, open_engine
from headrace.engines.choice import Choice, choose
from headrace.engines.errors import (
    BuildError,
    BusySessionError,
    CacheError,
    CancelledError,
    ClosedEngineError,
    DeviceError,
    EngineError,
    EngineInputError,
    InferError,
    MissingBackendError,
    NotBuiltError,
    PrecisionError,
    SpecMismatchError,
    UnknownEngineError,
)
from headrace.engines.proof import promote, prove

__all__ = [
    "Availability",
    "BuildError",
    "BusySessionError",
    "CacheError",
    "CancelledError",
    "Candidate",
    "Choice",
    "ClosedEngineError",
    "DeviceError",
    "Engine",
    "EngineError",
    "EngineInfo",
    "EngineInputError",
    "InferError",
    "MissingBackendError",
    "NotBuiltError",
    "Precision",
    "PrecisionError",
    "Proof",
    "Session",
    "SpecMismatchError",
    "UnknownEngineError",
    "available",
    "choose",
    "open_engine",
    "promote",
    "prove",
]
