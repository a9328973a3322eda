"""Imports point one way: tools → stream → engines → models."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "models": {"models"},
    "engines": {"engines", "models"},
    "stream": {"stream", "engines", "models"},
    "tools": {"tools", "stream", "engines", "models"},
}
TORCH_ROOMS = (
    "models/segment",
    "models/action",
    "models/deploy.py",
    "models/export",
    "models/create.py",
    "models/graph/",
    "engines/th.py",
    "engines/th_network.py",
    "engines/th_slots.py",
    "tools/train",
)
"""Only definitions, export, training and one engine know torch or onnx: the run time is lean."""


def imported(path: Path) -> list[str]:
    """The dotted names that a file imports, wherever in it."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(node.module or "")
    return found


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_lies_below_it(room: str) -> None:
    for path in sorted((ROOT / room).rglob("*.py")):
        rooms = {name.split(".")[1] for name in imported(path) if name.startswith("headrace.")}
        assert rooms <= MAY_IMPORT[room], f"{path.relative_to(ROOT)} imports {sorted(rooms - MAY_IMPORT[room])}"


def test_the_run_time_does_not_import_torch() -> None:
    for room in MAY_IMPORT:
        for path in sorted((ROOT / room).rglob("*.py")):
            relative = path.relative_to(ROOT).as_posix()
            if not relative.startswith(TORCH_ROOMS):
                heavy = [name for name in imported(path) if name.split(".")[0] in ("torch", "torchvision", "onnx")]
                assert not heavy, f"{relative} imports {heavy}"


def test_threads_start_in_one_file_of_the_stream() -> None:
    starts = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "stream").rglob("*.py"))
        if any(call in path.read_text(encoding="utf-8") for call in ("threading.Thread(", "threading.Timer("))
    ]
    assert starts == ["stream/pipeline.py"]


def test_one_file_of_the_engines_starts_threads_and_imports_pycuda() -> None:
    files = {path.relative_to(ROOT).as_posix(): path for path in sorted((ROOT / "engines").rglob("*.py"))}
    starts = [name for name, path in files.items() if "threading.Thread(" in path.read_text(encoding="utf-8")]
    assert starts == ["engines/cuda.py"]  # the thread that owns the GPU's context
    for room in MAY_IMPORT:
        for path in sorted((ROOT / room).rglob("*.py")):
            if any(name.split(".")[0] == "pycuda" for name in imported(path)):
                assert path.relative_to(ROOT).as_posix() == "engines/cuda.py"
