"""TensorRT's real Python bindings on a machine without its libraries: over stand-ins in which nothing can be made.

The bindings are NVIDIA's and are not part of this project: pip brings them into build/tensorrt of the checkout.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = Path(__file__).with_name("fake_nvinfer") / "nvinfer.c"
VERSIONS = {10: "10.16.1.11", 11: "11.4.0.106"}
_LIBRARIES = ("libnvinfer", "libnvinfer_plugin", "libnvonnxparser")


class RealTensorRt:
    """One version of the bindings; `build` brings what is missing."""

    def __init__(self, major: int, folder: Path = ROOT / "build" / "tensorrt") -> None:
        self.major = major
        self.library = folder / str(major) / "lib"
        self.site = folder / str(major) / f"site-cp{sys.version_info.major}{sys.version_info.minor}"

    def build(self) -> None:
        """Bring the bindings and make the libraries, where they are missing or older than their source.

        Raises:
            AssertionError: a tool failed; has its output.
        """
        self.library.mkdir(parents=True, exist_ok=True)
        if not self.site.is_dir():
            draft = self.site.with_name("site-draft")
            shutil.rmtree(draft, ignore_errors=True)
            package = f"tensorrt_cu13_bindings=={VERSIONS[self.major]}"
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
            _call([*pip, "--target", str(draft), package])
            draft.replace(self.site)
        for name in (f"{each}.so.{self.major}" for each in _LIBRARIES):
            file = self.library / name
            if not file.is_file() or file.stat().st_mtime < SOURCE.stat().st_mtime:
                _call(["gcc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(file), str(SOURCE)])

    def run(self, script: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """A Python process that finds the bindings, to its end."""
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(self.site), str(SOURCE.parents[1])]),
            "LD_LIBRARY_PATH": str(self.library),
        }
        return _call([sys.executable, str(script), *arguments], environment)


def _call(command: list[str], environment: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done
