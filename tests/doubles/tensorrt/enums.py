"""Both majors' enumerations, with the numbers that the real bindings give them."""

import json
from functools import cache, total_ordering
from pathlib import Path
from typing import Any

from tensorrt.machine import machine

SURFACES = Path(__file__).parents[2] / "api"
_BYTES = {"FLOAT": 4, "HALF": 2, "BF16": 2, "INT8": 1, "UINT8": 1, "BOOL": 1, "INT32": 4, "INT64": 8, "FP8": 1}
_HALF_A_BYTE = {"INT4": 0.5, "FP4": 0.5}
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


@total_ordering
class Native:
    """A member of an enumeration as pybind11 makes them: not iterable, not subscriptable, no integers.

    They convert to an integer, and compare within their kind only.
    """

    __members__: "dict[str, Native]"
    __slots__ = ("name", "value")

    def __new__(cls, value: int) -> "Native":
        known = (each for each in cls.__members__.values() if each.value == value)
        return next(known, None) or _member(cls, "???", value)

    def __int__(self) -> int:
        return self.value

    def __index__(self) -> int:
        return self.value

    def __str__(self) -> str:
        return f"{type(self).__name__}.{self.name}"

    def __repr__(self) -> str:
        return f"<{self}: {self.value}>"

    def __hash__(self) -> int:
        return self.value

    def __eq__(self, other: object) -> bool:
        # By name: tests change the major in one process, and what is alike in both stays equal.
        return isinstance(other, Native) and str(other) == str(self)

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Native) or type(other).__name__ != type(self).__name__:
            raise TypeError("Expected an enumeration of matching type!")
        return self.value < other.value


class _Sized(Native):
    __slots__ = ()

    @property
    def itemsize(self) -> float | None:
        return _BYTES.get(self.name, _HALF_A_BYTE.get(self.name))


def _member(kind: Any, name: str, value: int) -> Any:
    made = object.__new__(kind)
    made.name, made.value = name, value
    return made


def _enumeration(name: str, members: dict[str, int]) -> Any:
    made = type(name, (_Sized if name == "DataType" else Native,), {"__slots__": ()})
    made.__members__ = {}
    for member, value in members.items():
        made.__members__[member] = _member(made, member, value)
        setattr(made, member, made.__members__[member])
    return made


@cache
def _all(major: int) -> dict[str, Any]:
    classes = json.loads((SURFACES / f"tensorrt_{major}.json").read_text())["classes"]
    return {name: _enumeration(name, one["enum"]) for name, one in classes.items() if "enum" in one}


Severity = _enumeration("Severity", {"INTERNAL_ERROR": 0, "ERROR": 1, "WARNING": 2, "INFO": 3, "VERBOSE": 4})


def kind(name: str) -> Any:
    """The enumeration or constant of that name, of the major that is installed now.

    Raises:
        AttributeError: that major has none of that name.
    """
    if name in _CONSTANTS:
        return kind("DataType").__members__[_CONSTANTS[name]]
    try:
        return _all(machine.major)[name]
    except KeyError:
        raise AttributeError(f"module 'tensorrt' has no attribute {name!r} (double of {machine.version})") from None
