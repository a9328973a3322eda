"""Clips cut from a stream by presentation time, never by counting frames.

A clip is stated in seconds. Its instants lie on a grid that starts at the first frame of an epoch; each
instant takes the nearest frame, so cameras of 10 and of 60 fps give the same clip of the same scene.

- Between two different frames the flow is computed once, and stated as pixels per spacing by the time that
  really lies between them.
- A source slower than the grid has instants that share a frame. Motion does not stop there: such an interval
  has the flow of the two frames around it (constant velocity). `held` tells which intervals these are.
- Without a frame for more than `MAX_GAP_SPACINGS` spacings, when time runs backwards, and when the epoch
  changes, everything is forgotten and a new grid starts: no clip spans such a place.
"""

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from headrace.models.spec import ClipSpec
from headrace.stream.arrays import F32, U8
from headrace.stream.frame import Clip, Frame
from headrace.stream.motion import FlowMethod, grey_of, open_flow, shrunk

MAX_GAP_SPACINGS = 5
"""A longer time without a frame is a break: with a spacing of 0.1 s, 2 fps is the slowest source of clips."""
FLOW_SCALE = 2
"""Flow is computed on pictures this much larger than the clip's, then averaged: the motion of small people
survives."""
_SHORTEST_PAIR = 0.25
"""In spacings: flow over a shorter time is not scaled up further, or its noise would look like motion."""
_SAME_TIME_S = 1e-3
"""Containers round timestamps to milliseconds: what is closer than this is the same time."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sample:
    """A frame that some instant took."""

    pts_s: float
    arrival_ns: int
    image: U8 = field(repr=False)
    """uint8 (H, W, 3) at the clip's size."""
    grey: U8 = field(repr=False)
    """uint8 (H, W) at the size of the flow's pictures."""
    motion: F32 | None = field(repr=False)
    """Flow from the sample before it, float32 (H, W, 2) in pixels per spacing; None for the first one."""


class ClipSampler:
    """Takes every frame of one stream and gives a clip each hop; one thread uses it.

    Only frames that an instant takes are converted, and a frame is held until the next one decides whether
    it is the nearest: ten conversions a second at a spacing of 0.1 s, whatever the camera's rate.

    Args:
        spec: what a clip is.
        flow: computes the flow at `flow_size(spec)`; by default the method that the spec names.
    """

    def __init__(self, spec: ClipSpec, *, flow: FlowMethod | None = None) -> None:
        self._spec = spec
        self._flow_size = flow_size(spec)
        self._flow = flow or open_flow(spec.flow, self._flow_size)
        self._hop = max(1, round(spec.hop_s / spec.spacing_s))
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frame starts a new grid."""
        self._start_s = 0.0
        self._decided = 0
        self._last: Frame | None = None
        self._instants: deque[_Sample] = deque(maxlen=self._spec.instants)
        self._samples: deque[_Sample] = deque(maxlen=self._spec.instants + 1)

    def push(self, frame: Frame) -> list[Clip]:
        """Take the next frame of the stream.

        Returns:
            The clips that it completes: usually none, one each hop; several after a short gap.
        """
        last = self._last
        if last is not None and self._breaks(last, frame):
            self.reset()
            last = None
        if last is None:
            self._start_s = frame.pts_s
            last = frame
        elif frame.pts_s == last.pts_s:
            return []
        self._last = frame
        taken = []
        while (at_s := self._instant_s(self._decided)) <= frame.pts_s + _SAME_TIME_S:
            nearer = last if at_s - last.pts_s <= frame.pts_s - at_s + _SAME_TIME_S else frame
            taken.append(self._sample(nearer))
            self._decided += 1
        return self._clips(taken)

    def finish(self, *, pad: bool = False) -> list[Clip]:
        """The stream has ended: the instants that its last frame still reaches, half a spacing away at most.

        Args:
            pad: where the whole stream gave no clip because it is too short, give one all the same. Its
                missing first instants show the first picture, and the first flow goes on through them. For
                judging short files only: nothing like it happens live.
        """
        if self._last is None:
            return []
        reach_s = self._last.pts_s + self._spec.spacing_s / 2 + _SAME_TIME_S
        taken = []
        while self._instant_s(self._decided) <= reach_s:
            taken.append(self._sample(self._last))
            self._decided += 1
        clips = self._clips(taken)
        if pad and 1 < self._decided < self._spec.instants:
            clips = [self._padded()]
        self.reset()
        return clips

    def _breaks(self, last: Frame, frame: Frame) -> bool:
        gap_s = frame.pts_s - last.pts_s
        longest_s = MAX_GAP_SPACINGS * self._spec.spacing_s + _SAME_TIME_S
        return frame.epoch != last.epoch or not 0 <= gap_s <= longest_s

    def _instant_s(self, index: int) -> float:
        return self._start_s + index * self._spec.spacing_s

    def _sample(self, frame: Frame) -> _Sample:
        """The sample made of a frame; the same one when the newest was made of it."""
        before = self._samples[-1] if self._samples else None
        if before is not None and before.pts_s == frame.pts_s:
            return before
        large = frame.picture.rgb(self._flow_size)
        grey = grey_of(large)
        motion = None
        if before is not None:
            spacings = max((frame.pts_s - before.pts_s) / self._spec.spacing_s, _SHORTEST_PAIR)
            motion = shrunk(self._flow.between(before.grey, grey), self._spec.size) / np.float32(spacings)
        image = cv2.resize(large, self._spec.size, interpolation=cv2.INTER_AREA)
        sample = _Sample(pts_s=frame.pts_s, arrival_ns=frame.arrival_ns, image=image, grey=grey, motion=motion)
        self._samples.append(sample)
        return sample

    def _clips(self, taken: list[_Sample]) -> list[Clip]:
        """Add decided instants and cut the clips that end at them."""
        clips = []
        for index, sample in enumerate(taken, start=self._decided - len(taken)):
            self._instants.append(sample)
            past_first = index - (self._spec.instants - 1)
            if past_first >= 0 and past_first % self._hop == 0:
                clips.append(self._clip(list(self._instants), end_s=self._instant_s(index)))
        return clips

    def _padded(self) -> Clip:
        missing = self._spec.instants - len(self._instants)
        return self._clip([self._instants[0]] * missing + list(self._instants), self._instant_s(self._decided - 1))

    def _clip(self, instants: list[_Sample], end_s: float) -> Clip:
        assert self._last is not None
        first_s = end_s - (len(instants) - 1) * self._spec.spacing_s
        middles = [first_s + (index + 0.5) * self._spec.spacing_s for index in range(len(instants) - 1)]
        motion = [self._motion(*pair) for pair in zip(instants, instants[1:], middles, strict=False)]
        return Clip(
            images=np.stack([instants[index].image for index in self._spec.images_at]),
            flows=np.stack(motion),
            pts_s=np.array([each.pts_s for each in instants]),
            stream_id=self._last.stream_id,
            epoch=self._last.epoch,
            arrival_ns=instants[-1].arrival_ns,
        )

    def _motion(self, before: _Sample, after: _Sample, middle_s: float) -> F32:
        """The flow of one interval: between its two frames, or around the one that its instants share."""
        if before is after and middle_s > before.pts_s + _SAME_TIME_S:
            later = bisect_right(self._samples, before.pts_s, key=lambda each: each.pts_s)
            after = self._samples[later] if later < len(self._samples) else before
        if after.motion is not None:
            return after.motion
        return self._first_motion()

    def _first_motion(self) -> F32:
        """Before the first frame of all motion goes on as it begins."""
        first = next((each.motion for each in self._samples if each.motion is not None), None)
        width, height = self._spec.size
        return np.zeros((height, width, 2), np.float32) if first is None else first


def flow_size(spec: ClipSpec) -> tuple[int, int]:
    """(width, height) of the pictures between which a clip's flow is computed, in pixels."""
    width, height = spec.size
    return width * FLOW_SCALE, height * FLOW_SCALE


def held(clip: Clip) -> NDArray[np.bool_]:
    """bool (L,): the intervals whose two instants had to share a frame: they have the flow around it."""
    return np.equal(clip.pts_s[1:], clip.pts_s[:-1])
