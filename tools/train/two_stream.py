"""Recipe of the bundled action network: its data, its training, its cross-validation, its export."""

from __future__ import annotations

import argparse
import csv
import math
import multiprocessing
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from headrace.engines.cores import usable_cores
from headrace.models.action.two_stream import (
    SPATIAL_SHARE,
    SpatialStream,
    TemporalStream,
    TwoStream,
    small_fields,
    small_images,
)
from headrace.models.export import SCORES, export_two_stream
from headrace.tools.train.action_augment import changed_fields, changed_images
from headrace.tools.train.action_data import (
    CLIP,
    LABELS,
    Example,
    Source,
    examples,
    fight_surv,
    gmdcsa,
    ordinary,
    stories,
)

Stream = Literal["flow", "rgb"]
STREAMS: tuple[Stream, ...] = ("flow", "rgb")
SHARES = {
    ("fight_surv", "fight"): 0.26,
    ("scene", "fight"): 0.10,
    ("fight_surv", "normal"): 0.24,
    ("gmdcsa24", "normal"): 0.05,
    ("ordinary", "normal"): 0.06,
    ("scene", "normal"): 0.12,
    ("gmdcsa24", "fall"): 0.06,
    ("scene", "fall"): 0.11,
}
"""How often a training batch draws from each set and label; within these, groups are drawn alike."""
SCENE_SEEDS = range(1000, 1024)
FOLDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What is set once for both streams."""

    steps: int = 800
    batch: int = 32
    learning_rate: float = 2e-3
    warm_up: int = 50
    weight_decay: float = 0.02
    smoothing: float = 0.1
    width: int = 16
    spatial_share: float = SPATIAL_SHARE
    seed: int = 1
    save_every: int = 100


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clips:
    """Examples as tensors, at the size the streams look at."""

    fields: Tensor
    """float16 (N, L, 2, h, w)."""
    images: Tensor
    """float16 (N, T, 3, h, w), 0..1."""
    labels: Tensor
    """int64 (N,)."""
    sources: tuple[Source, ...]

    def of(self, chosen: Callable[[Source], bool]) -> NDArray[np.int64]:
        """Indices of the examples whose source is chosen."""
        return np.array([index for index, source in enumerate(self.sources) if chosen(source)], np.int64)


def stacked(found: Iterable[Example]) -> Clips:
    """Examples as tensors."""
    fields, images, labels, sources = [], [], [], []
    for each in found:
        fields.append(small_fields(torch.from_numpy(each.flows[None]).float())[0].half())
        images.append(small_images(torch.from_numpy(each.images[None]))[0].half())
        labels.append(LABELS.index(each.label))
        sources.append(each.source)
    return Clips(
        fields=torch.stack(fields),
        images=torch.stack(images),
        labels=torch.tensor(labels),
        sources=tuple(sources),
    )


def training_sources(data: Path) -> list[Source]:
    """All that may be trained on, with variants in speed and phase."""
    fights, rooms = fight_surv(data / "actions/fight_surv"), gmdcsa(data / "actions/gmdcsa24")
    varied = [replace(video, speed=speed, skip=skip) for speed, skip in ((0.88, 1), (1.15, 2)) for video in fights]
    ways = ((0.85, 1), (0.93, 2), (1.1, 0), (1.2, 1))
    varied += [replace(video, speed=speed, skip=skip) for speed, skip in ways for video in rooms]
    plain = [video for video in ordinary(data / "video/scene") if video.split == "train"]
    return [*fights, *rooms, *varied, *plain, *stories(SCENE_SEEDS)]


def odds(clips: Clips, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Chance of each row to be drawn: `SHARES`, and within each the groups alike but for the square root of size."""
    pots = [(clips.sources[row].dataset, LABELS[int(clips.labels[row])]) for row in rows]
    keys = [(*pot, clips.sources[row].group) for pot, row in zip(pots, rows, strict=True)]
    sizes = {key: keys.count(key) for key in set(keys)}
    chance = np.array([sizes[key] ** -0.5 for key in keys])
    for pot in set(pots):
        inside = np.array([each == pot for each in pots])
        chance[inside] *= SHARES.get(pot, 0.0) / chance[inside].sum()
    return np.asarray(chance / chance.sum())


def new_stream(stream: Stream, recipe: Recipe) -> nn.Module:
    """An untrained stream."""
    torch.manual_seed(recipe.seed)
    kind = TemporalStream if stream == "flow" else SpatialStream
    return kind(len(LABELS), width=recipe.width)


class Course:
    """The training of one stream; after a kill it goes on from its last checkpoint."""

    def __init__(self, stream: Stream, recipe: Recipe, folder: Path | None) -> None:
        """`folder`: for checkpoint and log; None trains in memory."""
        self.stream, self.recipe, self.folder = stream, recipe, folder
        self.network = new_stream(stream, recipe)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.random = np.random.default_rng(recipe.seed)
        self.step = 0
        self._resume()

    def run(self, clips: Clips, rows: NDArray[np.int64]) -> nn.Module:
        """Train on these rows to the end; returns the network in evaluation mode."""
        chance, recent, began = odds(clips, rows), [], time.monotonic()
        self.network.train()
        while self.step < self.recipe.steps:
            recent.append(self._learn(clips, self.random.choice(rows, self.recipe.batch, p=chance)))
            self.step += 1
            if self.step % self.recipe.save_every == 0:
                self._save(float(np.mean(recent)), time.monotonic() - began)
                recent.clear()
        return self.network.eval()

    def _learn(self, clips: Clips, rows: NDArray[np.int64]) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = self._learning_rate()
        labels = clips.labels[rows]
        heads: tuple[Tensor, ...]
        if isinstance(self.network, TemporalStream):
            # Nobody falls upwards; fights and ordinary life are themselves either way.
            changed = changed_fields(clips.fields[rows].float(), labels != LABELS.index("fall"))
            heads = self.network.heads(changed)
        else:
            heads = (self.network(changed_images(clips.images[rows].float())),)
        losses = [F.cross_entropy(logits, labels, label_smoothing=self.recipe.smoothing) for logits in heads]
        loss = torch.stack(losses).mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return float(loss.detach())

    def _learning_rate(self) -> float:
        cosine = 0.5 + 0.5 * math.cos(math.pi * self.step / self.recipe.steps)
        return self.recipe.learning_rate * cosine * min(1.0, (self.step + 1) / self.recipe.warm_up)

    def _save(self, loss: float, seconds: float) -> None:
        print(f"{self.stream} step {self.step}/{self.recipe.steps} loss {loss:.3f} {seconds:.0f} s", flush=True)
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{self.stream}.csv").open("a", newline="", encoding="utf-8") as log:
            csv.writer(log).writerow([self.step, f"{loss:.4f}", f"{seconds:.0f}"])
        state = {
            "recipe": asdict(self.recipe),
            "step": self.step,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "random": (torch.get_rng_state(), self.random.bit_generator.state),
        }
        draft = self.folder / f"{self.stream}.part"
        torch.save(state, draft)
        draft.replace(self.folder / f"{self.stream}.pt")

    def _resume(self) -> None:
        kept = self.folder / f"{self.stream}.pt" if self.folder else None
        if kept is None or not kept.is_file():
            return
        state = torch.load(kept, weights_only=False)
        if state["recipe"] != asdict(self.recipe):
            raise ValueError(f"{kept} was made by another recipe: remove it, or choose another --out")
        self.step = state["step"]
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["random"][0])
        self.random.bit_generator.state = state["random"][1]
        print(f"{self.stream}: resumed at step {self.step}")


@torch.inference_mode()  # type: ignore[untyped-decorator]
def scores_of(network: nn.Module, stream: Stream, clips: Clips, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Probabilities (rows, classes)."""
    seen = clips.fields if stream == "flow" else clips.images
    parts = [network(seen[part].float()).softmax(1) for part in torch.from_numpy(rows).split(32)]
    found: NDArray[np.float32] = torch.cat(parts).numpy()
    return found


def folds_of(sources: Sequence[Source], seed: int) -> dict[str, int]:
    """Fold of each group: whole groups, folds of about equal numbers of videos, subjects in two different folds."""
    random = np.random.default_rng(seed)
    groups: dict[str, set[str]] = {}
    for source in sources:
        if source.dataset == "fight_surv":
            groups.setdefault(source.group, set()).add(source.name)
    order = sorted(random.permutation(sorted(groups)), key=lambda group: -len(groups[group]))
    filled, folds = np.zeros(FOLDS), {}
    for group in order:
        fold = int(np.argmin(filled + random.random(FOLDS) * 0.1))
        folds[str(group)] = fold
        filled[fold] += len(groups[group])
    subjects = sorted({source.group for source in sources if source.dataset == "gmdcsa24"})
    return folds | {subject: index % FOLDS for index, subject in enumerate(subjects)}


@dataclass(frozen=True)
class _Trials:
    """What every training of a cross-validation is given; processes inherit it, for the clips are gigabytes."""

    clips: Clips
    recipe: Recipe
    folds: dict[str, int]
    threads: int

    def held(self, fold: int) -> NDArray[np.int64]:
        """The clips of a fold that are judged: as they were filmed."""
        return self.clips.of(lambda source: source.plain and self.folds.get(source.group) == fold)

    def scores(self, fold: int, stream: Stream) -> NDArray[np.float32]:
        """Train one stream on the other folds, and score this one."""
        torch.set_num_threads(self.threads)
        train = self.clips.of(lambda source: self.folds.get(source.group) != fold)
        network = Course(stream, self.recipe, None).run(self.clips, train)
        scores: NDArray[np.float32] = scores_of(network, stream, self.clips, self.held(fold))
        return scores


_trials: _Trials | None = None


def _trial(fold: int, stream: Stream) -> NDArray[np.float32]:
    assert _trials is not None, "set before the processes start"
    return _trials.scores(fold, stream)


def cross_validate(clips: Clips, recipe: Recipe, table: Path, *, threads: int = 1) -> None:
    """Train on four fifths of the groups, score the fifth, five times; writes one row per clip.

    The trainings are independent and seeded each for itself: they run side by side, one process a core.
    """
    global _trials
    trials = _trials = _Trials(clips, recipe, folds_of(clips.sources, recipe.seed), threads)
    table.parent.mkdir(parents=True, exist_ok=True)
    workers = max(1, usable_cores() // threads)
    with (
        table.open("w", newline="", encoding="utf-8") as file,
        ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool,
    ):
        rows = csv.writer(file)
        rows.writerow(["dataset", "group", "video", "label", *(f"{s}_{label}" for s in STREAMS for label in LABELS)])
        found = {(fold, s): pool.submit(_trial, fold, s) for fold in range(FOLDS) for s in STREAMS}
        for fold in range(FOLDS):
            parts = [found[fold, stream].result() for stream in STREAMS]
            for at, row in enumerate(trials.held(fold)):
                source, label = clips.sources[row], LABELS[int(clips.labels[row])]
                scores = [f"{value:.4f}" for part in parts for value in part[at]]
                rows.writerow([source.dataset, source.group, source.name, label, *scores])
            file.flush()


def main(argv: list[str] | None = None) -> int:
    """Train and export, or cross-validate."""
    options = _parser().parse_args(argv)
    torch.set_num_threads(options.threads)
    recipe = Recipe(seed=options.seed, steps=options.steps)
    clips = stacked(examples(training_sources(options.data), cache=options.cache or options.out / "clips"))
    print(f"{len(clips.labels)} clips: " + ", ".join(_counts(clips)))
    table = options.out / "cross-validation.csv"
    if options.cross_validate:
        cross_validate(clips, recipe, table, threads=options.threads)
        print("\n".join(report(table, recipe.spatial_share)))
        return 0
    everything = np.arange(len(clips.labels))
    spatial, temporal = (Course(stream, recipe, options.out).run(clips, everything) for stream in ("rgb", "flow"))
    network = TwoStream(spatial, temporal, spatial_share=recipe.spatial_share)
    file = options.out / "two_stream.onnx"
    error = export_two_stream(network, file, CLIP)
    parameters = sum(weights.numel() for weights in network.parameters())
    score = report(table, recipe.spatial_share)[-1] if table.is_file() else "not cross-validated"
    file.with_suffix(".yaml").write_text(description(parameters, score), encoding="utf-8")
    print(f"{file}: {parameters} parameters, within {error:.1g} of torch")
    return 0


def description(parameters: int, score: str) -> str:
    """The file that goes beside the network."""
    width, height = CLIP.size
    pictures, fields = len(CLIP.images_at), CLIP.instants - 1
    outputs = (f"  - {{name: {name}, shape: [null, {len(LABELS)}], dtype: float32, layout: BC}}" for name in SCORES)
    return f"""name: two_stream
task: action
summary: fights and falls on surveillance and room cameras
paper: "Two-Stream Convolutional Networks for Action Recognition in Videos (made small, trained from scratch)"
year: 2014
parameters: {parameters}
size: [{width}, {height}]
inputs:
  - {{name: images, shape: [null, {pictures}, {height}, {width}, 3], dtype: uint8, layout: BTHWC}}
  - {{name: flows, shape: [null, {fields}, {height}, {width}, 2], dtype: float32, layout: BTHWC}}
outputs:
{chr(10).join(outputs)}
labels: [{", ".join(LABELS)}]
clip:
  length_s: {CLIP.length_s}
  spacing_s: {CLIP.spacing_s}
  hop_s: {CLIP.hop_s}
  size: [{width}, {height}]
  images_at: [{", ".join(map(str, CLIP.images_at))}]
  flow: {CLIP.flow}
weights:
  licence: Apache-2.0; some of the training clips were cut from YouTube by the makers of their data set
  trained_on: fight_surv (197 surveillance clips), gmdcsa24 (9 room videos), ordinary videos, the drawn scene
  recipe: python -m headrace.tools.train.two_stream --data DATA --out DIR
  score: "{" ".join(score.split())}"
"""


def report(table: Path, spatial_share: float) -> list[str]:
    """What a cross-validation gave: fights by video, falls by clip, for each stream and fused."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    parts = {s: np.array([[float(row[f"{s}_{label}"]) for label in LABELS] for row in rows]) for s in STREAMS}
    parts["both"] = parts["rgb"] * spatial_share + parts["flow"] * (1 - spatial_share)  # type: ignore[index]
    return [line for name, scores in parts.items() for line in _lines(name, rows, scores)]


def _lines(name: str, rows: list[dict[str, str]], scores: NDArray[np.float64]) -> list[str]:
    videos: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        if row["dataset"] == "fight_surv":
            videos.setdefault(row["video"], []).append(index)
    fight = LABELS.index("fight")
    right = [
        (scores[indices].mean(0).argmax() == fight) == (rows[indices[0]]["label"] == "fight")
        for indices in videos.values()
    ]
    rooms = [index for index, row in enumerate(rows) if row["dataset"] == "gmdcsa24"]
    falls = [index for index in rooms if rows[index]["label"] == "fall"]
    fall = LABELS.index("fall")
    found = sum(scores[index].argmax() == fall for index in falls)
    false = sum(scores[index].argmax() == fall for index in rooms if index not in falls)
    return [
        f"{name:<5} fight or not: {np.mean(right):.3f} of {len(right)} videos"
        f"   falls of an unseen person: {found}/{len(falls)} clips, {false}/{len(rooms) - len(falls)} false"
    ]


def _counts(clips: Clips) -> list[str]:
    pots = [f"{source.dataset} {LABELS[int(n)]}" for source, n in zip(clips.sources, clips.labels, strict=True)]
    return [f"{pot} {pots.count(pot)}" for pot in sorted(set(pots))]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m headrace.tools.train.two_stream",
        description="Train the bundled action network, or cross-validate its recipe.",
        epilog="example: python -m headrace.tools.train.two_stream --data DATA --out build/two_stream",
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with actions/ and video/")
    parser.add_argument("--out", type=Path, default=Path("build/two_stream"), help="checkpoints, log, network")
    parser.add_argument("--cache", type=Path, help="where cut clips are kept (default: OUT/clips)")
    parser.add_argument(
        "--cross-validate", action="store_true", help="five folds of scene groups; trains nothing else"
    )
    parser.add_argument("--steps", type=int, default=Recipe().steps)
    parser.add_argument("--seed", type=int, default=Recipe().seed)
    parser.add_argument("--threads", type=int, default=1)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
