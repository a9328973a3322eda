"""The only place where streams meet engines: frames to masks, clips to scores."""

import time

from headrace.engines import Engine
from headrace.models.spec import Task
from headrace.stream.arrays import Array
from headrace.stream.channel import Channel, ChannelClosed
from headrace.stream.frame import Action, Clip, Frame, Result
from headrace.stream.lane import Workload
from headrace.stream.path import StreamPath
from headrace.stream.stages import CutClip

SCORES = {"both": "scores", "rgb": "scores_rgb", "flow": "scores_flow"}
"""Which output of a two-stream network is read."""

Paths = dict[str, StreamPath]


def check_ports(engine: Engine, task: Task, streams: str) -> None:
    """See that a network has what the pipeline feeds and reads.

    Raises:
        ValueError: something is missing; the message says what the file has.
    """
    inputs, outputs = [each.name for each in engine.inputs], [each.name for each in engine.outputs]
    if task == "segment":
        fits, needs = len(inputs) == len(outputs) == 1, "one input (the picture) and one output (the class map)"
    else:
        fits = set(inputs) == {"images", "flows"} and SCORES[streams] in outputs
        needs = f"inputs images and flows, and an output {SCORES[streams]}"
    if not fits:
        raise ValueError(
            f"network {engine.spec.name!r}: a network for {task} has {needs};"
            f" its file has inputs {', '.join(inputs)} and outputs {', '.join(outputs)}"
        )


def segment(work: Workload[Frame, Result], engine: Engine, paths: Paths) -> None:
    """One worker: takes a frame of each stream in turn, and gives its mask."""
    size = engine.spec.size
    (input_,), (output,) = engine.inputs, engine.outputs
    with engine.session() as session:
        while True:
            try:
                lane, frame, place = work.take()
            except ChannelClosed:
                return
            try:
                started = time.perf_counter()
                picture = frame.picture.rgb(size)
                converted = time.perf_counter()
                mask = session.infer({input_.name: picture[None]})[output.name][0]
                done = time.perf_counter()
            except BaseException:
                lane.give_up(place, frame)
                raise
            convert_ms, segment_ms = (converted - started) * 1e3, (done - converted) * 1e3
            meters = paths[frame.stream_id].meters
            meters.stage("convert", convert_ms)
            meters.stage("segment", segment_ms)
            meters.infer.tick()
            stage_ms = {"decode": frame.decode_ms, "convert": convert_ms, "segment": segment_ms}
            lane.finish(place, Result(frame=frame, mask=mask, model=engine.spec, stage_ms=stage_ms))


def pass_through(work: Workload[Frame, Result]) -> None:
    """The worker of a pipeline without a segmentation network."""
    while True:
        try:
            lane, frame, place = work.take()
        except ChannelClosed:
            return
        lane.finish(place, Result(frame=frame, stage_ms={"decode": frame.decode_ms}))


def recognise(clips: Channel[CutClip], engine: Engine, streams: str) -> None:
    """Clips to scores, put on the board of the stream that they are of.

    Args:
        streams: "both", "rgb" or "flow".
    """
    spec = engine.spec
    output = SCORES[streams]
    with engine.session() as session:
        for path, seq, clip in clips:
            started = time.perf_counter()
            feeds: dict[str, Array] = {"images": clip.images[None], "flows": clip.flows[None]}
            scores = session.infer(feeds, outputs=[output])[output][0]
            path.meters.stage("action", (time.perf_counter() - started) * 1e3)
            path.board.post(seq, clip.epoch, _actions(spec.name, spec.labels, scores.tolist(), clip))


def _actions(model: str, labels: tuple[str, ...], scores: list[float], clip: Clip) -> tuple[Action, ...]:
    start_s, end_s = float(clip.pts_s[0]), float(clip.pts_s[-1])
    actions = [
        Action(model=model, label=label, probability=score, start_s=start_s, end_s=end_s)
        for label, score in zip(labels, scores, strict=True)
    ]
    return tuple(sorted(actions, key=lambda action: -action.probability))
