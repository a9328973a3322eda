"""TensorRT's Python package: imported here alone, so that what is missing or too old is said in one place."""

from headrace.engines.errors import MissingBackendError
from headrace.engines.nvidia import INSTALL, SUPPORTED, supported

try:
    import tensorrt as trt
except ModuleNotFoundError as _error:
    raise MissingBackendError(
        f"TensorRT is not installed ({_error}); {INSTALL} (for a driver of CUDA 12: pip install tensorrt-cu12); "
        "the other engines work without it"
    ) from _error
except ImportError as _error:
    raise MissingBackendError(
        f"TensorRT's Python package is here, but its libraries do not load ({_error}): put the folder that holds them "
        f"on LD_LIBRARY_PATH, or let pip bring them: {INSTALL}; the other engines work without it"
    ) from _error

__all__ = ["require_supported", "trt", "version"]


def version() -> str:
    """The full version of the library: plans are bound to it."""
    return str(trt.__version__)


def require_supported() -> None:
    """Refuse a version that this code was not written for.

    Raises:
        MissingBackendError: says which versions are supported and how to get one.
    """
    if not supported(version()):
        raise MissingBackendError(f"TensorRT {version()} is not supported; supported: {SUPPORTED}; {INSTALL}")
