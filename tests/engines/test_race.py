"""Speed measured in turn: every engine gets its figure, and one that fails does not take the others along."""

import threading
from pathlib import Path

import fakes
import made_engines
import numpy as np
import pytest
import tiny_models
from fakes import FakeEngine

from headrace.engines import InferError, open_engine, race
from headrace.engines.base import Engine
from headrace.engines.inputs import Array
from headrace.engines.race import Pace

pytestmark = pytest.mark.usefixtures("quick_rounds")


@pytest.fixture
def feeds() -> list[dict[str, Array]]:
    random = np.random.default_rng(0)
    return [{"frame": random.integers(0, 256, (1, 12, 16, 3), dtype=np.uint8)} for _ in range(4)]


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return open_engine(tiny_models.segmenter(tmp_path))


def failing_after(engine: Engine, runs: int) -> Engine:
    """Fails in run number so-and-so and all that follow."""
    left = iter(range(runs))

    def change(results: dict[str, Array]) -> dict[str, Array]:
        if next(left, None) is None:
            raise InferError("out of breath")
        return results

    return made_engines.ChangedEngine(engine, change=change)


def test_each_engine_gets_its_pace(engine: Engine, feeds: list[dict[str, Array]], tmp_path: Path) -> None:
    other = open_engine(tiny_models.segmenter(tmp_path), engine="onnxruntime")
    with engine, other:
        found = race.race([engine, other], feeds)
    for each in found:
        assert isinstance(each, Pace)
        assert each.ms > 0
        assert each.fps > 0


@pytest.mark.parametrize("runs", [0, 1, 7, 60])
def test_one_that_fails_is_told_and_the_others_go_on(
    runs: int, engine: Engine, feeds: list[dict[str, Array]], tmp_path: Path
) -> None:
    good = open_engine(tiny_models.segmenter(tmp_path), engine="onnxruntime")
    with failing_after(engine, runs) as bad, good:
        failure, pace = race.race([bad, good], feeds)
    assert isinstance(failure, InferError)
    assert str(failure) == "out of breath"
    assert isinstance(pace, Pace)


def test_a_race_is_broken_off_between_two_runs(engine: Engine, feeds: list[dict[str, Array]]) -> None:
    calls = iter(range(2))

    def check() -> None:
        if next(calls, None) is None:
            raise KeyboardInterrupt

    with engine, pytest.raises(KeyboardInterrupt):
        race.race([engine], feeds, check=check)


def test_they_run_in_turn(engine: Engine, feeds: list[dict[str, Array]]) -> None:
    """What else the machine does must strike all alike."""
    order: list[str] = []

    def noting(name: str) -> Engine:
        def change(results: dict[str, Array]) -> dict[str, Array]:
            if not order or order[-1] != name:
                order.append(name)
            return results

        return made_engines.ChangedEngine(engine, change=change)

    race.race([noting("a"), noting("b")], feeds)
    assert order == ["a", "b"] * race.ROUNDS
    engine.close()


def test_opening_and_closing_sessions_is_no_speed() -> None:
    class Heavy(FakeEngine):
        def _session_closed(self) -> None:
            threading.Event().wait(0.2)
            super()._session_closed()

    light = fakes.segment_engine()
    heavy = Heavy(light.spec, light.work, opens=lambda: threading.Event().wait(0.05))
    (pace,) = race.race([heavy], [{"frame": np.zeros((1, 24, 32, 3), np.uint8)}])
    assert isinstance(pace, Pace)
    # The runs together take 20 ms; with 200 more for the closing this share would be a tenth.
    assert pace.fps * pace.ms / 1000 > 0.3
