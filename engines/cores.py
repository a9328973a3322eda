"""How many CPU cores this process may use."""

import os
from pathlib import Path

_CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores() -> int:
    """Cores that the scheduler gives us: the affinity mask, cut to a container's CPU quota; at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, _quota_cores(_CGROUP_QUOTA)))


def _quota_cores(path: Path) -> int:
    """Whole cores in a cgroup's "QUOTA PERIOD" (microseconds); without a quota, more than any machine has."""
    try:
        quota, period = path.read_text(encoding="ascii").split()
        return int(quota) // int(period)
    except (OSError, ValueError):  # no cgroup v2, or "max"
        return 1 << 20
