"""`headrace eval` for action networks: accuracy, confusion and groups on labelled videos."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headrace.engines import Session, open_engine
from headrace.models.catalog import spec as spec_of
from headrace.models.spec import ModelSpec
from headrace.tools.train.action_data import CLIP, LABELS, Label, Source, Video, fight_surv, gmdcsa, stories

STREAMS = {"both": "scores", "rgb": "scores_rgb", "flow": "scores_flow"}
VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """What a network said of one clip, or of a whole video with one label: the mean of its clips."""

    label: Label
    group: str
    video: str
    hop_s: float = CLIP.hop_s
    """How much of the video is this clip's alone: the time to the next clip."""
    scores: dict[str, NDArray[np.float32]] = field(repr=False)
    """Probabilities by stream ("both", "rgb", "flow"), one per label."""


def main(argv: list[str]) -> int:
    """Evaluate and print; returns the exit code. What fails is raised."""
    given = _parser().parse_args(argv)
    model = spec_of(given.model)
    check_labels(model)
    sources = sources_at(given.dataset, given.split)
    with open_engine(model, engine=given.engine, precision=given.precision, sessions=1) as engine:
        with engine.session() as session:
            judged = [each for source in sources for each in judge(session, source)]
        ran = f"{engine.info.backend} {engine.info.version}, {engine.info.precision}"
    print(f"{model.name} on {given.dataset}: {len(sources)} videos, {len(judged)} judged, {ran}")
    print("\n".join(report(judged)))
    return 0


def check_labels(model: ModelSpec) -> None:
    """`ValueError` if the network does not tell what these data sets are labelled with."""
    if model.labels != LABELS:
        raise ValueError(f"{model.name} knows {', '.join(model.labels)}; the data is about {', '.join(LABELS)}")


def sources_at(place: str, split: str) -> list[Source]:
    """The labelled videos of a folder, or of the scene.

    Args:
        place: a folder with `labels.csv` (file, label, scene_group, split) or `segments_*.csv` (timed falls), a
            folder with a folder for each label, a folder of videos in which nothing happens, or `scene:`.
        split: "train", "val" or "all"; counts where there is a `labels.csv`.

    Raises:
        ValueError: the folder is none of these.
    """
    if place.startswith("scene:"):
        return [*stories(range(8))]
    root = Path(place)
    if not root.is_dir():
        raise ValueError(f"{place}: no such folder")
    if (root / "labels.csv").is_file():
        return [video for video in fight_surv(root) if split in ("all", video.split)]
    if any(root.glob("segments_*.csv")):
        return [*gmdcsa(root)]
    by_label = [video for label in LABELS for video in _videos(root / label, label)]
    found = by_label or [*_videos(root, "normal")]
    if not found:
        raise ValueError(f"{place}: no labels.csv, no segments_*.csv, no folder {' or '.join(LABELS)}, and no videos")
    return [*found]


def _videos(folder: Path, label: Label) -> Iterator[Video]:
    for path in sorted(folder.glob("*")):
        if path.suffix.lower() in VIDEO_SUFFIXES:
            yield Video(path=path, dataset=folder.name, group=path.stem, rest=label)


def judge(session: Session, source: Source) -> list[Judged]:
    """Run the network over a source: one judgement for a trimmed video, one per clip where things are timed."""
    found = []
    cut = source.cut()
    hop_s = float(np.diff([clip.pts_s[-1] for clip, _ in cut]).min(initial=CLIP.hop_s))
    for clip, label in cut:
        outputs = session.infer({"images": clip.images[None], "flows": clip.flows[None]})
        scores = {stream: outputs[name][0] for stream, name in STREAMS.items()}
        found.append(Judged(label=label, group=source.group, video=source.name, hop_s=hop_s, scores=scores))
    if source.dataset != "fight_surv" or len(found) < 2:
        return found
    mean = {stream: np.mean([each.scores[stream] for each in found], 0) for stream in STREAMS}
    return [Judged(label=found[0].label, group=source.group, video=source.name, scores=mean)]


def report(judged: Sequence[Judged]) -> Iterator[str]:
    """Lines: accuracy of each stream, the confusion matrix of both, and the groups that go worst."""
    true = np.array([LABELS.index(each.label) for each in judged])
    groups = np.array([each.group for each in judged])
    yield "stream  accuracy  fight or not  group mean"
    for stream in STREAMS:
        said = _said(judged, stream)
        fights = np.mean((said == LABELS.index("fight")) == (true == LABELS.index("fight")))
        means = [np.mean((said == true)[groups == group]) for group in np.unique(groups)]
        yield f"{stream:<6}  {np.mean(said == true):8.3f}  {fights:12.3f}  {np.mean(means):10.3f}"
    said = _said(judged, "both")
    yield alarms(judged, said)
    yield ""
    yield f"{'both: is / said':<16}" + "".join(f"{label:>8}" for label in LABELS)
    for index, label in enumerate(LABELS):
        counts = np.bincount(said[true == index], minlength=len(LABELS))
        yield f"{label:<16}" + "".join(f"{count:8d}" for count in counts)
    yield ""
    yield f"{len(np.unique(groups))} groups; those below 0.5:"
    for group in np.unique(groups):
        inside = groups == group
        share = np.mean((said == true)[inside])
        if share < 0.5:
            yield f"  {group}: {share:.2f} of {inside.sum()}"


def alarms(judged: Sequence[Judged], said: NDArray[np.int64]) -> str:
    """How often something is reported where nothing happens; neighbouring clips are one alarm."""
    count, calm_s, before = 0, 0.0, ("", False)
    for each, answer in zip(judged, said, strict=True):
        if each.label != "normal":
            before = (each.video, False)
            continue
        alarmed = int(answer) != LABELS.index("normal")
        count += alarmed and before != (each.video, True)
        calm_s += each.hop_s
        before = (each.video, alarmed)
    hours = calm_s / 3600
    rate = f", {count / hours:.0f} an hour" if hours else ""
    return f"false alarms: {count} in {hours:.3f} h of normal life{rate}"


def _said(judged: Sequence[Judged], stream: str) -> NDArray[np.int64]:
    return np.array([int(each.scores[stream].argmax()) for each in judged])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headrace eval",
        description="Accuracy of an action network on labelled videos.",
        epilog="example: headrace eval two_stream actions/fight_surv --split val",
    )
    parser.add_argument("model", help="a network's name or PATH.onnx")
    parser.add_argument("dataset", help="a folder (labels.csv, segments_*.csv, LABEL/*.mp4 or *.mp4), or scene:")
    parser.add_argument("--engine", default="auto", help="auto, tensorrt, openvino, onnxruntime, torch")
    parser.add_argument("--precision", default="fp32", help="%(default)s; or auto, fp16, bf16, int8")
    parser.add_argument("--split", default="val", help="train, val or all, where the folder says (default: val)")
    parser.add_argument("--debug", action="store_true", help="show where in the code a failure comes from")
    return parser
