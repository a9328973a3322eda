"""The engine that runs a network now: another may take its place between two frames, while the pipeline runs."""

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from headrace.engines.base import Engine, EngineInfo, Session
from headrace.engines.errors import DeviceError, EngineError, InferError
from headrace.models.errors import ModelError
from headrace.stream.arrays import Array
from headrace.stream.batching import ALONE, BatchPlan
from headrace.stream.recent import Feeds, RecentFeeds

Planner = Callable[[Engine, Session], BatchPlan]
Tell = Callable[[str], None]


def _nothing_more() -> None:
    pass


class RunningEngine:
    """Where the workers of one network find their engine.

    Args:
        engine: what runs it at first.
        plan: decides about batches, once for each engine, on the session of the first worker.
        reopen: opens what ran before again, where the engine that has taken over fails.
        recent: is shown what the workers feed.
        changed: notified when the engine has changed; what workers wait on.
        tell: gets one line when something about the engine is worth telling.
        warn: gets one where an engine failed, which is told even to those who want quiet.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        plan: Planner,
        reopen: Callable[[EngineInfo], Engine],
        recent: RecentFeeds,
        changed: threading.Condition,
        tell: Tell,
        warn: Tell,
    ) -> None:
        self.recent = recent
        self.moved: Callable[[], None] = _nothing_more
        """Called when another engine runs the network, which may have use for more workers or fewer."""
        self._reopen = reopen
        self._before: EngineInfo | None = None
        self._engine = engine
        self._plan_for = plan
        self._changed = changed
        self._tell, self._warn = tell, warn
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
            self._before = before.info
        self._go_over(before)

    def _go_over(self, before: Engine) -> None:
        with self._changed:
            self._changed.notify_all()
        self.moved()
        before.close()

    def go_back(self, engine: Engine, error: EngineError) -> bool:
        """An engine failed while it ran: if it had taken over, what ran before is opened again, and that is told.

        Returns:
            Whether another engine runs the network now, on which the same frames can be tried.
        """
        with self._opening:
            if engine is not self._engine:
                return True  # another worker came first
            before, self._before = self._before, None
            if before is None:
                return False
            failed = f"{engine.spec.name}: {engine.info.backend} failed ({error})"
            try:
                again = self._reopen(before)
            except (EngineError, ModelError) as refusal:
                self._warn(f"{failed}, and {before.backend} does not open again: {refusal}")
                return False
            again.why = f"{failed}; {before.backend} {again.info.precision}, which ran before, goes on"
            self._engine, self._plan = again, None
        self._warn(again.why)
        self._go_over(engine)
        return True

    @property
    def took_over(self) -> bool:
        """Whether the engine that runs now has taken the place of another."""
        return self._before is not None

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

    def refused(self, engine: Engine, error: EngineError, *, rests: bool) -> None:
        """A worker could not go over to an engine: it stays with what it has, or rests where that is nothing.

        Where nobody has come to run it yet, nobody will: what ran before is opened again, for all of them.
        """
        if not rests and self._plan is None and self.go_back(engine, error):
            return
        does = "rests" if rests else "stays with the engine it has"
        self._tell(f"{engine.spec.name}: a worker {does}: {error}")


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
        self._seen: Engine | None = running.engine
        self.engine = running.engine
        """What the session is of."""
        self.limit = 0
        """The most frames that it takes at once."""
        self.wait_s = 0.0

    def __enter__(self) -> Self:
        if self._worker < self.engine.sessions:
            if self._running.took_over:
                self._try()
            else:
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
        engine = self._seen = self._running.engine
        if self._worker >= engine.sessions:
            self._leave()
        else:
            self._try()

    def _try(self) -> None:
        engine = self._seen = self._running.engine
        try:
            self._sit()
        except EngineError as error:
            # It was proven a moment ago, but memory may be short for one session more.
            self._running.refused(engine, error, rests=self._session is None)

    def infer(self, feeds: Feeds, *, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Run the network; where an engine fails that has taken over, on the one that ran before: nothing is lost.

        Raises:
            EngineError: it fails, and there is no other.
        """
        while True:
            try:
                return self.session.infer(feeds, outputs=outputs)
            except (InferError, DeviceError) as error:
                if not self._running.go_back(self.engine, error):
                    raise
            self._sit()
            if self._worker >= self.engine.sessions:
                self._seen = None  # it rests behind these frames

    def _sit(self) -> None:
        engine, session, plan = self._running.open()
        self._leave()
        self._seen = self.engine = engine
        self._session, self.limit, self.wait_s = session, plan.limit, plan.wait_s

    def _leave(self) -> None:
        session, self._session, self.limit = self._session, None, 0
        if session is not None:
            session.close()
