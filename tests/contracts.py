"""What every engine must do, whatever runs it: a backend's test inherits this and adds its own quirks."""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from onnx.reference import ReferenceEvaluator

from headrace.engines import (
    BuildError,
    BusySessionError,
    ClosedEngineError,
    Engine,
    EngineInputError,
    InferError,
    PrecisionError,
    Session,
    SpecMismatchError,
)
from headrace.engines.catalog import BACKENDS
from headrace.models.spec import ModelSpec


def frames(batch: int, spec: ModelSpec, seed: int = 0) -> np.ndarray:
    """Random uint8 frames (B, H, W, 3) for a network's first input."""
    shape = [batch if length is None else length for length in spec.inputs[0].shape]
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def reference(spec: ModelSpec, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What ONNX's own evaluator makes of it."""
    evaluator = ReferenceEvaluator(str(spec.weights.file))
    return dict(zip(evaluator.output_names, evaluator.run(None, dict(feeds)), strict=True))


def in_threads(works: list[Callable[[], Any]]) -> list[Any]:
    """Run all at once, each on a thread of its own; the first failure is raised here."""
    results: list[Any] = [None] * len(works)
    failures: list[BaseException] = []

    def run(at: int) -> None:
        try:
            results[at] = works[at]()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(at,)) for at in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return results


class SlowToRead(Mapping[str, np.ndarray]):
    """Inputs that hold a session inside `infer` until they are let go."""

    def __init__(self, inputs: dict[str, np.ndarray]) -> None:
        self._inputs = inputs
        self.read = threading.Event()
        self.go_on = threading.Event()

    def __getitem__(self, name: str) -> np.ndarray:
        self.read.set()
        assert self.go_on.wait(60)
        return self._inputs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._inputs)

    def __len__(self) -> int:
        return len(self._inputs)


class EngineContract:
    """Inherit, and set `backend` to the engine's name."""

    backend: str

    def open(self, spec: ModelSpec, **options: Any) -> Engine:
        """The engine itself, by no choice of the catalogue's; override where it is made in another way."""
        row = BACKENDS[self.backend]
        return row.load()(spec, **row.keywords, **options)

    @pytest.fixture
    def segmenter(self, tmp_path: Path) -> ModelSpec:
        return tiny_models.segmenter(tmp_path)

    @pytest.fixture
    def session(self, segmenter: ModelSpec) -> Iterator[Session]:
        with self.open(segmenter) as engine, engine.session() as session:
            yield session

    @pytest.fixture
    def adder(self, tmp_path: Path) -> Iterator[Session]:
        spec = tiny_models.running_total(tmp_path)
        with self.open(spec) as engine, engine.session() as session:
            yield session

    # What comes out

    def test_equals_the_reference(self, segmenter: ModelSpec, session: Session) -> None:
        frame = frames(1, segmenter)
        mask = session.infer({"frame": frame})["mask"]
        want = reference(segmenter, {"frame": frame})["mask"]
        assert mask.dtype == np.uint8
        assert mask.shape == want.shape
        assert len(np.unique(mask)) > 2
        assert np.mean(mask == want) >= 0.99  # a pixel whose two best classes tie may fall either way

    def test_fp32_is_fp32(self, tmp_path: Path) -> None:
        spec = tiny_models.deep_net(tmp_path)
        frame = frames(1, spec)
        with self.open(spec, precision="fp32") as engine, engine.session() as session:
            got = session.infer({"frame": frame})["map"]
            assert engine.info.precision == "fp32"
        np.testing.assert_allclose(got, reference(spec, {"frame": frame})["map"], atol=1e-4)

    def test_two_inputs_meet_their_names(self, tmp_path: Path) -> None:
        image = np.full((2, 2, 2, 3), 200, np.uint8)
        flow = np.full((2, 2, 2, 2), -0.5, np.float32)
        spec = tiny_models.two_inputs(tmp_path)
        with self.open(spec) as engine, engine.session() as session:
            scores = session.infer({"flow": flow, "image": image})["scores"]
        np.testing.assert_allclose(scores, [[200, -0.5], [200, -0.5]])

    def test_a_batch_gives_what_its_frames_give(self, segmenter: ModelSpec, session: Session) -> None:
        batch = frames(3, segmenter)
        together = session.infer({"frame": batch})["mask"]
        one_by_one = [session.infer({"frame": batch[at : at + 1]})["mask"][0] for at in range(3)]
        np.testing.assert_array_equal(together, np.stack(one_by_one))
        assert not np.array_equal(together[0], together[1])

    def test_every_batch_length_gives_what_its_frames_give(self, segmenter: ModelSpec, session: Session) -> None:
        """Whatever lengths it is prepared for: shorter batches are padded, longer ones cut, order is kept."""
        batch = frames(19, segmenter)
        alone = np.stack([session.infer({"frame": batch[at : at + 1]})["mask"][0] for at in range(len(batch))])
        for length in (19, 1, 2, 3, 4, 5, 8, 9, 7, 16, 1):
            start = 19 - length
            together = session.infer({"frame": batch[start:]})["mask"]
            np.testing.assert_array_equal(together, alone[start:])

    def test_a_shorter_batch_shows_nothing_of_a_longer_one(self, segmenter: ModelSpec, session: Session) -> None:
        batch = frames(3, segmenter)
        want = session.infer({"frame": batch})["mask"]
        full = np.zeros((8, *batch.shape[1:]), np.uint8)
        for noise in (full, full + 255, frames(8, segmenter, seed=9)):
            session.infer({"frame": noise})
            got = session.infer({"frame": batch})["mask"]
            assert got.shape == want.shape
            np.testing.assert_array_equal(got, want)
            memory = got
            while isinstance(memory.base, np.ndarray):
                memory = memory.base
            assert memory.size == got.size  # nothing behind it that is not the caller's

    def test_a_batch_of_chosen_outputs(self, adder: Session) -> None:
        x = np.arange(20, dtype=np.float32).reshape(5, 4)
        out = adder.infer({"x": x}, outputs=["count", "y"])
        assert list(out) == ["count", "y"]
        assert out["count"].dtype == np.int64
        assert out["count"].tolist() == [[1]] * 5
        np.testing.assert_array_equal(out["y"], x)

    def test_a_length_that_the_description_fixes_is_kept(self, segmenter: ModelSpec) -> None:
        """The file leaves the batch free; its description says one frame, and so nothing is padded."""
        frame, mask = segmenter.inputs[0], segmenter.outputs[0]
        single = replace(
            segmenter,
            inputs=(replace(frame, shape=(1, *frame.shape[1:])),),
            outputs=(replace(mask, shape=(1, *mask.shape[1:])),),
        )
        batch = frames(2, segmenter)
        with self.open(single) as engine, engine.session() as session:
            want = reference(segmenter, {"frame": batch[1:]})["mask"]
            for _ in range(2):
                assert np.mean(session.infer({"frame": batch[1:]})["mask"] == want) >= 0.99
            with pytest.raises(EngineInputError, match="'frame': got shape 2×12×16×3, allowed: uint8 1×12×16×3"):
                session.infer({"frame": batch})

    def test_results_belong_to_the_caller(self, segmenter: ModelSpec, session: Session) -> None:
        frame = frames(1, segmenter)
        first = session.infer({"frame": frame})["mask"]
        kept = first.copy()
        second = session.infer({"frame": 255 - frame})["mask"]
        np.testing.assert_array_equal(first, kept)
        assert not np.array_equal(first, second)
        first[:] = 77
        np.testing.assert_array_equal(session.infer({"frame": frame})["mask"], kept)

    def test_inputs_are_only_read(self, segmenter: ModelSpec, session: Session) -> None:
        frame = frames(1, segmenter)
        before = frame.copy()
        session.infer({"frame": frame})
        np.testing.assert_array_equal(frame, before)

    def test_read_only_and_strided_frames_are_taken(self, segmenter: ModelSpec, session: Session) -> None:
        frame = frames(1, segmenter)
        want = session.infer({"frame": frame})["mask"]
        read_only = frame.copy()
        read_only.flags.writeable = False
        strided = np.repeat(frame, 2, axis=2)[:, :, ::2]
        assert not strided.flags.c_contiguous
        for _ in range(2):  # the second time runs in memory kept from the first
            np.testing.assert_array_equal(session.infer({"frame": read_only})["mask"], want)
            np.testing.assert_array_equal(session.infer({"frame": strided})["mask"], want)
            assert not np.array_equal(session.infer({"frame": 255 - frame})["mask"], want)

    def test_chosen_outputs_only(self, adder: Session) -> None:
        assert set(adder.infer({"x": np.ones((1, 4), np.float32)}, outputs=["count"])) == {"count"}
        assert adder.infer({"x": np.ones((1, 4), np.float32)})["y"].tolist() == [[2.0] * 4]
        with pytest.raises(EngineInputError, match=r"got outputs 'mask', allowed: .*'y', 'count'"):
            adder.infer({"x": np.ones((1, 4), np.float32)}, outputs=["mask"])

    # What goes in

    def test_wrong_name(self, segmenter: ModelSpec, session: Session) -> None:
        frame = frames(1, segmenter)
        with pytest.raises(EngineInputError, match=r"segmenter: got inputs 'image', allowed: 'frame' uint8"):
            session.infer({"image": frame})
        with pytest.raises(EngineInputError, match=r"got inputs 'frame', 'more', allowed: 'frame'"):
            session.infer({"frame": frame, "more": frame})
        with pytest.raises(EngineInputError, match=r"got inputs nothing"):
            session.infer({})

    def test_wrong_shape(self, segmenter: ModelSpec, session: Session) -> None:
        frame = frames(1, segmenter)
        session.infer({"frame": frame})
        for wrong, text in ((frame[:, :, 1:], "1×12×15×3"), (frame[0], "12×16×3"), (frame[:0], "0×12×16×3")):
            with pytest.raises(EngineInputError, match=f"'frame': got shape {text}, allowed: uint8 any×12×16×3"):
                session.infer({"frame": wrong})

    def test_wrong_dtype(self, segmenter: ModelSpec, session: Session) -> None:
        frame = frames(1, segmenter)
        session.infer({"frame": frame})
        with pytest.raises(EngineInputError, match="'frame': got dtype float32, allowed: uint8"):
            session.infer({"frame": frame.astype(np.float32)})
        with pytest.raises(EngineInputError, match="'frame': got list, allowed: a numpy array"):
            session.infer({"frame": frame.tolist()})

    def test_batches_that_differ(self, tmp_path: Path) -> None:
        image, flow = np.zeros((2, 2, 2, 3), np.uint8), np.zeros((1, 2, 2, 2), np.float32)
        spec = tiny_models.two_inputs(tmp_path)
        with (
            self.open(spec) as engine,
            engine.session() as session,
            pytest.raises(EngineInputError, match="got batches image 2, flow 1"),
        ):
            session.infer({"image": image, "flow": flow})

    def test_goes_on_after_a_wrong_input(self, segmenter: ModelSpec, session: Session) -> None:
        frame = frames(1, segmenter)
        want = session.infer({"frame": frame})["mask"]
        with pytest.raises(EngineInputError):
            session.infer({"frame": frame[0]})
        np.testing.assert_array_equal(session.infer({"frame": frame})["mask"], want)

    # State

    def test_state_is_carried_by_name(self, adder: Session) -> None:
        for step in range(1, 4):
            out = adder.infer({"x": np.full((2, 4), 0.5, np.float32)})
            assert set(out) == {"y", "count"}
            np.testing.assert_array_equal(out["y"], np.full((2, 4), 0.5 * step, np.float32))
            assert out["count"].tolist() == [[step], [step]]

    def test_reset_starts_anew(self, adder: Session) -> None:
        ones = np.ones((1, 4), np.float32)
        adder.infer({"x": ones})
        adder.reset()
        assert adder.infer({"x": ones})["count"].tolist() == [[1]]
        adder.reset()
        assert adder.infer({"x": np.ones((3, 4), np.float32)})["count"].tolist() == [[1]] * 3

    def test_the_caller_cannot_write_into_the_state(self, adder: Session) -> None:
        ones = np.ones((1, 4), np.float32)
        adder.infer({"x": ones})["y"][:] = 1000
        assert adder.infer({"x": ones})["y"].tolist() == [[2.0] * 4]

    def test_a_batch_that_changes_under_a_state_is_refused(self, adder: Session) -> None:
        adder.infer({"x": np.ones((2, 4), np.float32)})
        with pytest.raises(EngineInputError, match=r"got a batch of 1, allowed: 2.*reset\(\)"):
            adder.infer({"x": np.ones((1, 4), np.float32)})
        assert adder.infer({"x": np.ones((2, 4), np.float32)})["count"].tolist() == [[2], [2]]

    def test_each_row_of_a_batch_has_its_own_state(self, adder: Session) -> None:
        """However the batch is padded or cut, a row's sum is of that row's numbers."""
        for length in (3, 11, 1, 8):
            adder.reset()
            rows = np.arange(length * 4, dtype=np.float32).reshape(length, 4)
            for step in range(1, 4):
                out = adder.infer({"x": rows})
                np.testing.assert_array_equal(out["y"], rows * step)
                assert out["count"].tolist() == [[step]] * length

    def test_a_run_of_another_batch_does_not_touch_the_state(self, adder: Session) -> None:
        ones = np.ones((3, 4), np.float32)
        adder.infer({"x": ones})
        with pytest.raises(EngineInputError):
            adder.infer({"x": np.full((4, 4), 100, np.float32)})
        assert adder.infer({"x": ones})["y"].tolist() == [[2.0] * 4] * 3

    def test_each_session_has_its_own_state(self, tmp_path: Path) -> None:
        ones = np.ones((1, 4), np.float32)
        spec = tiny_models.running_total(tmp_path)
        with (
            self.open(spec) as engine,
            engine.session() as one,
            engine.session() as two,
        ):
            assert {each.name for each in engine.state} == {"total", "calls"}
            assert [each.name for each in engine.inputs] == ["x"]
            one.infer({"x": ones})
            assert one.infer({"x": ones})["count"].tolist() == [[2]]
            assert two.infer({"x": ones})["count"].tolist() == [[1]]

    # Threads

    def test_sessions_on_threads_give_what_one_gives(self, segmenter: ModelSpec) -> None:
        batch = frames(40, segmenter)
        with self.open(segmenter) as engine:

            def work() -> list[np.ndarray]:
                with engine.session() as session:
                    return [session.infer({"frame": batch[at : at + 1]})["mask"][0] for at in range(len(batch))]

            alone = work()
            for result in in_threads([work, work, work]):
                np.testing.assert_array_equal(result, alone)

    def test_sessions_with_batches_of_their_own(self, segmenter: ModelSpec) -> None:
        """Each thread opens, runs and closes its sessions, with another length than its neighbours."""
        batch = frames(6, segmenter)
        with self.open(segmenter) as engine:
            with engine.session() as session:
                alone = session.infer({"frame": batch})["mask"]

            def work(length: int) -> None:
                for _ in range(3):
                    with engine.session() as session:
                        for start in range(6 - length + 1):
                            got = session.infer({"frame": batch[start : start + length]})["mask"]
                            np.testing.assert_array_equal(got, alone[start : start + length])

            in_threads([lambda length=length: work(length) for length in (1, 3, 5)])  # type: ignore[misc]

    def test_two_threads_in_one_session_are_refused(self, segmenter: ModelSpec, session: Session) -> None:
        frame = frames(1, segmenter)
        slow = SlowToRead({"frame": frame})
        results: list[dict[str, np.ndarray]] = []
        thread = threading.Thread(target=lambda: results.append(session.infer(slow)))
        thread.start()
        try:
            assert slow.read.wait(60)
            with pytest.raises(BusySessionError, match="open one for each thread"):
                session.infer({"frame": frame})
        finally:
            slow.go_on.set()
            thread.join()
        np.testing.assert_array_equal(results[0]["mask"], session.infer({"frame": frame})["mask"])

    # The end

    def test_closes_twice_and_says_so_when_used_after(self, segmenter: ModelSpec) -> None:
        engine = self.open(segmenter)
        session = engine.session()
        session.close()
        session.close()
        with pytest.raises(ClosedEngineError, match="session is closed"):
            session.infer({"frame": frames(1, segmenter)})
        engine.close()
        engine.close()
        with pytest.raises(ClosedEngineError, match="engine is closed"):
            engine.session()

    def test_an_open_session_outlives_its_engines_close(self, segmenter: ModelSpec) -> None:
        frame = frames(1, segmenter)
        engine = self.open(segmenter)
        session = engine.session()
        want = session.infer({"frame": frame})["mask"]
        engine.close()
        np.testing.assert_array_equal(session.infer({"frame": frame})["mask"], want)
        session.close()

    # What it says of itself

    def test_info(self, segmenter: ModelSpec) -> None:
        with self.open(segmenter) as engine:
            assert engine.info.backend == self.backend
            assert engine.info.version[0].isdigit()
            assert engine.info.device
            assert engine.inputs == segmenter.inputs
            assert engine.outputs == segmenter.outputs
            assert engine.state == ()
            assert engine.sessions >= 1
            assert "segmenter" in repr(engine)
            assert engine.info.precision in repr(engine)

    def test_why_is_for_who_chose_it(self, segmenter: ModelSpec) -> None:
        with self.open(segmenter) as engine:
            assert engine.why == ""
            engine.why = "the fastest that is proven here"
            with engine.session():
                assert engine.why == "the fastest that is proven here"

    def test_batches_that_it_is_prepared_for(self, segmenter: ModelSpec) -> None:
        with self.open(segmenter) as engine:
            assert list(engine.batches) == sorted(set(engine.batches))
            assert not engine.batches or engine.batches[0] == 1

    def test_sessions_asked_for(self, segmenter: ModelSpec) -> None:
        with self.open(segmenter, sessions=1) as engine:
            assert engine.sessions == 1

    def test_a_quantized_file_is_called_int8(self, tmp_path: Path) -> None:
        spec = tiny_models.quantized(tmp_path)
        x = np.random.default_rng(1).normal(0, 2, (1, 16, 8, 8)).astype(np.float32)
        with self.open(spec) as engine, engine.session() as session:
            assert engine.info.precision == "int8"
            got = session.infer({"x": x})["y"]
        # One step of the output's quantization where a sum lies on a rounding edge.
        np.testing.assert_allclose(got, reference(spec, {"x": x})["y"], atol=0.5)
        with pytest.raises(PrecisionError, match=r"asked for fp32.*int8"):
            self.open(spec, precision="fp32")

    def test_a_float_file_is_not_int8(self, segmenter: ModelSpec) -> None:
        with pytest.raises(PrecisionError, match=r"segmenter\.onnx: asked for int8.*fp32"):
            self.open(segmenter, precision="int8")

    # Files that do not work

    def test_no_file(self, segmenter: ModelSpec) -> None:
        gone = replace(segmenter, weights=replace(segmenter.weights, file=Path("nowhere.onnx")))
        with pytest.raises(BuildError, match=r"nowhere\.onnx: no such file"):
            self.open(gone)

    def test_a_file_that_is_no_network(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "text.onnx"
        path.write_text("not a network")
        with pytest.raises(BuildError, match=r"text\.onnx"):
            self.open(tiny_models.described(path, (), ()))
        assert capfd.readouterr() == ("", "")

    def test_an_unknown_operator_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(BuildError, match=r"unknown_operator\.onnx.*Frobnicate"):
            self.open(tiny_models.unknown_operator(tmp_path))

    def test_a_description_that_does_not_fit(self, segmenter: ModelSpec) -> None:
        wrong = replace(segmenter, outputs=(replace(segmenter.outputs[0], dtype="float32"),))
        with pytest.raises(SpecMismatchError, match=r"output 'mask' is float32 any×12×16; the file has uint8"):
            self.open(wrong)

    def test_a_run_that_fails(self, tmp_path: Path) -> None:
        spec = tiny_models.fails_on_odd_batches(tmp_path)
        good = np.arange(6, dtype=np.float32).reshape(2, 3)
        with self.open(spec) as engine, engine.session() as session:
            np.testing.assert_array_equal(session.infer({"x": good})["y"], good)
            with pytest.raises(InferError, match=f"fails_on_odd_batches on {self.backend}: "):
                session.infer({"x": np.ones((1, 3), np.float32)})
            np.testing.assert_array_equal(session.infer({"x": good})["y"], good)
