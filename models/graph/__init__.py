"""A network as an ONNX graph: read, checked against what the engines take, and made narrower."""
