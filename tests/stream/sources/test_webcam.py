"""Runs `webcam_cases.py` in a process whose /dev holds emulated cameras; each case is a test here."""

import ast
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import fakecam
import pytest
from peers import missing

CASES = Path(__file__).with_name("webcam_cases.py")
NAMES = [
    node.name
    for node in ast.parse(CASES.read_text()).body
    if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """By case: what failed in it; nothing where it passed."""
    if sys.platform != "linux" or not fakecam.has_compiler():
        missing("emulated cameras need Linux, gcc and C headers (libc6-dev)")
    folder = tmp_path_factory.mktemp("fakecam")
    dev, report = folder / "dev", folder / "report.xml"
    dev.mkdir()
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={report}", str(CASES)]
    preloaded = fakecam.environment(fakecam.build(folder), dev)
    ran = subprocess.run(
        command, env={**os.environ, **preloaded}, capture_output=True, text=True, timeout=120, check=False
    )
    assert report.exists(), f"the cases did not run to their end:\n{ran.stdout}\n{ran.stderr}"
    found: dict[str, list[str]] = {}
    for case in ET.parse(report).iter("testcase"):
        failed = [part.text or "failed" for kind in ("failure", "error") for part in case.iter(kind)]
        found.setdefault(str(case.get("name")).partition("[")[0], []).extend(failed)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_case(name: str, outcomes: dict[str, list[str]]) -> None:
    assert name in outcomes, "the case did not run"
    assert not outcomes[name], "\n".join(outcomes[name])
