"""Cutting, padding and joining of batches."""

import numpy as np
import pytest

from headrace.engines.batches import Part, batch_axis, fed_batch, fill, join, parts, shape_for, take
from headrace.models.spec import TensorSpec

MASK = TensorSpec(name="mask", shape=(None, 2, 3), dtype="uint8", layout="BHW")
HIDDEN = TensorSpec(name="hidden", shape=(2, None, 3), dtype="float32", layout="?B?")
TABLE = TensorSpec(name="table", shape=(2, 3), dtype="float32", layout="??")


@pytest.mark.parametrize(
    ("rows", "want"),
    [
        (1, [Part(0, 1, 1)]),
        (3, [Part(0, 3, 4)]),
        (4, [Part(0, 4, 4)]),
        (5, [Part(0, 4, 4), Part(4, 5, 1)]),
        (11, [Part(0, 4, 4), Part(4, 8, 4), Part(8, 11, 4)]),
    ],
)
def test_the_longest_first_and_the_rest_padded_up(rows: int, want: list[Part]) -> None:
    assert parts(rows, (1, 2, 4)) == want


def test_every_row_is_run_once_and_in_order() -> None:
    for prepared in ((1,), (3,), (1, 2, 4, 8), (2, 5)):
        for rows in range(1, 30):
            cut = parts(rows, prepared)
            assert [row for part in cut for row in range(part.start, part.stop)] == list(range(rows))
            assert all(part.length in prepared and part.length >= part.stop - part.start for part in cut)


def test_the_rows_lie_along_the_free_axis() -> None:
    assert [batch_axis(each) for each in (MASK, HIDDEN, TABLE)] == [0, 1, None]
    assert [shape_for(each, 4) for each in (MASK, HIDDEN, TABLE)] == [(4, 2, 3), (2, 4, 3), (2, 3)]


@pytest.mark.parametrize("spec", [MASK, HIDDEN])
def test_what_is_filled_is_what_is_taken(spec: TensorSpec) -> None:
    axis = batch_axis(spec)
    fed = np.random.default_rng(0).integers(1, 100, shape_for(spec, 7)).astype(spec.dtype)
    pieces = []
    for part in parts(7, (1, 4)):
        memory = np.full(shape_for(spec, part.length), 200, spec.dtype)
        fill(memory, fed, axis, part)
        assert (memory == 0).sum() == fed.size // 7 * (part.length - part.stop + part.start)
        pieces.append(take(memory, axis, part))
        assert not np.shares_memory(pieces[-1], memory)
        memory[...] = 0
    np.testing.assert_array_equal(join(pieces, axis), fed)


def test_a_tensor_without_rows_passes_whole() -> None:
    fed = np.arange(6, dtype=np.float32).reshape(2, 3)
    memory = np.zeros((2, 3), np.float32)
    fill(memory, fed, None, Part(0, 1, 4))
    got = join([take(memory, None, Part(0, 1, 4))] * 2, None)
    np.testing.assert_array_equal(got, fed)


def test_the_batch_that_is_fed_is_free_or_fixed_or_one() -> None:
    clip = TensorSpec(name="clip", shape=(4, 8, 2), dtype="uint8", layout="BTC")
    assert [fed_batch([each]) for each in (MASK, clip, TABLE)] == [None, 4, 1]
    assert fed_batch([TABLE, clip]) == 4
