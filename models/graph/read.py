"""Read a network's ONNX file whole: weights that lie beside it are brought in, local functions are inlined."""

from pathlib import Path
from typing import Any

import onnx
import onnx.inliner

from headrace.models.errors import BadGraphError


def load(path: Path | str) -> onnx.ModelProto:
    """Read an ONNX file.

    Raises:
        BadGraphError: there is no such file, it is no ONNX network, or the file that holds its weights is missing
            or too short; the file is named.
    """
    path = Path(path)
    model = _parsed(path)
    _bring_in_weights(model, path)
    if not model.graph.node:
        raise BadGraphError(f"{path}: not an ONNX network: it has no operators")
    return onnx.inliner.inline_local_functions(model) if model.functions else model


def to_bytes(path: Path | str) -> bytes:
    """The file as one message, weights and functions inside: what a compiler takes without knowing the folder.

    Raises:
        BadGraphError: as `load`, and where the network is larger than one message may be (2 GB).
    """
    model = load(path)
    try:
        data: bytes = model.SerializeToString()
    except Exception as error:  # protobuf's own classes, which differ from version to version
        raise BadGraphError(f"{path}: above 2 GB with its weights: give the file itself to the compiler") from error
    return data


def data_files(path: Path | str) -> list[Path]:
    """The files beside `path` that hold weights, in order of name; a cache key must count them in.

    Raises:
        BadGraphError: there is no such file, or it is no ONNX network.
    """
    path = Path(path)
    return sorted({path.parent / location for location in _locations(_parsed(path))})


def _parsed(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        raise BadGraphError(f"{path}: no such file")
    try:
        return onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's own classes, or OSError
        raise BadGraphError(f"{path}: not an ONNX network: {error}") from error


def _bring_in_weights(model: onnx.ModelProto, path: Path) -> None:
    for location in sorted(_locations(model)):
        if not (path.parent / location).is_file():
            raise BadGraphError(
                f"{path}: its weights are missing: put {location!r} beside it, as the exporter wrote it"
            )
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # onnx raises its own, OSError and ValueError for a short or unreadable file
        raise BadGraphError(f"{path}: its weights cannot be read: {error}") from error


def _locations(model: onnx.ModelProto) -> set[str]:
    tensors: list[Any] = []
    graphs: list[Any] = [model.graph, *model.functions]
    while graphs:
        graph = graphs.pop()
        tensors += getattr(graph, "initializer", ())  # a function has none
        for attribute in (each for node in graph.node for each in node.attribute):
            tensors += [attribute.t, *attribute.tensors]
            graphs += ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs)
    external = (each for each in tensors if each.data_location == onnx.TensorProto.EXTERNAL)
    return {entry.value for each in external for entry in each.external_data if entry.key == "location"}
