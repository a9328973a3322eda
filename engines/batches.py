"""Batches cut and padded to the lengths that a network was prepared for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headrace.engines.inputs import Array
from headrace.models.spec import TensorSpec


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a batch, and the prepared length that runs them."""

    start: int
    stop: int
    length: int
    """At least `stop - start`; the rows past that are padding."""


def parts(rows: int, prepared: Sequence[int]) -> list[Part]:
    """Cut a batch: the longest prepared length as often as it is filled, the rest padded to the next one up.

    Args:
        rows: of the batch, 1 or more.
        prepared: the lengths, shortest first.
    """
    longest = prepared[-1]
    found = [Part(start, start + longest, longest) for start in range(0, rows - longest + 1, longest)]
    done = len(found) * longest
    if done < rows:
        found.append(Part(done, rows, next(length for length in prepared if length >= rows - done)))
    return found


def batch_axis(spec: TensorSpec) -> int | None:
    """Where the rows of a tensor lie: the axis whose length is free; None where all are fixed."""
    return next((at for at, length in enumerate(spec.shape) if length is None), None)


def fed_batch(inputs: Sequence[TensorSpec]) -> int | None:
    """The batch that a network is fed: None where its length is free, 1 where nothing has such an axis."""
    return next((each.shape[0] for each in inputs if each.layout.startswith("B")), 1)


def shape_for(spec: TensorSpec, length: int) -> tuple[int, ...]:
    """A tensor's shape in a batch of that length."""
    return tuple(length if each is None else each for each in spec.shape)


def fill(memory: Array, fed: Array, axis: int | None, part: Part) -> None:
    """Write a part's rows into the memory of its prepared length; the padding is zeros."""
    if axis is None:
        np.copyto(memory, fed)
        return
    count = part.stop - part.start
    np.copyto(_rows(memory, axis, 0, count), _rows(fed, axis, part.start, part.stop))
    _rows(memory, axis, count, part.length)[...] = 0


def take(memory: Array, axis: int | None, part: Part) -> Array:
    """A part's rows as an array of their own: without the padding, and without the memory behind it."""
    return (memory if axis is None else _rows(memory, axis, 0, part.stop - part.start)).copy()


def join(pieces: Sequence[Array], axis: int | None) -> Array:
    """The rows of all parts, in order; a tensor without rows is that of the last part."""
    return pieces[-1] if axis is None or len(pieces) == 1 else np.concatenate(pieces, axis)


def _rows(array: Array, axis: int, start: int, stop: int) -> Array:
    return array[(slice(None),) * axis + (slice(start, stop),)]
