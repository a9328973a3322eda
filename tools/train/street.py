"""The recipe of the bundled network `street`: CamVid and the drawn scene, from scratch, on CPU or GPU.

    python -m headrace.tools.train.street --data CAMVID --out DIR --minutes M [--scene-cache FILE...]

Run again with the same `--out` it goes on from its last checkpoint. It ends with `DIR/street.onnx`.
"""

import argparse
import copy
import csv
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from headrace.models.deploy import DeployedSegmentation, normalise
from headrace.models.export import export_segmentation
from headrace.models.segment.metrics import Scores, confusion, scores
from headrace.models.segment.street import Street
from headrace.tools.train.camvid import CLASSES, IGNORE, Augment, Pictures, load_caches, load_camvid

SIZE = (480, 360)
PEAK_RATE = 2e-3
WARM_UP = 0.02
WEIGHT_DECAY = 0.05
AVERAGE = 0.999
"""Of the exponential moving average of the weights, which is what is scored and exported."""
SCENE_SHARE = 0.2
OVERLAP_WEIGHT = 0.5
SIDE_WEIGHT = 0.3
CHECK_S = 180.0
"""How often the average is scored and a checkpoint written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of the schedule: small views first, since four of them cost as much as one whole picture."""

    until: float
    """Share of the whole training at which it ends."""
    size_px: tuple[int, int]
    batch: int
    scale: tuple[float, float]


PHASES = (
    Phase(until=0.3, size_px=(320, 240), batch=16, scale=(0.6, 1.4)),
    Phase(until=0.54, size_px=(320, 240), batch=16, scale=(0.7, 1.8)),
    Phase(until=1.0, size_px=(480, 360), batch=8, scale=(0.75, 1.7)),
)


class Views(IterableDataset[tuple[Tensor, Tensor]]):
    """Endless batches: uint8 (B, H, W, 3) and labels uint8 (B, H/2, W/2), a share of them from the scene."""

    def __init__(self, camvid: Pictures, scene: Pictures | None, phase: Phase, seed: int) -> None:
        super().__init__()
        self.camvid, self.scene, self.phase, self.seed = camvid, scene, phase, seed
        self.augment = Augment(size_px=phase.size_px, scale=phase.scale)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        cv2.setNumThreads(0)
        worker = get_worker_info()
        rng = np.random.default_rng((self.seed, worker.id if worker else 0))
        drawn = round(self.phase.batch * SCENE_SHARE) if self.scene else 0
        sources = [(self.camvid, shuffled(len(self.camvid), rng), self.phase.batch - drawn)]
        if self.scene:
            sources.append((self.scene, shuffled(len(self.scene), rng), drawn))
        while True:
            picked = [(pictures, next(order)) for pictures, order, count in sources for _ in range(count)]
            views = [self.augment(pictures.images[at], pictures.labels[at], rng) for pictures, at in picked]
            images, labels = (torch.from_numpy(np.stack(part)) for part in zip(*views, strict=True))
            yield images, labels


def shuffled(count: int, rng: np.random.Generator) -> Iterator[int]:
    """Every index once, in random order, for ever again."""
    while True:
        yield from rng.permutation(count).tolist()


def class_weights(pictures: Pictures) -> Tensor:
    """Square root of median-frequency balancing: rare classes count more, yet do not flood the picture."""
    counts = np.bincount(pictures.labels.ravel(), minlength=256)[: len(CLASSES)].astype(np.float64)
    return torch.from_numpy(np.sqrt(np.median(counts) / counts.clip(1)).clip(0, 4).astype(np.float32))


def loss_of(heads: tuple[Tensor, Tensor, Tensor], target: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross-entropy and soft IoU at 1/2, plus cross-entropy of the side heads at 1/8 and 1/16."""
    main, at8, at16 = (head.float() for head in heads)
    main = F.interpolate(main, size=target.shape[1:], mode="bilinear", align_corners=False)
    chances = main.log_softmax(1)
    total = F.nll_loss(chances, target, weights, ignore_index=IGNORE)
    total = total + OVERLAP_WEIGHT * overlap_loss(chances.exp(), target)
    for side in (at8, at16):
        coarse = F.interpolate(target[:, None].float(), size=side.shape[2:], mode="nearest-exact")
        total = total + SIDE_WEIGHT * F.cross_entropy(side, coarse[:, 0].long(), weights, ignore_index=IGNORE)
    return total


def overlap_loss(shares: Tensor, target: Tensor) -> Tensor:
    """1 - soft IoU, averaged over the classes that the batch has (Rahman and Wang, 2016).

    Args:
        shares: probabilities, (B, C, h, w).
        target: class ids, (B, h, w), 255 = ignore.
    """
    known = target != IGNORE
    target = target.where(known, 0)
    weight = known.float()
    right = shares.gather(1, target[:, None])[:, 0] * weight
    both = shares.new_zeros(shares.shape[1]).index_add(0, target.flatten(), right.flatten())
    truth = shares.new_zeros(shares.shape[1]).index_add(0, target.flatten(), weight.flatten())
    # A product of matrices: multiplying the maps and summing takes several times as long on a CPU.
    found = (shares.flatten(2) @ weight.flatten(1)[:, :, None]).sum((0, 2))
    return (1 - (both + 1) / (found + truth - both + 1))[truth > 0].mean()


def evaluate(network: Street, pictures: Pictures, device: torch.device) -> Scores:
    """Scores of the class map at half resolution, scaled up by nearest neighbour, as it is deployed."""
    deployed = DeployedSegmentation(network).eval()
    matrix = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    for at in range(0, len(pictures), 4):
        with torch.inference_mode():
            found = deployed(torch.from_numpy(pictures.images[at : at + 4]).to(device))
        enlarged = found.repeat_interleave(2, 1).repeat_interleave(2, 2).cpu().numpy()
        matrix += confusion(pictures.labels[at : at + 4], enlarged, len(CLASSES))
    return scores(matrix)


def rate_at(progress: float) -> float:
    """Learning rate: a linear rise, then a cosine down to zero."""
    rise = min(1.0, (progress + 1e-4) / WARM_UP)
    return PEAK_RATE * rise * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


class Training:
    """Network, its moving average, optimiser and the clock; all of it is in the checkpoint."""

    def __init__(self, out: Path, *, minutes: float, epochs: float, seed: int) -> None:
        torch.manual_seed(seed)
        self.out, self.minutes, self.epochs = out, minutes, epochs
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = Street(len(CLASSES)).to(self.device, memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.network)
        matrices = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim == 1]
        groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=PEAK_RATE, fused=True)
        self.step, self.seen, self.elapsed_s, self.best = 0, 0, 0.0, 0.0

    def progress(self, pictures: int) -> float:
        """Share of the whole training that is done, by the clock or by CamVid pictures seen."""
        by_clock = self.elapsed_s / (self.minutes * 60) if self.minutes else 0.0
        by_count = self.seen / (self.epochs * pictures) if self.epochs else 0.0
        return max(by_clock, by_count)

    def learn(self, frames: Tensor, target: Tensor, weights: Tensor, progress: float) -> float:
        """One step; the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate_at(progress)
        self.network.train()
        with torch.autocast(self.device.type, torch.bfloat16):
            picture = normalise(frames.to(self.device)).to(memory_format=torch.channels_last)
            heads = self.network.forward_training(picture)
        loss = loss_of(heads, target.to(self.device).long(), weights)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self.step += 1
        self._follow()
        return float(loss.detach())

    def _follow(self) -> None:
        keep = min(AVERAGE, (self.step + 1) / (self.step + 10))
        mine, theirs = self.average.state_dict(), self.network.state_dict()
        floats = [name for name in mine if mine[name].is_floating_point()]
        with torch.no_grad():
            torch._foreach_lerp_([mine[n] for n in floats], [theirs[n] for n in floats], 1 - keep)

    def save(self, name: str) -> None:
        """Write the checkpoint whole or not at all."""
        draft = self.out / f"{name}.part"
        kept = {key: getattr(self, key) for key in ("step", "seen", "elapsed_s", "best")}
        state = {key: getattr(self, key).state_dict() for key in ("network", "average", "optimiser")}
        torch.save({**kept, **state}, draft)
        os.replace(draft, self.out / name)

    def load(self, name: str) -> bool:
        """Go on from the checkpoint, if there is one."""
        if not (self.out / name).exists():
            return False
        stored: dict[str, Any] = torch.load(self.out / name, map_location=self.device, weights_only=True)
        for key in ("network", "average", "optimiser"):
            getattr(self, key).load_state_dict(stored[key])
        for key in ("step", "seen", "elapsed_s", "best"):
            setattr(self, key, stored[key])
        return True


def train(training: Training, data: Path, scene: Pictures | None, seed: int) -> None:
    """Run the schedule from where `training` stands to its end."""
    camvid, held_back = load_camvid(data, "train"), load_camvid(data, "val")
    scene_held_back = None
    if scene:  # the last tenth: whole streets, since the pictures come street by street
        cut = len(scene) * 9 // 10
        scene, scene_held_back = _part(scene, slice(0, cut)), _part(scene, slice(cut, None))
    weights = class_weights(camvid).to(training.device)
    last_check_s = training.elapsed_s
    for phase in PHASES:
        if training.progress(len(camvid)) >= phase.until:
            continue
        views = Views(camvid, scene, phase, seed + training.step)
        fresh = phase.batch - (round(phase.batch * SCENE_SHARE) if scene else 0)
        losses: list[float] = []
        started = time.monotonic() - training.elapsed_s
        for frames, target in DataLoader(views, batch_size=None, num_workers=1, prefetch_factor=8):
            progress = training.progress(len(camvid))
            if progress >= phase.until:
                break
            losses.append(training.learn(frames, target, weights, progress))
            training.seen += fresh
            training.elapsed_s = time.monotonic() - started
            if training.elapsed_s - last_check_s > CHECK_S:
                check(training, float(np.mean(losses)), progress, held_back, scene_held_back)
                training.elapsed_s = time.monotonic() - started
                last_check_s, losses = training.elapsed_s, []
    check(training, math.nan, 1.0, held_back, scene_held_back)


def check(training: Training, loss: float, progress: float, camvid: Pictures, scene: Pictures | None) -> None:
    """Score the average, write the log line and the checkpoint."""
    found = evaluate(training.average, camvid, training.device)
    on_scene = evaluate(training.average, scene, training.device).mean_iou if scene else math.nan
    row = {
        "step": training.step,
        "pictures": training.seen,
        "elapsed_min": round(training.elapsed_s / 60, 2),
        "progress": round(progress, 4),
        "rate": f"{training.optimiser.param_groups[0]['lr']:.2e}",
        "loss": round(loss, 4),
        "pixel_accuracy": round(found.pixel_accuracy, 4),
        "mean_iou": round(found.mean_iou, 4),
        "scene_mean_iou": round(on_scene, 4),
        **{name: round(float(iou), 3) for name, iou in zip(CLASSES, found.iou, strict=True)},
    }
    log = training.out / "log.csv"
    fresh = not log.exists()
    with log.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        if fresh:
            writer.writeheader()
        writer.writerow(row)
    left_min = training.elapsed_s / 60 * (1 - progress) / max(progress, 1e-6)
    figures = f"loss {loss:.3f}, mean IoU {found.mean_iou:.4f}, scene {on_scene:.4f}"
    print(f"{row['elapsed_min']} min, {left_min:.0f} left: {figures}", flush=True)
    if found.mean_iou > training.best:
        training.best = found.mean_iou
        training.save("best.pt")
    training.save("last.pt")


def _part(pictures: Pictures, where: slice) -> Pictures:
    return Pictures(images=pictures.images[where], labels=pictures.labels[where])


def main(argv: list[str] | None = None) -> int:
    """Train (or go on training), then export."""
    parser = argparse.ArgumentParser(prog="python -m headrace.tools.train.street", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="CamVid's folder, with train/ and val/")
    parser.add_argument("--out", type=Path, required=True, help="for checkpoints, log.csv and street.onnx")
    parser.add_argument("--minutes", type=float, default=0.0, help="length, earlier runs included")
    parser.add_argument("--epochs", type=float, default=0.0, help="length in passes over CamVid")
    parser.add_argument("--scene-cache", type=Path, nargs="+", help=".npz files of scene pictures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--export-only", metavar="CHECKPOINT", help="last.pt or best.pt: export it as it is")
    given = parser.parse_args(argv)
    if not given.export_only and not given.minutes and not given.epochs:
        parser.error("say how long: --minutes or --epochs")
    given.out.mkdir(parents=True, exist_ok=True)
    training = Training(given.out, minutes=given.minutes, epochs=given.epochs, seed=given.seed)
    resumed = training.load(given.export_only or "last.pt")
    if given.export_only and not resumed:
        parser.error(f"{given.out / given.export_only} does not exist")
    if not given.export_only:
        print(f"{'going on at' if resumed else 'starting with'} step {training.step}", flush=True)
        train(training, given.data, load_caches(given.scene_cache) if given.scene_cache else None, given.seed)
    network = training.average.cpu().to(memory_format=torch.contiguous_format)
    share = export_segmentation(network, given.out / "street.onnx", size=SIZE)
    print(f"{given.out / 'street.onnx'}: same class as torch on {share:.5f} of the pixels")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
