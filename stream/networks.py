"""The networks of a pipeline: opened, given workers, moved to a better engine while they run, and closed."""

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

from headrace.engines import Engine, EngineError, EngineInfo, Session, open_engine, verdicts
from headrace.engines.base import Precision
from headrace.models import spec
from headrace.models.spec import ModelSpec, Task
from headrace.stream import infer, stages
from headrace.stream.batching import Batching, BatchPlan, plan_batches
from headrace.stream.changeover import RunningEngine
from headrace.stream.channel import Channel
from headrace.stream.clip import ClipSampler
from headrace.stream.frame import Frame, Result
from headrace.stream.lane import Workload
from headrace.stream.outputs import Tell
from headrace.stream.path import StreamPath
from headrace.stream.recent import RecentFeeds
from headrace.stream.stages import CutClip
from headrace.stream.upgrade import Upgrade

Streams = Literal["both", "rgb", "flow"]
Model = str | Engine | None

_PROOF_FEEDS: dict[Task, tuple[int, int]] = {"segment": (16, 5), "action": (8, 1)}
"""How many inputs a proof beside the running pipeline gets, and every which one: some seconds of video."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOptions:
    """How the networks of a pipeline are run."""

    streams: Streams = "both"
    """Which streams of a two-stream network are read."""
    engine: str = "auto"
    precision: Precision | Literal["auto"] = "auto"
    """See `open_engine`."""
    batching: Batching = "auto"
    """Whether frames of several streams go as one batch; "auto": where it was measured to pay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningNetwork:
    """What runs one network now."""

    task: Task
    engine: EngineInfo
    why: str
    """Why this engine, in one line; "" for one that was given open."""
    batching: str
    """What was decided about batches, with the figures behind it; "" where there was nothing to decide."""


class Starter(Protocol):
    """Starts a thread of the pipeline."""

    def __call__(self, stage: str, run: Callable[[], None], *, then: Callable[[], None] | None = None) -> None:
        """Run a stage; `then` follows in any case."""


class Networks:
    """The segmentation and the action network of a pipeline, each with its workers.

    Args:
        segment, action: a name, PATH.onnx, an open engine, or None for none.
        count: how many streams there are.
        frames_changed: the condition that the lanes of all streams share.
        tell: where people are told which engine runs, and what becomes of it.

    Raises:
        ValueError: a network is not known, or is for another task.
    """

    def __init__(
        self,
        segment: Model,
        action: Model,
        *,
        options: NetworkOptions,
        count: int,
        frames_changed: threading.Condition,
        tell: Tell,
    ) -> None:
        given: dict[Task, Model] = {"segment": segment, "action": action}
        self._models = {task: model for task, model in given.items() if model is not None}
        self._specs = {task: _spec_for(task, model) for task, model in self._models.items()}
        self._options = options
        self._count = self._cutting = count
        self._frames_changed = frames_changed
        self._tell = tell
        self._running: dict[Task, RunningEngine] = {}
        self._upgrades: list[Upgrade] = []
        self._staffing = threading.Lock()
        self._workers, self._busy = 0, 1
        self._counting = threading.Lock()
        self._clips: Channel[CutClip] = Channel(
            "clips", max(2, count), on_drop=lambda cut: cut[0].board.forget(cut[1])
        )

    @property
    def with_actions(self) -> bool:
        """Whether there is an action network."""
        return "action" in self._models

    @property
    def running(self) -> Mapping[str, RunningNetwork]:
        """What runs each network now, by the network's name; empty until they are open."""
        found = {}
        for task, running in list(self._running.items()):
            engine = running.engine
            found[engine.spec.name] = RunningNetwork(
                task=task, engine=engine.info, why=engine.why, batching=running.plan.text
            )
        return found

    # -- start ---------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the engines, and tell why these.

        Raises:
            EngineError: see `open_engine`.
            ValueError: a network's inputs and outputs are not those of its task.
        """
        options = self._options
        for task, model in self._models.items():
            engine = (
                model
                if isinstance(model, Engine)
                else open_engine(model, engine=options.engine, precision=options.precision)
            )
            count, every = _PROOF_FEEDS[task]
            self._running[task] = RunningEngine(
                engine,
                plan=partial(self._plan, task),
                reopen=partial(self._reopen, task),
                recent=RecentFeeds(count, every=every),
                changed=self._frames_changed,
                tell=self._say,
                warn=partial(self._tell, "failed", "infer"),
            )
            infer.check_ports(engine, task, options.streams)
            if engine.why:
                self._say(engine.why)

    def _plan(self, task: Task, engine: Engine, session: Session) -> BatchPlan:
        outputs = [infer.SCORES[self._options.streams]] if task == "action" else None
        return plan_batches(engine, session, self._count, mode=self._options.batching, outputs=outputs)

    def _reopen(self, task: Task, before: EngineInfo) -> Engine:
        """What another engine had replaced; it was let go then, to spare the memory. That other is proven no more."""
        failed = self._running[task].engine.info
        with suppress(EngineError):  # whatever the cache folder says, the one before goes on
            verdicts.disprove(
                self._specs[task], failed.backend, failed.precision, "it failed while a pipeline ran on it"
            )
        return open_engine(self._specs[task], engine=before.backend, precision=before.precision)

    def start(self, start: Starter, paths: Mapping[str, StreamPath]) -> None:
        """Start the workers, and what looks for better engines meanwhile.

        Args:
            start: starts a thread; also later, where another engine has use for more workers.
        """
        work: Workload[Frame, Result] = Workload([path.frames for path in paths.values()], self._frames_changed)
        if "segment" in self._running:
            self._running["segment"].moved = partial(self._staff, start, work, paths)
            self._staff(start, work, paths)
        else:
            start("infer-0", partial(infer.pass_through, work))
        if "action" in self._running:
            self._start_actions(start, paths.values())
        # Where the user named an engine or a precision, that is what runs.
        if (self._options.engine, self._options.precision) == ("auto", "auto"):
            self._start_upgrades(start)

    def _start_upgrades(self, start: Starter) -> None:
        one_by_one = threading.Lock()
        for task, running in self._running.items():
            if isinstance(self._models[task], Engine):
                continue
            upgrade = Upgrade(
                self._specs[task],
                running,
                one_by_one=one_by_one,
                check=partial(infer.check_ports, task=task, streams=self._options.streams),
                tell=self._say,
            )
            self._upgrades.append(upgrade)
            start(f"build-{self._specs[task].name}", upgrade.run)

    def _staff(self, start: Starter, work: Workload[Frame, Result], paths: Mapping[str, StreamPath]) -> None:
        """See that there are as many workers as sessions pay off; where there are more, the others rest."""
        running = self._running["segment"]
        with self._staffing:
            sessions = running.engine.sessions
            with self._frames_changed:
                for path in paths.values():
                    path.frames.room += sessions - self._busy
                self._frames_changed.notify_all()
            self._busy = sessions
            for worker in range(self._workers, sessions):
                start(f"infer-{worker}", partial(infer.segment, work, running, paths, worker=worker))
            self._workers = max(self._workers, sessions)

    def _start_actions(self, start: Starter, paths: Iterable[StreamPath]) -> None:
        running = self._running["action"]
        clip = running.engine.spec.clip
        assert clip is not None, "the spec of an action network has a clip"
        ClipSampler(clip)  # an unknown flow is the caller's mistake, and told here
        for path in paths:
            cut = partial(stages.cut_clips, path, clip, self._clips)
            start(f"motion-{path.stream_id}", cut, then=self._motion_over)
        start("action", partial(infer.recognise, self._clips, running, self._options.streams))

    # -- end -----------------------------------------------------------------------------------------------------

    def _motion_over(self) -> None:
        with self._counting:
            self._cutting -= 1
            last = self._cutting == 0
        if last:
            self._clips.close()

    def stop(self) -> None:
        """End what waits for clips, and the builds, soon; from any thread. The streams end by themselves."""
        self._clips.abort()
        for upgrade in self._upgrades:
            upgrade.cancel()

    def close(self) -> None:
        """Close the engines that were opened here; after all threads have come home."""
        for task, running in self._running.items():
            if not isinstance(self._models[task], Engine):
                running.engine.close()

    def _say(self, text: str) -> None:
        self._tell("notice", "infer", text)


def _spec_for(task: Task, model: str | Engine) -> ModelSpec:
    found = spec(model) if isinstance(model, str) else model.spec
    if found.task != task:
        raise ValueError(f"{found.name} is a network for {found.task}, not for {task}")
    return found
