"""Values that cross the border: shapes, and the host memory that the library hands out."""

from collections.abc import Iterable
from typing import Any, NoReturn

from tensorrt.enums import kind


class Dims:
    """A shape: no tuple, though equal to one; not hashable."""

    MAX_DIMS = 8
    __hash__ = None  # type: ignore[assignment]
    __slots__ = ("__weakref__", "_lengths")

    def __init__(self, shape: Iterable[int] = ()) -> None:
        self._lengths = [int(length) for length in shape]
        if len(self._lengths) > self.MAX_DIMS:
            raise ValueError("Input length is greater than 8")

    def __len__(self) -> int:
        return len(self._lengths)

    def __getitem__(self, at: Any) -> Any:
        return tuple(self._lengths[at]) if isinstance(at, slice) else self._lengths[at]

    def __setitem__(self, at: Any, length: Any) -> None:
        self._lengths[at] = length

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dims | tuple | list) and tuple(self) == tuple(other)

    def __str__(self) -> str:
        return str(tuple(self))

    __repr__ = __str__


def _no_sequence(*_: Any) -> NoReturn:
    raise TypeError("IHostMemory is a buffer, and no sequence: take bytes() or memoryview() of it")


class IHostMemory(bytes):
    """The real one has the buffer protocol and nothing else; before Python 3.12 a class gets it from bytes only."""

    __len__ = __getitem__ = __iter__ = __add__ = __contains__ = _no_sequence  # type: ignore[assignment]

    @property
    def nbytes(self) -> int:
        return memoryview(self).nbytes

    @property
    def dtype(self) -> Any:
        return kind("DataType").INT8
