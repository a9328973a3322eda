"""Nothing is reported to anybody: OpenVINO's telemetry does not come in with it."""

import subprocess
import sys

_CHECK = """
import sys, threading
from headrace.engines import open_engine
open_engine("street", engine="openvino").close()
import openvino.tools.ovc as ovc
assert "telemetry_stub" in type(ovc.telemetry).__module__, type(ovc.telemetry).__module__
assert not [name for name, module in sys.modules.items() if name.startswith("openvino_telemetry") and module]
assert [thread.name for thread in threading.enumerate()] == ["MainThread"]
"""


def test_openvino_comes_without_its_telemetry() -> None:
    done = subprocess.run([sys.executable, "-c", _CHECK], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
