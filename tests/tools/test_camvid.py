"""The data set's augmentation: labels must stay on what they label."""

from pathlib import Path

import numpy as np
import pytest

from headrace.tools.train.camvid import IGNORE, Augment, Pictures, load_caches


def bright_square() -> tuple[np.ndarray, np.ndarray]:
    image = np.full((360, 480, 3), 20, np.uint8)
    label = np.zeros((360, 480), np.uint8)
    image[100:260, 150:330] = 230
    label[100:260, 150:330] = 4
    return image, label


@pytest.mark.parametrize("seed", range(12))
def test_labels_stay_on_their_pixels(seed: int) -> None:
    image, label = bright_square()
    view, target = Augment(size_px=(320, 240), scale=(0.6, 1.6))(image, label, np.random.default_rng(seed))
    assert view.shape == (240, 320, 3)
    assert target.shape == (120, 160)
    small = view.reshape(120, 2, 160, 2, 3).mean((1, 3, 4))
    known = target != IGNORE
    bright = small > (small.min() + small.max()) / 2
    agree = (bright == (target == 4))[known].mean()
    assert agree > 0.985


def test_what_lies_outside_the_picture_is_ignored() -> None:
    image, label = bright_square()
    augment = Augment(size_px=(480, 360), scale=(0.5, 0.5), turn_deg=0.0)
    _, target = augment(image, label, np.random.default_rng(0))
    assert (target == IGNORE).mean() == pytest.approx(0.75, abs=0.06)


def test_the_same_seed_gives_the_same_view() -> None:
    augment = Augment(size_px=(64, 48), scale=(0.5, 2.0))
    first, second = (augment(*bright_square(), np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])


def test_pictures_and_labels_must_fit() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        Pictures(images=np.zeros((2, 4, 4, 3), np.uint8), labels=np.zeros((3, 4, 4), np.uint8))


def test_caches_are_read_one_after_the_other(tmp_path: Path) -> None:
    paths = [tmp_path / "a.npz", tmp_path / "b.npz"]
    for count, path in zip((2, 3), paths, strict=True):
        np.savez(
            path, images=np.full((count, 4, 6, 3), count, np.uint8), labels=np.full((count, 4, 6), count, np.uint8)
        )
    read = load_caches(paths)
    assert read.images[:, 0, 0, 0].tolist() == read.labels[:, 0, 0].tolist() == [2, 2, 3, 3, 3]
