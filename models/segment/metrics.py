"""The columns by which semantic segmentation is judged, from one confusion matrix."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IGNORE = 255


def confusion(truth: NDArray[np.uint8], found: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Pixels by (true class, found class), int64 (classes, classes); truth 255 is left out.

    Raises:
        ValueError: the sizes differ, or a found id is not one of the classes.
    """
    if truth.shape != found.shape:
        raise ValueError(f"truth {truth.shape} and found {found.shape} must be of one size")
    known = truth != IGNORE
    if found[known].size and int(found[known].max()) >= classes:
        raise ValueError(f"found class {int(found[known].max())}, but there are only {classes}")
    pairs = truth[known].astype(np.int64) * classes + found[known]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """The four figures of Long et al. (Fully Convolutional Networks, 2015) and the IoU of each class."""

    pixel_accuracy: float
    mean_accuracy: float
    mean_iou: float
    weighted_iou: float
    iou: NDArray[np.float64]
    """(classes,), nan for a class that neither truth nor finding has: it enters no mean."""


def scores(matrix: NDArray[np.int64]) -> Scores:
    """The figures of a confusion matrix (classes, classes); `ValueError` if no pixel was counted."""
    total = matrix.sum()
    if not total:
        raise ValueError("no labelled pixel was counted")
    right = np.diag(matrix).astype(np.float64)
    true = matrix.sum(1).astype(np.float64)
    union = true + matrix.sum(0) - right
    with np.errstate(invalid="ignore", divide="ignore"):
        accuracy, iou = right / true, right / union
    return Scores(
        pixel_accuracy=float(right.sum() / total),
        mean_accuracy=float(np.nanmean(accuracy)),
        mean_iou=float(np.nanmean(iou)),
        weighted_iou=float(np.nansum(true / total * iou)),
        iou=iou,
    )
