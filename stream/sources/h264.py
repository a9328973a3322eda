"""Pictures that are missing from H.264, found by the numbers that they carry.

A picture that a network lost as a whole leaves no trace that FFmpeg would report: it shows the following ones built on
the wrong picture, with ghosts, up to the next keyframe. (With H.265 it leaves them out.)
"""

import re
from dataclasses import dataclass

_START = re.compile(rb"\x00\x00\x01")
_SLICE, _IDR_SLICE, _SPS, _PPS = 1, 5, 7, 8
_HIGH_PROFILES = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244})
_HEAD_BYTES = 48
"""As much of a slice as its number may need."""


@dataclass(frozen=True, slots=True)
class _Sequence:
    """What a sequence parameter set says of picture numbers."""

    number_bits: int
    gaps_allowed: bool
    separate_planes: bool


class PictureNumbers:
    """Follows `frame_num` from picture to picture (ITU-T H.264, 7.4.3)."""

    def __init__(self) -> None:
        self._sequences: dict[int, _Sequence] = {}
        self._sequence_of: dict[int, int] = {}
        self._last_reference: int | None = None

    def is_missing_before(self, data: bytes | memoryview) -> bool:
        """Whether a picture that others build on is missing between the last call's and this one.

        Args:
            data: one access unit with start codes (Annex B), or the stream's header; no more than the heads of its
                units is copied.
        """
        if not bytes(data[:4]).startswith((b"\x00\x00\x01", b"\x00\x00\x00\x01")):
            return False
        for start in _START.finditer(data):
            at = start.end()
            kind = data[at] & 31 if at < len(data) else 0
            if kind in (_SLICE, _IDR_SLICE):
                return self._follow(bytes(data[at : at + _HEAD_BYTES]))
            if kind in (_SPS, _PPS):
                end = _START.search(data, at)
                unit = bytes(data[at : end.start() if end else len(data)])
                try:
                    self._learn(kind, unit)
                except EOFError:
                    continue  # cut off: the decoder will say so
        return False

    def _learn(self, kind: int, unit: bytes) -> None:
        bits = _Bits(unit[1:])
        if kind == _SPS:
            number, sequence = _read_sequence(bits)
            self._sequences[number] = sequence
        else:
            picture_set = bits.unsigned()
            self._sequence_of[picture_set] = bits.unsigned()

    def _follow(self, head: bytes) -> bool:
        bits = _Bits(head[1:])
        try:
            bits.unsigned()  # first macroblock
            bits.unsigned()  # kind of slice
            sequence = self._sequences.get(self._sequence_of.get(bits.unsigned(), -1))
            if sequence is None:
                return False
            bits.read(2 if sequence.separate_planes else 0)
            number = bits.read(sequence.number_bits)
        except EOFError:
            return False
        last, numbers = self._last_reference, 1 << sequence.number_bits
        # A picture that no other builds on counts on from the last one that others do.
        self._last_reference = number if head[0] & 0x60 else (number - 1) % numbers
        if head[0] & 31 == _IDR_SLICE or last is None or sequence.gaps_allowed:
            return False
        # The same number again is the second field of one frame.
        return number not in (last, (last + 1) % numbers)


class _Bits:
    """Reads the bits of a unit; the bytes that only keep start codes out of it are left out."""

    def __init__(self, unit: bytes) -> None:
        plain = unit.replace(b"\x00\x00\x03", b"\x00\x00")
        self._value, self._left = int.from_bytes(plain, "big"), 8 * len(plain)

    def read(self, count: int) -> int:
        """So many bits, the highest first."""
        self._left -= count
        if self._left < 0:
            raise EOFError
        return self._value >> self._left & ((1 << count) - 1)

    def unsigned(self) -> int:
        """An Exp-Golomb code."""
        zeros = 0
        while self.read(1) == 0:
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)

    def signed(self) -> int:
        """An Exp-Golomb code with a sign."""
        code = self.unsigned()
        return (code + 1) // 2 if code % 2 else -(code // 2)


def _read_sequence(bits: _Bits) -> tuple[int, _Sequence]:
    profile = bits.read(8)
    bits.read(16)
    number, separate_planes = bits.unsigned(), False
    if profile in _HIGH_PROFILES:
        chroma = bits.unsigned()
        separate_planes = chroma == 3 and bits.read(1) == 1
        bits.unsigned()
        bits.unsigned()
        bits.read(1)
        if bits.read(1):
            _skip_scaling(bits, lists=12 if chroma == 3 else 8)
    number_bits = bits.unsigned() + 4
    order = bits.unsigned()
    if order == 0:
        bits.unsigned()
    elif order == 1:
        bits.read(1)
        bits.signed()
        bits.signed()
        for _ in range(bits.unsigned()):
            bits.signed()
    bits.unsigned()
    return number, _Sequence(number_bits, bits.read(1) == 1, separate_planes)


def _skip_scaling(bits: _Bits, *, lists: int) -> None:
    for at in range(lists):
        if bits.read(1) == 0:
            continue
        last = following = 8
        for _ in range(16 if at < 6 else 64):
            if following:
                following = (last + bits.signed()) % 256
            last = following or last
