"""Draws pictures of the scene's street with their exact classes, as training material.

python -m headrace.tools.train.scene_cache OUT.npz [--worlds N] [--views N] [--seed N]
"""

import argparse
import os
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from headrace.stream.scene.look import LookName
from headrace.stream.scene.world import World

SIZE = (480, 360)
SHAPES = ((480, 360), (640, 360))
"""Cameras are wide as often as not, and their pictures are squeezed to the network's size."""
LOOKS: tuple[LookName, ...] = ("clean", "clean", "auto")
LEAST_GAP_S, GREATEST_GAP_S = 2.0, 9.0

U8 = NDArray[np.uint8]


def draw_world(seed: int, views: int) -> tuple[list[U8], list[U8]]:
    """Pictures (H, W, 3) RGB and class maps (H, W) of one street at `views` times; all follows from the seed."""
    rng = np.random.default_rng(seed)
    shape = SHAPES[int(rng.integers(len(SHAPES)))]
    look = LOOKS[int(rng.integers(len(LOOKS)))]
    density = float(rng.uniform(0.6, 2.2))
    world = World("street", size=shape, seed=seed, pan=bool(rng.random() < 0.5), look=look, density=density)
    images, labels, now_s = [], [], float(rng.uniform(0, 20))
    for _ in range(views):
        seen = world.view(now_s)
        images.append(cv2.resize(seen.image, SIZE, interpolation=cv2.INTER_AREA).astype(np.uint8))
        labels.append(cv2.resize(seen.classes, SIZE, interpolation=cv2.INTER_NEAREST).astype(np.uint8))
        now_s += float(rng.uniform(LEAST_GAP_S, GREATEST_GAP_S))
    return images, labels


def main(argv: list[str] | None = None) -> int:
    """Draw and store; the worlds come in the order of their seeds, so the last tenth can be held back."""
    parser = argparse.ArgumentParser(prog="python -m headrace.tools.train.scene_cache", description=__doc__)
    parser.add_argument("out", type=Path, help="the .npz to write: images, labels")
    parser.add_argument("--worlds", type=int, default=200, help="how many streets (default: 200)")
    parser.add_argument("--views", type=int, default=6, help="pictures of each (default: 6)")
    parser.add_argument("--seed", type=int, default=1000, help="the first street's seed (default: 1000)")
    given = parser.parse_args(argv)
    images: list[U8] = []
    labels: list[U8] = []
    begun = time.monotonic()
    for at in range(given.worlds):
        drawn = draw_world(given.seed + at, given.views)
        images += drawn[0]
        labels += drawn[1]
        if at % 10 == 9:
            left_s = (time.monotonic() - begun) * (given.worlds - at - 1) / (at + 1)
            print(f"{at + 1} of {given.worlds} streets, {left_s:.0f} s left", flush=True)
    draft = given.out.with_suffix(".part.npz")
    np.savez_compressed(draft, images=np.stack(images), labels=np.stack(labels))
    os.replace(draft, given.out)
    print(f"{given.out}: {len(images)} pictures")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
