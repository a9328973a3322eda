"""The host memory that the library hands out."""

from typing import Any

from tensorrt.enums import kind


class IHostMemory(bytes):  # the real one offers the buffer protocol, which Python before 3.12 lets no class add
    @property
    def nbytes(self) -> int:
        return len(self)

    @property
    def dtype(self) -> Any:
        return kind("DataType").INT8
