"""What TensorRT's ONNX parser allows, as tables, and what to do instead of what it does not."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
FREE_LENGTH = (
    "declare an output of free length in the description, or take a fixed number with TopK and select on the host"
)
ELSEWHERE = "write it with other operators before the export, or run the file on openvino or onnxruntime"
_QDQ = "quantize the float file in QDQ form: headrace build FILE --precision int8"
REQUANTIZE = "quantize again with signed int8, zero point 0 and float biases: headrace build FILE --precision int8"

INSTEAD = {
    "AffineGrid": "compute the sampling grid before the export and feed or store it",
    "Bernoulli": "feed random numbers as an input",
    "Multinomial": "feed random numbers as an input",
    "Col2Im": "write it as ConvTranspose with a kernel of ones and zeros",
    "Compress": "take a fixed number with TopK and select on the host",
    "Unique": "take a fixed number with TopK and select on the host",
    "ConvInteger": _QDQ,
    "DynamicQuantizeLinear": _QDQ,
    "MatMulInteger": _QDQ,
    "QLinearConv": _QDQ,
    "QLinearMatMul": _QDQ,
    "MaxRoiPool": "use RoiAlign",
    "MaxUnpool": "unpool with four strided slices, Max, Equal, Where and a reshape",
    "SplitToSequence": "use Split: a sequence of tensors has no fixed number",
}
"""What to use instead of an operator that is not taken."""

CASTS = {
    ("Clip", "INT32"): "use Min and Max",
    ("Clip", "INT64"): "use Min and Max",
    (
        "Equal",
        "BOOL",
    ): "compare with Xor and Not; i // c of integers in torch: torch.div(i, c, rounding_mode='trunc')",
    ("NonZero", "BOOL"): "cast to FP32 first",
}
"""What to do about an operator's data type, where a cast is not the answer."""

ALLOWED: dict[tuple[str, str], tuple[Any, ...]] = {
    ("AveragePool", "dilations"): (1,),
    ("LpPool", "dilations"): (1,),
    ("MaxPool", "dilations"): (1,),
    ("GRU", "layout"): (0,),
    ("LSTM", "layout"): (0,),
    ("LSTM", "input_forget"): (0,),
    ("ScatterND", "reduction"): ("none",),
    ("TopK", "sorted"): (1,),
    ("Resize", "mode"): ("nearest", "linear"),
    ("Resize", "antialias"): (0,),
    ("Resize", "keep_aspect_ratio_policy"): ("stretch",),
    ("Resize", "nearest_mode"): ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"),
    ("Resize", "coordinate_transformation_mode"): (
        "half_pixel",
        "pytorch_half_pixel",
        "tf_half_pixel_for_nn",
        "asymmetric",
        "align_corners",
    ),
}
"""The values that an attribute may have; for a list, each of its elements."""

OUTPUTS = {"MaxPool": 1, "LayerNormalization": 1}
"""How many outputs may be used."""

CONSTANTS = {"CumSum": 1, "Hardmax": 1, "OneHot": 1, "Squeeze": 1, "Unsqueeze": 1}
"""The input that must be known when the engine is built; of each Reduce operator, its second one."""

LENGTHS = {
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (2, 3),
    "Slice": (1, 2),
    "Tile": (1,),
    "TopK": (1,),
}
"""The inputs that say how large the result is."""

LARGEST_K = 3839
TYPE_OF_INPUT = {"Where": 1}
"""The input whose type the table speaks of, where it is not the first."""
ANY_TYPE = frozenset({"Cast", "CastLike", "Shape", "Size", "If", "Loop", "Scan", "Constant", *QUANTIZERS})


@cache
def table() -> dict[str, Any]:
    """The operators that TensorRT takes, as shipped: `operators`, `opset_min`, `opset_max`, and where they are from."""
    text = resources.files("headrace.models.graph").joinpath("operators.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found
