"""Packets to frames: decoding, time stamps that increase, and nothing shown that is damaged."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import av
import numpy as np
from av.codec.context import Flags, ThreadType

from headrace.stream.errors import SourceError
from headrace.stream.frame import Cause, Codec, Frame, Packet
from headrace.stream.ledger import Ledger
from headrace.stream.picture import DecodedPicture, Picture, RgbPicture, Rotation

_FALLBACK_FPS = 25.0
_JUMP_BACK_S = 1.0
_JOIN_LIMIT = 600
"""Packets without a keyframe after which decoding starts all the same: some encoders refresh without any."""
_DAMAGE = (av.error.InvalidDataError, av.error.ArgumentError, av.error.EOFError)
_REORDER_LIMIT = 64
"""More packets than any decoder holds back; what is older has been swallowed."""

Notice = Callable[[str], None]


class Decoder:
    """One stream's decoder. It keeps the books: each packet becomes a frame or is dropped with its cause.

    Args:
        ledger: the stream's books.
        notice: called once for each kind of oddity, with a line for people.
        live: what counts is the age of the picture, not how many are decoded a second.
    """

    def __init__(self, ledger: Ledger, notice: Notice, *, live: bool) -> None:
        self._ledger = ledger
        self._live = live
        self._notice = notice
        self._noticed: set[str] = set()
        self._codec: Codec | None = None
        self._pending: dict[int, Packet] = {}
        self._in_hand: Packet | None = None
        """What waits until the pictures of the codec before it are out."""
        self._joined = False
        self._broken = False
        self._skipped = 0
        self._by_dts = False
        self._epoch = 0
        self._extra_epochs = 0
        self._last_pts_s: float | None = None
        self._spent_ns = 0

    def decode(self, packet: Packet) -> Iterator[Frame]:
        """The frames that a packet completes, oldest first: none, one or more."""
        started = time.perf_counter_ns()
        if packet.codec is not self._codec:
            self._in_hand = packet
            yield from self.flush()
            self._in_hand = None
            self._begin(packet.codec)
        if isinstance(packet.data, np.ndarray):
            self._pending[packet.seq] = packet
            picture = RgbPicture(packet.data)
            self._spent_ns = time.perf_counter_ns() - started
            yield self._frame(self._pending.pop(packet.seq), picture, packet.pts_s)
            return
        if not self._may_join(packet):
            self._drop(packet.seq, "reconnect")
            return
        if packet.data.is_corrupt:
            # FFmpeg shows H.264 pictures that refer to lost ones as if nothing were wrong with them.
            self._damaged("pictures were lost on the way: skipped to the next keyframe")
        self._pending[packet.seq] = packet
        packet.data.opaque = (packet.seq, packet.arrival_ns)
        decoded = self._decode(packet.data)
        self._spent_ns = time.perf_counter_ns() - started
        yield from self._frames(decoded)
        for seq in [seq for seq in self._pending if seq < packet.seq - _REORDER_LIMIT]:
            self._drop(seq, "corrupt")

    def flush(self) -> Iterator[Frame]:
        """What the decoder still holds; packets that never became a picture are dropped as corrupt."""
        if self._codec is not None and self._codec.context is not None:
            yield from self._frames(self._decode(None))
        for seq in list(self._pending):
            self._drop(seq, "corrupt")

    def check_yield(self, source: str) -> None:
        """At the end of a stream: packets that gave no picture at all are a failure.

        Raises:
            SourceError: there was not one picture.
        """
        if self._codec is None:
            raise SourceError(f"{source}: holds no picture")
        if self._last_pts_s is None:
            raise SourceError(
                f"{source}: not one of its packets gives a picture that is whole ({self._codec.name}):"
                " the data is damaged, or its keyframes are missing"
            )

    def abandon(self, cause: Cause) -> None:
        """The stream is stopped, or has failed: what is still inside is given up."""
        in_hand = [] if self._in_hand is None else [self._in_hand.seq]
        for seq in [*self._pending, *in_hand]:
            self._drop(seq, cause)
        self._in_hand = None

    def _begin(self, codec: Codec) -> None:
        self._codec = codec
        self._joined = False
        self._broken = False
        self._skipped = 0
        self._by_dts = False
        if codec.context is not None:
            # FFmpeg hands what we attach to a packet through to the picture it becomes.
            codec.context.flags |= Flags.copy_opaque
            # Frame threads decode ahead, which delays each picture by one per thread.
            codec.context.thread_type = ThreadType.SLICE if self._live else ThreadType.AUTO
            if codec.name == "hevc":
                # Otherwise its decoder fills what is damaged or missing with grey, and tells nobody.
                codec.context.options = {**codec.context.options, "err_detect": "explode"}

    def _may_join(self, packet: Packet) -> bool:
        if not self._joined:
            self._skipped += 1
            self._joined = packet.is_keyframe or self._skipped > _JOIN_LIMIT
        return self._joined

    def _decode(self, data: "av.Packet[Any] | None") -> list[av.VideoFrame]:
        assert self._codec is not None, "a packet has come"
        assert self._codec.context is not None, "packets of codec rgb are not decoded"
        try:
            return self._codec.context.decode(data)
        except av.error.FFmpegError as error:
            # A live stream goes on whatever it is: damaged parameters give errors that a file has for good.
            if not self._live and not isinstance(error, _DAMAGE):
                raise SourceError(f"cannot decode {self._codec.name}: {error.strerror}") from error
            if data is not None:
                # Which packet it was is not told, and its picture may come all the same: the next keyframe clears up.
                self._damaged(f"damaged data ({error.strerror}): skipped to the next keyframe")
            return []

    def _damaged(self, text: str) -> None:
        self._broken = True
        self._once("damaged", text)

    def _frames(self, decoded: Iterable[av.VideoFrame]) -> Iterator[Frame]:
        for planes in decoded:
            made_from, arrival_ns = cast("tuple[int, int] | None", planes.opaque) or (None, None)
            if planes.key_frame and made_from is not None:
                self._clear_up(made_from)
            packet = self._oldest_pending()
            if planes.is_corrupt:
                self._damaged("damaged pictures: skipped to the next keyframe")
            elif planes.key_frame:
                self._broken = False
            if self._broken and packet is not None:
                self._ledger.dropped(packet.seq, "corrupt")
            elif packet is not None:
                assert self._codec is not None, "it gave this picture"
                picture = DecodedPicture(
                    planes,
                    rotation=cast(Rotation, planes.rotation % 360 // 90 * 90),
                    pixel_aspect=self._codec.pixel_aspect,
                )
                yield self._frame(packet, picture, self._shown_at_s(planes, packet), arrival_ns)

    def _clear_up(self, keyframe: int) -> None:
        """A keyframe's picture has come: what was sent before it and gave no picture never will."""
        for seq in [seq for seq in self._pending if seq < keyframe]:
            self._drop(seq, "corrupt")

    def _oldest_pending(self) -> Packet | None:
        """The packet that a picture stands for in the books: the oldest, so that numbers follow the display."""
        if not self._pending:
            self._once("extra", "one packet held several pictures: only the first is shown")
            return None
        return self._pending.pop(next(iter(self._pending)))

    def _frame(self, packet: Packet, picture: Picture, pts_s: float | None, arrival_ns: int | None = None) -> Frame:
        return Frame(
            picture=picture,
            stream_id=packet.stream_id,
            seq=packet.seq,
            pts_s=self._increasing(pts_s, packet),
            epoch=packet.epoch + self._extra_epochs,
            arrival_ns=packet.arrival_ns if arrival_ns is None else arrival_ns,
            decode_ms=self._spent_ns / 1e6,
        )

    def _shown_at_s(self, planes: av.VideoFrame, packet: Packet) -> float | None:
        """When the picture is to be shown. Old AVI files number B-frames wrongly: there the decoding time is right."""
        base = planes.time_base or cast("av.Packet[Any]", packet.data).time_base
        at_s = packet.pts_s if planes.pts is None or not base else float(planes.pts * base)
        if planes.dts is None or not base:
            return at_s
        if at_s is not None and self._last_pts_s is not None and packet.epoch == self._epoch:
            self._by_dts = self._by_dts or self._last_pts_s - _JUMP_BACK_S <= at_s <= self._last_pts_s
        return float(planes.dts * base) if self._by_dts else at_s

    def _increasing(self, pts_s: float | None, packet: Packet) -> float:
        if packet.epoch != self._epoch:
            self._epoch, self._last_pts_s = packet.epoch, None
        last = self._last_pts_s
        step = 1.0 / ((self._codec and self._codec.fps) or _FALLBACK_FPS)
        if pts_s is None:
            self._once("pts", f"frames without a time stamp: counted at {1 / step:g} fps")
            pts_s = 0.0 if last is None else last + step
        elif last is not None and pts_s <= last:
            if pts_s < last - _JUMP_BACK_S:
                self._extra_epochs += 1
                self._once("jump", f"time stamps jump back from {last:.3f} s to {pts_s:.3f} s: a new epoch begins")
            else:
                self._once("order", "time stamps that do not increase: moved up by the least step")
                pts_s = last + min(step, 1e-3)
        self._last_pts_s = pts_s
        return pts_s

    def _drop(self, seq: int, cause: Cause) -> None:
        self._pending.pop(seq, None)
        self._ledger.dropped(seq, cause)

    def _once(self, kind: str, text: str) -> None:
        if kind not in self._noticed:
            self._noticed.add(kind)
            self._notice(text)
