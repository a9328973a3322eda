"""The engine that runs a network now: another may take its place between two frames, while the pipeline runs."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from headrace.engines.base import Engine, Session
from headrace.engines.errors import EngineError
from headrace.stream.batching import ALONE, BatchPlan
from headrace.stream.recent import RecentFeeds

Planner = Callable[[Engine, Session], BatchPlan]
Tell = Callable[[str], None]


class RunningEngine:
    """Where the workers of one network find their engine.

    Args:
        engine: what runs it at first.
        plan: decides about batches, once for each engine, on the session of the first worker.
        recent: is shown what the workers feed.
        changed: notified when the engine has changed; what workers wait on.
        tell: gets one line when something about the engine is worth telling.
    """

    def __init__(
        self, engine: Engine, *, plan: Planner, recent: RecentFeeds, changed: threading.Condition, tell: Tell
    ) -> None:
        self.recent = recent
        self._engine = engine
        self._plan_for = plan
        self._changed = changed
        self._tell = tell
        self._opening = threading.Lock()
        self._plan: BatchPlan | None = None

    @property
    def engine(self) -> Engine:
        """What runs the network now."""
        return self._engine

    @property
    def plan(self) -> BatchPlan:
        """How many frames go as one batch; each alone until that is decided."""
        return self._plan or ALONE

    def replace(self, engine: Engine) -> None:
        """Let another engine take over: workers go over to it one by one, each between two of its frames.

        The one before closes when its last session has.
        """
        with self._opening:
            before, self._engine, self._plan = self._engine, engine, None
        with self._changed:
            self._changed.notify_all()
        before.close()

    def open(self) -> tuple[Engine, Session, BatchPlan]:
        """A session on what runs now; call this on the thread that will use and close it.

        Raises:
            EngineError: it does not open, or does not run.
        """
        # Others wait until the first has measured, so that nothing runs beside it.
        with self._opening:
            engine = self._engine
            session = engine.session()
            try:
                if self._plan is None:
                    self._plan = self._plan_for(engine, session)
                    if self._plan.limit > 1:
                        self._tell(self._plan.text)
            except BaseException:
                session.close()
                raise
            return engine, session, self._plan

    def refused(self, engine: Engine, error: EngineError) -> None:
        """A worker could not go over to an engine, and stays with what it has."""
        self._tell(f"{engine.spec.name}: a worker stays with the engine it has: {error}")


class Seat:
    """What one worker runs a network with; made, used and left on the worker's own thread.

    Args:
        running: where the engine is found.
        worker: its number, from 0. One that the engine has no use for rests: nothing is open, and `limit` is 0.
    """

    def __init__(self, running: RunningEngine, worker: int = 0) -> None:
        self._running = running
        self._worker = worker
        self._session: Session | None = None
        self._seen = running.engine
        self.engine = self._seen
        """What the session is of."""
        self.limit = 0
        """The most frames that it takes at once."""
        self.wait_s = 0.0

    def __enter__(self) -> Self:
        if self._worker < self._seen.sessions:
            self._sit()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._leave()

    @property
    def session(self) -> Session:
        """The session, where `limit` is not 0."""
        assert self._session is not None, "a worker that rests takes nothing"
        return self._session

    def outdated(self) -> bool:
        """Whether another engine runs the network now, and `follow` is due."""
        return self._running.engine is not self._seen

    def follow(self) -> None:
        """Go over to the engine that runs now, if that is another."""
        if not self.outdated():
            return
        self._seen = self._running.engine
        if self._worker >= self._seen.sessions:
            self._leave()
            return
        try:
            self._sit()
        except EngineError as error:
            # It was proven a moment ago, but memory may be short for one session more.
            self._running.refused(self._seen, error)

    def _sit(self) -> None:
        engine, session, plan = self._running.open()
        self._leave()
        self._seen = self.engine = engine
        self._session, self.limit, self.wait_s = session, plan.limit, plan.wait_s

    def _leave(self) -> None:
        session, self._session, self.limit = self._session, None, 0
        if session is not None:
            session.close()
