"""What engines and sessions do whatever the backend: when a network goes, what a failure leaves."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import tiny_models

from headrace.engines.base import Engine, EngineInfo, Session
from headrace.engines.errors import ClosedEngineError, InferError
from headrace.engines.inputs import Array
from headrace.engines.ports import Ports


class DoublingEngine(Engine):
    """y = 2 x, with a log of what it let go of; fails on the number 13."""

    def __init__(self) -> None:
        x, y = (tiny_models.tensor(name, (None, 1), "float32", "BC") for name in "xy")
        self.log: list[str] = []
        spec = tiny_models.described(Path("doubling.onnx"), (x,), (y,))
        ports = Ports(inputs=(x,), outputs=(y,), state=())
        super().__init__(spec, ports, EngineInfo(backend="b", version="1", device="d", precision="fp32"), 1)

    def _open_session(self) -> Session:
        return DoublingSession(self)

    def _release(self) -> None:
        self.log.append("engine")


class DoublingSession(Session):
    def __init__(self, engine: DoublingEngine) -> None:
        super().__init__(engine)
        self._log = engine.log

    def _run(self, feeds: Mapping[str, Array], wanted: tuple[str, ...]) -> dict[str, Array]:
        if feeds["x"].max() == 13:
            raise InferError("thirteen")
        return {name: 2 * feeds["x"] for name in wanted}

    def _release(self) -> None:
        self._log.append("session")


ONE = {"x": np.ones((1, 1), np.float32)}


def test_the_network_goes_with_the_last_session() -> None:
    engine = DoublingEngine()
    first, second = engine.session(), engine.session()
    first.close()
    engine.close()
    engine.close()
    assert engine.log == ["session"]
    assert second.infer(ONE)["y"].tolist() == [[2.0]]
    second.close()
    second.close()
    assert engine.log == ["session", "session", "engine"]


def test_an_engine_without_sessions_goes_at_once() -> None:
    with DoublingEngine() as engine:
        engine.session().close()
        assert engine.log == ["session"]
    assert engine.log == ["session", "engine"]
    with pytest.raises(ClosedEngineError):
        engine.session()


def test_a_failed_run_leaves_the_session_usable() -> None:
    with DoublingEngine() as engine, engine.session() as session:
        with pytest.raises(InferError, match="thirteen"):
            session.infer({"x": np.full((1, 1), 13, np.float32)})
        assert session.infer(ONE)["y"].tolist() == [[2.0]]


@pytest.mark.parametrize("field", ["backend", "version", "device", "precision"])
def test_empty_info_is_refused(field: str) -> None:
    fields = {"backend": "b", "version": "1", "device": "d", "precision": "fp32"} | {field: ""}
    with pytest.raises(ValueError, match=f"EngineInfo.{field} is empty"):
        EngineInfo(**fields)  # type: ignore[arg-type]


def test_a_session_that_cannot_let_go_does_not_keep_the_network() -> None:
    class Stubborn(DoublingSession):
        def _release(self) -> None:
            raise InferError("stuck")

    engine = DoublingEngine()
    engine._open_session = lambda: Stubborn(engine)  # type: ignore[method-assign]
    session = engine.session()
    engine.close()
    with pytest.raises(InferError, match="stuck"):
        session.close()
    session.close()
    assert engine.log == ["engine"]
