"""What the layers of an ONNX Runtime session really run in, and on which provider: read from its profile of a run."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headrace.engines.base import Precision
from headrace.engines.errors import BuildError, PrecisionError
from headrace.engines.inputs import Array
from headrace.engines.ports import FoundTensor

_INTEGER_LAYERS = frozenset(
    {
        *("QLinearConv", "QLinearMatMul", "QGemm", "QAttention"),
        *("ConvInteger", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"),
    }
)
_FLOAT_LAYERS = frozenset(
    {
        *("Conv", "FusedConv", "NhwcFusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul"),
        *("LSTM", "GRU", "RNN", "Attention", "MultiHeadAttention"),
    }
)
_PRECISIONS: dict[str, Precision] = {"int8": "int8", "bfloat16": "bf16", "float16": "fp16", "float": "fp32"}
"""Narrowest first: where layers differ, the network is as precise as its least precise ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """An operator that ran."""

    name: str
    operator: str
    provider: str
    kind: str
    """What it computes with, as ONNX Runtime writes it: "float", "float16"; "int8" for quantized operators."""

    @property
    def is_heavy(self) -> bool:
        """Whether it is one of those that do the work."""
        return self.operator in _INTEGER_LAYERS | _FLOAT_LAYERS


def examples(inputs: list[FoundTensor], rows: int) -> dict[str, Array]:
    """Zeros for all inputs; a free length is `rows`."""
    return {
        each.name: np.zeros([rows if length is None else length for length in each.shape], each.dtype)
        for each in inputs
    }


def read_profile(profile: Path) -> list[Layer]:
    """The operators that ran, from a profile that ONNX Runtime has written."""
    return list(_layers(json.loads(profile.read_text(encoding="utf-8"))))


def precision_of(file: Path, ran: list[Layer]) -> Precision:
    """The narrowest of what convolutions, matrix products and recurrent layers run in.

    Raises:
        PrecisionError: they run in something that has no name here.
    """
    kinds = {layer.kind for layer in ran if layer.is_heavy}
    if not kinds:
        return "fp32"
    for kind, precision in _PRECISIONS.items():
        if kind in kinds:
            return precision
    raise PrecisionError(f"{file}: onnxruntime runs layers in {', '.join(sorted(kinds))}, which has no name here")


def check_provider(file: Path, ran: list[Layer], provider: str) -> None:
    """Refuse a network whose work is done elsewhere than was asked for.

    Raises:
        BuildError: what would run elsewhere, and where.
    """
    astray = [layer for layer in ran if layer.is_heavy and layer.provider != provider]
    if not astray and any(layer.provider == provider for layer in ran):
        return
    named = ", ".join(f"{layer.operator} {layer.name!r} on {layer.provider}" for layer in astray[:3])
    raise BuildError(
        f"{file}: onnxruntime runs {len(astray) or 'all'} of its layers elsewhere than on {provider}"
        f"{': ' if named else ''}{named}; take another engine for it"
    )


def _layers(events: list[dict[str, Any]]) -> Iterator[Layer]:
    for event in events:
        more = event.get("args", {})
        if event.get("cat") == "Node" and "op_name" in more and event["name"].endswith("_kernel_time"):
            kinds = [kind for each in more.get("input_type_shape", []) for kind in each]
            operator = str(more["op_name"])
            yield Layer(
                name=event["name"].removesuffix("_kernel_time"),
                operator=operator,
                provider=str(more.get("provider", "")),
                kind="int8" if operator in _INTEGER_LAYERS else next(iter(kinds), ""),
            )
