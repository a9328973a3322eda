"""What a verdict remembers of the machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.engines import machine
from headrace.engines.nvidia import Gpu, Nvidia


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    caches = (machine.gpu, machine._cpu_name)
    for each in caches:
        each.cache_clear()
    yield
    for each in caches:
        each.cache_clear()


def found(**fields: object) -> Nvidia:
    nothing = {"driver": None, "cuda": None, "gpus": (), "tensorrt": None, "tensorrt_cuda": None, "pycuda": None}
    return Nvidia(**{**nothing, "trouble": None, **fields})  # type: ignore[arg-type]


def test_the_processor_with_its_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Some  CPU @ 3 GHz\n")
    monkeypatch.setattr(machine, "_CPUINFO", info)
    monkeypatch.setattr(machine, "usable_cores", lambda: 1)
    assert machine.cpu() == "Some CPU @ 3 GHz, 1 core"
    monkeypatch.setattr(machine, "usable_cores", lambda: 8)
    assert machine.cpu() == "Some CPU @ 3 GHz, 8 cores"


def test_a_processor_that_linux_does_not_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "none")
    assert machine.cpu().split(",")[0]


def test_the_gpu_with_the_cuda_of_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu(name="Some GPU", capability=(9, 0), memory_bytes=1 << 30)
    monkeypatch.setattr(machine, "look", lambda: found(cuda=(13, 0), gpus=(gpu,)))
    assert machine.gpu() == "Some GPU, CUDA 13.0"


def test_no_gpu_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "look", lambda: found(trouble="no driver"))
    assert machine.gpu() == ""
