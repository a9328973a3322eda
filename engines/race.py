"""How fast engines are, measured in turn, so that what else the machine does strikes all alike."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median
from threading import Barrier, BrokenBarrierError

from headrace.engines.base import Engine
from headrace.engines.errors import EngineError
from headrace.engines.inputs import Array

Feeds = Mapping[str, Array]

NOISE = 0.03
"""Two engines whose speeds differ by less are taken for equally fast: medians of one run differ by as much."""
ROUNDS = 5
_ALONE_S, _TOGETHER_S = 0.1, 0.3
"""How long one engine runs in one round."""
_MOST_FRAMES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Medians over the rounds."""

    ms: float
    """Of one frame in one session that runs alone."""
    fps: float
    """With all of the engine's sessions at once."""


def race(
    engines: Sequence[Engine], feeds: Sequence[Feeds], *, check: Callable[[], None] = lambda: None
) -> list[Pace | EngineError]:
    """Let each engine run a little, in turn, several times.

    Args:
        check: called before each run; what it raises ends the race.

    Returns:
        For each engine its pace, or why it failed.
    """
    runners = [_Runner(engine, feeds) for engine in engines]
    for _ in range(ROUNDS):
        for runner in runners:
            check()
            runner.run()
    return [runner.pace() for runner in runners]


class _Runner:
    def __init__(self, engine: Engine, feeds: Sequence[Feeds]) -> None:
        self._engine, self._feeds = engine, feeds
        self._failure: EngineError | None = None
        self._each_s: list[float] = []
        self._rates_fps: list[float] = []

    def run(self) -> None:
        if self._failure is not None:
            return
        try:
            self._each_s.append(self._alone())
            self._rates_fps.append(self._together())
        except EngineError as error:
            self._failure = error

    def pace(self) -> Pace | EngineError:
        if self._failure is not None:
            return self._failure
        return Pace(ms=1000 * median(self._each_s), fps=median(self._rates_fps))

    def _alone(self) -> float:
        """Seconds per frame in one session."""
        with self._engine.session() as session:
            session.infer(self._feeds[0])  # the first run of a session allocates
            began, done = time.perf_counter(), 0
            while (took := time.perf_counter() - began) < _ALONE_S or done == 0:
                session.infer(self._feeds[done % len(self._feeds)])
                done += 1
            return took / done

    def _together(self) -> float:
        """Frames per second of all sessions, each on a thread of its own that lives for this run only."""
        sessions = self._engine.sessions
        count = min(max(round(_TOGETHER_S / self._each_s[-1]), 2) * sessions, _MOST_FRAMES)
        began: list[float] = []
        # The clock runs from when the last of them is ready to when the last is done: opening and closing are no speed.
        frames, start = iter(range(count)), Barrier(sessions, lambda: began.append(time.perf_counter()))

        def work() -> float:
            try:
                with self._engine.session() as session:
                    session.infer(self._feeds[0])
                    start.wait()
                    for at in frames:
                        session.infer(self._feeds[at % len(self._feeds)])
                    return time.perf_counter()
            except BaseException:
                start.abort()  # or the others would wait for it
                raise

        with ThreadPoolExecutor(sessions, thread_name_prefix="hr-prove") as pool:
            try:
                runs = [pool.submit(work) for _ in range(sessions)]
                failures = [run.exception() for run in runs]
            except BaseException:
                start.abort()  # Ctrl-C, or no thread more
                raise
        for failure in sorted(filter(None, failures), key=lambda each: isinstance(each, BrokenBarrierError)):
            raise failure
        return count / (max(run.result() for run in runs) - began[0])
