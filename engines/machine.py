"""What machine this is, as a verdict remembers it: the processor, the cores in use, the GPU."""

import platform
from functools import cache
from pathlib import Path

from headrace.engines.cores import usable_cores
from headrace.engines.nvidia import look

_CPUINFO = Path("/proc/cpuinfo")


def cpu() -> str:
    """The processor's name with the number of cores that we may use, such as "AMD EPYC, 2 cores"."""
    cores = usable_cores()
    return f"{_cpu_name()}, {cores} core{'' if cores == 1 else 's'}"


@cache
def gpu() -> str:
    """The first GPU's name with the CUDA that its driver serves; empty without one."""
    found = look()
    if not found.gpus or found.cuda is None:
        return ""
    return f"{found.gpus[0].name}, CUDA {found.cuda[0]}.{found.cuda[1]}"


@cache
def _cpu_name() -> str:
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return " ".join(value.split())
    return platform.processor() or platform.machine()
