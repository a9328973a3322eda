"""ONNX Runtime without its reports: as it comes it notes device and program on disk, and sends them to its makers."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when the library loads

import onnxruntime

__all__ = ["onnxruntime"]
