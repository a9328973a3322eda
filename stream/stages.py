"""What each thread of a stream does: capture, decode, cut clips, render. Each is one loop over one channel."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace

from headrace.models.spec import ClipSpec
from headrace.stream.channel import Channel, ChannelClosed
from headrace.stream.clip import ClipSampler
from headrace.stream.decode import Decoder
from headrace.stream.errors import SourceError
from headrace.stream.frame import Clip, Frame, Packet, Result
from headrace.stream.overlay import draw
from headrace.stream.path import StreamPath

CutClip = tuple[StreamPath, int, Clip]
"""A clip, the stream it is of, and the number of the frame that completed it."""

_INTRA_WAITING = 2
"""Live packets that wait for the decoder where each of them can be dropped alone."""
_BEHIND_NS = 500_000_000
"""A decoder that is further behind a live stream does not catch up. A burst at the start arrives all at once."""


def capture(path: StreamPath) -> None:
    """Read the source into the packets channel until it ends, fails or is stopped."""
    try:
        path.source.open()
        _read_all(path)
    except (SourceError, OSError, ValueError) as error:
        # The world's failures end this stream alone. What fails because it was stopped has not failed.
        if not path.stop.is_set():
            path.failure = error
    except ChannelClosed:
        pass
    finally:
        path.source.close()
        path.packets.close()


def _read_all(path: StreamPath) -> None:
    seq = 0
    skipping = False
    while (packet := path.source.read()) is not None and not path.stop.is_set():
        packet = replace(packet, stream_id=path.stream_id, seq=seq)
        seq += 1
        path.ledger.captured(packet.seq)
        path.meters.capture.tick()
        # Live, the camera does not wait. One lost packet spoils every picture up to the next keyframe: lose them all.
        if not path.every:
            skipping = _make_room(path, packet) or (skipping and not packet.is_keyframe)
            if skipping:
                path.ledger.dropped(packet.seq, "policy")
                continue
        path.packets.put(packet)


def _make_room(path: StreamPath, packet: Packet) -> bool:
    """Where the decoder falls behind, give up what waits for it, or the age of the picture would stay for good.

    Returns:
        Whether this packet is given up too.
    """
    packets = path.packets
    if packet.codec.intra_only:
        while packets.stats().depth >= _INTRA_WAITING and (waiting := packets.take()) is not None:
            path.ledger.dropped(waiting.seq, "policy")
        return False
    oldest = packets.head()
    late = oldest is not None and packet.arrival_ns - oldest.arrival_ns > _BEHIND_NS
    if not late and packets.stats().depth < packets.stats().capacity:
        return False
    while (waiting := packets.take()) is not None:
        path.ledger.dropped(waiting.seq, "policy")
    return not packet.is_keyframe


def decode(path: StreamPath) -> None:
    """Packets to frames, for the networks and for the clips."""
    decoder = Decoder(path.ledger, lambda text: path.tell("notice", "decode", text), live=not path.every)
    try:
        for packet in path.packets:
            for frame in decoder.decode(packet):
                _pass_on(path, frame)
        if not path.stop.is_set():
            for frame in decoder.flush():
                _pass_on(path, frame)
            decoder.check_yield(path.source.name)
    except SourceError as error:
        path.failure = path.failure or error
        decoder.abandon("failed")
    except ChannelClosed:
        pass
    finally:
        decoder.abandon("stopped")
        path.frames.inbox.close()
        if path.motion is not None:
            path.motion.close()


def _pass_on(path: StreamPath, frame: Frame) -> None:
    path.meters.stage("decode", frame.decode_ms)
    # The clips come first: a renderer that waits for their scores must never wait for a frame that is not there yet.
    if path.motion is not None:
        with contextlib.suppress(ChannelClosed):
            path.motion.put(frame)
    path.frames.inbox.put(frame)


def cut_clips(path: StreamPath, spec: ClipSpec, clips: Channel[CutClip]) -> None:
    """Frames to clips, with the flow between their pictures."""
    assert path.motion is not None, "there is an action network"
    sampler = ClipSampler(spec)
    seen = found = 0
    try:
        for frame in path.motion:
            started = time.perf_counter()
            cut = sampler.push(frame)
            path.meters.stage("motion", (time.perf_counter() - started) * 1e3)
            path.board.looked_at(frame.seq, len(cut))
            seen, found = seen + 1, found + len(cut)
            for clip in cut:
                # Live, a clip that the network has no time for is given up: the next one is half a second away.
                clips.put((path, frame.seq, clip), timeout_s=None if path.every else 0.0)
        if seen and not found and not path.stop.is_set():
            path.tell("notice", "motion", f"shorter than a clip of {spec.length_s:g} s: no action was looked for")
    except ChannelClosed:
        path.board.end()
    finally:
        path.motion.close()
        path.board.looked_at_all()


def render(
    path: StreamPath,
    *,
    with_actions: bool,
    draws: bool,
    deliver: Callable[[StreamPath, Result], None],
    enough: Callable[[StreamPath, Frame], bool],
) -> None:
    """Results in order: actions put to them, drawn where an output wants pictures, counted, handed to the outputs.

    Args:
        deliver: hands something to every output.
        enough: whether the stream ends with this frame.
    """
    for result in path.frames:
        frame = result.frame
        if with_actions:
            board = path.board
            actions = board.at(frame.seq, frame.epoch) if path.every else board.newest(frame.epoch)
            result = replace(result, actions=actions)
        started = time.perf_counter()
        try:
            drawn = draw(result, _figures(path)) if draws else None
        except BaseException:
            path.ledger.dropped(frame.seq, "failed")
            raise
        render_ms = (time.perf_counter() - started) * 1e3
        age_ms = (time.monotonic_ns() - frame.arrival_ns) / 1e6
        stage_ms = {**result.stage_ms, "render": render_ms}
        _count(path, frame, render_ms, age_ms)
        deliver(path, replace(result, drawn=drawn, stage_ms=stage_ms, age_ms=age_ms))
        if enough(path, frame):
            path.end()


def _count(path: StreamPath, frame: Frame, render_ms: float, age_ms: float) -> None:
    path.ledger.rendered(frame.seq)
    path.epoch_seen(frame.epoch)
    path.meters.stage("render", render_ms)
    path.meters.age.add(age_ms)
    path.meters.recent_age.add(age_ms)
    path.meters.render.tick()


def _figures(path: StreamPath) -> str:
    """The discreet line of live figures; a file that is not played live has no age worth telling."""
    parts = [f"{path.meters.render.recent_fps:.0f} fps"]
    if not path.every:
        parts.append(f"{path.meters.recent_age.percentiles().p50:.0f} ms")
        parts.append(f"{sum(path.ledger.entry().dropped.values())} dropped")
    return "   ".join(parts)
