"""What flows from stage to stage: packets, frames, clips, results."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import av
import numpy as np

from headrace.stream.arrays import F32, F64, U8
from headrace.stream.picture import Picture

if TYPE_CHECKING:
    from headrace.models.spec import ModelSpec

Cause = Literal["policy", "corrupt", "reconnect", "stopped", "failed"]
"""Why a frame was dropped: a newer one came; it was damaged; it came between a connection and its first keyframe; the
stream was stopped while it was under way; a network or the drawing failed on it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Codec:
    """How to decode the packets of one opening of a source; a new opening makes a new one.

    The decode thread alone touches `context`.
    """

    name: str
    """FFmpeg's name of the codec, or "rgb" where packets carry pictures."""
    context: av.VideoCodecContext | None = None
    """The decoder, with the source's parameters set; None for "rgb"."""
    pixel_aspect: float = 1.0
    fps: float | None = None
    """What the source says its rate is; None where it does not say."""
    intra_only: bool = False
    """Every packet is a keyframe (MJPEG, raw): any of them can be dropped alone."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Packet:
    """One encoded picture, or a picture of a source that has no codec."""

    data: "av.Packet[Any] | U8"
    """A demuxed packet; or, for codec "rgb", uint8 (H, W, 3)."""
    codec: Codec
    is_keyframe: bool
    pts_s: float | None
    """Presentation time in seconds; None where the container has none."""
    arrival_ns: int
    """When it was read, on the monotonic clock."""
    epoch: int = 0
    """Raised by one at each reconnect, seek or loop: nothing that remembers spans it. Wrappers of sources raise it."""
    stream_id: str = ""
    """Filled by the capture stage."""
    seq: int = 0
    """Counts the packets of a stream from 0, over all epochs. Filled by the capture stage."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One decoded picture, not yet converted."""

    picture: Picture = field(repr=False)
    stream_id: str
    seq: int
    epoch: int
    pts_s: float
    """Presentation time in seconds; increases within an epoch."""
    arrival_ns: int
    decode_ms: float = 0.0

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) as shown, in pixels."""
        return self.picture.size


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clip:
    """Pictures and flow over a stretch of time, on a fixed grid of instants."""

    images: U8 = field(repr=False)
    """uint8 (T, H, W, 3): the instants that the spatial stream sees."""
    flows: F32 = field(repr=False)
    """float32 (L, H, W, 2): dx, dy in pixels per spacing, one between each two neighbouring instants."""
    pts_s: F64
    """float64 (L + 1,): presentation time of the frame taken for each instant."""
    stream_id: str
    epoch: int
    arrival_ns: int
    """Of the newest frame."""

    def __post_init__(self) -> None:
        if len(self.pts_s) != len(self.flows) + 1:
            raise ValueError(f"{len(self.pts_s)} instants for {len(self.flows)} flows; one more is needed")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Action:
    """What an action network says of a stretch of time."""

    model: str
    label: str
    probability: float
    start_s: float
    end_s: float
    """Presentation times of the clip's first and last instant."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result:
    """A frame and what the networks said of it."""

    frame: Frame
    mask: U8 | None = field(default=None, repr=False)
    """uint8 (h, w) class ids at the network's size, 255 = ignore; it covers the whole picture."""
    model: "ModelSpec | None" = field(default=None, repr=False)
    """What made the mask; names its classes."""
    actions: tuple[Action, ...] = ()
    """The newest scores up to this frame, the most probable first."""
    stage_ms: Mapping[str, float] = field(default_factory=dict)
    """How long each stage worked on this frame, in milliseconds."""
    drawn: U8 | None = field(default=None, repr=False)
    """uint8 (H, W, 3): the picture with everything drawn on it; None where no output wants pictures."""
    age_ms: float = 0.0
    """From arrival to the end of rendering."""
    _counted: "tuple[U8, list[int]] | None" = field(default=None, repr=False)
    """What `shares` remembers: the mask, and the number of its pixels by class id."""

    def shares(self) -> dict[str, float]:
        """The share of the mask that each class has; classes that do not occur are left out. Counted once."""
        if self.mask is None or self.model is None:
            return {}
        counted = self._counted
        # A copy with something drawn has the same mask, and takes the count along.
        if counted is None or counted[0] is not self.mask:
            counted = (self.mask, np.bincount(self.mask.ravel(), minlength=256).tolist())
            object.__setattr__(self, "_counted", counted)
        total = max(1, self.mask.size)
        return {label: n / total for label, n in zip(self.model.labels, counted[1], strict=False) if n}

    def share(self, label: str) -> float:
        """The share of the picture that a class has, 0 to 1.

        Raises:
            ValueError: the network has no such class.
        """
        known = self.model.labels if self.model else ()
        if label not in known:
            raise ValueError(f"no class {label!r}; there are: {', '.join(known) or 'none (no mask)'}")
        return self.shares().get(label, 0.0)
