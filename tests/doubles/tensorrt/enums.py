"""Both majors' enumerations, with the numbers that the real bindings give them."""

import json
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from tensorrt.machine import machine

SURFACES = Path(__file__).parents[2] / "api"
_BYTES = {"FLOAT": 4, "HALF": 2, "BF16": 2, "INT8": 1, "UINT8": 1, "BOOL": 1, "INT32": 4, "INT64": 8, "FP8": 1}
_CONSTANTS = {
    "float32": "FLOAT",
    "float16": "HALF",
    "bfloat16": "BF16",
    "int8": "INT8",
    "int32": "INT32",
    "int64": "INT64",
    "uint8": "UINT8",
    "bool": "BOOL",
    "fp8": "FP8",
}


class Native(Enum):
    """As pybind11 makes them: no integers, but convertible to one, and equal within their kind only."""

    def __int__(self) -> int:
        return int(self.value)

    def __index__(self) -> int:
        return int(self.value)

    def __str__(self) -> str:
        return f"{type(self).__name__}.{self.name}"

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.name))

    def __eq__(self, other: object) -> bool:
        # The kinds of the two majors are one here: tests change the major in one process.
        return type(other).__name__ == type(self).__name__ and str(other) == str(self)


class Ordered(Native):
    """Those that the bindings also let compare."""

    def __lt__(self, other: Any) -> bool:
        return int(self) < int(other)

    def __le__(self, other: Any) -> bool:
        return int(self) <= int(other)

    def __gt__(self, other: Any) -> bool:
        return int(self) > int(other)

    def __ge__(self, other: Any) -> bool:
        return int(self) >= int(other)


class _Typed(Native):
    @property
    def itemsize(self) -> float:
        return _BYTES.get(self.name, 0.5)


@cache
def _all(major: int) -> dict[str, type[Native]]:
    surface = json.loads((SURFACES / f"tensorrt_{major}.json").read_text())
    kinds = {"DataType": _Typed}
    return {
        name: kinds.get(name, Native)(name, one["enum"])  # type: ignore[arg-type, misc]
        for name, one in surface["classes"].items()
        if "enum" in one
    }


Severity = Ordered("Severity", {"INTERNAL_ERROR": 0, "ERROR": 1, "WARNING": 2, "INFO": 3, "VERBOSE": 4})  # type: ignore[call-overload]


def kind(name: str) -> Any:
    """The enumeration of that name, of the major that is installed now.

    Raises:
        AttributeError: that major has none of that name.
    """
    if name in _CONSTANTS:
        return kind("DataType")[_CONSTANTS[name]]
    try:
        return _all(machine.major)[name]
    except KeyError:
        raise AttributeError(f"module 'tensorrt' has no attribute {name!r} (double of {machine.version})") from None
