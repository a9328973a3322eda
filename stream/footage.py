"""Real frames and clips of a source, spread over it, as a network is fed them: to calibrate and to compare with."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headrace.models.spec import ModelSpec
from headrace.stream.clip import ClipSampler
from headrace.stream.decode import Decoder
from headrace.stream.errors import SourceError
from headrace.stream.frame import Clip, Frame, Packet
from headrace.stream.ledger import Ledger
from headrace.stream.scene.world import CLASS_NAMES
from headrace.stream.sources import open_source
from headrace.stream.sources.address import masked
from headrace.stream.sources.base import Source

Feeds = Mapping[str, NDArray[Any]]
"""All inputs of a network by name, batch first, batch 1."""
Told = Callable[[str], None]
Cut = tuple[float, Feeds]
"""When it begins, in seconds of the source, and what is fed."""

_WHOLE_PACKETS, _WHOLE_PACKETS_FLOW = 3000, 500
"""Two minutes at 25 fps; 20 seconds where flow is computed. Of a longer recording only what follows some keyframes
is decoded."""
_ENDLESS_STEP_S = 0.25
"""Of a camera neighbouring frames are nearly the same: it is watched for so long per frame."""
_ROUNDING_S = 1e-3

_PLACES_SEED = 7000
_VIEWS, _VIEW_STEP_S = 3, 4.0
"""Frames of one place of the scene, and the time between them."""
_STORY_CLIPS, _STORY_S = 4, 6.0
_LOOKS = ("clean", "clean", "auto")
_DENSITIES = (0.7, 1.0, 1.5, 2.0)
_SCRIPTS = ("normal", "fight", "fall")


def feeds(spec: ModelSpec, source: str | None, count: int, *, told: Told = lambda line: None) -> list[Feeds]:
    """What a network is fed of a source, spread evenly over it.

    Args:
        source: what `open_source` takes: a file, a folder, a camera, an address, `scene:`. None: the scene that
            ships with the package, in several places with their own people and light.
        count: how many are wanted. A live source is read until they are there.
        told: hears where there were fewer.

    Returns:
        At most `count`; never none.

    Raises:
        ValueError: no source is called like this, `count` is below 1, or the network takes something else than
            a picture or a clip.
        SourceError: it cannot be opened or read, or is too short for a single one.
    """
    if count < 1:
        raise ValueError(f"{count} of {source or 'the scene'}: at least 1 is needed")
    _check_inputs(spec)
    name = "the bundled scene" if source is None else masked(source)
    found = _of_scene(spec, count) if source is None else _of(open_source(source), spec, count)
    things = "frames" if spec.clip is None else f"clips of {spec.clip.length_s:g} s"
    if not found:
        raise SourceError(f"{name}: too short: it gives none of the {count} {things} that are wanted")
    if len(found) < count:
        told(f"{name}: gives {len(found)} {things}; {count} were asked for")
    return found


def _check_inputs(spec: ModelSpec) -> None:
    has = {each.name: f"{each.dtype} {each.layout}" for each in spec.inputs}
    if spec.clip:
        wanted, fits = "inputs images (uint8) and flows (float32)", has.keys() <= {"images", "flows"}
    else:
        wanted, fits = "one input, the picture (uint8 BHWC)", list(has.values()) == ["uint8 BHWC"]
    if not fits:
        listed = ", ".join(f"{name} ({kind})" for name, kind in sorted(has.items()))
        raise ValueError(f"network {spec.name!r} has inputs {listed}; from video come {wanted}")


# -- the scene ---------------------------------------------------------------------------------------------------


def _of_scene(spec: ModelSpec, count: int) -> list[Feeds]:
    """A few of each of several places, so that no one place decides what the numbers are."""
    places = -(-count // (_VIEWS if spec.clip is None else _STORY_CLIPS))
    found: list[Feeds] = []
    for place in range(places):
        source = open_source(_story(place) if spec.clip else _view(place, streets=spec.labels == CLASS_NAMES))
        found += _of(source, spec, -(-(count - len(found)) // (places - place)))
    return found


def _view(place: int, *, streets: bool) -> str:
    """A place as a camera sees it every few seconds: a street, or in turn a street and a room."""
    kind = "street" if streets or place % 2 == 0 else "room"
    size, density = ("640x360", "480x360")[place % 2], _DENSITIES[place % 4]
    times = f"fps={1 / _VIEW_STEP_S:g}&seconds={_VIEWS * _VIEW_STEP_S:g}"
    return f"scene:{kind}?{_camera(place)}&size={size}&density={density}&{times}"


def _story(place: int) -> str:
    """People who do something, in a room or in a street."""
    kind, script = ("room", "street")[place % 2], _SCRIPTS[place // 2 % 3]
    return f"scene:{kind}?{_camera(place)}&size=320x240&script={script}&fps=10&seconds={_STORY_S:g}"


def _camera(place: int) -> str:
    return f"seed={_PLACES_SEED + place}&look={_LOOKS[place % 3]}&pan={place % 2}"


# -- any source --------------------------------------------------------------------------------------------------


def _of(source: Source, spec: ModelSpec, count: int) -> list[Feeds]:
    try:
        endless, starts = _surveyed(source, count, _WHOLE_PACKETS_FLOW if spec.clip else _WHOLE_PACKETS)
        step_s = _ENDLESS_STEP_S if endless else 0.0
        reading = _Reading(source, _ClipCutter(spec) if spec.clip else _FrameCutter(spec, step_s))
        if endless:
            return reading.first(count)
        return reading.spread(count) if starts is None else reading.behind(starts)
    finally:
        source.close()


def _surveyed(source: Source, count: int, whole: int) -> tuple[bool, list[int] | None]:
    """Whether a source has no end; and of a long recording the numbers of the keyframes to begin at."""
    if source.is_live:
        return True, None
    info = source.open()
    if info.codec == "rgb":  # pictures, or drawn as they are read
        return info.frames is None, None
    keyframes, packets = [], 0
    while (packet := source.read()) is not None:
        if packet.is_keyframe:
            keyframes.append(packets)
        packets += 1
    source.close()
    if packets <= whole or len(keyframes) < count:
        return False, None
    return False, [keyframes[at] for at in _spread(len(keyframes), count)]


class _Cutter(Protocol):
    """Makes what a network is fed of the frames of one stream."""

    def push(self, frame: Frame) -> list[Cut]:
        """What this frame completes."""

    def finish(self) -> list[Cut]:
        """What the end completes."""


class _FrameCutter:
    """Single frames, uint8 (1, H, W, 3) RGB at the network's size, `step_s` apart at least."""

    def __init__(self, spec: ModelSpec, step_s: float) -> None:
        self._name, self._size = spec.inputs[0].name, spec.size
        self._step_s = step_s
        self._next_s = -np.inf

    def push(self, frame: Frame) -> list[Cut]:
        if frame.pts_s < self._next_s - _ROUNDING_S:
            return []
        self._next_s = frame.pts_s + self._step_s
        return [(frame.pts_s, {self._name: np.array(frame.picture.rgb(self._size)[None])})]

    def finish(self) -> list[Cut]:
        return []


class _ClipCutter:
    """Clips as the pipeline cuts them: images uint8 (1, T, H, W, 3), flows float32 (1, L, H, W, 2)."""

    def __init__(self, spec: ModelSpec) -> None:
        assert spec.clip is not None, "a network of clips"
        self._names = tuple(each.name for each in spec.inputs)
        self._sampler = ClipSampler(spec.clip)

    def push(self, frame: Frame) -> list[Cut]:
        return [self._cut(clip) for clip in self._sampler.push(frame)]

    def finish(self) -> list[Cut]:
        return [self._cut(clip) for clip in self._sampler.finish()]

    def _cut(self, clip: Clip) -> Cut:
        arrays: dict[str, NDArray[Any]] = {"images": clip.images, "flows": clip.flows}
        return float(clip.pts_s[0]), {name: arrays[name][None] for name in self._names}


class _Reading:
    """One reading of a source from its beginning."""

    def __init__(self, source: Source, cutter: _Cutter) -> None:
        self._source = source
        self._cutter = cutter
        self._ledger = Ledger("footage")
        self._decoder = Decoder(self._ledger, lambda line: None, live=source.is_live)

    def first(self, count: int) -> list[Feeds]:
        """The first that come."""
        found: list[Feeds] = []
        for _, fed in self._all():
            found.append(fed)
            if len(found) == count:
                break
        return found

    def spread(self, count: int) -> list[Feeds]:
        """Evenly over all; how many there are shows only at the end, so every second one goes now and then."""
        kept: list[Feeds] = []
        step = 1
        for at, (_, fed) in enumerate(self._all()):
            if at % step == 0:
                kept.append(fed)
            if len(kept) > 4 * count:
                kept, step = kept[::2], 2 * step
        return [kept[at] for at in _spread(len(kept), min(count, len(kept)))]

    def behind(self, starts: Sequence[int]) -> list[Feeds]:
        """The first behind each of some keyframes; what lies between is not decoded."""
        found: list[Feeds] = []
        waiting = list(starts)
        begin_s: float | None = None
        for number, packet in self._packets():
            if begin_s is None and not waiting:
                break
            if begin_s is None and number < waiting[0]:
                continue
            if begin_s is None:
                begin_s = packet.pts_s or 0.0
            while waiting and waiting[0] <= number:
                waiting.pop(0)
            for at_s, fed in self._made_of(number, packet):
                # The decoder may have held pictures from before the gap.
                if begin_s is not None and at_s >= begin_s - _ROUNDING_S:
                    found.append(fed)
                    begin_s = None
        return found

    def _all(self) -> Iterator[Cut]:
        for number, packet in self._packets():
            yield from self._made_of(number, packet)
        for frame in self._decoder.flush():
            yield from self._cutter.push(frame)
        yield from self._cutter.finish()

    def _packets(self) -> Iterator[tuple[int, Packet]]:
        self._source.open()
        number = 0
        while (packet := self._source.read()) is not None:
            yield number, packet
            number += 1

    def _made_of(self, number: int, packet: Packet) -> Iterator[Cut]:
        self._ledger.captured(number)
        for frame in self._decoder.decode(replace(packet, seq=number, stream_id="footage")):
            self._ledger.rendered(frame.seq)
            yield from self._cutter.push(frame)


def _spread(length: int, count: int) -> list[int]:
    """`count` places in 0..length-1, evenly: the middle of each share."""
    return [int((at + 0.5) * length / count) for at in range(count)]
