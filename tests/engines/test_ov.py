"""OpenVINO on the CPU: the contract, and that it never runs in another precision than it says."""

import sys
from hashlib import sha256
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import numpy as np
import pytest
import tiny_models
from contracts import EngineContract, frames, reference

from headrace.engines import BuildError, Engine, Precision, PrecisionError, ov, store
from headrace.engines.ov import OpenVinoEngine
from headrace.models.spec import ModelSpec


def needs(precision: str) -> None:
    if precision not in ov.precisions():
        pytest.skip(f"this CPU has no {precision}; OpenVINO lists {', '.join(ov.precisions())}")


def relative_error(got: np.ndarray, want: np.ndarray) -> float:
    return float(np.abs(got - want).max() / np.abs(want).max())


def cached() -> list[Path]:
    return sorted((store.cache_root() / "openvino").glob("*.blob"))


class TestOpenVino(EngineContract):
    backend = "openvino"


class TestOpenVinoFromTheCache(EngineContract):
    """Each network as the second start has it."""

    backend = "openvino"

    def open(self, spec: ModelSpec, **options: Any) -> Engine:
        OpenVinoEngine(spec, **options).close()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ov, "_compile", None)
            return OpenVinoEngine(spec, **options)


class TestTheCache:
    """A compiled network is taken from it only if it is what was put there, for the same file and options."""

    @pytest.fixture
    def spec(self, tmp_path: Path) -> ModelSpec:
        return tiny_models.deep_net(tmp_path, layers=3)

    def opened(self, spec: ModelSpec, **options: Any) -> np.ndarray:
        with OpenVinoEngine(spec, **options) as engine, engine.session() as session:
            return session.infer({"frame": frames(1, spec)})["map"]

    @pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "zeroed", "another"])
    def test_a_damaged_one_is_compiled_anew(self, spec: ModelSpec, damage: str) -> None:
        want = self.opened(spec)
        (file,) = cached()
        good = file.read_bytes()
        middle = len(good) // 2
        bad = {
            "empty": b"",
            "cut": good[:middle],
            "flipped": good[:middle] + bytes([good[middle] ^ 64]) + good[middle + 1 :],
            "zeroed": good[:middle] + bytes(64) + good[middle + 64 :],
            "another": sha256(b"not a network").digest() + b"not a network",
        }
        assert bad[damage] != good
        file.write_bytes(bad[damage])
        np.testing.assert_array_equal(self.opened(spec), want)
        assert file.read_bytes()[:32] == sha256(file.read_bytes()[32:]).digest()
        assert file.read_bytes() != bad[damage]

    def test_other_options_and_other_weights_have_their_own(self, spec: ModelSpec, tmp_path: Path) -> None:
        first = self.opened(spec)
        self.opened(spec, sessions=1, threads=2)
        self.opened(spec, sessions=2, threads=2)
        assert len(cached()) >= 2
        before = len(cached())
        changed = spec.weights.file.read_bytes()
        weights = np.random.default_rng(11).normal(0, 0.3, (24, 3, 3, 3)).astype(np.float32).tobytes()
        assert weights in changed
        spec.weights.file.write_bytes(changed.replace(weights, weights[4:] + weights[:4]))
        assert not np.array_equal(self.opened(spec), first)
        assert len(cached()) == before + 1

    def test_weights_in_other_files_are_not_kept(self, spec: ModelSpec) -> None:
        """Two of them, which could change behind the network's file."""
        tiny_models.scatter_weights(spec.weights.file, ["w_in", "w1"])
        folder = spec.weights.file.parent
        assert (folder / "w_in.bin").is_file()
        want = reference(spec, {"frame": frames(1, spec)})["map"]
        np.testing.assert_allclose(self.opened(spec), want, atol=1e-4)
        assert cached() == []
        (folder / "w1.bin").unlink()
        with pytest.raises(BuildError, match=r"deep_net\.onnx: openvino cannot read it"):
            OpenVinoEngine(spec)

    def test_large_ones_are_not_kept(self, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ov, "_LARGEST_CACHED_BYTES", spec.weights.file.stat().st_size - 1)
        self.opened(spec)
        assert cached() == []

    def test_a_cache_that_cannot_be_written_changes_nothing(
        self, spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_text("no folder")
        want = self.opened(spec)
        monkeypatch.setenv(store.ROOT_VARIABLE, str(tmp_path / "file"))
        np.testing.assert_array_equal(self.opened(spec), want)

    def test_two_processes_at_once(self, spec: ModelSpec, tmp_path: Path) -> None:
        """Both compile, both put it there, and what lies there is whole."""
        code = (
            "import sys; sys.path.insert(0, sys.argv[1]); import tiny_models; from pathlib import Path;"
            "from headrace.engines.ov import OpenVinoEngine;"
            "spec = tiny_models.deep_net(Path(sys.argv[2]), layers=3);"
            "print('ready', flush=True); input(); OpenVinoEngine(spec).close()"
        )
        tests = str(Path(tiny_models.__file__).parent)
        runs = []
        for at in range(2):
            (folder := tmp_path / str(at)).mkdir()
            runs.append(
                Popen(
                    [sys.executable, "-c", code, tests, str(folder)], stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True
                )
            )
        for run in runs:
            assert run.stdout is not None
            assert run.stdout.readline() == "ready\n"
        for run in runs:
            assert run.stdin is not None
            run.stdin.write("go\n")
            run.stdin.flush()
        for run in runs:
            _, errors = run.communicate(timeout=60)
            assert (run.returncode, errors) == (0, "")
        assert len(cached()) == 1
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ov, "_compile", None)
            self.opened(spec)


def test_int8_runs_the_rest_in_bf16_where_the_cpu_has_it(tmp_path: Path) -> None:
    needs("bf16")
    spec = tiny_models.quantized(tmp_path)
    x = np.random.default_rng(1).normal(0, 2, (1, 16, 8, 8)).astype(np.float32)
    hints = []
    for asked in (None, "int8"):
        with OpenVinoEngine(spec, precision=asked) as engine, engine.session() as session:
            assert engine.info.precision == "int8"
            hints.append(engine._compiled.get_property("INFERENCE_PRECISION_HINT").to_string())
            got = session.infer({"x": x})["y"]
        np.testing.assert_allclose(got, reference(spec, {"x": x})["y"], atol=0.5)
    assert hints == ["f32", "bf16"]


def test_int8_runs_the_rest_in_fp32_where_the_cpu_has_no_bf16(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ov, "precisions", lambda: ("fp32", "int8"))
    with OpenVinoEngine(tiny_models.quantized(tmp_path), precision="int8") as engine:
        assert engine.info.precision == "int8"
        assert engine._compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"


def test_auto_is_fp32_where_openvino_itself_would_take_less(tmp_path: Path) -> None:
    spec = tiny_models.deep_net(tmp_path)
    frame = frames(1, spec)
    with OpenVinoEngine(spec) as engine, engine.session() as session:
        assert engine.info.precision == "fp32"
        got = session.infer({"frame": frame})["map"]
    assert relative_error(got, reference(spec, {"frame": frame})["map"]) < 1e-4


def test_bf16_runs_when_asked_for_and_shows(tmp_path: Path) -> None:
    needs("bf16")
    spec = tiny_models.deep_net(tmp_path)
    frame = frames(1, spec)
    with OpenVinoEngine(spec, precision="bf16") as engine, engine.session() as session:
        assert engine.info.precision == "bf16"
        got = session.infer({"frame": frame})["map"]
    error = relative_error(got, reference(spec, {"frame": frame})["map"])
    assert 1e-3 < error < 0.5  # rounded to 8 bits of mantissa, layer after layer, but the same network


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_precision_that_the_cpu_lacks_is_refused(tmp_path: Path, precision: Precision) -> None:
    if precision in ov.precisions():
        pytest.skip(f"this CPU has {precision}")
    with pytest.raises(PrecisionError, match=f"cannot run precision '{precision}'; allowed: fp32"):
        OpenVinoEngine(tiny_models.segmenter(tmp_path), precision=precision)


def test_another_precision_than_told_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO compiles for what the CPU has and says nothing; past our own list we still notice."""
    if "fp16" in ov.precisions():
        pytest.skip("this CPU has fp16, so OpenVINO keeps to it")
    monkeypatch.setattr(ov, "precisions", lambda: ("fp32", "fp16"))
    with pytest.raises(PrecisionError, match="told to compile for f16 and compiled for"):
        OpenVinoEngine(tiny_models.deep_net(tmp_path), precision="fp16")


def test_threads_are_shared_out_to_the_sessions(tmp_path: Path) -> None:
    spec = tiny_models.segmenter(tmp_path)
    with OpenVinoEngine(spec, threads=2) as engine:
        assert engine.sessions == 2
    with OpenVinoEngine(spec, threads=2, sessions=5) as engine:
        assert engine.sessions == 2
    with OpenVinoEngine(spec, threads=2, sessions=1, pinned=True) as engine:
        assert engine.sessions == 1
