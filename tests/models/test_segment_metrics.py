"""The scores of segmentation, against figures worked out by hand."""

import numpy as np
import pytest

from headrace.models.segment.metrics import confusion, scores


def test_the_four_figures() -> None:
    truth = np.array([[0, 0, 0, 1], [1, 1, 2, 255]], np.uint8)
    found = np.array([[0, 0, 1, 1], [1, 0, 2, 2]], np.uint8)
    matrix = confusion(truth, found, 3)
    assert matrix.tolist() == [[2, 1, 0], [1, 2, 0], [0, 0, 1]]
    got = scores(matrix)
    assert got.pixel_accuracy == pytest.approx(5 / 7)
    assert got.mean_accuracy == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert got.iou == pytest.approx([1 / 2, 1 / 2, 1])
    assert got.mean_iou == pytest.approx(2 / 3)
    assert got.weighted_iou == pytest.approx((3 / 2 + 3 / 2 + 1) / 7)


def test_ignored_pixels_do_not_count() -> None:
    assert confusion(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8), 2).sum() == 0


def test_a_class_that_nobody_has_enters_no_mean() -> None:
    truth = np.array([0, 1, 1], np.uint8)
    got = scores(confusion(truth, truth, 5))
    assert got.mean_iou == 1
    assert np.isnan(got.iou[2:]).all()


def test_a_class_that_is_only_found_counts_as_nought() -> None:
    got = scores(confusion(np.array([0, 0], np.uint8), np.array([0, 1], np.uint8), 2))
    assert got.iou.tolist() == [0.5, 0.0]
    assert got.mean_iou == 0.25
    assert got.mean_accuracy == 0.5


def test_maps_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="one size"):
        confusion(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), 2)


def test_an_unknown_class_is_refused() -> None:
    with pytest.raises(ValueError, match="class 7"):
        confusion(np.zeros((2, 2), np.uint8), np.full((2, 2), 7, np.uint8), 2)


def test_nothing_to_score_is_refused() -> None:
    with pytest.raises(ValueError, match="no labelled pixel"):
        scores(np.zeros((3, 3), np.int64))
