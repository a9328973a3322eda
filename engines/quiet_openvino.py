"""OpenVINO's package without its reports: importing it as it comes tells its makers so, from a forked process."""

import sys

# A module that is None cannot be imported: OpenVINO then takes its own stand-in, which sends nothing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402

__all__ = ["openvino"]
