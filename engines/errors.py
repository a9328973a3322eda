"""What can go wrong when a network is compiled or run.

EngineError
├── UnknownEngineError     (ValueError) no engine of that name
├── MissingBackendError    the engine's library is not installed or does not load; says what to install
├── PrecisionError         (ValueError) the engine cannot run that precision here
├── BuildError             the network's file is missing, broken or not supported
│   ├── SpecMismatchError  the file and its description contradict each other
│   └── NotBuiltError      no plan of the network is built for this machine, and building was not allowed
├── CancelledError         a build was cancelled; nothing was written
├── CacheError             the cache folder cannot be read or written
├── DeviceError            the GPU, its driver or its memory failed; what ran on it is lost
├── EngineInputError       (ValueError) an array's name, shape or dtype is not what the network takes
├── InferError             the compiled network failed while it ran
├── BusySessionError       one session was used by two threads at once
└── ClosedEngineError      an engine or session was used after it was closed
"""


class EngineError(Exception):
    """Something about a compiled network failed."""


class UnknownEngineError(EngineError, ValueError):
    """No engine has that name."""


class MissingBackendError(EngineError):
    """The library behind an engine is absent or does not load."""


class PrecisionError(EngineError, ValueError):
    """This engine cannot run that precision on this machine."""


class BuildError(EngineError):
    """The network could not be compiled."""


class SpecMismatchError(BuildError):
    """A network's file and its description contradict each other."""


class NotBuiltError(BuildError):
    """No plan of the network is built for this machine yet, and building one now was not allowed."""


class CancelledError(EngineError):
    """A build was cancelled; nothing was written."""


class CacheError(EngineError):
    """A file of the cache folder cannot be read or written."""


class DeviceError(EngineError):
    """The GPU, its driver or its memory failed."""


class EngineInputError(EngineError, ValueError):
    """An array that was fed does not fit; the message says what was got and what is allowed."""


class InferError(EngineError):
    """The compiled network failed while it ran."""


class BusySessionError(EngineError):
    """Two threads used one session at once."""


class ClosedEngineError(EngineError):
    """An engine or a session was used after it was closed."""
