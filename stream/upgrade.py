"""Builds and proves what could run a network faster, while it runs already, and lets it take over."""

import threading
from collections.abc import Callable, Sequence

from headrace.engines.base import Engine
from headrace.engines.candidate import Candidate
from headrace.engines.choice import choose
from headrace.engines.errors import CancelledError
from headrace.engines.proof import promote
from headrace.models.spec import ModelSpec
from headrace.stream.changeover import RunningEngine, Tell
from headrace.stream.recent import Feeds


class Upgrade:
    """The long build of one network; `run` is the work of a thread of its own.

    What takes over is the first candidate that is proven and faster: the most promising is tried first, and what is
    left waits for another run.

    Args:
        spec: the network, as it was named.
        running: what it runs on now, and where the frames of the proof come from.
        one_by_one: shared by all builds of a pipeline: two at once would need twice the memory, and time each other.
        check: refuses an engine that the pipeline cannot feed, with a ValueError.
        tell: gets what happens, line by line.
    """

    def __init__(
        self,
        spec: ModelSpec,
        running: RunningEngine,
        *,
        one_by_one: threading.Lock,
        check: Callable[[Engine], None],
        tell: Tell,
    ) -> None:
        self._spec = spec
        self._running = running
        self._recent = running.recent
        self._one_by_one = one_by_one
        self._check = check
        self._tell = tell
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """End the build soon, from any thread; nothing of it takes over any more."""
        self._cancelled.set()
        self._recent.end()

    def run(self) -> None:
        """Try what is better, until one takes over. A failure is one line, never the pipeline's."""
        try:
            better = choose(self._spec).better
            feeds = self._recent.collect() if better else []
            with self._one_by_one:
                for candidate in better:
                    if self._cancelled.is_set() or self._take_over(candidate, feeds):
                        return
        except Exception as error:  # whatever it is, the engine that runs goes on
            self._failed("looking for a faster engine", error)

    def _take_over(self, candidate: Candidate, feeds: Sequence[Feeds]) -> bool:
        info = self._running.engine.info
        incumbent = Candidate(engine=info.backend, precision=info.precision)
        try:
            engine = promote(
                self._spec,
                candidate,
                feeds,
                incumbent=incumbent,
                told=self._say,
                cancelled=self._cancelled.is_set,
            )
            if engine is None:
                return False
            try:
                self._check(engine)
            except ValueError:
                engine.close()
                raise
        except CancelledError:
            return True
        except Exception as error:
            self._failed(f"{candidate} is not taken", error)
            return False
        self._tell(engine.why)  # first: a worker may soon have more to say of it
        self._running.replace(engine)
        return True

    def _say(self, line: str) -> None:
        if not self._cancelled.is_set():
            self._tell(line)

    def _failed(self, what: str, error: Exception) -> None:
        self._say(f"{self._spec.name}: {what}, {self._running.engine.info.backend} goes on: {error}")
