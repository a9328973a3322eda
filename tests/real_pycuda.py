"""The real pycuda on a machine without a GPU: built from its source over a libcuda that is made here.

What was built stays in build/pycuda of the checkout, so that only the first run takes minutes.
"""

import ctypes
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from filelock import FileLock

ROOT = Path(__file__).parents[1]
SOURCE = Path(__file__).with_name("fake_libcuda") / "libcuda.c"
SOURCES = tuple(SOURCE.parent.glob("*.c"))
"""It and the parts that it includes."""
PYCUDA = "pycuda==2026.1"
HEADERS = ("nvidia-cuda-runtime==13.0.*", "nvidia-cuda-crt==13.0.*", "nvidia-cuda-profiler-api==13.0.*")
MARK = "HEADRACE_REAL_PYCUDA"
"""Set in a process that has the real pycuda."""
_SETTINGS = """\
CUDA_INC_DIR = [{include!r}]
CUDADRV_LIB_DIR = [{library!r}]
CUDA_ENABLE_CURAND = False
CUDA_ENABLE_GL = False
"""


class RealPycuda:
    """Where the parts are; `build` makes those that are missing."""

    def __init__(self, folder: Path = ROOT / "build" / "pycuda") -> None:
        self.folder = folder
        self.library = folder / "lib"
        """Holds libcuda.so.1."""
        python = f"cp{sys.version_info.major}{sys.version_info.minor}"
        self.site = folder / f"site-{python}"
        """Holds pycuda and what it imports."""
        self._headers = folder / "headers"

    def build(self) -> None:
        """Make libcuda.so.1 and pycuda where they are missing or older than their source.

        Raises:
            subprocess.CalledProcessError: a tool failed; its output has been printed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "build.lock"):
            self._build_what_is_missing()

    def _build_what_is_missing(self) -> None:
        if not self._include.is_dir():
            _pip("install", "--quiet", "--no-deps", "--target", str(self._headers), *HEADERS)
        library = self.library / "libcuda.so.1"
        if not library.is_file() or library.stat().st_mtime < max(each.stat().st_mtime for each in SOURCES):
            self._build_library(library)
        if not (self.site / "pycuda").is_dir():
            self._build_pycuda()

    def environment(self, **more: str) -> dict[str, str]:
        """For a Python process that is to import it."""
        paths = [str(self.site), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "LD_LIBRARY_PATH": str(self.library),
            MARK: "1",
            **more,
        }

    def run(self, *arguments: str, timeout_s: float = 300, **more: str) -> "subprocess.CompletedProcess[str]":
        """A Python process with the real pycuda, to its end."""
        return subprocess.run(
            [sys.executable, *arguments],
            env=self.environment(**more),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    @property
    def _include(self) -> Path:
        return self._headers / "nvidia" / "cu13" / "include"

    def _build_library(self, library: Path) -> None:
        """Our own libcuda; every other name that cuda.h declares answers "not supported"."""
        self.library.mkdir(exist_ok=True)
        declared = "".join(
            (self._include / name).read_text(errors="replace") for name in ("cuda.h", "cudaProfiler.h")
        )
        names = set(re.findall(r"CUDAAPI\s+(cu[A-Z]\w*)\s*\(", declared))
        names |= set(re.findall(r"#\s*define\s+cu[A-Z]\w*\s+(cu[A-Z]\w*)\s*$", declared, re.MULTILINE))
        ours = set(re.findall(r"\b(cu[A-Z]\w*)\(", "".join(each.read_text(encoding="utf-8") for each in SOURCES)))
        rest = self.folder / "rest.c"
        rest.write_text("".join(f"int {name}(void) {{ return 801; }}\n" for name in sorted(names - ours)))
        draft = library.with_suffix(".draft")
        options = ["-D_GNU_SOURCE", "-O1", "-Wall", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"]
        _call(["gcc", *options, "-o", str(draft), str(SOURCE), str(rest), "-lpthread"])
        draft.replace(library)
        link = self.library / "libcuda.so"  # the name that the linker looks for
        link.unlink(missing_ok=True)
        link.symlink_to(library.name)

    def _build_pycuda(self) -> None:
        """pycuda's own build, without nvcc: it takes its settings from a file in the home folder."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        settings = _SETTINGS.format(include=str(self._include), library=str(self.library))
        (home / ".aksetup-defaults.py").write_text(settings)
        # Where nvcc is on the path, pycuda takes its headers from beside it, whatever the settings say.
        path = [each for each in os.environ["PATH"].split(os.pathsep) if not (Path(each) / "nvcc").exists()]
        tools = self.folder / "bin"
        tools.mkdir(exist_ok=True)
        for tool in ("gcc", "g++", "cc", "c++", "ld", "as", "ar"):
            found, link = shutil.which(tool), tools / tool
            if found and not link.exists():
                link.symlink_to(found)
        draft = self.folder / "site-draft"
        shutil.rmtree(draft, ignore_errors=True)
        environment = {**os.environ, "HOME": str(home), "PATH": os.pathsep.join([str(tools), *path])}
        _pip("install", "--no-binary", "pycuda", "--target", str(draft), PYCUDA, environment=environment)
        draft.replace(self.site)


class LibcudaGpu:
    """What tests look at and set in the libcuda that was made here; as doubled.Gpu says."""

    _CODES: ClassVar = {"unspecified launch failure": 719, "an illegal memory access was encountered": 700}

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libcuda.so.1")
        for name in ("fake_held_bytes", "fake_held_host_bytes"):
            getattr(self._library, name).restype = ctypes.c_size_t
        self._library.fake_journal.restype = ctypes.c_char_p
        self._library.fake_set_memory.argtypes = (ctypes.c_size_t, ctypes.c_size_t)

    @property
    def launches(self) -> int:
        return int(self._library.fake_launches())

    @property
    def open_graphs(self) -> int:
        return int(self._library.fake_open_graphs())

    @property
    def held_bytes(self) -> int:
        return int(self._library.fake_held_bytes())

    @property
    def held_host_bytes(self) -> int:
        return int(self._library.fake_held_host_bytes())

    def journal(self) -> list[tuple[str, int, str]]:
        lines = (line.split() for line in self._library.fake_journal().decode().splitlines())
        return [(verb, int(stream), what) for verb, stream, what in lines]

    def fail_next(self, text: str = "unspecified launch failure") -> None:
        self._library.fake_fail_next(self._CODES[text])

    def set_memory(self, total: int, host_limit: int = 0) -> None:
        self._library.fake_set_memory(total, host_limit)

    def set_devices(self, count: int) -> None:
        self._library.fake_set_devices(count)

    def refuse(self, call: str, code: int) -> None:
        self._library.fake_refuse(call.encode(), code)

    def leaked(self) -> list[str]:
        return []  # the process would be gone

    def reset(self) -> None:
        self._library.fake_reset()


def _pip(*arguments: str, environment: dict[str, str] | None = None) -> None:
    _call([sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments], environment)


def _call(command: Sequence[str], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout[-8000:], done.stderr[-8000:], sep="\n")
        done.check_returncode()
