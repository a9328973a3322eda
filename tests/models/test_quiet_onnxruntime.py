"""Nothing is reported to anybody: ONNX Runtime keeps no record of the device, and looks no server up."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_RUN = """
from headrace.engines import open_engine
import numpy as np
with open_engine("street", engine="onnxruntime") as engine, engine.session() as session:
    session.infer({"frame": np.zeros((1, 360, 480, 3), np.uint8)})
"""


def test_onnxruntime_leaves_nothing_in_the_users_folders(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": "", "HEADRACE_CACHE": str(tmp_path / "ours")}
    clean = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", _RUN], env={**clean, **home}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file() and "ours" not in path.parts] == []


@pytest.mark.parametrize("room", ["stream", "engines", "models", "tools"])
def test_it_is_brought_in_quietly_everywhere(room: str) -> None:
    for path in sorted((ROOT / room).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        names = {
            name
            for node in ast.walk(ast.parse(text))
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        if any(name.split(".")[0] == "onnxruntime" for name in names) and path.name != "quiet_onnxruntime.py":
            assert "headrace.models.quiet_onnxruntime" in names, path
