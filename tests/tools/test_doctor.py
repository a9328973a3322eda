"""`headrace doctor` tells what works, what does not, and the line that mends it."""

from dataclasses import replace
from pathlib import Path

import pytest

from headrace.engines import cores, nvidia
from headrace.tools import doctor

HEALTHY = nvidia.Nvidia(
    driver="580.95.05",
    cuda=(13, 0),
    gpus=(nvidia.Gpu(name="NVIDIA H200", capability=(9, 0), memory_bytes=139 << 30),),
    tensorrt="11.4.0.106",
    tensorrt_cuda=13,
    pycuda="2026.1",
    trouble=None,
)


def report(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, found: nvidia.Nvidia) -> str:
    monkeypatch.setattr(nvidia, "look", lambda: found)
    assert doctor.main([]) == 0
    return capsys.readouterr().out


def test_a_gpu_whose_parts_fit(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    said = report(capsys, monkeypatch, HEALTHY)
    assert "NVIDIA H200, compute capability 9.0, 139 GiB" in said
    assert "580.95.05, for CUDA up to 13.0" in said
    assert "11.4.0.106, built for CUDA 13" in said
    assert "these fit each other" in said


def test_a_gpu_whose_parts_do_not_fit(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    said = report(capsys, monkeypatch, replace(HEALTHY, cuda=(12, 8)))
    assert "! TensorRT 11.4.0.106 is built for CUDA 13, but the driver serves CUDA 12.8 at most" in said
    assert "these fit each other" not in said


def test_what_goes_while_it_counts_is_not_counted(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert [doctor._size_bytes(tmp_path / name) for name in ("a", "gone", "never")] == [3, 0, 0]


def test_no_gpu_is_no_failure(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    none = nvidia.Nvidia(
        driver=None, cuda=None, gpus=(), tensorrt=None, tensorrt_cuda=None, pycuda=None, trouble="no driver: do this"
    )
    said = report(capsys, monkeypatch, none)
    assert "  no driver: do this" in said
    assert "network street           runs: openvino " in said
    assert "nothing is proven here yet: `headrace prove street` finds the fastest" in said
    assert said.rstrip().endswith("ready: headrace demo")


def test_the_cores_are_those_that_engines_use(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container with a quota fewer than the machine has."""
    monkeypatch.setattr(cores, "usable_cores", lambda: 1)
    assert "\nengines (1 core)\n" in report(capsys, monkeypatch, HEALTHY)
