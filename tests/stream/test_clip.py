"""Clips are cut by time: the same from any frame rate, never across a break, nothing computed twice."""

from collections.abc import Iterable

import cv2
import numpy as np
import pytest

from headrace.models.spec import ClipSpec
from headrace.stream.arrays import F32, U8
from headrace.stream.clip import ClipSampler, flow_size, held
from headrace.stream.frame import Clip, Frame
from headrace.stream.motion import FarnebackFlow

SPEC = ClipSpec(length_s=2.0, spacing_s=0.1, hop_s=0.5, size=(48, 32), images_at=(4, 10, 16))
SPEED = (8.0, -4.0)
"""Of the pattern, in pixels of the clip per second."""


class MovingPattern:
    """A smooth texture that moves evenly, seen at one time; counts how often it is looked at."""

    looked_at = 0

    def __init__(self, at_s: float) -> None:
        self._at_s = at_s

    @property
    def size(self) -> tuple[int, int]:
        return 192, 128

    def rgb(self, size: tuple[int, int] | None = None) -> U8:
        MovingPattern.looked_at += 1
        width, height = size or self.size
        noise = np.random.default_rng(3).integers(0, 256, (32, 48)).astype(np.float32)
        smooth = cv2.GaussianBlur(noise, (0, 0), 1.6, borderType=cv2.BORDER_REFLECT)
        smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min()) * 255
        scale = width / SPEC.size[0]
        dx, dy = (axis * self._at_s * scale for axis in SPEED)
        move = np.array([[scale, 0, dx], [0, scale, dy]], np.float32)
        grey = cv2.warpAffine(smooth, move, (width, height), borderMode=cv2.BORDER_WRAP).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)


class CountingFlow(FarnebackFlow):
    """Farneback that counts its pairs."""

    pairs = 0

    def between(self, grey0: U8, grey1: U8) -> F32:
        self.pairs += 1
        return super().between(grey0, grey1)


def frame(pts_s: float, *, epoch: int = 0) -> Frame:
    return Frame(
        picture=MovingPattern(pts_s),
        stream_id="s",
        seq=0,
        epoch=epoch,
        pts_s=pts_s,
        arrival_ns=int(pts_s * 1e9),
    )


def clips_of(times: Iterable[float], sampler: ClipSampler | None = None) -> list[Clip]:
    sampler = sampler or ClipSampler(SPEC)
    return [clip for pts_s in times for clip in sampler.push(frame(float(pts_s)))]


def regular(fps: float, seconds: float = 3.1) -> list[float]:
    return [index / fps for index in range(round(seconds * fps) + 1)]


def median_motion(clip: Clip) -> F32:
    """(L, 2): the median flow of each interval, away from the border."""
    return np.median(clip.flows[:, 6:-6, 6:-6], axis=(1, 2))


def assert_even_motion(clip: Clip, within_px: float = 0.12) -> None:
    """Each interval shows the pattern's speed."""
    per_spacing = np.array(SPEED) * SPEC.spacing_s
    np.testing.assert_allclose(median_motion(clip), np.broadcast_to(per_spacing, (20, 2)), atol=within_px)


@pytest.mark.parametrize("fps", [10, 15, 25, 29.97, 30, 60])
def test_every_frame_rate_gives_the_same_clips(fps: float) -> None:
    clips = clips_of(regular(fps))
    assert [round(clip.pts_s[-1], 1) for clip in clips] == [2.0, 2.5, 3.0]
    for clip in clips:
        assert clip.images.shape == (3, 32, 48, 3)
        assert clip.images.dtype == np.uint8
        assert clip.flows.shape == (20, 32, 48, 2)
        assert clip.flows.dtype == np.float32
        grid = np.round(clip.pts_s[0], 1) + np.arange(21) * 0.1
        np.testing.assert_allclose(clip.pts_s, grid, atol=0.5 / fps + 1e-3)
        assert not held(clip).any()
        assert_even_motion(clip)


def test_pictures_are_those_of_their_instants() -> None:
    clip = clips_of(regular(30))[0]
    for image, at in zip(clip.images, SPEC.images_at, strict=True):
        expected = cv2.resize(MovingPattern(at * 0.1).rgb(flow_size(SPEC)), SPEC.size, interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(image, expected)


def test_variable_rate_and_drops() -> None:
    random = np.random.default_rng(1)
    jittered = np.cumsum(random.uniform(0.01, 0.08, 80))
    dropped = [pts_s for pts_s in regular(30) if pts_s == 0 or random.random() > 0.3]
    for times in (jittered, dropped):
        clips = clips_of(times)
        assert len(clips) >= 2
        for clip in clips:
            assert_even_motion(clip, within_px=0.2)


@pytest.mark.parametrize("fps", [3, 6, 8])
def test_a_slow_camera_moves_on_between_its_frames(fps: float) -> None:
    clips = clips_of(regular(fps, seconds=3.4))
    assert len(clips) == 3
    for clip in clips:
        assert held(clip).sum() == pytest.approx(20 - 2 * fps, abs=1)
        assert_even_motion(clip, within_px=0.2)


def test_nothing_is_converted_or_computed_twice() -> None:
    flow = CountingFlow(flow_size(SPEC))
    MovingPattern.looked_at = 0
    clips = clips_of(regular(60, seconds=5), ClipSampler(SPEC, flow=flow))
    assert len(clips) == 7
    assert MovingPattern.looked_at == 51
    assert flow.pairs == 50


def test_overlapping_clips_share_their_flow() -> None:
    first, second = clips_of(regular(25))[:2]
    np.testing.assert_array_equal(first.flows[5:], second.flows[:15])


def test_no_clip_before_it_is_full() -> None:
    assert clips_of(regular(30, seconds=1.95)) == []


def test_no_clip_spans_a_reconnect() -> None:
    sampler = ClipSampler(SPEC)
    assert len(clips_of(regular(30, seconds=1.9), sampler)) == 0
    after = [clip for pts_s in regular(30) for clip in sampler.push(frame(100 + pts_s, epoch=1))]
    assert [clip.epoch for clip in after] == [1, 1, 1]
    assert after[0].pts_s[0] == 100


@pytest.mark.parametrize("jump_s", [0.6, 30.0, -1.0])
def test_no_clip_spans_a_gap_or_a_step_back(jump_s: float) -> None:
    before = regular(30, seconds=2.4)
    resumed = before[-1] + jump_s
    clips = clips_of([*before, *(resumed + pts_s for pts_s in regular(30, seconds=2.2))])
    assert [clip.pts_s[0] for clip in clips] == pytest.approx([0.0, resumed])


def test_a_short_gap_is_bridged_and_marked() -> None:
    clips = clips_of(pts_s for pts_s in regular(30) if not 1.01 < pts_s < 1.39)
    assert len(clips) == 3
    assert held(clips[0]).tolist() == [index in (10, 11, 13) for index in range(20)]
    assert_even_motion(clips[0], within_px=0.3)


def test_a_repeated_timestamp_changes_nothing() -> None:
    times = regular(25)
    once, twice = clips_of(times), clips_of(pts_s for each in times for pts_s in (each, each))
    assert len(once) == len(twice) == 3
    np.testing.assert_array_equal(once[0].flows, twice[0].flows)


def test_frames_close_together_do_not_blow_up_noise() -> None:
    times = [0.0, 0.0495, *(0.0505 + 0.1 * index for index in range(24))]
    for clip in clips_of(times):
        assert np.abs(clip.flows).max() < 4


def test_the_end_of_a_file_completes_its_last_clip() -> None:
    sampler = ClipSampler(SPEC)
    assert clips_of(regular(30)[:60], sampler) == []  # 2 s of video: the last frame is at 1.967 s
    assert [clip.pts_s[-1] for clip in sampler.finish()] == pytest.approx([59 / 30])
    assert sampler.finish() == []


def test_a_short_file_can_be_padded_for_judging() -> None:
    times = regular(30)[:48]
    sampler = ClipSampler(SPEC)
    assert clips_of(times, sampler) == []
    assert sampler.finish() == []
    assert clips_of(times, sampler) == []
    (clip,) = sampler.finish(pad=True)
    assert clip.pts_s[-1] == pytest.approx(1.567, abs=0.01)
    assert (clip.pts_s[:5] == 0).all()
    assert_even_motion(clip)


def test_a_single_frame_gives_nothing() -> None:
    sampler = ClipSampler(SPEC)
    sampler.push(frame(0.0))
    assert sampler.finish(pad=True) == []
    assert sampler.finish(pad=True) == []


def test_unknown_flow_of_a_spec_is_named() -> None:
    spec = ClipSpec(length_s=2, spacing_s=0.1, hop_s=0.5, size=(48, 32), images_at=(0,), flow="psychic")
    with pytest.raises(ValueError, match="psychic"):
        ClipSampler(spec)
