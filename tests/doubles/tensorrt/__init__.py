"""A double of TensorRT's Python bindings that runs networks with ONNX Runtime on the processor.

It has only names that the real bindings have, in both majors, and keeps their contracts: None and False instead of
exceptions, free lengths as -1, profiles, state per context, raw addresses, callbacks from inside the calls. "Device"
memory is what the address points at: pycuda may be the double beside it, or the real one over a library without a GPU.
Tests install it and arrange what happens with `trt_double`.
"""

import weakref as _weakref
from collections.abc import Iterable
from typing import Any

import numpy as np

from tensorrt.builder import Builder
from tensorrt.callbacks import (
    IErrorRecorder,
    ILogger,
    IOutputAllocator,
    IProfiler,
    IProgressMonitor,
    Logger,
)
from tensorrt.callbacks import need as _need
from tensorrt.config import IBuilderConfig, IOptimizationProfile, ITimingCache
from tensorrt.context import IExecutionContext
from tensorrt.enums import kind as _kind
from tensorrt.machine import machine as _machine
from tensorrt.memory import Dims, IHostMemory
from tensorrt.network import INetworkDefinition, ITensor
from tensorrt.parser import OnnxParser, ParserError
from tensorrt.refit import OnnxParserRefitter, Refitter
from tensorrt.runtime import EngineInspector, ICudaEngine, Runtime

__all__ = [
    "Builder",
    "Dims",
    "EngineInspector",
    "IBuilderConfig",
    "ICudaEngine",
    "IErrorRecorder",
    "IExecutionContext",
    "IHostMemory",
    "ILogger",
    "INetworkDefinition",
    "IOptimizationProfile",
    "IOutputAllocator",
    "IProfiler",
    "IProgressMonitor",
    "ITensor",
    "ITimingCache",
    "Logger",
    "OnnxParser",
    "OnnxParserRefitter",
    "ParserError",
    "Refitter",
    "Runtime",
    "get_nv_onnx_parser_version",
    "init_libnvinfer_plugins",
    "nptype",
    "volume",
]
_NUMPY = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT8": np.int8,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
    "UINT8": np.uint8,
}


def nptype(trt_type: Any) -> Any:
    if trt_type.name in _NUMPY:
        return _NUMPY[trt_type.name]
    raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.")


def volume(iterable: Iterable[int]) -> int:
    product = 1
    for length in iterable:
        product *= length
    return product


def init_libnvinfer_plugins(logger: ILogger, namespace: str) -> bool:
    _need(logger, ILogger)
    _machine.logger_of_plugins = _weakref.ref(logger)
    return True


def get_nv_onnx_parser_version() -> int:
    major, minor, patch = (int(number) for number in _machine.version.split(".")[:3])
    return major * 10000 + minor * 100 + patch


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _machine.version
    if name.startswith("_"):
        raise AttributeError(name)
    return _kind(name)


# Neither its parts nor what it imports are names of the real package.
for _name in [name for name in globals() if name not in __all__ and not name.startswith("_")]:
    del globals()[_name]
