"""Read the interface of the real pycuda.driver, names and signatures only: read_pycuda.py OUT.json.

tests/api/pycuda.json was made this way, one class a line.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

_SPECIAL = {"__init__", "__int__", "__index__", "__call__", "__enter__", "__exit__"}
_NO_NAMES = {"annotations", "np", "os"}


def read() -> dict[str, Any]:
    """The interface of the pycuda that is installed."""
    import pycuda
    from pycuda import driver

    functions: dict[str, Any] = {}
    classes: dict[str, Any] = {}
    for name, value in sorted(vars(driver).items()):
        if name.startswith("_") or type(value).__name__ == "module" or name in _NO_NAMES:
            continue
        if isinstance(value, type):
            classes[name] = _class(value)
        elif callable(value):
            functions[name] = _signatures(value)
    return {
        "package": "pycuda.driver",
        "version": pycuda.VERSION_TEXT,
        "cuda": ".".join(map(str, driver.get_version())),
        "functions": functions,
        "classes": classes,
    }


def _class(kind: type) -> dict[str, Any]:
    if issubclass(kind, Exception):
        return {"bases": [base.__name__ for base in kind.__mro__[1:3]]}
    methods: dict[str, Any] = {}
    properties: list[str] = []
    values: dict[str, int] = {}
    for name, value in sorted(vars(kind).items()):
        if name.startswith("__") and name not in _SPECIAL:
            continue
        if type(value).__name__ == "property":
            properties.append(name)
        elif callable(value) or type(value).__name__ == "staticmethod":
            methods[name] = _signatures(getattr(kind, name))
        elif isinstance(value, int) and not name.startswith("_"):
            values[name] = int(value)
    told = (("methods", methods), ("properties", properties), ("values", values))
    return {part: members for part, members in told if members}


def _signatures(function: Any) -> list[str]:
    """As Boost.Python writes them into the documentation."""
    text = (getattr(function, "__doc__", "") or "").strip()
    return [re.sub(r"\s+", " ", each) for each in re.findall(r"^\w+(\(.*?\) -> \w+) :", text, re.MULTILINE)]


def _write(told: dict[str, Any], file: Path) -> None:
    parts = [f'"{key}":{json.dumps(told[key])}' for key in ("package", "version", "cuda")]
    for key in ("functions", "classes"):
        rows = ",\n".join(f'"{name}":{json.dumps(value, separators=(",", ":"))}' for name, value in told[key].items())
        parts.append(f'"{key}":{{\n{rows}\n}}')
    file.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    _write(read(), Path(sys.argv[1]))
