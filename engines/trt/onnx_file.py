"""A network's ONNX file as a build needs it: its digest, its bytes with all weights, the precision that it is in."""

from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

from headrace.engines.base import Precision
from headrace.engines.errors import BuildError, MissingBackendError
from headrace.engines.nvidia import INSTALL
from headrace.engines.store import digest
from headrace.models.errors import BadGraphError, UnsupportedGraphError

_QUANTIZED = frozenset({"QuantizeLinear", "DequantizeLinear"})
_FLOATS: dict[int, Precision] = {1: "fp32", 10: "fp16", 16: "bf16"}
"""By ONNX's number of the type."""


class OnnxFile:
    """An ONNX file that is read when it is asked for.

    Raises:
        BuildError: there is no such file, or (from each property) it is no ONNX network.
        MissingBackendError: onnx is not installed.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise BuildError(f"{path}: no such file")
        self.path = path
        self._model: Any = None

    @property
    def digest(self) -> str:
        """sha256 of the file, and of those beside it that hold weights."""
        digests = [digest(self.path), *(digest(each) for each in self._data_files())]
        return digests[0] if len(digests) == 1 else sha256("".join(digests).encode()).hexdigest()

    @property
    def precision(self) -> Precision:
        """What the layers compute in: the file decides, TensorRT takes its types as they are."""
        graph = self._loaded().graph
        if any(node.op_type in _QUANTIZED for node in graph.node):
            return "int8"
        sizes: Counter[int] = Counter()
        for tensor in _weights(graph):
            if tensor.data_type in _FLOATS:
                sizes[tensor.data_type] += _length(tensor)
        return _FLOATS[max(sizes, key=lambda kind: sizes[kind])] if sizes else "fp32"

    def to_bytes(self) -> bytes:
        """The network as one message, with all weights."""
        data: bytes = self._loaded().SerializeToString()
        return data

    def require_supported(self, *, data_dependent: bool) -> None:
        """Check the graph against what TensorRT takes, before minutes are spent on it.

        Args:
            data_dependent: whether outputs are described whose lengths depend on the data.

        Raises:
            BuildError: names the nodes, their operators and types, and what to do about each.
        """
        try:
            _graph("check").require_supported(self.path, data_dependent=data_dependent)
        except (BadGraphError, UnsupportedGraphError) as error:
            told = [line.strip() for line in str(error).splitlines()]
            raise BuildError(" ".join([told[0], "; ".join(told[1:])]).strip()) from error

    def _loaded(self) -> Any:
        if self._model is None:
            try:
                self._model = _graph("read").load(self.path)
            except BadGraphError as error:
                raise BuildError(str(error)) from error
        return self._model

    def _data_files(self) -> list[Path]:
        try:
            found: list[Path] = _graph("read").data_files(self.path)
        except BadGraphError as error:
            raise BuildError(str(error)) from error
        gone = [each for each in found if not each.is_file()]
        if gone:
            raise BuildError(f"{self.path}: its weights are missing: put {gone[0].name!r} beside it")
        return found


def _graph(module: str) -> Any:
    """A module about ONNX graphs; they need onnx, which the run time alone does not."""
    try:
        from headrace.models.graph import check, read
    except ImportError as error:
        raise MissingBackendError(f"TensorRT builds plans from ONNX files: {error}; {INSTALL}") from error
    return {"check": check, "read": read}[module]


def _weights(graph: Any) -> Any:
    yield from graph.initializer
    for node in graph.node:
        if node.op_type == "Constant":
            yield from (attribute.t for attribute in node.attribute if attribute.name == "value")


def _length(tensor: Any) -> int:
    length = 1
    for each in tensor.dims:
        length *= each
    return length
