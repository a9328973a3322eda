"""CamVid (11 classes, 480x360) and cached scene pictures, held in memory as uint8, and their augmentation."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

CLASSES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "signsymbol",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
VOID = 11
"""Label index of unlabelled pixels in the files."""
IGNORE = 255
"""Label index of unlabelled pixels in memory: never trained on, never scored."""

U8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pictures:
    """Labelled pictures of one size."""

    images: U8
    """RGB, (N, H, W, 3)."""
    labels: U8
    """Class ids, (N, H, W), 255 = ignore."""

    def __post_init__(self) -> None:
        if self.images.shape[:3] != self.labels.shape or self.images.shape[3:] != (3,):
            raise ValueError(f"images {self.images.shape} do not fit labels {self.labels.shape}")

    def __len__(self) -> int:
        return len(self.images)


def read_pair(image_path: Path, label_path: Path) -> tuple[U8, U8]:
    """One picture (H, W, 3) RGB and its labels (H, W); `ValueError` names what is broken."""
    bgr = cv2.imread(str(image_path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError(f"{image_path}: not a readable picture")
    label = cv2.imread(str(label_path), cv2.IMREAD_UNCHANGED)
    if label is None:
        raise ValueError(f"{label_path}: no readable label picture for {image_path.name}")
    if label.shape != bgr.shape[:2]:
        raise ValueError(f"{label_path}: size {label.shape} differs from its picture's {bgr.shape[:2]}")
    label = label.astype(np.uint8)
    strange = sorted(set(np.unique(label).tolist()) - set(range(VOID + 1)) - {IGNORE})
    if strange:
        raise ValueError(f"{label_path}: label values {strange} are none of 0..{VOID}")
    label[label == VOID] = IGNORE
    return np.ascontiguousarray(bgr[:, :, ::-1]).astype(np.uint8), label


def list_pairs(folder: Path, split: str) -> list[tuple[Path, Path]]:
    """(picture, label) paths of `folder/split/{images,labels}`, sorted; `ValueError` if there are none."""
    pairs = [
        (image, folder / split / "labels" / f"{image.stem}.png")
        for image in sorted((folder / split / "images").glob("*"))
        if image.suffix.lower() in {".webp", ".png", ".jpg"}
    ]
    if not pairs:
        raise ValueError(f"{folder / split / 'images'}: no pictures; expected {folder} to have {split}/images")
    return pairs


def load_camvid(folder: Path, split: str) -> Pictures:
    """All pictures of a split; `ValueError` if one is broken."""
    pairs = [read_pair(*pair) for pair in list_pairs(folder, split)]
    return Pictures(images=np.stack([p[0] for p in pairs]), labels=np.stack([p[1] for p in pairs]))


def load_caches(paths: Sequence[Path]) -> Pictures:
    """Pictures from .npz files with `images` and `labels`, as `headrace.tools.train.scene_cache` writes them."""
    images, labels = [], []
    for path in paths:
        with np.load(path) as stored:
            images.append(stored["images"])
            labels.append(stored["labels"])
    return Pictures(images=np.concatenate(images), labels=np.concatenate(labels))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Augment:
    """A random view of a picture: scaled, turned, mirrored, cut, and its colours moved."""

    size_px: tuple[int, int]
    """(width, height) of the view."""
    scale: tuple[float, float]
    """Smallest and greatest magnification."""
    turn_deg: float = 4.0
    label_stride: int = 2
    """The label map is the view's size divided by this: the loss is taken at half resolution."""

    def __call__(self, image: U8, label: U8, rng: np.random.Generator) -> tuple[U8, U8]:
        """(H, W, 3), (H, W) → view (h, w, 3), its labels (h/stride, w/stride)."""
        width, height = self.size_px
        matrix = self._matrix(image.shape[1], image.shape[0], rng)
        smooth, nearest = (way | cv2.WARP_INVERSE_MAP for way in (cv2.INTER_LINEAR, cv2.INTER_NEAREST))
        view = cv2.warpAffine(image, matrix, (width, height), flags=smooth, borderMode=cv2.BORDER_REFLECT)
        # Pixel i of the small map is centred on (i + 0.5) * stride - 0.5 of the view.
        small = matrix.copy()
        small[:, 2] += matrix[:, :2].sum(1) * (self.label_stride - 1) / 2
        small[:, :2] *= self.label_stride
        target = cv2.warpAffine(
            label,
            small,
            (width // self.label_stride, height // self.label_stride),
            flags=nearest,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(IGNORE,),
        )
        return colours(view.astype(np.uint8), rng), target.astype(np.uint8)

    def _matrix(self, source_width: int, source_height: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """The 2x3 map from the view's pixels to the source's."""
        width, height = self.size_px
        zoom = float(np.exp(rng.uniform(*np.log(self.scale))))
        angle = np.deg2rad(rng.uniform(-self.turn_deg, self.turn_deg)) if rng.random() < 0.5 else 0.0
        stretch = float(np.exp(rng.uniform(-0.12, 0.12)))
        mirror = -1.0 if rng.random() < 0.5 else 1.0
        linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / zoom
        linear = linear @ np.diag([mirror * stretch, 1 / stretch])
        # The view lies wholly inside the source where it is the smaller one, else round it.
        spare = np.abs(np.array([source_width - width / zoom, source_height - height / zoom])) / 2
        centre = np.array([source_width, source_height]) / 2 + rng.uniform(-1, 1, 2) * spare
        offset = centre - linear @ np.array([width, height]) / 2
        return np.concatenate([linear, offset[:, None]], 1)


def colours(image: U8, rng: np.random.Generator) -> U8:
    """Brightness, contrast, gamma, saturation, white balance; sometimes blur, noise or no colour at all."""
    ramp = np.arange(256, dtype=np.float32) / 255
    gamma = np.exp(rng.uniform(-0.35, 0.35))
    gains = np.exp(rng.uniform(-0.25, 0.25)) * np.exp(rng.uniform(-0.08, 0.08, 3))
    shift = rng.uniform(-0.08, 0.08)
    table = np.clip(ramp[:, None] ** gamma * gains + shift, 0, 1) * 255
    image = cv2.LUT(image, table.astype(np.uint8)[None]).astype(np.uint8)
    if rng.random() < 0.5:
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        keep = rng.uniform(0.5, 1.5) if rng.random() < 0.9 else 0.0
        image = cv2.addWeighted(image, keep, grey, 1 - keep, 0).astype(np.uint8)
    chance = rng.random()
    if chance < 0.1:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.2))).astype(np.uint8)
    elif chance < 0.2:
        noise = rng.normal(0, rng.uniform(2, 8), image.shape).astype(np.float32)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    return image
