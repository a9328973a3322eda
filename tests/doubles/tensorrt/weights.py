"""Taking the weights out of a network, and telling whether another file can give them back."""

from typing import Any

_HELD = ("raw_data", "float_data", "int32_data")


def stripped(network: bytes) -> bytes:
    """The same network without its weights: its constants that are no integers."""
    import onnx

    model = onnx.load_model_from_string(network)
    for each in model.graph.initializer:
        if each.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16):
            for held in _HELD:
                each.ClearField(held)
    return bytes(model.SerializeToString())


def missing(network: bytes) -> list[str]:
    """The names of the constants that were taken out."""
    import onnx

    return [each.name for each in onnx.load_model_from_string(network).graph.initializer if _is_empty(each)]


def same_graph(network: bytes, other: bytes) -> bool:
    """True if both differ in their weights only."""
    import onnx

    return _shape(onnx.load_model_from_string(network)) == _shape(onnx.load_model_from_string(other))


def _shape(model: Any) -> Any:
    nodes = [(each.op_type, list(each.input), list(each.output)) for each in model.graph.node]
    return nodes, [(each.name, each.data_type, list(each.dims)) for each in model.graph.initializer]


def _is_empty(tensor: Any) -> bool:
    held = tensor.raw_data or tensor.float_data or tensor.int32_data or tensor.int64_data or tensor.double_data
    count = 1
    for length in tensor.dims:
        count *= length
    return count > 0 and not held
