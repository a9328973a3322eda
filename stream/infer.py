"""Where what flows meets the networks: frames to masks, clips to scores, alone or as batches."""

import time
from collections.abc import Mapping, Sequence

import numpy as np

from headrace.engines import Engine
from headrace.models.spec import ModelSpec, Task, TensorSpec
from headrace.stream.arrays import Array
from headrace.stream.changeover import RunningEngine, Seat
from headrace.stream.channel import Channel, ChannelClosed
from headrace.stream.frame import Action, Clip, Frame, Result
from headrace.stream.lane import Workload
from headrace.stream.path import StreamPath
from headrace.stream.recent import RecentFeeds
from headrace.stream.stages import CutClip

SCORES = {"both": "scores", "rgb": "scores_rgb", "flow": "scores_flow"}
"""Which output of a two-stream network is read."""

Paths = Mapping[str, StreamPath]


def check_ports(engine: Engine, task: Task, streams: str) -> None:
    """See that a network has what the pipeline feeds and reads.

    Raises:
        ValueError: something is missing; the message says what the file has.
    """
    kinds = [[f"{each.dtype} {each.layout}" for each in tensors] for tensors in (engine.inputs, engine.outputs)]
    if task == "segment":
        fits = kinds == [["uint8 BHWC"], ["uint8 BHW"]]
        needs = "one input (the picture, uint8 BHWC) and one output (the class map, uint8 BHW)"
    else:
        dtypes = {each.name: each.dtype for each in engine.inputs}
        fits = dtypes == {"images": "uint8", "flows": "float32"}
        fits = fits and SCORES[streams] in {each.name for each in engine.outputs}
        needs = f"inputs images (uint8) and flows (float32), and an output {SCORES[streams]}"
    if not fits:
        raise ValueError(
            f"network {engine.spec.name!r}: a network for {task} has {needs};"
            f" its file has inputs {_listed(engine.inputs)} and outputs {_listed(engine.outputs)}"
        )


def _listed(tensors: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{each.name} ({each.dtype} {each.layout})" for each in tensors)


class _Stack:
    """Makes batches in memory that one worker uses again and again: an engine reads it only while it runs."""

    def __init__(self) -> None:
        self._memory: Array | None = None

    def __call__(self, arrays: Sequence[Array]) -> Array:
        """The arrays as one batch, good until the next call; one alone is not copied."""
        first, count = arrays[0], len(arrays)
        if count == 1:
            return first[None]
        memory = self._memory
        if memory is None or len(memory) < count:
            memory = self._memory = np.empty((count, *first.shape), first.dtype)
        return np.stack(arrays, out=memory[:count])


def segment(work: Workload[Frame, Result], running: RunningEngine, paths: Paths, *, worker: int = 0) -> None:
    """One worker: takes a frame of each stream in turn, or of several as one batch, and gives each its mask."""
    stack = _Stack()
    with Seat(running, worker) as seat:
        while True:
            try:
                taken = work.take_batch(seat.limit, seat.wait_s, unless=seat.outdated)
            except ChannelClosed:
                return
            if not taken:
                seat.follow()
                continue
            try:
                results = _masks([each.item for each in taken], seat, stack, running.recent)
            except BaseException:
                for lane, frame, place in taken:
                    lane.give_up(place, frame)
                raise
            for (lane, frame, place), result in zip(taken, results, strict=True):
                meters = paths[frame.stream_id].meters
                for stage in ("convert", "segment"):
                    meters.stage(stage, result.stage_ms[stage])
                meters.infer.tick()
                lane.finish(place, result)


def _masks(frames: Sequence[Frame], seat: Seat, stack: _Stack, recent: RecentFeeds) -> list[Result]:
    engine = seat.engine
    (input_,), (output,) = engine.inputs, engine.outputs
    pictures, convert_ms = [], []
    for frame in frames:
        started = time.perf_counter()
        pictures.append(frame.picture.rgb(engine.spec.size))
        convert_ms.append((time.perf_counter() - started) * 1e3)
    started = time.perf_counter()
    feeds = {input_.name: stack(pictures)}
    masks = seat.infer(feeds)[output.name]
    # Of a batch each frame has its share, so that stages add up to what the machine did, whatever went together.
    segment_ms = (time.perf_counter() - started) * 1e3 / len(frames)
    recent.offer(feeds)
    return [
        Result(
            frame=frame,
            # A mask that shared its memory would keep the whole batch for as long as somebody keeps one of it.
            mask=mask if len(frames) == 1 else mask.copy(),
            model=seat.engine.spec,
            stage_ms={"decode": frame.decode_ms, "convert": each_ms, "segment": segment_ms},
        )
        for frame, mask, each_ms in zip(frames, masks, convert_ms, strict=True)
    ]


def pass_through(work: Workload[Frame, Result]) -> None:
    """The worker of a pipeline without a segmentation network."""
    while True:
        try:
            lane, frame, place = work.take()
        except ChannelClosed:
            return
        lane.finish(place, Result(frame=frame, stage_ms={"decode": frame.decode_ms}))


def recognise(clips: Channel[CutClip], running: RunningEngine, streams: str) -> None:
    """Clips to scores, put on the board of the stream that they are of; clips that wait together go as one batch.

    Args:
        streams: "both", "rgb" or "flow".
    """
    output = SCORES[streams]
    images, flows = _Stack(), _Stack()
    with Seat(running) as seat:
        for first in clips:
            seat.follow()
            cuts = [first]
            while len(cuts) < seat.limit and (more := clips.take()) is not None:
                cuts.append(more)
            started = time.perf_counter()
            feeds = {
                "images": images([clip.images for _, _, clip in cuts]),
                "flows": flows([clip.flows for _, _, clip in cuts]),
            }
            batch = seat.infer(feeds, outputs=[output])[output]
            action_ms = (time.perf_counter() - started) * 1e3 / len(cuts)
            running.recent.offer(feeds)
            for (path, seq, clip), scores in zip(cuts, batch.tolist(), strict=True):
                path.meters.stage("action", action_ms)
                path.board.post(seq, clip.epoch, _actions(seat.engine.spec, scores, clip))


def _actions(spec: ModelSpec, scores: list[float], clip: Clip) -> tuple[Action, ...]:
    start_s, end_s = float(clip.pts_s[0]), float(clip.pts_s[-1])
    actions = [
        Action(model=spec.name, label=label, probability=score, start_s=start_s, end_s=end_s)
        for label, score in zip(spec.labels, scores, strict=True)
    ]
    return tuple(sorted(actions, key=lambda action: -action.probability))
