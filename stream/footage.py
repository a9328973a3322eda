"""Real frames and clips of a source, spread over it, as a network is fed them: to calibrate and to compare with."""

from collections.abc import Callable, Iterator, Mapping, Sequence
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

_WHOLE_PACKETS = 3000
"""Two minutes at 25 fps. Of a longer recording only the surroundings of some keyframes are decoded."""
_LIVE_STEP_S = 0.25
"""A camera is looked at for so long per frame: neighbouring frames are nearly the same."""
_SCENE_STEP_S = 4.0
_SCENE_FIRST_SEED = 7000
"""Away from the seeds that training and evaluation use."""
_LOOKS = ("clean", "clean", "auto")
_DENSITIES = (0.7, 1.0, 1.5, 2.0)
_SCRIPTS = ("normal", "fight", "fall")
_STORY_S = 6.0


class Cutter(Protocol):
    """Makes what a network is fed of the frames of one stream."""

    def push(self, frame: Frame) -> list[tuple[float, Feeds]]:
        """What this frame completes, each with the time at which it begins, in seconds of the source."""


class FrameCutter:
    """Single frames, at the network's size.

    Args:
        step_s: the least time between two of them.
    """

    def __init__(self, spec: ModelSpec, *, step_s: float = 0.0) -> None:
        self._name, self._size = spec.inputs[0].name, spec.size
        self._step_s = step_s
        self._next_s = -np.inf

    def push(self, frame: Frame) -> list[tuple[float, Feeds]]:
        """The frame, uint8 (1, H, W, 3) RGB."""
        if frame.pts_s < self._next_s:
            return []
        self._next_s = frame.pts_s + self._step_s
        # Later frames may come in the same memory; what is kept is a copy.
        return [(frame.pts_s, {self._name: np.array(frame.picture.rgb(self._size)[None])})]


class ClipCutter:
    """Clips with their pictures and flow, cut as the pipeline cuts them."""

    def __init__(self, spec: ModelSpec) -> None:
        assert spec.clip is not None, "only networks of clips"
        self._names = tuple(each.name for each in spec.inputs)
        self._sampler = ClipSampler(spec.clip)

    def push(self, frame: Frame) -> list[tuple[float, Feeds]]:
        """images uint8 (1, T, H, W, 3) and flows float32 (1, L, H, W, 2), those that the network takes."""
        return [(float(clip.pts_s[0]), self._fed(clip)) for clip in self._sampler.push(frame)]

    def _fed(self, clip: Clip) -> Feeds:
        arrays = {"images": clip.images, "flows": clip.flows}
        return {name: arrays[name][None] for name in self._names}


def feeds(spec: ModelSpec, source: str | None, count: int, *, told: Told = lambda line: None) -> list[Feeds]:
    """What a network is fed of a source, spread evenly over it.

    Args:
        source: what `open_source` takes: a file, a folder, a camera, an address, `scene:`. None: the scene that
            ships with the package, as several places with their own people and light.
        count: how many are wanted. A live source is read until they are there.
        told: hears where there were fewer.

    Returns:
        At most `count`; never none.

    Raises:
        ValueError: no source is called like this, or `count` is below 1.
        SourceError: it cannot be opened or read, or is too short for a single one; the message says how short.
    """
    if count < 1:
        raise ValueError(f"{count} frames of {source or 'the scene'}: at least 1 is needed")
    found = _of_the_scene(spec, count) if source is None else _of(open_source(source), spec, count)
    name = "the bundled scene" if source is None else masked(source)
    if not found:
        raise SourceError(f"{name}: {_too_short(spec)}; give a longer recording")
    if len(found) < count:
        told(f"{name}: gives {len(found)} {_things(spec)}; {count} were asked for")
    return found


def _of_the_scene(spec: ModelSpec, count: int) -> list[Feeds]:
    """A few of each of several places, so that no one street decides what the numbers are."""
    each = 3 if spec.clip is None else 4
    places = -(-count // each)
    found: list[Feeds] = []
    for place, url in enumerate(_scenes(spec, places, each)):
        found += _of(open_source(url), spec, (count - len(found)) // (places - place) or 1)
    return found[:count]


def _scenes(spec: ModelSpec, places: int, views: int) -> Iterator[str]:
    for place in range(places):
        seed = _SCENE_FIRST_SEED + place
        common = f"seed={seed}&look={_LOOKS[place % 3]}&pan={place % 2}"
        if spec.clip is not None:
            kind, script = ("room", "street")[place % 2], _SCRIPTS[place // 2 % 3]
            yield f"scene:{kind}?{common}&fps=10&seconds={_STORY_S:g}&size=320x240&script={script}"
            continue
        # A network of streets knows no rooms.
        kind = "street" if spec.labels == CLASS_NAMES or place % 2 == 0 else "room"
        size, density = ("640x360", "480x360")[place % 2], _DENSITIES[place % 4]
        shape = f"size={size}&density={density}"
        yield f"scene:{kind}?{common}&{shape}&fps={1 / _SCENE_STEP_S:g}&seconds={views * _SCENE_STEP_S:g}"


def _of(source: Source, spec: ModelSpec, count: int) -> list[Feeds]:
    cutter: Cutter = (
        ClipCutter(spec) if spec.clip else FrameCutter(spec, step_s=_LIVE_STEP_S if source.is_live else 0)
    )
    endless = source.is_live or _is_endless(source)
    starts = None if endless else _starts(source, count)
    reading = _Reading(source, cutter)
    try:
        if endless:
            return reading.first(count)
        return reading.spread(count) if starts is None else reading.near(starts)
    finally:
        source.close()


def _is_endless(source: Source) -> bool:
    try:
        return source.open().frames is None and not source.is_live and _draws(source)
    finally:
        source.close()


def _draws(source: Source) -> bool:
    return getattr(source, "world", None) is not None


def _starts(source: Source, count: int) -> list[int] | None:
    """Of a long recording: the numbers of the keyframes to begin at. None: decode it whole."""
    try:
        source.open()
        keyframes, packets = [], 0
        while (packet := source.read()) is not None:
            if isinstance(packet.data, np.ndarray):
                return None  # nothing to decode
            if packet.is_keyframe:
                keyframes.append(packets)
            packets += 1
    finally:
        source.close()
    if packets <= _WHOLE_PACKETS or len(keyframes) < count:
        return None
    return [keyframes[at] for at in _spread(len(keyframes), count)]


class _Reading:
    """One reading of a source from its beginning."""

    def __init__(self, source: Source, cutter: Cutter) -> None:
        self._source = source
        self._cutter = cutter
        self._ledger = Ledger("footage")
        self._decoder = Decoder(self._ledger, lambda line: None, live=source.is_live)

    def first(self, count: int) -> list[Feeds]:
        """The first that come: a live source has no end to spread them to."""
        found: list[Feeds] = []
        for _, fed in self._items():
            found.append(fed)
            if len(found) == count:
                break
        return found

    def spread(self, count: int) -> list[Feeds]:
        """Evenly over all; how many there are shows only at the end."""
        kept: list[Feeds] = []
        step = 1
        for at, (_, fed) in enumerate(self._items()):
            if at % step == 0:
                kept.append(fed)
            if len(kept) > 4 * count:
                kept, step = kept[::2], 2 * step
        return [kept[at] for at in _spread(len(kept), min(count, len(kept)))]

    def near(self, starts: Sequence[int]) -> list[Feeds]:
        """One behind each of some keyframes; what lies between is not decoded."""
        found: list[Feeds] = []
        waiting = list(starts)
        begin_s: float | None = None
        for number, packet in enumerate(self._packets()):
            if begin_s is None and (not waiting or number < waiting[0]):
                continue
            if begin_s is None:
                begin_s = packet.pts_s or 0.0
                while waiting and waiting[0] <= number:
                    waiting.pop(0)
            for at_s, fed in self._made_of(packet, number):
                # The decoder may still have held pictures from before the gap.
                if begin_s is not None and at_s >= begin_s - 1e-3:
                    found.append(fed)
                    begin_s = None
        return found

    def _items(self) -> Iterator[tuple[float, Feeds]]:
        for number, packet in enumerate(self._packets()):
            yield from self._made_of(packet, number)
        for frame in self._decoder.flush():
            yield from self._cutter.push(frame)

    def _packets(self) -> Iterator[Packet]:
        self._source.open()
        while (packet := self._source.read()) is not None:
            yield packet

    def _made_of(self, packet: Packet, number: int) -> Iterator[tuple[float, Feeds]]:
        from dataclasses import replace

        self._ledger.captured(number)
        for frame in self._decoder.decode(replace(packet, seq=number, stream_id="footage")):
            yield from self._cutter.push(frame)


def _spread(length: int, count: int) -> list[int]:
    """`count` places in 0..length-1, evenly, the middle of each share."""
    return [int((at + 0.5) * length / count) for at in range(count)]


def _things(spec: ModelSpec) -> str:
    return "frames" if spec.clip is None else f"clips of {spec.clip.length_s:g} s"


def _too_short(spec: ModelSpec) -> str:
    return "holds no picture" if spec.clip is None else f"shorter than one clip of {spec.clip.length_s:g} s"
