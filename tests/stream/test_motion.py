"""Farneback flow finds a known motion, and says what it wants."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from headrace.stream.arrays import F32, U8
from headrace.stream.motion import FLOWS, FarnebackFlow, grey_of, open_flow, shrunk

SIZE = (96, 64)


def texture(shift: tuple[float, float] = (0, 0)) -> U8:
    """A smooth random texture, moved by (dx, dy) pixels."""
    noise = np.random.default_rng(7).integers(0, 256, (SIZE[1], SIZE[0])).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.5)
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min()) * 255
    move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    return cv2.warpAffine(smooth, move, SIZE, borderMode=cv2.BORDER_REFLECT).astype(np.uint8)


def inside(field: F32) -> F32:
    """Without the border, where new picture comes in."""
    return field[10:-10, 10:-10]


@pytest.mark.parametrize("shift", [(2.0, 0.0), (0.0, -1.5), (-3.0, 2.0)])
def test_every_method_finds_a_shift(shift: tuple[float, float]) -> None:
    for name in FLOWS:
        field = open_flow(name, SIZE).between(texture(), texture(shift))
        assert field.shape == (64, 96, 2)
        assert field.dtype == np.float32
        assert np.median(inside(field), axis=(0, 1)) == pytest.approx(shift, abs=0.15), name


def test_farneback_starts_anew_for_each_pair() -> None:
    flow = FarnebackFlow(SIZE)
    first = flow.between(texture(), texture((2, 0)))
    flow.between(texture(), texture((-3, 1)))
    np.testing.assert_array_equal(flow.between(texture(), texture((2, 0))), first)


def test_the_same_picture_does_not_move() -> None:
    field = FarnebackFlow(SIZE).between(texture(), texture())
    assert np.abs(inside(field)).max() < 1e-3


def test_unknown_method_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"flow 'magic' is not known; there are: .*farneback"):
        open_flow("magic", SIZE)


@pytest.mark.parametrize("wrong", [np.zeros((64, 95), np.uint8), np.zeros((64, 96), np.float32)])
def test_wrong_picture_is_named(wrong: U8) -> None:
    with pytest.raises(ValueError, match=r"wants uint8 \(64, 96\), not"):
        FarnebackFlow(SIZE).between(texture(), wrong)


def test_no_size_is_refused() -> None:
    with pytest.raises(ValueError, match="0x4"):
        FarnebackFlow((0, 4))


def test_shrinking_keeps_the_motion_in_new_pixels() -> None:
    field = np.empty((64, 96, 2), np.float32)
    field[..., 0], field[..., 1] = 6.0, -4.0
    small = shrunk(field, (48, 16))
    assert small.shape == (16, 48, 2)
    np.testing.assert_allclose(small[..., 0], 3.0, rtol=1e-6)
    np.testing.assert_allclose(small[..., 1], -1.0, rtol=1e-6)
    assert shrunk(field, (96, 64)) is field


def test_grey_is_luma() -> None:
    picture = np.zeros((2, 3, 3), np.uint8)
    picture[..., 1] = 100
    assert grey_of(picture).shape == (2, 3)
    assert grey_of(picture)[0, 0] == 59


def test_endpoint_error_on_ground_truth(shared_data: Path) -> None:
    """The error that OpenCV's Farneback is known to have on this pair, 0.43 px; standing still has 1.26."""
    pair = shared_data / "flow" / "rubberwhale"
    greys = [cv2.imread(str(pair / f"frame{n}.png"), cv2.IMREAD_GRAYSCALE) for n in (1, 2)]
    truth = np.fromfile(pair / "flow_gt.flo", np.float32)[3:].reshape(*greys[0].shape, 2)
    known = (np.abs(truth) < 1e9).all(axis=-1)
    field = FarnebackFlow((greys[0].shape[1], greys[0].shape[0])).between(*greys)
    assert np.linalg.norm((field - truth)[known], axis=-1).mean() < 0.5
