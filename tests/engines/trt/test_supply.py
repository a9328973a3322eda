"""A plan that fits is used, what does not fit is built again, and where the file is gone both sides are named."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from trt_bench import Bench

from headrace.engines import BuildError
from headrace.engines.errors import CacheError, NotBuiltError
from headrace.models.spec import ModelSpec


def run(engine: object, spec: ModelSpec) -> None:
    frame = np.zeros((1, *[length or 1 for length in spec.inputs[0].shape[1:]]), np.uint8)
    with engine.session() as session:  # type: ignore[attr-defined]
        assert session.infer({"frame": frame})["mask"].shape == (1, 12, 16)


def test_a_plan_is_built_once(bench: Bench, segmenter: ModelSpec) -> None:
    for _ in range(3):
        with bench.open(segmenter) as engine:
            run(engine, segmenter)
            assert engine.notes == []
    assert bench.machine.builds == 1
    assert [path.suffix for path in bench.kept()] == [".json", ".plan", ".cache"]


def test_nothing_is_built_where_that_is_not_allowed(bench: Bench, segmenter: ModelSpec) -> None:
    with pytest.raises(
        NotBuiltError, match=r"segmenter\.onnx: no plan for it is built here yet; here: TensorRT 1.*Double H9"
    ):
        bench.open(segmenter, build=False)
    assert bench.machine.builds == 0
    bench.open(segmenter).close()
    with bench.open(segmenter, build=False) as engine:
        run(engine, segmenter)
    with pytest.raises(NotBuiltError):
        bench.open(segmenter, build=False, level=5)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 255
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("damage", [truncate, flip, lambda path: path.with_suffix(".json").write_text("{")])
def test_a_damaged_plan_is_built_again(bench: Bench, segmenter: ModelSpec, damage: Callable[[Path], None]) -> None:
    bench.open(segmenter).close()
    damage(bench.kept(".plan")[0])
    with pytest.raises(NotBuiltError, match="its plan is refused"):
        bench.open(segmenter, build=False)
    with bench.open(segmenter) as engine:
        run(engine, segmenter)
        (note,) = engine.notes
        assert note.startswith("the kept plan of segmenter is refused and built again: ")
    assert bench.machine.builds == 2
    bench.open(segmenter).close()
    assert bench.machine.builds == 2


def disguise(bench: Bench, segmenter: ModelSpec, monkeypatch: pytest.MonkeyPatch, **was: str) -> None:
    """Build a plan as another machine does, and put it where this one looks."""
    with monkeypatch.context() as elsewhere:
        for name, value in was.items():
            elsewhere.setenv(name, value)
        bench.machine.reset()
        bench.open(segmenter).close()
    bench.machine.reset()
    cache = bench.module("cache")
    (card,) = cache.cards(segmenter.weights.file)
    kept = cache.read(card.key)
    with bench.open(segmenter) as engine:
        here = engine.card
    cache.keep(kept.plan, replace(here, plan_bytes=card.plan_bytes, plan_digest=card.plan_digest))


@pytest.mark.parametrize(
    ("was", "said"),
    [
        ({"DOUBLE_TRT_CAPABILITY": "8.6"}, "incompatible device, expecting compute 9.0 got compute 8.6"),
        ({"DOUBLE_TRT_VERSION": "10.13.3.9"}, "not compatible with this version of TensorRT"),
        ({"DOUBLE_TRT_PLATFORM": "windows x86_64"}, "Platform specific tag mismatch"),
    ],
)
def test_a_plan_that_tensorrt_refuses_is_built_again(
    bench: Bench, segmenter: ModelSpec, monkeypatch: pytest.MonkeyPatch, was: dict[str, str], said: str
) -> None:
    disguise(bench, segmenter, monkeypatch, **was)
    before = bench.machine.builds
    with bench.open(segmenter) as engine:
        run(engine, segmenter)
        assert said in engine.notes[0]
    assert bench.machine.builds == before + 1


def test_a_plan_still_runs_when_its_file_is_gone(bench: Bench, segmenter: ModelSpec) -> None:
    bench.open(segmenter).close()
    segmenter.weights.file.unlink()
    with bench.open(segmenter) as engine:
        run(engine, segmenter)
        assert engine.info.precision == "fp32"
    with pytest.raises(BuildError, match="built with other options"):
        bench.open(segmenter, level=5)


def test_both_sides_are_named_when_the_file_is_gone(
    bench: Bench, segmenter: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.open(segmenter).close()
    segmenter.weights.file.unlink()
    version = bench.machine.version
    for name, value in (("DOUBLE_TRT_GPU", "Double A9"), ("DOUBLE_TRT_CAPABILITY", "8.0")):
        monkeypatch.setenv(name, value)
    here, found = rf"TensorRT {version} on Double A9 \(8\.0\)", rf"TensorRT {version} on Double H9 \(9\.0\)"
    with pytest.raises(
        BuildError, match=rf"no such file, and no plan .*\(here: {here}.*; found: {found}.*\): put the"
    ):
        bench.open(segmenter)


def test_a_plan_that_was_built_to_travel_runs_elsewhere_when_its_file_is_gone(
    bench: Bench, segmenter: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    travels: dict[str, Any] = {"version_compatible": True, "hardware": "ampere_plus"}
    bench.open(segmenter, **travels).close()
    segmenter.weights.file.unlink()
    bench.machine.version = "11.5.0.1"
    monkeypatch.setenv("DOUBLE_TRT_GPU", "Double A9")
    monkeypatch.setenv("DOUBLE_TRT_CAPABILITY", "8.6")
    with bench.open(segmenter, **travels) as engine:
        run(engine, segmenter)
    monkeypatch.setenv("DOUBLE_TRT_CAPABILITY", "7.5")
    with pytest.raises(BuildError, match=r"no such file, and no plan .*incompatible device, expecting compute 7\.5"):
        bench.open(segmenter, **travels)


def test_a_truncated_plan_without_its_file_is_said(bench: Bench, segmenter: ModelSpec) -> None:
    bench.open(segmenter).close()
    segmenter.weights.file.unlink()
    truncate(bench.kept(".plan")[0])
    with pytest.raises(BuildError, match=r"no such file, and no plan .*\.plan has \d+ bytes, and \d+ were written"):
        bench.open(segmenter)


def test_a_stripped_plan_needs_its_file(bench: Bench, segmenter: ModelSpec) -> None:
    bench.open(segmenter, strip=True).close()
    segmenter.weights.file.unlink()
    with pytest.raises(BuildError, match=r"built without its weights \(strip\)"):
        bench.open(segmenter, strip=True)


def test_an_update_of_tensorrt_builds_anew_and_removes_the_old_plan(bench: Bench, segmenter: ModelSpec) -> None:
    bench.open(segmenter).close()
    bench.machine.version = "11.5.0.1"
    with bench.open(segmenter) as engine:
        run(engine, segmenter)
        assert engine.notes[0].startswith("removed an older plan of segmenter, built for TensorRT 1")
    assert bench.machine.builds == 2
    assert len(bench.kept(".plan")) == 1
    assert len(bench.kept(".cache")) == 2


def test_a_changed_file_is_built_anew_and_the_old_plan_goes(bench: Bench, tmp_path: Path) -> None:
    spec = tiny_models.segmenter(tmp_path)
    bench.open(spec).close()
    tiny_models.segmenter(tmp_path, classes=7)
    with bench.open(spec) as engine:
        run(engine, spec)
    assert bench.machine.builds == 2
    assert len(bench.kept(".plan")) == 1


def test_weights_beside_the_file_count(bench: Bench, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    spec = tiny_models.deep_net(tmp_path)
    model = onnx.load(spec.weights.file)
    onnx.save(model, spec.weights.file, save_as_external_data=True, location="deep.data", size_threshold=0)
    bench.open(spec).close()
    beside = tmp_path / "deep.data"
    data = bytearray(beside.read_bytes())
    data[-3] ^= 1
    beside.write_bytes(bytes(data))
    bench.open(spec).close()
    assert bench.machine.builds == 2
    beside.unlink()
    with pytest.raises(BuildError, match=r"deep_net\.onnx: its weights are missing: put 'deep\.data' beside it"):
        bench.open(spec)


def test_a_full_disk_is_told_and_leaves_nothing(
    bench: Bench, segmenter: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        with pytest.raises(
            CacheError, match=r"\.plan: the disk is full \(.* MB needed, .* MB free\).*HEADRACE_CACHE"
        ):
            bench.open(segmenter)
    assert bench.kept() == []
    bench.open(segmenter).close()


def test_a_disk_without_room_is_told_before_the_build(
    bench: Bench, segmenter: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = bench.module("cache")
    usage = cache.shutil.disk_usage("/")._replace(free=100)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(CacheError, match=r"the disk is full \(about 0\.0 MB needed, 0\.0 MB free\)"):
        bench.open(segmenter)
    assert bench.machine.builds == 0


def test_times_that_cannot_be_kept_stop_nothing(
    bench: Bench, segmenter: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    supply = bench.module("supply")

    def refused(path: Path, data: bytes) -> None:
        raise CacheError(f"cannot write {path}: the disk is full")

    monkeypatch.setattr(supply, "put", refused)
    with bench.open(segmenter) as engine:
        run(engine, segmenter)
        assert engine.notes[0].startswith("the times of kernels are not kept, so the next build takes longer: cannot")
