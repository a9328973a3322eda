"""Puts the doubles of TensorRT and pycuda in the place of the real packages, for one test."""

import sys
from pathlib import Path
from typing import Any

import pytest

DOUBLES = Path(__file__).parent / "doubles"
_packages: dict[str, Any] = {}


def install(monkeypatch: pytest.MonkeyPatch, *, major: int = 11) -> Any:
    """Have `import tensorrt` give the double, of that major; the machine that it pretends to run on is returned.

    The module stays the same through the process: classes made from its bases in one test are good in the next.
    """
    monkeypatch.syspath_prepend(str(DOUBLES))
    for name in [each for each in sys.modules if each.split(".")[0] == "tensorrt"]:
        monkeypatch.delitem(sys.modules, name)
    for name, module in _packages.items():
        monkeypatch.setitem(sys.modules, name, module)
    import tensorrt  # noqa: F401
    from tensorrt.machine import VERSIONS, machine

    _packages.update({name: module for name, module in sys.modules.items() if name.split(".")[0] == "tensorrt"})
    for name, module in _packages.items():
        monkeypatch.setitem(sys.modules, name, module)
    machine.reset()
    machine.version = VERSIONS[major]
    return machine
