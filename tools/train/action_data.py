"""Clips with labels for the action network, cut by the run time's own sampler and kept on disk."""

import csv
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

import av
import numpy as np

from headrace.models.spec import ClipSpec
from headrace.stream.arrays import U8, Array
from headrace.stream.clip import ClipSampler
from headrace.stream.frame import Clip, Frame
from headrace.stream.picture import DecodedPicture, RgbPicture
from headrace.stream.scene import World

Label = Literal["normal", "fight", "fall"]
LABELS: tuple[Label, ...] = ("normal", "fight", "fall")
CLIP = ClipSpec(length_s=2.0, spacing_s=0.1, hop_s=0.5, size=(96, 96), images_at=(3, 10, 17))
"""What the network sees."""
FALL_S = 1.5
"""How long after the start of an annotated fall somebody is really falling; then they lie."""
ORDINARY_VAL = ("intel_one-by-one-person-detection", "surv_frigate_test_motion_video-2")
"""Ordinary videos that training never sees: false alarms are counted on them."""
SCENE_SIZE = (320, 240)
SCENE_S = 6.5
"""One of the scene's stories."""
SCENE_FPS = 10


class Source(Protocol):
    """Something that labelled clips can be cut from; the clips of a group are never parted."""

    @property
    def dataset(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def plain(self) -> bool:
        """As it is; otherwise a variant that only training sees."""
        ...

    def key(self) -> str:
        """Everything that its clips depend on."""
        ...

    def cut(self) -> list[tuple[Clip, Label]]:
        """Its clips; those of which nobody can say what they show are left out."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """One clip with its label."""

    images: U8 = field(repr=False)
    """uint8 (T, H, W, 3)."""
    flows: Array = field(repr=False)
    """float16 (L, H, W, 2), pixels per spacing."""
    label: Label
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of a video, in seconds of the video, whose action is known."""

    start_s: float
    end_s: float
    label: Label


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """A labelled video file, or a variant of it: played faster or slower, or begun later."""

    path: Path
    dataset: str
    group: str
    split: str = "train"
    spans: tuple[Span, ...] = ()
    """Where something other than `rest` happens."""
    rest: Label = "normal"
    speed: float = 1.0
    skip: int = 0
    """Frames left out at the start: the clips have other instants."""

    @property
    def name(self) -> str:
        """Short and unique."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def plain(self) -> bool:
        """At its own speed, from its first frame."""
        return self.speed == 1 and self.skip == 0

    def key(self) -> str:
        """File, size and all fields."""
        return f"{self} {self.path.stat().st_size}"

    def frames(self) -> Iterator[Frame]:
        """Its frames, the first at time 0."""
        with av.open(str(self.path)) as container:
            first_s = None
            for seq, planes in enumerate(container.decode(container.streams.video[0])):
                if seq < self.skip or planes.time is None:
                    continue
                first_s = planes.time if first_s is None else first_s
                pts_s = (planes.time - first_s) / self.speed
                yield _frame(DecodedPicture(planes), self.name, seq, pts_s)

    def cut(self) -> list[tuple[Clip, Label]]:
        """Its clips, more closely spaced where things are timed: falls are few."""
        clips = clips_of(self.frames(), replace(CLIP, hop_s=0.3) if self.spans else CLIP)
        labels = [self.label(clip.pts_s[0] * self.speed, clip.pts_s[-1] * self.speed) for clip in clips]
        return [(clip, label) for clip, label in zip(clips, labels, strict=True) if label is not None]

    def label(self, start_s: float, end_s: float) -> Label | None:
        """What happens in a stretch of the video; None where it is too little of a thing to say.

        A span counts where at least half of it, or of the stretch, is shared; below a fifth it does not.
        """
        for span in self.spans:
            overlap_s = min(end_s, span.end_s) - max(start_s, span.start_s)
            share = overlap_s / min(span.end_s - span.start_s, end_s - start_s)
            if share >= 0.5:
                return span.label
            if share > 0.2:
                return None
        return self.rest


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One story of the scene; the seed decides all that the fields do not."""

    kind: Literal["street", "room"]
    script: Label
    seed: int
    plain: bool = True
    dataset: str = "scene"

    @property
    def name(self) -> str:
        """Short and unique."""
        return f"scene/{self.kind}-{self.script}-{self.seed}"

    @property
    def group(self) -> str:
        """All scripts of one place and its people."""
        return f"{self.kind}-{self.seed}"

    def key(self) -> str:
        """All fields; clear the cache when the scene's drawing changes."""
        return f"{self} {SCENE_SIZE} {SCENE_S} {SCENE_FPS}"

    def cut(self) -> list[tuple[Clip, Label]]:
        """Its clips: every third place is seen by a shaking camera, every fourth by a turning one."""
        seed, speed = self.seed, (1.0, 1.2, 0.85)[self.seed % 3]
        world = World(
            self.kind, size=SCENE_SIZE, seed=seed, script=self.script, look="auto",
            shake=seed % 3 == 0, pan=seed % 4 == 0,
        )  # fmt: skip
        step_s = 1 / SCENE_FPS
        frames = (
            _frame(RgbPicture(world.view(seq * step_s * speed).image), self.name, seq, seq * step_s)
            for seq in range(round(SCENE_S / speed * SCENE_FPS) + 1)
        )
        return [(clip, world.label(clip.pts_s[0] * speed, clip.pts_s[-1] * speed)) for clip in clips_of(frames)]


def fight_surv(root: Path) -> list[Video]:
    """The surveillance clips of `actions/fight_surv`, by scene group.

    Raises:
        FileNotFoundError: the table is missing.
    """
    rest: dict[str, Label] = {"fight": "fight", "nofight": "normal"}
    return [
        Video(
            path=root / row["file"], dataset="fight_surv", group=row["scene_group"], split=row["split"],
            rest=rest[row["label"]],
        )
        for row in _rows(root / "labels.csv")
    ]  # fmt: skip


def gmdcsa(root: Path) -> list[Video]:
    """The room videos of `actions/gmdcsa24`, by subject: falls are timed, all else is normal."""
    videos: dict[str, Video] = {}
    for table in sorted(root.glob("segments_*.csv")):
        subject = table.stem.removeprefix("segments_")
        for row in _rows(table):
            name = row["file"]
            video = videos.setdefault(name, Video(path=root / name, dataset="gmdcsa24", group=subject))
            if row["activity"].startswith("Falling"):
                start_s = float(row["start_s"])
                span = Span(start_s=start_s, end_s=min(float(row["end_s"]), start_s + FALL_S), label="fall")
                videos[name] = replace(video, spans=(*video.spans, span))
    return list(videos.values())


def ordinary(root: Path) -> list[Video]:
    """The clips of `video/scene`: streets, shops and webcams where nobody fights or falls."""
    paths = [path for path in sorted(root.iterdir()) if path.suffix in (".mp4", ".avi")]
    return [
        Video(
            path=path, dataset="ordinary", group=path.stem, split="val" if path.stem in ORDINARY_VAL else "train"
        )
        for path in paths
    ]  # fmt: skip


def stories(seeds: Iterable[int]) -> list[Story]:
    """Every script in the street and in the room, for each seed."""
    kinds: tuple[Literal["street", "room"], ...] = ("street", "room")
    return [Story(kind=kind, script=script, seed=seed) for seed in seeds for kind in kinds for script in LABELS]


def clips_of(frames: Iterable[Frame], spec: ClipSpec = CLIP) -> list[Clip]:
    """All clips of a source; one padded clip where it is too short for a full one."""
    sampler = ClipSampler(spec)
    clips = [clip for frame in frames for clip in sampler.push(frame)]
    return clips + sampler.finish(pad=not clips)


def examples(sources: Sequence[Source], *, cache: Path) -> Iterator[Example]:
    """The labelled clips of several sources, from the cache where they were cut before."""
    for source in sources:
        name = hashlib.sha256(f"{source.key()} {CLIP}".encode()).hexdigest()[:24]
        kept = cache / source.dataset / f"{name}.npz"
        if not kept.is_file():
            _keep(source.cut(), kept)
        with np.load(kept) as found:
            arrays = found["images"], found["flows"], found["labels"]
        for images, flows, label in zip(*arrays, strict=True):
            yield Example(images=images, flows=flows, label=LABELS[int(label)], source=source)


def _keep(clips: list[tuple[Clip, Label]], kept: Path) -> None:
    width, height = CLIP.size
    kept.parent.mkdir(parents=True, exist_ok=True)
    draft = kept.with_suffix(".part")
    images = np.empty((len(clips), len(CLIP.images_at), height, width, 3), np.uint8)
    flows = np.empty((len(clips), CLIP.instants - 1, height, width, 2), np.float16)
    for index, (clip, _) in enumerate(clips):
        images[index], flows[index] = clip.images, clip.flows
    labels = np.array([LABELS.index(label) for _, label in clips], np.int64)
    with draft.open("wb") as file:
        np.savez(file, images=images, flows=flows, labels=labels)
    draft.replace(kept)


def _frame(picture: DecodedPicture | RgbPicture, name: str, seq: int, pts_s: float) -> Frame:
    return Frame(picture=picture, stream_id=name, seq=seq, epoch=0, pts_s=pts_s, arrival_ns=0)


def _rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
