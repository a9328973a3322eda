"""How many cores a process may use."""

import os
from pathlib import Path

import pytest

from headrace.engines import cores


@pytest.mark.parametrize(
    ("text", "want"),
    [("200000 100000\n", 2), ("50000 100000\n", 1), ("max 100000\n", None), ("", None)],
)
def test_a_containers_quota_cuts_the_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, want: int | None
) -> None:
    (tmp_path / "cpu.max").write_text(text)
    monkeypatch.setattr(cores, "_CGROUP_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64), raising=False)
    assert cores.usable_cores() == (want or 64)


def test_without_a_quota_the_affinity_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "_CGROUP_QUOTA", tmp_path / "absent")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 7, 9}, raising=False)
    assert cores.usable_cores() == 3
