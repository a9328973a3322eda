"""What ONNX Runtime's TensorRT provider must be told of a network: types, batch lengths, where plans are kept."""

from pathlib import Path
from typing import Any

from headrace.engines.base import Precision
from headrace.engines.errors import BuildError, MissingBackendError
from headrace.engines.store import cache_root
from headrace.models.errors import MissingLibraryError, ModelError

_LONGEST_BATCH = 8
"""Of a free length; for a longer batch the provider compiles again."""
_FLOAT16, _BFLOAT16 = 10, 16  # of ONNX's TensorProto.DataType


def file_precision(file: Path) -> Precision:
    """What an ONNX file's weights are, and int8 where it is quantized: what TensorRT compiles cannot be looked into.

    Raises:
        BuildError: the file cannot be read.
        MissingBackendError: onnx is not installed.
    """
    graph = _read(file).graph
    if any(node.op_type == "QuantizeLinear" for node in graph.node):
        return "int8"
    kinds = {each.data_type for each in graph.initializer if len(each.dims) > 1}  # scalars are not the network's
    return "fp16" if _FLOAT16 in kinds else "bf16" if _BFLOAT16 in kinds else "fp32"


def options(file: Path) -> dict[str, Any]:
    """The provider's options for a network: as its file is typed, one plan for all batches up to the longest."""
    precision = file_precision(file)
    kept = str(cache_root() / "onnxruntime")
    told: dict[str, Any] = {
        "device_id": 0,
        "trt_fp16_enable": precision == "fp16",
        "trt_bf16_enable": precision == "bf16",
        "trt_int8_enable": precision == "int8",
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": kept,
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": kept,
    }
    for bound, rows in (("min", 1), ("opt", 1), ("max", _LONGEST_BATCH)):
        if shapes := _shapes(file, rows):
            told[f"trt_profile_{bound}_shapes"] = shapes
    return told


def _shapes(file: Path, rows: int) -> str:
    """The inputs with free lengths, as in "frame:8x360x480x3,total:8x4"; empty where all are fixed."""
    found = []
    for each in _read(file).graph.input:
        lengths = each.type.tensor_type.shape.dim
        if not all(length.HasField("dim_value") for length in lengths):
            shape = "x".join(str(length.dim_value if length.HasField("dim_value") else rows) for length in lengths)
            found.append(f"{each.name}:{shape}")
    return ",".join(found)


def _read(file: Path) -> Any:
    try:
        from headrace.models.graph import read

        return read.load(file)
    except MissingLibraryError as error:
        raise MissingBackendError(str(error)) from error
    except ImportError as error:
        raise MissingBackendError(f'{error}; install it with: pip install "headrace[onnx]"') from error
    except ModelError as error:
        raise BuildError(str(error)) from error
