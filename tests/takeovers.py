"""What stands in for the choice and the proof of engines, where another is to take over a running pipeline."""

import threading
from collections.abc import Callable, Iterator, Sequence

from fakes import FakeEngine

from headrace.engines.base import Engine
from headrace.engines.candidate import Candidate
from headrace.engines.choice import Choice
from headrace.engines.errors import CancelledError, EngineError
from headrace.models.spec import ModelSpec
from headrace.stream import Pipeline, Result
from headrace.stream.recent import Feeds

TRT = Candidate(engine="tensorrt", precision="fp16")
ORT = Candidate(engine="onnxruntime:cuda", precision="fp16")
SLOW, QUICK = ("dark", "light"), ("dark, quickly", "light, quickly")
"""What the engine that runs first calls its classes, and the one that takes over: a result tells who made it."""

Job = Callable[["Builder", Candidate], Engine | None]


class Builder:
    """Stands in for the choice and the proof of engines: a test says what is better, and what comes of building it."""

    def __init__(self, first: FakeEngine, better: Sequence[Candidate], job: Job) -> None:
        self.first = first
        self.again: FakeEngine | EngineError | None = None
        """What comes of opening the engine before again, and in `asked_again` how it was asked for."""
        self.asked_again: list[tuple[str, str]] = []
        self.feeds: list[Sequence[Feeds]] = []
        self.tried: list[Candidate] = []
        self.incumbents: list[Candidate] = []
        self.threads: set[str] = set()
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.is_cancelled: Callable[[], bool] = lambda: False
        self._better, self._job = better, job

    def open_engine(self, model: object, *, engine: str, precision: str) -> Engine:
        if isinstance(model, ModelSpec):
            self.asked_again.append((engine, precision))
            if isinstance(self.again, EngineError):
                raise self.again
            assert self.again is not None, "the test did not expect that"
            return self.again
        self.first.why = f"{model}: fake, since nothing better is proven"
        return self.first

    def choose(self, spec: ModelSpec) -> Choice:
        self.threads.add(threading.current_thread().name)
        return Choice(engine="fake", precision="fp32", why="", better=tuple(self._better))

    def promote(
        self,
        spec: ModelSpec,
        candidate: Candidate,
        feeds: Sequence[Feeds],
        *,
        incumbent: Candidate,
        told: Callable[[str], None],
        cancelled: Callable[[], bool],
    ) -> Engine | None:
        self.feeds.append(feeds)
        self.tried.append(candidate)
        self.incumbents.append(incumbent)
        self.is_cancelled = cancelled
        told(f"{spec.name}: building {candidate}")
        self.begun.set()
        return self._job(self, candidate)

    def waits(self) -> None:
        """As a build does: until the test lets it go on, or it is cancelled."""
        while not self.go_on.wait(0.001):
            if self.is_cancelled():
                raise CancelledError("cancelled")


def gives(engine: FakeEngine, why: str = "fake_segment: tensorrt fp16, 3 x") -> Job:
    """The build waits to be let go on, and comes to this engine."""
    engine.why = why

    def job(builder: Builder, candidate: Candidate) -> Engine:
        builder.waits()
        return engine

    return job


def makers(results: Sequence[Result]) -> list[bool]:
    """Whether each result was made by the quick engine."""
    return [result.model is not None and result.model.labels == QUICK for result in results]


def told(pipeline: Pipeline) -> list[str]:
    return [event.text for event in pipeline.events.take()]


def while_not(done: Callable[[], bool], results: Iterator[Result]) -> list[Result]:
    """What comes until something is so."""
    found: list[Result] = []
    while not done():
        found.append(next(results))
    return found


def until_taken_over(results: Iterator[Result]) -> list[Result]:
    """What comes until the quick engine has made one, and some more."""
    found: list[Result] = []
    while not any(makers(found[-1:])):
        found.append(next(results))
    return found + [next(results) for _ in range(10)]
