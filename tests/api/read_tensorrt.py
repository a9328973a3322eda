"""Read the interface of TensorRT's Python bindings, names and signatures only: read_tensorrt.py OUT.json [MODULE].

The module is `tensorrt_bindings` where nothing else is said. tests/api/tensorrt_*.json were made this way, one class a
line.
"""

import importlib
import inspect
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SPACES = re.compile(
    r"\b(?:tensorrt_bindings\.tensorrt|tensorrt\.tensorrt|nvinfer1::v_1_0|nvinfer1|nvonnxparser)(?:\.|::)"
)
_SPELLINGS = {
    "typing.SupportsInt": "SupportsInt",
    "typing.SupportsFloat": "SupportsFloat",
    "typing_extensions.Buffer": "buffer",
    "collections.abc.": "",
    "typing.": "",
}
_NO_MEMBERS = {"__doc__", "__module__", "__dict__", "__weakref__", "__hash__", "__entries", "__members__"}
_NO_MEMBERS |= {"_pybind11_conduit_v1_", "__getstate__", "__setstate__", "__new__"}
_SPECIAL = {"__init__", "__getitem__", "__setitem__", "__len__", "__call__", "__index__", "__int__", "__enter__"}
_SPECIAL |= {"__exit__", "__iter__", "__next__", "__contains__", "__buffer__", "__bool__", "__str__"}
_NO_NAMES = {"attr", "value", "common_enter", "common_exit"}
_NOTE = (
    "names and signatures only; properties are ro/rw[:type]; a class without __init__ is made by TensorRT, not by you"
)


def read(name: str) -> dict[str, Any]:
    """The interface of the module of that name."""
    module: Any = importlib.import_module(name)
    functions: dict[str, Any] = {}
    constants: dict[str, Any] = {}
    classes: dict[str, Any] = {}
    for each, value in sorted(vars(module).items()):
        if each.startswith("_") or inspect.ismodule(value) or each in _NO_NAMES:
            continue
        if inspect.isclass(value):
            classes[each] = _class(value)
        elif callable(value):
            functions[each] = _signatures(each, value)
        else:
            constants[each] = _plain(str(value))
    # A property that the package adds in Python.
    classes["DataType"].setdefault("properties", {})["itemsize"] = "ro:float"
    return {
        "package": name,
        "version": module.__version__,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "note": _NOTE,
        "constants": constants,
        "functions": functions,
        "classes": classes,
    }


def _class(kind: Any) -> dict[str, Any]:
    bases = [base.__name__ for base in kind.__bases__ if base.__name__ not in ("pybind11_object", "object")]
    enum = {name: int(value) for name, value in getattr(kind, "__members__", {}).items()}
    found: dict[str, dict[str, Any]] = {"methods": {}, "properties": {}, "constants": {}, "classes": {}}
    for name, value in sorted(vars(kind).items()):
        if not _is_skipped(name, enum):
            _put(found, name, value, kind)
    told: dict[str, Any] = {"bases": bases} if bases else {}
    if hasattr(kind, "__members__"):
        told["enum"] = enum
    return told | {part: members for part, members in found.items() if members}


def _is_skipped(name: str, enum: Mapping[str, int]) -> bool:
    if name in _NO_MEMBERS or name in enum:
        return True
    if enum and (name.startswith("__") or name in ("name", "value")):
        return True
    return name.startswith("__") and name not in _SPECIAL


def _put(found: dict[str, dict[str, Any]], name: str, value: Any, kind: Any) -> None:
    if inspect.isclass(value):
        found["classes"][name] = _class(value)
    elif isinstance(value, property):
        found["properties"][name] = _property(value)
    elif callable(value) or isinstance(value, staticmethod | classmethod):
        if not (name == "__init__" and type(value).__name__ == "wrapper_descriptor"):
            found["methods"][name] = _signatures(name, getattr(kind, name))
    elif type(value).__name__ == "pybind11_static_property":
        found["properties"][name] = "static"
    else:
        found["constants"][name] = type(value).__name__


def _property(value: property) -> str:
    if value.fget is None:
        return "wo"
    told = ((value.fget.__doc__ or "").strip().splitlines() or [""])[0]
    given = re.search(r"->\s*(.+)$", told)
    kind = _plain(given.group(1)) if given else ""
    return ("rw" if value.fset else "ro") + (f":{kind}" if kind else "")


def _signatures(name: str, function: Any) -> list[str]:
    lines = (getattr(function, "__doc__", "") or "").strip().splitlines()
    first = lines[0] if lines else ""
    if first.startswith(f"{name}(*args") and any("Overloaded" in line for line in lines):
        found = (re.match(rf"^\s*\d+\.\s+{re.escape(name)}(\(.*)$", line) for line in lines)
        return [_plain(each.group(1)) for each in found if each]
    own = re.match(rf"^(?:\d+\.\s+)?{re.escape(name)}(\(.*)$", first)
    if own:
        return [_plain(own.group(1))]
    try:
        return [_plain(str(inspect.signature(function)))]
    except (TypeError, ValueError):
        return []


def _plain(text: str) -> str:
    text = _SPACES.sub("", text)
    for long, short in _SPELLINGS.items():
        text = text.replace(long, short)
    text = re.sub(r"<(\w+\.\w+): (-?\d+)>", r"\1", text)
    text = re.sub(r"<capsule object[^>]*>", "<capsule>", text)
    text = re.sub(r"<tensorrt_bindings[^>]*? object at 0x[0-9a-f]+>", "<object>", text)
    return re.sub(r"\s+", " ", text).strip()


def _write(told: dict[str, Any], file: Path) -> None:
    parts = [f'"{key}":{_line(told[key])}' for key in ("package", "version", "python", "note", "constants")]
    for key in ("functions", "classes"):
        rows = ",\n".join(f'"{name}":{_line(value)}' for name, value in sorted(told[key].items()))
        parts.append(f'"{key}":{{\n{rows}\n}}')
    file.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def _line(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


if __name__ == "__main__":
    _write(read(sys.argv[2] if len(sys.argv) > 2 else "tensorrt_bindings"), Path(sys.argv[1]))
